"""The functions of SQL that an analyst may write about a row, and what to do instead of the others.

Laws: a name that stands nowhere here is refused; each builds one of the total operations of `signatures`; no function
reads a clock, a setting or chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from kaianalytics.privacy.expression import Expression, Literal
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.expressions.signatures import NUMERIC, PARTS, TEMPORAL, literal_integer, literal_text
from kaianalytics.privacy.reading.literals import folded, literal_as, met
from kaianalytics.privacy.reading.syntax import Node, kind

Arguments = tuple[Expression, ...]
Builder = Callable[[Arguments], Expression]

_SHORT_PARTS = {
    "dow": "dayofweek",
    "weekday": "dayofweek",
    "doy": "dayofyear",
    "dayofmonth": "day",
    "weekofyear": "week",
    "yr": "year",
    "y": "year",
    "mon": "month",
    "d": "day",
    "w": "week",
    "hr": "hour",
    "h": "hour",
    "min": "minute",
    "m": "minute",
    "sec": "second",
    "s": "second",
}


def _words(text: str) -> list[str]:
    return text.split()


def applied(operation: str, arguments: Arguments) -> Expression:
    """The operation on its arguments, and on constants alone its result."""
    return folded(call(operation, *arguments))


def all_of(conditions: Sequence[Expression]) -> Expression | None:
    """The condition that all of them hold; None if there is none."""
    return call("and", *conditions) if len(conditions) > 1 else next(iter(conditions), None)


def _plain(operation: str) -> Builder:
    return lambda arguments: applied(operation, arguments)


def _arithmetic(operation: str) -> Builder:
    return lambda arguments: applied(operation, tuple(map(_as_number, arguments)))


def _as_number(argument: Expression) -> Expression:
    """A bare NULL between numbers is a number that is missing."""
    bare = isinstance(argument, Literal) and argument.value is None and argument.type == "string"
    return Literal(None, "number") if bare else argument


def _meeting(operation: str) -> Builder:
    return lambda arguments: applied(operation, met(arguments))


def _negated(operation: str) -> Builder:
    return lambda arguments: applied("not", (applied(operation, arguments),))


def _choice(arguments: Arguments) -> Expression:
    return applied("case", (*arguments[:1], *met(arguments[1:])))


def _at(part: str) -> Builder:
    return lambda arguments: applied("date_part", (Literal(part, "string"), *map(_time, arguments)))


def _with_part(operation: str) -> Builder:
    """A function whose first argument names a part of a date."""

    def build(arguments: Arguments) -> Expression:
        if not arguments:
            return call(operation)
        word = (literal_text(arguments[0]) or "").lower()
        singular = word.removesuffix("s") if len(word) > 1 else word
        part = Literal(_SHORT_PARTS.get(word, _SHORT_PARTS.get(singular, singular)), "string")
        return applied(operation, (part, *map(_time, arguments[1:])))

    return build


def _time(argument: Expression) -> Expression:
    """A text in the place of a date is one."""
    if not isinstance(argument, Literal) or argument.type != "string":
        return argument
    return literal_as(argument, "date") or literal_as(argument, "timestamp") or argument


def _plus(arguments: Arguments) -> Expression:
    if len(arguments) == 1 and arguments[0].type in NUMERIC:
        return arguments[0]
    if len(arguments) == 2 and arguments[0].type == "date" and literal_integer(arguments[1]) is not None:
        return moved(arguments[0], (0, literal_integer(arguments[1]) or 0, 0))
    return _arithmetic("+")(arguments)


def _minus(arguments: Arguments) -> Expression:
    if len(arguments) == 1:
        return applied("negate", arguments)
    if len(arguments) == 2 and arguments[0].type == "date":
        if (days := literal_integer(arguments[1])) is not None:
            return moved(arguments[0], (0, -days, 0))
        if (other := _time(arguments[1])).type == "date":
            return applied("date_diff", (Literal("day", "string"), other, arguments[0]))
    return _arithmetic("-")(arguments)


def moved(value: Expression, shift: tuple[int, int, int]) -> Expression:
    """A date or a time moved by months, days and microseconds."""
    return applied("date_add", (_time(value), *(Literal(part, "integer") for part in shift)))


def _joined(arguments: Arguments) -> Expression:
    if not arguments:
        return call("||")
    return reduce(lambda one, two: applied("||", (one, two)), arguments)


FUNCTIONS: Mapping[str, Builder] = {
    "+": _plus,
    "-": _minus,
    **{name: _arithmetic(name) for name in ("*", "/", "//", "%")},
    **{name: _plain(name) for name in ("abs", "floor", "ceil", "round", "sqrt", "ln", "exp")},
    **{name: _plain(name) for name in ("lower", "upper", "trim", "length", "left", "right", "substr", "concat")},
    **{name: _plain(name) for name in ("starts_with", "ends_with", "contains", "width_bucket")},
    "@": _plain("abs"),
    "mod": _arithmetic("%"),
    "ceiling": _plain("ceil"),
    **dict.fromkeys(("power", "pow", "**", "^"), _plain("power")),
    "lcase": _plain("lower"),
    "ucase": _plain("upper"),
    **dict.fromkeys(("len", "char_length", "character_length"), _plain("length")),
    "substring": _plain("substr"),
    **dict.fromkeys(("prefix", "^@"), _plain("starts_with")),
    "suffix": _plain("ends_with"),
    "||": _joined,
    "~~": _plain("like"),
    "!~~": _negated("like"),
    "~~*": _plain("ilike"),
    "!~~*": _negated("ilike"),
    "nullif": _meeting("nullif"),
    "least": _meeting("least"),
    "greatest": _meeting("greatest"),
    "if": _choice,
    **dict.fromkeys(("date_trunc", "datetrunc"), _with_part("date_trunc")),
    **dict.fromkeys(("date_part", "datepart"), _with_part("date_part")),
    **dict.fromkeys(("date_diff", "datediff"), _with_part("date_diff")),
    **{part: _at(part) for part in PARTS},
    "dayofmonth": _at("day"),
    "weekday": _at("dayofweek"),
    "weekofyear": _at("week"),
}

_CHANCE = "an answer is the same when it is asked again: there is no chance and no clock in it; write a date out"
_PATTERNS = "match with LIKE, ILIKE, starts_with, ends_with or contains"
_HINTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("random", "uuid", "gen_random_uuid", "now", "today", "current_date", "current_timestamp"), _CHANCE
    ),
    **dict.fromkeys(("regexp_matches", "regexp_full_match", "regexp_extract", "regexp_replace", "~~~"), _PATTERNS),
    **dict.fromkeys(("like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape"), _PATTERNS),
    **dict.fromkeys(("log", "log10", "log2"), "write ln(x) divided by a number"),
    "trunc": "write floor(x)",
    "cbrt": "write power(x, 1.0/3)",
    "strftime": "group by date_trunc or year and month, and format the release",
    "monthname": "group by month(…), and name the months of the release",
    "dayname": "group by dayofweek(…), and name the days of the release",
}


# Aggregates that are answered, and for the others that DuckDB has, what to do instead.
ANSWERED = frozenset(
    _words(
        """approx_top_k avg count count_if count_star countif histogram mean median quantile quantile_cont stddev
        stddev_pop stddev_samp sum var_pop var_samp variance"""
    )
)
_EXTREMES = "the least and the greatest value are single rows: ask QUANTILE_CONT(x, 0.01) or QUANTILE_CONT(x, 0.99)"
_ROWS = "a list of rows is no statistic: count them, or ask for the most frequent with approx_top_k(x, 10)"
_OTHERS = "answered are COUNT, SUM, AVG, VARIANCE, STDDEV, MEDIAN, QUANTILE_CONT, histogram and approx_top_k"
UNANSWERED: Mapping[str, str] = {
    **dict.fromkeys(_words("min max arg_min arg_max argmin argmax min_by max_by arg_min_null arg_max_null"), _EXTREMES),
    **dict.fromkeys(_words("approx_quantile quantile_disc reservoir_quantile"), "write QUANTILE_CONT(x, 0.5)"),
    **dict.fromkeys(_words("list array_agg string_agg group_concat listagg any_value first last arbitrary"), _ROWS),
    "mode": "write approx_top_k(x, 1)",
    "mad": "write QUANTILE_CONT(x, [0.25, 0.5, 0.75])",
    "approx_count_distinct": "distinct units are counted with COUNT(DISTINCT …) of the unit's column",
    **dict.fromkeys(_words("fsum kahan_sum sumkahan"), "write SUM(x)"),
    **dict.fromkeys(_words("favg wavg weighted_avg"), "write AVG(x), or SUM(x * w) / SUM(w)"),
    "sem": "write STDDEV(x) / SQRT(COUNT(x))",
    **dict.fromkeys(_words("bool_and bool_or"), "write COUNT(*) FILTER (WHERE …)"),
    **dict.fromkeys(
        _words(
            """bit_and bit_or bit_xor corr covar_pop covar_samp entropy geomean geometric_mean kurtosis kurtosis_pop
            product regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
            skewness"""
        ),
        _OTHERS,
    ),
}


def is_aggregate(node: Node) -> bool:
    """Whether the node calls an aggregate, answered or not."""
    name = node.get("function_name") if kind(node) == "FUNCTION" else None
    return isinstance(name, str) and (name.lower() in ANSWERED or name.lower() in UNANSWERED)


def way_without(name: str) -> str:
    """What to do instead of a function that isn't understood."""
    words = sorted(name for name in FUNCTIONS if name[0].isalpha())
    return _HINTS.get(name, "functions that are understood: " + ", ".join(words))


def is_time(expression: Expression) -> bool:
    """Whether an INTERVAL may be added to it."""
    return _time(expression).type in TEMPORAL
