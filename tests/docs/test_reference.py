"""The reference pages are what the code says: commands, codes, storeys, variables, words."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from documents import blocks, mention_is_known, mentions, pages, prose, typed, why_not
from reference_pages import PACKAGE, PAGES, ROOT, commands, told

DECISIONS = ROOT / "docs" / "explanation" / "decisions"
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
DAY_TO_DAY = ROOT / "docs" / "how-to" / "day-to-day.md"
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_made_from_the_code_is_what_the_code_makes(page: Path) -> None:
    same = page.read_text(encoding="utf-8") == PAGES[page]()
    assert same, f"{page.name} is out of date: run `python tests/docs/reference_pages.py`"


def test_every_command_option_and_argument_says_what_it_is_for() -> None:
    mute = [
        f"kai {one.words} {name}"
        for one in commands()
        for name, (meaning, _) in {**one.arguments, **one.options}.items()
        if not meaning
    ]
    assert not mute and all(one.does for one in commands())


def test_the_scan_finds_codes_of_every_kind_of_maker() -> None:
    codes = {one.code: one for one in told()}
    assert {"NOT_FOR_PURPOSE", "SYNTAX", "DATA_ERROR", "OWN_WORK", "HEAD_FORGED", "JOIN_CROSS"} <= set(codes)
    assert codes["HOME_ABSENT"].hint == "make one with `kai init`, or name another"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_shown_can_be_typed(page: Path) -> None:
    shown = [command for block in blocks(page) if block.kind == "console" for command, _ in typed(block)]
    wrong = {command: why for command in shown if command.startswith("kai ") and (why := why_not(command))}
    assert not wrong
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made = {command.split()[1] for command in shown if command.startswith("make ")}
    assert made <= targets


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_named_in_prose_exists(page: Path) -> None:
    assert [mention for mention in mentions(prose(page)) if not mention_is_known(mention)] == []


def test_every_command_named_in_a_message_of_the_package_exists() -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
    wrong = [(file.name, m) for file, text in texts.items() for m in mentions(text) if not mention_is_known(m)]
    assert wrong == []


@pytest.mark.parametrize(
    "command",
    [
        "kai physician",
        "kai review approve",
        "kai review approve 1 2",
        "kai build --fast",
        "kai review return 1",
        "kai ask --purpose x",
    ],
)
def test_a_command_that_can_not_be_typed_is_noticed(command: str) -> None:
    assert why_not(command)
    assert not mention_is_known("kai physician") and not mention_is_known("kai build --fast")


def test_every_variable_that_is_read_is_documented() -> None:
    read = {name for file in PACKAGE.rglob("*.py") for name in _names_of_variables(file)}
    table = set(re.findall(r"^\| `(KAI_[A-Z_]+)` \|", DAY_TO_DAY.read_text(encoding="utf-8"), re.MULTILINE))
    assert {"KAI_HOME", "KAI_IDENTITY", "KAI_TOKEN_FD"} <= read
    assert table == read


def _names_of_variables(file: Path) -> set[str]:
    strings = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
    return {text for text in strings if isinstance(text, str) and re.fullmatch(r"KAI_[A-Z_]+", text)}


def test_the_storeys_drawn_are_those_of_the_import_linter_and_of_the_disk() -> None:
    [layers] = [one["layers"] for one in PROJECT["tool"]["importlinter"]["contracts"] if one["name"] == "The storeys"]
    checked = [{name.strip().removeprefix("kaianalytics.") for name in layer.split("|")} for layer in layers]
    drawn = next(block for block in blocks(ARCHITECTURE) if block.heading == "The storeys")
    rows = [{name.strip() for name in re.split(r"\s{2,}", row.strip())[0].split("│")} for row in drawn.text.split("\n")]
    assert rows == checked
    rooms = {path.stem for path in PACKAGE.iterdir() if (path / "__init__.py").is_file() or path.suffix == ".py"}
    assert set().union(*checked) == rooms - {"__init__"}


def test_every_module_that_the_architecture_names_is_there() -> None:
    named = re.findall(
        r"`((?:gateway|policy|warehouse|privacy|records|review|lab)/[a-z_/.]*)`", ARCHITECTURE.read_text()
    )
    assert len(named) >= 5 and [path for path in named if not (PACKAGE / path).exists()] == []


def test_every_decision_is_listed_and_has_its_three_parts() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    files = sorted(file for file in DECISIONS.glob("0*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert f"({file.name})" in index and text.startswith(f"# {int(file.name[:4])}. ")
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequence"], file.name
        assert len(text.split("\n")) <= 21, file.name


def test_a_word_of_the_glossary_has_one_entry_and_is_used() -> None:
    cells = re.findall(r"^\| \*\*(.+?)\*\* \| \S", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    words = [word.strip() for cell in cells for word in cell.split(",")]
    assert len(words) > 20 and len(set(words)) == len(words)
    others = " ".join(page.read_text(encoding="utf-8") for page in pages() if page != GLOSSARY).lower()
    code = " ".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")).lower()
    assert [word for word in words if word.lower() not in others + code] == []


def test_the_changelog_has_the_version() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert any(PROJECT["project"]["version"] in heading for heading in headings)
