"""Exact figures from the engine's rows: all cells, zeros included, and a fault for what no statement can have given."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from support.plan_kit import plan_of, vector

from kaianalytics.errors import Fault
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.plan import Exact, Plan, Statement, Tree

A, B, C = (f"place {i:06d}" for i in range(3))
TWO = plan_of(vector(), vector("sum"), count=3)
TREE = plan_of(vector("tree", width=6, tree=Tree(2, 2, Decimal(0), Decimal(4))), count=2)
TREE = replace(TREE, statements=(Statement("", (0,), item=True),))
UNKNOWN = plan_of(vector("units"), vector("sum"), unknown=True)


def test_absent_cells_are_zero_and_all_cells_are_in_order() -> None:
    assert assemble(TWO, [[(C, 3, -4), (A, 1, 2)]]).vectors == ((1, 0, 3), (2, 0, -4))
    assert assemble(TWO, [[]]).vectors == ((0, 0, 0), (0, 0, 0))


def test_a_tree_s_upper_levels_are_the_sums_of_its_leaves() -> None:
    exact = assemble(TREE, [[(B, 3, 5), (A, 0, 1), (B, 2, 7)]])
    assert exact.vectors == ((1, 0, 1, 0, 0, 0, 0, 12, 0, 0, 7, 5),)


def test_unknown_cells_are_those_that_the_threshold_s_statement_gives() -> None:
    exact = assemble(UNKNOWN, [[("x", 2, 7), (None, 1, -1)]])
    assert exact == Exact((("x",), (None,)), ((2, 1), (7, -1)))
    assert assemble(UNKNOWN, [[]]) == Exact((), ((), ()))


def test_a_cell_that_the_threshold_never_saw_is_not_told() -> None:
    """Units choose their cells by statement: a tree may have counted in one that the units' statement left out."""
    tree = vector("tree", width=2, tree=Tree(2, 1, Decimal(0), Decimal(4)))
    plan = plan_of(vector("units"), tree, unknown=True)
    plan = replace(plan, statements=(Statement("", (0,)), Statement("", (1,), item=True)))
    exact = assemble(plan, [[("x", 2)], [("x", 1, 7), ("y", 0, 3)]])
    assert exact == Exact((("x",),), ((2,), (0, 7)))


def test_a_statement_may_hold_several_vectors_with_several_numbers() -> None:
    plan = plan_of(vector("histogram", width=2), vector("histogram", width=3), count=1)
    plan = replace(plan, statements=(Statement("", (0, 1), item=True),))
    assert assemble(plan, [[(A, 0, 4, 0), (A, 2, 0, 5)]]).vectors == ((4, 0), (0, 0, 5))
    with pytest.raises(Fault):
        assemble(plan, [[(A, 2, 1, 5)]])  # the first has no third number


@pytest.mark.parametrize(
    ("plan", "rows"),
    [
        (TWO, [("undeclared", 1, 1)]),
        (TWO, [(A, 1, 1), (A, 1, 1)]),
        (TWO, [(A, 1)]),
        (TWO, [(A, 1, 1, 1)]),
        (TWO, [(A, 1, 1), (B, 1)]),
        (TWO, [(A, 1.0, 1)]),
        (TWO, [(A, True, 1)]),
        (TWO, [(A, None, 1)]),
        (TWO, [(A, 2**62 + 1, 1)]),
        (TWO, [([A], 1, 1)]),
        (TREE, [("undeclared", 0, 1)]),
        (TREE, [(A, 4, 1)]),
        (TREE, [(A, -1, 1)]),
        (TREE, [(A, 0.0, 1)]),
        (TREE, [(A, 0, 1), (A, 0, 1)]),
        (TREE, [(A, 0, 1.0)]),
        (TREE, [(A, 0)]),
        (TREE, [(A, 0, 2**62), (A, 1, 2**62)]),
        (UNKNOWN, [("x", 1, 1), ("x", 2, 2)]),
        (UNKNOWN, [(1.5, 1, 1)]),
    ],
)
def test_rows_that_the_statement_cannot_give_are_a_fault_that_shows_nothing(plan: Plan, rows: list[Any]) -> None:
    with pytest.raises(Fault) as caught:
        assemble(plan, [rows])
    assert caught.value.code == "BOUNDED_ROWS"
    assert "undeclared" not in str(caught.value)


def test_there_is_one_result_for_each_statement() -> None:
    for results in ([], [[], []]):
        with pytest.raises(Fault, match="BOUNDED_ROWS"):
            assemble(TWO, results)


def test_keys_keep_their_types() -> None:
    exact = assemble(UNKNOWN, [[(date(2026, 1, 1), 1, 0), (True, 1, 0), (7, 1, 0)]])
    assert [type(cell[0]) for cell in exact.cells] == [date, bool, int]
