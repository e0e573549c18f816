"""What a grouping expression can show, and the cells of an answer: found in public, narrowed by the filter."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from support.reading_kit import JANUARY, WIDE, asked, refused

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.reading.keys import MAX_CELLS, cells_of, remaining


def domain(key: str, where: str = "true", source: str = "orders") -> tuple[object, ...] | None:
    return asked(f"SELECT {key} AS k, count(*) FROM {source} WHERE {where} GROUP BY k").keys[0].domain


@pytest.mark.parametrize(
    ("key", "values"),
    [
        # declared, and images of what is declared
        ("channel", ("web", "store", None)),
        ("day", JANUARY),
        ("upper(channel)", ("WEB", "STORE", None)),
        ("coalesce(channel, 'none')", ("web", "store", "none")),
        ("date_trunc('month', day)", (date(2026, 1, 1),)),
        (
            "date_trunc('week', day)",
            tuple(
                date.fromisoformat(f"{d}")
                for d in ("2025-12-29", "2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26")
            ),
        ),
        ("day::TIMESTAMP", tuple(datetime(2026, 1, number) for number in range(1, 32))),
        ("dayofweek(day)", (4, 5, 6, 0, 1, 2, 3)),
        ("channel = 'web'", (True, False, None)),
        (
            "channel || '/' || (day > '2026-01-15')::VARCHAR",
            ("web/false", "web/true", "store/false", "store/true", None),
        ),
        # what the operation itself allows
        ("gift", (False, True)),
        ("city LIKE 'Y%'", (False, True, None)),
        ("amount > 10", (False, True)),
        ("CASE WHEN amount > 10 THEN 'big' ELSE 'small' END", ("big", "small")),
        ("CASE WHEN amount > 10 THEN 'big' WHEN gift THEN channel END", ("big", "web", "store", None)),
        ("width_bucket(amount, 0, 10, 3)", (0, 1, 2, 3, 4)),
        ("width_bucket(raw, 0, 10, 2)", (0, 1, 2, 3, None)),
        ("month(sent)", (*range(1, 13), None)),
        ("hour(ordered_at)", (*range(24), None)),
        ("quarter(day)", (1,)),
        ("CASE WHEN gift THEN month(sent) ELSE 0 END", (*range(1, 13), None, 0)),
        ("nullif(width_bucket(amount, 0, 10, 1), 0)", (0, 1, 2, None)),
        # unknown
        ("city", None),
        ("upper(city)", None),
        ("sent", None),
        ("ordered_at", None),
        ("date_trunc('month', ordered_at)", None),
        ("year(sent)", None),
        ("quantity", None),
        ("quantity // 10", None),
        ("CASE WHEN gift THEN city ELSE 'x' END", None),
        ("channel || city", None),
    ],
)
def test_what_a_key_can_show(key: str, values: tuple[object, ...] | None) -> None:
    assert domain(key) == values


def test_a_lookup_tables_keys_are_its_values() -> None:
    joined = "orders JOIN labels ON orders.channel = labels.channel"
    assert domain("label", source=joined) == ("online", "offline")
    assert domain("label", source=joined.replace("JOIN", "LEFT JOIN")) == ("online", "offline", None)
    assert domain("upper(label)", "label <> 'online'", joined) == ("OFFLINE",)


@pytest.mark.parametrize(
    ("key", "where", "values"),
    [
        ("channel", "channel = 'web'", ("web",)),
        ("channel", "channel <> 'web'", ("store",)),
        ("channel", "channel IS NULL", (None,)),
        ("channel", "channel LIKE '%e%' AND city = 'Y'", ("web", "store")),
        ("channel", "channel = 'web' OR city = 'Y'", ("web", "store", None)),
        ("day", "day BETWEEN '2026-01-30' AND '2026-02-10'", (date(2026, 1, 30), date(2026, 1, 31))),
        ("date_trunc('month', day)", "day > '2026-01-10'", (date(2026, 1, 1),)),
        ("dayofweek(day)", "day < '2026-01-03'", (4, 5)),
        ("month(sent)", "month(sent) <= 3", (1, 2, 3)),
        ("month(sent)", "month(sent) <= 3 AND month(sent) > 1 AND gift", (2, 3)),
        ("CASE WHEN gift THEN 'a' ELSE 'b' END", "CASE WHEN gift THEN 'a' ELSE 'b' END = 'a'", ("a",)),
        ("gift", "gift", (True,)),
    ],
)
def test_the_filter_narrows_the_cells_in_public(key: str, where: str, values: tuple[object, ...]) -> None:
    cells = cells_of(asked(f"SELECT {key} AS k, count(*) FROM orders WHERE {where} GROUP BY k"))
    assert cells is not None
    assert remaining(cells, 0) == values


def test_cells_are_all_combinations_that_the_filter_lets_through() -> None:
    sql = "SELECT channel, gift, count(*) FROM orders WHERE channel = 'web' OR NOT gift GROUP BY ALL"
    assert cells_of(asked(sql)) == (("web", False), ("web", True), ("store", False), (None, False))
    assert cells_of(asked("SELECT count(*) FROM orders WHERE amount > 5")) == ((),)
    assert cells_of(asked("SELECT channel, city, count(*) FROM orders GROUP BY ALL")) is None


def test_no_cell_is_a_refusal_that_names_the_declared_keys() -> None:
    for where in ("channel = 'fax'", "false"):
        with pytest.raises(QueryUnsupported) as caught:
            cells_of(asked(f"SELECT channel, count(*) FROM orders WHERE {where} GROUP BY channel"))
        assert caught.value.code == "NO_CELLS"
        assert "web, store, NULL" in caught.value.hint
    with pytest.raises(QueryUnsupported, match="No declared key"):
        cells_of(asked("SELECT count(*) FROM orders WHERE 1 = 2"))


def test_a_billion_groups_are_refused_before_they_are_built() -> None:
    keys = "wide, upper(wide) AS a, lower(wide) AS b, wider, upper(wider) AS c, lower(wider) AS d"
    with pytest.raises(QueryUnsupported) as caught:
        cells_of(asked(f"SELECT {keys}, count(*) FROM orders GROUP BY ALL"))
    assert (caught.value.code, caught.value.message) == ("TOO_MANY_CELLS", "The keys make more than 100,000 groups.")
    assert domain("wide || wider") is None  # and neither are the values of a key made of two columns
    buckets = ", ".join(f"width_bucket(amount, 0, {n}, 9999) AS b{n}" for n in range(1, 6))
    with pytest.raises(QueryUnsupported, match="more than 100,000 groups"):
        cells_of(asked(f"SELECT {buckets}, count(*) FROM orders GROUP BY ALL"))


def test_the_width_of_a_measure_counts() -> None:
    sql = "SELECT wide, histogram(amount, [{}]), count(*) FROM orders GROUP BY wide"
    assert MAX_CELLS // len(WIDE) > 200  # more than a histogram has bins
    edges = ", ".join(map(str, range(201)))
    assert len(cells_of(asked(sql.format(edges))) or ()) == len(WIDE)
    both = "SELECT wide, gift, channel, histogram(amount, [{}]) FROM orders GROUP BY ALL"
    with pytest.raises(QueryUnsupported, match="more than 500 groups"):
        cells_of(asked(both.format(edges)))
    assert refused(sql.format(", ".join(map(str, range(202))))).code == "HISTOGRAM_EDGES"
    top = "SELECT wide, approx_top_k(wider, 3) FROM orders GROUP BY wide"
    with pytest.raises(QueryUnsupported, match="more than 250 groups"):
        cells_of(asked(top))


def test_a_day_among_moments_stands_there_once() -> None:
    """Twice, and a unit would move two numbers of a most frequent value where one is proved."""
    mixed = "CASE WHEN gift THEN day ELSE CAST(day AS TIMESTAMP) END"
    values = domain(mixed)
    assert values is not None and len(values) == len(JANUARY) and set(map(type, values)) == {datetime}
    [top] = asked(f"SELECT approx_top_k({mixed}, 3) FROM orders").measures
    assert top.domain == values
