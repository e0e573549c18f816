"""Whether two answers to one statement say the same: the same columns, and the same rows as often.

Order counts only where the statement leaves none open. Floating-point numbers may differ in their last digits, for a
sum's order may.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

CLOSE = 1e-9


def same(ours: pa.Table, theirs: pa.Table, *, ordered: bool = False) -> bool:
    """Whether the tables say the same."""
    if ours.schema.names != theirs.schema.names or ours.schema.types != theirs.schema.types:
        return False
    if ours.num_rows != theirs.num_rows:
        return False
    if ours.equals(theirs):
        return True
    one, two = rows_of(ours), rows_of(theirs)
    if not ordered:
        one, two = sorted(one, key=_rough), sorted(two, key=_rough)
    return all(map(alike, one, two))


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """The rows as Python values."""
    columns = [_values(column) for column in table.columns]
    return list(zip(*columns, strict=True))


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, ArithmeticError, pa.ArrowException):  # a date that Python does not have
        return [_shown(value) for chunk in column.chunks for value in chunk]


def _shown(value: pa.Scalar) -> Any:
    if pa.types.is_temporal(value.type) and not pa.types.is_interval(value.type):
        return value.cast(pa.int32() if pa.types.is_date32(value.type) else pa.int64()).as_py()
    try:
        return value.as_py()
    except (ValueError, OverflowError, ArithmeticError, pa.ArrowException):
        return str(getattr(value, "values", value.type))


def alike(one: Any, two: Any) -> bool:
    """Whether two values are the same but for the last digits of floating-point numbers."""
    if isinstance(one, float) and isinstance(two, float):
        return (
            one == two or (math.isnan(one) and math.isnan(two)) or math.isclose(one, two, rel_tol=CLOSE, abs_tol=CLOSE)
        )
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return alike(list(one.items()), list(two.items()))
    if isinstance(one, Sequence) and isinstance(two, Sequence) and not isinstance(one, str | bytes):
        return len(one) == len(two) and all(map(alike, one, two))
    return bool(type(one) is type(two) and one == two)


def _rough(value: Any) -> str:
    """A text that sorts rows whatever their last digits are."""
    if isinstance(value, float):
        return f"{0.0 if abs(value) < CLOSE else value:.6g}"
    if isinstance(value, Mapping):
        return _rough(list(value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "[" + ",".join(map(_rough, value)) + "]"
    return repr(value)
