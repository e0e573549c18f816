"""A first contract for a source, from its schema and a steward's answers: it grants nothing until somebody grants it.

Laws: the draft has no purpose and no purpose rule; a column that nobody classified is classified the strictest, and
says so; a bound is only ever what was answered, never what the data happen to hold; what no contract can describe is
left out in a comment, by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kaianalytics.errors import PolicyRefused
from kaianalytics.policy.columns import KEBAB, NAME
from kaianalytics.policy.contract import Classification
from kaianalytics.privacy.unit import ColumnType

STRICTEST: Classification = "special-category"
_BOUND = re.compile(r"-?\d+(\.\d+)?|\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class DraftColumn:
    """One column as the source has it; `logical` is None for a type that no contract can describe."""

    name: str
    physical: str
    logical: ColumnType | None
    nullable: bool

    @property
    def describable(self) -> bool:
        """Whether a contract can describe the column."""
        return self.logical is not None and NAME.fullmatch(self.name) is not None


@dataclass(frozen=True)
class Bounds:
    """A declared range, as answered: numbers or ISO dates, and for numbers the step of their values."""

    minimum: str
    maximum: str
    step: str = ""

    def __post_init__(self) -> None:
        if not all(_BOUND.fullmatch(end) for end in (self.minimum, self.maximum, self.step or "1")):
            raise ValueError("bounds are decimal numbers or ISO dates")


@dataclass(frozen=True)
class Unit:
    """Whose data it is: the unit's column, its population, and the population's own key, `product.column`, if known."""

    column: str
    population: str
    home: str = ""


@dataclass(frozen=True)
class Answers:
    """What a steward answered about a source; what is not answered is denied.

    `rows` is how many rows one unit may have in statistics; `primary_key` the column that no two rows agree in.
    """

    title: str
    source: str
    format: Literal["parquet", "csv", "duckdb"]
    unit: Unit | None = None
    keys: Mapping[str, str] = field(default_factory=dict)  # column → key domain
    classifications: Mapping[str, Classification] = field(default_factory=dict)
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    primary_key: str = ""
    rows: int | None = None

    @property
    def named(self) -> frozenset[str]:
        """Every column that some answer names."""
        single = [self.primary_key, self.unit.column if self.unit else ""]
        return frozenset(name for name in (*self.keys, *self.classifications, *self.bounds, *single) if name)


def draft_contract(product: str, columns: Sequence[DraftColumn], answers: Answers) -> str:
    """The YAML text of a contract that grants nothing; PolicyRefused for answers that fit no column."""
    _check(product, columns, answers)
    lines = [*_head(product, answers)]
    for column in columns:
        lines += _column(product, column, answers) if column.describable else _left_out(column)
    return "\n".join([*lines, *_tail(answers), ""])


def _check(product: str, columns: Sequence[DraftColumn], answers: Answers) -> None:
    if not NAME.fullmatch(product):
        raise _refused(f"{_text(product)} is no product name.", "small letters, digits and _, beginning with a letter")
    known = {column.name: column for column in columns if column.describable}
    if unknown := sorted(answers.named - set(known)):
        listed = ", ".join(known) or "none"
        raise _refused(
            f"The source has no column {_text(unknown[0])} that a contract can describe.", f"it has: {listed}"
        )
    for domain in answers.keys.values():
        if not KEBAB.fullmatch(domain):
            raise _refused(f"{_text(domain)} is no key domain.", "small letters, digits and -, such as customer")
    if answers.unit and answers.unit.column not in answers.keys:
        raise _refused("The unit's column is a key, and no key domain was given for it.", "for instance customer")
    if answers.rows is not None and (answers.unit is None or answers.rows < 1):
        raise _refused("A bound on rows is a whole number from 1 upwards, of a unit.", "name the unit, or leave it out")
    if unclear := sorted(set(answers.keys) & set(answers.classifications)):
        raise _refused(f"Column `{unclear[0]}` is a key, so its classification is `key`.", "answer one of the two")


def _refused(message: str, hint: str) -> PolicyRefused:
    return PolicyRefused("DRAFT_REFUSED", message, rule="a draft says only what was answered", hint=hint)


def _head(product: str, answers: Answers) -> list[str]:
    return [
        "# A draft that grants nothing. Say in kai.purposes which purposes may use it and why, in kai.contribution how",
        "# much one unit may add, and in each column's kai.purposeRules what each purpose sees. For better statistics:",
        "# kai.profile says how rows spread over units, kai.windows that budgets live with windows of time, and",
        "# kai.preAggregates which questions must be quick. docs/reference/contracts.md has them all.",
        "apiVersion: v3.2.0",
        "kind: DataContract",
        f"id: urn:kai:contract:{product.replace('_', '-')}",
        f"name: {_text(answers.title)}",
        "version: 0.1.0",
        "status: draft",
        "servers:",
        "  - server: sources",
        "    type: local",
        f"    path: {_text(answers.source)}",
        f"    format: {answers.format}",
        "schema:",
        f"  - name: {_text(product)}",
        "    logicalType: object",
        "    physicalType: table",
        "    properties:",
    ]


def _column(product: str, column: DraftColumn, answers: Answers) -> list[str]:
    lines = [
        f"      - name: {_text(column.name)}",
        f"        logicalType: {column.logical}",
        f"        physicalType: {_text(column.physical)}",
        f"        required: {'false' if column.nullable else 'true'}",
        *(["        primaryKey: true"] if column.name == answers.primary_key else []),
        *_classification(column, answers),
    ]
    if bounds := answers.bounds.get(column.name):
        lines.append(f"        logicalTypeOptions: {{{_bounds(bounds)}}}")
    if home := _home_of(product, column, answers.unit):
        lines += ["        relationships:", f"          - to: {_text(home)}"]
    if domain := answers.keys.get(column.name):
        lines += ["        customProperties:", "          - property: kai.keyDomain", f"            value: {domain}"]
    return lines


def _home_of(product: str, column: DraftColumn, unit: Unit | None) -> str:
    """The population's key that the column refers to: it is the unit's column, and not that key itself."""
    if unit is None or unit.column != column.name or unit.home == f"{product}.{column.name}":
        return ""
    return unit.home


def _classification(column: DraftColumn, answers: Answers) -> list[str]:
    if column.name in answers.keys:
        return ["        classification: key"]
    if answered := answers.classifications.get(column.name):
        return [f"        classification: {answered}"]
    return [f"        classification: {STRICTEST} # nobody classified it yet, so it is classified the strictest"]


def _bounds(bounds: Bounds) -> str:
    step = f", multipleOf: {bounds.step}" if bounds.step else ""
    return f"minimum: {bounds.minimum}, maximum: {bounds.maximum}{step}"


def _left_out(column: DraftColumn) -> list[str]:
    why = (
        "of a type that no contract describes" if column.logical is None else "rename it in the source: a-z, 0-9 and _"
    )
    return [f"      # left out: {_text(column.name)} ({_text(column.physical)}), {why}"]


def _tail(answers: Answers) -> list[str]:
    lines = ["    customProperties:"]
    if answers.unit:
        lines.append("      - property: kai.privacyUnit")
        lines.append(
            f"        value: {{population: {_text(answers.unit.population)}, column: {_text(answers.unit.column)}}}"
        )
    if answers.rows is not None:
        lines += ["      - property: kai.contribution", f"        value: {{rows: {answers.rows}}}"]
    lines += ["      - property: kai.purposes", "        value: {}", "      - property: kai.appiStatus"]
    return [*lines, f"        value: {'personal-information' if answers.unit else 'not-personal'}"]


def _text(value: str) -> str:
    """The text in double quotes on one line: a JSON string, with what YAML would break a line at escaped too."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in quoted)
