"""The model's values as JSON and back, exactly: what a certificate states, in one canonical text.

Laws: what is read back equals what was written; a value is written in one way only, so that equal values have equal
digests; a field that has its default is left out, so that a field added later changes no digest; no float is written.

A text, a whole number, a truth value and NULL are JSON's own; all else says what it is: {"decimal": "0.01"},
{"date": "2026-01-05"}, {"timestamp": "2026-01-05T10:00:00"}, {"pairs": [[key, value], …]} for a mapping in its order,
{"is": "ValueBounds", "lower": …} for a class of the model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kaianalytics.privacy import unit
from kaianalytics.privacy.unit import StatisticsView

_UNIT_CLASSES: Mapping[str, type] = {
    one.__name__: one
    for one in (
        unit.ContributionBounds,
        unit.KeyDomain,
        unit.PreAggregate,
        unit.PrivacyUnit,
        unit.Profile,
        unit.StatisticsColumn,
        unit.StatisticsView,
        unit.ValueBounds,
        unit.Windows,
    )
}

_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "decimal": Decimal,
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
}


def to_json(value: object) -> Any:
    """The value as JSON; TypeError for what the model has no place for."""
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, datetime):
        return {"timestamp": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Mapping):
        return {"pairs": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = [field for field in dataclasses.fields(value) if field.init and not _is_default(value, field)]
        return {"is": type(value).__name__} | {field.name: to_json(getattr(value, field.name)) for field in told}
    raise TypeError(f"no canonical JSON for {type(value).__name__}")


def from_json(data: Any, classes: Mapping[str, type] = _UNIT_CLASSES) -> Any:
    """The value that `to_json` wrote, with tuples for its lists; ValueError for anything else."""
    try:
        return _read(data, classes)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as fault:
        raise ValueError("this is no canonical JSON of a value") from fault


def _read(data: Any, classes: Mapping[str, type]) -> Any:
    if isinstance(data, list):
        return tuple(_read(item, classes) for item in data)
    if not isinstance(data, dict):
        return data
    if "is" in data:
        return classes[data["is"]](**{name: _read(item, classes) for name, item in data.items() if name != "is"})
    ((kind, told),) = data.items()
    if kind == "pairs":
        return {_read(key, classes): _read(item, classes) for key, item in told}
    return _SCALARS[kind](told)


def view_to_json(view: StatisticsView) -> Any:
    """A view's public facts as JSON."""
    return to_json(view)


def view_from_json(data: Any) -> StatisticsView:
    """The view that `view_to_json` wrote; ValueError for anything else."""
    view = from_json(data)
    if not isinstance(view, StatisticsView):
        raise ValueError("these are not the public facts of a view")
    return view


def canonical_text(data: Any) -> str:
    """JSON in one way only: keys in order, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(data: Any) -> str:
    """SHA-256, in hex, of the canonical text."""
    return hashlib.sha256(canonical_text(data).encode()).hexdigest()


def _is_default(value: Any, field: dataclasses.Field[Any]) -> bool:
    told = getattr(value, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return bool(told == field.default_factory())
    # Equal and of one type: 1 is not True, nor is 0 the absence of a bound.
    return field.default is not dataclasses.MISSING and type(told) is type(field.default) and told == field.default
