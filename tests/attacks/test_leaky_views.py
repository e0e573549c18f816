"""Leaky views: a condition of an analyst's that fails on a row, or tells of it, where that row is hidden by a stop.

Each probe is a statement that the guard admits and that raises an error on some value which only a stopped person's
rows hold: a cast, an overflow, a division, a pattern. It is asked of real workers in worlds that must be the same to an
analyst: one whose store never had those rows, one that starts with the stop, one that is told of it later. Outcomes
are compared whole: the code and sentence of a failure, or every row of the answer.

The same views without SECURE let many of the probes through, so that these tests can fail.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from support.worker_kit import PERSON

from kaianalytics.errors import KaiError
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.workers.pool import SessionWorker, WorkerPool
from kaianalytics.gateway.workers.process import StoreSpec, WorkerLimits
from kaianalytics.policy.contract import Basis, ColumnRule, ColumnType
from kaianalytics.policy.secure_views import ViewSql, view_sql
from kaianalytics.policy.views import ColumnPlan, TablePlan

HIDDEN = frozenset(PERSON[:2])
SECRET = "hidden-7f3a"

# A row as its person's kind has it: each column of the stopped ones holds what some expression fails on.
VISITS = f"""SELECT
    '{{unit}}' AS unit, i AS visit, {{plain}} AS plain,
    if({{plain}}, (i % 7 + 1)::varchar, '{SECRET}' || i) AS note,
    if({{plain}}, i % 5 + 1, 0) AS pages,
    if({{plain}}, i::bigint, 9223372036854775800 + i) AS amount,
    if({{plain}}, i % 3 + 0.5, -1.0 - i)::double AS ratio,
    if({{plain}}, 'a.*', '(' || i) AS pattern,
    if({{plain}}, DATE '2026-01-01' + i::integer, DATE '290000-01-01') AS day,
    if({{plain}}, [i, i + 1], [i, i]) AS pair,
    if({{plain}}, 1, 99) AS month
    FROM range(6) AS t(i)"""
PEOPLE = "SELECT '{unit}' AS unit, if({plain}, 'free', '" + SECRET + "') AS plan, if({plain}, 1, 0) AS level"


def planned(product: str, **columns: ColumnType) -> ViewSql:
    """The view that the product itself makes for such a table of a `rows` store."""
    kept = ColumnRule("keep")
    plans = tuple(ColumnPlan(name, name, kept, kind, kind, nullable=True) for name, kind in columns.items())
    return view_sql(TablePlan(product, product, plans, Basis("notified"), "people", "unit", None, None))


VIEWS = (
    planned(
        "visits",
        unit="string",
        visit="integer",
        plain="boolean",
        note="string",
        pages="integer",
        amount="integer",
        ratio="number",
        pattern="string",
        day="date",
        pair="string",
        month="integer",
    ),
    planned("people", unit="string", plan="string", level="integer"),
)

# What fails on the hidden rows' values alone.
FAILS = (
    "CAST(note AS integer)",
    "note::double + 1",
    "note::decimal(9, 2)",
    "strptime(note, '%d')",
    "CAST('2026-01-0' || note AS date)",
    "CAST(amount AS integer)",
    "amount::decimal(4, 0)",
    "amount * 3",
    "amount + 9000000000000000000",
    "-amount - 9000000000000000000",
    "abs(amount::smallint)",
    "100 // pages",
    "100 % pages",
    "sqrt(ratio)::integer",
    "ln(ratio)::decimal(9, 4)",
    "factorial(if(ratio < 0, -1, 3))",
    "1::integer << (if(pages = 0, 70, pages))::integer",
    "chr(if(pages = 0, -5, 65))",
    "regexp_matches('abc', pattern)",
    "regexp_replace('abc', pattern, 'x')",
    "regexp_extract('abc', pattern)",
    "'a' SIMILAR TO pattern",
    "string_split_regex('abc', pattern)",
    "(day + INTERVAL 200000 YEARS)::varchar",
    "make_date(2026, month, 1)",
    "map(pair, ['a', 'b'])",
    "list_transform([note], lambda x: x::integer)",
    "[100 // x FOR x IN [pages]]",
    "CASE WHEN pages = 0 THEN note::integer ELSE 1 END",
    "CASE WHEN note LIKE 'hidden%' THEN CAST(note AS date) END",
    "coalesce(nullif(note, 'x')::integer, 1)",
    "if(plain, '1', 'x' || note)::integer",
)
# Where such an expression may stand.
STANDS = (
    "SELECT count(*) FROM visits WHERE {0} IS NOT NULL",
    "SELECT count(*) FROM visits WHERE ({0})::varchar <> 'x'",
    "SELECT visits.unit FROM people JOIN visits USING (unit) WHERE ({0})::varchar <> 'x' AND level < 5",
    "SELECT unit FROM people SEMI JOIN visits ON people.unit = visits.unit AND ({0})::varchar <> 'x'",
    "SELECT unit, visit, {0} AS x FROM visits",
    "SELECT max(({0})::varchar) FROM visits",
    "SELECT count({0}) FILTER (WHERE {0} IS NOT NULL) FROM visits",
    "SELECT {0} AS x, count(*) FROM visits GROUP BY x",
    "SELECT unit, max(({0})::varchar) AS x FROM visits GROUP BY unit HAVING max(({0})::varchar) IS NOT NULL",
    "SELECT visit, unit FROM visits ORDER BY ({0})::varchar DESC, visit, unit LIMIT 3",
    "SELECT count(*) OVER (PARTITION BY ({0})::varchar) AS n, visit, unit FROM visits",
    "SELECT unit, visit FROM visits QUALIFY row_number() OVER (ORDER BY ({0})::varchar, visit, unit) <= 4",
    "SELECT DISTINCT ({0})::varchar AS x FROM visits WHERE visit < 5",
    "SELECT count(*) FROM people JOIN visits ON people.unit = visits.unit AND {0} IS NOT NULL",
    "SELECT count(*) FROM people LEFT JOIN visits ON people.unit = visits.unit AND {0} IS NULL",
    "SELECT count(*) FROM people, LATERAL (SELECT {0} AS x FROM visits WHERE visits.unit = people.unit) AS l",
    "SELECT count(*) FROM people WHERE unit IN (SELECT unit FROM visits WHERE {0} IS NOT NULL)",
    "SELECT unit FROM people WHERE EXISTS (SELECT 1 FROM visits WHERE visits.unit = people.unit AND {0} IS NOT NULL)",
    "SELECT (SELECT count({0}) FROM visits WHERE visits.unit = people.unit) AS n FROM people",
    "WITH v AS MATERIALIZED (SELECT {0} AS x FROM visits) SELECT count(x) FROM v",
    "WITH v AS (SELECT * FROM visits WHERE NOT plain) SELECT count({0}) FROM v",
    "SELECT count(*) FROM (SELECT {0} AS x FROM visits UNION ALL SELECT {0} FROM visits) WHERE x IS NOT NULL",
    "SELECT count(*) FROM visits WHERE NOT plain AND {0} IS NULL",
    "SELECT count(*) FROM visits WHERE unit = '" + PERSON[0] + "' AND {0} IS NOT NULL",
    "SELECT count(*) FROM visits WHERE note > 'h' AND {0} IS NOT NULL OR pages = 0",
)
# Of the catalog, of functions that no guard admits, and of what a hidden value would be in the plainest way.
DIRECT = (
    "SELECT count(*) FROM visits WHERE error(note) IS NULL",
    f"SELECT CASE WHEN note LIKE '{SECRET}%' THEN error(note) END FROM visits",
    "SELECT max(note), min(note), min(pages), max(amount), count(*) FROM visits",
    "SELECT count(DISTINCT unit), approx_count_distinct(unit) FROM visits",
    "SELECT histogram(pages), list(note ORDER BY note), bit_or(amount), median(ratio) FROM visits",
    f"SELECT count(*) FROM visits WHERE note >= '{SECRET}'",
    "SELECT * FROM visits WHERE pages = 0 OR month = 99 OR day > DATE '2030-01-01'",
    "SELECT count(*) FROM people ANTI JOIN visits USING (unit)",
    "SELECT plan, count(*) FROM people FULL JOIN visits USING (unit) GROUP BY plan",
    "SELECT 1 // (SELECT min(pages) FROM visits)",
    "SELECT (SELECT note FROM visits WHERE pages = 0 AND visit = 1)",
    "SELECT unit FROM people WHERE level < ALL (SELECT pages FROM visits)",
    "SELECT sum(amount)::bigint FROM visits",
    "SELECT list(note ORDER BY amount DESC)[1]::integer FROM visits",
    "SELECT * FROM range((SELECT max(visit) // min(pages) FROM visits))",
)
PROBES = tuple(place.format(fails) for fails, place in itertools.product(FAILS, STANDS))


def plain_view(view: ViewSql) -> ViewSql:
    """The planted fault: the view that leaves out the stopped, as an ordinary one."""
    assert "SECURE VIEW" in view.stopping
    return view._replace(stopping=view.stopping.replace("SECURE VIEW", "VIEW"))


def store(path: Path, units: list[str]) -> Path:
    """A store of these people; whoever is of the hidden has the hidden's values."""
    with duckdb.connect(str(path)) as connection:
        for table, rows in (("visits", VISITS), ("people", PEOPLE)):
            selects = [rows.format(unit=unit, plain="false" if unit in HIDDEN else "true") for unit in units]
            connection.execute(f"CREATE TABLE {table} AS {' UNION ALL '.join(selects)}")
    return path


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, SessionWorker]]:
    folder = tmp_path_factory.mktemp("stores")
    without = store(folder / "without.duckdb", PERSON[2:6])
    whole = store(folder / "whole.duckdb", PERSON[:6])
    leaky = tuple(map(plain_view, VIEWS))
    specs = {  # a purpose each: a stop reaches every session of its purpose
        "without": StoreSpec("a", "rows", without, VIEWS),
        "stopped": StoreSpec("b", "rows", whole, VIEWS, HIDDEN),
        "told later": StoreSpec("c", "rows", whole, VIEWS),
        "leaky": StoreSpec("d", "rows", whole, leaky, HIDDEN),
    }
    pool = WorkerPool(WorkerLimits(memory_mib=256, threads=1))
    found = {name: pool.session(name, spec) for name, spec in specs.items()}
    assert outcome(found["told later"], "SELECT count(*) FROM people") == outcome(found["without"], "SELECT 6::bigint")
    pool.update_stops("c", HIDDEN)
    yield found
    pool.close_all()


@pytest.fixture(scope="module")
def plainly(worlds: Mapping[str, SessionWorker]) -> Mapping[str, tuple[str, ...]]:
    """What each probe is answered where the hidden rows never were."""
    return {sql: outcome(worlds["without"], sql) for sql in (*PROBES, *DIRECT)}


def outcome(worker: SessionWorker, sql: str) -> tuple[str, ...]:
    """All that an analyst is told: the failure as it is worded, or the rows, in whichever order they come."""
    try:
        answer = b"".join(worker.run(sql, deadline_s=20))
    except KaiError as failure:
        return ("failed", failure.code, failure.message, failure.hint)
    table = pa.ipc.open_stream(answer).read_all()
    rows = sorted(repr(tuple(row.values())) for row in table.to_pylist())
    assert not any(hidden in row for hidden in (SECRET, *HIDDEN) for row in rows)
    return ("answered", str(table.schema.types), *rows)


def test_there_are_enough_probes_and_a_guard_admits_them() -> None:
    assert len(set(PROBES)) == len(PROBES) >= 800
    guard = Guard()
    for sql in (*PROBES, *(sql for sql in DIRECT if "error(" not in sql)):
        guard.admit(sql, ("visits", "people"))
    guard.close()


@pytest.mark.parametrize(("world", "every"), [("stopped", 1), ("told later", 5)])
def test_a_probe_fares_as_if_the_hidden_rows_had_never_been(
    worlds: Mapping[str, SessionWorker], plainly: Mapping[str, tuple[str, ...]], world: str, every: int
) -> None:
    found = {sql: outcome(worlds[world], sql) for sql in (*PROBES[::every], *DIRECT)}
    assert {sql: (plainly[sql], got) for sql, got in found.items() if plainly[sql] != got} == {}


def test_a_probe_answers_where_nothing_is_hidden_that_it_fails_on(plainly: Mapping[str, tuple[str, ...]]) -> None:
    """Else it would fail alike in every world, and prove nothing."""
    assert [sql for sql in PROBES if plainly[sql][0] == "failed"] == []


def test_planted_fault_the_same_views_without_secure_leak(worlds: Mapping[str, SessionWorker]) -> None:
    leaking = {sql for sql in PROBES if leaks(worlds["leaky"], sql)}
    assert len(leaking) >= 100
    assert [fails for fails in FAILS if not any(fails in sql for sql in leaking)] == []


def leaks(worker: SessionWorker, sql: str) -> bool:
    try:
        return outcome(worker, sql)[0] == "failed"
    except AssertionError:  # a hidden value in the answer
        return True
