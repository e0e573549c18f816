"""For tests of expressions: a table with a column of each type, and typed expressions on it from Hypothesis."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from sqlglot import exp

from kaianalytics.privacy.expression import ColumnOf, Expression, Literal
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.expressions.signatures import PARTS, TRUNCATIONS
from kaianalytics.privacy.unit import ColumnType

COLUMNS: Mapping[str, tuple[ColumnType, str]] = {
    "i": ("integer", "BIGINT"),
    "j": ("integer", "BIGINT"),
    "n": ("number", "DOUBLE"),
    "m": ("number", "DECIMAL(12, 2)"),
    "s": ("string", "VARCHAR"),
    "b": ("boolean", "BOOLEAN"),
    "d": ("date", "DATE"),
    "t": ("timestamp", "TIMESTAMP"),
}
LOW, HIGH = Decimal(-100), Decimal(100)

cents = st.integers(-10_000, 10_000).map(lambda value: Decimal(value) / 100)
dates = st.dates(date(1900, 1, 1), date(2100, 12, 31)) | st.sampled_from([date.min, date.max, date(2024, 2, 29)])
times = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)) | st.sampled_from([datetime.min, datetime.max])
VALUES: Mapping[ColumnType, st.SearchStrategy[Any]] = {
    "integer": st.integers(-100, 100) | st.sampled_from([0, 1, 2**53 + 1, 2**63 - 1, -(2**63)]),
    "number": cents | st.sampled_from([Decimal(0), Decimal("0.5"), Decimal("1e300"), Decimal("-2.5")]),
    "string": st.text(alphabet="abßİ Σé%_\u2003ᾳ", max_size=5),
    "boolean": st.booleans(),
    "date": dates,
    "timestamp": times,
}

Strategy = st.SearchStrategy[Expression]


def column(name: str) -> ColumnOf:
    """The column of that name as an expression."""
    return ColumnOf(0, name, COLUMNS[name][0], nullable=True)


def written_column(column: ColumnOf) -> exp.Expr:
    """The column in SQL."""
    return exp.column(column.name, quoted=True)


def literals(kind: ColumnType) -> Strategy:
    """Constants of one type, none of them NULL."""
    return VALUES[kind].map(lambda value: Literal(value, kind))


def rows() -> st.SearchStrategy[dict[str, Any]]:
    """One row of the table, with anything that its columns can hold and Python can say."""
    values = {name: st.none() | VALUES[kind] for name, (kind, _) in COLUMNS.items()}
    numbers = st.floats(allow_nan=False, allow_infinity=False) | cents.map(float)
    return st.fixed_dictionaries({**values, "m": st.none() | cents, "n": st.none() | numbers})


def bounded_rows() -> st.SearchStrategy[dict[str, Any]]:
    """One row whose numbers lie between LOW and HIGH."""
    values = {name: st.none() | VALUES[kind] for name, (kind, _) in COLUMNS.items()}
    whole, broken = st.none() | st.integers(int(LOW), int(HIGH)), st.none() | cents
    return st.fixed_dictionaries({**values, "i": whole, "j": whole, "m": broken, "n": broken.map(_float)})


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _fixed(values: st.SearchStrategy[Any], kind: ColumnType) -> Strategy:
    return values.map(lambda value: Literal(value, kind))


_LETTERS = _fixed(st.integers(-6, 6) | st.sampled_from([-10_000, 10_000]), "integer")
_PARTS = _fixed(st.sampled_from(sorted(PARTS)), "string")
_SPANS = _fixed(st.sampled_from(TRUNCATIONS), "string")
_DAYS = _fixed(st.sampled_from(TRUNCATIONS[:5]), "string")
_SHIFTS = (
    _fixed(st.integers(-40, 40), "integer"),
    _fixed(st.integers(-400, 400), "integer"),
    _fixed(st.sampled_from([0, 1, -3_600_000_000, 90_000_000_000]), "integer"),
)
_WHOLE_SHIFTS = (*_SHIFTS[:2], _fixed(st.just(0), "integer"))
_NUMBERS: tuple[ColumnType, ...] = ("integer", "number")
_KINDS: tuple[ColumnType, ...] = ("string", "integer", "number", "boolean", "date", "timestamp")

Shape = tuple[Any, ...]  # an operation, and for each argument a type or a strategy of literals


def _for_any(kind: ColumnType) -> list[Shape]:
    """What gives a value of any type."""
    return [
        ("case", "boolean", kind, kind),
        ("case", "boolean", kind, "boolean", kind, kind),
        ("coalesce", kind, kind),
        ("nullif", kind, kind),
        ("least", kind, kind),
        ("greatest", kind, kind, kind),
    ]


def _comparisons() -> list[Shape]:
    shapes: list[Shape] = []
    for kind in _KINDS:
        names = ("=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from")
        shapes += [(name, kind, kind) for name in names]
        shapes += [("in", kind, literals(kind), literals(kind)), ("is_null", kind), ("present", kind)]
    shapes += [(name, "integer", "number") for name in ("=", "<", "is distinct from")]
    return [*shapes, ("<", "date", "timestamp"), ("in", "integer", literals("number"))]


SHAPES: Mapping[ColumnType, list[Shape]] = {
    "boolean": [
        *_for_any("boolean"),
        *_comparisons(),
        ("and", "boolean", "boolean", "boolean"),
        ("or", "boolean", "boolean"),
        ("not", "boolean"),
        ("like", "string", literals("string")),
        ("ilike", "string", literals("string")),
        *((name, "string", "string") for name in ("starts_with", "ends_with", "contains")),
    ],
    "integer": [
        *_for_any("integer"),
        *((name, "integer", "integer") for name in ("+", "-", "*", "//", "%")),
        ("negate", "integer"),
        ("abs", "integer"),
        ("round", "integer"),
        *(
            ("width_bucket", kind, _fixed(st.just(Decimal("0.1")), "number"), _fixed(st.just(7), "integer"), _BUCKETS)
            for kind in _NUMBERS
            for _BUCKETS in [_fixed(st.integers(1, 9), "integer")]
        ),
        ("length", "string"),
        ("date_part", _PARTS, "date"),
        ("date_part", _PARTS, "timestamp"),
        ("date_diff", _SPANS, "date", "timestamp"),
        ("date_diff", _SPANS, "timestamp", "timestamp"),
        ("to_integer", "boolean"),
    ],
    "number": [
        *_for_any("number"),
        ("case", "boolean", "integer", "number"),
        ("coalesce", "integer", "number"),
        ("least", "number", "integer"),
        *((name, "number", "number") for name in ("+", "-", "*", "/", "%")),
        *((name, "integer", "number") for name in ("+", "*")),
        ("/", "integer", "integer"),
        *((name, "number") for name in ("negate", "abs", "floor", "ceil", "round", "sqrt", "ln", "exp")),
        ("round", "number", _fixed(st.integers(0, 3), "integer")),
        ("floor", "integer"),
        ("power", "number", _fixed(st.integers(-2, 3), "integer")),
        ("power", "number", "number"),
        ("to_number", "integer"),
        ("to_number", "boolean"),
    ],
    "string": [
        *_for_any("string"),
        *((name, "string") for name in ("lower", "upper", "trim")),
        *((name, "string", _LETTERS) for name in ("left", "right", "substr")),
        ("substr", "string", _LETTERS, _LETTERS),
        ("||", "string", "string"),
        ("concat", "string", "string", "string"),
        ("to_text", "integer"),
        ("to_text", "boolean"),
        ("to_text", "date"),
    ],
    "date": [
        *_for_any("date"),
        ("date_trunc", _DAYS, "date"),
        ("date_add", "date", *_WHOLE_SHIFTS),
        ("to_date", "timestamp"),
    ],
    "timestamp": [
        *_for_any("timestamp"),
        ("case", "boolean", "date", "timestamp"),
        ("date_trunc", _SPANS, "timestamp"),
        ("date_add", "timestamp", *_SHIFTS),
        ("to_timestamp", "date"),
    ],
}


@st.composite
def expressions(draw: st.DrawFn, kind: ColumnType, depth: int = 3) -> Expression:
    """An expression of one type, at most `depth` operations deep."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        names = [name for name, (its_kind, _) in COLUMNS.items() if its_kind == kind]
        return draw(literals(kind) | st.sampled_from(names).map(column) | st.just(Literal(None, kind)))
    operation, *wanted = draw(st.sampled_from(SHAPES[kind]))
    arguments = [expressions(part, depth - 1) if isinstance(part, str) else part for part in wanted]
    return call(operation, *(draw(argument) for argument in arguments))
