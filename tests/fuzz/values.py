"""Expressions by chance: typed mostly as DuckDB wants them, and now and then not.

A kind stands for a family of types. What gives a kind are columns in scope, literals, templates of syntax, and every
function that the guard admits, with the parameters that the pinned DuckDB's own catalogue names. So a function that is
admitted one day is fuzzed from that day on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from random import Random

import duckdb

from kaianalytics.gateway.guard.allowed import FUNCTIONS, TYPES

KINDS = ("whole", "number", "text", "truth", "day", "time", "span", "list", "map", "struct")
WRONG_SHARE, WRONG_KIND = 0.12, 0.1  # statements that have arguments of another kind than asked for; how many of them
COMMON = ("whole", "number", "text", "truth", "day", "time")

_LITERALS: Mapping[str, Sequence[str]] = {
    "whole": [
        "0", "1", "-1", "2", "3", "5", "7", "10", "12", "255", "1_000", "0x1f", "-128", "9223372036854775807", "NULL",
    ],
    "number": [
        "0.5", "1.5", "-2.25", "1e3", "0.1", "100.0", "1e308", "NULL", "'nan'::DOUBLE", "'-inf'::FLOAT",
        "2.50::DECIMAL(9, 2)",
    ],
    "text": [
        "'phone'", "'a'", "''", "'%a%'", "'日本'", "'it''s'", "'2026-01-05'", "'12'", "'ﬀ'", "'😀e\u0301'",
        "'%Y-%m-%d'", "'(p.)'", "'['", "e'a\\nb'", "'kai_stops'", "'SELECT 1'", "'\u200b'", "' x '", "NULL", "'month'",
    ],
    "truth": ["true", "false", "NULL"],
    "day": ["DATE '2026-01-05'", "DATE '2024-02-29'", "DATE '1969-12-31'", "DATE '9999-12-31'", "NULL::DATE"],
    "time": [
        "TIMESTAMP '2026-01-05 12:30:00'", "TIMESTAMP '1969-12-31 23:59:59.999999'", "'2026-02-01'::TIMESTAMP",
        "TIMESTAMPTZ '2026-01-05 00:00:00+09'", "NULL::TIMESTAMP",
    ],
    "span": ["INTERVAL 1 DAY", "INTERVAL '2 hours'", "INTERVAL 3 MONTHS", "INTERVAL '-1' YEAR", "to_days(3)"],
    "list": ["[1, 2, 3]", "[]", "range(4)", "[NULL, 2]", "[3, 1, 2, 1]", "[7]", "[9223372036854775807, -1]"],
    "map": ["map {'a': 1, 'b': 2}", "map(['x', 'y'], [1, NULL])", "map {'a': -1}"],
    "struct": ["{'a': 1, 'b': 'x'}", "{'a': NULL, 'b': 'y'}", "struct_pack(a := 3, b := '')"],
}  # fmt: skip

_SAME = """
CASE WHEN {truth} THEN {same} ELSE {same} END;CASE WHEN {truth} THEN {same} WHEN {truth} THEN {same} END;
CASE {text} WHEN {text} THEN {same} ELSE {same} END;coalesce({same}, {same});ifnull({same}, {same});
nullif({same}, {same});if({truth}, {same}, {same});least({same}, {same});greatest({same}, {same}, {same});
({same});TRY({same});[{same}, {same}][1];{'k': {same}}.k;{'k': {same}}['k']
"""
_COMPARED = """
({k} = {k});({k} <> {k});({k} < {k});({k} >= {k});({k} IS DISTINCT FROM {k});({k} IS NOT DISTINCT FROM {k});
({k} IS NULL);({k} IS NOT NULL);({k} IN ({k}, {k}));({k} NOT IN ({k}, {k}));({k} BETWEEN {k} AND {k});
({k} NOT BETWEEN {k} AND {k});({k} IN {column:k});({k} NOT IN {column:k});({k} = ANY {column:k});({k} > ALL {column:k})
"""
_WRITTEN: Mapping[str, str] = {
    "whole": """({whole} + {whole});({whole} - {whole});({whole} * {whole});({whole} // {whole});({whole} % {whole});
        (- {whole});(+ {whole});({whole} & {whole});({whole} | {whole});({whole} << 2);({whole} >> 1);(~ {whole});
        (@ {whole});CAST({number} AS INTEGER);TRY_CAST({text} AS BIGINT);{whole}::SMALLINT;{whole}::HUGEINT;
        extract(year FROM {day});extract('hour' FROM {time});({day} - {day});length({text});position({text} IN {text});
        {value:whole};len({list});list_reduce([{whole}, {whole}], lambda x, y: x + y);5!;{list}[{whole}];
        list_position({list}, {whole});cardinality({map});{truth}::INTEGER;map_extract_value({map}, {text});
        reduce({list}, lambda x, y: x - y);struct_extract({struct}, 'a');struct_extract_at({struct}, 1);
        element_at({map}, 'a')[1];{struct}.a;{map}['a'];array_reduce({list}, lambda x, y: x * 2)""",
    "number": """({number} + {number});({number} - {whole});({number} * {number});({whole} / {whole});({number} ** 2);
        ({number} ^ 2);CAST({whole} AS DOUBLE);{whole}::DECIMAL(18, 3);TRY_CAST({text} AS DOUBLE);{value:number};
        round({number}, 1);{number}::FLOAT;list_sum([{number}, {number}]);list_avg({list});fdiv({whole}, 3);
        fmod({number}, 2)""",
    "text": """({text} || {text});CAST({any} AS VARCHAR);{any}::TEXT;substring({text} FROM 1 FOR 2);{text}[1];
        {text}[2:3];
        trim(BOTH 'p' FROM {text});overlay({text} PLACING 'x' FROM 2);{value:text};typeof({any});
        array_to_string({list}, ',');strftime({time}, '%Y-%m');({text} COLLATE NOCASE);upper({text});left({text}, 2);
        split_part({text}, 'o', 1);
        array_to_string([{text}, {text}], '-');struct_extract({struct}, 'b');{struct}.b;struct_keys({struct})[1];
        flatten([[{text}], [{text}]])[1];list_transform([{text}], lambda x: x || '!')[1]""",
    "truth": """({truth} AND {truth});({truth} OR {truth} OR {truth});(NOT {truth});({truth} IS TRUE);
        ({truth} IS NOT FALSE);
        ({text} LIKE '%a_');({text} NOT ILIKE 'A%');({text} LIKE {text} ESCAPE '!');({text} SIMILAR TO 'p.*');
        ({text} GLOB 'p*');({text} ~ 'p.');({text} ^@ 'p');EXISTS {query};NOT EXISTS {query};({list} && {list});
        ({list} @> {list});({whole}, {text}) = ({whole}, {text});{value:truth};CAST({text} AS BOOLEAN);
        isfinite({number});list_contains({list}, {whole});
        list_bool_and([{truth}, true]);list_bool_or([{truth}]);struct_contains(row(1, 2), {whole})""",
    "day": """({day} + 5);({day} - {whole}::INTEGER);CAST({time} AS DATE);make_date(2026, {whole}, 1);last_day({day});
        TRY_CAST({text} AS DATE);{value:day}""",
    "time": """({time} + {span});({time} - {span});({day} + {span});date_trunc({part}, {time});CAST({day} AS TIMESTAMP);
        time_bucket({span}, {time});({time} AT TIME ZONE 'Asia/Tokyo');make_timestamp(2026, 1, {whole}, 0, 0, 0.5);
        strptime({text}, '%Y-%m-%d');try_strptime({text}, '%Y');{value:time}""",
    "span": """({time} - {time});INTERVAL ({whole}) DAY;to_hours({whole});({span} + {span});({span} * 2)""",
    "list": """[{whole}, {whole}];[{text}];list_transform({list}, lambda x: x);[x + 1 FOR x IN [{whole}, 2] IF x > 1];
        list_transform([{whole}, {whole}], lambda x: {whole@x});list_filter([{whole}, 3], lambda x: {truth@x});
        list_transform([{text}], lambda x, i: i);({list} || {list});{list}[1:2];{list}[:];list_sort({list});
        string_split({text}, 'o');ARRAY {column:whole};list_distinct({list});generate_series(1, {whole} % 9);
        array(SELECT {whole});[{list}];map_values({map});regexp_split_to_array({text}, 'o');
        list_apply({list}, lambda x: x + 1);apply({list}, lambda x: -x);array_transform({list}, lambda x: x);
        filter({list}, lambda x: x > 1);array_filter({list}, lambda x: x IS NULL);flatten([{list}, {list}]);
        list_where({list}, [true, false]);list_zip({list}, {list});array_zip({list}, ['a']);
        array_append({list}, {whole});
        array_prepend({whole}, {list});map_extract({map}, 'a');map_entries({map});struct_values({struct})""",
    "map": """map {'k': {any}};map([{whole}], [{any}]);map_concat({map}, {map});map_from_entries([('k', {whole})]);
        map_concat({map}, {'z': 1}::MAP(VARCHAR, INTEGER))""",
    "struct": """{'a': {whole}, 'b': {text}};row({any}, {any});struct_insert({'a': 1}, b := {any});({whole}, {text});
        struct_concat({'a': {whole}}, {'c': 1});struct_insert({struct}, c := 1)""",
}  # fmt: skip
_SUMMARISED: Mapping[str, str] = {
    "whole": """count(*);count({any});count(DISTINCT {any});sum({whole});min({whole});max({whole});count_if({truth});
        arg_max({whole}, {whole});sum(DISTINCT {whole});count(*) FILTER (WHERE {truth});bit_or({whole});grouping_key""",
    "number": """avg({whole});sum({number});median({number});stddev({whole});quantile_cont({number}, 0.25);
        var_pop({number});corr({number}, {whole});avg({number}) FILTER ({truth});mode({whole});skewness({number});
        percentile_cont(0.5) WITHIN GROUP (ORDER BY {whole});entropy({text});regr_slope({whole}, {number});
        weighted_avg({number}, {whole});wavg({whole}, {number})""",
    "text": """min({text});max({text});string_agg({text}, ',' ORDER BY {text}, {unique});
        any_value({text} ORDER BY {unique});first({text} ORDER BY {unique});mode({text});approx_top({text})""",
    "truth": """bool_and({truth});bool_or({truth});count(*) > 3;max({truth});every({truth})""",
    "day": """min({day});max({day});arg_min({day}, {unique});last({day} ORDER BY {unique})""",
    "time": """max({time});min({time});max({time} ORDER BY {unique})""",
    "span": """max({time}) - min({time})""",
    "list": """list({whole} ORDER BY {unique});array_agg(DISTINCT {text} ORDER BY {text});max({whole}, 3);
        list({any} ORDER BY {unique} DESC NULLS LAST);quantile_disc({whole}, [0.25, 0.5]);list({text})""",
    "map": """histogram({text});histogram({whole})""",
    "struct": """{'n': count(*), 'm': max({text})};max({'a': {whole}})""",
}  # fmt: skip
_ASIDE = {"grouping_key": "max(1)", "approx_top({text})": "max({text})", "every({truth})": "bool_and({truth})"}
_OVER = """
row_number() OVER ({over});rank() OVER ({over});dense_rank() OVER ({over});ntile(3) OVER ({over});
percent_rank() OVER ({over});cume_dist() OVER ({over});lag({same}) OVER ({over});lead({same}, 2, {same}) OVER ({over});
first_value({same}) OVER ({over});last_value({same}) OVER ({over} {frame});nth_value({same}, 2) OVER ({over});
sum({whole}) OVER ({over} {frame});avg({number}) OVER ({over} {frame});count(*) OVER ({over} {frame});
max({same}) OVER ({over} {frame});sum({whole}) FILTER (WHERE {truth}) OVER ({over});count(DISTINCT {text}) OVER ();
first_value({same} IGNORE NULLS) OVER ({over});list({whole} ORDER BY {unique}) OVER (PARTITION BY {text})
"""
_FRAMES = (
    "", "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
    "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING", "ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING EXCLUDE CURRENT ROW",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES",
)  # fmt: skip
_PARTS = [
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "dow",
    "isodow",
    "doy",
    "hour",
    "minute",
    "second",
    "epoch",
    "decade",
    "century",
]
_PART_FIRST = frozenset(
    ["date_part", "datepart", "date_trunc", "datetrunc", "date_diff", "datediff", "date_sub", "datesub"]
)
_FORMATS = frozenset(
    ["strftime", "strptime", "try_strptime", "quantile", "quantile_cont", "quantile_disc", "approx_quantile"]
)
_GROWING = frozenset(["lpad", "rpad", "range", "generate_series", "factorial", "gamma", "lgamma", "<<", "pow", "power"])
_KIND_OF = (
    (r".*\[\d*\]$", "list"), (r"MAP.*", "map"), (r"STRUCT.*", "struct"), (r"VARCHAR|JSON", "text"),
    (r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?", "whole"), (r"DOUBLE|FLOAT|DECIMAL.*", "number"), (r"BOOLEAN", "truth"),
    (r"DATE", "day"), (r"TIMESTAMP.*", "time"), (r"INTERVAL", "span"),
)  # fmt: skip


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


@dataclass(frozen=True)
class Function:
    """An admitted function, and kinds of arguments that it takes."""

    name: str
    parameters: tuple[str, ...]
    ordered: bool = False  # whether it is an aggregate that takes ORDER BY


@cache
def functions() -> Mapping[str, tuple[Function, ...]]:
    """The admitted scalar functions by the kind that they give: tried on the engine, so that they mostly fit."""
    return _tried("scalar", "SELECT {call} AS x FROM (SELECT 1) AS t WHERE ({call}) IS NULL OR true")


@cache
def aggregates() -> Mapping[str, tuple[Function, ...]]:
    """The admitted aggregates by the kind that they give."""
    return _tried("aggregate", "SELECT {call} AS x FROM (SELECT 1) AS t")


@cache
def refused_calls() -> tuple[str, ...]:
    """Every function that the engine has and the guard does not admit."""
    with duckdb.connect() as plain:
        named = {name for (name,) in plain.execute("SELECT function_name FROM duckdb_functions()").fetchall()}
    return tuple(sorted(name for name in named - FUNCTIONS if name.isidentifier()))


def _tried(of: str, statement: str) -> Mapping[str, tuple[Function, ...]]:
    """Each admitted function of the catalogue with kinds of arguments that it takes, under the kind that it gives."""
    found: dict[str, dict[Function, None]] = {kind: {} for kind in KINDS}
    chance = Random(of)
    with duckdb.connect() as plain:
        for name, parameters in _overloads(plain, of):
            for _ in range(1 + 3 * parameters.count("any")):
                kinds = tuple(chance.choice(KINDS) if one == "any" else one for one in parameters)
                arguments = ", ".join(_first_literal(kind, name, place) for place, kind in enumerate(kinds))
                if given := _kind_given(plain, statement.replace("{call}", f"{name}({arguments})")):
                    order = f"{name}({arguments} ORDER BY 1)"
                    ordered = bool(arguments) and bool(_kind_given(plain, statement.replace("{call}", order)))
                    found[given][Function(name, kinds, ordered)] = None
    return {kind: tuple(made) for kind, made in found.items()}


def _overloads(plain: duckdb.DuckDBPyConnection, of: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    listed = plain.execute(
        "SELECT DISTINCT function_name, function_type, parameters, parameter_types FROM duckdb_functions() "
        "WHERE function_type IN (?, 'macro') ORDER BY ALL",
        [of],
    ).fetchall()
    for name, kind, parameters, types in listed:
        if name in FUNCTIONS and name.isidentifier() and not any("LAMBDA" in str(one) for one in types):
            macro = kind == "macro"  # it names no types: a list is called l
            yield (
                name,
                tuple(
                    "list" if macro and p == "l" else _kind_of(str(t)) for p, t in zip(parameters, types, strict=True)
                ),
            )


def _first_literal(kind: str, name: str, place: int) -> str:
    return "'day'" if place == 0 and name in _PART_FIRST else _LITERALS[kind][0]


def _kind_given(plain: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The kind of a statement's column; '' where the engine does not bind it, or the kind is none of ours."""
    try:
        ((_, kind, *_),) = plain.execute(f"DESCRIBE {sql}").fetchall()
    except (duckdb.Error, ValueError):
        return ""
    return next((ours for ours in (_kind_of(str(kind)),) if ours in KINDS), "")


def _kind_of(name: str) -> str:
    return next((kind for pattern, kind in _KIND_OF if re.fullmatch(pattern, name)), "any")


@dataclass(frozen=True)
class Column:
    """A column in scope, as it may be written, and its kind; `unique` ones tell rows apart."""

    written: str
    kind: str
    unique: bool = False


class Values:
    """Expressions over the columns in scope; subqueries come from `queries`, which knows how to make them."""

    def __init__(self, chance: Random, queries: Callable[[str, int], str], wild: Callable[[str], str]) -> None:
        self.chance = chance
        self.scope: list[Column] = []
        self.wrong = 0.0
        self._queries = queries
        self._wild = wild

    @contextmanager
    def within(self, *columns: Column) -> Iterator[None]:
        """With these columns in scope beside the others."""
        self.scope += columns
        try:
            yield
        finally:
            del self.scope[len(self.scope) - len(columns) :]

    @contextmanager
    def alone(self, *columns: Column) -> Iterator[None]:
        """With these columns in scope and no others."""
        others, self.scope = self.scope, list(columns)
        try:
            yield
        finally:
            self.scope = others

    def of(self, kind: str, depth: int = 2) -> str:
        """An expression of one kind; `any` is one of the common ones."""
        if kind == "any":
            kind = self.chance.choice(COMMON)
        elif self.chance.random() < self.wrong:
            kind = self.chance.choice(KINDS)
        way = self.chance.random()
        if depth <= 0 or way < 0.3:
            return self._wild(self._leaf(kind))
        if way < 0.62:
            return self._wild(self.filled(self.chance.choice(_templates(kind)), kind, depth - 1))
        return self._wild(self._call(self.chance.choice(functions().get(kind) or functions()["text"]), depth - 1))

    def summary(self, kind: str, depth: int = 2) -> str:
        """An aggregate of one kind over expressions of the rows."""
        if kind == "any":
            kind = self.chance.choice(COMMON)
        if self.chance.random() < 0.35 and (listed := aggregates().get(kind)):
            return self._wild(self._aggregate(self.chance.choice(listed), depth - 1))
        template = self.chance.choice(_split(_SUMMARISED[kind]))
        return self._wild(self.filled(_ASIDE.get(template, template), kind, depth - 1))

    def window(self, kind: str, depth: int = 2) -> str:
        """A call with OVER."""
        return self._wild(self.filled(self.chance.choice(_split(_OVER)), kind, depth - 1))

    def type_name(self) -> str:
        """The name of an admitted type."""
        return self.chance.choice(sorted(TYPES - {"array", "list", "map", "struct", "decimal", "dec", "numeric"}))

    def filled(self, template: str, kind: str, depth: int) -> str:
        """The template with an expression in place of each name in braces."""
        return re.sub(r"\{(\w+)(?:([:@])(\w+))?\}", lambda found: self._fill(*found.groups(), kind, depth), template)

    def _fill(self, name: str, mark: str | None, of: str | None, kind: str, depth: int) -> str:
        if mark == "@":
            with self.within(Column(str(of), "whole")):
                return self.of(name, depth)
        if mark == ":":
            return f"({self._queries(kind if of == 'k' else str(of), depth)})"
        ways: Mapping[str, Callable[[], str]] = {
            "same": lambda: self.of(kind, depth),
            "k": lambda: self.of(kind, depth),
            "part": lambda: f"'{self.chance.choice(_PARTS)}'",
            "unique": self.unique,
            "over": lambda: self._over(depth),
            "frame": lambda: self.chance.choice(_FRAMES),
            "query": lambda: f"({self._queries('any', depth)})",
        }
        return ways[name]() if name in ways else self.of(name, depth)

    def unique(self) -> str:
        """Columns that tell the rows in scope apart, all of them."""
        return ", ".join(column.written for column in self.scope if column.unique) or self._leaf("text")

    def _over(self, depth: int) -> str:
        parts = f"PARTITION BY {self.of('any', depth - 1)} " if self.chance.random() < 0.5 else ""
        order = f"{self.of('any', depth - 1)}, " if self.chance.random() < 0.5 else ""
        return f"{parts}ORDER BY {order}{self.unique()}"

    def _leaf(self, kind: str) -> str:
        columns = [column.written for column in self.scope if column.kind == kind]
        if columns and self.chance.random() < 0.75:
            return self.chance.choice(columns)
        return self.chance.choice(_LITERALS[kind])

    def _call(self, function: Function, depth: int) -> str:
        arguments = [self.of(kind, depth) for kind in function.parameters]
        if function.name in _PART_FIRST and arguments:
            arguments[0] = f"'{self.chance.choice(_PARTS)}'"
        if function.name in _FORMATS and len(arguments) > 1:
            arguments[1] = "'%Y-%m-%d'"
        if function.name in _GROWING:  # the engine's limits have tests of their own: here they would only take time
            arguments = [
                f"({one}) % 7" if kind == "whole" else one
                for one, kind in zip(arguments, function.parameters, strict=True)
            ]
        if arguments and self.chance.random() < self.wrong:
            arguments.pop()
        return f"{self.cased(function.name)}({', '.join(arguments)})"

    def _aggregate(self, function: Function, depth: int) -> str:
        distinct = "DISTINCT " if self.chance.random() < 0.1 else ""
        arguments = ", ".join(self.of(kind, depth) for kind in function.parameters)
        if function.name in _FORMATS and len(function.parameters) > 1:
            arguments = f"{self.of(function.parameters[0], depth)}, {self.chance.choice(('0.5', '[0.1, 0.9]', '1'))}"
        order = f" ORDER BY {self.unique()}" if function.ordered and not distinct and self.chance.random() < 0.8 else ""
        filtered = f" FILTER (WHERE {self.of('truth', depth)})" if self.chance.random() < 0.15 else ""
        return f"{self.cased(function.name)}({distinct}{arguments}{order}){filtered}"

    def cased(self, name: str) -> str:
        """The name in another case, or in quotes, now and then."""
        way = self.chance.random()
        return name.upper() if way < 0.1 else f'"{name}"' if way < 0.13 and name.isidentifier() else name


@cache
def _templates(kind: str) -> tuple[str, ...]:
    compared = _split(_COMPARED) if kind == "truth" else ()
    named = tuple(
        re.sub(r"\{(column:)?k\}", lambda found, of=of: "{" + (found[1] or "") + of + "}", text)
        for text in compared
        for of in COMMON
    )
    return (*_split(_SAME), *_split(_WRITTEN[kind]) * 3, *named)
