"""The database under the records: SQLite by default, another by its URL.

Rules:
    1. SQLite is durable at every commit (write-ahead log, synced), checks foreign keys, and its file is 0600.
    2. A connection that will write says so when it begins; two writers never meet in the middle.
    3. An engine's own words never leave: they may quote rows (law 5). The cause is chained for the custodian's log,
       with its parameters hidden.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from kaianalytics.errors import RecordsFault
from kaianalytics.records.tables import SCHEMA_VERSION, metadata, schema_versions

_BUSY_SECONDS = 30
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF")


def engine_for(url: URL) -> Engine:
    """The engine for `url`; nothing is opened yet."""
    if url.get_backend_name() != "sqlite":
        return create_engine(url, hide_parameters=True, isolation_level="REPEATABLE READ")
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def begun(engine: Engine, *, writing: bool) -> Iterator[Connection]:
    """A connection inside a transaction: committed at the end, rolled back by an exception.

    RecordsFault RECORDS_UNAVAILABLE for whatever the engine says.
    """
    try:
        with engine.connect().execution_options(kai_writing=writing) as connection, connection.begin():
            yield connection
    except SQLAlchemyError as error:
        raise _unavailable() from error


def claim_file(url: URL) -> None:
    """Makes SQLite's file with mode 0600 before SQLite would with a looser one; its companions take the same mode.

    RecordsFault RECORDS_NOT_PRIVATE for a file that others own or can reach.
    """
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    try:
        descriptor = os.open(url.database, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unavailable() from error
    try:
        _demand_private(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def demand_schema(connection: Connection) -> None:
    """Makes the tables if absent; RecordsFault RECORDS_VERSION for tables of another version."""
    if not inspect(connection).has_table(schema_versions.name):
        metadata.create_all(connection)
        connection.execute(insert(schema_versions).values(version=SCHEMA_VERSION))
    if connection.execute(select(schema_versions.c.version)).scalars().all() != [SCHEMA_VERSION]:
        raise RecordsFault(
            "RECORDS_VERSION",
            "The records were written by another version of kaianalytics.",
            hint="run the version that wrote them",
        )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # Python's own BEGIN would come too late; `_begin_sqlite` says it
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("kai_writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _demand_private(facts: os.stat_result) -> None:
    if facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise RecordsFault(
            "RECORDS_NOT_PRIVATE",
            "The records' file belongs to another OS user, or is open to others.",
            rule="the records are the custodian's alone",
            hint="find out who could read or change it, then close it with `chmod 600`",
        )


def _unavailable() -> RecordsFault:
    return RecordsFault(
        "RECORDS_UNAVAILABLE",
        "The records could not be read or written; nothing was written.",
        rule="a write and its audit event are one transaction (law 6)",
        hint="see that the home's volume is writable and has room, then look into the custodian's log",
    )
