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
OURS = "ours"
KNOWING = ("hindsight", "profile")
PRIVATE = "private"
_SURE = 2  # a loss is sure where it is more than so many scatters from a tie


def column(engine: str, knows: str) -> str:
    """The name of an engine's answers with what it knows of the bounds."""
    return f"{engine}, {knows}"


COLUMNS = (*(column(engine, knows) for knows in KNOWING for engine in (*PEERS, OURS)), column(OURS, PRIVATE))
# what is held against what: like with like first, then less of ours against more of theirs
PAIRS = (
    *((column(OURS, knows), column(peer, knows)) for knows in KNOWING for peer in PEERS),
    *((column(OURS, "profile"), column(peer, "hindsight")) for peer in PEERS),
    *((column(OURS, PRIVATE), column(peer, knows)) for knows in reversed(KNOWING) for peer in PEERS),
)


@dataclass(frozen=True)
class Round:
    """All scores under one total ε, what each column was set to, and why some columns are absent."""

    epsilon: str
    scores: tuple[Score, ...]
    settings: Mapping[str, str]
    absent: Mapping[str, str]


def tables(rounds: Sequence[Round], words: str) -> list[Table]:
    """All tables of the page after the run's facts."""
    return [
        _means(rounds, words),
        *(_lost(a_round) for a_round in rounds),
        *(_every(a_round) for a_round in rounds),
        _settings(rounds),
    ]


def _means(rounds: Sequence[Round], words: str) -> Table:
    rows = [_mean_row(a_round, ours, theirs) for a_round in rounds for ours, theirs in PAIRS]
    names = ("total ε", "our column", "beside", "RMSE ratio over questions", "over answers", "smaller", "larger")
    return Table("Geometric means", words, names, rows)


def _mean_row(a_round: Round, ours: str, theirs: str) -> tuple[str, ...]:
    absent = a_round.absent.get(theirs) or a_round.absent.get(ours)
    if absent is not None:
        return (a_round.epsilon, ours, theirs, f"absent: {absent}", "", "", "")
    both = [score for score in a_round.scores if score.both(ours, theirs)]
    ratios = [score.ratio(ours, theirs) for score in both]
    means = (f"**{over_questions(both, ours, theirs):.2f}**", f"{over_answers(both, ours, theirs):.2f}")
    counts = (sum(ratio < 1 for ratio in ratios), sum(ratio > 1 for ratio in ratios))
    return (a_round.epsilon, ours, theirs, *means, *map(str, counts))


def _lost(a_round: Round) -> Table:
    """Where some peer was more exact than we."""
    losses = [
        (f"`{score.question.sql}`", ours, said)
        for score in a_round.scores
        for ours in dict.fromkeys(ours for ours, _ in PAIRS)
        if (said := _lost_to(score, ours))
    ]
    return Table(
        f"Questions that we lose, total ε = {a_round.epsilon}",
        "Every question whose RMSE is larger than a peer's, in each pairing of the table above. An error of few "
        "figures and few draws is known roughly: a ratio that equal errors would give in one case of twenty is said to "
        "be within chance.",
        ("question", "our column", "lost to, with our RMSE as a multiple"),
        losses,
    )


def _lost_to(score: Score, ours: str) -> str:
    said = []
    for theirs in (theirs for mine, theirs in PAIRS if mine == ours and score.both(ours, theirs)):
        ratio = score.ratio(ours, theirs)
        if ratio > 1:
            chance = "" if ratio > 1 + _SURE * score.scatter else " (within chance)"
            said.append(f"{theirs} {ratio:.2f} ×{chance}")
    return "; ".join(said)


def _every(a_round: Round) -> Table:
    rows = [
        (f"`{score.question.sql}`", str(len(score.truth)), *(_relative(score, name) for name in COLUMNS))
        for score in a_round.scores
    ]
    middle = [geometric_mean([s.relative(name) for s in a_round.scores if s.both(name)]) for name in COLUMNS]
    cells = sum(len(score.truth) for score in a_round.scores)
    rows.append(("geometric mean", str(cells), *(f"{mean:.1%}" for mean in middle)))
    return Table(
        f"Every question, total ε = {a_round.epsilon}",
        "RMSE over cells and draws, as a share of the mean cell of the exact answer.",
        ("question", "cells", *COLUMNS),
        rows,
    )


def _relative(score: Score, name: str) -> str:
    if score.both(name):
        return f"{score.relative(name):.1%}"
    return f"refused: {score.refused[name]}" if name in score.refused else ""


def _settings(rounds: Sequence[Round]) -> Table:
    rows = [(a_round.epsilon, *setting) for a_round in rounds for setting in a_round.settings.items()]
    return Table(
        "Settings",
        "What each was asked with. Nobody's δ is spent on keys: all keys are public and given.",
        ("total ε", "column", "setting"),
        rows,
    )
