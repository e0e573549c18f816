"""The DuckDB that is installed here, whichever version: it parses texts and lists what it knows, and runs nobody's SQL.

The connection is empty, in memory and locked. Texts are only ever values of `json_serialize_sql` and of the tokenizer.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import duckdb

from kaianalytics.gateway.guard.allowed import fold

_LOCK = ("SET enable_external_access=false", "SET lock_configuration=true")
_FUNCTIONS = "SELECT DISTINCT function_name, function_type FROM duckdb_functions() WHERE internal"
_LISTS = {
    "types": "SELECT DISTINCT type_name FROM duckdb_types() WHERE internal",
    "collations": "SELECT collname FROM pragma_collations()",
    "keywords": "SELECT keyword_name || ':' || keyword_category FROM duckdb_keywords()",
    "settings": "SELECT name FROM duckdb_settings()",
    "views": "SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE internal",
}


class NotParsed(Exception):
    """DuckDB made no tree of the text, or none that can be read."""


class Engine:
    """The installed DuckDB; one instance serves every thread."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1, "max_memory": "128MB"})
        self.version = str(self._column("SELECT library_version FROM pragma_version()")[0])
        self.catalog_names = frozenset(map(fold, self._column("SELECT view_name FROM duckdb_views()")))
        for setting in _LOCK:
            self._connection.execute(setting)
        self._one_at_a_time = threading.Lock()

    def document(self, sql: str) -> Any:
        """What `json_serialize_sql` says of the text: its tree, or that there is none; NotParsed beyond that."""
        try:
            with self._one_at_a_time:
                # fetchall: DuckDB 2.0 keeps a result open after fetchone, and refuses other work meanwhile
                ((text,),) = self._connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
            return json.loads(text)
        except (duckdb.Error, ValueError) as error:
            raise NotParsed from error

    def functions(self) -> frozenset[tuple[str, str]]:
        """Every function as (name, kind)."""
        return frozenset(self._connection.execute(_FUNCTIONS).fetchall())

    def listed(self, what: str) -> frozenset[str]:
        """Everything of one sort: types, collations, keywords, settings, views."""
        return frozenset(self._column(_LISTS[what]))

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def _column(self, sql: str) -> list[str]:
        return [row[0] for row in self._connection.execute(sql).fetchall()]


def words(sql: str) -> list[tuple[int, str]]:
    """Where each word of the text begins, in bytes, and what it is, by DuckDB's own tokenizer, which is linear."""
    try:
        tokens = duckdb.tokenize(sql)
    except (duckdb.Error, RuntimeError) as error:
        raise NotParsed from error
    return [(place, kind.name) for place, kind in tokens]
