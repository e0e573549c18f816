"""What each customer adds to each cell of a question, exactly: the truth, and what a bound would leave of it.

This reads the data, as no user of any engine could: it scores answers, and finds the bounds that are best in hindsight.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np

from accuracy.workload import UNIT, Question

Vector = np.ndarray


@dataclass(frozen=True)
class Contributions:
    """One entry for each customer and cell that meet, in their order: the rows, and the total of the column."""

    question: Question
    unit: Vector  # places of customers
    cell: Vector  # places of cells
    rows: Vector
    total: Vector

    @property
    def parts(self) -> Vector:
        """What a customer adds to a cell of a count or a sum."""
        ones = np.ones(len(self.unit))
        return {"rows": self.rows, "customers": ones, "sum": self.total}[self.question.aggregate]

    @property
    def truth(self) -> Vector:
        """The exact answer, cell by cell; a mean of nothing lies in the middle of its range."""
        if self.question.aggregate == "mean":
            return self.ratio(self.added(self.total), self.added(self.rows))
        return self.added(self.parts)

    def added(self, parts: Vector) -> Vector:
        """Parts of customers, added up in each cell."""
        return np.bincount(self.cell, parts, minlength=len(self.question.cells))

    def of_each(self, parts: Vector) -> Vector:
        """Parts added up over a customer's cells, at each of the customer's entries."""
        return np.bincount(self.unit, parts)[self.unit] if len(self.unit) else parts

    def ratio(self, totals: Vector, rows: Vector) -> Vector:
        """Means of totals over rows, the middle of the range where there is no row."""
        middle = (self.question.values.lower + self.question.values.upper) / 2
        return np.divide(totals, rows, out=np.full(len(totals), middle), where=rows > 0)


def contributions(connection: duckdb.DuckDBPyConnection, question: Question) -> Contributions:
    """Those of a question, in plain DuckDB."""
    keys = "".join(f", {key}" for key in question.by)
    read = connection.sql(
        f"SELECT dense_rank() OVER (ORDER BY {UNIT}) - 1 AS unit, count(*) AS n, sum({question.column or 1}) AS total"
        f"{keys} FROM {question.table.name} WHERE {question.condition} GROUP BY {UNIT}{keys} ORDER BY {UNIT}{keys}"
    ).fetchnumpy()
    place = {cell: at for at, cell in enumerate(question.cells)}
    names = [np.asarray(read[key]).tolist() for key in question.by]
    cells = [place[cell] for cell in zip(*names, strict=True)] if names else [0] * len(read["unit"])
    rows, total = (np.asarray(read[name], dtype=float) for name in ("n", "total"))
    return Contributions(question, np.asarray(read["unit"]), np.asarray(cells, dtype=int), rows, total)
