"""What every `kai` command shares: where the home is, who is asking, and how errors and tables are shown."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kaianalytics.client.transport import GatewayClient
from kaianalytics.custody.home import Home
from kaianalytics.errors import IdentityRefused, KaiError, Refused, Unreachable

P = ParamSpec("P")
T = TypeVar("T")

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

HOME_VARIABLE = "KAI_HOME"
SOCKET_VARIABLE = "KAI_SOCKET"
IDENTITY_VARIABLE = "KAI_IDENTITY"


def home_folder() -> Path:
    """The home named by KAI_HOME, else `.kai` here."""
    return Path(os.environ.get(HOME_VARIABLE, ".kai"))


def open_home() -> Home:
    """The custodian's home."""
    return Home.open(home_folder())


def socket_path() -> Path:
    """The gateway's socket: named by KAI_SOCKET, else as the home's running gateway says."""
    if named := os.environ.get(SOCKET_VARIABLE):
        return Path(named)
    try:
        return Path(json.loads(open_home().gateway_info.read_text(encoding="utf-8"))["socket"])
    except (OSError, ValueError, KeyError):
        raise Unreachable(
            "GATEWAY_AWAY", "No gateway runs on this home.", hint="start it with `kai gateway serve`"
        ) from None


def identity_file() -> Path:
    """The identity token's file, named by KAI_IDENTITY."""
    if named := os.environ.get(IDENTITY_VARIABLE):
        return Path(named).absolute()
    raise IdentityRefused(
        "IDENTITY_MISSING",
        "Nobody is named as asking.",
        hint=f"set {IDENTITY_VARIABLE} to the token file that `kai identity issue` wrote for you",
    )


def gateway() -> GatewayClient:
    """The gateway, asked as the identity of KAI_IDENTITY."""
    file = identity_file()
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise IdentityRefused(
            "IDENTITY_UNREADABLE",
            f"{IDENTITY_VARIABLE} names no readable token file.",
            hint="`kai identity issue NAME`",
        ) from None
    return GatewayClient(socket_path(), token)


def for_people(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose refusals and faults are shown in sentences: exit 1 for a refusal, 2 for a fault."""

    @wraps(command)
    def shown(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except KaiError as error:
            show_error(error)
            sys.exit(1 if isinstance(error, Refused) else 2)

    return shown


def show_error(error: KaiError) -> None:
    """One error: what, by which rule, what to do."""
    word = "Refused" if isinstance(error, Refused) else "Fault"
    console.print(f"[bold red]{word}[/] [{error.code}]".replace(f"[{error.code}]", rf"\[{error.code}]"))
    for label, text in (("", error.message), ("Rule: ", error.rule), ("What to do: ", error.hint)):
        if text:
            console.print(f"  {label}{spelt_out(text)}", markup=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """A plain table; a column whose name ends in a space is aligned right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name.strip(), justify="right" if name.endswith(" ") else "left", overflow="fold")
    for row in rows:
        made.add_row(*(plain(value) for value in row))
    return made


def plain(value: object) -> Text:
    """A value as it is: nothing in it is markup, and what a terminal would obey or not show is spelt out."""
    return Text(spelt_out(str(value)))


def spelt_out(text: str) -> str:
    """The text with every control and format character, line ends and tabs apart, written as its escape."""
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp"):
        return character
    return character.encode("unicode_escape").decode()
