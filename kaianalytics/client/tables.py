"""Plain and HTML tables for what a notebook shows; everything is escaped before it is HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Column:
    """A column of a table as it is shown: its head, its cells, and the side that they stand at."""

    head: str
    cells: Sequence[str]
    right: bool = False


def text_columns(columns: Sequence[Column]) -> list[str]:
    """Lines of a plain table of these columns."""
    return text_table([column.head for column in columns], _rows(columns), _right(columns))


def html_columns(columns: Sequence[Column]) -> str:
    """A table of these columns in HTML, every cell escaped."""
    return html_table([column.head for column in columns], _rows(columns), _right(columns))


def text_table(names: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Lines of a plain table; the columns whose index is in `right` are aligned to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(names, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return [line(names), line(["─" * width for width in widths]), *(line(row) for row in rows)]


def html_table(names: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """A table in HTML, every cell escaped; the columns whose index is in `right` are aligned to the right."""

    def line(cells: Iterable[str], tag: str) -> str:
        filled = (
            f'<{tag} style="{_FIGURE if index in right else _WORDS}">{escape(cell)}</{tag}>'
            for index, cell in enumerate(cells)
        )
        return f"<tr>{''.join(filled)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(names, 'th')}</thead><tbody>{body}</tbody></table>"


def html_caption(sentences: Sequence[str]) -> str:
    """Sentences below a table, one to a line, escaped."""
    if not sentences:
        return ""
    return f'<p style="max-width:56em"><small>{"<br>".join(escape(sentence) for sentence in sentences)}</small></p>'


_WORDS = "text-align:left"
_FIGURE = "text-align:right;white-space:nowrap"  # a value stays on one line with its ±


def _rows(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    return list(zip(*(column.cells for column in columns), strict=True))


def _right(columns: Sequence[Column]) -> frozenset[int]:
    return frozenset(index for index, column in enumerate(columns) if column.right)
