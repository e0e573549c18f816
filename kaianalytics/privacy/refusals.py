"""Every reason for which the statistics engine refuses a question, as one table: each has a code, a rule and a way on.

Laws: a refusal is made from the statement, the contract and the view's public facts alone, never from data, so that it
says nothing about anyone. Codes are stable: people and notebooks match on them.
"""

from __future__ import annotations

from collections.abc import Mapping

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.reasons import READING, Reason

REASONS: Mapping[str, Reason] = {
    **READING,
    # what one row may cost the engine
    "JOIN_OF_UNITS": Reason(
        "By the contracts' limits, one unit alone could have {rows} joined rows.",
        "what one unit adds is computed within the deadline, whoever it is: at most {limit} joined rows",
        "join fewer views, along a declared primary key, or have the contracts bound the rows of a unit",
    ),
    "JOIN_MULTIPLIES": Reason(
        "The tables of your own would make {copies} rows of one.",
        "tables of one's own make at most {limit} rows of one, for else how long an answer takes would tell of one row",
        "join them by columns that tell their rows apart",
    ),
    "TEXT_TOO_LONG": Reason(
        "The question makes texts of each row that are too long.",
        "groups are named by at most {limit} letters, and texts are not repeated many times over: what one row takes "
        "must not exhaust the engine",
        "group by the columns themselves, and join texts after the release",
    ),
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
    return f'"{cut(name)}"'


def cut(name: str, length: int = 60) -> str:
    """A text from the statement on one line, shortened."""
    shown = name if len(name) <= length else name[: length - 1] + "…"
    return "".join(letter if letter.isprintable() else "�" for letter in shown)


def listed(names: tuple[str, ...], limit: int = 20) -> str:
    """Public names in a row, cut after `limit`."""
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
