"""The stream of statements: the number and the seed of one are all that it takes to make it again."""

from __future__ import annotations

from random import Random

from fuzz.mutations import Mutations
from fuzz.statements import Statement, Statements
from fuzz.world import COLUMNS

GRAMMAR_SHARE = 0.65  # the others are the corpora, changed


def statement(seed: int, number: int) -> Statement:
    """The statement of that number in the stream of that seed."""
    chance = Random(f"{seed}/{number}")
    if chance.random() < GRAMMAR_SHARE:
        return Statements(chance, COLUMNS).one()
    return Mutations(chance).one()
