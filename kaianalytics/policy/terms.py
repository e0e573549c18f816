"""How statistics may be asked of a product: its bounds, profile, windows and pre-aggregates, read from its properties.

Laws: what is read here are public constants, written by people; a bound that is written by half is a fault, for half a
bound bounds nothing. Whether they fit the product's columns is checked by `policy.terms_checks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import get_args

from kaianalytics.policy.columns import NAME
from kaianalytics.policy.contract import PreAggregateRule, WindowRule
from kaianalytics.policy.reading import Part, Properties
from kaianalytics.privacy.unit import ContributionBounds, Profile, Quantiles, WindowSpan

_SPANS: tuple[WindowSpan, ...] = get_args(WindowSpan)


@dataclass(frozen=True)
class Terms:
    """The four of them, each as far as the contract states it."""

    contribution: ContributionBounds | None
    profile: Profile | None
    windows: WindowRule | None
    pre_aggregates: tuple[PreAggregateRule, ...]


def read_terms(ours: Properties) -> Terms:
    """The terms in the product's properties, every fault noted."""
    return Terms(_contribution(ours), _profile(ours), _windows(ours), _pre_aggregates(ours))


def _contribution(ours: Properties) -> ContributionBounds | None:
    part = ours.part("kai.contribution") if ours.has("kai.contribution") else None
    if part is None:
        return None
    part.only("groups", "rowsPerGroup", "rows")
    groups, per_group, rows = (
        part.whole(name) if part.has(name) else None for name in ("groups", "rowsPerGroup", "rows")
    )
    if (groups is None) != (per_group is None) or (groups is None and rows is None):
        part.fault("a contribution is `groups` with `rowsPerGroup`, or `rows`, or all three")
        return None
    return ContributionBounds(groups, per_group, rows)


def _profile(ours: Properties) -> Profile | None:
    part = ours.part("kai.profile") if ours.has("kai.profile") else None
    if part is None:
        return None
    part.only("units", "rows", "totals")
    before = len(part.faults)
    units = part.whole("units")
    rows = _quantiles(part.part("rows")) if part.has("rows") else ()
    totals = {name: _quantiles(stated) for name, stated in part.named("totals", required=False).items()}
    if not rows and not totals:
        part.fault("a profile says how rows, or the totals of columns, spread over units")
    if len(part.faults) != before:
        return None
    return Profile(units, rows, totals)


def _quantiles(part: Part | None) -> Quantiles:
    """Shares of units, each with what they have at most; both rise, and the last share is 1."""
    if part is None:
        return ()
    points = tuple((_share(part, name), part.amount(name)) for name in part.names)
    try:
        Profile(1, points)
    except ValueError:
        part.fault("shares rise, what they have does not fall, and the last share is 1")
    if not points:
        part.fault("no shares are stated", 'such as {"0.5": 3, "1": 40}')
    return points


def _share(part: Part, name: str) -> Decimal:
    try:
        share = Decimal(name)
    except InvalidOperation:
        share = Decimal(0)
    if not (share.is_finite() and 0 < share <= 1):
        part.fault(f"`{name}` is no share of units", 'above 0, up to 1, such as "0.9"', at=name)
    return share if share.is_finite() else Decimal(1)


def _windows(ours: Properties) -> WindowRule | None:
    part = ours.part("kai.windows") if ours.has("kai.windows") else None
    if part is None:
        return None
    part.only("column", "span", "arrived")
    return WindowRule(part.text("column"), part.choice("span", _SPANS), part.text("arrived", "") or None)


def _pre_aggregates(ours: Properties) -> tuple[PreAggregateRule, ...]:
    if not ours.has("kai.preAggregates"):
        return ()
    return tuple(_pre_aggregate(part) for part in ours.parts("kai.preAggregates"))


def _pre_aggregate(part: Part) -> PreAggregateRule:
    part.only("name", "keys", "sums")
    name, keys, sums = part.text("name"), part.texts("keys"), part.texts("sums", required=False)
    if name and not NAME.fullmatch(name):
        part.fault(f"`{name}` is no name", "small letters, digits and _, beginning with a letter", at="name")
    for listed, at in ((keys, "keys"), (sums, "sums")):
        if len(set(listed)) != len(listed):
            part.fault(f"`{at}` lists each column once", at=at)
    return PreAggregateRule(name, keys, sums)
