"""Data contracts as values: what each product holds, and what each purpose may see of it.

Laws: a column that no rule names for a purpose is in neither of its stores; a product that no rule names for a purpose
is absent from it; a column without a classification is a fault; a direct identifier is never kept. `policy.odcs` reads
these values from contract files, `policy.consistency` checks that they fit one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from kaianalytics.policy.clauses import PrivacyPolicy
from kaianalytics.policy.leaving import DEFAULT_CAPS, DOWNLOAD_BYTES, RowsCaps
from kaianalytics.policy.purpose import Purposes
from kaianalytics.policy.roles import Roles
from kaianalytics.privacy.unit import ColumnType, ContributionBounds, Profile, WindowSpan

Access = Literal["rows", "statistics"]
Action = Literal["keep", "pseudonym", "generalise", "mask", "drop"]

# public            about no person
# personal          about a person; points to nobody on its own
# quasi-identifier  may point to somebody together with others: a birth date, a postal code, a region
# direct-identifier points to somebody on its own: a name, an address, an e-mail
# key               names a person or a record: leaves the sources as a pseudonym or not at all
# free-text         may hold anything, sensitive information included: never leaves the sources
# special-category  sensitive information (clause 2): never leaves the sources
Classification = Literal[
    "public", "personal", "quasi-identifier", "direct-identifier", "key", "free-text", "special-category"
]

ALLOWED_ACTIONS: Mapping[Classification, frozenset[Action]] = {
    "public": frozenset(("keep", "generalise", "mask", "drop")),
    "personal": frozenset(("keep", "generalise", "mask", "drop")),
    "quasi-identifier": frozenset(("keep", "generalise", "mask", "drop")),
    "direct-identifier": frozenset(("mask", "drop")),
    "key": frozenset(("pseudonym", "drop")),
    "free-text": frozenset(("drop",)),
    "special-category": frozenset(("drop",)),
}


@dataclass(frozen=True)
class ColumnRule:
    """What one purpose sees of one column; `how` says to what a value is generalised (see `policy.rules`)."""

    action: Action
    how: str = ""  # decade|year|month|week|day|hour for times, bands:0,20,30 for numbers, prefix:3 for text

    def __post_init__(self) -> None:
        if (self.action == "generalise") != bool(self.how):
            raise ValueError("`how` belongs to generalise, and generalise needs it")


@dataclass(frozen=True)
class Column:
    """One column of a product's source."""

    name: str
    type: ColumnType
    classification: Classification
    required: bool
    rules: Mapping[str, ColumnRule]
    key: str | None = None  # the pseudonym domain of a key column, e.g. "customer"
    minimum: str | None = None  # as written: a number, or an ISO date
    maximum: str | None = None
    step: Decimal | None = None  # logicalTypeOptions.multipleOf
    enum: tuple[str, ...] = ()
    description: str = ""
    references: tuple[str, ...] = ()  # "product.column", from relationships
    primary_key: bool = False  # the product's key, or a part of it


@dataclass(frozen=True)
class Basis:
    """Why a purpose may use a product: `notified`, or `prior-consent` to the choice named `key`."""

    kind: Literal["notified", "prior-consent"]
    key: str = ""

    def __post_init__(self) -> None:
        if (self.kind == "prior-consent") != bool(self.key):
            raise ValueError("prior-consent names a choice; notified names none")

    def __str__(self) -> str:
        return f"prior-consent({self.key})" if self.key else self.kind


@dataclass(frozen=True)
class PurposeRule:
    """One purpose's use of one product."""

    purpose: str
    basis: Basis
    access: frozenset[Access]

    def __post_init__(self) -> None:
        if not self.access:
            raise ValueError("a purpose rule grants rows, statistics or both; leave the purpose out to grant nothing")


@dataclass(frozen=True)
class Retention:
    """Rows whose `column` lies more than `days` before the as-of date are left out."""

    column: str
    days: int

    def __post_init__(self) -> None:
        if self.days < 1:
            raise ValueError("a retention is a whole number of days from 1 upwards")


@dataclass(frozen=True)
class WindowRule:
    """The windows of time that budgets live with, by an event time and, where rows may come late, their arrival."""

    column: str
    span: WindowSpan
    arrived: str | None = None


@dataclass(frozen=True)
class PreAggregateRule:
    """A table per unit and cell that the builder makes, so that a question on exactly these keys is quick."""

    name: str
    keys: tuple[str, ...]
    sums: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataContract:
    """One data product: its source, schema, privacy unit, purposes and bounds."""

    product: str
    version: str
    title: str
    source: str  # file name inside the sources folder, or `file.duckdb#table`
    format: Literal["parquet", "csv", "duckdb"]
    columns: tuple[Column, ...]
    purposes: Mapping[str, PurposeRule]
    population: str | None = None  # None: a public table about no person
    unit: str | None = None  # the column that names the privacy unit
    contribution: ContributionBounds | None = None
    profile: Profile | None = None
    windows: WindowRule | None = None
    pre_aggregates: tuple[PreAggregateRule, ...] = ()
    retention: Retention | None = None
    rows_caps: RowsCaps = DEFAULT_CAPS
    download_bytes: int = DOWNLOAD_BYTES  # of one file out of a workspace; 0: none leaves
    file: str = ""
    description: str = ""
    appi_status: str = ""
    joint_use: frozenset[str] = frozenset()  # companies of the joint use (clause 5) that may use it; empty: none
    countries: frozenset[str] = frozenset()  # countries from which it may be used (clause 9.1); empty: none
    approvers: tuple[str, ...] = ()  # identities to ask, from roles[].firstLevelApprovers

    def __post_init__(self) -> None:
        if (self.population is None) != (self.unit is None):
            raise ValueError("a privacy unit is a population and a column, or neither")

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if the contract has none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def has(self, name: str) -> bool:
        """Whether the contract has a column of that name."""
        return any(column.name == name for column in self.columns)

    @property
    def key(self) -> Column | None:
        """The one column that is the primary key; None where there is none, or several columns make it together."""
        parts = [column for column in self.columns if column.primary_key]
        return parts[0] if len(parts) == 1 else None


@dataclass(frozen=True)
class Contracts:
    """A whole folder of contracts without a fault.

    `digest` covers purposes, privacy policy and products, which decide what a store holds. Roles have a digest of their
    own: who may ask changes no store, and is read anew while the gateway runs.
    """

    purposes: Purposes
    policy: PrivacyPolicy
    roles: Roles
    products: Mapping[str, DataContract]
    digest: str

    def download_bytes(self, purpose: str) -> int:
        """The most bytes of one file out of the purpose's workspaces: the least over the products it may use."""
        stated = (each.download_bytes for each in self.products.values() if purpose in each.purposes)
        return min(stated, default=DOWNLOAD_BYTES)
