"""Whole statements against the guard: every hostile one refused with its code, every ordinary one admitted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kaianalytics.attack.corpus import (
    VIEWS,
    fine_in_every_place,
    hostile_in_every_place,
    hostile_statements,
    misjudged,
    ordinary_selects,
)
from kaianalytics.cli import app
from kaianalytics.errors import GuardRefused
from kaianalytics.gateway.guard import changes, reviewed
from kaianalytics.gateway.guard.admission import Guard, tree_of
from kaianalytics.gateway.guard.allowed import FUNCTIONS
from kaianalytics.gateway.guard.changes import Change
from kaianalytics.gateway.guard.engine import Engine

ENGINE = Engine()


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


def test_the_corpus_is_not_thinned_out() -> None:
    hostile = hostile_statements()
    assert len(hostile) >= 700 and len({one.sql for one in hostile}) == len(hostile)
    assert len(hostile_in_every_place()) >= 3000
    assert len(ordinary_selects()) >= 330 and len(fine_in_every_place()) >= 180


def test_every_refusal_names_its_rule_and_repeats_at_most_a_word(guard: Guard) -> None:
    for one in hostile_statements():
        with pytest.raises(GuardRefused) as caught:
            guard.admit(one.sql, VIEWS)
        assert caught.value.rule and len(caught.value.message) < 200 and "\n" not in caught.value.message


def test_a_hostile_statement_stays_refused_inside_an_ordinary_one(guard: Guard) -> None:
    went_through = []
    for one in hostile_statements():
        inner = one.sql.strip().rstrip(";")
        if not inner.startswith("--") and inner:
            outer = (
                f"SELECT * FROM ({inner}\n) AS t",
                f"WITH t AS ({inner}\n) SELECT * FROM t",
                f"SELECT 1; {inner}",
                f"SELECT 1 WHERE EXISTS ({inner}\n)",
                f"SELECT 1 UNION ALL ({inner}\n)",
            )
            went_through += [sql for sql in outer if admits(guard, sql)]
    assert went_through == []


def admits(guard: Guard, sql: str) -> bool:
    try:
        guard.admit(sql, VIEWS)
    except GuardRefused:
        return False
    return True


def test_an_ordinary_statement_reads_the_views_that_it_names(guard: Guard) -> None:
    for sql in (*ordinary_selects(), *fine_in_every_place()):
        assert set(guard.admit(sql, VIEWS).views) == {name for name in VIEWS if names(sql, name)}, sql


def names(sql: str, view: str) -> bool:
    """Whether a view's name stands in the statement where a table may stand."""
    return re.search(rf"(?i)\b(from|join|table)\s*\(*{view}\b|[,:]\s*{view}\b(?!\.)(?!')", sql) is not None


@pytest.mark.parametrize("size", [70_000, 1_000_000, 20_000_000])
def test_a_text_of_any_size_is_refused_before_it_is_parsed(guard: Guard, size: int) -> None:
    for text in (f"SELECT '{'x' * size}'", "SELECT 1" + " " * size, "(" * size, f'SELECT "{"k" * size}"', "--" * size):
        with pytest.raises(GuardRefused) as caught:
            guard.admit(text, VIEWS)
        assert caught.value.code == "TOO_LONG"


# An upgrade


def test_the_installed_engine_is_the_reviewed_one_and_every_statement_is_judged_as_it_should_be() -> None:
    """Hostile ones are refused with their code, ordinary ones admitted, each place tried with fine and forbidden."""
    result = CliRunner().invoke(app, ["engine", "check"])
    assert (
        " judged anew, 0 of them wrongly." in result.stdout
        and "Nothing differs from what was reviewed." in result.stdout
    )
    assert result.exit_code == 0


DOCTORED = (  # file, what stands there, what is put there instead, the change that must be shown
    ("reviewed.toml", 'engine = "2.0.0"', 'engine = "1.4.0"', Change("version", "v1.4.0", new=False)),
    ("reviewed.toml", " query query_table", " query_table", Change("function", "query (table)", new=True)),
    ("reviewed.toml", " seq_scan ", " seq_scan seq_scam ", Change("function", "seq_scam (table)", new=False)),
    ("reviewed.toml", "bpchar char", "char", Change("type", "bpchar", new=True)),
    ("reviewed.toml", "\naa af am", "\naa am", Change("collation", "af", new=True)),
    ("listed.toml", "abort:unreserved ", "", Change("keywords", "abort:unreserved", new=True)),
    ("listed.toml", "allowed_paths", "allowed_pathos", Change("settings", "allowed_pathos", new=False)),
    ("listed.toml", "FUNCTION.filter", "", Change("tree", "FUNCTION.filter", new=True)),
    ("listed.toml", "main.sqlite_master", "", Change("views", "main.sqlite_master", new=True)),
)


def doctored(*faults: tuple[str, str, str, Change]) -> dict[str, str]:
    """The texts of the two files with these faults planted."""
    texts = {file.name: file.read_text(encoding="utf-8") for file in (reviewed.FILE, changes.FILE)}
    for file, old, new, _ in faults:
        assert old in texts[file]
        texts[file] = texts[file].replace(old, new, 1)
    return texts


@pytest.mark.parametrize("fault", DOCTORED, ids=lambda fault: fault[3].name)
def test_planted_fault_what_was_not_reviewed_is_found(fault: tuple[str, str, str, Change]) -> None:
    texts = doctored(fault)
    known, lists = reviewed.read(texts["reviewed.toml"]), changes.read_lists(texts["listed.toml"])
    without_trees = [
        c for c in changes.changes(ENGINE, known, lists, ["SELECT upper('x')"]) if c.sort != "tree" or c.new
    ]
    assert fault[3] in without_trees and len(without_trees) <= 2


def test_planted_fault_the_command_shows_each_and_what_to_do_and_ends_with_1(tmp_path: Path) -> None:
    for name, text in doctored(*DOCTORED).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["engine", "check", "--against", str(tmp_path)])
    assert result.exit_code == 1
    for _, _, _, change in DOCTORED:
        assert change.name in result.stdout and f"\n- {change.sort}: " in result.stdout


def test_planted_fault_a_guard_that_admits_too_much_or_too_little_is_shown() -> None:
    """What `kai engine check` runs: a judge without the catalogue of views, and one that refuses everything."""
    lax = dict(misjudged(lambda sql: None))
    assert len(lax) == len(hostile_statements()) + len(hostile_in_every_place())
    assert all(what.startswith("admitted instead of ") for what in lax.values())

    def strict(sql: str) -> None:
        raise GuardRefused("NOT_ADMITTED", "no")

    assert set(ordinary_selects()) <= {sql for sql, _ in misjudged(strict)}


def test_what_the_lists_say_is_what_the_engine_says(tmp_path: Path) -> None:
    written = tmp_path / "listed.toml"
    assert CliRunner().invoke(app, ["engine", "list", "--to", str(written)]).exit_code == 0
    assert written.read_text(encoding="utf-8") == changes.FILE.read_text(encoding="utf-8"), "run `kai engine list`"


# Walkers that must be told from this one


def test_planted_fault_a_walker_that_follows_only_children_is_caught() -> None:
    """The first guard there was followed `children`; this corpus must tell it from one that follows every field."""
    hostile = (*hostile_statements(), *hostile_in_every_place())
    judged = [one.sql for one in hostile if one.code in {"UNKNOWN_VIEW", "FUNCTION_NOT_ADMITTED"}]
    assert len([sql for sql in judged if naive(sql)]) >= 1000


def test_planted_fault_a_walker_that_folds_like_python_is_caught(guard: Guard) -> None:
    """With `str.lower`, a common table named with a Kelvin sign would lend its place to an engine's own view."""
    sql = 'WITH "duc\u212adb_tables" AS (SELECT 1) SELECT * FROM duckdb_tables'
    tree = tree_of(ENGINE, sql)["statements"][0]["node"]
    common = {named["key"].lower() for named in tree["cte_map"]["map"]}
    assert tree["from_table"]["table_name"].lower() in common
    with pytest.raises(GuardRefused):
        guard.admit(sql, VIEWS)


def naive(sql: str) -> bool:
    """Whether a walker that only knows the top of a query and `children` admits the statement."""
    try:
        tree = tree_of(ENGINE, sql)["statements"][0]["node"]
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
