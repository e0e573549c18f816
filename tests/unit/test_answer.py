"""The answer from noisy figures: exact where a figure is a measure, SQL's own meaning elsewhere, and never an error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plan_kit import cells, figure, mean, plan_of, tree, tree_counts, vector

from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.answer import AnswerTable, answer
from kaianalytics.privacy.measuring.measurement import Measurement, plan_noise
from kaianalytics.privacy.plan import Exact, Noisy, Plan
from kaianalytics.privacy.query import (
    After,
    Apply,
    Constant,
    Figure,
    KeyOf,
    Measure,
    Number,
    Of,
    Ordering,
    QuantileOf,
    TopOf,
)

N, S = Of(0), Of(1)


def number(value: str | int) -> Number:
    return Number(Decimal(value))


def apply(operation: str, *arguments: After) -> Apply:
    return Apply(operation, arguments)


def asked(
    *figures: Figure, rows: Sequence[int] = (), sums: Sequence[int] = (), rho: str = "1", **more: Any
) -> AnswerTable:
    """The answer over noisy rows and sums (in cents); the noise has a scale of one step in rows, of 100 in sums."""
    plan = plan_of(vector(), vector("sum", l2=100, step="0.01"), count=len(rows), select=figures, **more)
    noisy = Noisy(cells(len(rows)), (tuple(rows), tuple(sums or [0] * len(rows))))
    return answer(plan, plan_noise(plan, PrivacyLoss.of(rho)), noisy)


def one(after: After, rows: int = 1_000, sums: int = 123_456) -> tuple[Any, float | None]:
    table = asked(figure("f", after, "ratio"), rows=[rows], sums=[sums])
    return table.rows[0][1], table.margins[0][1]


# --- measures as they are


def test_a_figure_that_is_a_measure_is_exact_and_has_the_exact_half_width_of_its_noise() -> None:
    table = asked(figure("n", N), figure("s", S, "sum", support=0), rows=[5, 2**61 + 1], sums=[-7, 10**18 + 1])
    assert table.rows == (
        ("place 000000", 5, Decimal("-0.07")),
        ("place 000001", 2**61 + 1, Decimal("1E16") + Decimal("0.01")),
    )
    assert [type(value) for value in table.rows[0]] == [str, int, Decimal]
    assert table.types == ("string", "integer", "decimal")
    assert table.margins[0] == (None, 3.0, pytest.approx(1.97, abs=0.01))
    assert table.supports == ((None, None, 5.0), (None, None, float(2**61 + 1)))


def test_whole_figures_are_whole_and_their_error_bar_counts_the_rounding() -> None:
    plan = plan_of(vector(l2=16, step="0.0625"), count=3, select=[figure("n", N, whole=True), figure("x", N)])
    table = answer(plan, plan_noise(plan, PrivacyLoss.of("0.5")), Noisy(cells(3), ((24, 40, -1),)))
    assert [row[1:] for row in table.rows] == [(2, Decimal("1.5")), (2, Decimal("2.5")), (0, Decimal("-0.0625"))]
    assert table.types[1:] == ("integer", "decimal")
    assert table.margins[0][1] == table.margins[0][2] + 0.5


def test_histograms_tops_and_trees_are_read_item_by_item() -> None:
    shape = tree(4, 3)
    plan = plan_of(
        vector("histogram", width=3),
        vector("top", width=4),
        vector("tree", l2=2, width=shape.size, tree=shape),
        count=2,
        select=[
            figure("bin", Of(0, 2)),
            figure("first", TopOf(1, 0), "top"),
            figure("fourth", TopOf(1, 3), "top"),
            figure("half", QuantileOf(2, Decimal("0.5")), "quantile", support=2),
        ],
    )
    counts = tree_counts(shape, [float(value % 100) for value in range(10_000)])
    noisy = Noisy(cells(2), ((1, 2, 3, 4, 5, 6), (3, 0, 1, 0, 1, 2), counts + (0,) * shape.size))
    table = answer(plan, plan_noise(plan, PrivacyLoss.of("1")), noisy)
    (first, second), (margins, _) = table.rows, table.margins
    assert first[1:4] == (3, "value 3", None)
    assert second[1:4] == (6, "value 0", None)
    assert first[4] == pytest.approx(50, abs=2)
    assert margins[1:4] == (pytest.approx(4, abs=1), None, None)
    assert 0.5 < margins[4] < 4
    assert second[4] is None
    assert table.supports[0][4] == pytest.approx(10_000)
    assert table.types == ("string", "integer", "string", "string", "number")
    assert any(note.startswith("half: no figure in 1 row") for note in table.notes)


# --- arithmetic after the noise


@pytest.mark.parametrize(
    ("after", "value"),
    [
        (apply("+", N, S), 2234.56),
        (apply("-", S, N), 234.56),
        (apply("-", N), -1000),
        (apply("*", N, number("0.5")), 500),
        (apply("/", S, N), 1.23456),
        (apply("/", N, number(0)), None),
        (apply("negate", N), -1000),
        (apply("abs", apply("negate", N)), 1000),
        (apply("sqrt", apply("*", N, number(10))), 100),
        (apply("sqrt", apply("negate", N)), None),
        (apply("round", S), 1235),
        (apply("round", S, number(1)), 1234.6),
        (apply("round", S, number(-2)), 1200),
        (apply("round", apply("negate", S)), -1235),
        (apply("round", number("2.5")), 3),
        (apply("round", N, number(10**400)), 1000),
        (apply("floor", S), 1234),
        (apply("ceil", S), 1235),
        (apply("least", N, S, Constant(None)), 1000),
        (apply("greatest", N, S, number(7)), 1234.56),
        (apply("coalesce", apply("/", N, number(0)), S), 1234.56),
        (apply("coalesce", N, S), 1000),
        (apply("nullif", N, number(1000)), None),
        (apply("nullif", S, number(1000)), 1234.56),
        (apply("=", N, number(1000)), True),
        (apply("<>", N, S), True),
        (apply("<", S, N), False),
        (apply("<=", N, N), True),
        (apply(">", N, Constant(None)), None),
        (apply(">=", KeyOf(0), Constant("place")), True),
        (apply("<", KeyOf(0), N), None),  # no order between a text and a number
        (apply("and", Constant(None), apply("<", S, N)), False),
        (apply("and", Constant(None), Constant(True)), None),
        (apply("or", Constant(None), Constant(True)), True),
        (apply("or", Constant(False), Constant(None)), None),
        (apply("not", Constant(None)), None),
        (apply("not", Constant(False)), True),
        (apply("is_null", apply("/", N, number(0))), True),
        (apply("is_null", N), False),
        (apply("case", apply("<", S, N), N, S), 1234.56),
        (apply("case", Constant(None), N, apply(">", S, N), number(2), S), 2),
        (apply("case", apply("<", S, N), N), None),
        (apply("case", apply(">", S, N), Constant("many"), Constant("few")), "many"),
        (apply("case", apply(">", S, N), Constant(date(2026, 1, 5)), Constant(None)), date(2026, 1, 5)),
        (apply("+", KeyOf(0), N), None),
        (Constant("text"), "text"),
        (number("1.5"), 1.5),
    ],
)
def test_what_is_computed_after_the_noise(after: After, value: Any) -> None:
    found, margin = one(after)
    assert found == (pytest.approx(value) if type(value) in (int, float) else value)
    assert type(found) is type(value) or isinstance(found, float)
    assert (margin is None) == (not isinstance(found, float))


def test_a_key_that_is_a_number_can_be_counted_with() -> None:
    plan = plan_of(vector(), count=1, select=[figure("f", apply("+", KeyOf(0), N))])
    plan = replace(plan, cells=((7,),))
    assert answer(plan, plan_noise(plan, PrivacyLoss.of(1)), Noisy(((7,),), ((3,),))).rows == ((7, 10.0),)


# --- error bars, where the formula is known


def half(after: After) -> float:
    margin = one(after)[1]
    assert margin is not None
    return margin


def test_error_bars_add_up_as_independent_noises_do_and_shared_ones_with_their_covariance() -> None:
    rows, cents = half(apply("*", N, number(1))), half(apply("*", S, number(1)))
    assert rows == pytest.approx(1.96, abs=0.05)
    assert half(apply("+", N, S)) == pytest.approx(math.hypot(rows, cents))
    assert half(apply("+", N, N)) == pytest.approx(2 * rows)
    assert half(apply("-", N, N)) == 0
    assert half(apply("/", N, N)) == pytest.approx(0, abs=1e-9)
    assert half(apply("/", apply("+", N, S), N)) == pytest.approx(half(apply("/", S, N)), rel=1e-6)
    assert half(apply("*", N, number(-3))) == pytest.approx(3 * rows)
    assert half(apply("*", N, S)) == pytest.approx(math.hypot(1_000 * cents, 1_234.56 * rows), rel=0.02)
    assert half(apply("sqrt", N)) == pytest.approx(rows / (2 * math.sqrt(1_000)), rel=0.01)
    assert half(apply("round", S)) == pytest.approx(cents + 0.5)
    assert half(apply("floor", S)) == pytest.approx(cents + 1)
    assert half(apply("abs", apply("negate", N))) == pytest.approx(rows)
    assert half(apply("greatest", N, number(10**6))) == pytest.approx(rows)  # clamped, but no more certain than it was
    assert half(apply("case", apply(">", S, N), S, N)) == pytest.approx(cents)
    assert half(number(3)) == 0
    assert half(mean(1, 0, "50")) == pytest.approx(half(apply("/", S, N)))


def test_fieller_s_interval_is_longer_than_the_first_order_one_where_the_denominator_is_noisy() -> None:
    first_order = [1.96 * math.hypot(1.0, 10.0 * 1.0) / rows for rows in (1_000, 10)]
    assert one(apply("/", S, N), 1_000, 10_000 * 100)[1] == pytest.approx(first_order[0], rel=0.05)
    assert one(apply("/", S, N), 10, 100 * 100)[1] > 1.15 * first_order[1]


@pytest.mark.parametrize("rows", [3, 0, -1, -3])
def test_a_denominator_that_noise_could_make_zero_gives_no_figure_and_a_note(rows: int) -> None:
    table = asked(figure("spend", apply("/", S, N), "mean"), rows=[rows, 1_000], sums=[500, 500])
    assert [row[1] is None for row in table.rows] == [True, False]
    assert [row[1] is None for row in table.margins] == [True, False]
    assert table.notes == ("spend: no figure in 1 row, where too little lies behind it to tell.",)
    assert one(apply("/", S, N), -1_000)[0] == pytest.approx(-1.23456)  # far below zero: noise did not do that


# --- never an exception, never a NaN

leaves = st.sampled_from(
    [
        N,
        S,
        number(0),
        number("1e300"),
        number("-0.5"),
        number(3),
        Constant(None),
        Constant("t"),
        Constant(True),
        KeyOf(0),
    ]
)
UNARY = ["negate", "abs", "sqrt", "floor", "ceil", "not", "is_null", "round"]
BINARY = ["+", "-", "*", "/", "least", "greatest", "coalesce", "nullif", "=", "<>", "<", ">=", "and", "or", "round"]
afters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda o, a: Apply(o, (a,)), st.sampled_from(UNARY), inner),
        st.builds(lambda o, a, b: Apply(o, (a, b)), st.sampled_from(BINARY), inner, inner),
        st.builds(lambda a, b, c: Apply("case", (a, b, c)), inner, inner, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(afters, afters, st.lists(st.sampled_from([0, 1, -1, 7, 10**6, -(2**63), 2**63 - 1]), min_size=0, max_size=4))
def test_nothing_fails_for_any_noisy_figure(after: After, order: After, rows: list[int]) -> None:
    table = asked(
        figure("f", after, "ratio", support=0),
        rows=rows,
        sums=rows[::-1],
        having=apply("or", Constant(True), order),
        order=(Ordering(order, True, False), Ordering(after, False, True)),
    )
    assert len(table.rows) == len(rows)
    for row in (*table.rows, *table.margins, *table.supports):
        assert all(not isinstance(value, float) or math.isfinite(value) for value in row)
    assert all(margin is None or margin >= 0 for row in table.margins for margin in row)


# --- which rows are shown


def places(table: AnswerTable) -> list[int]:
    return [int(str(row[0]).split()[1]) for row in table.rows]


def test_having_order_limit_and_offset_come_after_the_noise() -> None:
    rows, sums = [30, 10, 20, 40, 3], [1, 2, 3, 4, 5]
    ratio = apply("/", S, N)
    assert places(asked(figure("n", N), rows=rows, having=apply(">", N, number(15)))) == [0, 2, 3]
    down = (Ordering(N, True, False),)
    assert places(asked(figure("n", N), rows=rows, order=down)) == [3, 0, 2, 1, 4]
    assert places(asked(figure("n", N), rows=rows, order=down, limit=2, offset=1)) == [0, 2]
    assert places(asked(figure("n", N), rows=rows, offset=4)) == [4]
    assert places(asked(figure("n", N), rows=rows, limit=0)) == []
    for nulls_first, expected in ((True, [4, 0, 3, 2, 1]), (False, [0, 3, 2, 1, 4])):
        order = (Ordering(ratio, False, nulls_first),)
        assert places(asked(figure("r", ratio, "ratio"), rows=rows, sums=sums, order=order)) == expected
    tied = (Ordering(apply(">", N, number(15)), True, False), Ordering(KeyOf(0), True, False))
    assert places(asked(figure("n", N), rows=rows, order=tied)) == [3, 2, 0, 4, 1]


def test_rows_that_a_condition_neither_passes_nor_fails_are_not_shown() -> None:
    assert places(asked(figure("n", N), rows=[100, 0], having=apply(">", apply("/", S, N), number(-1)))) == [0]
    assert places(asked(figure("n", N), rows=[100], having=N)) == []  # a number is no condition


# --- notes


def test_negative_counts_are_kept_and_explained_and_negative_sums_may_be_true() -> None:
    table = asked(figure("n", N), figure("s", S, "sum", negative=True), rows=[-2, 5, -1], sums=[-5, -5, -5])
    assert [row[1] for row in table.rows] == [-2, 5, -1]
    assert table.notes == ("n: below zero in 2 rows. That is noise about a small number, and is kept.",)


def test_rows_chosen_by_noisy_figures_are_said_to_be() -> None:
    order = (Ordering(N, True, False),)
    assert asked(figure("n", N), rows=[1, 2], order=order).notes == ()
    for chosen in (
        asked(figure("n", N), rows=[1, 2], order=order, limit=1),
        asked(figure("n", N), rows=[1], having=Constant(True)),
    ):
        assert chosen.notes == (
            "Rows were chosen by their noisy figures: those near the line may be on either side of it by chance.",
        )


def unknown() -> tuple[Plan, Measurement]:
    plan = plan_of(vector("units"), unknown=True, select=[figure("n", N)], measures=[Measure("units")])
    return plan, plan_noise(plan, PrivacyLoss.of("0.5"), delta=Decimal("1e-6"))


def test_groups_held_back_are_told_by_their_threshold_and_not_by_their_number() -> None:
    plan, measurement = unknown()
    notes = {
        answer(plan, measurement, measurement.release(Exact(cells(count), ((1,) * count,)))).notes
        for count in (0, 1, 500)
    }
    (((note,)),) = notes
    least = measurement.noises[0].threshold
    assert note.startswith(f"Groups are shown only where the noisy number of distinct customer is {least} or more;")


def test_an_answer_without_rows_is_an_answer() -> None:
    plan, measurement = unknown()
    table = answer(plan, measurement, Noisy((), ((),)))
    assert table.rows == table.margins == table.supports == ()
