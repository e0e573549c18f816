"""Why a statement is no statistic: the reasons of reading it, each with its rule and the way on.

Laws: as in `refusals`, of whose table this is a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """What is said for one code; its parts may name facts of the statement or of the view in braces."""

    message: str
    rule: str
    hint: str


_AFTERWARDS = "what happens after the noise is free: do it in Polars on the released table"
_ONE_SELECT = "a statistic is one SELECT over views of the purpose's statistics store"
_PROVABLE = "only aggregates whose sensitivity is proved are answered, and none is guessed"
_TOTAL = "an expression is made of operations that no value in the data can make fail"
_PUBLIC_KEYS = "groups are found in public, or by a noisy threshold, and all that is selected besides has noise"
_ALONG = "joins go along the relationships that the contracts declare"
_FLAT = "a subquery only filters, projects or joins: it is put in its place"
_SHAPE = "SELECT keys, COUNT(*), SUM(column) FROM view WHERE … GROUP BY keys"

READING: Mapping[str, Reason] = {
    # the statement
    "NOT_ONE_SELECT": Reason(
        "Statistics are asked with exactly one SELECT statement.", _ONE_SELECT, f"write: {_SHAPE}"
    ),
    "SYNTAX_UNSUPPORTED": Reason("{part} is not understood in a statistic.", _ONE_SELECT, f"write: {_SHAPE}"),
    "PARAMETER_UNSUPPORTED": Reason(
        "Parameters are not understood in a statistic.", _TOTAL, "write the literal itself"
    ),
    "DISTINCT_UNSUPPORTED": Reason("SELECT DISTINCT is not part of a statistic.", _PUBLIC_KEYS, "use GROUP BY"),
    "QUALIFY_UNSUPPORTED": Reason("QUALIFY is not part of a statistic.", _AFTERWARDS, "filter the release in Polars"),
    "SAMPLE_UNSUPPORTED": Reason(
        "Sampling is not part of a statistic.", "noise, not sampling, protects the answer", "leave TABLESAMPLE out"
    ),
    "SET_OPERATION_UNSUPPORTED": Reason(
        "UNION, INTERSECT and EXCEPT are not part of a statistic.", _ONE_SELECT, "ask twice, and combine the releases"
    ),
    "GROUPING_SETS_UNSUPPORTED": Reason(
        "ROLLUP, CUBE, GROUPING SETS and GROUP BY () are not part of a statistic.",
        "each figure is charged once, in one table",
        "group by columns; `release.rollup()` sums the rows, with their errors",
    ),
    "WINDOW_UNSUPPORTED": Reason("Window functions are not part of a statistic.", _AFTERWARDS, "use .over() in Polars"),
    "STAR_UNSUPPORTED": Reason("A statistic shows keys and figures, not all columns.", _PROVABLE, f"write: {_SHAPE}"),
    # where rows come from
    "VIEW_MISSING": Reason("The statement names no view.", _ONE_SELECT, "views of this purpose: {views}"),
    "VIEW_UNKNOWN": Reason(
        "No statistics can be asked of {view}.", "only the purpose's own views can be asked", "what can be: {views}"
    ),
    "VIEW_PUBLIC": Reason(
        "The question is about nobody: {views} hold no privacy units.",
        "a statistic is charged to a population, and public tables have none",
        "read public tables with `kai.sql`, or join them to a view about units",
    ),
    "TABLE_FUNCTION_UNSUPPORTED": Reason("Table functions are not part of a statistic.", _ONE_SELECT, "name a view"),
    "VALUES_UNSUPPORTED": Reason(
        "VALUES is not part of a statistic.",
        _ONE_SELECT,
        "send the rows as a table of your own: tables={{name: frame}}",
    ),
    "TABLE_NAME_REPEATED": Reason("Two tables are called {name}.", "a name stands for one table", "use AS"),
    "TOO_MANY_RELATIONS": Reason(
        "The question joins more than {limit} tables.",
        "a question joins at most {limit} tables",
        "ask in two questions",
    ),
    "CTE_UNUSED": Reason(
        "WITH names {name}, and nothing reads it.", "whatever a statement says is read", "leave it out"
    ),
    "SUBQUERY_SHAPE": Reason(
        "{part} in a subquery is not part of a statistic.", _FLAT, "move it into the outer SELECT, or leave it out"
    ),
    "SUBQUERY_EXPRESSION": Reason(
        "Subqueries within expressions are not part of a statistic.",
        _TOTAL,
        "join the view, or filter by x IN (SELECT …) beside other conditions",
    ),
    "SUBQUERY_TOO_DEEP": Reason(
        "Subqueries or joins nest too deeply.", "they nest at most {limit} deep", "simplify it"
    ),
    # joins
    "SELF_JOIN": Reason(
        "{view} is joined to itself.",
        "a view about units stands in a question once, for else one unit's rows would meet its own",
        "ask what you need of one row, or ask twice",
    ),
    "JOIN_CROSS": Reason(
        "Nothing joins some of the tables that a comma or CROSS JOIN puts beside each other.",
        _ALONG,
        "write JOIN … ON a.key = b.key, or WHERE a.key = b.key",
    ),
    "JOIN_RIGHT": Reason("RIGHT JOIN is not part of a statistic.", _ALONG, "exchange the sides, and write LEFT JOIN"),
    "JOIN_FULL": Reason("FULL JOIN is not part of a statistic.", _ALONG, "use JOIN or LEFT JOIN"),
    "IN_UNDECLARED": Reason(
        "Nothing relates {column} to what the subquery of IN selects.",
        _ALONG,
        "select one column that is declared to be related to it, as a JOIN would name it",
    ),
    "NOT_IN_NULL": Reason(
        "{column} or what the subquery of NOT IN selects may be missing.",
        "one missing value makes NOT IN true of no row at all",
        "write ANTI JOIN … ON a.key = b.key, which leaves out the rows that meet one",
    ),
    "JOIN_NATURAL": Reason("NATURAL JOIN is not part of a statistic.", _ALONG, "name the columns: JOIN … USING (…)"),
    "JOIN_ASOF": Reason("ASOF JOIN is not part of a statistic.", _ALONG, "join on equal columns"),
    "JOIN_NOT_EQUI": Reason(
        "The join has no equality of two columns.", _ALONG, "write JOIN … ON a.key = b.key, and filter besides"
    ),
    "JOIN_UNDECLARED": Reason(
        "{columns} are not declared to be related.", _ALONG, "declared between these: {declared}"
    ),
    "JOIN_UNCONNECTED": Reason(
        "The joins can't be put in an order in which each table meets one before it.",
        _ALONG,
        "join each table to one named before it, and not to the optional side of a LEFT JOIN",
    ),
    "LEFT_JOIN_NESTED": Reason(
        "The right side of a LEFT, SEMI or ANTI JOIN, or of IN, is a join itself.", _ALONG, "join one after the other"
    ),
    "LEFT_JOIN_TO_UNITS": Reason(
        "Every view about units is on the right side of a LEFT, SEMI or ANTI JOIN, or of IN.",
        "a row without a unit is about nobody and is not counted",
        "start from {view}, or use an inner join",
    ),
    "LEFT_JOIN_EXPRESSION": Reason(
        "{column}, made within the right side of a LEFT JOIN, would have a value where nothing is joined.",
        "without a match all that the right side gives is missing",
        "select the column itself there, and compute outside",
    ),
    # columns
    "COLUMN_UNKNOWN": Reason(
        "{view} has no column {column}.", "only the views' own columns can be asked", "its columns: {columns}"
    ),
    "COLUMN_AMBIGUOUS": Reason(
        "{column} stands in several tables.", "a name stands for one column", "write its table in front: {tables}"
    ),
    "IDENTIFIER_USED": Reason(
        "{column} stands for persons or things one by one.",
        "a pseudonym may be neither filtered on, grouped by, summed nor shown; it only joins, along what is declared",
        "columns that can be asked: {columns}",
    ),
    # the select list
    "NO_AGGREGATE": Reason("The statement selects no COUNT, SUM or other figure.", _PROVABLE, f"write: {_SHAPE}"),
    "TOO_MANY_AGGREGATES": Reason(
        "A statistic has at most {limit} figures, and as many measures.",
        "the figures share one privacy loss",
        "ask in two questions",
    ),
    "NAME_REPEATED": Reason("Two columns of the answer have one name.", "a release names each column once", "use AS"),
    "COLUMN_UNGROUPED": Reason(
        "{column} is selected but not grouped by.", _PUBLIC_KEYS, "add it to GROUP BY, or write GROUP BY ALL"
    ),
    "KEY_EXPRESSION": Reason(
        "{column} is selected but is neither a figure nor what is grouped by.",
        _PUBLIC_KEYS,
        "group by the whole expression, or compute it in Polars",
    ),
    "FIGURE_TYPE": Reason(
        "{figure} is no number.", "a figure is a noisy number with its error", "filter by a condition in HAVING"
    ),
    "SEVERAL_FIGURES": Reason(
        "{function} gives no single number, and is used in an expression.",
        "what has several figures is spread over columns of its own",
        "select it by itself",
    ),
    # aggregates
    "AGGREGATE_UNSUPPORTED": Reason("{function} is not a statistic of this engine.", _PROVABLE, "{way}"),
    "AGGREGATE_MISPLACED": Reason(
        "{function} stands where one row is read.",
        "aggregates stand in SELECT, HAVING and ORDER BY, and not within each other",
        "filter by it in HAVING, and group by expressions of a row",
    ),
    "AGGREGATE_ARGUMENTS": Reason("{function} takes one argument here.", _PROVABLE, "write {function}(x)"),
    "ORDER_IN_AGGREGATE": Reason(
        "ORDER BY within an aggregate is not understood.", _PROVABLE, "leave it out: no figure depends on an order"
    ),
    "DISTINCT_AGGREGATE": Reason(
        "{function}(DISTINCT …) is not a statistic of this engine.", _PROVABLE, "leave DISTINCT out"
    ),
    "COUNT_DISTINCT": Reason(
        "Only privacy units are counted distinctly.",
        "one unit may hold any number of other distinct values",
        "COUNT(DISTINCT {unit}) of a view that no LEFT JOIN leaves empty; other values are grouped by and counted",
    ),
    "SUM_WITHOUT_BOUNDS": Reason(
        "{column} has no proved bounds.",
        "{function} is protected only between bounds that are declared, or that follow from declared ones",
        "limit it yourself: {function}(LEAST(GREATEST(x, 0), 100)); columns with bounds: {columns}",
    ),
    "QUANTILE_FRACTION": Reason(
        "A quantile takes a fraction, or a list of them, between 0 and 1.",
        "the least and the greatest value are single rows",
        "write QUANTILE_CONT(x, 0.5) or QUANTILE_CONT(x, [0.25, 0.5, 0.75])",
    ),
    "HISTOGRAM_EDGES": Reason(
        "A histogram takes a list of rising edges.",
        "bins are public: they come from the statement, at most {limit} of them",
        "write histogram(x, [0, 10, 20, 50])",
    ),
    "TOP_SIZE": Reason(
        "approx_top_k takes a value and how many to name.", "at most {limit} are named", "write approx_top_k(x, 10)"
    ),
    "TOP_WITHOUT_DOMAIN": Reason(
        "The most frequent values can be found among declared keys only.",
        "the candidates are public, and none comes from the data",
        "columns with declared keys: {columns}; or GROUP BY, ORDER BY count(*) DESC and LIMIT",
    ),
    # keys
    "KEY_NOT_SELECTED": Reason("{column} is grouped by but not selected.", _PUBLIC_KEYS, "select it as well"),
    "GROUP_EXPRESSION": Reason(
        "GROUP BY takes expressions of a row, positions and aliases of those, or ALL.",
        _PUBLIC_KEYS,
        "group by a column or an expression of columns",
    ),
    "GROUP_CONSTANT": Reason("A constant is grouped by.", _PUBLIC_KEYS, "leave it out"),
    "GROUP_NUMBER": Reason(
        "{column} is a number with fractions, and can't be grouped by.",
        "each of its values may be that of one unit",
        "group by width_bucket({column}, low, high, buckets), or CAST(floor({column}) AS INTEGER)",
    ),
    "TOO_MANY_CELLS": Reason(
        "The keys make more than {limit} groups.",
        "a statistic answers at most {limit} groups of this width",
        "narrow the keys in WHERE, or group by fewer columns",
    ),
    "NO_CELLS": Reason(
        "No declared key passes the filter.", _PUBLIC_KEYS, "check the filter against the declared keys: {keys}"
    ),
    # expressions
    "EXPRESSION_UNSUPPORTED": Reason(
        "This expression is not understood in a statistic.",
        _TOTAL,
        "use comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, CASE, arithmetic, and functions of text and dates",
    ),
    "EXPRESSION_TYPE": Reason("{operation} does not take {types} here.", _TOTAL, "it takes {takes}"),
    "EXPRESSION_TOO_DEEP": Reason(
        "An expression is nested too deeply.", "an expression has at most {limit} levels", "simplify it"
    ),
    "EXPRESSION_TOO_LARGE": Reason(
        "An expression has too many parts.", "an expression has at most {limit} parts", "simplify it"
    ),
    "FUNCTION_UNSUPPORTED": Reason("{function} is not understood in a statistic.", _TOTAL, "{way}"),
    "IN_UNSUPPORTED": Reason("IN takes a list of literals.", _TOTAL, "write x = a OR x = b for other values"),
    "CAST_UNSUPPORTED": Reason(
        "Casts to {type} are not understood in a statistic.",
        _TOTAL,
        "cast whole numbers to DOUBLE or VARCHAR, dates and times to each other, floor(x) or ceil(x) to INTEGER",
    ),
    "INTERVAL_UNSUPPORTED": Reason(
        "This INTERVAL is not understood.", _TOTAL, "write a literal such as INTERVAL '3' MONTH or INTERVAL 7 DAYS"
    ),
    "LITERAL_UNREADABLE": Reason(
        "The literal {text} can't be read.", "a number is a finite double, a text holds no NUL", "write it plainly"
    ),
    "FILTER_TYPE": Reason(
        "{column} is of type {type}, and the statement treats it as another.", _TOTAL, "compare it with {example}"
    ),
    "FILTER_NULL": Reason(
        "A comparison with NULL never holds.", "NULL is tested, not compared", "write IS NULL or IS NOT NULL"
    ),
    # after the noise
    "AFTER_UNSUPPORTED": Reason(
        "{function} is not understood of figures.",
        _AFTERWARDS,
        "figures take + - * /, abs, sqrt, round, floor, ceil, least, greatest, coalesce, nullif, CASE and comparisons",
    ),
    "AFTER_TYPE": Reason(
        "{operation} takes {takes}.", "what is made of figures is typed beforehand", "change its parts"
    ),
    "LIMIT_UNSUPPORTED": Reason(
        "LIMIT and OFFSET take whole numbers here.", "rows are shown in the order of the answer", "write LIMIT 10"
    ),
    "ORDER_BY_CONSTANT": Reason(
        "ORDER BY takes figures, keys, their names, or positions up to {limit}.",
        "rows are ordered after the noise",
        "name what to order by",
    ),
}
