"""What a notebook shows: error bars on every figure, the sentences under every table, nothing unescaped."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from kaianalytics.client.connection import decimal_text
from kaianalytics.client.display import BudgetTable, DatasetList, ReleaseTable, Shown, isolation_sentence
from kaianalytics.errors import ContractFault, ContractFaults, Fault, PolicyRefused, Refused
from kaianalytics.protocol import (
    GUARD_RAILS_ONLY,
    ISOLATION_SENTENCE,
    Budget,
    BudgetLine,
    Dataset,
    Release,
    ReleaseColumn,
)

RELEASE = Release(
    release_id=7,
    sql="SELECT day, device, COUNT(*) AS n, SUM(pages) AS pages FROM sessions GROUP BY day, device",
    purpose="ad-targeting",
    snapshot="b0.1",
    isolation=GUARD_RAILS_ONLY,
    columns=(
        ReleaseColumn("day", "key", "DATE"),
        ReleaseColumn("device", "key", "VARCHAR"),
        ReleaseColumn("n", "count", "BIGINT", 40.2),
        ReleaseColumn("pages", "sum", "BIGINT", 3.21),
    ),
    rows=(("2026-10-01", "phone", 12034, 77), ("2026-10-02", None, -3, 5)),
    bounding=("At most 20 rows of one customer are counted.",),
    rho="0.002",
    delta="0",
)
ONE_KEY = replace(RELEASE, columns=RELEASE.columns[1:3], rows=tuple(row[1:3] for row in RELEASE.rows))
NO_KEY = replace(RELEASE, columns=RELEASE.columns[2:3], rows=((5,),))


def test_a_frame_holds_each_figure_with_its_half_width() -> None:
    frame = ReleaseTable(RELEASE).to_polars()
    assert frame.columns == ["day", "device", "n", "n_pm", "pages", "pages_pm"]
    assert frame["day"].to_list() == [date(2026, 10, 1), date(2026, 10, 2)]
    assert frame["n"].to_list() == [12034, -3]
    assert frame["n_pm"].to_list() == [40.2, 40.2]


def test_an_error_bar_never_takes_the_name_of_another_column() -> None:
    columns = (ReleaseColumn("n_pm", "key", "VARCHAR"), ReleaseColumn("n", "count", "BIGINT", 1.0))
    frame = ReleaseTable(replace(RELEASE, columns=columns, rows=(("a", 1),))).to_polars()
    assert frame.columns == ["n_pm", "n", "n_pm_"]


def test_a_sum_that_crossed_as_text_is_a_number_in_the_frame() -> None:
    columns = (ReleaseColumn("cost", "sum", "DECIMAL(18,2)", 0.5),)
    frame = ReleaseTable(replace(RELEASE, columns=columns, rows=(("12.50",),))).to_polars()
    assert frame["cost"].to_list() == [12.5]
    assert "1,234,512.50 ± 0.5" in repr(ReleaseTable(replace(RELEASE, columns=columns, rows=(("1234512.50",),))))


def test_a_release_without_rows_keeps_its_columns() -> None:
    frame = ReleaseTable(replace(RELEASE, rows=())).to_polars()
    assert frame.columns == ["day", "device", "n", "n_pm", "pages", "pages_pm"]
    assert frame.height == 0


def test_any_library_reads_the_frame_by_arrow() -> None:
    frame = pl.DataFrame(ReleaseTable(ONE_KEY))
    assert frame["n_pm"].to_list() == [40.2, 40.2]


def test_the_text_shows_error_bars_rounded_up_and_what_it_rests_on() -> None:
    text = repr(ReleaseTable(RELEASE, remaining={"account": "1.998"}))
    assert "12,034 ± 41" in text
    assert "77 ± 3.3" in text
    assert "not given" in text
    for sentence in (
        "± is privacy noise at 95%",
        "At most 20 rows of one customer are counted.",
        "ρ 0.002 charged",
        "Left: ρ account 1.998",
        "Snapshot b0.1",
        ISOLATION_SENTENCE,
    ):
        assert sentence in text


def test_a_repeat_says_that_it_was_free() -> None:
    assert "not charged" in repr(ReleaseTable(RELEASE, charged=False))


HOSTILE = '<script>alert("x")</script>'


@pytest.mark.parametrize(
    "shown",
    [
        ReleaseTable(replace(ONE_KEY, rows=((HOSTILE, 1),))),
        ReleaseTable(replace(ONE_KEY, columns=(ReleaseColumn(HOSTILE, "key", "VARCHAR"), ONE_KEY.columns[1]))),
        ReleaseTable(replace(ONE_KEY, bounding=(HOSTILE,))),
        ReleaseTable(replace(ONE_KEY, bounding=(HOSTILE,))).footnote,
        ReleaseTable(replace(ONE_KEY, snapshot=HOSTILE, isolation=HOSTILE), remaining={HOSTILE: HOSTILE}),
        DatasetList((Dataset(HOSTILE, HOSTILE, (HOSTILE,), ({"name": HOSTILE, "type": HOSTILE},), HOSTILE, HOSTILE),)),
        BudgetTable(Budget(HOSTILE, HOSTILE, (BudgetLine(HOSTILE, "2", "1", "1"),), HOSTILE)),
    ],
)
def test_nothing_from_the_wire_is_html(shown: Shown) -> None:
    html = shown._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert shown._repr_mimebundle_(include=None, exclude=None) == {"text/plain": repr(shown), "text/html": html}


def test_a_chart_draws_the_error_bars_over_one_key() -> None:
    spec = ReleaseTable(ONE_KEY).chart().to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert rows[0] == {"key_1": "phone", "figure": 12034.0, "low": 12034 - 40.2, "high": 12034 + 40.2}
    assert rows[1]["key_1"] == "not given"
    whiskers = spec["layer"][1]["encoding"]
    assert (whiskers["y"]["field"], whiskers["y2"]["field"]) == ("low", "high")


def test_a_chart_over_two_keys_colours_the_second() -> None:
    spec = ReleaseTable(RELEASE).chart("pages").to_dict()
    assert spec["layer"][0]["encoding"]["color"]["field"] == "key_2"
    assert "pages" in spec["layer"][0]["encoding"]["y"]["title"]


def test_a_chart_becomes_a_picture_without_the_network() -> None:
    bundle = ReleaseTable(ONE_KEY).chart()._repr_mimebundle_(None, None)
    content = bundle[0] if isinstance(bundle, tuple) else bundle
    assert content["image/svg+xml"].startswith("<svg")
    assert "text/html" not in content


def test_a_chart_that_can_not_be_drawn_says_what_to_do() -> None:
    with pytest.raises(Refused, match="one or two keys"):
        ReleaseTable(NO_KEY).chart()
    with pytest.raises(Refused, match="its figures are: n, pages"):
        ReleaseTable(RELEASE).chart("visits")


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


def test_a_budget_shows_what_is_left_of_each_allowance() -> None:
    budget = BudgetTable(
        Budget("customers", "ad-targeting", (BudgetLine("account", "2", "1.5", "0.5"),), "Ends in May.")
    )
    assert "25%" in repr(budget) and "Ends in May." in repr(budget)
    assert budget.to_polars().row(0) == ("account", 2.0, 1.5, 0.5)
    assert 'value="0.5"' in budget._repr_html_()
    spent = BudgetTable(Budget("customers", "ad-targeting", (BudgetLine("account", "0", "0", "0"),)))
    assert "0%" in repr(spent)


def test_an_isolation_level_is_always_stated() -> None:
    assert isolation_sentence(GUARD_RAILS_ONLY) == ISOLATION_SENTENCE
    assert isolation_sentence("sandboxed").startswith("Isolation: sandboxed. Kernels are confined")
    assert isolation_sentence("") == "Isolation: not stated."


@pytest.mark.parametrize(
    ("given", "text"),
    [("0.002", "0.002"), (" 0.1 ", "0.1"), (Decimal("1E-3"), "0.001"), (1, "1"), (0.1, "0.1"), (1e-7, "0.0000001")],
)
def test_rho_crosses_as_a_plain_decimal(given: str | Decimal | float, text: str) -> None:
    assert decimal_text(given) == text


@pytest.mark.parametrize("given", ["", "a lot", "0", "-1", "inf", "nan", float("nan"), True, None])
def test_rho_that_is_no_loss_is_refused(given: object) -> None:
    with pytest.raises(Refused) as refused:
        decimal_text(given)  # type: ignore[arg-type]
    assert refused.value.code == "RHO_NOT_A_NUMBER"


def test_a_refusal_renders_as_sentences_instead_of_a_traceback() -> None:
    lines = PolicyRefused("CODE", "Not for this.", rule="clause 3", hint="ask for that")._render_traceback_()
    assert lines == ["PolicyRefused: Not for this. [CODE]", "Rule: clause 3", "What to do: ask for that"]
    assert Fault("CODE", "Broke.")._render_traceback_() == ["Fault: Broke. [CODE]"]
    assert any("a.yaml:3" in line for line in ContractFaults([ContractFault("a.yaml", 3, "bad")])._render_traceback_())
