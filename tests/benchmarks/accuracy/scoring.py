"""Errors of answers against the truth, and what they come to over a workload.

Laws: every column is scored alike. What is public improves each draw: no count and no sum of nonnegative values is
below zero, a mean lies within its range, and a figure that is withheld or missing is guessed, zero or the middle of the
range. An answer's RMSE is over draws, a question's over its cells too. A question that somebody refused is in nobody's
geometric mean against them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accuracy.contributions import Vector
from accuracy.job import Draws
from accuracy.workload import Question


@dataclass(frozen=True)
class Score:
    """How exact the answers to one question were: the squared error of each cell, by column; or why there is none."""

    question: Question
    truth: Vector
    squares: Mapping[str, Vector]
    refused: Mapping[str, str]
    times: int

    def rmse(self, column: str) -> float:
        """The root mean square error over cells and draws."""
        return math.sqrt(float(np.mean(self.squares[column])))

    def relative(self, column: str) -> float:
        """The same as a share of the mean cell."""
        return self.rmse(column) / float(np.mean(np.abs(self.truth)))

    def ratio(self, ours: str, theirs: str) -> float:
        """Our error as a multiple of theirs."""
        return self.rmse(ours) / self.rmse(theirs)

    def both(self, *columns: str) -> bool:
        """Whether all of these answered."""
        return all(column in self.squares for column in columns)

    @property
    def scatter(self) -> float:
        """How far a ratio of two equal errors is expected to be from 1: a root of n squares is known to 1/√2n."""
        return math.sqrt(1 / (self.times * len(self.truth)))


def scored(question: Question, truth: Vector, answers: Mapping[str, Draws | str]) -> Score:
    """The score of a question."""
    given = {column: draws for column, draws in answers.items() if not isinstance(draws, str)}
    squares = {column: _squares(question, truth, draws) for column, draws in given.items()}
    refused = {column: said for column, said in answers.items() if isinstance(said, str)}
    return Score(question, truth, squares, refused, min((len(draws) for draws in given.values()), default=0))


def geometric_mean(ratios: Sequence[float]) -> float:
    """The geometric mean; NaN of none."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def over_questions(scores: Sequence[Score], ours: str, theirs: str) -> float:
    """The geometric mean, over questions, of our error in multiples of theirs."""
    return geometric_mean([score.ratio(ours, theirs) for score in scores if score.both(ours, theirs)])


def over_answers(scores: Sequence[Score], ours: str, theirs: str) -> float:
    """The same over answers: every cell of every question counts as one."""
    squares = [(score.squares[ours], score.squares[theirs]) for score in scores if score.both(ours, theirs)]
    return geometric_mean([math.sqrt(a / b) for one, two in squares for a, b in zip(one, two, strict=True)])


def _squares(question: Question, truth: Vector, draws: Draws) -> Vector:
    """The mean squared error of each cell over draws; no less than a billionth of the range, for a logarithm's sake."""
    low, high = float(question.values.lower), float(question.values.upper)
    if question.aggregate == "mean":
        seen = np.clip(np.nan_to_num(np.array(draws), nan=(low + high) / 2), low, high)
    else:
        seen = np.nan_to_num(np.array(draws), nan=0.0)
        seen = np.maximum(seen, 0.0) if low >= 0 else seen
    return np.maximum(np.mean((seen - truth) ** 2, axis=0), ((high - low) * 1e-9) ** 2)
