"""A refusal that is about a part of the question shows the line, with a mark below it.

The gateway says the place alone; the line is the asker's own, and never went anywhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from kaianalytics.errors import KaiError

WIDTH = 100  # of what is shown of a line


@contextmanager
def pointing_into(text: str) -> Iterator[None]:
    """Let a refusal of this question show the line that it is about."""
    try:
        yield
    except KaiError as error:
        if error.place is not None:
            error.pointed = pointed(text, *error.place)
        raise


def pointed(text: str, line: int, column: int) -> str:
    """The line with a mark below its column; nothing where the text has no such place."""
    lines = text.split("\n")
    if line > len(lines) or column > len(lines[line - 1]) + 1:
        return ""
    whole = lines[line - 1].rstrip("\r").expandtabs(1)
    start = max(0, column - 1 - WIDTH // 2)
    shown, before = whole[start : start + WIDTH], whole[start : column - 1]
    return f"    {_plain(shown)}\n    {' ' * sum(map(_columns, _plain(before)))}^"


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _columns(letter: str) -> int:
    """How wide a letter is on a screen."""
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
