"""How large a text is, and how large the tree would be that DuckDB's parser makes of it, before it parses anything.

The parser writes some things down several times: the operand of `CASE x WHEN …` once for each WHEN, one inside another,
so that five hundred letters make gigabytes; a named window at each `OVER w`; a CUBE as its grouping sets. It looks at
no limit meanwhile, and it runs in the gateway. So the text is weighed first, word by word, in one pass:

1. Bytes, control characters, words, depth of brackets.
2. What the parser would copy counts as often as it would be copied. The words are those of DuckDB's own tokenizer.
3. A text whose CASEs don't close is not weighed but refused: it can't be a statement either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kaianalytics.gateway.guard.allowed import fold
from kaianalytics.gateway.guard.engine import NotParsed, words
from kaianalytics.gateway.guard.walk import refused, too_deep

MAX_BYTES = 64 * 1024
MAX_WORDS = 8_000
MAX_BRACKETS = 60
MAX_WEIGHT = 20_000  # words, once everything is copied that the parser copies
MAX_GROUPINGS = 1_024  # grouping sets of a whole text

# What DuckDB's parser takes for a blank, and its tokenizer for a letter.
BLANKS = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u205f\u2060\u3000\ufeff"

_CONTROL = frozenset(map(chr, range(32))) - frozenset("\t\n\r") | {"\x7f"}
_AS_BLANK = str.maketrans(BLANKS, " " * len(BLANKS))
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_NAMED_AFTER = frozenset({"as", ".", "$"})  # here even a reserved word is a name
_GROUPERS = frozenset({"cube", "rollup", "sets"})


def check_text(sql: str) -> None:
    """Refuses a text that is too long, holds control characters, or whose tree would be too large or too deep."""
    try:
        size = len(sql.encode())
    except UnicodeEncodeError as error:
        raise refused("NOT_TEXT", "The statement holds a character that is no character.") from error
    if size > MAX_BYTES:
        raise refused(
            "TOO_LONG", f"The statement is longer than {MAX_BYTES // 1024} KiB.", "split it, or shorten its lists"
        )
    if control := _CONTROL.intersection(sql):
        raise refused(
            "NOT_TEXT",
            "The statement holds a control character.",
            "remove it, or retype the line",
            sql=sql,
            byte=len(sql[: min(map(sql.index, control))].encode()),
        )
    found = _words(sql)
    if len(found) > MAX_WORDS:
        raise refused("TOO_LARGE", f"The statement has more than {MAX_WORDS} words.", "split it, or shorten its lists")
    if _depth(found) > MAX_BRACKETS:
        raise too_deep()
    if weight(found) > MAX_WEIGHT:
        raise refused(
            "TOO_LARGE",
            "The statement would be many times its size once its CASE operands, windows and groupings are written out.",
            "name the operand of a CASE, or what a window or a GROUP BY needs, in a WITH clause",
        )


def _words(sql: str) -> list[str]:
    """The words of the text, folded, without comments."""
    encoded = sql.translate(_AS_BLANK).encode()
    try:
        tokens = words(encoded.decode())
    except NotParsed as error:
        raise refused("SYNTAX", "The statement can't be read as SQL.") from error
    ends = [*(place for place, _ in tokens[1:]), len(encoded)]
    return [
        fold(encoded[place:end].decode(errors="replace").strip())
        for (place, kind), end in zip(tokens, ends, strict=False)  # of no words, the end alone is left
        if kind != "comment"
    ]


def _depth(found: Sequence[str]) -> int:
    depth = deepest = 0
    for word in found:
        depth += (word in _OPENING) - (word in _CLOSING)
        deepest = max(deepest, depth)
    return deepest


@dataclass
class _Case:
    """A CASE that is still open: what its operand and the rest of it weigh, and how many WHENs it has."""

    simple: bool
    operand: int = 0
    rest: int = 0
    whens: int = 0

    def add(self, weight: int) -> None:
        """Put a weight where the text stands: into the operand until the first WHEN."""
        if self.simple and not self.whens:
            self.operand += weight
        else:
            self.rest += weight

    @property
    def weight(self) -> int:
        """What it weighs once the operand stands beside each WHEN."""
        return self.operand * max(1, self.whens) + self.rest


def weight(found: Sequence[str]) -> int:
    """How many words the text would have once the parser copied what it copies."""
    grouping = _groupings(found)
    if grouping > MAX_WEIGHT:
        return grouping
    start = next((place for place, word in enumerate(found) if word == "window" and _is_word(found, place)), None)
    window = 1 if start is None else _cases(found[start:], 1, grouping)
    return _cases(found, window, grouping)


def _cases(found: Sequence[str], window: int, grouping: int) -> int:
    """The weight of the words: `window` for each named one, `grouping` for each grouper; CASEs multiplied out."""
    open_ones = [_Case(simple=False)]
    for place, word in enumerate(found):
        after = found[place + 1] if place + 1 < len(found) else ""
        if not _is_word(found, place):
            open_ones[-1].add(1)
        elif word == "case":
            open_ones.append(_Case(simple=after != "when"))
        elif word == "end" and len(open_ones) > 1:
            closed = open_ones.pop()
            open_ones[-1].add(min(closed.weight, MAX_WEIGHT + 1))
        else:
            open_ones[-1].whens += word == "when"
            open_ones[-1].add(_weight_of(word, after, window, grouping))
    if len(open_ones) > 1:
        raise refused("SYNTAX", "A CASE of the statement has no END.", "close it with END")
    return open_ones[0].weight


def _weight_of(word: str, after: str, window: int, grouping: int) -> int:
    if word == "over" and after != "(":
        return 1 + window
    return 1 + grouping if word in _GROUPERS and after == "(" else 1


def _is_word(found: Sequence[str], place: int) -> bool:
    """Whether a keyword at this place can be one: after AS, a dot or a dollar it is a name."""
    return place == 0 or found[place - 1] not in _NAMED_AFTER


def _groupings(found: Sequence[str]) -> int:
    """The numbers that the text's grouping sets would hold: their product, times the words that they are made of."""
    sets, columns = 1, 0
    for place, word in enumerate(found):
        if word in _GROUPERS and found[place + 1 : place + 2] == ["("]:
            elements, length = _elements(found, place + 1)
            columns += length
            sets *= {"cube": 2 ** min(elements, 64), "rollup": elements + 1, "sets": elements}[word]
    if sets > MAX_GROUPINGS:
        return MAX_WEIGHT + 1
    return sets * columns if columns else 0


def _elements(found: Sequence[str], opening: int) -> tuple[int, int]:
    """How many elements stand between the bracket and its partner, and how many words."""
    depth, elements = 0, 1
    for place in range(opening, len(found)):
        word = found[place]
        depth += (word in _OPENING) - (word in _CLOSING)
        elements += depth == 1 and word == ","
        if depth == 0:
            return elements, place - opening
    return elements, len(found) - opening
