"""Planted faults that the oracle must catch: a lax guard, a leaky view, a worker that is wrong, one that stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import duckdb
import pyarrow as pa
import pytest

from fuzz.asking import directly
from fuzz.making import statement
from fuzz.oracle import Ask, Finding, Oracle
from fuzz.plain import Plain
from fuzz.statements import Statement
from fuzz.watching import Watch
from fuzz.world import COLUMNS, PURPOSE, FuzzWorld
from kaianalytics.errors import QueryFailed
from kaianalytics.gateway.guard.admission import Guard

SEED, ENOUGH = 7, 200


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


@pytest.fixture
def oracle(fuzzed: FuzzWorld, plain: Plain) -> Oracle:
    return Oracle(plain, fuzzed.canaries)


def answered(connection: duckdb.DuckDBPyConnection, sql: str) -> bytes:
    """What an engine gives, as a worker that cleans nothing would send it."""
    try:
        table = connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise QueryFailed("DATA_ERROR", "The query raised an error on some value.") from error
    return sent(table)


def sent(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def engine(world: FuzzWorld, condition: str) -> duckdb.DuckDBPyConnection:
    """The views of the purpose over its store, left to a condition."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    connection.execute(f"ATTACH '{world.store(PURPOSE)}' AS store (READ_ONLY)")
    for view, columns in COLUMNS.items():
        shown = ", ".join(columns)
        connection.execute(f"CREATE VIEW {view} AS SELECT {shown} FROM store.main.{view} WHERE {condition}")
    return connection


def finding(oracle: Oracle, ask: Ask, made: Callable[[int], Statement] | None = None) -> str:
    """What the oracle finds first among some hundred statements; '' where it finds nothing."""
    for number in range(ENOUGH):
        try:
            oracle.judge(made(number) if made else statement(SEED, number), ask)
        except Finding as found:
            return str(found)
    return ""


def test_without_a_fault_it_finds_nothing(fuzzed: FuzzWorld, oracle: Oracle) -> None:
    with directly(fuzzed) as ask:
        assert finding(oracle, ask) == ""


def test_a_guard_that_admits_a_forbidden_function_is_caught(fuzzed: FuzzWorld, oracle: Oracle, guard: Guard) -> None:
    def ask(sql: str) -> bytes:
        guard.admit(sql, tuple(COLUMNS), {"stats", "error", "now", "uuid", "random", "current_setting"})
        raise QueryFailed("DATA_ERROR", "It came so far.")

    assert "admitted, and it must not be" in finding(oracle, ask, lambda number: _with_forbidden(number))


def _with_forbidden(number: int) -> Statement:
    """Of the stream, statements with one of the functions that the planted guard admits."""
    made = (statement(SEED, place) for place in range(number * 200, number * 200 + 200))
    return next((one for one in made if one.forbidden and "stats(" in one.sql), statement(SEED, number))


def test_a_view_that_shows_a_stopped_customer_is_caught(fuzzed: FuzzWorld, oracle: Oracle, guard: Guard) -> None:
    with engine(fuzzed, "true") as connection:

        def ask(sql: str) -> bytes:
            guard.admit(sql, tuple(COLUMNS))
            return answered(connection, sql)

        assert "a canary was seen" in finding(oracle, ask) or "plain DuckDB" in finding(oracle, ask)


def test_one_hidden_row_is_enough(fuzzed: FuzzWorld, oracle: Oracle, guard: Guard) -> None:
    [(row,)] = (
        duckdb.connect(str(fuzzed.store(PURPOSE)), read_only=True)
        .execute("SELECT session_id FROM sessions WHERE label LIKE 'kanarie%' LIMIT 1")
        .fetchall()
    )
    with engine(fuzzed, "true") as connection:
        connection.execute(
            f"CREATE OR REPLACE VIEW sessions AS SELECT {', '.join(COLUMNS['sessions'])} FROM store.main.sessions "
            f"WHERE label IS NULL OR label NOT LIKE 'kanarie%' OR session_id = '{row}'"
        )

        def ask(sql: str) -> bytes:
            guard.admit(sql, tuple(COLUMNS))
            return answered(connection, sql)

        found = finding(oracle, ask)
        assert "a canary was seen" in found or "plain DuckDB answers" in found


@pytest.mark.parametrize(
    "fault",
    [
        lambda table: table.slice(1),
        lambda table: pa.concat_tables([table, table.slice(0, 1)]),
        lambda table: table.rename_columns([name + " " for name in table.column_names]),
    ],
    ids=["loses a row", "repeats a row", "renames its columns"],
)
def test_a_worker_that_answers_wrongly_is_caught(
    fuzzed: FuzzWorld, oracle: Oracle, fault: Callable[[pa.Table], pa.Table]
) -> None:
    with directly(fuzzed) as right:

        def wrong(sql: str) -> bytes:
            return sent(fault(pa.ipc.open_stream(right(sql)).read_all()))

        assert "plain DuckDB answers" in finding(oracle, wrong)


def test_a_worker_that_sends_its_memory_is_caught(oracle: Oracle) -> None:
    """Eight NULLs, and under them what the memory held: their values are right, their bytes are not."""
    memory = pa.py_buffer(b"kanarie-label-C0000017".ljust(64))
    nulls = pa.Array.from_buffers(pa.int64(), 8, [pa.py_buffer(b"\0"), memory])
    asked = Statement("SELECT NULL::BIGINT AS x FROM range(8)")
    assert "a canary was seen" in finding(oracle, lambda sql: sent(pa.table({"x": nulls})), lambda _: asked)


def test_an_error_that_a_hidden_row_raises_is_caught(fuzzed: FuzzWorld, oracle: Oracle) -> None:
    asked = Statement("SELECT count(*) FROM sessions WHERE CASE WHEN label LIKE 'kan%' THEN label::INTEGER END > 1")
    with engine(fuzzed, "true") as connection:
        assert "where plain DuckDB answers" in finding(oracle, lambda sql: answered(connection, sql), lambda _: asked)


def test_a_process_and_a_descriptor_that_stay_are_caught(tmp_path: object) -> None:
    before = Watch(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert before._told(0).startswith("1 processes more")
        assert before._told(1) == ""
    finally:
        child.kill()
        child.communicate()
    kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    assert "descriptors more" in before._told(0)
    for descriptor in kept:
        os.close(descriptor)
    assert before.leaked() == ""
