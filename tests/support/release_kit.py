"""Releases made up for tests of the analyst's side: columns by name and role, rows with their margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaianalytics.client.release import ReleaseTable
from kaianalytics.protocol import GUARD_RAILS_ONLY, Release, ReleaseColumn, Scalar

SNAPSHOT = "b0c1d2.0"
ADDS = {"count", "sum"}


def key(name: str, type_: str = "string") -> ReleaseColumn:
    """A key."""
    return ReleaseColumn(name, "key", type_)


def figure(name: str, role: str = "count", *, adds: bool | None = None, nonnegative: bool = True) -> ReleaseColumn:
    """A noisy figure; counts and sums add up unless it is said that they don't."""
    kind = {"count": "integer", "top": "string"}.get(role, "number")
    return ReleaseColumn(name, role, kind, nonnegative and role != "top", role in ADDS if adds is None else adds)


def release(
    columns: Sequence[ReleaseColumn],
    rows: Sequence[Sequence[Scalar]],
    margins: Sequence[float | None] | Sequence[Sequence[float | None]] = (),
    supports: Sequence[Sequence[float | None]] = (),
    **facts: Any,
) -> Release:
    """A release of these rows; `margins` row by row, or one row of them for all."""
    width = len(columns)
    per_row = [list(row) for row in margins] if margins and isinstance(margins[0], list | tuple) else []
    same = [None] * width if not margins else list(margins)
    usual: dict[str, Any] = {
        "release_id": 7,
        "sql": "SELECT device, COUNT(*) AS visits FROM sessions GROUP BY device",
        "purpose": "ad-targeting",
        "snapshot": SNAPSHOT,
        "isolation": GUARD_RAILS_ONLY,
        "bounding": ("At most 20 rows of one customer are counted.",),
        "notes": (),
        "rho": "0.002",
        "delta": "0",
        "epsilon": "0.32",
        "epsilon_delta": "0.000001",
    }
    return Release(
        columns=tuple(columns),
        rows=tuple(tuple(row) for row in rows),
        margins=tuple(tuple(row) for row in per_row) or tuple(tuple(same) for _ in rows),
        supports=tuple(tuple(row) for row in supports) or tuple((None,) * width for _ in rows),
        **{**usual, **facts},
    )


def table(*arguments: Any, **facts: Any) -> ReleaseTable:
    """A release as a notebook has it."""
    return ReleaseTable(release(*arguments, **facts))
