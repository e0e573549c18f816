"""The reference pages that are made from the code: the command line, the codes of refusals and faults, the contracts.

    python tests/docs/reference_pages.py      writes docs/reference/cli.md, errors.md and contracts.md

A test compares the pages with what this makes, so that neither can go out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from contracts_page import contracts_page
from typer.main import get_command

sys.path.insert(0, str(Path(__file__).parent.parent / "attacks"))

from kaianalytics.attack import from_workers
from kaianalytics.attack.from_analysts import ROWS_ATTACKS
from kaianalytics.attack.from_kernels import ATTACKS, TOKEN_ATTACKS
from kaianalytics.attack.from_outside import LOG_ATTACKS, OUTSIDE_ATTACKS
from kaianalytics.attack.from_questions import STATISTICS_ATTACKS
from kaianalytics.attack.layers import LAYERS
from kaianalytics.cli import NOUNS, app
from kaianalytics.privacy.refusals import REASONS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "kaianalytics"
REFERENCE = ROOT / "docs" / "reference"
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
# what makes a refusal or a fault of a code and its sentences; `unsupported` takes them from the table REASONS
MAKERS = {"KaiError", "Refused", "Fault", "Reason", "Failure", "refused", "refuse", "_fault", "Execution", "__init__"}

CLI_HEAD = """
# Command line

Made from the commands themselves by `tests/docs/reference_pages.py`; a test compares them. `kai --help` says the same.

A command ends with 0 when it did what it was asked, with 1 when a rule refused it, and with 2 when something is broken
or was typed wrongly. The variables it reads are in [Day to day](../how-to/day-to-day.md#environment-variables).
"""
ATTACKS_HEAD = """
# Attacks from inside a kernel

Made from `kaianalytics/attack/from_kernels.py` by `tests/docs/reference_pages.py`; a test compares them. Each of the
{count} is Python that is run in a real kernel: behind the whole wall, and behind walls that lack a layer or two. It
must go through exactly where none of the layers beside it is there; any one of them stops it.

| attack | stopped by each of |
|---|---|
"""
WORKER_ATTACKS_HEAD = """
# Attacks from inside a SQL worker

Made from `kaianalytics/attack/from_workers.py` by `tests/docs/reference_pages.py`; a test compares them. Each of the
{count} is tried in a real worker, on its opening thread, on threads from before and after its lock and on the engine's
own: behind the whole wall, and behind walls that lack layers. It must go through exactly where none of the layers
beside it is there; any one of them stops it. Statements are run as if no guard had read them.

| attack | stopped by each of |
|---|---|
"""
SUITE_HEAD = """
# What `kai attack` tries

Made from `kaianalytics/attack/` by `tests/docs/reference_pages.py`; a test compares them. Each row is an attack of many
tries. Where all the layers beside it are taken away it goes through, and any one of them stops it:
`tests/attacks/test_kai_attack.py` shows both, for each layer of each attack, behind walls that lack some. Attacks
[from inside a kernel](kernel-attacks.md) and [from inside a worker](worker-attacks.md) belong to the suite as well.
[How to run it](../how-to/attack.md).

| attack | at | any one of these stops it |
|---|---|---|
"""
LAYERS_HEAD = """
## The layers

| layer | promises that | is in |
|---|---|---|
"""
ERRORS_HEAD = """
# Refusals and faults, by code

Made from the source by `tests/docs/reference_pages.py`; a test compares them. Each message carries a stable code, the
rule it rests on and what to do next; … stands for what is only known when it is said. No message carries a data value,
a path inside the custody or an engine's own words.

| code | what it says | what to do | told by |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Command:
    """One command as it is typed, with what it takes: name → (meaning, default or `required`)."""

    words: str
    panel: str
    does: str
    arguments: dict[str, tuple[str, str]]
    options: dict[str, tuple[str, str]]
    flags: frozenset[str]  # options that take no value

    @property
    def names(self) -> set[str]:
        """Every option as it may be typed."""
        return {name for names in self.options for name in names.split(" / ")}


@cache
def commands() -> tuple[Command, ...]:
    """Every command of `kai`, in the order of its help."""
    root: Any = get_command(app)
    context = root.make_context("kai", [], resilient_parsing=True)
    return tuple(made for noun in NOUNS for made in _commands(root.get_command(context, noun), noun, NOUNS[noun][2]))


def _commands(found: Any, words: str, panel: str) -> Iterator[Command]:
    inner = getattr(found, "commands", None)
    for name, command in (inner or {}).items():
        yield from _commands(command, f"{words} {name}", panel)
    if not inner:
        options = {" / ".join([*p.opts, *p.secondary_opts]): _takes(p) for p in found.params if _is_option(p)}
        options = {name: facts for name, facts in options.items() if name != "--help"}
        arguments = {p.name: _takes(p) for p in found.params if not _is_option(p)}
        flags = frozenset(
            name for p in found.params if getattr(p, "is_flag", False) for name in p.opts + p.secondary_opts
        )
        yield Command(words, panel, _sentence(found.help), arguments, options, flags)


def _is_option(parameter: Any) -> bool:
    return str(parameter.opts[0]).startswith("-")


def _takes(parameter: Any) -> tuple[str, str]:
    meaning, default = _sentence(parameter.help or ""), parameter.default
    if parameter.required:
        return meaning, "required"
    shown = "" if default in (None, "", False) or parameter.multiple else f"`{default}`"
    return meaning, "on" if default is True else shown


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def cli_page() -> str:
    """The page of the command line."""
    lines = CLI_HEAD.strip().split("\n")
    for command in commands():
        lines += ["", f"## kai {command.words}", "", f"{command.panel}. {command.does}"]
        rows = [(f"`{name.upper()}`", *facts) for name, facts in command.arguments.items()]
        rows += [(f"`{name}`", *facts) for name, facts in command.options.items()]
        if rows:
            lines += ["", "| | meaning | default |", "|---|---|---|"]
            lines += [f"| {name} | {meaning} | {default} |" for name, meaning, default in rows]
    return "\n".join([*lines, ""])


@dataclass(frozen=True, order=True)
class Told:
    """One place where a code is told: what it says and what to do, with … for what is only known then."""

    code: str
    says: str
    hint: str
    room: str


@cache
def told() -> tuple[Told, ...]:
    """Every code of the package, from its source; a code that is told in several ways is there several times."""
    found = {one for file in sorted(PACKAGE.rglob("*.py")) for one in _told_in(file)}
    found |= {
        Told(code, _blank(reason.message), _blank(reason.hint), "privacy.refusals") for code, reason in REASONS.items()
    }
    return tuple(sorted(found))


def _told_in(file: Path) -> Iterator[Told]:
    room = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = _constants(tree)
    makers = MAKERS | {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and _is_error(node.name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _maker(node) in makers | _ERRORS and (code := _code(node)):
            yield Told(code, _said(node, 1, "message", constants), _hint(node, constants), room)


_ERRORS = {
    node.name for node in ast.walk(ast.parse((PACKAGE / "errors.py").read_text())) if isinstance(node, ast.ClassDef)
}


def _is_error(name: str) -> bool:
    return name.endswith(("Refused", "Fault"))


def _maker(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _code(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    text = first.value if isinstance(first, ast.Constant) else None
    return text if isinstance(text, str) and CODE.fullmatch(text) else ""


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names of the module that stand for one text wherever they are used."""
    given: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, set()).add(_text(node.value, {}))
    return {name: texts.pop() for name, texts in given.items() if len(texts) == 1}


def _hint(call: ast.Call, constants: dict[str, str]) -> str:
    """The hint: by name, or where the maker takes it by place, after the message or after the rule."""
    place = {"Reason": 3, "Failure": 2, "refused": 2, "refuse": 2}.get(_maker(call))
    return _said(call, place, "hint", constants)


def _said(call: ast.Call, place: int | None, name: str, constants: dict[str, str]) -> str:
    stated = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    if stated is None and place is not None and len(call.args) > place:
        stated = call.args[place]
    return _text(stated, constants)


def _text(node: ast.expr | None, constants: dict[str, str]) -> str:
    """What an expression says, with … for each part that is only known when it is told."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, {}) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left, constants) + _text(node.right, constants)
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    return "…" if node is not None else ""


def _blank(text: str) -> str:
    return re.sub(r"\{[a-z]+\}", "…", text)


def errors_page() -> str:
    """The page of the codes."""
    lines = ERRORS_HEAD.strip().split("\n")
    for one in told():
        says, hint = (" ".join(text.split()).replace("|", "\\|") for text in (one.says, one.hint))
        lines.append(f"| `{one.code}` | {says} | {hint} | `{one.room}` |")
    return "\n".join([*lines, ""])


def attacks_page() -> str:
    """The page of the attacks from inside a kernel."""
    rows = [(attack.name + (" (as root)" if attack.as_root else ""), ", ".join(attack.holds)) for attack in ATTACKS]
    rows += [(name, "the gateway: a token is good on its own connections alone") for name in TOKEN_ATTACKS]
    lines = [ATTACKS_HEAD.strip().format(count=len(rows)), *(f"| {name} | {holds} |" for name, holds in rows)]
    return "\n".join([*lines, ""])


def worker_attacks_page() -> str:
    """The page of the attacks from inside a SQL worker."""
    made = from_workers.ATTACKS
    rows = [(attack.name + (" (as root)" if attack.as_root else ""), ", ".join(attack.holds)) for attack in made]
    lines = [WORKER_ATTACKS_HEAD.strip().format(count=len(rows)), *(f"| {name} | {holds} |" for name, holds in rows)]
    return "\n".join([*lines, ""])


def suite_page() -> str:
    """The page of what `kai attack` tries, and of the layers that stop it."""
    lines = SUITE_HEAD.strip().split("\n")
    for attack in (*ROWS_ATTACKS, *STATISTICS_ATTACKS, *OUTSIDE_ATTACKS, *LOG_ATTACKS):
        holds = ", ".join(attack.holds) or "nothing that could be taken away"
        lines.append(f"| {attack.name} | {attack.door} | {holds} |")
    lines += ["", *LAYERS_HEAD.strip().split("\n")]
    lines += [f"| {layer.name} | {layer.promise} | `{layer.room}` |" for layer in LAYERS.values()]
    return "\n".join([*lines, ""])


PAGES = {
    REFERENCE / "cli.md": cli_page,
    REFERENCE / "errors.md": errors_page,
    REFERENCE / "contracts.md": contracts_page,
    REFERENCE / "kernel-attacks.md": attacks_page,
    REFERENCE / "worker-attacks.md": worker_attacks_page,
    REFERENCE / "attacks.md": suite_page,
}

if __name__ == "__main__":
    for page, made in PAGES.items():
        page.write_text(made(), encoding="utf-8")
        print(page.relative_to(ROOT))
