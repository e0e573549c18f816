"""Customers made up from a table's profile: what somebody who knows the profile alone would choose a peer's bounds by.

Nothing here is read from data. A customer with n rows is taken to be in √n of the cells, evenly, whatever the question
filters; between the profile's points, how many customers have more is taken to fall as a power, as in skewed data.
"""

from __future__ import annotations

import numpy as np

from accuracy.contributions import Contributions, Vector
from accuracy.workload import Quantiles, Question


def made_up(question: Question) -> Contributions:
    """What the customers of the table's profile would add to the question's cells."""
    profile, count, cells = question.table.profile, question.table.customers, len(question.cells)
    rows = np.maximum(np.round(_values(profile["rows"], count)), 1)
    total = _values(profile[question.column], count) if question.column else rows
    met = np.minimum(np.ceil(np.sqrt(rows)), cells).astype(int)
    unit = np.repeat(np.arange(count), met)
    within = np.arange(len(unit)) - np.repeat(np.cumsum(met) - met, met)
    cell = (unit + within) % cells
    return Contributions(question, unit, cell, (rows / met)[unit], (total / met)[unit])


def _values(quantiles: Quantiles, count: int) -> Vector:
    """One value for each customer, rising."""
    above = 1 - (np.arange(count) + 0.5) / count
    shares = [1.0, *(max(1 - float(share), 0.5 / count) for share, _ in quantiles)]
    values = [max(1.0, quantiles[0][1] / 10), *(max(most, 1.0) for _, most in quantiles)]
    return np.exp(np.interp(-np.log(above), -np.log(shares), np.log(values)))
