"""Drafting and checking at the command line: a draft grants nothing, says only what was answered, and loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from support.contracts_kit import SAMPLE, Folder
from typer.testing import CliRunner

from kaianalytics.cli.contracts import app
from kaianalytics.custody.drafting import Answers, Bounds, DraftColumn, Unit, draft_contract
from kaianalytics.errors import PolicyRefused
from kaianalytics.policy.views import store_plan
from kaianalytics.privacy.unit import ContributionBounds

COLUMNS = [
    DraftColumn("visitor", "VARCHAR", "string", True),
    DraftColumn("age", "INTEGER", "integer", False),
    DraftColumn("seen_on", "DATE", "date", True),
    DraftColumn("tags", "VARCHAR[]", None, True),
    DraftColumn("Bad Name", "VARCHAR", "string", True),
]
UNIT = Unit("visitor", "customers", "customers.customer_id")
ANSWERS = Answers(
    title='Visits "of all" kinds: 1',
    source="visits.parquet",
    format="parquet",
    unit=UNIT,
    keys={"visitor": "customer"},
    classifications={"age": "personal"},
    bounds={"age": Bounds("0", "120", "1")},
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "contracts")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "visits.parquet"
    duckdb.sql(
        "SELECT 'C0000001' AS visitor, 37 AS age, DATE '2026-01-05' AS seen_on, ['a'] AS tags, 'x' AS \"Bad Name\""
    ).write_parquet(str(path))
    return path


def run(*arguments: object, text: str | None = None) -> tuple[int, str]:
    """`kai contracts` with these arguments: exit code and all that it said."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=text, env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_draft_loads_beside_the_other_contracts_and_is_in_no_store(folder: Folder) -> None:
    folder.write("visits.odcs.yaml", draft_contract("visits", COLUMNS, ANSWERS))
    contracts = folder.load()
    drafted = contracts.products["visits"]
    assert not drafted.purposes and not any(column.rules for column in drafted.columns)
    assert all(
        "visits" not in store_plan(contracts, purpose, "statistics").tables for purpose in contracts.purposes.open
    )
    assert drafted.column("age").maximum == "120" and drafted.column("visitor").references == ("customers.customer_id",)
    assert drafted.title == ANSWERS.title


def test_what_nobody_classified_is_classified_the_strictest(folder: Folder) -> None:
    text = draft_contract("visits", COLUMNS, ANSWERS)
    folder.write("visits.odcs.yaml", text)
    seen_on = folder.load().products["visits"].column("seen_on")
    assert seen_on.classification == "special-category"
    assert (seen_on.minimum, seen_on.maximum) == (None, None)
    assert text.count("nobody classified it yet") == 1


def test_a_draft_says_the_primary_key_and_the_bound_on_rows_that_were_answered(folder: Folder) -> None:
    answers = replace(ANSWERS, primary_key="age", rows=12)
    folder.write("visits.odcs.yaml", draft_contract("visits", COLUMNS, answers))
    drafted = folder.load().products["visits"]
    assert drafted.key is drafted.column("age") and drafted.contribution == ContributionBounds(rows=12)
    plain = draft_contract("visits", COLUMNS, ANSWERS)
    assert "primaryKey" not in plain and "property: kai.contribution" not in plain
    assert all(name in plain for name in ("kai.profile", "kai.windows", "kai.preAggregates"))


def test_what_no_contract_can_describe_is_left_out_by_name() -> None:
    text = draft_contract("visits", COLUMNS, ANSWERS)
    assert '# left out: "tags"' in text and '# left out: "Bad Name"' in text


def test_the_populations_own_product_refers_to_nothing() -> None:
    home = Answers(
        "Visitors", "v.parquet", "parquet", Unit("visitor", "customers", "visitors.visitor"), {"visitor": "v"}
    )
    assert "relationships" not in draft_contract("visitors", COLUMNS, home)


@pytest.mark.parametrize(
    "answers",
    [
        Answers("t", "s", "parquet", unit=UNIT),
        Answers("t", "s", "parquet", keys={"nobody": "customer"}),
        Answers("t", "s", "parquet", keys={"visitor": "A Domain"}),
        Answers("t", "s", "parquet", keys={"visitor": "c"}, classifications={"visitor": "personal"}),
        Answers("t", "s", "parquet", classifications={"tags": "personal"}),
        Answers("t", "s", "parquet", bounds={"Bad Name": Bounds("0", "1")}),
        Answers("t", "s", "parquet", primary_key="nobody"),
        Answers("t", "s", "parquet", rows=3),
        replace(ANSWERS, rows=0),
    ],
)
def test_answers_that_fit_no_column_are_refused(answers: Answers) -> None:
    with pytest.raises(PolicyRefused):
        draft_contract("visits", COLUMNS, answers)


@pytest.mark.parametrize("name", ["Visits", "../visits", "1st", ""])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(PolicyRefused):
        draft_contract(name, COLUMNS, ANSWERS)


@pytest.mark.parametrize("ends", [("0", "1} evil: {"), ("", "1"), ("a", "b"), ("1e3", "2"), ("0", ".inf")])
def test_bounds_are_numbers_or_dates_and_nothing_else(ends: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="bounds"):
        Bounds(*ends)


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=20), physical=st.text(max_size=20), title=st.text(min_size=1, max_size=30))
def test_no_name_in_a_source_can_write_into_the_contract(name: str, physical: str, title: str) -> None:
    columns = [*COLUMNS[:2], DraftColumn(name, physical, "string", True)]
    if name in ("visitor", "age"):
        return
    data = YAML(typ="safe", pure=True).load(draft_contract("visits", columns, Answers(title, "s.csv", "csv")))
    assert data["name"] == title
    assert [column["name"] for column in data["schema"][0]["properties"]][:2] == ["visitor", "age"]
    assert data["schema"][0]["customProperties"][0] == {"property": "kai.purposes", "value": {}}


# --- kai contracts check


def test_check_shows_who_may_use_what() -> None:
    code, said = run("check", SAMPLE)
    assert code == 0
    assert "8 contracts without a fault" in said and "if granted: behavioural-advertising" in said
    assert "orders" in said and "8 rows a month" in said and "contacts_by_arm" in said and "42,000 units" in said
    [inquiries] = [line.split() for line in said.splitlines() if line.startswith("inquiries")]
    assert inquiries == ["inquiries", "–", "–", "–"]


def test_check_shows_every_fault_with_file_and_line_and_fails(folder: Folder) -> None:
    first = folder.edit("sessions.odcs.yaml", "generalise: month", "generalise: fortnight")
    second = folder.edit("roles.yaml", "roles: [analyst]", "roles: [root]")
    code, said = run("check", folder.path)
    assert code == 1
    assert f"sessions.odcs.yaml:{first}: " in said and f"roles.yaml:{second}: " in said


def test_check_of_an_empty_folder_fails(tmp_path: Path) -> None:
    code, said = run("check", tmp_path)
    assert code == 1 and "purposes.yaml:1: the file is missing" in said


# --- kai contracts init


def test_init_drafts_from_options_without_a_question(folder: Folder, source: Path) -> None:
    options = ("--unit", "visitor=customers", "--key", "visitor=customer", "--classify", "age=personal")
    more = ("--bounds", "age=0:120", "--primary-key", "visitor", "--rows", 30)
    code, said = run("init", source, "--folder", folder.path, *options, *more, "--yes")
    assert code == 0 and "grants nothing" in said
    visits = folder.load().products["visits"]
    assert (visits.unit, visits.population, visits.source) == ("visitor", "customers", "visits.parquet")
    assert visits.column("visitor").references == ("customers.customer_id",)
    assert visits.column("age").maximum == "120"
    assert visits.column("visitor").primary_key and visits.contribution == ContributionBounds(rows=30)


def test_init_asks_for_unit_key_classification_and_bounds(folder: Folder, source: Path) -> None:
    answers = "visitor\ncustomers\ncustomer\npersonal\n0:120\n\n\n"
    code, said = run("init", source, "--folder", folder.path, text=answers)
    assert code == 0, said
    visits = folder.load().products["visits"]
    assert visits.column("age").classification == "personal" and visits.column("age").minimum == "0"
    assert visits.column("seen_on").classification == "special-category" and visits.column("seen_on").minimum is None


def test_a_bound_that_nobody_answered_is_in_no_draft_whatever_the_data_hold(folder: Folder, source: Path) -> None:
    code, _ = run("init", source, "--folder", folder.path, "--yes")
    text = folder.text("visits.odcs.yaml")
    assert code == 0 and "minimum" not in text and "37" not in text and "C0000001" not in text


def test_a_draft_replaces_no_contract(folder: Folder, source: Path) -> None:
    before = folder.text("sessions.odcs.yaml")
    code, said = run("init", source, "--product", "sessions", "--folder", folder.path, "--yes")
    assert code == 1 and "CONTRACT_EXISTS" in said and folder.text("sessions.odcs.yaml") == before


@pytest.mark.parametrize(
    "options",
    [
        ("--bounds", "age=120"),
        ("--bounds", "age=a:b"),
        ("--classify", "age=secret"),
        ("--key", "visitor"),
        ("--key", "nobody=customer"),
        ("--unit", "visitor=customers"),
    ],
)
def test_an_answer_that_is_none_is_refused_and_nothing_is_written(
    folder: Folder, source: Path, options: tuple[str, str]
) -> None:
    code, said = run("init", source, "--folder", folder.path, *options, "--yes")
    assert code == 1 and "What to do" in said
    assert not (folder.path / "visits.odcs.yaml").exists()


def test_a_source_that_is_missing_is_named_as_a_fault(folder: Folder, tmp_path: Path) -> None:
    code, said = run("init", tmp_path / "absent.parquet", "--folder", folder.path, "--yes")
    assert code == 2 and "SOURCE_MISSING" in said and str(tmp_path) not in said
