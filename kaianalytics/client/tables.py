"""Plain and HTML tables for what a notebook shows; everything is escaped before it is HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


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
        aligned = ("right" if index in right else "left" for index in range(len(names)))
        filled = (
            f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>'
            for cell, side in zip(cells, aligned, strict=True)
        )
        return f"<tr>{''.join(filled)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(names, 'th')}</thead><tbody>{body}</tbody></table>"


def html_caption(sentences: Sequence[str]) -> str:
    """Sentences below a table, one to a line, escaped."""
    return f"<p><small>{'<br>'.join(escape(sentence) for sentence in sentences)}</small></p>"
