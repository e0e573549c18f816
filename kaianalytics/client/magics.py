"""`%%kai`: a cell that is one question, in SQL.

    %%kai rho=0.002 as=visits          kai.stats(cell, rho="0.002"), kept in `visits` and shown; with --quiet only kept
    %%kai --rows as=frame              kai.sql(cell)
    %%kai --plan accuracy=50           kai.cost(cell, accuracy="50"); with rho= or epsilon=, kai.accuracy(cell, …)
    %kai rho=0.002 SELECT …            the same on one line; `%kai` alone shows what can be asked

Laws:
1. The text of the cell is the question, letter for letter: nothing is put into it. What a reviewer reads, what is
   recorded and what is asked again for free are then the same.
2. Options are named, and an unknown one is refused: a misspelt price must not become a default.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaianalytics.errors import Refused

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kaianalytics.client.connection import Connection

PRICES = ("rho", "epsilon", "accuracy")
OPTIONS = (*PRICES, "size", "bounds", "tables", "as")
FLAGS = ("--rows", "--plan", "--quiet")
USAGE = "%%kai rho=0.002 as=answer, and below it one SELECT; or %%kai --rows, %%kai --plan accuracy=50"
_OPTION = re.compile(r"""\s*(?:(?P<flag>--[\w-]+)|(?P<name>\w+)=(?P<value>"[^"]*"|'[^']*'|[^\s"']+))(?=\s|$)""")
_TEXTS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)  # where a brace is a letter like any other
_BRACES = re.compile(r"\{\{?\s*[A-Za-z_][\w.]*\s*\}")


@dataclass(frozen=True)
class Line:
    """What stands on the magic's line: options, flags, and the question that follows them."""

    options: Mapping[str, str]
    flags: frozenset[str]
    rest: str


class KaiMagic:
    """A question in SQL: `%%kai rho=0.002 as=answer` on the first line of a cell, one SELECT below it.

    Options: exactly one price (rho=, epsilon= or accuracy=, with size=); bounds=private; tables=, names of frames;
    as=, the variable that keeps the answer. `--rows` asks for rows instead, `--plan` for what it would cost or how
    exact it would be; `--quiet` keeps the answer without showing it. `%kai` alone shows what can be asked.
    """

    def __init__(self, shell: InteractiveShell, connection: Callable[[], Connection]) -> None:
        self._shell = shell
        self._connection = connection

    def __call__(self, line: str, cell: str | None = None) -> Any:
        """Ask the question; the answer is kept under `as=`, and shown as the cell's result."""
        read = read_line(line)
        if cell is None and not (read.rest or read.options or read.flags):
            return self._connection()
        sql = _question(read, cell)
        answer = self._ask(sql, read)
        if name := read.options.get("as"):
            self._shell.user_ns[name] = answer
        return None if "--quiet" in read.flags else answer

    def _ask(self, sql: str, line: Line) -> Any:
        given = {name: value for name, value in line.options.items() if name != "as"}
        kai = self._connection()
        if "--rows" in line.flags:
            if given or "--plan" in line.flags:
                raise _refused("Rows cost no privacy loss, so --rows goes with as= alone.", "%%kai --rows as=frame")
            return kai.sql(sql)
        arguments: dict[str, Any] = {**given, **self._tables(given)}
        if "--plan" not in line.flags:
            return kai.stats(sql, **arguments)
        return kai.cost(sql, **arguments) if "accuracy" in given else kai.accuracy(sql, **arguments)

    def _tables(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The variables that `tables=one,other` names, as tables of those names."""
        if "tables" not in given:
            return {}
        names = [name.strip() for name in given["tables"].split(",")]
        if absent := [name for name in names if name not in self._shell.user_ns]:
            raise _refused(f"There is no variable {', '.join(absent)}.", "tables= names frames of this notebook")
        return {"tables": {name: self._shell.user_ns[name] for name in names}}


def read_line(line: str) -> Line:
    """The line's options and flags, up to the first word that is none; a refusal for what is not known."""
    options: dict[str, str] = {}
    flags: set[str] = set()
    place = 0
    while found := _OPTION.match(line, place):
        place = found.end()
        if found["flag"]:
            flags.add(_known_flag(found["flag"]))
        else:
            options[_known_option(found["name"], options)] = found["value"].strip("\"'")
    if "--quiet" in flags and "as" not in options:
        raise _refused("An answer that is neither kept nor shown is lost.", "--quiet goes with as=")
    if (name := options.get("as")) and (not name.isidentifier() or keyword.iskeyword(name)):
        raise _refused("as= names a variable of this notebook.", USAGE)
    return Line(options, frozenset(flags), line[place:].strip())


def _question(line: Line, cell: str | None) -> str:
    """The question: the cell, or the rest of the line where there is no cell."""
    if cell is not None and line.rest:
        raise _refused(f"`{line.rest[:40]}` is no option.", "options stand on the first line, the question below it")
    sql = (line.rest if cell is None else cell).strip()
    if not sql:
        raise _refused("There is no question.", USAGE)
    if _BRACES.search(_TEXTS.sub("", sql)):
        raise Refused(
            "MAGIC_TEXT_ONLY",
            "Nothing is put into the question of a %%kai cell, and this one has a name in braces.",
            rule="the text of the cell is what is reviewed, recorded, and answered again for free",
            hint='write the value itself, or build the text in Python: kai.stats(f"…", rho=…)',
        )
    return sql


def _known_flag(flag: str) -> str:
    if flag not in FLAGS:
        raise _refused(f"`{flag[:40]}` is no option.", f"flags are {', '.join(FLAGS)}; {USAGE}")
    return flag


def _known_option(name: str, before: Mapping[str, str]) -> str:
    if name not in OPTIONS or name in before:
        how = "given twice" if name in before else "no option"
        raise _refused(f"`{name[:40]}=` is {how}.", f"options are {', '.join(f'{option}=' for option in OPTIONS)}")
    return name


def _refused(message: str, hint: str) -> Refused:
    return Refused("MAGIC_OPTION", message, rule="options are named, and none has a default", hint=hint)
