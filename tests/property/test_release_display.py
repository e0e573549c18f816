"""Whatever a release holds is shown, converted, drawn and added up, or refused by name; and nothing of it is HTML."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from support.release_kit import ADDS, release

from kaianalytics.client.release import ReleaseTable
from kaianalytics.errors import Refused
from kaianalytics.protocol import Release, ReleaseColumn

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="±"), max_size=8) | st.sampled_from(
    ["<b>", "a_pm", "\n", "{x}"]
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
FIGURES = ("count", "sum", "mean", "variance", "deviation", "quantile", "top", "ratio")
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "integer": st.integers(-(2**53), 2**53),
    "boolean": st.booleans(),
    "date": st.dates(date(1900, 1, 1), date(2200, 1, 1)).map(date.isoformat),
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "count": st.integers(-(2**62), 2**62),
    "sum": st.integers(-(2**62), 2**62) | st.decimals(-(10**17), 10**17, places=2).map(lambda d: f"{d:f}"),
    "top": TEXTS,
}
MARGINS = st.none() | st.floats(0, 1e300)


@st.composite
def releases(draw: st.DrawFn) -> Release:
    """A release of a few keys and figures, of any values that JSON can carry."""
    names = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=5, unique=True))
    keys = draw(st.integers(0, min(2, len(names) - 1)))
    kinds = [draw(st.sampled_from(sorted(KEYS))) for _ in range(keys)]
    roles = [draw(st.sampled_from(FIGURES)) for _ in names[keys:]]
    columns = [ReleaseColumn(name, "key", kind) for name, kind in zip(names, kinds, strict=False)]
    columns += [
        ReleaseColumn(name, role, "number", draw(st.booleans()), role in ADDS and draw(st.booleans()))
        for name, role in zip(names[keys:], roles, strict=True)
    ]
    cells = [KEYS[kind] for kind in kinds] + [VALUES.get(role, NUMBERS) for role in roles]
    margins = [st.none()] * keys + [st.none() if role == "top" else MARGINS for role in roles]
    count = draw(st.integers(0, 4))
    table = [[draw(st.none() | cell) for cell in cells] for _ in range(count)]
    widths = [[draw(margin) for margin in margins] for _ in range(count)]
    rests = [[draw(st.none() | st.floats(-1e9, 1e9)) for _ in names] for _ in range(count)]
    facts = {"bounding": tuple(draw(st.lists(TEXTS, max_size=3))), "notes": tuple(draw(st.lists(TEXTS, max_size=2)))}
    return release(columns, table, widths, rests, **facts)


def unless_refused(work: Any) -> Any:
    """What the work gives; None where it was refused with a way on."""
    try:
        return work()
    except Refused as refused:
        assert refused.code and refused.hint
        return None


@settings(max_examples=150, deadline=None)
@given(releases(), st.booleans())
def test_any_release_is_shown_and_converted_with_an_error_bar_on_every_figure(made: Release, clamp: bool) -> None:
    shown = ReleaseTable(made, clamp=clamp)
    html = shown._repr_html_()
    assert not re.search(r"<(?!/?(div|table|thead|tbody|tr|th|td|p|small|br)\b)", html)
    figures = [(n, column) for n, column in enumerate(made.columns) if column.role not in ("key", "top")]
    values = [row[n] for n, _ in figures for row in made.rows]
    table = repr(shown).split("± is privacy noise")[0] if figures else ""
    assert table.count("±") == sum(value is not None for value in values)
    frame = shown.to_polars(support=True)
    assert frame.height == len(made.rows)
    assert sum(kind == pl.Float64 and name.rstrip("_").endswith("_pm") for name, kind in frame.schema.items()) >= len(
        figures
    )


@settings(max_examples=60, deadline=None)
@given(releases())
def test_any_release_is_rolled_up_compared_and_drawn_or_refused_by_name(made: Release) -> None:
    table = ReleaseTable(made)
    rolled = unless_refused(lambda: table.rollup())
    if rolled is not None:
        assert "A roll-up of" in repr(rolled) and len(rolled.release.rows) == 1
    names = [column.name for column in made.columns]
    if len(made.rows) > 1:
        keys = [n for n, column in enumerate(made.columns) if column.role == "key"]
        a, b = ({names[n]: made.rows[row][n] for n in keys} for row in (0, 1))
        for kind in (table.difference, table.ratio):
            for figure in table.figures:
                compared = unless_refused(lambda kind=kind, figure=figure: kind(a, b, figure=figure.name))
                assert compared is None or repr(compared)
    for figure in table.figures:
        chart = unless_refused(lambda figure=figure: table.chart(figure.name))
        assert chart is None or chart.to_dict(validate=False)
