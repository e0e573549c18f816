"""For tests of reading statements: a small shop's views, the question that is asked, and expressions as text."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.expression import ColumnOf, Expression, Literal
from kaianalytics.privacy.query import (
    After,
    Apply,
    Constant,
    KeyOf,
    Number,
    Of,
    QuantileOf,
    Relation,
    StatisticsQuery,
    TopOf,
)
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

UNIT = PrivacyUnit("customer_id", "customers")
JANUARY = tuple(date(2026, 1, day) for day in range(1, 32))
WIDE = tuple(f"w{number}" for number in range(400))


def view(name: str, *columns: StatisticsColumn, unit: PrivacyUnit | None = UNIT) -> StatisticsView:
    """A view with these columns, at most 100 rows of one unit."""
    bounds = None if unit is None else ContributionBounds(rows=100)
    return StatisticsView(name, unit, bounds, {column.name: column for column in columns})


def bounded(low: str, high: str, step: str = "1") -> ValueBounds:
    """Value bounds from texts."""
    return ValueBounds(Decimal(low), Decimal(high), Decimal(step))


def texts(name: str, *values: str | None) -> KeyDomain:
    """A key domain of texts."""
    return KeyDomain(name, "string", values)


ORDERS = view(
    "orders",
    StatisticsColumn("customer_id", "string"),  # not flagged: the unit's column is one by itself
    StatisticsColumn("order_id", "string", nullable=False, identifier=True, unique=True),
    StatisticsColumn("courier_id", "string", identifier=True),
    StatisticsColumn("product", "string", nullable=False, references=("products.product",)),
    StatisticsColumn("channel", "string", domain=texts("channel", "web", "store", None)),
    StatisticsColumn("wide", "string", nullable=False, domain=texts("wide", *WIDE)),
    StatisticsColumn("wider", "string", nullable=False, domain=texts("wider", *WIDE)),
    StatisticsColumn("city", "string"),
    StatisticsColumn("amount", "number", nullable=False, bounds=bounded("0", "1000", "0.01")),
    StatisticsColumn("change", "integer", bounds=bounded("-5", "5")),
    StatisticsColumn("quantity", "integer", nullable=False, bounds=bounded("0", "50")),
    StatisticsColumn("raw", "number"),
    StatisticsColumn("seconds", "integer"),
    StatisticsColumn("gift", "boolean", nullable=False),
    StatisticsColumn("day", "date", nullable=False, domain=KeyDomain("day", "date", JANUARY)),
    StatisticsColumn("sent", "date"),
    StatisticsColumn("ordered_at", "timestamp"),
    StatisticsColumn("A b", "string"),
)
CUSTOMERS = view(
    "customers",
    StatisticsColumn("customer_id", "string", nullable=False, identifier=True, unique=True),
    StatisticsColumn("age", "integer", bounds=bounded("0", "120")),
    StatisticsColumn("region", "string", nullable=False, domain=texts("region", "north", "south")),
    StatisticsColumn("channel", "string"),
)
RETURNS = view(
    "returns",
    StatisticsColumn("customer_id", "string", nullable=False, identifier=True),
    StatisticsColumn("order_id", "string", nullable=False, identifier=True, references=("orders.order_id",)),
    StatisticsColumn("reason", "string", nullable=False, domain=texts("reason", "broken", "late")),
    StatisticsColumn("refund", "number", nullable=False, bounds=bounded("0", "1000", "0.01")),
)
PRODUCTS = view(
    "products",
    StatisticsColumn("product", "string", nullable=False, unique=True),
    StatisticsColumn("category", "string", nullable=False, domain=texts("category", "toys", "books")),
    StatisticsColumn("weight", "number", nullable=False, bounds=bounded("0", "10", "0.1")),
    StatisticsColumn("maker", "string", references=("makers.maker",)),
    unit=None,
)
MAKERS = view(
    "makers",
    StatisticsColumn("maker", "string", nullable=False, unique=True),
    StatisticsColumn("country", "string"),
    unit=None,
)
STAFF = view(
    "staff",
    StatisticsColumn("member", "string", nullable=False),
    StatisticsColumn("product", "string", references=("products.product",)),
    unit=PrivacyUnit("member", "staff"),
)
VIEWS = {one.name: one for one in (ORDERS, CUSTOMERS, RETURNS, PRODUCTS, MAKERS, STAFF)}
LABELS = Relation(
    view(
        "labels",
        StatisticsColumn("channel", "string"),
        StatisticsColumn("label", "string"),
        StatisticsColumn("weight", "number"),
        unit=None,
    ),
    (("web", "online", Decimal("0.5")), ("store", "offline", Decimal(3)), ("fax", "offline", None)),
)
CUSTOMER_LABELS = Relation(
    view("chosen", StatisticsColumn("customer_id", "string"), StatisticsColumn("label", "string"), unit=None),
    (("c1", "one"), ("c1", "two")),
)
LOOKUPS = {"labels": LABELS, "chosen": CUSTOMER_LABELS}


def parsed(sql: str) -> dict[str, Any]:
    """The JSON of `json_serialize_sql`, as the guard hands it on."""
    ((text,),) = duckdb.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    tree: dict[str, Any] = json.loads(text)
    assert tree["error"] is False, tree
    return tree


def asked(sql: str) -> StatisticsQuery:
    """The question that a statement asks of the shop."""
    return lower(parsed(sql), VIEWS, LOOKUPS)


def refused(sql: str) -> QueryUnsupported:
    """The refusal of a statement."""
    with pytest.raises(QueryUnsupported) as caught:
        asked(sql)
    return caught.value


def shown(expression: Expression | None) -> str:
    """An expression of a row in prefix form: `(> amount 5)`; a column of a joined relation as `1.category`."""
    match expression:
        case None:
            return ""
        case ColumnOf(relation, name):
            return name if relation == 0 else f"{relation}.{name}"
        case Literal(value):
            return "NULL" if value is None else repr(value) if isinstance(value, str) else str(value)
    return f"({' '.join([expression.operation, *map(shown, expression.arguments)])})"


def said(value: After) -> str:
    """A value after the noise in prefix form: measures as `m0`, keys as `k0`, a histogram's bin as `m0[1]`."""
    match value:
        case Of(measure, item):
            return f"m{measure}" + (f"[{item}]" if item else "")
        case QuantileOf(measure, fraction):
            return f"q{measure}@{fraction}"
        case TopOf(measure, rank):
            return f"t{measure}#{rank}"
        case KeyOf(key):
            return f"k{key}"
        case Number(number):
            return str(number)
        case Constant(constant):
            return repr(constant)
        case Apply(operation, arguments):
            return f"({' '.join([operation, *map(said, arguments)])})"
