"""Under each NULL of an answer stands zero, at every depth; DuckDB by itself leaves its memory there."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from kaianalytics.gateway.workers.leftovers import without_leftovers

CANARY = "kanarie"
ROWS = 20_000  # a block of memory that held texts before
NEVER = "CASE WHEN i < 0 THEN {} END"
VALUES = [
    "NULL::BIGINT",
    *(NEVER.format(f"i::{kind}") for kind in ("TINYINT", "UINTEGER", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL(5, 2)")),
    *(NEVER.format(value) for value in ("DATE '2026-01-05'", "make_timestamp(i)", "TIME '12:00'")),
    *(NEVER.format(value) for value in ("to_days(1)", "i < 0")),
    "CASE WHEN i % 2 = 0 THEN i::VARCHAR END",
    "[CASE WHEN i < 0 THEN i END]",
    "[{'a': CASE WHEN i < 0 THEN i END}]",
    "CASE WHEN i % 2 = 0 THEN [i, NULL] END",
    "CASE WHEN i % 3 = 0 THEN [[i, NULL], NULL] END",
    "CASE WHEN i % 2 = 0 THEN [i, i]::BIGINT[2] END",
    "CASE WHEN i % 2 = 0 THEN MAP {'a': CASE WHEN i < 0 THEN i END} END",
    "NULL",
    "i",
]
STRUCTS = ["CASE WHEN i % 2 = 0 THEN {'a': i} END", "{'a': {'b': [CASE WHEN i < 0 THEN i END]}, 'c': 'x'}"]


def answered(value: str) -> pa.RecordBatch:
    """One batch by an engine whose memory has held canaries."""
    with duckdb.connect() as engine:
        engine.execute(f"SELECT repeat('{CANARY}', 99) || i FROM range({ROWS}) AS t(i) ORDER BY 1").fetchall()
        reader = engine.sql(f"SELECT {value} AS x FROM range({ROWS}) AS t(i)").to_arrow_reader(ROWS)
        return reader.read_next_batch()


def sent(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("value", [*VALUES, *STRUCTS])
def test_the_values_stay_and_nothing_else_is_sent(value: str) -> None:
    batch = answered(value)
    clean = without_leftovers(batch)
    clean.validate(full=True)
    assert clean.schema == batch.schema
    assert clean.equals(batch)
    assert CANARY.encode() not in sent(clean)
    if value in VALUES:  # byte by byte what the values alone make; a struct's fields are NULL twice here
        made_anew = pa.RecordBatch.from_arrays([pa.array(batch.column(0).to_pylist(), batch.column(0).type)], ["x"])
        assert sent(clean) == sent(made_anew.cast(batch.schema))
    part = batch.slice(3, 1000)
    assert without_leftovers(part).equals(part)


def test_planted_fault_what_the_engine_gives_holds_its_memory() -> None:
    assert any(CANARY.encode() in sent(answered(value)) for value in (*VALUES, *STRUCTS))


def test_a_batch_without_columns_or_rows_stays_one() -> None:
    empty = pa.RecordBatch.from_pylist([], pa.schema([("x", pa.int64()), ("y", pa.struct([("z", pa.int8())]))]))
    assert without_leftovers(empty).equals(empty)
