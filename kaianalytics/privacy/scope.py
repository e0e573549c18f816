"""Which names a statement may use: the columns of its one view, each found once, none of them an identifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kaianalytics.privacy.refusals import listed, quoted, unsupported
from kaianalytics.privacy.syntax import Node, among, kind, same_name, table
from kaianalytics.privacy.unit import StatisticsColumn, StatisticsView

_SOURCES = {
    "EMPTY": "VIEW_MISSING",
    "JOIN": "JOIN_UNSUPPORTED",
    "SUBQUERY": "SUBQUERY_UNSUPPORTED",
    "TABLE_FUNCTION": "TABLE_FUNCTION_UNSUPPORTED",
}


@dataclass(frozen=True)
class Scope:
    """One view and the name that the statement gives it."""

    view: StatisticsView
    alias: str

    def column(self, path: tuple[str, ...]) -> StatisticsColumn:
        """The view's column of that name, which may carry the view's name in front; never an identifier."""
        if len(path) > 2 or (len(path) == 2 and not same_name(path[0], self.alias)):
            raise _unknown_column(self.view, ".".join(path))
        return askable(self.view, path[-1])

    def has(self, name: str) -> bool:
        """Whether the view has a column of that name."""
        return among(name, self.view.columns) is not None


def scope_of(source: Node, views: Mapping[str, StatisticsView]) -> Scope:
    """The one view that FROM names."""
    if kind(source) != "BASE_TABLE":
        code = _SOURCES.get(kind(source), "SYNTAX_UNSUPPORTED")
        raise unsupported(code, views=listed(tuple(views)), part="This FROM clause")
    name, alias = table(source)
    known = among(name, views)
    if known is None:
        raise unsupported("VIEW_UNKNOWN", view=quoted(name), views=listed(tuple(views)))
    return Scope(views[known], alias or known)


def askable(view: StatisticsView, name: str) -> StatisticsColumn:
    """The view's column of that name, refused when there is none or when it is an identifier."""
    known = among(name, view.columns)
    if known is None:
        raise _unknown_column(view, name)
    column = view.columns[known]
    if _identifies(view, column):
        raise unsupported("IDENTIFIER_USED", column=quoted(known), columns=askable_names(view))
    return column


def askable_names(view: StatisticsView, wanted: Callable[[StatisticsColumn], bool] = lambda column: True) -> str:
    """The view's columns that are no identifiers and are wanted, as a sentence's list."""
    columns = view.columns.items()
    return listed(tuple(name for name, column in columns if not _identifies(view, column) and wanted(column)))


def _identifies(view: StatisticsView, column: StatisticsColumn) -> bool:
    # The unit's own column is an identifier even where a contract forgot to say so.
    return column.identifier or same_name(column.name, view.unit.column)


def _unknown_column(view: StatisticsView, name: str) -> Exception:
    return unsupported("COLUMN_UNKNOWN", view=quoted(view.name), column=quoted(name), columns=askable_names(view))
