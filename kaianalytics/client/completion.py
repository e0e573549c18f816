"""Completion inside questions: the views, columns and words of SQL, where an analyst types a question.

That is in a `%%kai` cell, and in the text of `.stats("…")`, `.sql("…")`, `.cost("…")` and `.accuracy("…")`. What is
offered comes from `kai.datasets()`, asked once per kernel. Completion never raises and never charges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaianalytics.client.magics import FLAGS, OPTIONS
from kaianalytics.errors import KaiError
from kaianalytics.protocol import Dataset

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext

KEYWORDS = (
    "SELECT", "FROM", "WHERE", "GROUP BY", "GROUP BY ALL", "ORDER BY", "HAVING", "LIMIT", "JOIN", "LEFT JOIN", "ON",
    "USING", "WITH", "AS", "AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "IS NULL", "IS NOT NULL", "CASE", "WHEN",
    "THEN", "ELSE", "END", "FILTER (WHERE", "DESC", "ASC", "TRUE", "FALSE", "DATE", "INTERVAL",
)  # fmt: skip
FUNCTIONS = (
    "COUNT(*)", "COUNT(", "COUNT(DISTINCT", "COUNT_IF(", "SUM(", "AVG(", "VARIANCE(", "STDDEV(", "MEDIAN(",
    "QUANTILE_CONT(", "HISTOGRAM(", "APPROX_TOP_K(", "DATE_TRUNC(", "DATE_PART(", "DATE_DIFF(", "WIDTH_BUCKET(",
    "COALESCE(", "NULLIF(", "GREATEST(", "LEAST(", "ABS(", "ROUND(", "FLOOR(", "CEIL(", "SQRT(", "LN(", "EXP(",
    "POWER(", "LOWER(", "UPPER(", "TRIM(", "LENGTH(", "SUBSTR(", "CONCAT(", "STARTS_WITH(", "CONTAINS(",
    "YEAR(", "MONTH(", "DAYOFWEEK(", "HOUR(",
)  # fmt: skip
_CELL = re.compile(r"\s*%%kai\b")
_OTHER_CELL = re.compile(r"\s*%%")  # what it holds is another language's
_ASKING = re.compile(r"\.(stats|sql|cost|accuracy)\(\s*$")
_WORD = re.compile(r"[A-Za-z_]\w*$")
_QUALIFIED = re.compile(r"[A-Za-z_]\w*\.$")
_STRING = re.compile(r"[rRbBuUfF]{0,2}(\"\"\"|'''|\"|')")
_AFTER_FROM = re.compile(r"\b(from|join)\s+$|\bfrom\b[^()]*,\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where the cursor is in a question: the text before it and after it; `options` where it is the magic's line."""

    before: str
    after: str
    access: str = ""  # "rows" or "statistics"; "" where both may be asked
    options: bool = False


def place_of(code: str, cursor: int) -> Place | None:
    """The question that the cursor stands in; None where it stands in none."""
    before, after = code[:cursor], code[cursor:]
    if _CELL.match(code):
        line, newline, sql = before.partition("\n")
        access = "rows" if "--rows" in code.partition("\n")[0] else "statistics"
        return Place(sql, after, access) if newline else Place(line, after, options=True)
    opened = None if _OTHER_CELL.match(code) else _opened_string(before)
    if opened is None:
        return None
    call, start, quote = opened
    return Place(before[start:], after.partition(quote)[0], "rows" if call == "sql" else "statistics")


def offers(place: Place, datasets: Iterable[Dataset]) -> tuple[str, dict[str, str]]:
    """The fragment before the cursor, and what may stand there instead of it, each word with what it is."""
    if place.options:
        fragment = re.split(r"\s", place.before)[-1]
        words = [*(f"{name}=" for name in OPTIONS), *FLAGS]
        return fragment, {word: "option" for word in words if word.startswith(fragment)}
    found = _WORD.search(place.before)
    fragment = found[0] if found else ""
    lead = place.before[: len(place.before) - len(fragment)]
    views = [view for view in datasets if not place.access or place.access in view.access]
    offered: dict[str, str] = {}
    for word, kind in _words(lead, f"{place.before} {place.after}", views, fragment):
        if word.lower().startswith(fragment.lower()):
            offered.setdefault(word, kind)
    return fragment, offered


def _words(lead: str, text: str, views: list[Dataset], fragment: str) -> Iterator[tuple[str, str]]:
    named = [view for view in views if re.search(rf"\b{re.escape(view.name)}\b", text)] or views
    if not _AFTER_FROM.search(lead):
        yield from ((str(column["name"]), "column") for view in named for column in view.columns)
    if _QUALIFIED.search(lead):
        return
    yield from ((view.name, "view") for view in views)
    if fragment and not _AFTER_FROM.search(lead):  # a list of every word of SQL helps nobody
        yield from ((_cased(word, fragment), "function") for word in FUNCTIONS)
        yield from ((_cased(word, fragment), "keyword") for word in KEYWORDS)


def _cased(word: str, fragment: str) -> str:
    return word.lower() if fragment.islower() else word


def _opened_string(before: str) -> tuple[str, int, str] | None:
    """The call, start and quote of the literal that is still open; None where none is, or it is of another call."""
    place, call = 0, ""
    while place < len(before):
        if before[place] == "#":
            place = _end(before, "\n", place)
        elif found := _STRING.match(before, place):
            # a literal right after another continues it
            asking = _ASKING.search(before[:place])
            call = asking[1] if asking else call
            start, place = found.end(), _closed(before, found.end(), found[1])
            if place > len(before):
                return (call, start, found[1]) if call else None
        else:
            call = call if before[place].isspace() else ""
            place += 1
    return None


def _closed(text: str, place: int, quote: str) -> int:
    """The place after a literal's closing quote; beyond the end where it is not closed."""
    while place < len(text):
        if text[place] == "\\":
            place += 2
        elif text.startswith(quote, place):
            return place + len(quote)
        elif text[place] == "\n" and len(quote) == 1:
            return place  # a literal of one line ends with it, whole or not
        else:
            place += 1
    return len(text) + 1


def _end(text: str, mark: str, place: int) -> int:
    found = text.find(mark, place)
    return len(text) if found < 0 else found


def matcher(datasets: Callable[[], Iterable[Dataset]]) -> Callable[[CompletionContext], Any]:
    """The matcher that IPython's completer asks; what else it would offer is left out inside a question."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    def kai_matcher(context: CompletionContext) -> Any:
        lines = context.full_text.split("\n")
        cursor = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        place = place_of(context.full_text, cursor)
        try:
            fragment, words = offers(place, datasets()) if place else ("", {})
        except KaiError:
            fragment, words = "", {}
        completions = [SimpleCompletion(word, type=kind) for word, kind in words.items()]
        return {"completions": completions, "matched_fragment": fragment, "suppress": bool(words), "ordered": True}

    made: Callable[[CompletionContext], Any] = context_matcher(identifier="kai")(kai_matcher)
    return made
