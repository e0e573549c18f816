"""The guard: admits one analyst's SELECT over the views of a purpose, or refuses it with a code, the rule and a hint.

It judges DuckDB's own parse tree (`json_serialize_sql` on a separate, empty, locked connection) and keeps these laws:

1. The DuckDB that parses here is the DuckDB that runs there: any version but the pinned one starts nothing.
2. The text is bounded before it is parsed: bytes, control characters, words, depth of brackets.
3. One statement, and it is a SELECT.
4. Every field of every node is visited. An unknown kind of node, an unknown field or an absent one refuses.
5. Functions, cast targets and collations are admitted by name from an explicit list, unqualified, in the place they
   belong to; symbols only where they are written as operators.
6. A table is a view of the purpose or a common table in scope where it is named, and is written unqualified. Common
   tables and table aliases can't take a view's name, nor the name of anything in the engine's own catalog.
7. Names fold A–Z and nothing else, as DuckDB does: a Kelvin sign is not a k.
8. Anything unforeseen refuses.

A refusal quotes at most what the analyst wrote. The guard sees no data, so it can leak none.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from kaianalytics.errors import Fault, GuardRefused
from kaianalytics.gateway.guard.walk import Walk, fold, line_and_column, refused, too_deep, unreadable

DUCKDB_VERSION = "2.0.0"
MAX_BYTES = 64 * 1024
MAX_WORDS = 8_000
MAX_BRACKETS = 60

_CONTROL = frozenset(map(chr, range(32))) - frozenset("\t\n\r") | {"\x7f"}
_OPENING, _CLOSING = frozenset((b"(", b"[", b"{")), frozenset((b")", b"]", b"}"))


@dataclass(frozen=True)
class Admitted:
    """A statement that the guard admitted: the analyst's text, its whole tree, and the views it reads, in name order.

    `tree` is the document of `json_serialize_sql`; the query stands at `tree["statements"][0]["node"]`.
    """

    sql: str
    tree: Mapping[str, Any]
    views: tuple[str, ...]


class Guard:
    """Admits statements; one instance serves every thread of a gateway."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1, "max_memory": "512MB"})
        check_version(_library_version(self._connection))
        self._catalog = frozenset(
            fold(name) for (name,) in self._connection.execute("SELECT view_name FROM duckdb_views()").fetchall()
        )
        for setting in ("enable_external_access=false", "lock_configuration=true"):
            self._connection.execute(f"SET {setting}")
        self._one_at_a_time = threading.Lock()

    def admit(self, sql: str, view_names: Collection[str], functions: Collection[str] = ()) -> Admitted:
        """The statement with its tree and its views; GuardRefused where any law of this module is not met.

        `functions` are admitted besides those of every door: `allowed.STATISTICS_FUNCTIONS` where no engine runs them.
        """
        check_text(sql)
        tree = self._parse(sql)
        walk = Walk(view_names, self._catalog, sql, functions)
        try:
            walk.visit_all(tree)
        except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise unreadable() from error
        return Admitted(sql=sql, tree=tree, views=tuple(sorted(walk.views)))

    def close(self) -> None:
        """Ends the guard's own connection."""
        self._connection.close()

    def _parse(self, sql: str) -> dict[str, Any]:
        try:
            with self._one_at_a_time:
                # fetchall: DuckDB 2.0 keeps a result open after fetchone, and refuses other work meanwhile
                ((text,),) = self._connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
            tree = json.loads(text)
        except RecursionError as error:
            raise too_deep() from error
        except (duckdb.Error, ValueError) as error:
            raise unreadable() from error
        if not isinstance(tree, dict):
            raise unreadable()
        if tree.get("error") is not False:
            raise _not_parsed(tree, sql)
        return _one_statement(tree)


def check_version(version: str) -> None:
    """A Fault unless `version` is the DuckDB that this guard's tables were written for."""
    if version != f"v{DUCKDB_VERSION}":
        raise Fault(
            "ENGINE_VERSION",
            f"The guard knows the parse tree of DuckDB {DUCKDB_VERSION} alone, and another version is installed.",
            rule="an unreviewed parse tree is never judged (guard law 1)",
            hint=f"install duckdb=={DUCKDB_VERSION}, as the lock file says",
        )


def check_text(sql: str) -> None:
    """Refuses a text that is too long, holds control characters, or has too many words or brackets."""
    try:
        size = len(sql.encode())
    except UnicodeEncodeError as error:
        raise refused("NOT_TEXT", "The statement holds a character that is no character.") from error
    if size > MAX_BYTES:
        raise refused(
            "TOO_LONG", f"The statement is longer than {MAX_BYTES // 1024} KiB.", "split it, or shorten its lists"
        )
    if _CONTROL.intersection(sql):
        raise refused("NOT_TEXT", "The statement holds a control character.", "remove it, or retype the line")
    words, depth = _measure(sql)
    if words > MAX_WORDS:
        raise refused("TOO_LARGE", f"The statement has more than {MAX_WORDS} words.", "split it, or shorten its lists")
    if depth > MAX_BRACKETS:
        raise too_deep()


def without_comments(sql: str) -> str:
    """An admitted statement without its comments."""
    encoded = sql.encode()
    tokens = duckdb.tokenize(sql)
    ends = [*(place for place, _ in tokens[1:]), len(encoded)]
    kept = (
        b" " if kind == duckdb.token_type.comment else encoded[place:end]
        for (place, kind), end in zip(tokens, ends, strict=True)
    )
    return b"".join(kept).decode().strip()


def _library_version(connection: duckdb.DuckDBPyConnection) -> str:
    ((version,),) = connection.execute("SELECT library_version FROM pragma_version()").fetchall()
    return str(version)


def _measure(sql: str) -> tuple[int, int]:
    """How many words the text has and how deep its brackets nest, by DuckDB's own tokenizer, which is linear."""
    encoded, depth, deepest = sql.encode(), 0, 0
    try:
        tokens = duckdb.tokenize(sql)
    except (duckdb.Error, RuntimeError) as error:
        raise refused("SYNTAX", "The statement can't be read as SQL.") from error
    for place, kind in tokens:
        if kind == duckdb.token_type.operator:
            sign = encoded[place : place + 1]
            depth += (sign in _OPENING) - (sign in _CLOSING)
            deepest = max(deepest, depth)
    return len(tokens), deepest


def _one_statement(tree: dict[str, Any]) -> dict[str, Any]:
    statements = tree.get("statements")
    if not isinstance(statements, list):
        raise unreadable()
    if len(statements) != 1:
        found = "no statement" if not statements else f"{len(statements)} statements"
        raise refused("NOT_ONE_STATEMENT", f"The text holds {found}.", "send one SELECT at a time")
    return tree


def _not_parsed(tree: Mapping[str, Any], sql: str) -> GuardRefused:
    if tree.get("error_type") == "not implemented":
        return refused("NOT_A_SELECT", "This is not a SELECT statement.", "a query answers and changes nothing")
    place = str(tree.get("position", ""))
    where = f" near {line_and_column(sql, int(place))}" if place.isdigit() else ""
    return refused("SYNTAX", f"The statement can't be parsed{where}.", "check the SQL just before that place")
