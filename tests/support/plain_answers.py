"""For tests of whole questions: a small shop's data, and the engine's answer to a question without its noise.

The way is the engine's own from the parse tree to the figures; only the noise between is left out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

import duckdb
import numpy as np
from support.reading_kit import CUSTOMERS, JANUARY, LABELS, MAKERS, ORDERS, PRODUCTS, RETURNS, asked

from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.expressions.writing import PHYSICAL
from kaianalytics.privacy.measuring.evaluating import Evaluation
from kaianalytics.privacy.measuring.propagation import Estimates
from kaianalytics.privacy.plan import Exact, Plan
from kaianalytics.privacy.query import KeyColumn, KeyOf, Of, QuantileOf, StatisticsQuery, TopOf
from kaianalytics.privacy.unit import StatisticsView

Row = tuple[Any, ...]
MIDNIGHT = time()


@dataclass(frozen=True)
class WithoutNoise:
    """The exact figures of a plan, as the evaluation of answers wants its noisy ones."""

    plan: Plan
    exact: Exact

    @property
    def count(self) -> int:
        return len(self.exact.cells)

    def measure(self, of: Of) -> Estimates:
        place = next(i for i, vector in enumerate(self.plan.vectors) if vector.measure == of.measure)
        vector, numbers = self.plan.vectors[place], self.exact.vectors[place]
        values = [float(numbers[cell * vector.width + of.item] * vector.step) for cell in range(self.count)]
        return Estimates(np.array(values))

    def key(self, of: KeyOf) -> list[Any]:
        return [cell[of.key] for cell in self.exact.cells]

    def quantile(self, of: QuantileOf) -> Estimates:
        raise NotImplementedError

    def top(self, of: TopOf) -> list[Any]:
        raise NotImplementedError


def orders() -> Iterator[dict[str, Any]]:
    """Orders of 60 customers, at most a few of one, and values within all bounds."""
    chance = random.Random(7)

    def missing(value: Any) -> Any:
        return None if chance.random() < 0.2 else value

    for number in range(300):
        yield {
            "customer_id": f"c{chance.randrange(60)}",
            "order_id": f"o{number}",
            "courier_id": "k",
            "product": chance.choice(["p1", "p2", "p3"]),
            "channel": missing(chance.choice(["web", "store"])),
            "wide": "w1",
            "wider": "w2",
            "city": missing(chance.choice(["Kyoto", "Nara"])),
            "amount": chance.randrange(100_000) / 100,
            "change": missing(chance.randrange(-5, 6)),
            "quantity": chance.randrange(51),
            "raw": missing(chance.randrange(400) / 8),
            "seconds": missing(chance.randrange(100)),
            "gift": chance.random() < 0.4,
            "day": chance.choice(JANUARY),
            "sent": missing(chance.choice(JANUARY) + timedelta(days=chance.randrange(300))),
            "ordered_at": missing(datetime(2026, 1, 5, chance.randrange(24), 1)),
            "A b": "z",
        }


def plain_shop() -> duckdb.DuckDBPyConnection:
    """The shop's views as plain tables."""
    connection = duckdb.connect()
    fill(connection, ORDERS, list(orders()))
    regions = [{"customer_id": f"c{n}", "age": n or None, "region": ["north", "south"][n % 2]} for n in range(50)]
    fill(connection, CUSTOMERS, regions)
    refunds = [{"customer_id": f"c{n % 60}", "order_id": f"o{n}", "reason": "late", "refund": n} for n in range(20)]
    fill(connection, RETURNS, refunds)
    products = [("p1", "toys", 2.5, "m1"), ("p2", "books", 0.5, None)]
    fill(connection, PRODUCTS, [dict(zip(PRODUCTS.columns, row, strict=True)) for row in products])
    fill(connection, MAKERS, [{"maker": "m1", "country": "JP"}])
    fill(connection, LABELS.view, [dict(zip(LABELS.view.columns, row, strict=True)) for row in LABELS.rows or ()])
    return connection


def fill(connection: duckdb.DuckDBPyConnection, view: StatisticsView, rows: list[dict[str, Any]]) -> None:
    """A view as a table of these rows."""
    columns = ", ".join(f'"{column.name}" {PHYSICAL[column.type]}' for column in view.columns.values())
    connection.execute(f"CREATE TABLE {view.name} ({columns})")
    for row in rows:
        places = ", ".join("?" * len(view.columns))
        connection.execute(f"INSERT INTO {view.name} VALUES ({places})", [row.get(name) for name in view.columns])


def engines_answer(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[Row, Row]:
    """The figures of each group by its keys, without noise."""
    query = asked(sql)
    return answer_of(compile_query(query), connection)


def answer_of(plan: Plan, connection: duckdb.DuckDBPyConnection) -> dict[Row, Row]:
    """The figures of a plan by their keys, without noise."""
    query = plan.query
    exact = assemble(plan, [connection.execute(statement.sql).fetchall() for statement in plan.statements])
    evaluation = Evaluation(WithoutNoise(plan, exact))
    columns = []
    for item in query.select:
        column = evaluation.column(KeyOf(item.key) if isinstance(item, KeyColumn) else item.value)
        columns.append(list(column.values) if isinstance(column, Estimates) else column)
    return by_keys(query, list(zip(*columns, strict=True)))


def by_keys(query: StatisticsQuery, rows: list[Row]) -> dict[Row, Row]:
    """Rows as the figures of their keys."""
    keyed = [isinstance(item, KeyColumn) for item in query.select]
    return {
        tuple(_day(value) for value, key in zip(row, keyed, strict=True) if key): tuple(
            value for value, key in zip(row, keyed, strict=True) if not key
        )
        for row in rows
    }


def _day(value: Any) -> Any:
    # To the engine the month of a date is a date; to DuckDB it is the midnight of one.
    return value.date() if isinstance(value, datetime) and value.time() == MIDNIGHT else value
