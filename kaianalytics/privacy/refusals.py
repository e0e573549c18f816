"""Every reason for which the statistics engine refuses a question, as one table: each has a code, a rule and a way on.

Laws: a refusal is made from the statement, the contract and the view's public facts alone, never from data, so that it
says nothing about anyone. Codes are stable: people and notebooks match on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaianalytics.errors import QueryUnsupported

_AFTERWARDS = "what happens after the noise is free: do it in Polars on the released table"
_ONE_VIEW = "a statistic is one SELECT over one view of the purpose's statistics store"
_PROVABLE = "only COUNT(*) and SUM of a bounded column have a proved sensitivity"
_TOTAL = "a filter compares a column with literals of its own type, so that no value in the data can make it fail"
_PUBLIC_KEYS = "groups are the keys that the contract declares: all are answered, and none comes from the data"
_SHAPE = "SELECT keys, COUNT(*), SUM(column) FROM view WHERE … GROUP BY keys"


@dataclass(frozen=True)
class Reason:
    """What is said for one code; `message` may name facts of the statement or of the view in braces."""

    message: str
    rule: str
    hint: str


REASONS: Mapping[str, Reason] = {
    # the statement
    "NOT_ONE_SELECT": Reason("Statistics are asked with exactly one SELECT statement.", _ONE_VIEW, f"write: {_SHAPE}"),
    "SYNTAX_UNSUPPORTED": Reason("{part} is not understood in a statistic.", _ONE_VIEW, f"write: {_SHAPE}"),
    "PARAMETER_UNSUPPORTED": Reason(
        "Parameters are not understood in a statistic.", _TOTAL, "write the literal itself"
    ),
    "ORDER_BY_UNSUPPORTED": Reason("ORDER BY is not part of a statistic.", _AFTERWARDS, "sort the release in Polars"),
    "LIMIT_UNSUPPORTED": Reason("LIMIT and OFFSET are not part of a statistic.", _AFTERWARDS, "use .head() in Polars"),
    "DISTINCT_UNSUPPORTED": Reason("SELECT DISTINCT is not part of a statistic.", _PUBLIC_KEYS, "use GROUP BY"),
    "HAVING_UNSUPPORTED": Reason("HAVING is not part of a statistic.", _AFTERWARDS, "filter the release in Polars"),
    "QUALIFY_UNSUPPORTED": Reason("QUALIFY is not part of a statistic.", _AFTERWARDS, "filter the release in Polars"),
    "SAMPLE_UNSUPPORTED": Reason(
        "Sampling is not part of a statistic.", "noise, not sampling, protects the answer", "leave TABLESAMPLE out"
    ),
    "CTE_UNSUPPORTED": Reason(
        "WITH is not part of a statistic.", _ONE_VIEW, "ask the view itself, and join the releases"
    ),
    "SET_OPERATION_UNSUPPORTED": Reason(
        "UNION, INTERSECT and EXCEPT are not part of a statistic.", _ONE_VIEW, "ask twice, and combine the releases"
    ),
    "JOIN_UNSUPPORTED": Reason("A statistic reads one view, not a join.", _ONE_VIEW, "ask one view, join the releases"),
    "SUBQUERY_UNSUPPORTED": Reason("Subqueries are not part of a statistic.", _ONE_VIEW, "ask the view itself"),
    "TABLE_FUNCTION_UNSUPPORTED": Reason("Table functions are not part of a statistic.", _ONE_VIEW, "name a view"),
    "GROUPING_SETS_UNSUPPORTED": Reason(
        "ROLLUP, CUBE, GROUPING SETS and GROUP BY () are not part of a statistic.",
        "each figure is charged once, in one table",
        "group by columns; totals are sums of the release's rows",
    ),
    "VIEW_MISSING": Reason("The statement names no view.", _ONE_VIEW, "views of this purpose: {views}"),
    "VIEW_UNKNOWN": Reason(
        "No statistics can be asked of {view}.", "only the purpose's own views can be asked", "views that can: {views}"
    ),
    # the select list
    "NO_AGGREGATE": Reason("The statement has no COUNT(*) or SUM.", _PROVABLE, f"write: {_SHAPE}"),
    "TOO_MANY_AGGREGATES": Reason(
        "A statistic has at most {limit} figures per row.", "the figures share one privacy loss", "ask in two questions"
    ),
    "STAR_UNSUPPORTED": Reason("A statistic shows keys and figures, not all columns.", _PROVABLE, f"write: {_SHAPE}"),
    "EXPRESSION_UNSUPPORTED": Reason(
        "A statistic selects key columns, COUNT(*) and SUM(column), not expressions.",
        _AFTERWARDS,
        "select the parts, and compute the expression in Polars",
    ),
    "AGGREGATE_UNSUPPORTED": Reason(
        "{function} is not a statistic of this engine.", _PROVABLE, "means and ratios: divide SUM by COUNT(*) in Polars"
    ),
    "COUNT_OF_COLUMN": Reason(
        "COUNT counts rows here, not a column.",
        _PROVABLE,
        "write COUNT(*), with WHERE column IS NOT NULL where it matters",
    ),
    "DISTINCT_AGGREGATE": Reason(
        "COUNT(DISTINCT …) and SUM(DISTINCT …) are not statistics of this engine.",
        _PROVABLE,
        "use COUNT(*) or SUM(column)",
    ),
    "FILTER_IN_AGGREGATE": Reason(
        "FILTER inside an aggregate is not understood in a statistic.", _PROVABLE, "group by the column, or use WHERE"
    ),
    "WINDOW_UNSUPPORTED": Reason("Window functions are not part of a statistic.", _AFTERWARDS, "use .over() in Polars"),
    "SUM_OF_EXPRESSION": Reason(
        "SUM takes one column, not an expression.", "value bounds belong to columns", "have the column in the contract"
    ),
    "SUM_WITHOUT_BOUNDS": Reason(
        "{column} has no declared value bounds.",
        "a sum is protected only within the contract's minimum and maximum",
        "columns that can be summed: {columns}; for others ask the steward for bounds",
    ),
    "NAME_REPEATED": Reason("Two columns of the answer have one name.", "a release names each column once", "use AS"),
    # keys
    "COLUMN_UNKNOWN": Reason(
        "{view} has no column {column}.", "only the view's own columns can be asked", "its columns: {columns}"
    ),
    "IDENTIFIER_USED": Reason(
        "{column} stands for persons or things one by one.",
        "a pseudonym may be neither filtered on, grouped by, summed nor shown",
        "columns that can be asked: {columns}",
    ),
    "COLUMN_UNGROUPED": Reason(
        "{column} is selected but not grouped by.", _PUBLIC_KEYS, "add it to GROUP BY, or write GROUP BY ALL"
    ),
    "KEY_NOT_SELECTED": Reason("{column} is grouped by but not selected.", _PUBLIC_KEYS, "select it as well"),
    "GROUP_EXPRESSION": Reason(
        "GROUP BY takes columns, their positions or aliases, or ALL.",
        _PUBLIC_KEYS,
        "group by a column; regroup in Polars",
    ),
    "GROUP_WITHOUT_DOMAIN": Reason(
        "{column} has no declared keys.",
        _PUBLIC_KEYS,
        "columns with declared keys: {columns}; for others ask the steward",
    ),
    "TOO_MANY_CELLS": Reason(
        "The declared keys make more than {limit} groups.",
        "a statistic answers at most {limit} groups",
        "narrow the keys in WHERE, or group by fewer columns",
    ),
    "NO_CELLS": Reason(
        "No declared key passes the filter.", _PUBLIC_KEYS, "check the filter against the declared keys: {keys}"
    ),
    # the filter
    "FILTER_UNSUPPORTED": Reason(
        "This expression is not understood in WHERE.",
        _TOTAL,
        "use =, <>, <, <=, >, >=, IN, BETWEEN, LIKE, IS NULL, AND, OR, NOT between a column and literals",
    ),
    "FILTER_TYPE": Reason(
        "{column} is of type {type}, and the filter treats it as another.", _TOTAL, "compare it with {example}"
    ),
    "FILTER_NULL": Reason(
        "A comparison with NULL never holds.", "NULL is tested, not compared", "write IS NULL or IS NOT NULL"
    ),
    "EXPRESSION_TYPE": Reason("{operation} takes no {types}.", _TOTAL, "it takes {takes}"),
    "EXPRESSION_TOO_DEEP": Reason(
        "An expression is nested too deeply.", "an expression has at most {limit} levels", "simplify it"
    ),
    "EXPRESSION_TOO_LARGE": Reason(
        "An expression has too many parts.", "an expression has at most {limit} parts", "simplify it"
    ),
    "FILTER_TOO_DEEP": Reason("The filter is nested too deeply.", "a filter has at most {limit} levels", "simplify it"),
    # bounds and loss
    "BOUNDS_TOO_WIDE": Reason(
        "The contract's bounds for {name} are too wide to count exactly.",
        "all units together must stay below 2⁶², counted in steps of the column",
        "ask the steward for narrower bounds or a coarser step",
    ),
    "BOUNDS_UNREADABLE": Reason(
        "These bounds can't be read: {part}.",
        'bounds are "private", or {{"rows": n}}, {{"groups": n, "rows_per_group": n}} or {{"norm": n}}, and with any '
        'of them or alone {{"values": {{column: [lower, upper]}}}}',
        "limits are numbers from 1 upwards, values two numbers in the column's steps",
    ),
    "BOUNDS_LOOSER": Reason(
        "The {asked} asked for are looser than the contract's limit.",
        "an analyst can tighten the contract's bounds, and not loosen them",
        "the limit is {limit}; ask within it, or leave it out",
    ),
    "BOUNDS_COLUMN": Reason(
        "{column} has no declared bounds that could be tightened.",
        "values are limited for columns that the question reads and the contract bounds",
        "name a column that has bounds",
    ),
    "BOUNDS_FORM": Reason(
        "Groups that are not public can't be bounded by {form}.",
        "how many groups one unit appears in must be limited, so that a group of few is never shown",
        "bound rows, or groups and rows per group; or group by declared keys",
    ),
    "WINDOWS_NONE": Reason(
        "The filter leaves no window of time that the contract declares.",
        "a question reads at least one of the declared windows",
        "windows are declared from {first} to {last}",
    ),
    "WINDOWS_DIFFER": Reason(
        "The joined views have windows of different length.",
        "one unit is one customer in one window",
        "join views whose contracts declare the same window",
    ),
    "WINDOWS_OPTIONAL": Reason(
        "A row without its match in {view} would belong to no window.",
        "a unit is one customer in one window, named by a row that is there",
        "start from that view, or use an inner join",
    ),
    "POPULATIONS_DIFFER": Reason(
        "The joined views are about different populations.",
        "a question is charged to the account of one population",
        "join views about the same units, or public tables",
    ),
    "LOSS_OUT_OF_RANGE": Reason(
        "This rho can't be answered.",
        "each measure's share of rho lies between a unit of 10⁻¹² and {limit}",
        "{way}",
    ),
    # what a question may cost
    "PRICE_MISSING": Reason(
        "A question names its price.",
        "no privacy loss has a default",
        'kai.stats("…", rho="0.002"), or epsilon="0.1", or accuracy="50"; `kai.cost` tells one from the other, free',
    ),
    "PRICE_TWICE": Reason(
        "A question names one price: rho, epsilon or accuracy.",
        "no privacy loss has a default, and none is guessed between two",
        "leave all but one of them out",
    ),
    "RHO": Reason(
        "A question names its price, a positive decimal number.",
        "rho is an exact decimal above zero",
        'kai.stats("…", rho="0.002"); `kai.budget()` shows what is left',
    ),
    "EPSILON": Reason(
        "This epsilon is not a price.",
        "epsilon is a decimal above zero, converted at the contract's delta to the largest rho that keeps within it",
        'kai.stats("…", epsilon="0.1"); `kai.budget()` shows what is left',
    ),
    "ACCURACY": Reason(
        "{accuracy} is not an accuracy.",
        "an accuracy is a half-width at 95%, a decimal above zero, or a percentage of `size`",
        'accuracy="50", or accuracy="5%", size="20000", or one for each figure: accuracy={{"n": "50"}}',
    ),
    "SIZE": Reason(
        "{size} is not a size.",
        "a size is a decimal above zero: the figure that a percentage is of, or the rows behind a mean or a quantile",
        'accuracy="5%", size="20000"',
    ),
    "SIZE_MISSING": Reason(
        "The accuracy of {figure} depends on a size.",
        "the error of a mean or a quantile follows from the rows behind it, and a percentage is of something",
        'say what size you expect: size="20000"',
    ),
    "ACCURACY_FIGURE": Reason(
        "An accuracy is named for {figure}, which is not a figure of the question.",
        "an accuracy belongs to a figure of the SELECT, by its name",
        "its figures: {figures}",
    ),
    "ACCURACY_SHARE": Reason(
        "The accuracy of {figure} can't be a percentage of a size.",
        "a percentage is of a count or a sum; the size behind a mean or a quantile is a number of rows",
        "give it in the figure's own units",
    ),
    "ACCURACY_DEPENDS": Reason(
        "The error of {figure} depends on the answer itself.",
        "an accuracy is promised only where it follows from public facts",
        "name an accuracy for other figures, or ask with rho or epsilon",
    ),
    "KEYS_NEED_DELTA": Reason(
        "Groups that are not declared need a delta, and none is set.",
        "whether an undeclared group is shown is decided by a noisy threshold, which costs a delta",
        "group by columns with declared keys, or ask the steward for a delta",
    ),
    "DELTA_OUT_OF_RANGE": Reason(
        "Groups that are not declared can't be found at the contract's delta.",
        "a delta lies above 10⁻¹⁵ for each group that one unit may add, and is at most {limit}",
        "ask the steward for another delta, or group by columns with declared keys",
    ),
}


def unsupported(code: str, **facts: str) -> QueryUnsupported:
    """The refusal for one code of the table, with the public facts that its sentences name."""
    reason = REASONS[code]
    return QueryUnsupported(
        code, reason.message.format(**facts), rule=reason.rule.format(**facts), hint=reason.hint.format(**facts)
    )


def quoted(name: str) -> str:
    """A name from the statement as it may be repeated in a message: on one line, shortened, quoted."""
    shown = name if len(name) <= 60 else name[:59] + "…"
    return '"' + "".join(letter if letter.isprintable() else "�" for letter in shown) + '"'


def listed(names: tuple[str, ...], limit: int = 20) -> str:
    """Public names in a row, cut after `limit`."""
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
