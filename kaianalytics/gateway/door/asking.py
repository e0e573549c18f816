"""A statistical question as it came over the wire, made into a request, or refused by name.

Laws: every field is known and of its type; the price is named in exactly one way, and none has a default; what is
asked is bounded in size before anything is made of it. Whether the engine can answer is not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kaianalytics.errors import Refused
from kaianalytics.gateway.door.reading import text_field
from kaianalytics.privacy.query import MAX_FIGURES
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.protocol import StatisticsRequest

PRICES = ("rho", "epsilon", "accuracy")
FIELDS = frozenset({"sql", *PRICES, "size", "bounds", "tables"})
DIGITS_MAX = 40  # of a decimal: more are no price, and take time to read
_DECIMAL = re.compile(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]{1,4})?%?", re.ASCII)


def statistics_request(body: Mapping[str, Any]) -> StatisticsRequest:
    """The request of a body.

    Refused FIELD_UNKNOWN, FIELD_MISSING or FIELD_TYPE; QueryUnsupported PRICE_MISSING or PRICE_TWICE, or the name of
    the number that is none.
    """
    given = {name: value for name, value in body.items() if value is not None}
    if unknown := sorted(set(given) - FIELDS):
        raise Refused(
            "FIELD_UNKNOWN", f"A question has no field {unknown[0][:40]!r}.", hint="use the kaianalytics client"
        )
    sql = text_field(given, "sql")
    prices = [name for name in PRICES if name in given]
    if len(prices) != 1:
        raise unsupported("PRICE_TWICE" if prices else "PRICE_MISSING")
    return StatisticsRequest(
        sql,
        rho=_number(given, "rho"),
        epsilon=_number(given, "epsilon"),
        accuracy=_accuracy(given.get("accuracy")),
        size=_number(given, "size"),
        bounds=_bounds(given.get("bounds")),
        tables=_tables(given.get("tables", {})),
    )


def _number(given: Mapping[str, Any], name: str) -> str | None:
    """A decimal in text, if it was given; whether it is in range is the engine's to say."""
    return _text(given[name], name) if name in given else None


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(name, "a decimal number in quotes")
    if len(value) > DIGITS_MAX or not _DECIMAL.fullmatch(value):
        raise unsupported(name.upper(), **{name: quoted(value)})
    return value


def _accuracy(value: Any) -> str | Mapping[str, str] | None:
    if value is None or isinstance(value, str):
        return None if value is None else _text(value, "accuracy")
    if not isinstance(value, dict) or not 1 <= len(value) <= MAX_FIGURES:
        raise _wrong_type("accuracy", "a decimal in quotes, a percentage, or one of them for each figure's name")
    return {name: _text(width, "accuracy") for name, width in value.items()}


def _bounds(value: Any) -> str | Mapping[str, Any] | None:
    """Bounds as they were written: whether they are understood is the engine's to say."""
    if value is None or isinstance(value, str | dict):
        return value
    raise _wrong_type("bounds", "`private`, or limits by their names")


def _tables(value: Any) -> Mapping[str, Mapping[str, list[Any]]]:
    if not isinstance(value, dict) or not all(isinstance(columns, dict) for columns in value.values()):
        raise _wrong_type("tables", "a mapping of names to columns, and of columns to lists of values")
    if not all(isinstance(values, list) for columns in value.values() for values in columns.values()):
        raise _wrong_type("tables", "a mapping of names to columns, and of columns to lists of values")
    return value


def _wrong_type(name: str, what: str) -> Refused:
    return Refused("FIELD_TYPE", f"`{name}` is {what}.", hint="use the kaianalytics client")
