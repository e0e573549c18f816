"""The corpora changed by chance: hostile and ordinary statements, cut, doubled, swapped, spliced, nested, misspelt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from random import Random

from fuzz.statements import FORBIDDEN_TABLES, FORBIDDEN_VALUES, FORBIDDEN_WHOLE, Statement
from kaianalytics.attack.corpus import hostile_statements, ordinary_selects

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\w+|\s+|[^\w\s]")
_CONFUSABLE = str.maketrans(
    {
        "a": "а",
        "e": "е",
        "o": "о",
        "k": "\u212a",
        "s": "ſ",
        "i": "ı",
        ";": "；",
        "'": "’",
        "(": "（",
        " ": "\u00a0",
        "-": "‐",
    }
)
_LITERALS = ("0", "-1", "NULL", "9223372036854775807", "1e308", "'x'", "''", "true", "'kai_stops'", "DATE '2026-01-05'",
             "[1]", "{'a': 1}", "0.1", "x'00'", "$$a$$", "e'\\u0041'")  # fmt: skip
_BLANKS = ("/**/", "/* ' */", "--\n", "\n", "\t", "\u00a0", "\ufeff", "/* /* */ */", " ")
_OUTER = (
    "SELECT * FROM ({s}) AS q", "WITH q AS ({s}) SELECT * FROM q", "SELECT ({s})", "SELECT 1 WHERE EXISTS ({s})",
    "SELECT 1 IN ({s})", "({s}) UNION ALL ({s})", "SELECT list(q) FROM ({s}) AS q", "SELECT array({s})",
    "WITH RECURSIVE q AS (({s}) UNION ({s})) FROM q", "SELECT count(*) FROM ({s}) AS q", "FROM sessions, ({s}) AS q",
    "SELECT * FROM sessions AS x, LATERAL ({s}) AS q", "SELECT * FROM ({s}) AS q ORDER BY ALL LIMIT 3", "{s} {s}",
)  # fmt: skip


@cache
def _corpora() -> tuple[tuple[str, ...], tuple[str, ...]]:
    return ordinary_selects(), tuple(one.sql.strip() for one in hostile_statements())


class Mutations:
    """Statements made from the corpora by one source of chance."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._ordinary, self._hostile = _corpora()

    def one(self) -> Statement:
        """The next statement: one of a corpus after one to three changes."""
        sql = self._seed()
        for _ in range(self._chance.choice((1, 1, 1, 1, 1, 2, 2, 3))):
            sql = self._chance.choice(_WAYS)(self, sql)
        return Statement(sql[:8000])

    def _seed(self) -> str:
        return self._chance.choice(self._ordinary if self._chance.random() < 0.92 else self._hostile)

    def _tokens(self, sql: str) -> list[str]:
        return _TOKEN.findall(sql) or [" "]

    def _place(self, tokens: Sequence[str]) -> int:
        solid = [place for place, token in enumerate(tokens) if not token.isspace()]
        return self._chance.choice(solid or [0])

    def swapped(self, sql: str) -> str:
        """Two of its words in each other's place."""
        tokens = self._tokens(sql)
        one, two = self._place(tokens), self._place(tokens)
        tokens[one], tokens[two] = tokens[two], tokens[one]
        return "".join(tokens)

    def shortened(self, sql: str) -> str:
        """Without a few words."""
        tokens = self._tokens(sql)
        place = self._place(tokens)
        del tokens[place : place + self._chance.randint(1, 4)]
        return "".join(tokens)

    def doubled(self, sql: str) -> str:
        """With a few words twice."""
        tokens = self._tokens(sql)
        place = self._place(tokens)
        end = place + self._chance.randint(1, 6)
        return "".join([*tokens[:end], " ", *tokens[place:]])

    def spliced(self, sql: str) -> str:
        """Its head before the tail of another."""
        one, two = self._tokens(sql), self._tokens(self._seed())
        return "".join([*one[: self._place(one) + 1], " ", *two[self._place(two) :]])

    def cased(self, sql: str) -> str:
        """With letters in the other case."""
        return "".join(letter.swapcase() if self._chance.random() < 0.3 else letter for letter in sql)

    def spaced(self, sql: str) -> str:
        """With a comment or a blank somewhere, also inside a word."""
        place = self._chance.randrange(len(sql) + 1)
        return sql[:place] + self._chance.choice(_BLANKS) + sql[place:]

    def confused(self, sql: str) -> str:
        """With letters that look like its own."""
        return "".join(letter.translate(_CONFUSABLE) if self._chance.random() < 0.06 else letter for letter in sql)

    def relabelled(self, sql: str) -> str:
        """With another literal in place of one, or of a word."""
        tokens = self._tokens(sql)
        known = [i for i, token in enumerate(tokens) if token[0] in "'0123456789"] or [self._place(tokens)]
        tokens[self._chance.choice(known)] = self._chance.choice(_LITERALS)
        return "".join(tokens)

    def grafted(self, sql: str) -> str:
        """With a word of another in place of one of its own."""
        tokens, others = self._tokens(sql), self._tokens(self._seed())
        tokens[self._place(tokens)] = others[self._place(others)]
        return "".join(tokens)

    def nested(self, sql: str) -> str:
        """Inside another query."""
        return self._chance.choice(_OUTER).replace("{s}", sql.rstrip("; \n"))

    def poisoned(self, sql: str) -> str:
        """With something forbidden in place of a word, or around it."""
        tokens = self._tokens(sql)
        place, way = self._place(tokens), self._chance.random()
        if way < 0.2:
            return self._chance.choice(FORBIDDEN_WHOLE).replace("{s}", sql)
        poison = self._chance.choice(FORBIDDEN_TABLES if way < 0.6 else FORBIDDEN_VALUES)
        tokens[place] = poison.replace("{v}", "sessions").replace("{e}", tokens[place])
        return "".join(tokens)


_WAYS: tuple[Callable[[Mutations, str], str], ...] = (
    Mutations.swapped, Mutations.shortened, Mutations.doubled, Mutations.spliced, Mutations.cased, Mutations.spaced,
    Mutations.confused, Mutations.relabelled, Mutations.relabelled, Mutations.grafted, Mutations.nested,
    Mutations.nested, Mutations.poisoned,
)  # fmt: skip
