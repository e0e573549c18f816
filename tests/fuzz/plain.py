"""Plain DuckDB on the permitted rows alone, in a process of its own that is ended when a statement takes too long.

A statement may leave open in which order rows come, are joined or summed, and what is computed of rows that a later
step drops. So the truth can be asked under several `orders`: the same rows stored in other orders, with the optimizer
off, behind a secure view that filters nothing out. What the answers have in common is what the statement says; where
they differ, it does not say.
"""

from __future__ import annotations

import json
import resource
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

ORDERS = 6
MEMORY = 3 * 1024**3
_HEAD = struct.Struct(">I")


@dataclass(frozen=True)
class Truth:
    """What plain DuckDB answers: a table, or the classes of its error, most specific first; neither when cut off."""

    table: pa.Table | None = None
    error: tuple[str, ...] = ()

    @property
    def cut_off(self) -> bool:
        """Whether it took too long, or ended its process."""
        return self.table is None and not self.error


class Plain:
    """The process, started anew when it had to be ended."""

    def __init__(self, truth: Path, seconds: float = 10.0) -> None:
        self._truth = truth
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None

    def answer(self, sql: str, order: int = 0) -> Truth:
        """The answer with rows in one of the orders."""
        if self._child is None:
            command = [sys.executable, str(Path(__file__).resolve()), str(self._truth)]
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        try:
            _write(self._child.stdin, json.dumps([sql, order]).encode())
            said = _read(self._child.stdout, time.monotonic() + self._seconds)
        except (OSError, TimeoutError):
            said = None
        if said is None:
            self.end()
            return Truth()
        if said[:1] == b"E":
            return Truth(error=tuple(said[1:].decode().split()))
        return Truth(table=pa.ipc.open_stream(said[1:]).read_all())

    def end(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


def _write(stream: Any, data: bytes) -> None:
    stream.write(_HEAD.pack(len(data)) + data)
    stream.flush()


def _read(stream: Any, until: float | None = None) -> bytes | None:
    head = _exactly(stream, _HEAD.size, until)
    return None if head is None else _exactly(stream, _HEAD.unpack(head)[0], until)


def _exactly(stream: BinaryIO, count: int, until: float | None) -> bytes | None:
    received = bytearray()
    while len(received) < count:
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([stream], [], [], left)[0]:
            raise TimeoutError
        piece = stream.raw.read(count - len(received)) if hasattr(stream, "raw") else b""
        if not piece:
            return None
        received += piece
    return bytes(received)


def _connection(truth: str, order: int) -> duckdb.DuckDBPyConnection:
    """The permitted rows under their views' names, in one order: as they are, backwards, or by a digest."""
    connection = duckdb.connect(config={"threads": 1, "memory_limit": "512MB", "max_temp_directory_size": "0B"})
    connection.execute("SET TimeZone='UTC'")
    connection.execute(f"ATTACH '{truth}' AS truth (READ_ONLY)")
    connection.execute("ATTACH ':memory:' AS base")
    connection.execute("CREATE TABLE base.nobody (unit VARCHAR)")
    shape = {3: " WHERE true", 5: " AS t WHERE NOT EXISTS (FROM base.nobody AS n WHERE n.unit = t.customer_id)"}.get(
        order, ""
    )
    tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'truth'"
    for (view,) in connection.execute(tables).fetchall():
        by = {0: "rowid", 1: "rowid DESC"}.get(order, f"md5(concat(t::VARCHAR, '{order}'))")
        connection.execute(f"CREATE TABLE base.{view} AS SELECT * FROM truth.{view} AS t ORDER BY {by}")
        connection.execute(f"CREATE {'SECURE VIEW' if shape else 'VIEW'} {view} AS SELECT * FROM base.{view}{shape}")
    connection.execute("DETACH truth")
    if order in (1, 4):
        connection.execute("PRAGMA disable_optimizer")
    return connection


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> bytes:
    try:
        reader = connection.execute(sql).to_arrow_reader(65536)
        table = reader.read_all()
    except (duckdb.Error, pa.ArrowException, MemoryError, RuntimeError, ValueError) as error:
        return b"E" + " ".join(kind.__name__ for kind in type(error).__mro__).encode()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return b"T" + sink.getvalue().to_pybytes()


def main(truth: str) -> None:
    """Answer until the other side is gone."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    connections: dict[int, duckdb.DuckDBPyConnection] = {}
    while (asked := _read(sys.stdin.buffer)) is not None:
        sql, order = json.loads(asked)
        if order not in connections:
            connections[order] = _connection(truth, order)
        answer = _answer(connections[order], sql)
        if b"Internal" in answer[:60] or b"Fatal" in answer[:60]:
            connections.clear()  # such an error leaves an engine in doubt
        _write(sys.stdout.buffer, answer)


if __name__ == "__main__":
    main(sys.argv[1])
