"""The stores' plans: what each store holds and nothing else, its keys and bounds, and the views made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.contracts_kit import COMPLETE_JOURNEY, Folder, sample

from kaianalytics.custody.contracts import load
from kaianalytics.errors import PolicyRefused
from kaianalytics.policy.contract import Column, ColumnRule, Contracts
from kaianalytics.policy.rules import Bands, first_day, generalisation, keys_after, type_after
from kaianalytics.policy.secure_views import view_sql, views_sql
from kaianalytics.policy.views import StorePlan, slice_digest, store_plan
from kaianalytics.privacy.unit import ContributionBounds, PreAggregate, StatisticsView, Windows

IMPROVE, ADS, CAMPAIGN = "service-improvement", "ad-targeting", "campaign-analysis"


def columns(plan: StorePlan, product: str) -> dict[str, str]:
    return {column.name: column.type for column in plan.tables[product].columns}


def test_a_store_holds_what_its_purpose_and_access_are_granted() -> None:
    held = {
        (p, a): set(store_plan(sample(), p, a).tables) for p in (IMPROVE, ADS, CAMPAIGN) for a in ("rows", "statistics")
    }
    assert held == {
        (IMPROVE, "rows"): {"sessions"},
        (IMPROVE, "statistics"): {"sessions", "customers", "orders"},
        (ADS, "rows"): {"ad_impressions"},
        (ADS, "statistics"): {"ad_impressions", "customers", "sessions"},
        (CAMPAIGN, "rows"): {"campaign_contacts", "orders"},
        (CAMPAIGN, "statistics"): {"campaign_contacts", "orders", "customers"},
    }


def test_a_column_without_a_rule_for_the_purpose_is_absent() -> None:
    assert columns(store_plan(sample(), ADS, "statistics"), "sessions") == {
        "customer_id": "string",
        "started_at": "date",
        "device": "string",
        "service": "string",
    }
    held = {
        name for p in (IMPROVE, ADS, CAMPAIGN) for name in columns(store_plan(sample(), p, "statistics"), "customers")
    }
    assert not held & {"family_name", "given_name", "email", "telephone", "postal_code", "address"}


def test_no_plan_keeps_a_key_or_a_direct_identifier_of_any_product() -> None:
    for contracts in (sample(), load(COMPLETE_JOURNEY)):
        for purpose in contracts.purposes.open:
            for access in ("rows", "statistics"):
                for table in store_plan(contracts, purpose, access).tables.values():
                    for column in table.columns:
                        _assert_fit_to_leave(contracts, table.product, column.source, column.rule)


def _assert_fit_to_leave(contracts: Contracts, product: str, name: str, rule: ColumnRule) -> None:
    classification = contracts.products[product].column(name).classification
    assert (rule.action == "pseudonym") == (classification == "key")
    assert classification not in ("free-text", "special-category", "direct-identifier")


def test_a_dropped_column_is_absent(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "contracts")
    folder.edit("sessions.odcs.yaml", "{service-improvement: keep}", "{service-improvement: drop}")
    assert "pages" not in columns(store_plan(folder.load(), IMPROVE, "rows"), "sessions")


@pytest.mark.parametrize(("purpose", "code"), [("customer-care", "PURPOSE_NOT_OPEN"), ("espionage", "PURPOSE_UNKNOWN")])
def test_a_purpose_that_is_not_open_has_no_store(purpose: str, code: str) -> None:
    with pytest.raises(PolicyRefused) as caught:
        store_plan(sample(), purpose, "rows")
    assert caught.value.code == code


def test_the_unit_is_never_missing_in_a_store_although_the_source_may_miss_it() -> None:
    table = store_plan(sample(), IMPROVE, "rows").tables["sessions"]
    unit = next(column for column in table.columns if column.name == table.unit)
    assert (unit.nullable, unit.type, unit.key, unit.rule.action) == (False, "string", "customer", "pseudonym")


def test_only_a_statistics_store_can_be_asked_statistics() -> None:
    assert store_plan(sample(), IMPROVE, "rows").tables["sessions"].statistics is None
    view = view_of("sessions", IMPROVE)
    assert view.unit is not None
    assert (view.unit.column, view.unit.population, view.unit.key) == ("customer_id", "customers", "kai_unit")
    assert (view.contribution, view.rank) == (ContributionBounds(rows=60), "kai_rank")


def view_of(product: str, purpose: str, contracts: Contracts | None = None) -> StatisticsView:
    view = store_plan(contracts or sample(), purpose, "statistics").tables[product].statistics
    assert view is not None
    return view


def test_a_profile_tells_of_columns_that_the_purpose_can_add_up() -> None:
    for purpose, columns in ((IMPROVE, {"pages", "seconds"}), (ADS, set())):
        profile = view_of("sessions", purpose).profile
        assert profile is not None and (profile.units, set(profile.totals)) == (42_000, columns)
    assert view_of("customers", ADS).profile is None


def test_windows_reach_from_the_first_declared_day_to_the_last() -> None:
    for purpose in (IMPROVE, CAMPAIGN):
        windows = view_of("orders", purpose).windows
        assert windows == Windows("ordered_at", "month", date(2025, 11, 1), date(2026, 10, 31), "kai_window")
    assert view_of("sessions", IMPROVE).windows is None


def test_pre_aggregates_are_those_whose_columns_the_purpose_sees(tmp_path: Path) -> None:
    made = PreAggregate("kai_pre_contacts_by_arm", ("campaign", "arm"), ("converted", "spend_yen"))
    assert view_of("campaign_contacts", CAMPAIGN).pre_aggregates == (made,)
    folder = Folder(tmp_path / "contracts")
    stated = "      - property: kai.preAggregates\n        value: [{name: by_device, keys: [device], sums: [pages]}]\n"
    folder.edit("sessions.odcs.yaml", "      - property: kai.appiStatus", f"{stated}      - property: kai.appiStatus")
    contracts = folder.load()
    assert [each.table for each in view_of("sessions", IMPROVE, contracts).pre_aggregates] == ["kai_pre_by_device"]
    assert view_of("sessions", ADS, contracts).pre_aggregates == ()  # it does not see pages


def test_the_primary_key_is_unique_and_references_lead_where_the_purpose_has_both_ends() -> None:
    customers, sessions = view_of("customers", IMPROVE).columns, view_of("sessions", IMPROVE).columns
    assert [name for name, column in customers.items() if column.unique] == ["customer_id"]
    assert [name for name, column in sessions.items() if column.unique] == ["session_id"]
    assert sessions["customer_id"].references == ("customers.customer_id",)
    assert sessions["customer_id"].identifier and sessions["session_id"].references == ()
    journey = load(COMPLETE_JOURNEY)
    contacts = view_of("campaign_contacts", CAMPAIGN, journey).columns
    assert contacts["campaign_id"].references == ("campaign_descriptions.campaign_id",)
    assert not any(column.unique for column in contacts.values())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("access: [rows, statistics]", "access: [rows]"),
        ("value: {campaign-analysis: keep}", "value: {campaign-analysis: drop}"),
        ("value: {campaign-analysis: keep}", "value: {campaign-analysis: mask}"),
    ],
)
def test_a_reference_to_what_the_purpose_does_not_see_so_is_none(tmp_path: Path, old: str, new: str) -> None:
    folder = Folder(tmp_path / "journey", COMPLETE_JOURNEY)
    folder.edit("campaign_descriptions.odcs.yaml", old, new)
    contacts = view_of("campaign_contacts", CAMPAIGN, folder.load())
    assert contacts.columns["campaign_id"].references == ()


def test_identifiers_have_neither_keys_nor_bounds() -> None:
    for purpose in (IMPROVE, ADS, CAMPAIGN):
        for table in store_plan(sample(), purpose, "statistics").tables.values():
            assert table.statistics is not None
            for column in table.statistics.columns.values():
                assert column.identifier == column.name.endswith("_id")
                assert not column.identifier or (column.bounds is None and column.domain is None)


def test_keys_are_the_declared_ones_with_a_missing_value_where_it_may_be_missing() -> None:
    view = store_plan(sample(), ADS, "statistics").tables["customers"].statistics
    assert view is not None
    keys = {name: column.domain.values for name, column in view.columns.items() if column.domain}
    assert keys["gender"] == ("female", "male", "other", None)
    assert keys["plan"] == ("free", "standard", "premium")
    assert keys["birth_date"] == (*(date(year, 1, 1) for year in range(1930, 2011, 10)), None)
    assert len(keys["prefecture"]) == 48


def test_a_residence_that_may_not_be_processed_is_no_key() -> None:
    view = store_plan(sample(), ADS, "statistics").tables["customers"].statistics
    assert view is not None and view.columns["country"].domain is not None
    assert view.columns["country"].domain.values == ("JP", "TW")


def test_weeks_are_all_mondays_that_the_declared_range_touches() -> None:
    view = store_plan(sample(), IMPROVE, "statistics").tables["sessions"].statistics
    assert view is not None and view.columns["started_at"].domain is not None
    weeks = view.columns["started_at"].domain.values
    assert (weeks[0], weeks[-1], len(weeks)) == (date(2025, 10, 27), date(2026, 10, 26), 53)
    assert all(isinstance(week, date) and week.weekday() == 0 for week in weeks)


def test_bounds_are_the_declared_ones_and_only_where_a_step_makes_sums_exact() -> None:
    ads = store_plan(sample(), ADS, "statistics").tables["ad_impressions"].statistics
    assert ads is not None and ads.columns["cost_yen"].bounds is not None
    assert ads.columns["cost_yen"].bounds.step == Decimal("0.01")
    assert ads.columns["clicked"].bounds is not None and ads.columns["clicked"].bounds.upper == 1
    assert ads.columns["topic"].bounds is None


def test_a_number_without_a_step_can_not_be_summed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "contracts")
    folder.edit("ad_impressions.odcs.yaml", ", multipleOf: 0.01", "")
    view = store_plan(folder.load(), ADS, "statistics").tables["ad_impressions"].statistics
    assert view is not None and view.columns["cost_yen"].bounds is None


def test_a_public_table_is_there_to_be_joined_and_has_nobody_to_bound() -> None:
    contracts = load(COMPLETE_JOURNEY)
    rows = store_plan(contracts, CAMPAIGN, "rows").tables["campaign_descriptions"]
    assert (rows.unit, rows.population, rows.statistics, rows.hidden) == (None, None, None, ())
    view = view_of("campaign_descriptions", CAMPAIGN, contracts)
    assert (view.unit, view.contribution, view.rank) == (None, None, "")
    assert view.columns["campaign_id"].unique
    kinds = view.columns["campaign_type"].domain
    assert kinds is not None and kinds.values == ("Type A", "Type B", "Type C")
    assert store_plan(contracts, CAMPAIGN, "statistics").tables["campaign_descriptions"].hidden == ()


def test_units_rows_and_windows_are_numbered_in_statistics_stores_alone() -> None:
    for access, hidden in (("rows", ()), ("statistics", ("kai_unit", "kai_window", "kai_rank"))):
        table = store_plan(sample(), CAMPAIGN, access).tables["orders"]
        assert (table.hidden, table.rows_bound) == (hidden, 8 if hidden else None)


# --- rules


def column(kind: Any, **more: Any) -> Column:
    return Column("c", kind, "personal", False, {}, **more)


@pytest.mark.parametrize(
    ("kind", "rule", "after"),
    [
        ("timestamp", ColumnRule("keep"), "timestamp"),
        ("timestamp", ColumnRule("generalise", "hour"), "timestamp"),
        ("timestamp", ColumnRule("generalise", "day"), "date"),
        ("date", ColumnRule("generalise", "decade"), "date"),
        ("integer", ColumnRule("generalise", "bands:1,2"), "string"),
        ("string", ColumnRule("generalise", "prefix:2"), "string"),
        ("integer", ColumnRule("mask"), "string"),
        ("integer", ColumnRule("pseudonym"), "string"),
    ],
)
def test_the_type_after_a_rule(kind: Any, rule: ColumnRule, after: str) -> None:
    assert type_after(rule, kind) == after


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("hour", "date"), ("week", "string"), ("prefix:0", "string"), ("prefix:x", "string"), ("prefix:2", "date"),
        ("bands:", "integer"), ("bands:2,1", "integer"), ("bands:1,1", "integer"), ("bands:0.5", "integer"),
        ("bands:NaN", "number"), ("bands:1", "string"), ("century", "date"), ("week:2", "date"), ("", "date"),
    ],
)  # fmt: skip
def test_a_generalisation_that_means_nothing_is_refused(how: str, kind: Any) -> None:
    with pytest.raises(ValueError, match=r"generalis|needs|edges"):
        generalisation(how, kind)


def test_bands_leave_no_number_out_and_none_in_two() -> None:
    bands = generalisation("bands:20,30,31", "integer")
    assert isinstance(bands, Bands)
    assert [band.label for band in bands.bands] == ["under 20", "20 to 29", "30", "31 and over"]
    for value in range(-50, 100):
        fitting = [
            band
            for band in bands.bands
            if (band.lower is None or band.lower <= value) and (band.upper is None or value < band.upper)
        ]
        assert len(fitting) == 1


def test_bands_beyond_the_declared_range_are_no_keys() -> None:
    ages = column("integer", minimum="20", maximum="29")
    assert keys_after(ages, ColumnRule("generalise", "bands:20,30")) == ("20 to 29",)
    assert keys_after(column("integer"), ColumnRule("generalise", "bands:20")) == ("under 20", "20 and over")


def test_prefixes_of_declared_values_are_keys_once_each() -> None:
    codes = column("string", enum=("1500002", "1500003", "1600001"))
    assert keys_after(codes, ColumnRule("generalise", "prefix:3")) == ("150", "160")


def test_a_long_range_of_whole_numbers_is_a_quantity_and_no_key() -> None:
    assert len(keys_after(column("integer", minimum="1", maximum="53"), ColumnRule("keep"))) == 53
    assert keys_after(column("integer", minimum="0", maximum="10000"), ColumnRule("keep")) == ()


def test_an_endless_range_of_days_has_no_keys() -> None:
    assert keys_after(column("date", minimum="0001-01-01", maximum="9998-12-31"), ColumnRule("keep")) == ()


@pytest.mark.parametrize("part", ["decade", "year", "month", "week", "day"])
def test_date_keys_are_what_duckdb_truncates_to(part: Any) -> None:
    """The builder truncates by DuckDB, the key domain by Python: for every day of thirty years they must agree."""
    days = duckdb.sql(
        f"SELECT d::DATE, date_trunc('{part}', d)::DATE "
        "FROM range(DATE '1995-06-15', DATE '2025-06-15', INTERVAL 1 DAY) t(d)"
    ).fetchall()
    assert all(first_day(day, part) == truncated for day, truncated in days)
    keys = keys_after(column("date", minimum="1995-06-15", maximum="2025-06-14"), ColumnRule("generalise", part))
    found = sorted({truncated for _, truncated in days})
    assert list(keys) == (found if len(found) <= 10_000 else [])


# --- the views


SESSIONS = view_sql(store_plan(sample(), IMPROVE, "rows").tables["sessions"])


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A worker's catalog over a store of the sample's sessions and a table about nobody."""
    store = tmp_path / "rows.duckdb"
    with duckdb.connect(str(store)) as build:
        build.execute("CREATE TABLE sessions (session_id VARCHAR, customer_id VARCHAR, started_at DATE, "
                      "device VARCHAR, service VARCHAR, pages BIGINT, seconds BIGINT)")  # fmt: skip
        build.execute("INSERT INTO sessions SELECT 's' || i, 'u' || (i % 3), DATE '2026-01-05', 'phone', 'news', i, i "
                      "FROM range(9) t(i)")  # fmt: skip
        build.execute("CREATE TABLE campaign_descriptions (campaign_id BIGINT, campaign_type VARCHAR, start_date DATE, "
                      "end_date DATE)")  # fmt: skip
        build.execute("INSERT INTO campaign_descriptions VALUES (1, 'Type A', DATE '2017-01-01', NULL)")
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{store}' AS store (READ_ONLY)")
        con.execute("CREATE TABLE kai_stops (unit VARCHAR, kai_unit UBIGINT)")
        con.execute(SESSIONS.open)
        con.execute(view_sql(store_plan(load(COMPLETE_JOURNEY), CAMPAIGN, "rows").tables["campaign_descriptions"]).open)
        yield con


def test_a_view_shows_the_plans_columns(worker: duckdb.DuckDBPyConnection) -> None:
    shown = [row[0] for row in worker.execute("DESCRIBE sessions").fetchall()]
    assert shown == [column.name for column in store_plan(sample(), IMPROVE, "rows").tables["sessions"].columns]
    assert worker.execute("SELECT count(*) FROM campaign_descriptions").fetchall() == [(1,)]


def test_a_stop_holds_at_once(worker: duckdb.DuckDBPyConnection) -> None:
    assert worker.execute("SELECT count(*) FROM sessions").fetchall() == [(9,)]
    assert worker.execute(SESSIONS.held).fetchall() == [(False,)]
    worker.execute("INSERT INTO kai_stops VALUES ('u1', 1)")
    assert worker.execute(SESSIONS.held).fetchall() == [(True,)]
    worker.execute(SESSIONS.stopping)
    assert worker.execute("SELECT DISTINCT customer_id FROM sessions ORDER BY ALL").fetchall() == [("u0",), ("u2",)]


def test_a_stop_holds_whatever_an_analyst_calls_kai_stops(worker: duckdb.DuckDBPyConnection) -> None:
    worker.execute("INSERT INTO kai_stops VALUES ('u1', 1)")
    worker.execute(SESSIONS.stopping)
    hidden = worker.execute("WITH kai_stops AS (SELECT 'x' AS unit) SELECT count(*) FROM sessions").fetchall()
    worker.execute("CREATE SCHEMA other; CREATE TABLE other.kai_stops (unit VARCHAR); SET search_path = 'other,main'")
    assert hidden == worker.execute("SELECT count(*) FROM sessions").fetchall() == [(6,)]


def test_hidden_columns_are_in_statistics_views_alone_and_the_unit_is_its_number() -> None:
    views = {
        access: " ".join(views_sql(store_plan(sample(), CAMPAIGN, access))[0]) for access in ("rows", "statistics")
    }
    assert "kai_unit" not in views["rows"] and "kai_rank" not in views["rows"]
    assert '"t"."kai_unit" AS "customer_id"' in views["statistics"] and '"t"."kai_rank"' in views["statistics"]
    assert '"s"."kai_unit" = "t"."kai_unit"' in views["statistics"]


def test_views_of_rows_are_secure_while_they_leave_somebody_out_and_no_others_need_be() -> None:
    for contracts, purposes in ((sample(), (IMPROVE, ADS, CAMPAIGN)), (load(COMPLETE_JOURNEY), (CAMPAIGN,))):
        for purpose in purposes:
            views = views_sql(store_plan(contracts, purpose, "rows"))
            assert views and all(" SECURE VIEW " in view.stopping for view in views)
            of_statistics = views_sql(store_plan(contracts, purpose, "statistics"))
            ordinary = [view.open for view in views] + [shape for view in of_statistics for shape in view]
            assert not any(" SECURE " in shape for shape in ordinary)


LEAKING = [  # each is wrong of a stopped unit's rows alone
    "SELECT count(*) FROM sessions WHERE CASE WHEN customer_id = 'u1' THEN error(session_id) ELSE true END",
    "SELECT count(*) FROM sessions WHERE CASE WHEN customer_id = 'u1' THEN CAST(session_id AS INT) ELSE 1 END > 0",
    "SELECT count(*) FROM sessions WHERE CASE WHEN customer_id = 'u1' THEN 9e18::BIGINT * pages ELSE 1 END > 0",
]


@pytest.mark.parametrize("sql", LEAKING)
def test_a_condition_is_not_tried_on_the_rows_of_who_is_left_out(worker: duckdb.DuckDBPyConnection, sql: str) -> None:
    """An error would say that they are there, and an ordinary view lets it happen."""
    worker.execute("INSERT INTO kai_stops VALUES ('u1', 1)")
    worker.execute(SESSIONS.stopping.replace(" SECURE VIEW ", " VIEW "))
    with pytest.raises(duckdb.Error):
        worker.execute(sql)
    worker.execute(SESSIONS.stopping)
    assert worker.execute(sql).fetchall() == [(6,)]


def test_a_pre_aggregate_is_a_view_with_stops_of_its_own() -> None:
    contacts, made = views_sql(store_plan(sample(), CAMPAIGN, "statistics"))[:2]
    assert made.open.startswith('CREATE OR REPLACE VIEW "kai_pre_contacts_by_arm" AS SELECT')
    for view in (contacts, made):
        assert "kai_stops" in view.stopping and "kai_stops" not in view.open and view.open.endswith("WHERE TRUE")


def test_a_view_that_leaves_somebody_out_gives_no_statistics_of_its_base_table(
    worker: duckdb.DuckDBPyConnection,
) -> None:
    def told() -> str:
        return str(worker.execute("SELECT stats(pages) FROM sessions LIMIT 1").fetchall())

    assert "'max': 8" in told()  # of rows that everybody sees
    worker.execute("INSERT INTO kai_stops VALUES ('u2', 2)")  # whose row has the 8
    worker.execute(SESSIONS.stopping)
    assert "'max': 8" not in told()


def test_names_are_quoted_so_that_a_keyword_stays_a_name() -> None:
    table = store_plan(sample(), IMPROVE, "rows").tables["sessions"]
    odd = replace(table, product="order", columns=tuple(replace(each, name="group") for each in table.columns[:1]))
    assert view_sql(odd).open.startswith('CREATE OR REPLACE VIEW "order" AS SELECT "t"."group" AS "group"')


# --- the slice that an approval is bound to


CHANGES = {
    "a coarser rule": ("sessions.odcs.yaml", "{generalise: week}", "{generalise: month}", {IMPROVE}),
    "one purpose's rule": ("sessions.odcs.yaml", "{generalise: month}", "{generalise: year}", {ADS}),
    "the contribution": ("sessions.odcs.yaml", "rows: 60", "rows: 70", {IMPROVE, ADS}),
    "the profile": ("sessions.odcs.yaml", "units: 42000", "units: 43000", {IMPROVE, ADS}),
    "a total that one purpose sees": ("sessions.odcs.yaml", 'pages: {"0.25": 9', 'pages: {"0.25": 8', {IMPROVE}),
    "the windows": ("orders.odcs.yaml", "span: month", "span: quarter", {IMPROVE, CAMPAIGN}),
    "a pre-aggregate": ("campaign_contacts.odcs.yaml", "keys: [campaign, arm]", "keys: [arm]", {CAMPAIGN}),
    "the primary key": ("orders.odcs.yaml", "primaryKey: true", "primaryKey: false", {IMPROVE, CAMPAIGN}),
    "what a question spends of delta": (
        "purposes.yaml", 'question_delta: "0.00000001"', 'question_delta: "0.00000002"', {IMPROVE, ADS, CAMPAIGN},
    ),
    "a window's cap": ("purposes.yaml", 'window_cap: {rho: "0.05"', 'window_cap: {rho: "0.06"', set()),
    "the basis": ("sessions.odcs.yaml", "notified", "prior-consent(service-improvement)", {IMPROVE}),
    "the retention": ("sessions.odcs.yaml", "value: 400", "value: 300", {IMPROVE, ADS}),
    "a bound": ("ad_impressions.odcs.yaml", "maximum: 10", "maximum: 20", {ADS}),
    "a country": ("purposes.yaml", "countries: [JP, TW]", "countries: [JP]", {IMPROVE, ADS, CAMPAIGN}),
    "the policy's version": ("privacy_policy.yaml", '"2022-04-01"', '"2026-04-01"', {IMPROVE, ADS, CAMPAIGN}),
    "the purpose's clause": ("privacy_policy.yaml", "To run campaigns", "To plan campaigns", {CAMPAIGN}),
    "words for people": ("sessions.odcs.yaml", "description: The session.", "description: A session.", set()),
    "a contract's version": ("sessions.odcs.yaml", "version: 1.1.0", "version: 1.1.1", set()),
    "a budget": ("purposes.yaml", 'account: {rho: "1.2"', 'account: {rho: "1.3"', set()),
    "who may ask": ("roles.yaml", "expires: 2027-12-31", "expires: 2028-12-31", set()),
    "a product in no store": ("inquiries.odcs.yaml", "value: mail", "value: letter", set()),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_slice_changes_with_what_its_answers_depend_on_and_with_nothing_else(tmp_path: Path, change: str) -> None:
    file, old, new, expected = CHANGES[change]
    folder = Folder(tmp_path / "contracts")
    folder.edit(file, old, new)
    changed = folder.load()
    purposes = sample().purposes.open
    assert {p for p in purposes if slice_digest(changed, p) != slice_digest(sample(), p)} == expected


def test_hours_are_no_keys_because_no_key_is_a_moment() -> None:
    assert (
        keys_after(column("timestamp", minimum="2026-01-01", maximum="2026-01-02"), ColumnRule("generalise", "hour"))
        == ()
    )
    assert not isinstance(first_day(date(2026, 1, 7), "week"), datetime)
