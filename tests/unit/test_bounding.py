"""Plans: which form is chosen, how far it lets a unit move each vector, and what is refused before anything is read."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.privacy_kit import parsed

import kaianalytics.privacy
from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.bounding.counting import MOST_STEPS
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.plan import MAX_UNITS, TOTAL_LIMIT, Form, Plan
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ColumnType,
    ContributionBounds,
    KeyDomain,
    PreAggregate,
    PrivacyUnit,
    Profile,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

ROWS, GROUPS = ContributionBounds(rows=9), ContributionBounds(2, 3)
BY_PLACE = "SELECT place, count(*) AS n FROM events GROUP BY place"


def view(contribution: ContributionBounds, *columns: StatisticsColumn, **more: Any) -> StatisticsView:
    known = (
        StatisticsColumn("who", "string", nullable=False, identifier=True),
        StatisticsColumn("place", "string", domain=KeyDomain("place", "string", ("a", "b", "c", "d"))),
        StatisticsColumn("word", "string"),
        column("x", "0", "10"),
        *columns,
    )
    return StatisticsView(
        "events", PrivacyUnit("who", "people", "kai_unit"), contribution, {c.name: c for c in known}, **more
    )


def column(name: str, lower: str, upper: str, step: str = "1", type_: ColumnType = "integer") -> StatisticsColumn:
    return StatisticsColumn(name, type_, nullable=False, bounds=ValueBounds(*map(Decimal, (lower, upper, step))))


def plan_of(of: StatisticsView, question: str, asked: Mapping[str, Any] | None = None, **more: Any) -> Plan:
    return compile_query(lower(parsed(question), {"events": of}), BoundsAsked.of(asked), **more)


def refused(of: StatisticsView, question: str, asked: Mapping[str, Any] | None = None) -> QueryUnsupported:
    with pytest.raises(QueryUnsupported) as caught:
        plan_of(of, question, asked)
    return caught.value


def moved(plan: Plan) -> list[tuple[Decimal, Decimal, int]]:
    """L2 and L∞ in the figures' own units, and L0."""
    return [(vector.l2 * vector.step, vector.linf * vector.step, vector.l0) for vector in plan.vectors]


# --- sensitivities


@pytest.mark.parametrize(
    ("figure", "rows", "groups", "norm"),
    [
        ("count(*)", (9, 9, 4), ("4.25", 3, 2), (2, 2, 4)),
        ("sum(x)", (90, 90, 4), (43, 30, 2), (20, 20, 4)),
        ("sum(x - 7)", (63, 63, 4), (30, 21, 2), (14, 14, 4)),
    ],
)
def test_how_far_a_unit_moves_each_kind_of_vector(
    figure: str, rows: tuple[Any, ...], groups: tuple[Any, ...], norm: tuple[Any, ...]
) -> None:
    question = f"SELECT place, {figure} FROM events GROUP BY place"
    asked = {"groups": 2, "rows_per_group": 3}
    found = {
        "rows": moved(plan_of(view(ROWS), question)),
        "groups": moved(plan_of(view(GROUPS), question, asked)),
        "norm": moved(plan_of(view(ROWS), question, {"norm": 2})),
    }
    for form, expected in (("rows", rows), ("groups", groups), ("norm", norm)):
        l2, linf, l0 = found[form][0]
        assert (l2, linf, l0) == (pytest.approx(Decimal(expected[0]), rel=Decimal("0.01")), *expected[1:]), form


@given(st.integers(1, 60), st.integers(1, 3000), st.integers(1, 40))
def test_the_root_of_groups_is_exact_and_rounded_up(groups: int, rows: int, cells: int) -> None:
    key = StatisticsColumn("k", "integer", domain=KeyDomain("k", "integer", tuple(range(cells))))
    asked = {"groups": groups, "rows_per_group": rows}
    (vector,) = plan_of(
        view(ContributionBounds(groups, rows), key), "SELECT k, count(*) FROM events GROUP BY k", asked
    ).vectors
    steps = int(1 / vector.step)
    square = (rows * steps) ** 2 * min(groups, cells)
    assert (vector.l2 - 1) ** 2 < square <= vector.l2**2


def test_distinct_units_count_once_in_each_cell() -> None:
    question = "SELECT place, count(DISTINCT who) FROM events GROUP BY place"
    (whole,) = plan_of(view(ContributionBounds(9, 3)), question).vectors
    assert (whole.l2, whole.linf, whole.l0) == (2, 1, 4)  # √4: in all four cells once, whatever their rows
    (few,) = plan_of(view(ContributionBounds(rows=1)), question).vectors
    assert (few.l2, few.l0) == (1, 1)
    assert "DISTINCT" not in plan_of(view(GROUPS), question, {"groups": 2, "rows_per_group": 3}).sentences


def test_a_tree_moves_by_its_rows_in_each_level() -> None:
    (tree,) = plan_of(view(ROWS), "SELECT median(x) FROM events").vectors
    assert tree.tree is not None
    assert (tree.tree.levels, tree.width) == (1, 16)  # eleven values need no more than sixteen leaves
    assert (tree.l2 * tree.step, tree.linf * tree.step) == (9, 9)
    fine = column("y", "0", "1000", "0.5", "number")
    (tree,) = plan_of(view(ROWS, fine), "SELECT median(y) FROM events").vectors
    assert tree.tree is not None
    assert (tree.tree.levels, tree.width) == (3, 16 + 16**2 + 16**3)
    square = 3 * (9 / tree.step) ** 2  # in finer steps, for the root is not whole
    assert (tree.l2 - 1) ** 2 < square <= tree.l2**2
    (unknown, _) = plan_of(view(ROWS, fine), "SELECT word, median(y) FROM events GROUP BY word").vectors
    assert unknown.width == 16 + 16**2


def test_the_sum_of_a_mean_moves_by_half_the_range_of_its_rows() -> None:
    plan = plan_of(view(ROWS), "SELECT avg(x) FROM events")
    assert [(v.kind, v.l2 * v.step) for v in plan.vectors] == [("rows", 9), ("sum", 45)]
    scaled = plan_of(view(ROWS), "SELECT place, avg(x) FROM events GROUP BY place", {"norm": 2})
    assert [(v.kind, v.l2 * v.step) for v in scaled.vectors] == [("rows", 2), ("sum", 10)]


# --- totals are exact, or refused


def test_steps_are_the_column_s_own_while_totals_fit() -> None:
    cents = column("c", "0", "200000", "0.01", "number")
    (vector,) = plan_of(view(ContributionBounds(rows=100), cents), "SELECT sum(c) FROM events").vectors
    assert (vector.l2, vector.step) == (2_000_000_000, Decimal("0.01"))
    (coarser,) = plan_of(view(ContributionBounds(rows=1000), cents), "SELECT sum(c) FROM events").vectors
    assert (coarser.l2, coarser.step) == (2_000_000_000, Decimal("0.1"))


def test_bounds_that_can_overflow_are_refused_at_compile_time() -> None:
    assert MAX_UNITS * MOST_STEPS < TOTAL_LIMIT
    assert plan_of(view(ContributionBounds(rows=2**31 - 1)), "SELECT count(*) FROM events").vectors[0].l2 == 2**31 - 1
    assert refused(view(ContributionBounds(rows=2**31)), "SELECT count(*) AS n FROM events").code == "BOUNDS_TOO_WIDE"
    wide = view(ContributionBounds(rows=10**7), column("w", "0", "1000000"))
    refusal = refused(wide, "SELECT sum(w) AS of_w FROM events")
    assert (refusal.code, "of_w" in refusal.message) == ("BOUNDS_TOO_WIDE", True)


def test_a_part_that_is_scaled_down_has_steps_for_it() -> None:
    (vector,) = plan_of(view(ROWS), BY_PLACE, {"norm": "1.5"}).vectors
    assert vector.l2 * vector.step == Decimal("1.5")
    assert vector.l2 >= 50_000


# --- the choice


@pytest.mark.parametrize(
    ("contribution", "rank", "asked", "form"),
    [
        (ROWS, "", None, Form("whole", rows=9)),
        (ROWS, "kai_rank", {"rows": 9}, Form("whole", rows=9)),
        (ROWS, "kai_rank", {"rows": 4}, Form("rows", rows=4)),
        (ROWS, "", {"rows": 4}, Form("rows", rows=4)),
        (GROUPS, "", None, Form("norm")),  # as exact as the groups, and nobody's third group is dropped
        (GROUPS, "", {"groups": 1, "rows_per_group": 3}, Form("groups", 1, 3)),
        (ContributionBounds(4, 3, rows=9), "", None, Form("norm")),  # ⌈3·√4⌉ is less than nine
        (ContributionBounds(4, 9, rows=9), "", None, Form("whole", rows=9)),
    ],
)
def test_the_form_is_the_asked_one_or_the_most_exact_or_the_cheapest(
    contribution: ContributionBounds, rank: str, asked: Mapping[str, Any] | None, form: Form
) -> None:
    assert plan_of(view(contribution, rank=rank), BY_PLACE, asked).form == form


def test_unknown_keys_are_bounded_by_rows_or_groups_and_counted_by_units_first() -> None:
    question = "SELECT word, count(*) FROM events GROUP BY word"
    plan = plan_of(view(GROUPS), question)
    assert (plan.cells, plan.threshold, plan.form) == (None, 1, Form("groups", 2, 3))
    assert plan.statements[0].vectors == (1, 0)
    assert (plan.vectors[1].kind, plan.vectors[1].linf, plan.vectors[1].l0) == ("units", 1, 2)
    named = plan_of(view(ROWS), "SELECT word, count(DISTINCT who), count(*) FROM events GROUP BY word")
    assert (named.threshold, len(named.vectors)) == (0, 2)  # the figure itself, measured once
    assert refused(view(GROUPS), question, {"norm": 1}).code == "BOUNDS_FORM"


def test_a_profile_tightens_bounds_and_without_a_loss_nothing_is_cut() -> None:
    long_tail = Profile(1_000_000, rows=((Decimal("0.99"), Decimal(3)), (Decimal(1), Decimal(1000))))
    of = view(ContributionBounds(rows=1000), rank="kai_rank", profile=long_tail)
    assert plan_of(of, BY_PLACE).vectors[0].l2 == 1000
    tight = plan_of(of, BY_PLACE, loss=PrivacyLoss.of("0.000001"))
    loose = plan_of(of, BY_PLACE, loss=PrivacyLoss.of("10"))
    reach = [vector.l2 * vector.step for plan in (tight, loose) for vector in plan.vectors]
    assert reach[0] < 100 < reach[1]
    assert tight.clipping[0].share > tight.clipping[0].at_double > 0
    assert tight.clipping[0].bound == pytest.approx(reach[0], rel=Decimal("0.001"))


def test_a_profile_decides_nothing_of_what_is_guaranteed() -> None:
    """A wild profile gives other bounds, and each plan's sensitivities are its own form's."""
    of = view(ContributionBounds(rows=1000), rank="kai_rank")
    wild = Profile(10**9, rows=((Decimal("0.5"), Decimal(1)), (Decimal(1), Decimal(10**6))), norms={0: ()})
    plan = plan_of(of, BY_PLACE, loss=PrivacyLoss.of("0.01"), profile=wild)
    assert plan.vectors[0].l2 * plan.vectors[0].step <= 1000


def test_a_pre_aggregate_answers_its_own_cells_and_nothing_coarser() -> None:
    table = PreAggregate("kai_pre", ("place",), ("x",))
    of = view(ROWS, pre_aggregates=(table,))
    stored = ["SELECT place, count(*), sum(x), avg(x), count(DISTINCT who) FROM events GROUP BY place"]
    stored.append("SELECT place, count(*) FROM events WHERE place IN ('a', 'b') GROUP BY place")
    for question in stored:
        assert '"kai_pre"' in plan_of(of, question).statements[0].sql
    others = ["SELECT count(*) FROM events", "SELECT place, count(*) FROM events WHERE x > 1 GROUP BY place"]
    others += [
        "SELECT left(place, 1), count(*) FROM events GROUP BY ALL",
        "SELECT place, sum(x + 1) FROM events GROUP BY ALL",
    ]
    others.append("SELECT place, count(*) FILTER (WHERE place = 'a') FROM events GROUP BY place")
    for question in others:
        assert all("kai_pre" not in statement.sql for statement in plan_of(of, question).statements), question
    assert "kai_pre" not in plan_of(of, BY_PLACE, {"rows": 5}).statements[0].sql


# --- asked bounds


@pytest.mark.parametrize(
    ("contribution", "asked", "code"),
    [
        (ROWS, {"rows": 10}, "BOUNDS_LOOSER"),
        (ROWS, {"norm": "9.01"}, "BOUNDS_LOOSER"),
        (ROWS, {"groups": 4, "rows_per_group": 5}, "BOUNDS_LOOSER"),
        (GROUPS, {"rows": 6}, "BOUNDS_LOOSER"),
        (GROUPS, {"groups": 3, "rows_per_group": 1}, "BOUNDS_LOOSER"),
        (GROUPS, {"groups": 1, "rows_per_group": 4}, "BOUNDS_LOOSER"),
        (ROWS, {"values": {"x": [0, 11]}}, "BOUNDS_LOOSER"),
        (ROWS, {"values": {"word": [0, 1]}}, "BOUNDS_COLUMN"),
        (ROWS, {"values": {"nothing": [0, 1]}}, "BOUNDS_COLUMN"),
    ],
)
def test_bounds_looser_than_the_contract_s_are_refused(
    contribution: ContributionBounds, asked: Mapping[str, Any], code: str
) -> None:
    assert refused(view(contribution), BY_PLACE, asked).code == code


@pytest.mark.parametrize(
    ("contribution", "asked"),
    [(ROWS, {"rows": 9}), (ROWS, {"norm": 9}), (ROWS, {"groups": 4, "rows_per_group": 4}), (GROUPS, {"rows": 5})],
)
def test_bounds_within_the_contract_s_are_taken(contribution: ContributionBounds, asked: Mapping[str, Any]) -> None:
    assert plan_of(view(contribution), BY_PLACE, asked).vectors[0].l2 >= 1


def test_a_range_of_values_is_clipped_about_its_own_middle() -> None:
    of, asked = view(ROWS), BoundsAsked.of({"values": {"x": [2, 6]}})
    query = lower(parsed("SELECT avg(x) FROM events"), asked.narrowed({"events": of}))
    plan = compile_query(query, asked)
    assert query.measures[1].centre == 4
    assert plan.vectors[1].l2 == 9 * 2
    with pytest.raises(QueryUnsupported) as caught:  # not narrowed: the question says more than was asked for
        compile_query(lower(parsed("SELECT avg(x) FROM events"), {"events": of}), asked)
    assert caught.value.code == "BOUNDS_LOOSER"


# --- what is said, and what is written


def test_the_bounding_is_said_in_sentences() -> None:
    nullable = view(ROWS)
    nullable = replace(nullable, columns={**nullable.columns, "who": replace(nullable.columns["who"], nullable=True)})
    plan = plan_of(nullable, "SELECT sum(x) AS total FROM events")
    assert plan.sentences == (
        "Rows without who are left out.",
        "At most 9 rows of each who in the store count; further ones are left out, by a fixed hash.",
    )
    assert plan.vectors[0].sentence == ("total: values are limited to 0 … 10 in steps of 1, missing ones are left out.")
    grouped = plan_of(view(GROUPS), BY_PLACE, {"groups": 2, "rows_per_group": 3})
    assert grouped.sentences == (
        "Each who counts in at most 2 of the 4 groups; further ones are left out, by a fixed hash.",
    )
    assert grouped.vectors[0].sentence == "n: each who adds at most what 3 rows can to each group."
    scaled = plan_of(view(ROWS), BY_PLACE, {"norm": "2.5"})
    assert scaled.vectors[0].sentence == (
        "n: each who adds at most 2.5 rows as a vector over the groups; who would add more is scaled down."
    )


def test_a_plan_is_the_same_whenever_it_is_made() -> None:
    for asked in (None, {"rows": 4}, {"norm": 2}):
        assert plan_of(view(ROWS), BY_PLACE, asked) == plan_of(view(ROWS), BY_PLACE, asked)


def test_no_float_is_written_where_sensitivities_are_proved() -> None:
    """In the exact half of bounding there is no float literal, no float() and no true division."""
    folder = Path(kaianalytics.privacy.__path__[0])
    for name in ("unit", "bounding/forms", "bounding/compiling", "bounding/assembling"):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), name
            assert not (isinstance(node, ast.Name) and node.id == "float"), name
            # unit.py divides Fractions, exactly.
            assert not isinstance(node, ast.Div) or name == "unit", name
