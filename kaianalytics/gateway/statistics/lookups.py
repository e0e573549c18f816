"""Small tables of the analyst's own, which a question may join: as public as the text of the question itself.

Laws: a table is bounded in rows, columns and bytes before it is looked at; its names are plain, and none is a view's;
types come from the JSON alone, one for each column; what it holds is known to whoever asked, so that its values, its
ranges and which of its columns are unique are public facts, and are part of the question's digest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.canonical import digest, to_json
from kaianalytics.privacy.query import Relation
from kaianalytics.privacy.unit import KEY_TYPES, ColumnType, KeyDomain, StatisticsColumn, StatisticsView, ValueBounds
from kaianalytics.protocol import Scalar, StatisticsRequest

TABLES_MAX, ROWS_MAX, COLUMNS_MAX, BYTES_MAX = 10, 1_000, 20, 64 * 1024
TEXT_MAX = 200  # characters of one value
WHOLE_MAX = 2**53  # of a whole number: beyond it a client's own JSON may have rounded
SMALLEST = 1e-12  # of a number that is not zero
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_RESERVED = ("kai_", "duckdb_", "pg_", "sqlite_", "information_schema")
_TYPES: tuple[tuple[type, ColumnType], ...] = ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"))
Tables = Mapping[str, Mapping[str, Sequence[Scalar]]]


def lookups(asked: StatisticsRequest, views: Collection[str]) -> Mapping[str, Relation]:
    """The request's tables as relations; QueryUnsupported TABLE_TOO_LARGE, TABLE_NAME or TABLE_VALUES."""
    _demand_small(asked.tables)
    taken = {view.lower() for view in views}
    for name in asked.tables:
        if not _plain(name) or name in taken:
            raise _refused(
                "TABLE_NAME",
                f"A table of one's own can't be called {name[:60]!r}.",
                "lower-case letters, digits and underscores, and no view's name",
            )
    return {name: _relation(name, columns) for name, columns in asked.tables.items()}


def table_digests(tables: Mapping[str, Relation]) -> dict[str, str]:
    """What the audit chain keeps of each table: a digest of its names, types and values."""
    return {name: digest(to_json(relation)) for name, relation in tables.items()}


def _demand_small(tables: Tables) -> None:
    rows = max((len(values) for columns in tables.values() for values in columns.values()), default=0)
    columns = max(map(len, tables.values()), default=0)
    small = len(tables) <= TABLES_MAX and rows <= ROWS_MAX and columns <= COLUMNS_MAX
    if not small or (tables and len(json.dumps(tables, ensure_ascii=False).encode()) > BYTES_MAX):
        raise _refused(
            "TABLE_TOO_LARGE",
            f"A question brings at most {TABLES_MAX} tables of {ROWS_MAX:,} rows and {COLUMNS_MAX} columns, "
            f"{BYTES_MAX // 1024} KiB in all.",
            "leave out what the question does not need, or have a public product made of it",
        )


def _relation(name: str, columns: Mapping[str, Sequence[Scalar]]) -> Relation:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise _refused("TABLE_VALUES", f"The columns of `{name}` have no rows, or not as many each.", "fill them all")
    for column in columns:
        if not _plain(column):
            raise _refused(
                "TABLE_NAME",
                f"A column of `{name}` can't be called {column[:60]!r}.",
                "lower-case letters, digits and underscores",
            )
    exact = {column: _exact(name, column, values) for column, values in columns.items()}
    stated = {column: _column(column, kind, values) for column, (kind, values) in exact.items()}
    rows = tuple(zip(*(values for _, values in exact.values()), strict=True))
    return Relation(StatisticsView(name, None, None, stated), rows)


def _exact(table: str, column: str, values: Sequence[Any]) -> tuple[ColumnType, tuple[Any, ...]]:
    """The column's one type, and its values in it; a whole number among others is one of them."""
    present = [value for value in values if value is not None]
    kinds = {next((kind for python, kind in _TYPES if type(value) is python), "") for value in present}
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    if len(kinds) != 1 or not kinds <= {kind for _, kind in _TYPES} or not all(map(_bounded, present)):
        raise _refused(
            "TABLE_VALUES",
            f"The column `{column}` of `{table}` is not of one type, or a value of it is too long or too large.",
            f"texts of at most {TEXT_MAX} characters, numbers up to 2^53, truth values, or none at all",
        )
    (kind,) = kinds
    known: ColumnType = kind  # type: ignore[assignment]  # one of _TYPES' by the check above
    return known, tuple(_number(value) if kind == "number" else value for value in values)


def _bounded(value: Scalar) -> bool:
    if isinstance(value, str):
        return len(value) <= TEXT_MAX and "\0" not in value
    return value is None or (abs(value) <= WHOLE_MAX and (value == 0 or abs(value) >= SMALLEST))


def _number(value: float | None) -> Decimal | None:
    """The decimal that the number was written as: the shortest that reads back to it."""
    return None if value is None else Decimal(repr(value))


def _column(name: str, kind: ColumnType, values: Sequence[Any]) -> StatisticsColumn:
    present = [value for value in values if value is not None]
    distinct = tuple(dict.fromkeys(values))
    return StatisticsColumn(
        name,
        kind,
        nullable=len(present) < len(values),
        bounds=_range(present) if kind in ("integer", "number") else None,
        domain=KeyDomain(name, kind, distinct) if kind in KEY_TYPES else None,
        unique=len(set(present)) == len(present),
    )


def _range(values: Iterable[Any]) -> ValueBounds:
    numbers = [Decimal(value) for value in values]
    step = Decimal(1).scaleb(min(0, *(int(number.normalize().as_tuple().exponent) for number in numbers)))
    lower, upper = min(numbers), max(numbers)
    return ValueBounds(lower, upper if upper > lower else lower + step, step)


def _plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and not name.startswith(_RESERVED)


def _refused(code: str, message: str, hint: str) -> QueryUnsupported:
    return QueryUnsupported(code, message, rule="a table of one's own is small, plain and public", hint=hint)
