"""Who gains and who loses what by other contracts, told before they take effect.

Laws: every change of what a purpose may use is told, by purpose and product, whichever way it goes; what an edit takes
away is told as plainly as what it gives. Allowances of privacy loss are not among them: the ledger's own caps hold,
whatever contracts declare (`kai budget` has the differences).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from kaianalytics.policy.contract import Access, ColumnRule, Contracts, DataContract, PurposeRule
from kaianalytics.policy.leaving import RowsCaps
from kaianalytics.policy.purpose import Purposes

Effect = Literal["gains", "loses", "changes"]
_CAPS: Mapping[str, str] = {
    "rows_per_query": "rows with one answer",
    "bytes_per_query": "bytes with one answer",
    "rows_per_day": "rows a day",
    "bytes_per_day": "bytes a day",
}


@dataclass(frozen=True)
class Change:
    """One difference: whose (a purpose, a company or a country), of which product, and what."""

    who: str
    product: str
    effect: Effect
    what: str


def changes(before: Contracts, after: Contracts) -> tuple[Change, ...]:
    """Every difference in who may use what, in order of whose it is."""
    products = {**before.products, **after.products}
    found = [
        *_opened(before.purposes, after.purposes),
        *_shown(before.purposes, after.purposes),
        *_downloads(before, after),
        *(change for name in products for change in _of(before.products.get(name), after.products.get(name))),
    ]
    return tuple(sorted(found, key=lambda change: (change.who, change.product, change.what)))


def _opened(before: Purposes, after: Purposes) -> Iterator[Change]:
    for purpose in sorted({*before.open} ^ {*after.open}):
        yield Change(purpose, "–", "gains" if purpose in after.open else "loses", "stores and sessions of its own")


def _shown(before: Purposes, after: Purposes) -> Iterator[Change]:
    """Whose recorded answers a purpose may be shown beside its own."""
    for purpose in sorted({*before.open} | {*after.open}):
        old, new = (
            {*each.purposes[purpose].releases_of} if purpose in each.purposes else set() for each in (before, after)
        )
        for other in sorted(old ^ new):
            yield Change(purpose, "–", "gains" if other in new else "loses", f"the recorded answers of {other}")


def _downloads(before: Contracts, after: Contracts) -> Iterator[Change]:
    for purpose in sorted({*before.purposes.open} & {*after.purposes.open}):
        old, new = before.download_bytes(purpose), after.download_bytes(purpose)
        yield from _number(purpose, "–", "bytes of a file out of a workspace", old, new)


def _of(old: DataContract | None, new: DataContract | None) -> Iterator[Change]:
    name = "".join({each.product for each in (old, new) if each})
    for purpose in sorted({*_rules(old)} | {*_rules(new)}):
        yield from _access(purpose, name, _rules(old).get(purpose), _rules(new).get(purpose))
    if old is None or new is None:
        return
    for purpose in sorted({*old.purposes} & {*new.purposes}):
        yield from _columns(purpose, old, new)
        if "rows" in old.purposes[purpose].access & new.purposes[purpose].access:
            yield from _rows_caps(purpose, name, old.rows_caps, new.rows_caps)
    for one, other in ((old.joint_use, new.joint_use), (old.countries, new.countries)):
        for who in sorted(one ^ other):
            yield Change(who, name, "gains" if who in other else "loses", "the use of the product")
    yield from _retention(old, new)


def _rules(contract: DataContract | None) -> Mapping[str, PurposeRule]:
    return contract.purposes if contract else {}


def _access(purpose: str, name: str, old: PurposeRule | None, new: PurposeRule | None) -> Iterator[Change]:
    had, has = (each.access if each else frozenset[Access]() for each in (old, new))
    for access in sorted(had ^ has):
        yield Change(purpose, name, "gains" if access in has else "loses", access)
    if old and new and old.basis != new.basis:
        yield Change(purpose, name, "changes", f"basis: {old.basis} → {new.basis}")


def _columns(purpose: str, old: DataContract, new: DataContract) -> Iterator[Change]:
    had, has = (_seen(contract, purpose) for contract in (old, new))
    for column in sorted({*had} | {*has}):
        if column not in had or column not in has:
            yield Change(purpose, new.product, "gains" if column in has else "loses", f"column {column}")
        elif had[column] != has[column]:
            what = f"column {column}: {_said(had[column])} → {_said(has[column])}"
            yield Change(purpose, new.product, "changes", what)


def _rows_caps(purpose: str, name: str, old: RowsCaps, new: RowsCaps) -> Iterator[Change]:
    for field in fields(RowsCaps):
        yield from _number(purpose, name, _CAPS[field.name], getattr(old, field.name), getattr(new, field.name))


def _retention(old: DataContract, new: DataContract) -> Iterator[Change]:
    before, after = (each.retention.days if each.retention else None for each in (old, new))
    if before == after:
        return
    shown = [f"{days} days" if days else "for ever" for days in (before, after)]
    longer = after is None or (before is not None and after > before)
    for purpose in sorted({*old.purposes} & {*new.purposes}):
        yield Change(purpose, new.product, "gains" if longer else "loses", f"retention: {shown[0]} → {shown[1]}")


def _number(who: str, product: str, what: str, old: int, new: int) -> Iterator[Change]:
    if old != new:
        yield Change(who, product, "gains" if new > old else "loses", f"{what}: {old:,} → {new:,}")


def _seen(contract: DataContract, purpose: str) -> dict[str, ColumnRule]:
    """The columns that a purpose has something of."""
    rules = {column.name: column.rules.get(purpose) for column in contract.columns}
    return {name: rule for name, rule in rules.items() if rule is not None and rule.action != "drop"}


def _said(rule: ColumnRule) -> str:
    return f"{rule.action} to {rule.how}" if rule.how else rule.action
