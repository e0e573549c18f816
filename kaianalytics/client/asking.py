"""A statistical question as it is sent: exactly one price, the analyst's bounds, the analyst's own small tables.

Laws:
1. No price has a default, and no question has two.
2. A number crosses as the decimal text that it prints as, never as a binary fraction that only looks like it.
3. What can't be sent as it is meant is refused by name, before anything is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from numbers import Integral
from typing import Any

from kaianalytics.client.lookups import Lookup, lookups
from kaianalytics.errors import Refused

Number = str | int | float | Decimal
Accuracy = Number | Mapping[str, Number]
Bounds = str | Mapping[str, Any]


@dataclass(frozen=True)
class Asking:
    """What may stand beside a question's text."""

    rho: Number | None = None
    epsilon: Number | None = None
    accuracy: Accuracy | None = None
    size: Number | None = None
    bounds: Bounds | None = None
    tables: Mapping[str, Lookup] | None = None

    def request(self, sql: str) -> dict[str, Any]:
        """The body of the question, without what is not asked; exactly one price, or a refusal."""
        prices = [price for price in (self.rho, self.epsilon, self.accuracy) if price is not None]
        if len(prices) != 1:
            raise _price_twice() if prices else _price_missing()
        fields: dict[str, tuple[Any, Callable[[Any], Any]]] = {
            "rho": (self.rho, rho_text),
            "epsilon": (self.epsilon, _epsilon),
            "accuracy": (self.accuracy, lambda accuracy: _accuracy(accuracy, self.size)),
            "size": (self.size, _size),
            "bounds": (self.bounds, _bounds),
            "tables": (self.tables or None, lookups),
        }
        return {"sql": sql} | {name: make(value) for name, (value, make) in fields.items() if value is not None}


def decimal_text(value: object) -> str | None:
    """A number above zero as a plain decimal, a float as it prints; None for what is no such number."""
    with suppress(InvalidOperation):
        number = Decimal(str(value).strip())
        if not isinstance(value, bool) and number.is_finite() and number > 0:
            return f"{number:f}"
    return None


def rho_text(value: Number) -> str:
    """A ρ as it is sent."""
    if text := decimal_text(value):
        return text
    raise Refused(
        "RHO",
        "A question names its price, a positive decimal number.",
        rule="rho is an exact decimal above zero",
        hint='kai.stats("…", rho="0.002"); `kai.budget()` shows what is left',
    )


def _epsilon(value: Number) -> str:
    if text := decimal_text(value):
        return text
    raise Refused(
        "EPSILON",
        "This epsilon is not a price.",
        rule="epsilon is a decimal above zero, converted at the contract's delta",
        hint='kai.stats("…", epsilon="0.1"); `kai.budget()` shows what is left',
    )


def _size(value: Number) -> str:
    if text := decimal_text(value):
        return text
    raise Refused(
        "SIZE",
        "A size is a decimal number above zero.",
        rule="it is the figure that a percentage is of, or the rows behind a mean or a quantile",
        hint='accuracy="5%", size=20000',
    )


def _accuracy(value: Accuracy, size: Number | None) -> str | dict[str, str]:
    if isinstance(value, Mapping):
        return {str(name): _half_width(width, size) for name, width in value.items()}
    return _half_width(value, size)


def _half_width(value: Number, size: Number | None) -> str:
    """A half-width as it is sent: a number, or a percentage of a stated size."""
    text = str(value).strip()
    percent = "%" if text.endswith("%") else ""
    number = decimal_text(text.removesuffix("%")) if not isinstance(value, bool) else None
    if number is None:
        raise Refused(
            "ACCURACY",
            "This is not an accuracy.",
            rule="an accuracy is a half-width at 95%, a number above zero, or a percentage of `size`",
            hint='accuracy=50, or accuracy="5%", size=20000, or one for each figure: accuracy={"n": 50}',
        )
    if percent and size is None:
        raise Refused(
            "SIZE_MISSING",
            "A percentage is of something, and no size is stated.",
            rule="what a figure will be is not known beforehand",
            hint='say what size you expect: accuracy="5%", size=20000',
        )
    return number + percent


def _bounds(value: Bounds) -> Any:
    """Bounds as they are sent; whether they are understood is the engine's to say."""
    if isinstance(value, str | Mapping):
        return value if isinstance(value, str) else _plain(value)
    raise Refused(
        "BOUNDS_UNREADABLE",
        "Bounds are `private`, or limits by their names.",
        rule="what isn't understood is refused, never passed over",
        hint='bounds={"rows": 20}, {"norm": 50}, {"groups": 4, "rows_per_group": 5} or bounds="private"',
    )


def _plain(value: Any) -> Any:
    """Bounds as JSON has them: whole numbers as they are, others as decimal text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return str(value)  # the gateway says what of it is no bound


def _price_missing() -> Refused:
    return Refused(
        "PRICE_MISSING",
        "A question names its price.",
        rule="no privacy loss has a default",
        hint='kai.stats("…", rho="0.002"), or epsilon="0.1", or accuracy=50; `kai.cost` tells one from the other, free',
    )


def _price_twice() -> Refused:
    return Refused(
        "PRICE_TWICE",
        "A question names one price: rho, epsilon or accuracy.",
        rule="no privacy loss has a default, and none is guessed between two",
        hint="leave all but one of them out",
    )
