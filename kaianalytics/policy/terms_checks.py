"""Whether a product's statistics terms fit its columns and its population: every fault with its place.

Laws: a window is told by a time that never lacks and has a declared range, and what a purpose sees of that time lies in
one window each, so that a bound on what is seen proves which windows are read; a population whose products have windows
caps each window; a pre-aggregate groups by declared keys and adds up bounded columns, for some purpose at least; a
profile is of the units and of columns that can be added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kaianalytics.policy.contract import DataContract, PreAggregateRule, WindowRule
from kaianalytics.policy.places import Places
from kaianalytics.policy.purpose import Population
from kaianalytics.policy.statistics import can_pre_aggregate, windows_of
from kaianalytics.privacy.unit import SUMMABLE_TYPES, WindowSpan

MAX_WINDOWS = 1_000
_FEWEST_DAYS: Mapping[WindowSpan, int] = {"week": 7, "month": 28, "quarter": 90, "year": 365}

# generalised to this, a time still lies in one window of each of these spans
_WITHIN: Mapping[str, frozenset[WindowSpan]] = {
    "": frozenset({"week", "month", "quarter", "year"}),  # kept as it is
    "hour": frozenset({"week", "month", "quarter", "year"}),
    "day": frozenset({"week", "month", "quarter", "year"}),
    "week": frozenset({"week"}),
    "month": frozenset({"month", "quarter", "year"}),
    "year": frozenset({"year"}),
}


def check_terms(product: DataContract, population: Population | None, places: Places) -> None:
    """Note every fault of the terms."""
    if product.unit is None:
        _about_nobody(product, places)
        return
    _profile(product, places)
    if product.windows:
        _windows(product, product.windows, population, places)
    if product.windows and product.pre_aggregates:
        message = "a product with windows has no pre-aggregates: they hold a unit's whole time"
        places.note_ours("kai.preAggregates", message)
    for index, rule in enumerate(product.pre_aggregates):
        _pre_aggregate(product, rule, index, places)


def check_names(products: Mapping[str, DataContract], places: Mapping[str, Places]) -> None:
    """Note each name of a pre-aggregate that stands twice in the folder: a store has one table of a name."""
    first: dict[str, str] = {}
    for name, product in products.items():
        for index, rule in enumerate(product.pre_aggregates):
            if (other := first.setdefault(rule.name, name)) != name or _twice(product, rule):
                message = f"`{other}` has a pre-aggregate `{rule.name}` already"
                places[name].note_ours("kai.preAggregates", message, within=(index, "name"))


def _twice(product: DataContract, rule: PreAggregateRule) -> bool:
    same = [each for each in product.pre_aggregates if each.name == rule.name]
    return len(same) > 1 and same[0] is not rule


def _about_nobody(product: DataContract, places: Places) -> None:
    stated = {
        "kai.contribution": product.contribution,
        "kai.profile": product.profile,
        "kai.windows": product.windows,
        "kai.preAggregates": product.pre_aggregates,
    }
    for name, value in stated.items():
        if value:
            places.note_ours(
                name, f"a product without a privacy unit has no {name}", "name kai.privacyUnit, or leave it out"
            )


def _profile(product: DataContract, places: Places) -> None:
    for name in product.profile.totals if product.profile else ():
        if not product.has(name):
            places.note_ours("kai.profile", f"there is no column `{name}`", within=("totals", name))
        elif product.column(name).type not in SUMMABLE_TYPES:
            message = f"column `{name}` has no total: it is a {product.column(name).type}"
            places.note_ours("kai.profile", message, within=("totals", name))


def _windows(product: DataContract, rule: WindowRule, population: Population | None, places: Places) -> None:
    faults = [*_time_faults(product, rule.column, "column"), *_time_faults(product, rule.arrived, "arrived")]
    for field, message in faults:
        places.note_ours("kai.windows", message, within=(field,))
    if not faults:
        _seen(product, rule, places)
        windows = windows_of(product, rule)
        if windows and (windows.last - windows.first).days > MAX_WINDOWS * _FEWEST_DAYS[rule.span]:
            message = f"the declared range has more than {MAX_WINDOWS:,} windows"
            places.note_ours("kai.windows", message, "a longer span, or a narrower range", within=("span",))
    if population and population.window_cap is None:
        hint = 'purposes.yaml: window_cap: {rho: "…", delta: "…"}'
        places.note_ours("kai.windows", f"the population `{population.name}` has no window_cap", hint)


def _time_faults(product: DataContract, name: str | None, field: str) -> Iterator[tuple[str, str]]:
    if name is None:
        return
    if not product.has(name):
        yield field, f"there is no column `{name}`"
        return
    column = product.column(name)
    if column.type not in ("date", "timestamp"):
        yield field, f"`{name}` is no date and no timestamp"
    elif not column.required:
        yield field, f"`{name}` is not required, so a row may lie in no window"
    elif column.minimum is None or column.maximum is None:
        yield field, f"`{name}` declares no range: minimum and maximum"


def _seen(product: DataContract, rule: WindowRule, places: Places) -> None:
    column = product.column(rule.column)
    for purpose, stated in product.purposes.items():
        if "statistics" not in stated.access:
            continue
        seen = column.rules.get(purpose)
        if seen is None or seen.action not in ("keep", "generalise"):
            message = (
                f"`{purpose}` does not see the windows' time `{column.name}`: its questions would read every window"
            )
            places.note(places.column(column.name), message)
        elif rule.span not in _WITHIN.get(seen.how, frozenset()):
            message = f"a {seen.how} of `{column.name}` may lie in two windows: a window is a {rule.span}"
            places.note(
                places.rule(column.name, purpose), message, "generalise to what a window is made of, such as day"
            )


def _pre_aggregate(product: DataContract, rule: PreAggregateRule, index: int, places: Places) -> None:
    for field, names in (("keys", rule.keys), ("sums", rule.sums)):
        for place, name in enumerate(names):
            if not product.has(name):
                message = f"there is no column `{name}`"
                places.note_ours("kai.preAggregates", message, within=(index, field, place))
                return
    if clash := {f"sum_{name}" for name in rule.sums} & set(rule.keys):
        message = f"a key is called `{min(clash)}`, as the sum of another column would be"
        places.note_ours("kai.preAggregates", message, within=(index, "keys"))
    granted = [purpose for purpose, stated in product.purposes.items() if "statistics" in stated.access]
    if not any(can_pre_aggregate(product, rule, purpose) for purpose in granted):
        message = f"no purpose can have `{rule.name}`: its keys have declared values and its sums bounds for none"
        places.note_ours("kai.preAggregates", message, within=(index, "keys"))
