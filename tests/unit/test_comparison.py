"""Two cells compared: both errors, intervals that cover as often as they say, and no claim beyond them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from support.release_kit import figure, key, table

from kaianalytics.client.release import ReleaseTable
from kaianalytics.errors import Refused

ARMS = table(
    [key("arm"), figure("contacted"), figure("converted", "sum")],
    [("treatment", 12006, 941), ("holdout", 11939, 693)],
    [None, 89.0, 89.0],
)
SPEND = table(
    [key("arm"), figure("spend", "mean"), figure("sd", "deviation"), figure("total", "sum")],
    [("treatment", 1210.0, 2400.0, 1210000), ("holdout", 1150.0, 2300.0, 1150000)],
    [None, 12.0, 0.0, 9000.0],
    [(None, 1000.0, 1000.0, None), (None, 1000.0, 1000.0, None)],
)
Draw = Callable[[np.random.Generator], ReleaseTable]


def test_a_difference_of_shares_has_both_errors_apart_and_together() -> None:
    made = ARMS.difference("treatment", "holdout", of="converted", over="contacted")
    assert made.value == pytest.approx(941 / 12006 - 693 / 11939)
    privacy, sampling, together = (made.by(error) for error in ("privacy", "sampling", "together"))
    assert privacy and sampling and together
    widths = [(high - low) / 2 for low, high in (privacy, sampling, together)]
    assert widths[2] == pytest.approx(np.hypot(widths[0], widths[1]))
    assert widths[1] == pytest.approx(1.96 * np.sqrt(0.0784 * 0.9216 / 12006 + 0.058 * 0.942 / 11939), rel=0.01)
    assert made.half_width == pytest.approx(widths[2]) and made.clear


def test_what_is_shown_says_no_more_than_holds() -> None:
    text = repr(ARMS.difference("treatment", "holdout", of="converted", over="contacted"))
    for part in (
        "privacy noise",
        "sampling",
        "is above that of “holdout” by 2.0 ± 1.3 points, at 95%.",
        "It is a comparison, not an uplift, unless the groups were assigned at random.",
        "Sampling is that of rows that each count or not (binomial)",
        "At most 20 rows of one customer are counted.",
    ):
        assert part in text
    within = repr(ARMS.difference("treatment", "holdout", figure="contacted"))
    assert "This difference is within noise: 67 ± " in within and "no evidence that the two are equal" in within
    assert "uplift" not in within
    below = ARMS.difference("holdout", "treatment", of="converted", over="contacted").sentence
    assert "is below that of “treatment” by 2.0 ± 1.3 points" in below


def test_a_ratio_is_lopsided_and_stands_on_both_errors() -> None:
    made = ARMS.ratio("treatment", "holdout", of="converted", over="contacted")
    assert made.interval and made.value and made.half_width is None
    assert made.interval[0] < made.value < made.interval[1]
    assert made.interval[1] - made.value > made.value - made.interval[0]
    assert "times that of “holdout”, at 95% from" in made.sentence
    assert "within noise" in ARMS.ratio("treatment", "holdout", figure="contacted").sentence


def test_a_ratio_whose_denominator_may_be_zero_has_no_interval_and_no_value() -> None:
    made = table([key("d"), figure("n")], [("a", 40), ("b", 6)], [None, 20.0]).ratio("a", "b")
    assert made.value is None and made.interval is None and not made.clear
    assert "not clearly different from zero" in made.sentence and "unbounded" in repr(made)
    assert made.to_polars()["together_low"].to_list() == [None]


def test_a_share_of_too_few_has_no_result_and_says_of_which_cell() -> None:
    few = table([key("d"), figure("n"), figure("hit")], [("a", 400, 30), ("b", 6, 2)], [None, 20.0, 20.0])
    made = few.difference("a", "b", of="hit", over="n")
    assert made.value is None and "n of “b” is not clearly above zero" in made.sentence
    assert made.to_polars()["value"].to_list() == [None]


def test_means_and_sums_take_their_sampling_from_a_deviation_in_the_release() -> None:
    mean = SPEND.difference("treatment", "holdout", figure="spend")
    sampling = mean.by("sampling")
    assert sampling and (sampling[1] - sampling[0]) / 2 == pytest.approx(
        1.96 * np.hypot(2400, 2300) / np.sqrt(1000), 1e-3
    )
    assert "Sampling is taken from the upper end of sd" in repr(mean) and not mean.clear
    total = SPEND.difference("treatment", "holdout", figure="total", spread="sd")
    alone = total.by("sampling")
    expected = 1.96 * np.sqrt(1000 * (2400**2 + 1210**2 + 2300**2 + 1150**2))
    assert alone and (alone[1] - alone[0]) / 2 == pytest.approx(expected, rel=1e-3)


def test_a_variance_serves_as_well_as_a_deviation() -> None:
    columns = [*SPEND.release.columns[:2], figure("v", "variance")]
    rows = [("treatment", 1210.0, 2400.0**2), ("holdout", 1150.0, 2300.0**2)]
    made = table(columns, rows, [None, 12.0, 0.0], [(None, 1000.0, 1000.0)] * 2).difference("treatment", "holdout")
    assert made.by("sampling") == pytest.approx(SPEND.difference("treatment", "holdout", figure="spend").by("sampling"))


def test_a_deviation_that_noise_made_negative_is_no_deviation() -> None:
    rows = (("treatment", 1210.0, -300.0, 1), ("holdout", 1150.0, None, 1))
    broken = replace(SPEND.release, rows=rows, margins=((None, 12.0, 30.0, 1.0),) * 2)
    made = ReleaseTable(broken).difference("treatment", "holdout", figure="spend")
    assert made.value is None and "sd of “treatment” is too few to tell" in made.sentence


@pytest.mark.parametrize("role", ["mean", "sum", "ratio", "quantile", "top", "variance", "deviation"])
def test_what_has_no_known_sampling_is_refused_with_the_way_on(role: str) -> None:
    made = table([key("d"), figure("x", role)], [("a", 1.0), ("b", 2.0)], [None, 0.1])
    with pytest.raises(Refused) as refused:
        made.difference("a", "b", figure="x")
    assert refused.value.code == "SAMPLING_UNKNOWN" and refused.value.hint


def test_of_two_deviations_none_is_guessed() -> None:
    columns = [*SPEND.release.columns, figure("other", "deviation")]
    rows = [(*row, 5.0) for row in SPEND.release.rows]
    made = table(columns, rows, [None, 12.0, 30.0, 9000.0, 1.0], [(None, 9.0, 9.0, None, 9.0)] * 2)
    with pytest.raises(Refused, match="name one: spread='sd' or 'other'"):
        made.difference("treatment", "holdout", figure="spend")
    assert made.difference("treatment", "holdout", figure="spend", spread="other").value == 60.0


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ({"of": "converted"}, "SHARE_NEEDS_TWO"),
        ({"over": "contacted"}, "SHARE_NEEDS_TWO"),
        ({"of": "contacted", "over": "contacted"}, "SHARE_NEEDS_TWO"),
        ({"of": "converted", "over": "contacted", "figure": "contacted"}, "SHARE_NEEDS_TWO"),
        ({"of": "contacted", "over": "converted"}, "NOT_A_SHARE"),  # a sum is no whole
        ({"of": "converted", "over": "contacted", "share": True}, "SHARE_NEEDS_TWO"),
        ({"figure": "contacted", "share": True}, "NOT_A_SHARE"),
        ({"figure": "contacted", "spread": "converted"}, "SAMPLING_UNKNOWN"),
        ({"figure": "visits"}, "NO_SUCH_FIGURE"),
    ],
)
def test_shares_are_named_by_two_figures(names: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        ARMS.difference("treatment", "holdout", **names)
    assert refused.value.code == code


RATES = table(
    [key("arm"), figure("rate", "mean")], [("a", 0.08), ("b", 0.06)], [None, 0.002], [(None, 4000.0), (None, 4100.0)]
)


def test_a_mean_of_yes_and_no_is_a_share_whose_sampling_follows_from_itself() -> None:
    made = RATES.difference("a", "b", share=True)
    sampling = made.by("sampling")
    expected = 1.96 * np.sqrt(0.08 * 0.92 / 4000 + 0.06 * 0.94 / 4100)
    assert sampling and (sampling[1] - sampling[0]) / 2 == pytest.approx(expected, rel=0.01)
    assert "8.00%" in repr(made) and "2.0 ± 1.2 points" in made.sentence
    with pytest.raises(Refused, match="say share=True"):
        RATES.difference("a", "b")
    wide = table([key("arm"), figure("pages", "mean")], [("a", 3.1), ("b", 2.0)], [None, 0.1], [(None, 40.0)] * 2)
    with pytest.raises(Refused, match="is no share"):
        wide.difference("a", "b", share=True)


def test_two_figures_that_were_bounded_apart_are_called_so() -> None:
    apart = replace(ARMS, release=replace(ARMS.release, bounds={"form": "norm"}))
    assert "bounded each for itself" in repr(apart.difference("treatment", "holdout", of="converted", over="contacted"))
    assert "bounded each for itself" not in repr(
        ARMS.difference("treatment", "holdout", of="converted", over="contacted")
    )
    assert "bounded each for itself" not in repr(apart.difference("treatment", "holdout", figure="contacted"))


def test_more_than_the_whole_is_no_share() -> None:
    made = table([key("d"), figure("n"), figure("pages", "sum")], [("a", 100, 300), ("b", 100, 310)], [None, 5.0, 5.0])
    with pytest.raises(Refused, match="is no share"):
        made.difference("a", "b", of="pages", over="n")


# --- which cells


TWO_KEYS = table(
    [key("week", "date"), key("device"), figure("n")],
    [("2026-10-05", "phone", 100), ("2026-10-12", "phone", 120), ("2026-10-12", None, 30)],
    [None, None, 9.0],
)


def test_cells_are_named_by_their_keys() -> None:
    a, b = {"week": date(2026, 10, 12), "device": "phone"}, {"week": "2026-10-12", "device": None}
    made = TWO_KEYS.difference(a, b)
    assert made.value == 90 and made.names == ("2026-10-12, phone", "2026-10-12, not given")
    assert TWO_KEYS.difference({"device": None}, {"week": "2026-10-05"}).value == -70


@pytest.mark.parametrize(
    ("a", "code"),
    [
        ("phone", "CELL_NEEDS_KEYS"),
        ({"device": "phone"}, "CELL_NOT_ONE"),
        ({}, "CELL_NOT_ONE"),
        ({"device": "tablet"}, "NO_SUCH_CELL"),
        ({"plan": "free"}, "NO_SUCH_KEY"),
        ({"week": "2026-10-05"}, "SAME_CELL"),
    ],
)
def test_a_cell_that_is_not_one_is_refused(a: object, code: str) -> None:
    with pytest.raises(Refused) as refused:
        TWO_KEYS.difference(a, {"week": "2026-10-05"})  # type: ignore[arg-type]
    assert refused.value.code == code


# --- the intervals cover as often as they say


def share_round(random: np.random.Generator, share_a: float, share_b: float, n: int, sigma: float) -> ReleaseTable:
    """One draw of two arms: sampling of who converts, then privacy noise on both figures."""
    counts = random.poisson(n, 2)
    hits = random.binomial(counts, [share_a, share_b])
    shown = np.round(np.stack([counts, hits], 1) + random.normal(0, sigma, (2, 2)))
    rows = [(arm, int(c), int(h)) for arm, (c, h) in zip("ab", shown, strict=True)]
    return table([key("arm"), figure("n"), figure("hit", "sum")], rows, [None, 1.96 * sigma, 1.96 * sigma])


def count_round(random: np.random.Generator, rate_a: float, rate_b: float, sigma: float) -> ReleaseTable:
    """One draw of two counts."""
    shown = np.round(random.poisson([rate_a, rate_b]) + random.normal(0, sigma, 2))
    return table([key("d"), figure("n")], [("a", int(shown[0])), ("b", int(shown[1]))], [None, 1.96 * sigma])


def mean_round(
    random: np.random.Generator, mean_a: float, mean_b: float, rows: int, sigma: float, blur: float = 0.05
) -> ReleaseTable:
    """One draw of two means of skewed values; `sigma` is the noise of a sum, `blur` that of the deviations beside."""
    cells = []
    for name, mean in (("a", mean_a), ("b", mean_b)):
        values = random.exponential(mean, rows)
        cells.append(
            (
                name,
                float(values.mean() + random.normal(0, sigma / rows)),
                float(values.std(ddof=1) + random.normal(0, blur)),
            )
        )
    columns = [key("d"), figure("m", "mean"), figure("sd", "deviation")]
    return table(columns, cells, [None, 1.96 * sigma / rows, 1.96 * blur], [(None, rows, rows)] * 2)


def rate_round(random: np.random.Generator, share_a: float, share_b: float, n: int, sigma: float) -> ReleaseTable:
    """One draw of two means of yes and no; `sigma` is the noise of their sums about the middle."""
    shares = [random.binomial(n, share) / n + random.normal(0, sigma / n) for share in (share_a, share_b)]
    columns = [key("d"), figure("rate", "mean")]
    return table(columns, [*zip("ab", shares, strict=True)], [None, 1.96 * sigma / n], [(None, float(n))] * 2)


CASES: list[tuple[str, Draw, dict[str, Any], float]] = [
    ("shares", lambda random: share_round(random, 0.08, 0.06, 4000, 12.0), {"of": "hit", "over": "n"}, 0.08 - 0.06),
    (
        "small shares",
        lambda random: share_round(random, 0.01, 0.004, 1500, 3.0),
        {"of": "hit", "over": "n"},
        0.01 - 0.004,
    ),
    ("counts", lambda random: count_round(random, 900, 700, 15.0), {"figure": "n"}, 200.0),
    ("small counts", lambda random: count_round(random, 6, 3, 4.0), {"figure": "n"}, 3.0),
    ("means", lambda random: mean_round(random, 3.0, 2.5, 300, 40.0), {"figure": "m"}, 0.5),
    ("rates", lambda random: rate_round(random, 0.08, 0.06, 4000, 8.0), {"figure": "rate", "share": True}, 0.02),
    ("means, a blurred deviation", lambda random: mean_round(random, 3.0, 2.5, 300, 40.0, 0.8), {"figure": "m"}, 0.5),
]
ROUNDS = 1500


@pytest.mark.parametrize(("draw", "names", "truth"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_difference_covers_the_truth_as_often_as_it_says(draw: Draw, names: dict[str, Any], truth: float) -> None:
    random, inside = np.random.default_rng(20261102), 0
    for _ in range(ROUNDS):
        interval = draw(random).difference("a", "b", **names).interval
        assert interval is not None
        inside += interval[0] <= truth <= interval[1]
    assert 0.93 <= inside / ROUNDS <= 0.99


RATIOS: list[tuple[str, Draw, dict[str, Any], float]] = [
    ("shares", lambda random: share_round(random, 0.08, 0.06, 4000, 12.0), {"of": "hit", "over": "n"}, 0.08 / 0.06),
    ("counts", lambda random: count_round(random, 900, 700, 15.0), {"figure": "n"}, 900 / 700),
    ("near zero", lambda random: count_round(random, 60, 30, 8.0), {"figure": "n"}, 2.0),
    ("means", lambda random: mean_round(random, 3.0, 2.5, 300, 40.0), {"figure": "m"}, 1.2),
]


@pytest.mark.parametrize(("draw", "names", "truth"), [case[1:] for case in RATIOS], ids=[case[0] for case in RATIOS])
def test_a_ratio_covers_the_truth_as_often_as_it_says(draw: Draw, names: dict[str, Any], truth: float) -> None:
    random, inside = np.random.default_rng(20261102), 0
    for _ in range(ROUNDS):
        interval = draw(random).ratio("a", "b", **names).interval
        inside += interval is None or interval[0] <= truth <= interval[1]  # no interval claims nothing
    assert 0.93 <= inside / ROUNDS <= 0.99


def test_privacy_noise_alone_would_cover_far_too_seldom() -> None:
    """The tests above can fail: an interval that leaves sampling out is caught by them."""
    random, inside = np.random.default_rng(20261102), 0
    for _ in range(500):
        interval = share_round(random, 0.08, 0.06, 4000, 2.0).difference("a", "b", of="hit", over="n").by("privacy")
        assert interval is not None
        inside += interval[0] <= 0.02 <= interval[1]
    assert inside / 500 < 0.5
