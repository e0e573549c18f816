"""Charts of releases: each cell with its own error bar, dates along a time axis, nothing drawn that is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.release_kit import figure, key, table

from kaianalytics.client.release import ReleaseTable
from kaianalytics.errors import Refused

ONE_KEY = table([key("device"), figure("n")], [("phone", 12034), (None, -3)], [(None, 40.2), (None, 80.0)])
WEEKS = table(
    [key("device"), key("week", "date"), figure("n"), figure("pages", "mean")],
    [("phone", "2026-10-05", 10, 3.0), ("phone", "2026-10-12", 0, None), ("tablet", None, 4, 2.0)],
    [(None, None, 2.0, 0.5), (None, None, 2.0, None), (None, None, 2.0, 0.5)],
)


def drawn(made: ReleaseTable, name: str = "") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A chart's specification and its data."""
    spec = made.chart(name).to_dict()
    return spec, next(iter(spec["datasets"].values()))


def test_a_chart_draws_the_error_bar_of_each_cell() -> None:
    spec, rows = drawn(ONE_KEY)
    assert rows[0] == {"key_1": "phone", "figure": 12034.0, "low": 12034 - 40.2, "high": 12034 + 40.2}
    assert rows[1] == {"key_1": "not given", "figure": -3.0, "low": -83.0, "high": 77.0}
    whiskers = spec["layer"][1]["encoding"]
    assert (whiskers["y"]["field"], whiskers["y2"]["field"]) == ("low", "high")
    assert spec["layer"][0]["mark"]["type"] == "bar" and spec["width"] >= 240
    assert spec["title"] == {"text": "n", "subtitle": ["± privacy noise, 95%"]}


def test_dates_go_along_a_time_axis_whatever_their_place_among_the_keys() -> None:
    spec, rows = drawn(WEEKS)
    for layer in spec["layer"]:
        assert layer["encoding"]["x"]["type"] == "temporal" and layer["encoding"]["color"]["field"] == "key_2"
    assert [row["key_2"] for row in rows] == ["phone", "phone"]  # a missing day has no place on the axis
    assert rows[1]["figure"] == 0.0 and rows[1]["low"] == -2.0


def test_a_mean_is_drawn_as_a_point_and_what_is_missing_is_said() -> None:
    means = table([key("d"), figure("m", "mean")], [("a", 2.0), ("b", None)], [(None, 0.5), (None, None)])
    spec, rows = drawn(means)
    assert [row["key_1"] for row in rows] == ["a"] and "1 of 2 groups are too few to tell" in spec["title"]["subtitle"]
    assert {layer["mark"]["type"] for layer in spec["layer"]} == {"rule", "point"}
    assert any(layer["encoding"]["y"].get("scale") == {"zero": False} for layer in spec["layer"])


def test_a_chart_over_two_keys_colours_the_second() -> None:
    made = table([key("a"), key("b"), figure("n")], [("x", "y", 1), ("x", "z", 2)], [None, None, 1.0])
    spec, _ = drawn(made)
    assert spec["layer"][0]["encoding"]["color"]["field"] == "key_2"
    assert spec["layer"][1]["encoding"]["xOffset"]["field"] == "key_2"


def test_many_names_stand_down_the_page() -> None:
    made = table([key("prefecture"), figure("n")], [(f"prefecture {n}", n) for n in range(47)], [None, 5.0])
    spec, _ = drawn(made)
    assert spec["layer"][1]["encoding"]["x2"]["field"] == "high" and spec["height"] >= 47 * 20


def test_a_chart_becomes_a_picture_without_the_network() -> None:
    bundle = ONE_KEY.chart()._repr_mimebundle_(None, None)
    content = bundle[0] if isinstance(bundle, tuple) else bundle
    assert content["image/svg+xml"].startswith("<svg")
    assert "text/html" not in content


def test_a_chart_that_can_not_be_drawn_says_what_to_do() -> None:
    with pytest.raises(Refused, match="one or two keys"):
        table([figure("n")], [(5,)], [1.0]).chart()
    with pytest.raises(Refused, match="one or two keys"):
        table([key("d"), figure("best", "top")], [("a", "news")]).chart()
    with pytest.raises(Refused, match="its figures are: n, pages"):
        WEEKS.chart("visits")


@pytest.mark.parametrize("made", [ONE_KEY, WEEKS])
def test_a_release_without_rows_is_an_empty_chart(made: ReleaseTable) -> None:
    empty = replace(made, release=replace(made.release, rows=(), margins=(), supports=()))
    assert empty.chart()._repr_mimebundle_(None, None)


def test_a_comparison_is_drawn_with_both_errors_together() -> None:
    arms = table([key("arm"), figure("n"), figure("hit", "sum")], [("a", 1000, 80), ("b", 1000, 50)], [None, 30.0, 9.0])
    made = arms.difference("a", "b", of="hit", over="n")
    assert made.parts is not None
    spec = made.chart().to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert [row["figure"] for row in rows] == pytest.approx([8.0, 5.0])
    assert rows[0]["high"] - 8.0 == pytest.approx(100 * 1.96 * made.parts[0].together, rel=1e-3)
    nothing = table([key("d"), figure("n"), figure("h")], [("a", 9, 3), ("b", 4, 2)], [None, 30.0, 9.0])
    with pytest.raises(Refused, match="n of “a” is not clearly above zero"):
        nothing.difference("a", "b", of="h", over="n").chart()


def test_a_clamped_table_is_drawn_as_it_shows() -> None:
    _, rows = drawn(ONE_KEY.clamped())
    assert rows[1]["figure"] == 0.0
