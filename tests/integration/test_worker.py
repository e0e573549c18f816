"""The worker's inside: it answers ordinary statements as DuckDB does, and once locked it reaches nothing else.

Here the guard is left out on purpose: what the lock alone must hold is tried on the worker's own connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.worker_kit import view_over

from kaianalytics.attack.corpus import ordinary_selects
from kaianalytics.errors import QueryFailed, WorkerFault
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.workers.failures import failure_of
from kaianalytics.gateway.workers.worker import ResultTooLarge, open_store, read, set_stops

TABLES = {
    "sessions": """SELECT 'S' || lpad(i::VARCHAR, 3, '0') AS session_id,
        CASE WHEN i % 4 > 0 THEN 'C' || (i % 5) END AS customer_id,
        TIMESTAMP '2026-01-01 08:00:00' + to_hours(i * 13) AS started_at,
        ['phone', 'computer', 'tablet', 'television'][1 + i % 4] AS device,
        ['news', 'shop', 'video'][1 + i % 3] AS service,
        (i * 7) % 10 + 1 AS pages, (i * 97) % 600 AS seconds, i % 2 = 0 AS referred FROM range(40) AS t(i)""",
    "orders": """SELECT 'O' || i AS order_id, 'C' || (i % 5) AS customer_id,
        TIMESTAMP '2026-01-02 00:00:00' + to_hours(i * 31) AS ordered_at,
        ['food', 'books'][1 + i % 2] AS category, 100 * i AS amount_yen, i % 3 + 1 AS quantity
        FROM range(12) AS t(i)""",
    "customers": "SELECT 'C' || i AS customer_id, ['free', 'premium'][1 + i % 2] AS plan FROM range(6) AS t(i)",
}
VIEWS = tuple(view_over(name, "customer_id") for name in TABLES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "it's a store.duckdb"
    with duckdb.connect(str(path)) as connection:
        for name, select in TABLES.items():
            connection.execute(f"CREATE TABLE {name} AS {select}")
    return path


def opening(store: Path, **changed: Any) -> dict[str, Any]:
    start = {"store": str(store), "views": VIEWS, "stops": [], "memory_limit": "512MiB", "threads": 2}
    return {**start, **changed}


@pytest.fixture
def locked(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = open_store(opening(store))
    yield connection
    connection.close()


def answered(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[str]]:
    """Column names and rows, as text: rows in the statement's order if it has one, else sorted."""
    schema, batches = read(connection, sql, 100_000, 10_000_000)
    rows = [repr(tuple(row.values())) for batch in batches for row in batch.to_pylist()]
    return schema.names, rows if "ORDER BY" in sql.rsplit(")", 1)[-1] else sorted(rows)


def test_ordinary_statements_are_answered_as_plain_duckdb_answers_them(store: Path) -> None:
    """Every statement of the corpus, through the guard and the locked worker, against DuckDB on the bare tables."""
    worker = open_store(opening(store))
    plain = duckdb.connect(config={"threads": 2})
    plain.execute("SET TimeZone='UTC'")
    for name, select in TABLES.items():
        plain.execute(f"CREATE TABLE {name} AS {select}")
    guard = Guard()
    differing = [
        sql
        for sql in ordinary_selects()
        if answered(worker, guard.admit(sql, tuple(TABLES)).sql) != answered(plain, sql)
    ]
    for connection in (worker, plain, guard):
        connection.close()
    assert differing == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{store}')",
        "SELECT * FROM read_blob('{store}')",
        "SELECT * FROM read_duckdb('{store}', table_name='orders')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "ATTACH '{store}' AS again",
        "ATTACH '{store}.new' AS fresh",
        "COPY sessions TO '{store}.csv'",
        "COPY (SELECT 1) TO '/dev/stdout'",
        "EXPORT DATABASE '{store}.out'",
        "IMPORT DATABASE '{store}.out'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access=true",
        "SET disabled_filesystems=''",
        "SET threads=64",
        "SET memory_limit='64GB'",
        "SET lock_configuration=false",
        "SET allowed_configs=['threads']",
        "SET temp_directory='/tmp'",
        "RESET disabled_filesystems",
        "PRAGMA threads=64",
        "INSERT INTO store.main.orders SELECT * FROM store.main.orders",
        "DELETE FROM store.main.orders",
        "CREATE TABLE store.main.t AS SELECT 1",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
        "SELECT * FROM pandas_scan(1, 2, 3)",
        "SELECT * FROM some_python_name",
    ],
)
def test_a_locked_connection_reaches_no_file_no_extension_and_no_setting(
    locked: duckdb.DuckDBPyConnection, store: Path, sql: str
) -> None:
    some_python_name = [1]  # what a replacement scan would find
    assert some_python_name
    folder = sorted(store.parent.iterdir())
    with pytest.raises(duckdb.Error):
        locked.execute(sql.format(store=str(store).replace("'", "''"))).fetchall()
    assert sorted(store.parent.iterdir()) == folder


def test_the_lock_is_what_holds_and_not_the_place(store: Path) -> None:
    """The same statements go through on an unlocked connection: else the test above could not fail."""
    with duckdb.connect() as connection:
        quoted = str(store).replace("'", "''")
        assert connection.execute(f"SELECT size FROM read_blob('{quoted}')").fetchone()
        connection.execute("SET threads=1")


def test_stops_take_units_out_of_every_view_at_once_and_put_them_back(locked: duckdb.DuckDBPyConnection) -> None:
    def customers() -> list[tuple[str, ...]]:
        return locked.execute("SELECT customer_id FROM customers ORDER BY 1").fetchall()

    everyone = customers()
    set_stops(locked, VIEWS, ["C1", "C1", "CAFE"])
    assert customers() == [row for row in everyone if row != ("C1",)]
    assert locked.execute("SELECT count(*) FROM orders WHERE customer_id = 'C1'").fetchone() == (0,)
    set_stops(locked, VIEWS, [])
    assert customers() == everyone


def leaving_out(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The views that look at the stops at all."""
    views = connection.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal").fetchall()
    return {name for name, sql in views if "kai_stops" in sql}


def test_only_a_view_that_holds_a_stopped_unit_looks_at_the_stops(locked: duckdb.DuckDBPyConnection) -> None:
    """C5 is a customer without an order or a session; nobody is called CAFE."""
    assert leaving_out(locked) == set()
    set_stops(locked, VIEWS, ["CAFE"])
    assert leaving_out(locked) == set()
    set_stops(locked, VIEWS, ["CAFE", "C5"])
    assert leaving_out(locked) == {"customers"}
    set_stops(locked, VIEWS, ["CAFE", "C5", "C1"])
    assert leaving_out(locked) == set(TABLES)


def test_stops_are_taken_whole_or_not_at_all(locked: duckdb.DuckDBPyConnection) -> None:
    """What fails half way changes nothing; `serve` ends the process then, so that nothing is answered without them."""
    spoilt = [*VIEWS[:-1], ("CREATE OR REPLACE SECURE VIEW v AS FROM nowhere", "nonsense", "SELECT false")]
    for views, units in ((spoilt, ["C1"]), (VIEWS, ["C1", "no pseudonym"])):
        with pytest.raises(duckdb.Error):
            set_stops(locked, views, units)
        locked.execute("ROLLBACK")
        assert leaving_out(locked) == set()
        assert locked.execute("SELECT count(*) FROM memory.main.kai_stops").fetchone() == (0,)


def test_a_view_that_does_not_fit_the_store_ends_the_start(store: Path) -> None:
    fine = VIEWS[0]
    for shape in range(3):
        with pytest.raises(duckdb.Error):
            statements = [statement.replace("t.*", "t.nope").replace("t.customer_id", "t.nope") for statement in fine]
            open_store(opening(store, views=([*fine[:shape], statements[shape], *fine[shape + 1 :]],)))


def test_rows_and_bytes_are_bounded(locked: duckdb.DuckDBPyConnection) -> None:
    _, batches = read(locked, "FROM range(1000)", 1000, 10_000)
    assert sum(batch.num_rows for batch in batches) == 1000
    for rows_max, bytes_max in ((999, 10_000), (1000, 7_000)):
        with pytest.raises(ResultTooLarge):
            read(locked, "FROM range(1000)", rows_max, bytes_max)


def test_an_error_after_the_first_rows_is_of_the_engines_own_class(locked: duckdb.DuckDBPyConnection) -> None:
    """Rows come while the query runs, and what it fails with then would be told as Arrow's: every fault alike."""
    late = "SELECT CAST(CASE WHEN range > 90000 THEN 'x' ELSE '1' END AS INT) FROM range(100000)"
    with pytest.raises(OSError, match="Conversion"):
        locked.sql(late).to_arrow_reader(1000).read_all()
    with pytest.raises(duckdb.ConversionException):
        read(locked, late, 1_000_000, 1_000_000_000)
    assert read(locked, "SELECT 1", 1, 1000)[1][0].num_rows == 1


def test_a_result_that_is_too_large_is_not_in_the_next_ones_way(locked: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ResultTooLarge):
        read(locked, "FROM range(10000000000)", 200_000, 10_000_000)  # it ends as soon as it is known
    assert read(locked, "SELECT 1", 1, 1000)[1][0].num_rows == 1


def test_every_class_of_engine_error_becomes_a_sentence_of_ours() -> None:
    """No class of DuckDB's errors is without an answer, and one that nobody foresaw ends the worker."""
    classes = [kind for kind in vars(duckdb).values() if isinstance(kind, type) and issubclass(kind, duckdb.Error)]
    assert len(classes) > 20
    for kind in classes:
        failure = failure_of([parent.__name__ for parent in kind.__mro__])
        assert failure.kind == kind.__name__
        assert isinstance(failure.error(), WorkerFault if failure.ends_worker else QueryFailed)
    assert failure_of(["SomethingNew", "Exception"]).ends_worker
    assert Counter(failure_of([name]).code for name in ("ConversionException", "BinderException")) == {
        "DATA_ERROR": 1,
        "BIND_ERROR": 1,
    }
