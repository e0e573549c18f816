"""The bounds that an analyst asks for, checked: a form of bounding, and ranges of values, within the contract's.

Laws: what isn't understood is refused, never passed over; whether a bound is within the contract's limits is decided
from public facts alone. Tighter bounds cost accuracy or buy it; they can't cost privacy, for noise follows from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from kaianalytics.privacy.query import Source, Views
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.privacy.unit import StatisticsView, ValueBounds

PRIVATE = "private"
_MOST = 10**9
_FORMS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split()) for names in ("", "rows", "groups rows_per_group", "norm")
)

Range = tuple[Decimal, Decimal]


@dataclass(frozen=True)
class BoundsAsked:
    """The analyst's own bounds: at most one of `rows`, `groups` with `rows_per_group`, and `norm`; ranges by column.

    `norm` limits the L2 norm of a unit's rows over the groups of the answer, and a sum to as many times its largest
    value. `private` asks for bounds to be found from the data, at a part of the price (`found_bounds`).
    """

    rows: int | None = None
    groups: int | None = None
    rows_per_group: int | None = None
    norm: Decimal | None = None
    values: Mapping[str, Range] = field(default_factory=dict)
    private: bool = False

    @classmethod
    def none(cls) -> BoundsAsked:
        """No bounds of one's own: the contract's, in the form of the least predicted error."""
        return cls()

    @classmethod
    def of(cls, asked: str | Mapping[str, Any] | None) -> BoundsAsked:
        """What `StatisticsRequest.bounds` asks for; QueryUnsupported BOUNDS_UNREADABLE for what isn't understood."""
        if asked is None:
            return cls.none()
        if asked == PRIVATE:
            return cls(private=True)
        if not isinstance(asked, Mapping):
            raise _unreadable("what was given")
        form = frozenset(asked) - {"values"}
        if form not in _FORMS:
            raise _unreadable("the names " + ", ".join(sorted(quoted(str(name)) for name in form)))
        rows, groups, rows_per_group = (
            _whole(name, asked[name]) if name in asked else None for name in ("rows", "groups", "rows_per_group")
        )
        norm = _number("norm", asked["norm"]) if "norm" in asked else None
        if norm is not None and not Decimal("0.001") <= norm <= _MOST:
            raise _unreadable('"norm"')
        return cls(rows, groups, rows_per_group, norm, _ranges(asked.get("values", {})))

    @property
    def named(self) -> bool:
        """Whether a form of bounding is asked for."""
        return not (self.rows is None and self.groups is None and self.norm is None)

    def narrowed(self, views: Views) -> Views:
        """The views with the asked ranges for their bounds, to be lowered over, so that a clip lies about its middle.

        A view whose own range an asked one would leave keeps it (`check_values` refuses a question of such a view).
        Raises QueryUnsupported BOUNDS_COLUMN when no view has bounds for a column that is named.
        """
        for name in self.values:
            if not any(_bounds(view, name) for view in views.values()):
                raise unsupported("BOUNDS_COLUMN", column=quoted(name))
        return {name: self._narrowed_view(view) for name, view in views.items()}

    def check_values(self, source: Source) -> None:
        """Refuses a question over views that were not narrowed to the asked ranges, BOUNDS_LOOSER."""
        for name, (lower, upper) in self.values.items():
            found = [bounds for relation in source.relations if (bounds := _bounds(relation.view, name))]
            if not found:
                raise unsupported("BOUNDS_COLUMN", column=quoted(name))
            if any((bounds.lower, bounds.upper) != (lower, upper) for bounds in found):
                limits = " or ".join(f"{bounds.lower:f} … {bounds.upper:f}" for bounds in found)
                raise unsupported("BOUNDS_LOOSER", asked=f"values of {quoted(name)}", limit=limits)

    def _narrowed_view(self, view: StatisticsView) -> StatisticsView:
        columns = dict(view.columns)
        for name, asked in self.values.items():
            if (bounds := _bounds(view, name)) and bounds.lower <= asked[0] and asked[1] <= bounds.upper:
                columns[name] = replace(columns[name], bounds=_within(name, asked, bounds.step))
        # A pre-aggregate was bounded by the contract's own ranges, beforehand: it can't answer for narrower ones.
        kept = tuple(each for each in view.pre_aggregates if all(columns[n] == view.columns[n] for n in each.sums))
        return replace(view, columns=columns, pre_aggregates=kept)


def _bounds(view: StatisticsView, name: str) -> ValueBounds | None:
    column = view.columns.get(name)
    return column.bounds if column else None


def _within(name: str, asked: Range, step: Decimal) -> ValueBounds:
    try:
        return ValueBounds(*asked, step)
    except ValueError:
        raise _unreadable(f"the values of {quoted(name)} (in steps of {step:f})") from None


def _ranges(asked: Any) -> dict[str, Range]:
    if not isinstance(asked, Mapping):
        raise _unreadable('"values"')
    return {str(name): _range(str(name), ends) for name, ends in asked.items()}


def _range(name: str, ends: Any) -> Range:
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        raise _unreadable(f"the values of {quoted(name)}")
    lower, upper = (_number(name, end) for end in ends)
    if lower >= upper:
        raise _unreadable(f"the values of {quoted(name)}")
    return lower, upper


def _whole(name: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _MOST:
        raise _unreadable(quoted(name))
    return value


def _number(name: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise _unreadable(quoted(name))
    try:
        number = Decimal(str(value))  # the shortest decimal that a float is written as
    except InvalidOperation:
        raise _unreadable(quoted(name)) from None
    if not number.is_finite() or abs(number) > Decimal(10) ** 30 or (number and abs(number) < Decimal(10) ** -30):
        raise _unreadable(quoted(name))
    return number


def _unreadable(part: str) -> Exception:
    return unsupported("BOUNDS_UNREADABLE", part=part)
