"""How long the texts are that a question makes of each row: bounded beforehand, as far as the statement decides it.

Law: one unit's rows must not be able to exhaust memory, or a failure would tell whether they are there. How long stored
texts are is the builder's; by how much a statement lengthens them is bounded here, from its own text alone.
"""

from __future__ import annotations

from kaianalytics.privacy.expression import Call, ColumnOf, Expression, Literal
from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.refusals import unsupported

MAX_KEPT = 4_000  # letters of all keys of a row, which are kept while units are bounded
MAX_MADE = 50_000  # letters of all texts that are made on the way

_STORED = 64  # letters that a stored text is taken to have: only how often it is repeated matters
_WRITTEN = 32  # of a number or a date
_ONE_OF = frozenset({"coalesce", "nullif", "least", "greatest"})


def check_lengths(query: StatisticsQuery) -> None:
    """Refuses a question that makes too much text of each row, TEXT_TOO_LONG."""
    keys = [_sizes(key.expression) for key in query.keys]
    others = [part for m in query.measures for part in (m.expression, m.where)]
    others += [query.where, *(join.where for join in query.source.joins)]
    made = sum(size for _, size in keys) + sum(_sizes(part)[1] for part in others if part is not None)
    if sum(letters for letters, _ in keys) > MAX_KEPT or made > MAX_MADE:
        raise unsupported("TEXT_TOO_LONG", limit=f"{MAX_KEPT:,}")


def _sizes(expression: Expression) -> tuple[int, int]:
    """About how many letters the value has at most, none if it is no text; and how many are made on the way to it."""
    if isinstance(expression, Literal):
        return (len(expression.value) if isinstance(expression.value, str) else 0), 0
    if isinstance(expression, ColumnOf):
        return (_STORED if expression.type == "string" else 0), 0
    parts = [_sizes(argument) for argument in expression.arguments]
    letters = _letters(expression, [letters for letters, _ in parts]) if expression.type == "string" else 0
    return letters, letters + sum(made for _, made in parts)


def _letters(text: Call, parts: list[int]) -> int:
    if text.operation == "to_text":
        return max(_WRITTEN, *parts)
    if text.operation == "case":
        return max(*parts[1:-1:2], parts[-1])
    return max(parts) if text.operation in _ONE_OF else sum(parts)
