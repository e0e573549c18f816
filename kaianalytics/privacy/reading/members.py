"""Conditions of membership: `column IN (SELECT …)` and `column NOT IN (SELECT …)`, which join as SEMI and ANTI JOIN do.

Laws: they stand alone or in a row of ANDs, on a column by its name; whatever else has a subquery in it is an expression
that nobody reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kaianalytics.privacy.reading.syntax import Node, alias_of, column_path, kind, read, select_of, sequence


@dataclass(frozen=True)
class Member:
    """A column whose value is (`semi`) or is not (`anti`) among those of a SELECT."""

    column: tuple[str, ...]
    kind: Literal["semi", "anti"]
    select: Node


def among_selected(condition: Node) -> Member | None:
    """The membership that a condition states; None for any other condition."""
    if kind(condition) == "OPERATOR_NOT":
        negated = sequence(read(condition, "class", "type", "children")[-1])
        return _member(negated[0], "anti") if len(negated) == 1 else None
    return _member(condition, "semi")


def _member(node: Node, how: Literal["semi", "anti"]) -> Member | None:
    if kind(node) != "SUBQUERY" or node.get("subquery_type") != "ANY" or alias_of(node):
        return None
    fields = ("class", "type", "subquery_type", "subquery", "child", "comparison_type")
    *_, subquery, child, comparison = read(node, *fields)
    if kind(child) != "COLUMN_REF" or alias_of(child) or comparison != "COMPARE_EQUAL":
        return None
    return Member(column_path(child), how, select_of(subquery))
