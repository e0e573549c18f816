"""What an analyst may ask for as bounds: read strictly, refused by code where it isn't understood."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.unit import (
    ContributionBounds,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)


def view(name: str, lower: str, upper: str) -> StatisticsView:
    column = StatisticsColumn("x", "number", bounds=ValueBounds(Decimal(lower), Decimal(upper), Decimal("0.5")))
    return StatisticsView(name, PrivacyUnit("who", "people"), ContributionBounds(rows=1), {"x": column})


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        (None, BoundsAsked()),
        ({}, BoundsAsked()),
        ("private", BoundsAsked(private=True)),
        ({"rows": 3}, BoundsAsked(rows=3)),
        ({"groups": 2, "rows_per_group": 3}, BoundsAsked(groups=2, rows_per_group=3)),
        ({"norm": 3}, BoundsAsked(norm=Decimal(3))),
        ({"norm": "2.5"}, BoundsAsked(norm=Decimal("2.5"))),
        ({"values": {"x": [0, 1.5]}}, BoundsAsked(values={"x": (Decimal(0), Decimal("1.5"))})),
        ({"rows": 1, "values": {"x": ["-1", "1"]}}, BoundsAsked(rows=1, values={"x": (Decimal(-1), Decimal(1))})),
    ],
)
def test_bounds_are_read_as_they_are_written(asked: Any, read: BoundsAsked) -> None:
    assert BoundsAsked.of(asked) == read


@pytest.mark.parametrize(
    "asked",
    [
        *("public", "", 3, ["rows"], True),
        *({"rows": n} for n in (0, -1, 1.0, "3", True, None, 10**10, [1])),
        *({"norm": n} for n in (0, -1, "NaN", "inf", True, None, 10**10, "0.0001", "x")),
        *({"groups": 2}, {"rows_per_group": 2}, {"groups": 0, "rows_per_group": 1}),
        *({"rows": 1, "norm": 1}, {"rows": 1, "groups": 1, "rows_per_group": 1}, {"columns": 1}, {3: 1}),
        *({"values": v} for v in (None, [], 3, {"x": 3}, {"x": [1]}, {"x": [2, 1]}, {"x": [1, 1]}, {"x": [0, 1, 2]})),
        *({"values": {"x": [0, end]}} for end in ("NaN", float("inf"), "1e99", None, True, "1e-99")),
    ],
    ids=str,
)
def test_bounds_that_are_not_understood_are_refused(asked: Any) -> None:
    with pytest.raises(QueryUnsupported) as caught:
        BoundsAsked.of(asked)
    assert caught.value.code == "BOUNDS_UNREADABLE"


def test_a_hostile_name_is_repeated_short_and_quoted() -> None:
    with pytest.raises(QueryUnsupported) as caught:
        BoundsAsked.of({"x{0}\n" * 100: 1})
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 200


def test_ranges_narrow_the_views_that_they_fit() -> None:
    views = {"wide": view("wide", "0", "9"), "narrow": view("narrow", "3", "4")}
    narrowed = BoundsAsked.of({"values": {"x": [1, 5]}}).narrowed(views)
    assert narrowed["wide"].columns["x"].bounds == ValueBounds(Decimal(1), Decimal(5), Decimal("0.5"))
    assert narrowed["narrow"] == views["narrow"]
    assert BoundsAsked.none().narrowed(views) == views


def test_ranges_are_in_the_column_s_own_steps_and_of_a_column_that_has_bounds() -> None:
    views = {"wide": view("wide", "0", "9")}
    with pytest.raises(QueryUnsupported, match="BOUNDS_UNREADABLE"):
        BoundsAsked.of({"values": {"x": [1, "5.3"]}}).narrowed(views)
    with pytest.raises(QueryUnsupported, match="BOUNDS_COLUMN"):
        BoundsAsked.of({"values": {"y": [1, 5]}}).narrowed(views)
