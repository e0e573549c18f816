"""Which column of a statement no view has: for a helpful refusal, made from the admitted tree and public names alone.

The engine's own message may quote more than that, and stays in the worker (law 5).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from kaianalytics.errors import QueryFailed
from kaianalytics.gateway.guard.allowed import fold

_GIVES_A_NAME = frozenset({"alias", "aliases", "column_name_alias", "key", "table_name"})


@contextmanager
def naming_unknown_columns(tree: Mapping[str, Any], columns: Collection[str]) -> Iterator[None]:
    """Let a query's failure to bind say which column no view has, where the tree shows one."""
    try:
        yield
    except QueryFailed as failure:
        unknown = unknown_columns(tree, columns) if failure.code == "BIND_ERROR" else {}
        if not unknown:
            raise
        named = ", ".join(f"`{name}`" for name in unknown)
        message, hint = f"No view of the statement has a column {named}.", _hint(unknown, columns)
        told = QueryFailed(failure.code, message, rule=failure.rule, hint=hint)
        told.byte = next(iter(unknown.values()))
        raise told from None


def unknown_columns(tree: Mapping[str, Any], columns: Collection[str]) -> dict[str, int | None]:
    """The names used as columns that are no view's column, and that the statement itself gives to nothing.

    Each with the byte of the text at which it stands, where the tree says so.
    """
    asked: dict[str, tuple[str, int | None]] = {}
    given = {fold(name) for name in columns}
    for node in _nodes(tree):
        for field in _GIVES_A_NAME & node.keys():
            given |= {fold(name) for name in _texts(node[field])}
        if node.get("class") == "LAMBDA":
            given |= {fold(name) for each in _nodes(node.get("lhs")) for name in _texts(each.get("column_names"))}
        if node.get("class") == "COLUMN_REF" and (names := list(_texts(node.get("column_names")))):
            asked.setdefault(fold(names[-1]), (names[-1], node.get("query_location")))
    return dict(named for folded, named in asked.items() if folded not in given)


def _hint(unknown: Collection[str], columns: Collection[str]) -> str:
    near = dict.fromkeys(match for name in unknown for match in get_close_matches(fold(name), sorted(columns), n=2))
    perhaps = f"perhaps {' or '.join(f'`{name}`' for name in near)}; " if near else ""
    return f"{perhaps}kai.datasets() lists the columns with their types"


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping of a tree; the guard has bounded its depth."""
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))
