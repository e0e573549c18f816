"""What a question would cost and how exact its answer would be, before anything is read or spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from kaianalytics.client.bounded import bounding_lines
from kaianalytics.client.digits import loss_text, margin_text
from kaianalytics.client.losses import loss_sentence, windows_sentences
from kaianalytics.client.shown import Shown
from kaianalytics.client.tables import Column, html_caption, html_columns, text_columns
from kaianalytics.protocol import FigurePlan, StatisticsPlan

_UNTOLD = "depends on the answer"


@dataclass(frozen=True, repr=False)
class PlanTable(Shown):
    """A question's price and its error bars; `plan.rho` is what `kai.stats(…, rho=…)` would be asked with."""

    plan: StatisticsPlan

    @property
    def rho(self) -> str:
        """The price, as `kai.stats` takes it."""
        return self.plan.rho

    def to_polars(self) -> pl.DataFrame:
        """One row per figure: figure, role, half_width (at 95%)."""
        rows = [(figure.name, figure.role, figure.half_width) for figure in self.plan.figures]
        schema = {"figure": pl.String, "role": pl.String, "half_width": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    @property
    def caption(self) -> tuple[str, ...]:
        """The price, what it is charged to, what bounding leaves out, and how many more such questions there are."""
        return tuple(_sentences(self.plan))

    def _columns(self) -> Sequence[Column]:
        figures = self.plan.figures
        return [
            Column("figure", [figure.name for figure in figures]),
            Column("role", [figure.role for figure in figures]),
            Column("±, 95%", [_width(figure) for figure in figures], right=True),
        ]

    def _text(self) -> str:
        return "\n".join([*text_columns(self._columns()), "", *self.caption])

    def _html(self) -> str:
        return f'<div class="kai-plan">{html_columns(self._columns())}{html_caption(self.caption)}</div>'


def _width(figure: FigurePlan) -> str:
    if figure.role == "top":
        return "none, a value by rank"
    return _UNTOLD if figure.half_width is None else f"± {margin_text(figure.half_width)}"


def _sentences(plan: StatisticsPlan) -> Iterator[str]:
    yield f"It would cost {loss_sentence(plan.rho, plan.epsilon, plan.epsilon_delta, plan.delta)}."
    yield from windows_sentences(plan.windows, plan.rho)
    if loss_text(plan.account_rho) != loss_text(plan.rho):
        yield f"The account is charged ρ {loss_text(plan.account_rho)}."
    if plan.cells is not None:
        yield f"{plan.cells:,} {'group' if plan.cells == 1 else 'groups'}, each answered, empty ones too."
    if plan.threshold is not None:
        yield f"A group is shown from about {plan.threshold:,} units on; smaller ones are held back."
    if any(figure.half_width is None and figure.role != "top" for figure in plan.figures):
        yield f"“{_UNTOLD}”: with size=…, the number of rows that a mean or quantile rests on, it can be told."
    yield from bounding_lines(plan.bounding, [figure.name for figure in plan.figures])
    yield f"{plan.questions_left:,} more such questions are left."
    yield "No data was read, and nothing was charged."
