"""One workload for all: tables, what is public about them, and the questions, in words that each engine understands.

Laws: everything here is public and the same for every engine; a question has one figure; values lie within their bounds
in the very data, for what lies beyond a declared range is cut at the build, so that it weighs the same for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from typing import Literal

DELTA = "0.000001"
UNIT = "customer"
Aggregate = Literal["rows", "customers", "sum", "mean"]
Condition = tuple[str, str, str | int | bool]  # column, comparison, constant
Quantiles = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Values:
    """A column that is summed: its range and its step."""

    lower: int
    upper: int
    step: str = "1"

    @property
    def steps(self) -> tuple[int, int]:
        """The range counted in steps."""
        return int(self.lower / Decimal(self.step)), int(self.upper / Decimal(self.step))


@dataclass(frozen=True)
class TableOf:
    """One table: how it is read from its source, and what is public about it.

    `rows` is more than any customer has, so that nothing is cut at the build. `profile` says how rows and absolute
    values spread over customers, in round figures, as somebody knows them who knows the business.
    """

    name: str
    select: str  # of the source, whose path stands for {source}
    keys: Mapping[str, tuple[str | int, ...]]
    values: Mapping[str, Values]
    flags: tuple[str, ...]  # truth values, for conditions alone
    rows: int
    customers: int
    profile: Mapping[str, Quantiles]  # "rows", and a column's name


@dataclass(frozen=True)
class Question:
    """One figure of a table, in each cell of `by`."""

    table: TableOf
    aggregate: Aggregate
    column: str = ""
    by: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if (self.aggregate in ("sum", "mean")) != bool(self.column):
            raise ValueError("sums and means are of a column, counts are of none")

    @property
    def cells(self) -> tuple[tuple[str | int, ...], ...]:
        """All cells of the answer, in order; all are answered."""
        return tuple(product(*(self.table.keys[key] for key in self.by)))

    @property
    def values(self) -> Values:
        """The range of what is summed; of a count, one a row."""
        return self.table.values[self.column] if self.column else Values(0, 1)

    @property
    def mechanisms(self) -> int:
        """How many noisy numbers a cell's figure is made of."""
        return 2 if self.aggregate == "mean" else 1

    @property
    def condition(self) -> str:
        """The condition in SQL, `true` if there is none."""
        return " AND ".join(f"{column} {sign} {_literal(value)}" for column, sign, value in self.where) or "true"

    @property
    def sql(self) -> str:
        """The question as an analyst writes it."""
        figure = {
            "rows": "COUNT(*)",
            "customers": f"COUNT(DISTINCT {UNIT})",
            "sum": f"SUM({self.column})",
            "mean": f"AVG({self.column})",
        }[self.aggregate]
        where = f" WHERE {self.condition}" if self.where else ""
        group = f" GROUP BY {', '.join(self.by)}" if self.by else ""
        keys = "".join(f"{key}, " for key in self.by)
        return f"SELECT {keys}{figure} AS n FROM {self.table.name}{where}{group}"


@dataclass(frozen=True)
class Workload:
    """Questions that are all answered under one total of ε at `DELTA`."""

    questions: tuple[Question, ...]
    tables: tuple[TableOf, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", tuple({q.table.name: q.table for q in self.questions}.values()))

    @property
    def answers(self) -> int:
        """How many figures are answered: one for each cell of each question."""
        return sum(len(question.cells) for question in self.questions)

    @property
    def mechanisms(self) -> int:
        """How many vectors get noise: one for a question, two for a mean."""
        return sum(question.mechanisms for question in self.questions)


def _literal(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


# --- the tables

_MONTHS = tuple(f"{year}-{month:02d}" for year, month in [(2010, 12), *((2011, month) for month in range(1, 13))])
_YEAR = tuple(f"{year}-{month:02d}" for year, month in [(2025, 11), (2025, 12), *((2026, m) for m in range(1, 11))])
_COUNTRIES = (
    "Australia", "Austria", "Bahrain", "Belgium", "Brazil", "Canada", "Channel Islands", "Cyprus", "Czech Republic",
    "Denmark", "EIRE", "European Community", "Finland", "France", "Germany", "Greece", "Iceland", "Israel", "Italy",
    "Japan", "Lebanon", "Lithuania", "Malta", "Netherlands", "Norway", "Poland", "Portugal", "RSA", "Saudi Arabia",
    "Singapore", "Spain", "Sweden", "Switzerland", "USA", "United Arab Emirates", "United Kingdom", "Unspecified",
)  # fmt: skip

PURCHASES = TableOf(
    "purchases",
    "SELECT CustomerID AS customer, Country AS country, strftime(InvoiceDate, '%Y-%m') AS ym, "
    "strftime(InvoiceDate, '%a') AS dow, CAST(hour(InvoiceDate) AS BIGINT) AS clock, "
    "least(Quantity, 100) AS pieces, least(round(Quantity * UnitPrice, 2), 100) AS pounds "
    "FROM '{source}' WHERE CustomerID IS NOT NULL AND Quantity > 0 AND UnitPrice > 0",
    {"country": _COUNTRIES, "ym": _MONTHS, "dow": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sun"),
     "clock": tuple(range(6, 21))},
    {"pieces": Values(0, 100), "pounds": Values(0, 100, "0.01")},
    (),
    rows=8_000,
    customers=4_300,
    profile={
        "rows": (("0.5", 40), ("0.75", 100), ("0.9", 200), ("0.95", 300), ("0.99", 700), ("0.999", 2_500),
                 ("1", 8_000)),
        "pieces": (("0.5", 350), ("0.75", 900), ("0.9", 2_000), ("0.95", 3_000), ("0.99", 8_000), ("0.999", 45_000),
                   ("1", 150_000)),
        "pounds": (("0.5", 650), ("0.75", 1_500), ("0.9", 3_300), ("0.95", 5_000), ("0.99", 13_000),
                   ("0.999", 55_000), ("1", 160_000)),
    },
)  # fmt: skip

SESSIONS = TableOf(
    "sessions",
    "SELECT CAST(substr(customer_id, 2) AS BIGINT) AS customer, strftime(started_at, '%Y-%m') AS ym, device, service, "
    "least(pages, 20) AS pages, least(seconds, 3600) AS seconds FROM '{source}' WHERE customer_id IS NOT NULL",
    {"ym": _YEAR, "device": ("phone", "computer", "tablet", "television"),
     "service": ("news", "shop", "video", "travel")},
    {"pages": Values(0, 20), "seconds": Values(0, 3_600)},
    (),
    rows=4_000,
    customers=17_000,
    profile={
        "rows": (("0.5", 4), ("0.75", 8), ("0.9", 16), ("0.95", 23), ("0.99", 50), ("0.999", 140), ("1", 4_000)),
        "pages": (("0.5", 20), ("0.75", 45), ("0.9", 85), ("0.95", 120), ("0.99", 260), ("0.999", 750), ("1", 20_000)),
        "seconds": (("0.5", 800), ("0.75", 1_900), ("0.9", 3_800), ("0.95", 5_500), ("0.99", 12_000),
                    ("0.999", 33_000), ("1", 900_000)),
    },
)  # fmt: skip

ORDERS = TableOf(
    "orders",
    "SELECT CAST(substr(customer_id, 2) AS BIGINT) AS customer, strftime(ordered_at, '%Y-%m') AS ym, category, "
    "coupon_used, least(amount_yen, 30000) AS amount_yen, least(quantity, 10) AS quantity FROM '{source}'",
    {"ym": _YEAR, "category": ("electronics", "fashion", "food", "travel", "books")},
    {"amount_yen": Values(0, 30_000), "quantity": Values(0, 10)},
    ("coupon_used",),
    rows=1_500,
    customers=13_000,
    profile={
        "rows": (("0.5", 2), ("0.75", 4), ("0.9", 7), ("0.95", 10), ("0.99", 21), ("0.999", 63), ("1", 1_500)),
        "amount_yen": (("0.5", 13_000), ("0.75", 30_000), ("0.9", 55_000), ("0.95", 80_000), ("0.99", 170_000),
                       ("0.999", 500_000), ("1", 12_000_000)),
        "quantity": (("0.5", 4), ("0.75", 7), ("0.9", 12), ("0.95", 17), ("0.99", 35), ("0.999", 100), ("1", 2_500)),
    },
)  # fmt: skip

CONTACTS = TableOf(
    "campaign_contacts",
    "SELECT CAST(substr(customer_id, 2) AS BIGINT) AS customer, campaign, arm, converted, "
    "least(spend_yen, 10000) AS spend_yen FROM '{source}'",
    {"campaign": ("autumn-coupon", "new-year-mail", "app-push"), "arm": ("treatment", "holdout")},
    {"spend_yen": Values(0, 10_000)},
    ("converted",),
    rows=3,
    customers=16_000,
    profile={
        "rows": (("0.4", 1), ("0.9", 2), ("1", 3)),
        "spend_yen": (("0.91", 0), ("0.95", 3_000), ("0.99", 8_000), ("1", 30_000)),
    },
)

# --- the questions

RETAIL: tuple[Question, ...] = (
    Question(PURCHASES, "rows"),
    Question(PURCHASES, "rows", by=("country",)),
    Question(PURCHASES, "rows", by=("ym",)),
    Question(PURCHASES, "rows", by=("dow",)),
    Question(PURCHASES, "rows", by=("clock",)),
    Question(PURCHASES, "rows", where=(("pieces", ">=", 12),)),
    Question(PURCHASES, "rows", by=("ym",), where=(("pieces", ">=", 12),)),
    Question(PURCHASES, "rows", by=("dow",), where=(("pounds", ">=", 50),)),
    Question(PURCHASES, "rows", where=(("country", "=", "Germany"),)),
    Question(PURCHASES, "customers"),
    Question(PURCHASES, "customers", by=("country",)),
    Question(PURCHASES, "customers", by=("ym",)),
    Question(PURCHASES, "customers", by=("dow",)),
    Question(PURCHASES, "customers", where=(("pieces", ">=", 48),)),
    Question(PURCHASES, "customers", by=("ym",), where=(("pounds", ">=", 50),)),
    Question(PURCHASES, "sum", "pounds"),
    Question(PURCHASES, "sum", "pounds", by=("ym",)),
    Question(PURCHASES, "sum", "pounds", by=("country",)),
    Question(PURCHASES, "sum", "pounds", by=("dow",)),
    Question(PURCHASES, "sum", "pounds", where=(("pieces", ">=", 12),)),
    Question(PURCHASES, "sum", "pounds", by=("ym",), where=(("country", "<>", "United Kingdom"),)),
    Question(PURCHASES, "sum", "pieces"),
    Question(PURCHASES, "sum", "pieces", by=("clock",)),
    Question(PURCHASES, "mean", "pounds"),
    Question(PURCHASES, "mean", "pounds", by=("country",)),
    Question(PURCHASES, "mean", "pounds", by=("ym",)),
    Question(PURCHASES, "mean", "pieces", by=("dow",)),
)

SAMPLE: tuple[Question, ...] = (
    Question(SESSIONS, "rows"),
    Question(SESSIONS, "rows", by=("device",)),
    Question(SESSIONS, "rows", by=("ym",)),
    Question(SESSIONS, "rows", by=("service", "device")),
    Question(SESSIONS, "rows", by=("service",), where=(("device", "=", "phone"),)),
    Question(SESSIONS, "rows", by=("device",), where=(("pages", ">=", 10),)),
    Question(SESSIONS, "customers"),
    Question(SESSIONS, "customers", by=("service",)),
    Question(SESSIONS, "customers", by=("ym",)),
    Question(SESSIONS, "customers", by=("device",), where=(("seconds", ">=", 600),)),
    Question(SESSIONS, "sum", "seconds"),
    Question(SESSIONS, "sum", "seconds", by=("device",)),
    Question(SESSIONS, "sum", "pages", by=("service",)),
    Question(SESSIONS, "sum", "pages", by=("ym",)),
    Question(SESSIONS, "mean", "pages", by=("device",)),
    Question(SESSIONS, "mean", "seconds", by=("service",)),
    Question(ORDERS, "rows", by=("category",)),
    Question(ORDERS, "rows", by=("ym",), where=(("coupon_used", "=", True),)),
    Question(ORDERS, "customers", by=("category",)),
    Question(ORDERS, "sum", "amount_yen", by=("category",)),
    Question(ORDERS, "sum", "amount_yen", by=("ym",)),
    Question(ORDERS, "sum", "quantity", where=(("coupon_used", "=", True),)),
    Question(ORDERS, "mean", "amount_yen", by=("category",)),
    Question(CONTACTS, "rows", by=("campaign", "arm")),
    Question(CONTACTS, "customers", by=("campaign",)),
    Question(CONTACTS, "rows", by=("campaign", "arm"), where=(("converted", "=", True),)),
    Question(CONTACTS, "sum", "spend_yen", by=("arm",)),
    Question(CONTACTS, "mean", "spend_yen", by=("campaign", "arm"), where=(("converted", "=", True),)),
)
