"""The guard: admits one analyst's SELECT over the views of a purpose, or refuses it with a code, the rule and a hint.

It judges DuckDB's own parse tree (`json_serialize_sql` on a separate, empty, locked connection) and keeps these laws:

1. The DuckDB that parses here is the DuckDB that runs there: any version but the reviewed one starts nothing.
2. The text is bounded before it is parsed: bytes, control characters, words, depth of brackets, what the parser copies.
3. One statement, and it is a SELECT.
4. Every field of every node is visited. An unknown kind of node, an unknown field or an absent one refuses.
5. Functions, cast targets and collations are admitted by name from the reviewed table, unqualified, in the place
   they belong to; symbols only where they are written as operators.
6. A table is a view of the purpose or a common table in scope where it is named, and is written unqualified. Common
   tables and table aliases can't take a view's name, nor the name of anything in the engine's own catalog.
7. Names fold A–Z and nothing else, as DuckDB does: a Kelvin sign is not a k.
8. Anything unforeseen refuses.

A refusal quotes at most what the analyst wrote. The guard sees no data, so it can leak none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kaianalytics.errors import Fault, GuardRefused
from kaianalytics.gateway.guard.engine import Engine, NotParsed, words
from kaianalytics.gateway.guard.reviewed import reviewed
from kaianalytics.gateway.guard.size import check_text
from kaianalytics.gateway.guard.walk import Walk, refused, too_deep, unreadable


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
        self._engine = Engine()
        check_version(self._engine.version)

    def admit(self, sql: str, view_names: Collection[str], functions: Collection[str] = ()) -> Admitted:
        """The statement with its tree and its views; GuardRefused where any law of this module is not met.

        `functions` are admitted besides those of every door: `allowed.STATISTICS_FUNCTIONS` where no engine runs them.
        """
        return judged(self._engine, sql, view_names, functions)

    def close(self) -> None:
        """Ends the guard's own connection."""
        self._engine.close()


def judged(engine: Engine, sql: str, view_names: Collection[str], functions: Collection[str] = ()) -> Admitted:
    """The statement as this engine reads it, judged by the guard's laws except the first.

    For the review of an engine that the guard does not know: whoever answers a query asks a Guard.
    """
    check_text(sql)
    tree = tree_of(engine, sql)
    walk = Walk(view_names, engine.catalog_names, sql, functions)
    try:
        walk.visit_all(tree)
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise unreadable() from error
    return Admitted(sql=sql, tree=tree, views=tuple(sorted(walk.views)))


def tree_of(engine: Engine, sql: str) -> dict[str, Any]:
    """The document of the one statement that the text holds; GuardRefused where it holds none, or several."""
    try:
        document = engine.document(sql)
    except RecursionError as error:
        raise too_deep() from error
    except NotParsed as error:
        raise unreadable() from error
    if not isinstance(document, dict):
        raise unreadable()
    if document.get("error") is not False:
        raise _not_parsed(document, sql)
    return _one_statement(document)


def check_version(version: str) -> None:
    """A Fault unless `version` is the DuckDB that the table was made for."""
    if version != f"v{reviewed().engine}":
        raise Fault(
            "ENGINE_VERSION",
            f"The guard knows DuckDB {reviewed().engine} alone, and another version is installed.",
            rule="an unreviewed parse tree is never judged (guard law 1)",
            hint=f"install duckdb=={reviewed().engine}; `kai engine check` shows what another version would change",
        )


def without_comments(sql: str) -> str:
    """An admitted statement without its comments."""
    encoded = sql.encode()
    found = words(sql)
    ends = [*(place for place, _ in found[1:]), len(encoded)]
    kept = (b" " if kind == "comment" else encoded[place:end] for (place, kind), end in zip(found, ends, strict=True))
    return b"".join(kept).decode().strip()


def _one_statement(document: dict[str, Any]) -> dict[str, Any]:
    statements = document.get("statements")
    if not isinstance(statements, list):
        raise unreadable()
    if len(statements) != 1:
        found = "no statement" if not statements else f"{len(statements)} statements"
        raise refused("NOT_ONE_STATEMENT", f"The text holds {found}.", "send one SELECT at a time")
    return document


def _not_parsed(document: Mapping[str, Any], sql: str) -> GuardRefused:
    if document.get("error_type") == "not implemented":
        return refused("NOT_A_SELECT", "This is not a SELECT statement.", "a query answers and changes nothing")
    place = str(document.get("position", ""))
    byte = int(place) if place.isdigit() else None
    return refused(
        "SYNTAX", "The statement can't be parsed.", "check the SQL, just before its place", sql=sql, byte=byte
    )
