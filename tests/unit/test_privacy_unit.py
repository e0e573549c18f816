"""The public facts of a contract can't be built wrong."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, localcontext

import pytest

from kaianalytics.privacy.unit import ColumnType, ContributionBounds, KeyDomain, StatisticsColumn, ValueBounds

BOUNDS = ValueBounds(Decimal(0), Decimal(9))


def test_bounds_are_counted_in_steps() -> None:
    bounds = ValueBounds(Decimal("-0.50"), Decimal("12.34"), Decimal("0.01"))
    assert (bounds.lower_steps, bounds.upper_steps) == (-50, 1234)


def test_steps_are_exact_whatever_the_context_and_the_size() -> None:
    with localcontext() as context:
        context.prec = 3
        bounds = ValueBounds(Decimal(-123456789), Decimal(10**40 + 1))
        assert (bounds.lower_steps, bounds.upper_steps) == (-123456789, 10**40 + 1)


@pytest.mark.parametrize(
    ("lower", "upper", "step"),
    [
        ("1", "1", "1"),
        ("2", "1", "1"),
        ("0", "1", "0"),
        ("0", "1", "-1"),
        ("0", "0.5", "1"),
        ("0", "inf", "1"),
        ("nan", "1", "1"),
    ],
)
def test_wrong_value_bounds_are_refused(lower: str, upper: str, step: str) -> None:
    with pytest.raises(ValueError, match="value bounds"):
        ValueBounds(Decimal(lower), Decimal(upper), Decimal(step))


@pytest.mark.parametrize(("groups", "rows"), [(0, 1), (1, 0), (-1, 5)])
def test_contribution_bounds_start_at_one(groups: int, rows: int) -> None:
    with pytest.raises(ValueError, match="from 1"):
        ContributionBounds(groups, rows)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("string", ()),
        ("string", ("a", "a")),
        ("string", ("a", 1)),
        ("integer", (True, 2)),
        ("date", (datetime(2026, 1, 1),)),
        ("boolean", (1, 0)),
        ("number", (1,)),
        ("timestamp", (date(2026, 1, 1),)),
    ],
)
def test_wrong_key_domains_are_refused(type_: ColumnType, values: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="key domain"):
        KeyDomain("k", type_, values)  # type: ignore[arg-type]  # the fault is the point


def test_a_missing_value_may_be_a_key_of_any_type() -> None:
    assert KeyDomain("k", "boolean", (True, False, None)).values[-1] is None


def test_a_column_agrees_with_its_bounds_and_domain() -> None:
    domain = KeyDomain("k", "string", ("a",))
    with pytest.raises(ValueError, match="identifier"):
        StatisticsColumn("k", "string", identifier=True, domain=domain)
    with pytest.raises(ValueError, match="value bounds belong"):
        StatisticsColumn("k", "date", bounds=BOUNDS)
    with pytest.raises(ValueError, match="its column's type"):
        StatisticsColumn("k", "integer", domain=domain)
