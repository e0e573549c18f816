"""Events of an invented service: 20 million of a million customers over 8 topics; views of 100,000 undeclared pages."""

from __future__ import annotations

from kaianalytics.policy.contract import DataContract, PreAggregateRule
from kaianalytics.privacy.unit import ContributionBounds
from speed.contracts import column, key, product

EVENTS, CUSTOMERS, PAGES = 20_000_000, 1_000_000, 100_000
TOPICS = ("books", "fashion", "finance", "food", "health", "music", "sports", "travel")
BY_TOPIC = "SELECT topic, COUNT(*) AS n, SUM(points) AS points FROM {} GROUP BY topic"
BY_PAGE = "SELECT page, COUNT(*) AS n FROM views GROUP BY page"


def sources() -> dict[str, str]:
    """What stands after FROM for each table, in the order in which the events came."""
    topics = "', '".join(TOPICS)
    events = (
        f"(SELECT hash(i) % {CUSTOMERS} AS who, ['{topics}'][1 + (hash(i, 1) % {len(TOPICS)})::INT] AS topic, "
        f"(hash(i, 2) % 101)::BIGINT AS points FROM range({EVENTS}) AS t(i))"
    )
    page = f"'page-' || (hash(i, 3) % {PAGES}) AS page"
    views = f"(SELECT hash(i) % {CUSTOMERS} AS who, {page} FROM range({50 * PAGES}) AS t(i))"
    return {"events": events, "grouped": events, "views": views}


def contracts() -> dict[str, DataContract]:
    """Events bounded in all, the same by groups and with a pre-aggregate, and views of pages that are not declared."""
    topic, points = column("topic", "string", enum=TOPICS), column("points", "integer", range=("0", "100"))
    columns = [key("who", "customer"), topic, points]
    by_topic = (PreAggregateRule("points_by_topic", ("topic",), ("points",)),)
    groups = ContributionBounds(groups=len(TOPICS), rows_per_group=5)
    listed = (
        product("events", "who", columns, ContributionBounds(rows=40)),
        product("grouped", "who", columns, groups, pre_aggregates=by_topic),
        product("views", "who", [key("who", "customer"), column("page", "string")], ContributionBounds(rows=8)),
    )
    return {each.product: each for each in listed}
