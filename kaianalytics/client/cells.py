"""The cells of a release: as text with their ±, and found by their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kaianalytics.client.digits import NOT_GIVEN, TOO_FEW, column_places, known, number_of, plain, with_margin
from kaianalytics.client.tables import Column
from kaianalytics.errors import Refused
from kaianalytics.protocol import ReleaseColumn, Scalar

if TYPE_CHECKING:
    from kaianalytics.client.release import ReleaseTable, Selected

RESTING = frozenset({"mean", "variance", "deviation", "quantile"})  # figures that are worth the rows they rest on


def shown_value(column: ReleaseColumn, value: Scalar, clamp: bool) -> Scalar:
    """A cell's value as it came, or zero where it is below, can't be in truth, and zero is asked for."""
    return 0 if clamp and is_below_zero(column, value) else value


def is_below_zero(column: ReleaseColumn, value: Scalar) -> bool:
    """Whether a figure is negative that can't be in truth."""
    return column.nonnegative and (number_of(value) or 0.0) < 0


# --- as text


def columns(table: ReleaseTable) -> list[Column]:
    """The columns of a release as they are shown, with what means and quantiles rest on beside them."""
    shown: list[Column] = []
    rests: dict[tuple[str, ...], list[str]] = {}  # figures that rest on the same rows share a column
    for index, column in enumerate(table.release.columns):
        shown.append(_column(table, index))
        supports = [row[index] for row in table.release.supports]
        if column.role in RESTING and any(known(support) for support in supports):
            rests.setdefault(tuple(_support(support) for support in supports), []).append(column.name)
    alone = len(rests) == 1
    return shown + [
        Column("rests on" if alone else f"{', '.join(names)} rests on", cells, right=True)
        for cells, names in rests.items()
    ]


def _column(table: ReleaseTable, index: int) -> Column:
    column = table.release.columns[index]
    values = table.values(index)
    if column.role == "key":
        return Column(column.name, [NOT_GIVEN if value is None else str(value) for value in values])
    if column.role == "top":
        return Column(column.name, [plain(value) for value in values])
    margins = [row[index] for row in table.release.margins]
    decimals = column_places(margins)
    return Column(column.name, [_figure(*cell) for cell in zip(values, margins, decimals, strict=True)], right=True)


def _figure(value: Scalar, margin: float | None, decimals: int) -> str:
    if number_of(value) is None:
        return TOO_FEW
    return with_margin(Decimal(value) if isinstance(value, str) else value, margin, decimals)


def _support(support: float | None) -> str:
    return f"n ≈ {max(0, round(support)):,}" if support is not None and known(support) else ""


# --- found by their keys


def find(table: ReleaseTable, selected: Selected) -> int:
    """The row of the one cell that the keys select."""
    wanted = _wanted(table, selected)
    places = {column.name: index for index, column in enumerate(table.release.columns)}
    rows = table.release.rows
    found = [n for n, row in enumerate(rows) if all(_same(row[places[name]], value) for name, value in wanted.items())]
    if len(found) == 1:
        return found[0]
    raise _not_one(table, wanted, found)


def name_of(table: ReleaseTable, row: int) -> str:
    """A cell by the values of its keys."""
    keys = [index for index, column in enumerate(table.release.columns) if column.role == "key"]
    return ", ".join(plain_key(table.release.rows[row][index]) for index in keys)


def plain_key(value: Scalar) -> str:
    """A key's value as it is shown."""
    return NOT_GIVEN if value is None else str(value)


def _wanted(table: ReleaseTable, selected: Selected) -> Mapping[str, Any]:
    names = [key.name for key in table.keys]
    if not isinstance(selected, Mapping):
        if len(names) != 1:
            raise Refused(
                "CELL_NEEDS_KEYS",
                f"The release has {len(names)} keys, so one value names no cell.",
                hint="name the keys: " + "{" + ", ".join(f"{name!r}: …" for name in names) + "}",
            )
        return {names[0]: selected}
    if unknown := [str(name) for name in selected if name not in names]:
        raise no_such_key(unknown, names)
    return selected


def _same(key: Scalar, wanted: Any) -> bool:
    if isinstance(key, bool) or isinstance(wanted, bool):
        return key is wanted
    if isinstance(wanted, date):  # a datetime is one too
        return isinstance(key, str) and key.replace(" ", "T") in (wanted.isoformat(), f"{wanted.isoformat()}T00:00:00")
    return bool(key == wanted)


def _not_one(table: ReleaseTable, wanted: Mapping[str, Any], found: Sequence[int]) -> Refused:
    text = ", ".join(f"{name} {plain_key(value)}" for name, value in wanted.items()) or "no key"
    if not found:
        some = ", ".join(name_of(table, row) for row in range(min(10, len(table.release.rows))))
        return Refused("NO_SUCH_CELL", f"The release has no cell with {text}.", hint=f"its cells: {some}")
    others = [key.name for key in table.keys if key.name not in wanted]
    return Refused(
        "CELL_NOT_ONE",
        f"{len(found)} cells have {text}.",
        hint=f"name also: {', '.join(others)}; or add them up first: release.rollup({_quoted(wanted)})",
    )


def _quoted(names: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in names)


def no_such_key(unknown: Sequence[str], names: Sequence[str]) -> Refused:
    """The refusal of keys that the release has not."""
    return Refused(
        "NO_SUCH_KEY",
        f"The release has no key {', '.join(unknown)}.",
        hint="its keys are: " + (", ".join(names) or "none, it has one cell"),
    )
