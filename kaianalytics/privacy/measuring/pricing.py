"""What an accuracy costs: the least ρ whose half-widths at 95% keep within every one that was asked. Without data.

Laws: nothing is promised of a figure whose error depends on the answer itself; the half-widths that are held against
what was asked are those that will be told, of the very noise that will be drawn.

The noises' variances come first. With c[f, v] / ρ_v the part that vector v has in the variance of figure f, the least
Σ ρ_v with Σ_v c[f, v] / ρ_v ≤ b[f] is a convex problem, solved by its multipliers. From there ρ is made as small as the
half-widths themselves, whose noise is in whole steps, allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from kaianalytics.privacy.loss import RHO_UNITS, PrivacyLoss
from kaianalytics.privacy.measuring.evaluating import Evaluation
from kaianalytics.privacy.measuring.foreseeing import (
    SIZED,
    SupposedCells,
    expected,
    is_foreseeable,
    is_steady,
    place_of,
)
from kaianalytics.privacy.measuring.measurement import MAX_SHARE, Measurement, plan_noise, setting_of
from kaianalytics.privacy.measuring.prices import Accuracy, Price
from kaianalytics.privacy.measuring.propagation import Estimates, Source
from kaianalytics.privacy.measuring.quantiles import Z95
from kaianalytics.privacy.plan import Plan
from kaianalytics.privacy.query import Figure
from kaianalytics.privacy.refusals import listed, quoted, unsupported

Numbers = NDArray[np.float64]

_TYPICAL = PrivacyLoss.of("0.01")  # for which a plan is first made where its loss is yet to be found
_TINY = 1e-6  # noise so small that first order is all there is
_ROUNDS = 200
_STRIDE = 1.06
_HALVINGS = 5


@dataclass(frozen=True)
class Priced:
    """A plan with its noise; `chosen_at` is the loss for which the form of its bounding was chosen."""

    plan: Plan
    measurement: Measurement
    chosen_at: PrivacyLoss


def priced(price: Price, compiled: Callable[[PrivacyLoss], Plan], delta: Decimal | None) -> Priced:
    """The plan that `compiled` makes for a loss, with its noise, at the price; for accuracies, at the least loss found.

    The best form of bounding depends on the loss, and the loss for an accuracy on the form: the better of two rounds.
    """
    if price.loss is not None:
        plan = compiled(price.loss)
        return Priced(plan, plan_noise(plan, price.loss, None, delta), price.loss)
    first = _at(price, compiled(_TYPICAL), _TYPICAL, delta)
    plan = compiled(first.measurement.loss)
    if plan == first.plan:
        return first
    return min(first, _at(price, plan, first.measurement.loss, delta), key=lambda one: one.measurement.loss.rho_units)


def _at(price: Price, plan: Plan, chosen_at: PrivacyLoss, delta: Decimal | None) -> Priced:
    loss, shares = loss_for_accuracy(plan, price.accuracy or {}, price.size)
    return Priced(plan, plan_noise(plan, loss, shares, delta), PrivacyLoss(chosen_at.rho_units))


def loss_for_accuracy(
    plan: Plan, accuracy: Mapping[str, Accuracy], size: Decimal | None = None
) -> tuple[PrivacyLoss, tuple[int, ...]]:
    """The least ρ found whose half-widths keep within every accuracy, and each vector's share of it in units.

    A vector that no such figure needs gets the smallest of the others' shares. Raises QueryUnsupported ACCURACY_FIGURE,
    ACCURACY_SHARE, ACCURACY_DEPENDS, SIZE_MISSING, or LOSS_OUT_OF_RANGE for what no ρ within the limits reaches.
    """
    shares = _least_shares(plan, _wanted(plan, accuracy, size), size)
    return PrivacyLoss(sum(shares)), shares


# --- what is wanted


def _wanted(plan: Plan, accuracy: Mapping[str, Accuracy], size: Decimal | None) -> dict[str, float]:
    """The half-width that each figure may have at most, where one was asked."""
    figures = {figure.name: figure for figure in plan.query.figures}
    if unknown := [name for name in accuracy if name and name not in figures]:
        raise unsupported("ACCURACY_FIGURE", figure=quoted(unknown[0]), figures=listed(tuple(figures)))
    asked = {name: accuracy.get(name, accuracy.get("") if f.role != "top" else None) for name, f in figures.items()}
    wanted = {name: _absolute(figures[name], one, size) for name, one in asked.items() if one is not None}
    if not wanted:
        raise unsupported("ACCURACY_DEPENDS", figure=quoted(next(iter(figures))))
    return wanted


def _absolute(figure: Figure, asked: Accuracy, size: Decimal | None) -> float:
    name, sized = quoted(figure.name), figure.role in SIZED
    if size is None and (asked.percent or (sized and not is_steady(figure.value))):
        raise unsupported("SIZE_MISSING", figure=name)
    if not is_foreseeable(figure, size):
        raise unsupported("ACCURACY_DEPENDS", figure=name)
    if asked.percent and sized:
        raise unsupported("ACCURACY_SHARE", figure=name)
    return float(asked.asked / 100 * size) if asked.percent and size is not None else float(asked.asked)


# --- what it costs


def _least_shares(plan: Plan, wanted: Mapping[str, float], size: Decimal | None) -> tuple[int, ...]:
    settings = [setting_of(plan, place) for place in range(len(plan.vectors))]
    figures = [figure for figure in plan.query.figures if figure.name in wanted]
    shares = _balanced(*_variances(plan, figures, wanted, size))

    def units(factor: float) -> tuple[int, ...]:
        return tuple(max(1, int(factor * share * RHO_UNITS)) for share in shares)

    def enough(factor: float) -> bool:
        bars = [one.bar_at(one.scale_for(rho / RHO_UNITS)) for one, rho in zip(settings, units(factor), strict=True)]
        widths = expected(plan, figures, bars, size)
        return all(width is not None and width <= wanted[f.name] for f, width in zip(figures, widths, strict=True))

    low, high = 0.0, 1.0
    while not enough(high):
        if max(units(high)) > MAX_SHARE.rho_units:
            raise _unreachable()
        low, high = high, _STRIDE * high
    while not low and sum(units(high)) > len(shares):
        low, high = (0.0, high / _STRIDE) if enough(high / _STRIDE) else (high / _STRIDE, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    if max(units(high)) > MAX_SHARE.rho_units:
        raise _unreachable()
    return units(high)


def _variances(
    plan: Plan, figures: Sequence[Figure], wanted: Mapping[str, float], size: Decimal | None
) -> tuple[Numbers, Numbers]:
    """c and b: figure f keeps within its half-width where Σ_v c[f, v] / ρ_v ≤ b[f], to first order."""
    settings = [setting_of(plan, place) for place in range(len(plan.vectors))]
    tiny = [setting.bar_at(setting.scale_for(1.0)).deviation * _TINY for setting in settings]
    evaluation = Evaluation(SupposedCells(plan, tiny, size))
    c, b = np.zeros((len(figures), len(settings))), np.zeros(len(figures))
    for f, figure in enumerate(figures):
        column = evaluation.column(figure.value)
        if not isinstance(column, Estimates) or np.isnan(column.values[0]):
            raise unsupported("ACCURACY_DEPENDS", figure=quoted(figure.name))
        for source, pull in column.pulls.items():
            c[f, _vector(plan, source)] += (pull[0] / _TINY) ** 2
        certain = float(np.max(column.slack)) + (0.5 if figure.whole else 0.0)
        if wanted[figure.name] <= certain:
            raise _unreachable()
        b[f] = ((wanted[figure.name] - certain) / Z95) ** 2
    if not c.any():  # constants alone
        raise unsupported("ACCURACY_DEPENDS", figure=quoted(figures[0].name))
    return c, b


def _vector(plan: Plan, source: Source) -> int:
    place = source[1]
    assert isinstance(place, int)  # a vector's for a noise, a measure's for a tree
    return place if source[0] == "noise" else place_of(plan, place)


def _balanced(c: Numbers, b: Numbers) -> list[float]:
    """The ρ of each vector, least in all, with Σ_v c[f, v] / ρ_v ≤ b[f] for each f.

    Lagrange: ρ_v = √(Σ_f λ_f·c[f, v]); each λ rises where its figure errs too much and falls where it need not err so
    little, until nothing changes; in the end all are raised until every figure keeps within its own.
    """
    c = c / b[:, None]
    needed = c.sum(axis=0) > 0
    weights = np.ones(len(c))
    for _ in range(_ROUNDS):
        errors = (c[:, needed] / np.sqrt(weights @ c)[needed]).sum(axis=1)
        if len(c) == 1 or (np.abs(errors - 1) < 1e-4).all():
            break
        weights = np.maximum(weights * errors, 1e-12)
    rho = np.sqrt(weights @ c)
    rho *= (c[:, needed] / rho[needed]).sum(axis=1).max()
    rho[~needed] = rho[needed].min()
    return [float(share) for share in rho]


def _unreachable() -> Exception:
    return unsupported("LOSS_OUT_OF_RANGE", limit=str(MAX_SHARE.rho), way="ask for a coarser accuracy")
