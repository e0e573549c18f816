"""What a notebook shows: error bars on every figure, the sentences under every table, nothing unescaped."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import polars as pl
import pytest
from support.release_kit import figure, key, release, table

from kaianalytics.client.budget import BudgetTable
from kaianalytics.client.datasets import DatasetList
from kaianalytics.client.planned import PlanTable
from kaianalytics.client.release import ReleaseTable
from kaianalytics.client.releases import ReleaseList
from kaianalytics.client.shown import Shown, isolation_sentence
from kaianalytics.errors import ContractFault, ContractFaults, Fault, PolicyRefused, Refused
from kaianalytics.protocol import (
    GUARD_RAILS_ONLY,
    ISOLATION_SENTENCE,
    Budget,
    BudgetLine,
    Dataset,
    FigurePlan,
    ReleaseColumn,
    StatisticsPlan,
    YearLoss,
)

RELEASE = release(
    [key("day", "date"), key("device"), figure("n"), figure("pages", "sum")],
    [("2026-10-01", "phone", 12034, 77), ("2026-10-02", None, -3, 5)],
    [(None, None, 40.2, 3.21), (None, None, 38.0, 3.21)],
)
ONE_KEY = release([key("device"), figure("n")], [("phone", 12034), (None, -3)], [None, 40.2])
MEANS = release(
    [key("device"), figure("pages", "mean"), figure("seconds", "quantile"), figure("best", "top")],
    [("phone", 3.4217, 120.0, "news"), ("tablet", None, 80.5, None)],
    [(None, 0.052, 8.0, None), (None, None, 31.0, None)],
    [(None, 1204.4, 1204.4, None), (None, -2.0, -2.0, None)],
)


def test_a_frame_holds_each_figure_with_the_half_width_of_its_cell() -> None:
    frame = ReleaseTable(RELEASE).to_polars()
    assert frame.columns == ["day", "device", "n", "n_pm", "pages", "pages_pm"]
    assert frame["day"].to_list() == [date(2026, 10, 1), date(2026, 10, 2)]
    assert frame["n"].to_list() == [12034, -3]
    assert frame["n_pm"].to_list() == [40.2, 38.0]


def test_a_frame_holds_what_means_rest_on_where_it_is_asked_for() -> None:
    frame = ReleaseTable(MEANS).to_polars(support=True)
    assert frame.columns == ["device", "pages", "pages_pm", "pages_n", "seconds", "seconds_pm", "seconds_n", "best"]
    assert frame["pages"].to_list() == [3.4217, None] and frame["pages_n"].to_list() == [1204.4, -2.0]


def test_an_error_bar_never_takes_the_name_of_another_column() -> None:
    frame = table([key("n_pm"), figure("n")], [("a", 1)], [None, 1.0]).to_polars()
    assert frame.columns == ["n_pm", "n", "n_pm_"]


@pytest.mark.parametrize(("text", "number", "shown"), [("12.50", 12.5, "12.50 ± 0.50"), ("0.1", 0.1, "0.10 ± 0.50")])
def test_a_sum_that_crossed_as_text_is_a_number_in_the_frame(text: str, number: float, shown: str) -> None:
    made = table([figure("cost", "sum")], [(text,)], [0.5])
    assert made.to_polars()["cost"].to_list() == [number]
    assert shown in repr(made)


def test_keys_of_a_frame_have_their_types() -> None:
    columns = [key("week", "timestamp"), key("open", "boolean"), key("bin", "integer"), figure("n")]
    frame = table(columns, [("2026-10-05T00:00:00", True, 3, 1), (None, None, None, 2)], [None, None, None, 1.0])
    values = frame.to_polars().select("week", "open", "bin").row(0)
    assert values == (datetime(2026, 10, 5), True, 3)


def test_a_release_without_rows_keeps_its_columns() -> None:
    frame = ReleaseTable(replace(RELEASE, rows=(), margins=(), supports=())).to_polars()
    assert frame.columns == ["day", "device", "n", "n_pm", "pages", "pages_pm"]
    assert frame.height == 0 and frame.schema["n"].is_numeric()
    assert "device" in repr(ReleaseTable(replace(RELEASE, rows=(), margins=(), supports=())))


def test_any_library_reads_the_frame_by_arrow() -> None:
    assert pl.DataFrame(ReleaseTable(ONE_KEY))["n_pm"].to_list() == [40.2, 40.2]


# --- what is said of the figures


def test_the_text_shows_error_bars_rounded_up_and_what_it_rests_on() -> None:
    text = repr(ReleaseTable(RELEASE, remaining={"account": "1.998"}))
    assert "12,034 ± 41" in text
    assert "77 ± 3.3" in text
    assert "not given" in text
    for sentence in (
        "± is privacy noise at 95%; it counts neither sampling nor what bounding leaves out.",
        "Bounding is a bias that no ± counts: At most 20 rows of one customer are counted.",
        "Release 7: ρ 0.002 charged (ε 0.32 at δ 10⁻⁶). Left: ρ account 1.998.",
        "Snapshot b0c1d2.0",
        ISOLATION_SENTENCE,
    ):
        assert sentence in text


def test_margins_of_one_size_share_their_decimals_and_others_have_their_own() -> None:
    columns = [figure("a", "mean"), figure("b", "mean")]
    text = repr(table(columns, [(3.9, 12.345), (3.71, 15.0)], [(0.098, 0.011), (0.11, 8.0)]))
    assert "3.90 ± 0.10" in text and "3.71 ± 0.11" in text
    assert "12.345 ± 0.011" in text and "15.0 ± 8.0" in text


def test_means_and_quantiles_say_what_they_rest_on_once_where_it_is_the_same() -> None:
    text = repr(ReleaseTable(MEANS))
    assert "3.422 ± 0.052" in text and text.count("n ≈ 1,204") == 1 and "rests on" in text
    assert "n ≈ 0" in text  # a noisy number of rows below zero
    apart = replace(MEANS, supports=((None, 1204.4, 90.0, None), (None, 3.0, 4.0, None)))
    assert "pages rests on" in repr(ReleaseTable(apart)) and "seconds rests on" in repr(ReleaseTable(apart))


def test_a_figure_that_noise_would_have_made_up_is_too_few_to_tell() -> None:
    text = repr(ReleaseTable(MEANS))
    assert "too few to tell" in text and "a number would mislead" in text
    assert "would mislead" not in repr(ReleaseTable(RELEASE))


def test_a_value_by_rank_has_no_error_bar_and_says_why() -> None:
    assert "best" in repr(ReleaseTable(MEANS)) and "chosen with noise" in repr(ReleaseTable(MEANS))
    alone = table([figure("best", "top")], [("news",)])
    assert "± is" not in repr(alone) and alone.to_polars().columns == ["best"]


def test_a_figure_whose_margin_is_not_known_says_so() -> None:
    assert "4.00 ± unknown" in repr(table([figure("x", "ratio")], [(4.0,)], [None]))


def test_a_negative_count_is_explained_and_becomes_zero_on_request() -> None:
    made = ReleaseTable(RELEASE)
    assert "-3 ± 38" in repr(made) and "few or none, and noise. `.clamped()`" in repr(made)
    assert "0 ± 38" in repr(made.clamped()) and "their sums come out too high" in repr(made.clamped())
    assert made.to_polars(clamp=True)["n"].to_list() == [12034, 0] == made.clamped().to_polars()["n"].to_list()
    assert made.to_polars()["n"].to_list() == [12034, -3]


def test_a_sum_that_may_be_negative_is_neither_explained_nor_clamped() -> None:
    made = table([figure("change", "sum", nonnegative=False)], [(-5,)], [2.0])
    assert "few or none" not in repr(made)
    assert made.to_polars(clamp=True)["change"].to_list() == [-5]


def test_what_is_held_back_and_what_was_chosen_is_said() -> None:
    told = replace(
        ONE_KEY,
        notes=("Groups of fewer than about 40 customers are held back.",),
        bounds={
            "form": "rows",
            "rows": 1200,
            "clipping": ["n: 2% are cut.", "other: 2% are cut."],
            "values": {"pages": ["0", "40"]},
            "found": "Choosing cost ρ 0.0002.",
        },
    )
    text = repr(ReleaseTable(told))
    assert "Bounds chosen" not in repr(ReleaseTable(replace(ONE_KEY, bounds={"form": "unheard of", "rows": None})))
    assert "held back." in text and "Choosing cost ρ 0.0002." in text
    assert "n: 2% are cut.\nother: 2% are cut.\n" in text  # there is no figure `other`
    assert "Bounds chosen: by rows in all, rows 1,200, values (pages 0 … 40)." in text


def test_bounds_that_were_found_say_what_that_cost_and_what_was_found() -> None:
    found = {"found_at_rho": "0.0004", "units_found": 42000, "at_most": {"n": {"50%": "4", "90%": "16"}}}
    text = repr(ReleaseTable(replace(ONE_KEY, bounds={"form": "norm", **found})))
    assert "Bounds chosen: by length over the groups.\n" in text
    assert "Bounds were found from the data of about 42,000 units, for ρ 0.0004 of the price." in text
    assert "n: of them 50% at most 4, 90% at most 16." in text


def test_what_bounding_leaves_out_is_told_once_for_the_figures_that_it_holds_for() -> None:
    sentences = ("Rows without a customer are left out.", "n: at most 7 rows.", "pages: at most 7 rows.")
    text = repr(ReleaseTable(replace(RELEASE, bounding=sentences)))
    assert "counts:\n· Rows without a customer are left out.\n· n, pages: at most 7 rows." in text
    difference = ReleaseTable(replace(RELEASE, bounding=sentences)).difference({"device": "phone"}, {"device": None})
    assert "· n: at most 7 rows." in repr(difference) and "pages" not in repr(difference)
    assert "Bounding" not in repr(ReleaseTable(replace(RELEASE, bounding=())))


def test_windows_are_told_with_what_a_unit_loses_in_all_of_them() -> None:
    windows = ("2025-08-01", "2025-12-01", "2026-11-01")
    text = repr(ReleaseTable(replace(ONE_KEY, windows=windows), lost={"customer-year 2026": "0.01"}))
    assert "3 windows read: 2025-08-01 … 2026-11-01." in text
    assert "ρ 0.018 (3² · ρ), and ρ 0.008 within any one year" in text  # two of them begin within one year
    near = repr(ReleaseTable(replace(ONE_KEY, windows=("2026-10-01", "2026-11-01"))))
    assert "A unit that is in all 2: ρ 0.008 (2² · ρ), within one year." in near
    assert "One unit has lost so far: customer-year 2026 ρ 0.01." in text
    single = repr(ReleaseTable(replace(ONE_KEY, windows=windows[:1])))
    assert "1 window read: 2025-08-01." in single and "in all" not in single


def test_losses_are_short_and_never_look_smaller_than_they_are() -> None:
    made = ReleaseTable(replace(ONE_KEY, rho="0.000516590493"), remaining={"account": "0.360064139716"})
    assert "ρ 0.0005166 charged" in repr(made) and "Left: ρ account 0.36." in repr(made)
    assert "ρ 0.0000122" in repr(ReleaseTable(replace(ONE_KEY, rho="0.0000121901")))


def test_a_repeat_says_that_it_was_free_and_a_threshold_what_it_cost_besides() -> None:
    assert "from the record: not charged" in repr(ReleaseTable(RELEASE, charged=False))
    assert "and δ 2·10⁻⁸ for groups" in repr(ReleaseTable(replace(RELEASE, delta="0.00000002")))


# --- nothing unescaped


HOSTILE = '<script>alert("x")</script>'
PLAN = StatisticsPlan(
    "0.0005", "0.0045", "0.0000001", "0.12", "0.000001",
    (FigurePlan("n", "count", 81.2), FigurePlan("m", "mean", None)), 4, ("2026-10-01",), (HOSTILE,), 123, 1880,
)  # fmt: skip


@pytest.mark.parametrize(
    "shown",
    [
        ReleaseTable(replace(ONE_KEY, rows=((HOSTILE, 1), ("b", 2)))),
        ReleaseTable(replace(ONE_KEY, columns=(ReleaseColumn(HOSTILE, "key", "string"), ONE_KEY.columns[1]))),
        ReleaseTable(replace(ONE_KEY, bounding=(HOSTILE,))),
        ReleaseTable(replace(ONE_KEY, notes=(HOSTILE,))),
        ReleaseTable(replace(ONE_KEY, bounds={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]})),
        ReleaseTable(replace(ONE_KEY, rho=HOSTILE, epsilon=HOSTILE, delta=HOSTILE)),
        ReleaseTable(replace(ONE_KEY, bounding=(HOSTILE,))).footnote,
        ReleaseTable(replace(ONE_KEY, snapshot=HOSTILE, isolation=HOSTILE), remaining={HOSTILE: HOSTILE}),
        ReleaseTable(ONE_KEY, lost={HOSTILE: HOSTILE}, recorded=HOSTILE),
        ReleaseTable(replace(MEANS, rows=(("a", 1.0, 2.0, HOSTILE), ("b", 1.0, 2.0, None)))),
        ReleaseTable(replace(ONE_KEY, rows=((HOSTILE, 100), ("b", 200)))).difference(HOSTILE, "b"),
        ReleaseTable(replace(ONE_KEY, columns=(key("d"), figure(HOSTILE)))).rollup(),
        ReleaseList((ReleaseTable(replace(ONE_KEY, sql=HOSTILE), recorded="2026-11-01T10:00:00+00:00"),)),
        PlanTable(PLAN),
        DatasetList((Dataset(HOSTILE, HOSTILE, (HOSTILE,), ({"name": HOSTILE, "type": HOSTILE},), HOSTILE, HOSTILE),)),
        BudgetTable(Budget(HOSTILE, HOSTILE, (BudgetLine(HOSTILE, "2", "1", "1"),), HOSTILE, ask=HOSTILE)),
    ],
)
def test_nothing_from_the_wire_is_html(shown: Shown) -> None:
    html = shown._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert shown._repr_mimebundle_(include=None, exclude=None) == {"text/plain": repr(shown), "text/html": html}


# --- before a question, and after


def test_a_plan_says_what_it_would_cost_how_exact_and_how_often() -> None:
    text = repr(PlanTable(PLAN))
    assert "± 82" in text and "depends on the answer" in text and "with size=" in text
    for sentence in (
        "It would cost ρ 0.0005 (ε 0.12 at δ 10⁻⁶), and δ 10⁻⁷ for groups that are not declared.",
        "1 window read: 2026-10-01.",
        "The account is charged ρ 0.0045.",
        "4 groups, each answered",
        "A group is shown from about 123 units on",
        "1,880 more such questions are left.",
        "No data was read, and nothing was charged.",
    ):
        assert sentence in text
    assert PlanTable(PLAN).rho == "0.0005"
    assert PlanTable(PLAN).to_polars().rows() == [("n", "count", 81.2), ("m", "mean", None)]


def test_recorded_answers_are_found_by_place_and_by_number() -> None:
    entries = tuple(
        ReleaseTable(replace(ONE_KEY, release_id=number), charged=False, recorded="2026-11-01T10:00:00+00:00")
        for number in (9, 8)
    )
    found = ReleaseList(entries)
    assert (
        found[0] is entries[0] and found.number(8) is entries[1] and len(found[1:]) == 1 and list(found) == [*entries]
    )
    assert "2026-11-01 10:00 UTC" in repr(found) and "b0c1d2.0" in repr(found)
    assert "Snapshot b0c1d2.0, recorded 2026-11-01 10:00 UTC." in repr(found[0])
    assert found.to_polars()["release"].to_list() == [9, 8]
    with pytest.raises(Refused, match="no release of that number"):
        found.number(3)
    assert ReleaseList(()).to_polars().height == 0 and "No recorded answer" in repr(ReleaseList(()))


def test_datasets_convert_and_are_found_by_name() -> None:
    entry = Dataset(
        "sessions",
        "Visits",
        ("rows",),
        ({"name": "device", "type": "VARCHAR", "keys": 4, "pseudonym": True},),
        "2026-11-01",
    )
    datasets = DatasetList((entry,))
    assert datasets["sessions"] is entry and datasets[0] is entry and list(datasets) == [entry]
    assert datasets.to_polars().row(0, named=True)["column"] == "device"
    assert datasets.to_polars()["facts"].to_list() == ["keys 4, pseudonym"]
    assert "sessions: Visits. Ask with kai.sql. Source written 2026-11-01." in repr(datasets)
    assert '<td style="text-align:left">keys 4, pseudonym</td>' in datasets._repr_html_()
    with pytest.raises(Refused, match="its views are: sessions"):
        datasets["raw_customers"]
    assert DatasetList(()).to_polars().height == 0
    assert repr(DatasetList(())) == "This purpose has no views."


def test_a_budget_shows_what_is_left_how_many_more_questions_and_who_gives_more() -> None:
    lines = (BudgetLine("account", "2", "1.5", "0.5"), BudgetLine("window 2026-10-01", "0.1", "0", "0.1"))
    years = (YearLoss(2026, "0.018", "1.1", "0.000001"),)
    stated = Budget(
        "customers", "ad-targeting", lines, "At ρ 0.002: 50 more.", "0.002", 50, years, "sora may raise it."
    )
    budget = BudgetTable(replace(stated, others=("staff",)))
    for sentence in (
        'Another account: `kai.budget(population="staff")`.',
        "25%",
        "window 2026-10-01",
        "50 more",
        "ρ 0.018 (ε 1.1 at δ 10⁻⁶) in the windows of 2026",
        "sora",
    ):
        assert sentence in repr(budget)
    assert budget.questions_left == 50
    assert budget.to_polars().row(0) == ("account", 2.0, 1.5, 0.5)
    assert 'value="0.5"' in budget._repr_html_()
    spent = BudgetTable(Budget("customers", "ad-targeting", (BudgetLine("account", "0", "0", "0"),)))
    assert "0%" in repr(spent) and spent.questions_left is None


def test_an_isolation_level_is_always_stated() -> None:
    assert isolation_sentence(GUARD_RAILS_ONLY) == ISOLATION_SENTENCE
    assert isolation_sentence("sandboxed").startswith("Isolation: sandboxed. Kernels are confined")
    assert isolation_sentence("") == "Isolation: not stated."


def test_a_refusal_renders_as_sentences_instead_of_a_traceback() -> None:
    lines = PolicyRefused("CODE", "Not for this.", rule="clause 3", hint="ask for that")._render_traceback_()
    assert lines == ["PolicyRefused: Not for this. [CODE]", "Rule: clause 3", "What to do: ask for that"]
    assert Fault("CODE", "Broke.")._render_traceback_() == ["Fault: Broke. [CODE]"]
    assert any("a.yaml:3" in line for line in ContractFaults([ContractFault("a.yaml", 3, "bad")])._render_traceback_())
