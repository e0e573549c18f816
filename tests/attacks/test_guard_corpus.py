"""Whole statements against the guard: every hostile one refused with its code, every ordinary one admitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kaianalytics.attack.corpus import hostile_statements, ordinary_selects
from kaianalytics.errors import GuardRefused
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.guard.allowed import FUNCTIONS

VIEWS = ("sessions", "orders", "customers")


def hostile() -> list[tuple[str, str]]:
    return [(one.code, one.sql) for one in hostile_statements()]


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


def test_the_corpus_is_not_thinned_out() -> None:
    assert len(hostile()) >= 300
    assert len(set(hostile())) == len(hostile())
    assert len(ordinary_selects()) >= 200


@pytest.mark.parametrize(("code", "sql"), hostile(), ids=lambda value: value.strip()[:60])
def test_a_hostile_statement_is_refused_with_its_code(guard: Guard, code: str, sql: str) -> None:
    with pytest.raises(GuardRefused) as caught:
        guard.admit(sql, VIEWS)
    assert caught.value.code == code
    assert caught.value.rule


@pytest.mark.parametrize("sql", hostile(), ids=lambda pair: pair[1].strip()[:60])
def test_a_hostile_statement_stays_refused_inside_an_ordinary_one(guard: Guard, sql: tuple[str, str]) -> None:
    inner = sql[1].strip().rstrip(";")
    for outer in (f"SELECT * FROM ({inner}\n) AS t", f"WITH t AS ({inner}\n) SELECT * FROM t", f"SELECT 1; {inner}"):
        if not inner.startswith("--") and inner:
            with pytest.raises(GuardRefused):
                guard.admit(outer, VIEWS)


@pytest.mark.parametrize("sql", ordinary_selects(), ids=lambda value: value[:60])
def test_an_ordinary_statement_is_admitted(guard: Guard, sql: str) -> None:
    assert set(guard.admit(sql, VIEWS).views) <= set(VIEWS)


def test_planted_fault_a_walker_that_follows_only_children_is_caught(guard: Guard) -> None:
    """The first guard there was followed `children`; this corpus must tell it from one that follows every field."""
    missed = [sql for code, sql in hostile() if code in {"UNKNOWN_VIEW", "FUNCTION_NOT_ADMITTED"} and naive(guard, sql)]
    assert len(missed) >= 50


def test_planted_fault_a_walker_that_folds_like_python_is_caught(guard: Guard) -> None:
    """With `str.lower`, a common table named with a Kelvin sign would lend its place to an engine's own view."""
    sql = 'WITH "duc\u212adb_tables" AS (SELECT 1) SELECT * FROM duckdb_tables'
    tree = guard._parse(sql)["statements"][0]["node"]
    common = {named["key"].lower() for named in tree["cte_map"]["map"]}
    assert tree["from_table"]["table_name"].lower() in common
    with pytest.raises(GuardRefused):
        guard.admit(sql, VIEWS)


def naive(guard: Guard, sql: str) -> bool:
    """Whether a walker that only knows the top of a query and `children` admits the statement."""
    try:
        tree = guard._parse(sql)["statements"][0]["node"]
    except GuardRefused:
        return False
    tables, functions = seen_naively(tree)
    return tables <= set(VIEWS) and functions <= FUNCTIONS


def seen_naively(node: Any) -> tuple[set[str], set[str]]:
    tables: set[str] = set()
    functions: set[str] = set()
    stack = [node.get("from_table"), *node.get("select_list", []), node.get("where_clause")]
    while stack:
        here = stack.pop()
        if here is None:
            continue
        if here.get("type") == "BASE_TABLE":
            tables.add(here["table_name"])
        if here.get("class") == "FUNCTION":
            functions.add(here["function_name"])
        stack += [*here.get("children", []), here.get("left"), here.get("right")]
    return tables, functions
