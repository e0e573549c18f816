"""An analyst's own figures: a value with its ± in as many digits as it has, and nothing unescaped."""

from __future__ import annotations

import polars as pl
import pytest

import kaianalytics
from kaianalytics.errors import Refused

FRAME = pl.DataFrame(
    {"arm": ["treatment", None], "rate": [8.0249, 5.613], "rate_pm": [0.721, 0.6001], "people": [11989, -3]}
)


def test_a_figure_and_its_margin_are_one_column() -> None:
    text = repr(kaianalytics.table(FRAME))
    assert "rate_pm" not in text
    assert "8.02 ± 0.73" in text and "5.61 ± 0.61" in text
    assert "11,989" in text and "not given" in text


def test_titles_choose_and_head_the_columns() -> None:
    html = kaianalytics.table(FRAME, arm="arm", rate="conversion, %")._repr_html_()
    assert '<th style="text-align:right;white-space:nowrap">conversion, %</th>' in html
    assert "11,989" not in html


def test_a_column_that_is_absent_is_named() -> None:
    with pytest.raises(Refused, match="no column rates") as refused:
        kaianalytics.table(FRAME, rates="rates")
    assert refused.value.hint == "its columns are: arm, rate, rate_pm, people"


def test_nothing_of_a_frame_is_html() -> None:
    hostile = pl.DataFrame({"<b>": ["<script>"]})
    assert "<script>" not in kaianalytics.table(hostile)._repr_html_()
    assert "<b>" not in kaianalytics.table(hostile)._repr_html_()


@pytest.mark.parametrize(
    ("value", "half_width", "text"),
    [
        (6.24, 1.13, "6.2 ± 1.2"),
        (2.41, 0.984, "2.41 ± 0.99"),
        (54584, 175.2, "54,584 ± 176"),
        (10.64, 1.1, "10.6 ± 1.1"),  # 1.1 * 10 is a hair above 11 in binary
        (8.7749, 0.087, "8.775 ± 0.087"),
        (-3.0, 45, "-3 ± 45"),
        (5, 0, "5 ± 0"),
        (float("nan"), 1.0, "–"),
        (1.0, float("inf"), "–"),
    ],
)
def test_the_margin_has_two_digits_and_is_rounded_up(value: float, half_width: float, text: str) -> None:
    assert kaianalytics.plus_minus(value, half_width) == text.replace(" ", "\N{NO-BREAK SPACE}")


def test_a_frame_without_rows_is_a_table_of_titles() -> None:
    assert "rate" in repr(kaianalytics.table(FRAME.clear()))
