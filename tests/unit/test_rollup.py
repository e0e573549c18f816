"""Cells added up on the analyst's side: with the errors that simulation has, and refused where they do not add up."""

from __future__ import annotations

from dataclasses import replace
from math import hypot

import numpy as np
import pytest
from support.release_kit import figure, key, table

from kaianalytics.client.release import ReleaseTable
from kaianalytics.errors import Refused

COUNTS = table(
    [key("week", "date"), key("device"), figure("n"), figure("cost", "sum")],
    [
        ("2026-10-05", "phone", 10, "1.50"),
        ("2026-10-05", "tablet", -2, "0.10"),
        ("2026-10-12", "phone", 30, "2.25"),
        ("2026-10-12", "tablet", 5, "0.05"),
    ],
    [(None, None, 3.0, 0.3), (None, None, 4.0, 0.4), (None, None, 3.0, 0.3), (None, None, 4.0, 0.4)],
)


def test_counts_and_sums_add_and_so_do_their_variances() -> None:
    weeks = COUNTS.rollup("week")
    assert [key.name for key in weeks.keys] == ["week"]
    assert weeks.release.rows == (("2026-10-05", 8, "1.60"), ("2026-10-12", 35, "2.30"))
    assert weeks.release.margins == ((None, 5.0, 0.5), (None, 5.0, 0.5))


def test_a_rollup_over_all_keys_is_one_cell() -> None:
    total = COUNTS.rollup()
    assert total.release.rows == ((43, "3.90"),)
    assert total.release.margins[0][0] == pytest.approx(hypot(3, 4, 3, 4))


def test_a_rollup_of_a_rollup_is_the_rollup() -> None:
    assert COUNTS.rollup("week").rollup().release.rows == COUNTS.rollup().release.rows
    assert COUNTS.rollup("week").rollup().release.margins[0] == pytest.approx(COUNTS.rollup().release.margins[0])


def test_the_order_of_groups_is_that_of_their_first_cells_and_of_keys_that_of_the_release() -> None:
    assert [row[:2] for row in COUNTS.rollup("device", "week").release.rows] == [row[:2] for row in COUNTS.release.rows]
    assert [row[0] for row in COUNTS.rollup("device").release.rows] == ["phone", "tablet"]


def test_a_rollup_is_labelled_and_says_that_the_bounds_are_those_of_the_cells() -> None:
    text = repr(COUNTS.rollup("week"))
    assert "A roll-up of the 4 cells shown into 2, over device: not asked anew, and free." in text
    assert "one unit may count in several that are added here" in text
    assert "At most 20 rows of one customer are counted." in text
    assert COUNTS.rollup("week").release.certificate == {}
    noted = replace(COUNTS, release=replace(COUNTS.release, notes=("n: below zero in 1 row.",)))
    assert "Of the cells as they were asked: n: below zero in 1 row." in repr(noted.rollup("week"))
    assert COUNTS.rollup("week").to_polars()["n_pm"].to_list() == [5.0, 5.0]


def test_what_bounding_leaves_out_of_a_dropped_figure_is_dropped_with_it() -> None:
    bounding = ("Rows without a customer are left out.", "n: at most 7 rows.", "cost: within 0 … 10.")
    made = replace(COUNTS, release=replace(COUNTS.release, bounding=bounding))
    assert made.rollup("week", figures=["n"]).release.bounding == bounding[:2]
    assert made.rollup("week").release.bounding == bounding


def test_a_clamped_table_is_added_up_from_what_came() -> None:
    assert COUNTS.clamped().rollup("week").release.rows[0][1] == 8


def test_a_figure_that_is_too_few_to_tell_leaves_its_sum_unknown() -> None:
    made = table([key("d"), figure("n", "sum")], [("a", 5.0), ("b", None)], [None, 1.0]).rollup()
    assert made.release.rows == ((None,),) and made.release.margins == ((None,),)
    assert "too few to tell" in repr(made)


REFUSED = [
    (figure("people", adds=False), "distinct units"),
    (figure("p50", "quantile"), "all quantiles of a column cost one price"),
    (figure("sd", "deviation"), "sums of x and of x \\* x"),
    (figure("v", "variance"), "sums of x and of x \\* x"),
    (figure("rate", "ratio"), "its numerator and denominator"),
    (figure("best", "top"), "grouped by fewer keys"),
]


@pytest.mark.parametrize(("column", "way_on"), REFUSED, ids=lambda one: getattr(one, "name", ""))
def test_what_does_not_add_up_is_refused_by_its_name_with_the_way_on(column: object, way_on: str) -> None:
    made = table([key("d"), figure("n"), column], [("a", 1, 2)], [None, 1.0, 1.0])
    with pytest.raises(Refused, match=way_on) as refused:
        made.rollup()
    assert refused.value.code == "ROLLUP_UNSUPPORTED" and "figures=['n']" in refused.value.hint
    assert made.rollup(figures=["n"]).release.rows == ((1,),)


def test_a_key_or_figure_that_is_absent_is_named() -> None:
    with pytest.raises(Refused, match="no key plan"):
        COUNTS.rollup("plan")
    with pytest.raises(Refused, match="no figure of that name"):
        COUNTS.rollup("week", figures=["visits"])


MEAN_COLUMNS = [key("d"), figure("n"), figure("m", "mean")]


def means(values: list[tuple[float, float]], margins: list[tuple[float, float]]) -> ReleaseTable:
    """A release of counts and means per cell, each mean resting on the count beside it."""
    return table(
        MEAN_COLUMNS,
        [(str(place), round(n), m) for place, (n, m) in enumerate(values)],
        [(None, *pair) for pair in margins],
        [(None, None, n) for n, _ in values],
    )


def test_means_are_weighted_by_what_they_rest_on() -> None:
    made = means([(100, 2.0), (300, 4.0)], [(10.0, 0.1), (10.0, 0.05)]).rollup()
    assert made.release.rows[0] == (400, pytest.approx(3.5))
    assert made.release.supports[0][1] == 400
    error = hypot(100 * 0.1 + 1.5 * 10, 300 * 0.05 + 0.5 * 10) / 400
    assert made.release.margins[0][1] == pytest.approx(error)


def test_a_mean_without_a_count_of_its_rows_is_refused() -> None:
    alone = table([key("d"), figure("m", "mean")], [("a", 2.0)], [None, 0.1], [(None, 100.0)])
    other = table(MEAN_COLUMNS, [("a", 120, 2.0)], [None, 10.0, 0.1], [(None, None, 100.0)])
    people = [key("d"), figure("n", adds=False), figure("m", "mean")]
    distinct = table(people, [("a", 100, 2.0)], [None, 1.0, 0.1], [(None, None, 100.0)])
    for made in (alone, other, distinct):
        with pytest.raises(Refused, match="no count of the rows that it rests on") as refused:
            made.rollup(figures=["m"])
        assert refused.value.code == "ROLLUP_NEEDS_COUNT"


def test_a_mean_over_a_cell_that_is_too_small_is_unknown() -> None:
    made = means([(100, 2.0), (-4, 4.0)], [(10.0, 0.1), (10.0, 0.05)]).rollup(figures=["m"])
    assert made.release.rows == ((None,),)


def test_the_stated_error_of_added_counts_and_means_is_that_of_simulation() -> None:
    random = np.random.default_rng(20261101)
    truth, mean, sd, sd_n, middle = np.array([400, 900, 150]), np.array([3.0, 5.0, 9.0]), 40.0, 6.0, 5.0
    inside = {"n": 0, "m": 0}
    rounds = 2000
    for _ in range(rounds):
        counts = truth + random.normal(0, sd_n, 3)
        sums = truth * (mean - middle) + random.normal(0, sd, 3)  # centred, as the engine has them
        found = middle + sums / counts
        error = np.hypot(sd, (middle - found) * sd_n) / counts
        pairs = list(zip(counts.tolist(), found.tolist(), strict=True))
        made = means(pairs, [(1.96 * sd_n, 1.96 * one) for one in error.tolist()]).rollup()
        (n, m), (n_pm, m_pm) = made.release.rows[0], made.release.margins[0]
        inside["n"] += abs(n - truth.sum()) <= n_pm + 1.5  # cells were rounded to whole numbers
        inside["m"] += abs(m - (truth * mean).sum() / truth.sum()) <= m_pm
    assert inside["n"] / rounds == pytest.approx(0.965, abs=0.025)
    assert inside["m"] / rounds >= 0.94  # however count and mean go together: never narrower than stated
