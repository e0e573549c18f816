"""Which names a statement may use: the tables that FROM names, and what each of their columns stands for.

Laws: a name is found once or refused; a column of a subquery is the expression that it was made of, over the columns of
views; an identifier is read nowhere but in the condition of a join.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kaianalytics.privacy.expression import Call, ColumnOf, Expression, columns_of
from kaianalytics.privacy.expressions.evaluation import evaluate
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.query import Relation
from kaianalytics.privacy.reading.syntax import among, same_name
from kaianalytics.privacy.refusals import listed, quoted, unsupported
from kaianalytics.privacy.unit import StatisticsColumn, StatisticsView


@dataclass(frozen=True)
class Table:
    """What one name of FROM stands for: its columns, in order, as expressions over the views."""

    name: str
    columns: Mapping[str, Expression]

    def called(self, name: str, columns: Sequence[str]) -> Table:
        """The same table under another name, its first columns renamed."""
        if len(columns) > len(self.columns) or len({column.lower() for column in columns}) < len(columns):
            raise unsupported("SYNTAX_UNSUPPORTED", part="The list of column names")
        names = [*columns, *list(self.columns)[len(columns) :]]
        return Table(name or self.name, dict(zip(names, self.columns.values(), strict=True)))


@dataclass(frozen=True)
class Scope:
    """The tables that an expression may read, and the columns that USING made one (`merged`)."""

    relations: Sequence[Relation]
    tables: tuple[Table, ...]
    merged: Mapping[str, Expression] = field(default_factory=dict)

    def column(self, path: tuple[str, ...]) -> Expression:
        """What a column's name stands for, which may carry its table's name in front; never an identifier."""
        found = self.any_column(path)
        if self.identifying(found):
            raise unsupported("IDENTIFIER_USED", column=quoted(path[-1]), columns=self.askable())
        return found

    def identifying(self, expression: Expression) -> bool:
        """Whether the expression reads an identifier."""
        return any(identifies(self.relations[c.relation].view, self.declared(c)) for c in columns_of(expression))

    def any_column(self, path: tuple[str, ...]) -> Expression:
        """What a column's name stands for, identifiers included: for the condition of a join."""
        tables = [table for table in self.tables if len(path) == 1 or same_name(table.name, path[0])]
        if len(path) > 2 or not tables:
            raise self._unknown(path)
        name = path[-1]
        if len(path) == 1 and (known := among(name, self.merged)) is not None:
            return self.merged[known]
        found = [table.columns[known] for table in tables if (known := among(name, table.columns)) is not None]
        if not found:
            raise self._unknown(path)
        if any(other != found[0] for other in found[1:]):
            raise unsupported("COLUMN_AMBIGUOUS", column=quoted(name), tables=listed(tuple(t.name for t in tables)))
        return found[0]

    def has(self, name: str) -> bool:
        """Whether a column of that name is known."""
        return any(among(name, table.columns) is not None for table in self.tables)

    def declared(self, column: ColumnOf) -> StatisticsColumn:
        """What the contract says of a column."""
        return self.relations[column.relation].view.columns[column.name]

    def askable(self, wanted: Callable[[Expression], bool] = lambda expression: True) -> str:
        """The columns that are no identifiers and are wanted, as a sentence's list."""
        columns = [pair for table in self.tables for pair in table.columns.items()]
        return listed(tuple(dict.fromkeys(name for name, c in columns if not self.identifying(c) and wanted(c))))

    def _unknown(self, path: tuple[str, ...]) -> Exception:
        names = listed(tuple(table.name for table in self.tables))
        return unsupported("COLUMN_UNKNOWN", view=quoted(names), column=quoted(".".join(path)), columns=self.askable())


def table_of(relation: int, view: StatisticsView, name: str) -> Table:
    """All columns of a view under a name."""
    columns = {
        column.name: ColumnOf(relation, column.name, column.type, column.nullable) for column in view.columns.values()
    }
    return Table(name, columns)


def identifies(view: StatisticsView, column: StatisticsColumn) -> bool:
    """Whether a column stands for persons or things one by one."""
    # The unit's own column is an identifier even where a contract forgot to say so.
    return column.identifier or is_unit(view, column.name)


def is_unit(view: StatisticsView, name: str) -> bool:
    """Whether a column names the view's privacy unit."""
    return view.unit is not None and same_name(name, view.unit.column)


def mapped(expression: Expression, change: Callable[[ColumnOf], ColumnOf]) -> Expression:
    """The expression over changed columns."""
    if isinstance(expression, ColumnOf):
        return change(expression)
    if isinstance(expression, Call):
        return call(expression.operation, *(mapped(argument, change) for argument in expression.arguments))
    return expression


def optional(table: Table) -> Table:
    """The table as the right side of a LEFT JOIN shows it, where every column may be missing."""
    return Table(table.name, {name: _optional(name, value) for name, value in table.columns.items()})


def _optional(name: str, value: Expression) -> Expression:
    if isinstance(value, ColumnOf):
        return replace(value, nullable=True)
    # Without a match all columns of the right side are NULL, and so must be whatever is made of them.
    if evaluate(value, lambda column: None) is not None:
        raise unsupported("LEFT_JOIN_EXPRESSION", column=quoted(name))
    return mapped(value, lambda column: replace(column, nullable=True))
