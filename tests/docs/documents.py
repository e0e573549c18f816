"""The pages as the tests read them: blocks, links, commands; and how a shown output is compared with a real one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from reference_pages import ROOT, Command, commands

FENCE = re.compile(r"^```(\w*)$")
GAP = "…"
# what is another in every run, or in a smaller world: numbers, dates, ids, and how wide a table's column is
VARYING = re.compile(r"\b[0-9a-f]{12,}\b|(?<!\w)-?\d+([.,:T+-]*\d+)*|\d+|[─═]+")
REFUSED = re.compile(r"^(\w*Refused\b|\d+ faults?\.)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, with the heading it stands under and the prose just before it."""

    kind: str
    text: str
    line: int
    heading: str
    before: str


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    inside: list[str] | None = None
    kind, start, heading, before = "", 0, "", ""
    for number, line in enumerate(page.read_text(encoding="utf-8").split("\n"), 1):
        fence = FENCE.match(line)
        if inside is None and fence:
            kind, start, inside = fence[1], number, []
        elif inside is not None and line == "```":
            found.append(Block(kind, "\n".join(inside), start, heading, before))
            inside, before = None, ""
        elif inside is not None:
            inside.append(line)
        else:
            heading = line.lstrip("# ") if line.startswith("#") else heading
            before += line + "\n"
    assert inside is None, f"{page.name}:{start}: a block that does not end"
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def shown_after(page: Path, kind: str = "python") -> list[tuple[Block, str]]:
    """Each block of a kind with the output that a `text` block right after it shows; empty where none does."""
    listed = [*blocks(page), Block("end", "", 0, "", "x")]
    return [
        (block, after.text if after.kind == "text" and not after.before.strip() else "")
        for block, after in pairwise(listed)
        if block.kind == kind
    ]


def typed(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output shown under it."""
    steps: list[tuple[str, str]] = []
    for line in block.text.split("\n"):
        if line.startswith("$ "):
            steps.append((line[2:], ""))
        elif steps:
            command, shown = steps[-1]
            steps[-1] = (command, f"{shown}{line}\n")
        elif line:
            steps.append((line, ""))  # a block of commands alone, without prompts
    return steps


def missing_lines(shown: str, real: str) -> list[str]:
    """The shown lines that the real output does not have in this order.

    Numbers, dates and ids may differ. A line that ends in … is the beginning of one; a line that is … stands for any.
    """
    left = iter([_comparable(line) for line in real.split("\n")])
    wanted = [line for line in shown.split("\n") if line.strip() and line.strip() != GAP]
    return [line for line in wanted if not any(_is_shown(line, other) for other in left)]


def _is_shown(line: str, real: str) -> bool:
    if line.endswith(f" {GAP}"):
        return real.startswith(_comparable(line.removesuffix(GAP)))
    return real == _comparable(line)


def _comparable(line: str) -> str:
    return " ".join(VARYING.sub("#", line).split())


def why_not(command: str) -> str:
    """Why a `kai` command can't be typed like this; empty where it can."""
    words = [word for word in shlex.split(command, comments=True) if word != "&"]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    known = next((one for one in commands() if words[1 : 1 + one.words.count(" ") + 1] == one.words.split()), None)
    if known is None:
        return f"there is no command {' '.join(words[:3])}"
    return _why_not(known, words[1 + len(known.words.split()) :])


def _why_not(command: Command, rest: list[str]) -> str:
    given, places = set(), 0
    left = iter(rest)
    for word in left:
        name, _, value = word.partition("=")
        if not name.startswith("--"):
            places += 1
            continue
        if name not in command.names:
            return f"kai {command.words} has no option {name}"
        given.add(name)
        if name not in command.flags and not value:
            next(left, None)
    required = {name for name, (_, default) in command.options.items() if default == "required"}
    if required - given:
        return f"kai {command.words} needs {', '.join(sorted(required - given))}"
    least = sum(default == "required" for _, default in command.arguments.values())
    if not least <= places <= len(command.arguments):
        return f"kai {command.words} takes {len(command.arguments)} arguments, not {places}"
    return ""


def mentions(text: str) -> Iterator[str]:
    """Commands named in running text, such as `kai review list`."""
    yield from re.findall(r"`(kai [a-z][^`\n]*)`", text)


def mention_is_known(mention: str) -> bool:
    """Whether a command named in running text, whole or in part, is one; `|` stands between alternatives."""
    words = re.split(r"\s", mention)[1:]
    head = [word for word in words if re.fullmatch(r"[a-z|]+", word)][:2]
    known = {tuple(one.words.split()) for one in commands()}
    starts = known | {words[:1] for words in known}
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    places = [tuple(head[:n]) for n in range(len(head), 0, -1)]
    found = next((place for place in places if place in starts), None)
    everywhere = {
        name for one in commands() if tuple(one.words.split())[: len(found or ())] == found for name in one.names
    }
    return found is not None and set(options) <= everywhere
