"""The functions, operators, types and collations an analyst's statement may use, as the walk asks for them.

What is admitted, and why, is decided in `reviewed.toml`, family by family; here stands only where a name may be
written. The rule is an allow-list: a name that is admitted nowhere is refused, whatever DuckDB thinks of it.
"""

from __future__ import annotations

import string

from kaianalytics.gateway.guard.reviewed import Decision, reviewed

_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_CALLED = ("scalar", "macro", "aggregate")  # the kinds that stand in an expression, without OVER
_ELSEWHERE = "the admitted functions are listed in docs/reference/guard.md; anything else can be done in Polars"


def fold(name: str) -> str:
    """A name as DuckDB compares it: A–Z in lower case, every other letter as it is."""
    return name.translate(_FOLD)


def _folded(names: frozenset[str]) -> frozenset[str]:
    return frozenset(map(fold, names))


_REVIEWED = reviewed()
_YES = (Decision.ADMITTED, Decision.OPERATORS)

OPERATORS = _folded(_REVIEWED.names(Decision.OPERATORS))
FUNCTIONS = _folded(_REVIEWED.names(*_YES, kinds=_CALLED)) | {"unnest"}  # listed as a table function alone
WINDOW_CALLS = _folded(_REVIEWED.names(Decision.ADMITTED, kinds=("aggregate", "window"))) | {
    "geomean"
}  # a macro of one
TABLE_CALLS = _folded(_REVIEWED.names(Decision.ADMITTED, kinds=("table",)))
STATISTICS_FUNCTIONS = _folded(_REVIEWED.names(Decision.STATISTICS))
NEEDS_OVER = _folded(_REVIEWED.names(Decision.ADMITTED, kinds=("window",))) - FUNCTIONS
TYPES = _folded(
    frozenset().union(*(family.names for family in _REVIEWED.types if family.decision is Decision.ADMITTED))
)
COLLATIONS = _folded(_REVIEWED.collations)

# Names that DuckDB resolves to a function although they are written like a column.
COLUMNS_THAT_ARE_CALLS = frozenset(
    {
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtime",
        "localtimestamp",
        "session_user",
        "user",
    }
)


def why_refused(name: str) -> str:
    """What to do instead of a function that is not admitted."""
    if name in NEEDS_OVER:
        return f"a window function is written with OVER: `{name}(…) OVER (ORDER BY …)`"
    families = (family for family in _REVIEWED.families if name in _folded(family.all_names) and family.instead)
    return next((family.instead for family in families), _ELSEWHERE)
