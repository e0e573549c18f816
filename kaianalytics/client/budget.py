"""What is left of each allowance, how many more questions that is, and how to ask for more."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import polars as pl

from kaianalytics.client.digits import left_text, loss_text
from kaianalytics.client.shown import Shown
from kaianalytics.client.tables import html_caption, text_table
from kaianalytics.protocol import Budget, BudgetLine, YearLoss


@dataclass(frozen=True, repr=False)
class BudgetTable(Shown):
    """What is left of each allowance, as a gauge and as figures."""

    budget: Budget

    def to_polars(self) -> pl.DataFrame:
        """One row per allowance: allowance, limit, spent, remaining; ρ as floats, for reading and plotting only."""
        rows = [(line.name, float(line.limit), float(line.spent), float(line.remaining)) for line in self.budget.lines]
        schema = {"allowance": pl.String, "limit": pl.Float64, "spent": pl.Float64, "remaining": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    @property
    def questions_left(self) -> int | None:
        """How many more questions at the budget's price the tightest allowance covers; None without a price."""
        return self.budget.questions_left

    @property
    def caption(self) -> tuple[str, ...]:
        """What the figures are, how many more questions they cover, what was lost by year, who gives more."""
        budget = self.budget
        about = f"ρ of {budget.population}, for {budget.purpose}. What is spent does not come back."
        others = tuple(f'Another account: `kai.budget(population="{name}")`.' for name in budget.others)
        told = (about, budget.note, *(_year(year, budget.population) for year in budget.years), *others, budget.ask)
        return tuple(sentence for sentence in told if sentence)

    def _text(self) -> str:
        cells = [
            [line.name, left_text(line.remaining), left_text(line.limit), _percent(line)] for line in self.budget.lines
        ]
        table = text_table(["allowance", "left", "of", ""], cells, frozenset({1, 2, 3}))
        return "\n".join([*table, "", *self.caption])

    def _html(self) -> str:
        rows = "".join(_row(line) for line in self.budget.lines)
        head = '<tr><th style="text-align:left">allowance</th><th>left</th><th>ρ</th></tr>'
        table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
        return f'<div class="kai-budget">{table}{html_caption(self.caption)}</div>'


def _row(line: BudgetLine) -> str:
    left = escape(f"{left_text(line.remaining)} of {left_text(line.limit)}")
    name = f'<td style="text-align:left">{escape(line.name)}</td>'
    return f'<tr>{name}<td>{_gauge(line)}</td><td style="text-align:right">{left}</td></tr>'


def _year(year: YearLoss, population: str) -> str:
    known_as = f" (ε {loss_text(year.epsilon)} at δ {loss_text(year.epsilon_delta)})" if year.epsilon else ""
    return f"One of the {population} has lost at most ρ {loss_text(year.rho)}{known_as} in the windows of {year.year}."


def _percent(line: BudgetLine) -> str:
    limit = float(line.limit)
    return f"{float(line.remaining) / limit:.0%}" if limit else "0%"


def _gauge(line: BudgetLine) -> str:
    return f'<meter min="0" max="{float(line.limit)}" value="{float(line.remaining)}">{_percent(line)}</meter>'
