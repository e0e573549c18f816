"""The accuracy page's tables, from scores: geometric means, what we lose, and every question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from page import Table

from accuracy.scoring import Score, geometric_mean, over_answers, over_questions

HEAD = """# Accuracy beside two peers

<!-- Written by `make bench` (tests/benchmarks/run.py). Run it again instead of editing. -->

One workload, answered under one total (ε, δ) by this engine, by SmartNoise SQL and by OpenDP's Context, each peer in an
environment of its own. Errors are against the exact answers of plain DuckDB, noise and bias of bounding together.
"""

PEERS = ("SmartNoise SQL", "OpenDP Context")
OURS = ("ours, told bounds", "ours, a profile", "ours, private bounds")
_SURE = 2  # a loss is sure where it is more than so many scatters from a tie


@dataclass(frozen=True)
class Round:
    """All scores under one total ε, what each column was set to, and which peers are absent, with the reason."""

    epsilon: str
    scores: tuple[Score, ...]
    settings: Mapping[str, str]
    absent: Mapping[str, str]


def tables(rounds: Sequence[Round], words: str) -> list[Table]:
    """All tables of the page after the run's facts."""
    return [
        _means(rounds, words),
        _settings(rounds),
        *(_lost(a_round) for a_round in rounds),
        *(_every(a_round) for a_round in rounds),
    ]


def _means(rounds: Sequence[Round], words: str) -> Table:
    rows = [row for a_round in rounds for ours in OURS for row in _mean_rows(a_round, ours)]
    return Table(
        "Geometric means",
        words,
        ("total ε", "column", "beside", "RMSE ratio over questions", "over answers", "questions", "smaller", "larger"),
        rows,
    )


def _mean_rows(a_round: Round, ours: str) -> list[tuple[str, ...]]:
    rows = []
    for peer in PEERS:
        if peer in a_round.absent:
            rows.append((a_round.epsilon, ours, peer, f"absent: {a_round.absent[peer]}", "", "", "", ""))
            continue
        both = [score for score in a_round.scores if score.both(ours, peer)]
        if not both:
            continue
        ratios = [score.ratio(ours, peer) for score in both]
        means = (f"{over_questions(both, ours, peer):.2f}", f"{over_answers(both, ours, peer):.2f}")
        counts = (len(both), sum(ratio < 1 for ratio in ratios), sum(ratio > 1 for ratio in ratios))
        rows.append((a_round.epsilon, ours, peer, *means, *map(str, counts)))
    return rows


def _settings(rounds: Sequence[Round]) -> Table:
    rows = [(a_round.epsilon, *setting) for a_round in rounds for setting in a_round.settings.items()]
    return Table(
        "Settings",
        "What each was asked with. Nobody's δ is spent on keys: all keys are public and given.",
        ("total ε", "column", "setting"),
        rows,
    )


def _lost(a_round: Round) -> Table:
    """Where some peer was more exact than one of our columns."""
    rows = []
    for score in a_round.scores:
        for ours in OURS:
            for peer in PEERS:
                if score.both(ours, peer) and score.ratio(ours, peer) > 1:
                    sure = "yes" if score.ratio(ours, peer) > 1 + _SURE * score.scatter else "within chance"
                    rows.append((f"`{score.question.sql}`", ours, peer, f"{score.ratio(ours, peer):.2f} ×", sure))
    return Table(
        f"Questions that we lose, total ε = {a_round.epsilon}",
        "Every question whose RMSE is larger than a peer's. An error of few figures and few draws is known roughly: a "
        "ratio that equal errors would give in one case of twenty is said to be within chance.",
        ("question", "column", "lost to", "our RMSE", "surely"),
        rows,
    )


def _every(a_round: Round) -> Table:
    columns = [column for column in (*PEERS, *OURS) if column not in a_round.absent]
    rows = [
        (f"`{score.question.sql}`", str(len(score.truth)), *(_relative(score, column) for column in columns))
        for score in a_round.scores
    ]
    middle = [f"{_middle(a_round.scores, column):.1%}" for column in columns]
    rows.append(("geometric mean", str(sum(len(score.truth) for score in a_round.scores)), *middle))
    return Table(
        f"Every question, total ε = {a_round.epsilon}",
        "RMSE over cells and draws, as a share of the mean cell of the exact answer.",
        ("question", "cells", *columns),
        rows,
    )


def _middle(scores: Sequence[Score], column: str) -> float:
    return geometric_mean([score.relative(column) for score in scores if score.both(column)])


def _relative(score: Score, column: str) -> str:
    if score.both(column):
        return f"{score.relative(column):.1%}"
    return f"refused: {score.refused[column]}" if column in score.refused else ""
