"""Aliases that a SELECT gives and uses itself, as DuckDB reads them: `SUM(x) AS s, s / 2 AS half`.

Laws: a column of the views comes before an alias; an alias stands for what was selected before it under that name, and
never for itself; what it stands for is put in its place, and is bounded, for aliases of aliases double.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from kaianalytics.privacy.reading.scope import Scope
from kaianalytics.privacy.reading.syntax import Node, alias_of, column_path, kind, walk_nodes, without_alias
from kaianalytics.privacy.refusals import unsupported

MAX_NODES = 50_000  # of all that a SELECT selects, once its aliases are put in their places


def spelled_out(nodes: Iterable[Node], scope: Scope) -> list[Node]:
    """The items of a SELECT, each with what its aliases stand for."""
    known: dict[str, Node] = {}
    found: list[Node] = []
    size = 0
    for node in nodes:
        spelled = _spelled(node, known) if known else node
        size += sum(1 for _ in islice(walk_nodes(spelled), MAX_NODES + 1))
        if size > MAX_NODES:
            raise unsupported("EXPRESSION_TOO_LARGE", limit=f"{MAX_NODES:,}")
        found.append(spelled)
        if isinstance(node, Mapping) and (alias := alias_of(node)) and not scope.has(alias):
            known.setdefault(alias.lower(), without_alias(spelled))
    return found


def _spelled(value: Any, known: Mapping[str, Node]) -> Any:
    if isinstance(value, list):
        return [_spelled(one, known) for one in value]
    if not isinstance(value, Mapping):
        return value
    if kind(value) == "COLUMN_REF" and len(path := column_path(value)) == 1 and path[0].lower() in known:
        return {**known[path[0].lower()], "alias": alias_of(value)}
    return {name: _spelled(part, known) for name, part in value.items()}
