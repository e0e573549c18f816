"""The shipped statements on the owner's names: each view and column of the corpora stands for one of the purpose's own.

Laws: a name is replaced as a word, however it is quoted or cased; what the purpose has nothing for keeps its name, and
is then a name of nothing. On the views that the corpora were written for, they stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from kaianalytics.policy.views import ColumnPlan, TablePlan

_VIEWS = ("sessions", "orders", "customers")
_COLUMNS: Mapping[str, tuple[str, ...]] = {  # by the type they are of
    "string": ("device", "service", "category", "plan"),
    "integer": ("pages", "seconds", "quantity", "amount_yen"),
    "number": ("amount",),
    "date": ("started_at", "ordered_at"),
    "timestamp": (),
    "boolean": ("coupon_used",),
}


def adapted(statements: Sequence[str], views: Mapping[str, TablePlan], known: Collection[str]) -> list[str]:
    """The statements with the purpose's names; `known` are the names of all products, which the guard knows."""
    names = names_for(views, known)
    if not names:
        return list(statements)
    word = re.compile(r"(?<![\w$])(" + "|".join(map(re.escape, names)) + r")(?![\w$])", re.IGNORECASE | re.ASCII)
    return [word.sub(lambda found: names[found[1].lower()], statement) for statement in statements]


def names_for(views: Mapping[str, TablePlan], known: Collection[str]) -> dict[str, str]:
    """What stands for each name of the corpora."""
    named = list(views)
    # a view of the corpora that the purpose has stays, and the others stand for those that are left
    left = iter([name for name in named if name not in _VIEWS] + [name for name in named if name in _VIEWS])
    chosen = {view: view if view in known else next(left, named[0]) for view in _VIEWS} if named else {}
    names = {view: name for view, name in chosen.items() if view != name}
    main = views.get(chosen.get("sessions", ""))
    return names | dict(_columns(main)) if main else names


def _columns(table: TablePlan) -> Iterator[tuple[str, str]]:
    own = {column.name for column in table.columns}
    if {"device", "pages"} <= own:  # the very view that the statements were written for
        return
    for kind, ours in _COLUMNS.items():
        theirs = [column.name for column in table.columns if _kind(column) == kind]
        yield from ((name, theirs[place % len(theirs)]) for place, name in enumerate(ours) if theirs)
    if table.unit and table.unit in own and table.unit != "customer_id":
        yield "customer_id", table.unit


def _kind(column: ColumnPlan) -> str:
    return "key" if column.key else column.type
