"""The price of a question, read from its request: a loss, or the accuracies that it needs.

Laws: a question names exactly one price, and none has a default; an ε is turned into the largest ρ that keeps within
it; what can't be read, isn't above zero, isn't finite or is huge is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.loss import PrivacyLoss, rho_for
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.protocol import StatisticsRequest

_MOST = Decimal(10) ** 18
_LEAST = Decimal(10) ** -18


@dataclass(frozen=True)
class Accuracy:
    """A half-width at 95%: in the figure's own units, or as a percentage of the size that was stated."""

    asked: Decimal
    percent: bool = False


@dataclass(frozen=True)
class Price:
    """What a question may cost: a loss, or the accuracies that it needs, by the figures' names, or by "" for each."""

    loss: PrivacyLoss | None = None
    accuracy: Mapping[str, Accuracy] | None = None
    size: Decimal | None = None

    def __post_init__(self) -> None:
        if (self.loss is None) == (self.accuracy is None):
            raise ValueError("a price is a loss or accuracies")


def price_of(request: StatisticsRequest, delta: Decimal) -> Price:
    """The price that a request names, with ε at `delta`.

    Raises QueryUnsupported PRICE_MISSING, PRICE_TWICE, RHO, EPSILON, ACCURACY or SIZE.
    """
    named = [price for price in (request.rho, request.epsilon, request.accuracy) if price is not None]
    if len(named) != 1:
        raise unsupported("PRICE_TWICE" if named else "PRICE_MISSING")
    size = None if request.size is None else _positive(request.size, unsupported("SIZE", size=quoted(request.size)))
    if request.accuracy is not None:
        return Price(accuracy=accuracies(request.accuracy), size=size)
    loss = _spent(request.rho) if request.epsilon is None else _bought(request.epsilon, delta)
    return Price(loss, size=size)


def accuracies(asked: str | Mapping[str, str]) -> Mapping[str, Accuracy]:
    """Accuracies by the names of figures, or one for each under ""; QueryUnsupported ACCURACY for what is none."""
    each = asked if isinstance(asked, Mapping) else {"": asked}
    return {name: _accuracy(str(text)) for name, text in each.items()}


def _spent(rho: str | None) -> PrivacyLoss:
    try:
        loss = PrivacyLoss.of(rho or "")
    except ValueError:
        loss = PrivacyLoss(0)
    return _something(loss, "RHO")


def _bought(epsilon: str, delta: Decimal) -> PrivacyLoss:
    try:
        loss = rho_for(_positive(epsilon, unsupported("EPSILON")), delta)
    except ValueError:
        loss = PrivacyLoss(0)
    return _something(loss, "EPSILON")


def _something(loss: PrivacyLoss, code: str) -> PrivacyLoss:
    if loss.rho_units < 1:
        raise unsupported(code)
    return loss


def _accuracy(text: str) -> Accuracy:
    number = _positive(text.removesuffix("%"), unsupported("ACCURACY", accuracy=quoted(text)))
    return Accuracy(number, text.endswith("%"))


def _positive(text: str, refusal: QueryUnsupported) -> Decimal:
    """A decimal above zero that is neither huge nor next to nothing."""
    try:
        number = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        raise refusal from None
    if not number.is_finite() or not _LEAST <= number <= _MOST:
        raise refusal
    return number
