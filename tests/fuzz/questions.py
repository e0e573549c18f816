"""Statistical questions by chance over a small shop: most of them the engine may answer, some it must refuse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

_WHERE_FROM: Sequence[tuple[str, str]] = (  # the source, and what is of it beside the orders
    ("orders AS o", ""),
    ("orders o", ""),
    ("(SELECT *, amount * 2 AS twice FROM orders WHERE quantity < 40) AS o", ""),
    ("orders o JOIN products p USING (product)", "p"),
    ("orders o LEFT JOIN products p ON o.product = p.product", "p"),
    ("customers c JOIN orders o USING (customer_id)", "c"),
    ("orders o JOIN customers c ON o.customer_id = c.customer_id", "c"),
    ("orders o JOIN labels l ON o.channel = l.channel", "l"),
    ("orders o JOIN (SELECT product, weight FROM products WHERE weight > 1) AS p USING (product)", "p"),
    ("orders o, products p", "p"),
    ("orders o CROSS JOIN makers m", ""),
    ("orders o LEFT JOIN orders x USING (customer_id)", ""),
)
_KEYS = """o.channel;o.gift;o.city;date_trunc('month', o.day);date_trunc('week', o.day);month(o.sent);year(o.day);
    dayofweek(o.day);o.quantity // 10;CASE WHEN {truth} THEN 'a' WHEN {truth} THEN 'b' ELSE 'c' END;upper(o.channel);
    hour(o.ordered_at) // 6;o.quantity > 20;o.product;coalesce(o.city, 'none');{truth};o.day;o.change;o.seconds // 50;
    left(o.city, 1);{whole} % 3"""
_MORE_KEYS = {"p": "p.category;p.category;p.maker;p.weight", "c": "c.region;c.age // 40;c.channel", "l": "l.label"}
_FIGURES = """count(*);count(*) AS n;count({whole});count({text});sum({whole});sum({number});avg({number});avg({whole});
    count(DISTINCT customer_id);count(DISTINCT o.customer_id);stddev({number});stddev_pop({whole});variance({whole});
    var_pop({number});count_if({truth});sum({number}) FILTER (WHERE {truth});count(*) FILTER ({truth});
    avg({whole}) FILTER (WHERE {truth});sum({number}) / count(*);round(100.0 * count_if({truth}) / count(*), 1);
    sum({whole}) + count(*);coalesce(sum({number}), 0);greatest(count(*), 5);
        sum(CASE WHEN {truth} THEN {whole} ELSE 0 END);
    abs(sum({whole}));nullif(count(*), 3);sum({whole}) - sum({whole})"""
_SEEN_ONLY = """median({number});quantile_cont({whole}, 0.9);mode(o.city);approx_top_k(o.channel, 2);min({number});
    max({whole});approx_quantile({number}, 0.5);histogram(o.quantity, [0, 10, 50]);string_agg(o.city, ',');list(o.city);
    sum(sum({whole}));row_number() OVER ();first(o.city);count(DISTINCT o.city);sum(DISTINCT o.quantity);
    arg_max(o.city, o.amount);entropy(o.city);sum(random());stats(o.city);(SELECT count(*) FROM orders);
    sum(width_bucket(o.quantity, 0, 50, 5));corr(o.quantity, o.amount);product(o.quantity);sum({text})"""
_VALUES = {
    "whole": """o.quantity;o.change;o.quantity;o.seconds;o.quantity * 2;(o.quantity + {whole});(o.change - {whole});
        abs(o.change);
        least(greatest(o.seconds, 0), 60);(o.quantity // 3);(o.quantity % 7);
        CASE WHEN {truth} THEN {whole} ELSE {whole} END;
        coalesce({whole}, 0);1;7;month(o.day);length(o.city);CAST({truth} AS INTEGER);nullif({whole}, 3);
        date_diff('day', o.day, DATE '2026-02-01');(- {whole});if({truth}, {whole}, 0)""",
    "number": """o.amount;o.amount * 1.5;o.amount + o.quantity;least(greatest(o.raw, 0), 20);o.amount * o.quantity;
        round(o.amount);floor(o.amount);CASE WHEN {truth} THEN o.amount ELSE 0 END;(o.amount / 4);
        CAST({whole} AS DOUBLE);
        greatest(o.amount, 10.5);coalesce(least(greatest(o.raw, -5), 5), 0);o.amount - 0.25;sqrt(o.amount)""",
    "text": """o.channel;o.city;upper(o.city);o.product;coalesce(o.city, 'x');left(o.channel, 2)""",
    "truth": """o.gift;NOT o.gift;o.amount > 500;o.city = 'Nara';o.city IS NULL;o.city LIKE '%a%';{whole} > 3;
        {whole} BETWEEN 1 AND 20;o.channel IN ('web', 'store');o.day >= DATE '2026-01-10';o.sent IS NOT NULL;
        ({truth} AND {truth});({truth} OR {truth});{number} < 300;o.day BETWEEN '2026-01-05' AND DATE '2026-01-20';
        o.raw IS DISTINCT FROM 3;o.change <> 0;starts_with(o.city, 'K');o.city ILIKE 'k%'""",
}
_TAILS = ("", "", "", "", " ORDER BY 1", " ORDER BY ALL", " LIMIT 3", " ORDER BY 1 LIMIT 2 OFFSET 1")
_ODD = (
    "SELECT * FROM ({q}) AS x", "WITH x AS ({q}) SELECT * FROM x", "{q} UNION ALL {q}", "SELECT sum(n) FROM ({q}) AS x",
    "WITH o AS (SELECT * FROM orders) {q}", "SELECT DISTINCT {rest}", "EXPLAIN {q}", "{q}; SELECT 1", "({q})",
)  # fmt: skip


class Questions:
    """Questions by one source of chance; `exact` ones ask for nothing but what can be told without noise."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def one(self, *, exact: bool = False) -> str:
        """The next question."""
        source, more = self._chance.choice(_WHERE_FROM[:9] if exact or self._chance.random() < 0.8 else _WHERE_FROM)
        keys = [self._from(_KEYS) for _ in range(self._chance.choice((0, 0, 1, 1, 1, 2, 2)))]
        if more and self._chance.random() < 0.5:
            keys.append(self._from(_MORE_KEYS[more]))
        figures = [self._figure(exact) for _ in range(self._chance.choice((1, 1, 2, 3)))]
        where = f" WHERE {self._from('{truth}')}" if self._chance.random() < 0.4 else ""
        having = f" HAVING count(*) > {self._chance.randint(0, 9)}" if not exact and self._chance.random() < 0.1 else ""
        group = f" GROUP BY {self._chance.choice(('ALL', ', '.join(keys)))}" if keys else ""
        rest = f"{', '.join(keys + figures)} FROM {source}{where}{group}{having}"
        rest += "" if exact else self._chance.choice(_TAILS)
        question = f"SELECT {rest}"
        if not exact and self._chance.random() < 0.08:
            return self._chance.choice(_ODD).replace("{q}", question).replace("{rest}", rest)
        return question

    def _figure(self, exact: bool) -> str:
        return self._from(_FIGURES if exact or self._chance.random() < 0.85 else _SEEN_ONLY)

    def _from(self, templates: str, depth: int = 3) -> str:
        known = [one.strip() for one in templates.split(";") if one.strip()]
        if depth == 0:
            known = [one for one in known if "{" not in one] or known
        return re.sub(r"\{(\w+)\}", lambda found: self._from(_VALUES[found[1]], depth - 1), self._chance.choice(known))
