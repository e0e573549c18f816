"""Two cells compared, as an analyst may say it: both errors shown apart and together, and no more claimed than holds.

Laws:
1. An interval is 95% and counts privacy noise and sampling; each part alone stands beside it.
2. What the interval can't tell from nothing is called within noise; it is no evidence of equality either.
3. No comparison is called an effect: who was in which group decides that, and the figures don't know.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

import polars as pl

from kaianalytics.client import intervals
from kaianalytics.client.digits import margin_text, places, rounded
from kaianalytics.client.intervals import Estimate, Interval
from kaianalytics.client.shown import Shown
from kaianalytics.client.tables import Column, html_caption, html_columns, text_columns

if TYPE_CHECKING:
    import altair as alt

Kind = Literal["difference", "ratio"]
ERRORS = ("privacy", "sampling", "together")
_HEADS = ("privacy noise", "sampling", "together, 95%")
Z = intervals.z_of(0.95)
_NOT_AN_UPLIFT = "It is a comparison, not an uplift, unless the groups were assigned at random."


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """The difference or ratio of one figure in two cells; without `parts` there is none, for the `reason` it gives."""

    kind: Kind
    names: tuple[str, str]  # of the cells
    figure: str
    share: bool  # whether the figure is a share, shown as a percentage
    sampling: str  # the sentence that says whence the sampling is known
    bounding: tuple[str, ...] = ()  # what it leaves out of these figures, as lines
    parts: tuple[Estimate, Estimate] | None = None
    reason: str = ""

    @property
    def value(self) -> float | None:
        """The difference, or the ratio; None where there is no interval to stand around it."""
        if self.parts is None or self.interval is None:
            return None
        a, b = self.parts
        return a.value - b.value if self.kind == "difference" else a.value / b.value

    @property
    def interval(self) -> Interval | None:
        """What both errors together leave open, at 95%."""
        return self.by("together")

    @property
    def half_width(self) -> float | None:
        """The ± of a difference; None of a ratio, whose interval is lopsided."""
        return (self.interval[1] - self.interval[0]) / 2 if self.interval and self.kind == "difference" else None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes that the two are equal."""
        nothing = 0.0 if self.kind == "difference" else 1.0
        return self.interval is not None and not self.interval[0] <= nothing <= self.interval[1]

    def by(self, error: str) -> Interval | None:
        """The interval by one error alone: "privacy", "sampling", or "together"."""
        if self.parts is None:
            return None
        make = intervals.difference if self.kind == "difference" else intervals.quotient
        return make(*self.parts, error, Z)

    @property
    def sentence(self) -> str:
        """What may be said of it, in one or two sentences."""
        if self.value is None:
            return f"There is no {self.kind} to state: {self.reason or _denominator(self)}."
        if not self.clear:
            return (
                f"This {self.kind} is within noise: {_amount(self)} at 95%. That is no evidence that the two are equal."
            )
        return f"{_finding(self)}. {_NOT_AN_UPLIFT}"

    @property
    def caption(self) -> tuple[str, ...]:
        """The sentence, and what the figures do and don't count."""
        return (self.sentence, *self._counts)

    @property
    def _counts(self) -> tuple[str, ...]:
        return (self.sampling, *self.bounding)

    def chart(self) -> alt.LayerChart:
        """The figure in both cells, with error bars of privacy noise and sampling together."""
        from kaianalytics.client import chart  # Altair takes over a second to import

        return chart.draw_two(self)

    def to_polars(self) -> pl.DataFrame:
        """One row: the cells, the figure, the value, and the ends of its three intervals."""
        ends = {
            f"{error}_{end}": (found := self.by(error)) and found[place]
            for error in ERRORS
            for place, end in enumerate(("low", "high"))
        }
        facts = {"kind": self.kind, "figure": self.figure, "a": self.names[0], "b": self.names[1]}
        return pl.DataFrame([{**facts, "value": self.value, **ends}])

    def _text(self) -> str:
        table = ["", *text_columns(_table(self)), ""] if self.parts else []
        return "\n".join([self.sentence, *table, *self._counts])

    def _html(self) -> str:
        table = html_columns(_table(self)) if self.parts else ""
        said = f'<p style="max-width:50em">{escape(self.sentence)}</p>'
        return f'<div class="kai-comparison">{said}{table}{html_caption(self._counts)}</div>'


def _table(made: Comparison) -> list[Column]:
    assert made.parts is not None  # there is no table without
    heads = [*made.names, made.kind]
    values = [_number(made, part.value, part.together * Z) for part in made.parts]
    errors = [[_margin(made, getattr(part, error) * Z) for part in made.parts] for error in ERRORS]
    result = "–" if made.value is None else _result(made)
    last = [_span(made, made.by(error)) for error in ERRORS]
    return [
        Column("", heads),
        Column(made.figure, [*values, result], right=True),
        *(Column(head, [*cells, end], right=True) for head, cells, end in zip(_HEADS, errors, last, strict=True)),
    ]


def _scale(made: Comparison) -> float:
    return 100.0 if made.share else 1.0


def _number(made: Comparison, value: float, reach: float) -> str:
    scale = _scale(made)
    return rounded(value * scale, places(reach * scale)) + ("%" if made.share else "")


def _margin(made: Comparison, reach: float) -> str:
    return f"± {margin_text(reach * _scale(made))}"


def _result(made: Comparison) -> str:
    assert made.value is not None and made.interval is not None
    if made.kind == "ratio":
        return rounded(made.value, _reach_places(made.interval))
    points = " points" if made.share else ""
    return rounded(made.value * _scale(made), places((made.half_width or 0.0) * _scale(made))) + points


def _span(made: Comparison, interval: Interval | None) -> str:
    """An interval: with ± of a difference, by its ends of a ratio."""
    if interval is None:
        return "unbounded"
    if made.kind == "difference":
        return _margin(made, (interval[1] - interval[0]) / 2)
    decimals = _reach_places(made.interval or interval)
    return f"{rounded(interval[0], decimals)} … {rounded(interval[1], decimals)}"


def _reach_places(interval: Interval) -> int:
    return places((interval[1] - interval[0]) / 2)


def _amount(made: Comparison) -> str:
    if made.kind == "ratio":
        return f"{_result(made)}, anything from {_span(made, made.interval).replace(' … ', ' to ')}"
    number, _, points = _result(made).partition(" ")
    return f"{number} {_span(made, made.interval)} {points}".rstrip()


def _finding(made: Comparison) -> str:
    a, b = (f"“{name}”" for name in made.names)
    if made.kind == "ratio":
        low_high = _span(made, made.interval).replace(" … ", " to ")
        return f"{made.figure} of {a} is {_result(made)} times that of {b}, at 95% from {low_high}"
    way = "above" if (made.value or 0) > 0 else "below"
    return f"{made.figure} of {a} is {way} that of {b} by {_amount(made).removeprefix('-')}, at 95%"


def _denominator(made: Comparison) -> str:
    return f"{made.figure} of “{made.names[1]}” is not clearly different from zero, so the ratio could be anything"
