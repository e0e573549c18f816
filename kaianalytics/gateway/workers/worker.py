"""The SQL worker: one process that holds one store, answers SELECTs on its views, and can reach nothing else.

It has one end of a socket pair as its standard input, and is forked from the warm process (`warm`), or is
`python -I -m kaianalytics.gateway.workers.worker <pid of the gateway>`.
The order of its life, of which no step may move:

1. Limits first: no core dump, no file writes, a cap on memory and on processor time. It dies with its parent.
2. Capabilities and Landlock, while there is one thread: the engine's threads inherit what binds the thread that starts
   them, and one that was there before would stay free. Of all files it reads its store, libraries, and little else.
3. Open: an in-memory catalog with every extension, secret and Python replacement off; the store attached read-only.
4. The stop table and the views, from the pool's texts, in both their shapes; then every view is read once.
5. Lock: no external access, no local file system, no setting can be changed. A worker that still reads a file ends.
6. Seccomp on every thread: no process, program, socket or open for writing from here on.
7. Only then READY, which tells the layers that hold, and requests one at a time, until the other side is gone. New
   stops change the views they touch in one transaction, before the next answer; a worker that can't make them hold
   ends.

An answer is whole before its first byte leaves: an error or a result that is too large is told instead of it, never
after it, and holds its values and nothing beside them (`leftovers`). Of an error, only a code, a sentence of ours and
the engine's *class* of error leave this process (law 5).
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from kaianalytics.gateway.workers.channel import Channel, FrameKind
from kaianalytics.gateway.workers.failures import Failure, failure_of, result_too_large, unexpected_statement
from kaianalytics.gateway.workers.leftovers import without_leftovers
from kaianalytics.sandbox import confine, limits
from kaianalytics.sandbox.confine import Held
from kaianalytics.sandbox.confinement import Confinement, Layer

BATCH_ROWS = 64 * 1024
CHUNK_BYTES = 1024 * 1024

_SETTINGS_TO_OPEN = {
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "max_temp_directory_size": "0B",
    "python_enable_replacements": False,
    "temp_directory": "",
}
_LOCK = (
    "SET enable_external_access=false",
    "SET disabled_filesystems='LocalFileSystem'",  # else the store file itself could be read as bytes
    "SET lock_configuration=true",
)


# a unit by its pseudonym and, as statistics stores number it, by the first 64 bits of that
_STOP = """INSERT INTO kai_stops SELECT DISTINCT unit, CAST('0x' || left(unit, 16) AS UBIGINT)
    FROM (SELECT unnest(?::VARCHAR[]) AS unit)"""

View = Sequence[
    str
]  # the statements of one view: open, stopping, and the question whether its table holds a stopped unit


class ResultTooLarge(Exception):
    """The result has more rows or bytes than the request allows."""


def main() -> None:
    """A worker without a warm parent."""
    limits.die_with_parent(int(sys.argv[1]))
    work(Channel(socket.socket(fileno=0)))


def work(channel: Channel) -> None:
    """Opens what the first frame says, and serves the channel until the other side closes it."""
    opening = channel.receive()
    if opening is None or opening.kind is not FrameKind.OPEN:
        return
    start = opening.json()
    connection, held = open_confined(start)
    channel.send_json(FrameKind.READY, {"layers": sorted(held.layers), "bounds": sorted(held.bounds)})
    serve(channel, connection, start["views"])


def open_confined(start: dict[str, Any]) -> tuple[duckdb.DuckDBPyConnection, Held]:
    """A locked connection on the one store, in a process that is confined to it (steps 1 to 6)."""
    confinement = Confinement.from_json(start["confinement"])
    limits.die_first()
    bounds = confine.enter_limits(confinement)
    confine.enclose(confinement)
    connection = open_store(start)
    held = confine.seal(confinement, bounds)
    _prove_confined(held)
    return connection, held


def open_store(start: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """A locked connection on the one store (steps 3 to 5)."""
    connection = attach(start)
    lock(connection, start["store"])
    return connection


def attach(start: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """A connection on the one store, with its stop table and views, that is not locked yet (steps 3 and 4)."""
    settings = {"memory_limit": start["memory_limit"], "threads": start["threads"], **_SETTINGS_TO_OPEN}
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET TimeZone='UTC'")
    connection.execute(f"ATTACH {_literal(start['store'])} AS store (READ_ONLY)")
    connection.execute("CREATE TABLE kai_stops (unit VARCHAR, kai_unit UBIGINT)")
    for _, stopping, _ in start["views"]:
        connection.execute(stopping)
    _read_every_view(connection)
    set_stops(connection, start["views"], start["stops"])
    _read_every_view(connection)
    return connection


def lock(connection: duckdb.DuckDBPyConnection, store: str) -> None:
    """Takes from the engine every file and every setting (step 5)."""
    for setting in _LOCK:
        connection.execute(setting)
    _prove_locked(connection, store)


def set_stops(connection: duckdb.DuckDBPyConnection, views: Sequence[View], units: Sequence[str]) -> None:
    """Makes the stopped units exactly these, at once for every view."""
    connection.execute("BEGIN TRANSACTION")
    connection.execute("DELETE FROM kai_stops")
    connection.execute(_STOP, [list(units)])
    for shape_open, stopping, held in views:
        [(holds_one,)] = connection.execute(held).fetchall()
        connection.execute(stopping if holds_one else shape_open)
    connection.execute("COMMIT")


def serve(channel: Channel, connection: duckdb.DuckDBPyConnection, views: Sequence[View]) -> None:
    """Answers requests until the other side is gone, or an error leaves the engine in doubt."""
    while (frame := channel.receive()) is not None:
        request = frame.json()
        if request["op"] == "stops":
            set_stops(connection, views, request["units"])  # an error here ends the process: nothing is served without
            channel.send_json(FrameKind.STATUS, {"ok": True})
            continue
        failure = _answer(channel, connection, request)
        if failure is not None:
            channel.send_json(FrameKind.STATUS, failure.to_json())
            if failure.ends_worker:
                return


def _answer(channel: Channel, connection: duckdb.DuckDBPyConnection, request: dict[str, Any]) -> Failure | None:
    try:
        if not _is_one_select(connection, request["sql"]):
            return unexpected_statement()
        schema, batches = read(connection, request["sql"], request["rows_max"], request["bytes_max"])
    except ResultTooLarge:
        return result_too_large(request["rows_max"], request["bytes_max"])
    except (duckdb.Error, pa.ArrowException, MemoryError, RuntimeError, ValueError) as error:
        return failure_of([kind.__name__ for kind in type(error).__mro__])
    _send(channel, schema, batches)
    return None


def _is_one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    """A second look beside the guard's, with this engine's own eyes."""
    statements = connection.extract_statements(sql)
    return len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT


def read(
    connection: duckdb.DuckDBPyConnection, sql: str, rows_max: int, bytes_max: int
) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """The whole result, at most `rows_max` rows and `bytes_max` bytes of it."""
    try:
        return _bounded(connection.sql(sql).to_arrow_reader(BATCH_ROWS), rows_max, bytes_max)
    except (OSError, pa.ArrowException):
        # After the first rows, an error is told as Arrow's. execute() computes all before the first, at the price of a
        # copy: errors are of DuckDB's own classes there
        return _bounded(connection.execute(sql).to_arrow_reader(BATCH_ROWS), rows_max, bytes_max)


def _bounded(reader: pa.RecordBatchReader, rows_max: int, bytes_max: int) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    batches, rows, size = [], 0, 0
    with reader:  # a result that is not read to its end would be in the next one's way
        for batch in reader:
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows > rows_max or size > bytes_max:
                raise ResultTooLarge
            batches.append(without_leftovers(batch))
    return reader.schema, batches


def _send(channel: Channel, schema: pa.Schema, batches: list[pa.RecordBatch]) -> None:
    fields = [[field.name, str(field.type)] for field in schema]
    channel.send_json(FrameKind.STATUS, {"ok": True, "schema": fields})
    sink = _Chunks(channel)
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
    sink.flush()
    channel.send_json(FrameKind.END, {"rows": sum(batch.num_rows for batch in batches), "bytes": sink.sent})


class _Chunks:
    """A file that sends what is written to it, in frames of about a mebibyte."""

    closed = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = bytearray()
        self.sent = 0

    def write(self, data: Any) -> int:
        """Takes bytes, and sends them once there are enough."""
        view = memoryview(data).cast("B")
        if len(view) < CHUNK_BYTES // 8:
            self._buffer += view
            if len(self._buffer) >= CHUNK_BYTES:
                self.flush()
            return len(view)
        self.flush()
        for start in range(0, len(view), CHUNK_BYTES):  # as they are: a large column is not copied
            self._send(view[start : start + CHUNK_BYTES])
        return len(view)

    def flush(self) -> None:
        """Sends what is left."""
        if self._buffer:
            self._send(self._buffer)
            self._buffer.clear()

    def _send(self, data: bytearray | memoryview) -> None:
        self._channel.send(FrameKind.CHUNK, data)
        self.sent += len(data)


def _read_every_view(connection: duckdb.DuckDBPyConnection) -> None:
    """Reads every view once: a view that does not fit the store ends the start, not a query later."""
    views = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    for (name,) in views:
        quoted = '"' + name.replace('"', '""') + '"'
        connection.execute(f"SELECT * FROM {quoted} LIMIT 1").fetchall()


def _prove_locked(connection: duckdb.DuckDBPyConnection, store: str) -> None:
    """Ends the process if a file can still be read, or a setting changed."""
    for attempt in (f"SELECT size FROM read_blob({_literal(store)})", "SET enable_external_access=true"):
        try:
            connection.execute(attempt).fetchall()
        except duckdb.Error:
            continue
        sys.exit(3)


def _prove_confined(held: Held) -> None:
    """Ends the process if it can still do what a layer that is said to hold would stop."""
    attempts: Mapping[Layer, Callable[[], object]] = {
        Layer.LANDLOCK: lambda: next(Path("/").iterdir()),
        Layer.SECCOMP: socket.socketpair,
    }
    for layer in held.layers & attempts.keys():
        with suppress(OSError):
            attempts[layer]()
            sys.exit(3)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    main()
