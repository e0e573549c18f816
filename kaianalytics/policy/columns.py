"""One column of an ODCS schema object → one Column, with the declared range, keys and purpose rules checked.

Laws: a column without a classification is a fault; a rule that its classification does not allow is a fault (a direct
identifier, free text or a special category is never kept); a key leaves the sources as a pseudonym or not at all; a
declared range is a fault unless it is one: both ends of the column's type, the lower below the upper, whole steps.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import get_args

from kaianalytics.policy.contract import ALLOWED_ACTIONS, Action, Classification, Column, ColumnRule
from kaianalytics.policy.properties import COLUMN_PROPERTIES
from kaianalytics.policy.reading import Part, Properties
from kaianalytics.policy.rules import day_of, generalisation
from kaianalytics.privacy.unit import ColumnType, ValueBounds

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TYPES: tuple[ColumnType, ...] = get_args(ColumnType)
_CLASSIFICATIONS: tuple[Classification, ...] = get_args(Classification)
_ACTIONS: tuple[Action, ...] = ("keep", "pseudonym", "mask", "drop")  # generalise is written with its `how`
_OPTIONS = ("minimum", "maximum", "multipleOf")


def read_column(part: Part) -> Column:
    """The column in one entry of a schema's properties; every fault is noted in the part."""
    ours = Properties(part)
    ours.only(*COLUMN_PROPERTIES)
    kind = part.choice("logicalType", _TYPES)
    minimum, maximum, step = _range(part, kind)
    column = Column(
        name=_column_name(part),
        type=kind,
        classification=part.choice("classification", _CLASSIFICATIONS),
        required=part.flag("required", default=False),
        rules=_rules(ours, kind),
        key=_key_domain(ours),
        minimum=minimum,
        maximum=maximum,
        step=step,
        enum=_enum(part, kind),
        description=part.text("description", ""),
        references=tuple(each.text("to") for each in part.parts("relationships", required=False)),
        primary_key=part.flag("primaryKey", default=False),
    )
    if part.raw("classification") == column.classification:  # else it is a stand-in, and says nothing of the rules
        _check_key(part, ours, column)
        _check_rules(ours, column)
    return column


def _column_name(part: Part) -> str:
    name = part.text("name")
    if name and not NAME.fullmatch(name):
        part.fault(f"`{name}` is no column name", "small letters, digits and _, beginning with a letter", at="name")
    if name.startswith("kai_"):
        part.fault("names that begin with `kai_` belong to the sandbox", at="name")
    if part.has("physicalName") and part.raw("physicalName") != name:
        part.fault("a column is named as in its source: leave physicalName out", at="physicalName")
    return name


def _rules(ours: Properties, kind: ColumnType) -> dict[str, ColumnRule]:
    if not ours.has("kai.purposeRules"):
        return {}
    part = ours.part("kai.purposeRules")
    stated = ours.raw("kai.purposeRules")
    if part is None or not isinstance(stated, dict):
        return {}
    return {purpose: rule for purpose in stated if (rule := _rule(part, purpose, kind))}


def _rule(rules: Part, purpose: str, kind: ColumnType) -> ColumnRule | None:
    if isinstance(rules.raw(purpose), dict) and (stated := rules.part(purpose)):
        stated.only("generalise")
        how = stated.text("generalise")
        return _generalise(stated, how, kind) if how else None
    before = len(rules.faults)
    action = rules.choice(purpose, _ACTIONS)
    return ColumnRule(action) if len(rules.faults) == before else None


def _generalise(stated: Part, how: str, kind: ColumnType) -> ColumnRule | None:
    try:
        generalisation(how, kind)
    except ValueError as error:
        stated.fault(str(error), at="generalise")
        return None
    return ColumnRule("generalise", how)


def _key_domain(ours: Properties) -> str | None:
    if not ours.has("kai.keyDomain"):
        return None
    domain = ours.text("kai.keyDomain")
    if domain and not KEBAB.fullmatch(domain):
        ours.fault(f"`{domain}` is no key domain", "small letters, digits and -, such as customer", at="kai.keyDomain")
    return domain or None


def _check_key(part: Part, ours: Properties, column: Column) -> None:
    if column.classification == "key" and column.key is None:
        part.fault(f"key column `{column.name}` names no kai.keyDomain", "for instance customer")
    if column.classification != "key" and column.key is not None:
        ours.fault(f"column `{column.name}` has a key domain, so its classification is `key`", at="kai.keyDomain")


def _check_rules(ours: Properties, column: Column) -> None:
    allowed = ALLOWED_ACTIONS[column.classification]
    for purpose, rule in column.rules.items():
        if rule.action not in allowed:
            ours.faults.note(
                ours.document,
                (*ours.place("kai.purposeRules"), purpose),
                f"column `{column.name}` is classified {column.classification}: `{rule.action}` is not allowed",
                f"allowed: {', '.join(sorted(allowed))}",
            )


def _range(part: Part, kind: ColumnType) -> tuple[str | None, str | None, Decimal | None]:
    if not part.has("logicalTypeOptions"):
        return None, None, None
    options = part.part("logicalTypeOptions")
    if options is None:
        return None, None, None
    before = len(options.faults)
    options.only(*_OPTIONS)
    minimum, maximum = _end(options, "minimum", kind), _end(options, "maximum", kind)
    step = _step(options, kind)
    if len(options.faults) == before:
        _check_range(options, kind, minimum, maximum, step)
    return minimum, maximum, step


def _end(options: Part, key: str, kind: ColumnType) -> str | None:
    if not options.has(key):
        return None
    value = options.raw(key)
    if kind in ("integer", "number") and _is_number(value, kind):
        return str(value)
    if kind in ("date", "timestamp") and isinstance(value, str) and _is_day(value, kind):
        return value
    options.fault(f"`{key}` is no value of a {kind} column", at=key)
    return None


def _is_day(text: str, kind: ColumnType) -> bool:
    try:
        (day_of if kind == "date" else datetime.fromisoformat)(text)
    except ValueError:
        return False
    return kind == "timestamp" or len(text) == 10


def _step(options: Part, kind: ColumnType) -> Decimal | None:
    if not options.has("multipleOf"):
        return None
    value = options.raw("multipleOf")
    if kind in ("integer", "number") and _is_number(value, kind) and Decimal(str(value)) > 0:
        return Decimal(str(value))
    options.fault(f"`multipleOf` is no step of a {kind} column", at="multipleOf")
    return None


def _is_number(value: object, kind: ColumnType) -> bool:
    """Whether the value is a number of the column's type: true and false are none, and an integer has no fraction."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return False
    return kind == "number" or value % 1 == 0


def _check_range(
    options: Part, kind: ColumnType, minimum: str | None, maximum: str | None, step: Decimal | None
) -> None:
    if minimum is None or maximum is None:
        return
    if kind in ("date", "timestamp"):
        if day_of(minimum) > day_of(maximum):
            options.fault("the minimum is above the maximum", at="minimum")
        return
    try:
        ValueBounds(Decimal(minimum), Decimal(maximum), step or (Decimal(1) if kind == "integer" else Decimal("1E-9")))
    except (ValueError, InvalidOperation):
        options.fault("the minimum lies below the maximum, and both are whole multiples of multipleOf", at="minimum")


def _enum(part: Part, kind: ColumnType) -> tuple[str, ...]:
    entries = part.parts("enum", required=False)
    if entries and kind not in ("string", "integer"):
        part.fault(f"a {kind} column lists no enum", "a range, or kept as it is", at="enum")
        return ()
    values: dict[str, None] = {}
    for entry in entries:
        value = entry.raw("value")
        fits = isinstance(value, str) if kind == "string" else isinstance(value, int) and not isinstance(value, bool)
        if not fits:
            entry.fault(f"an enum of a {kind} column lists {kind} values", at="value")
        elif str(value) in values:
            entry.fault("the enum lists each value once", at="value")
        values[str(value)] = None
    return tuple(values)
