"""The views of a purpose, as an analyst finds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import polars as pl

from kaianalytics.client.shown import Shown
from kaianalytics.client.tables import html_table, text_table
from kaianalytics.errors import Refused
from kaianalytics.protocol import Dataset

_ASKED_BY = {"rows": "kai.sql", "statistics": "kai.stats"}
_COLUMN_FACTS = ("column", "type", "for statistics", "what it is")
_NAMED_FACTS = ("name", "type", "description", "nullable")  # what a column says of itself under a heading of its own


@dataclass(frozen=True, repr=False)
class DatasetList(Shown, Sequence[Dataset]):
    """The views of a purpose; `datasets["sessions"]` is one by name."""

    entries: tuple[Dataset, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Dataset]:
        return iter(self.entries)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.entries[key]
        for entry in self.entries:
            if entry.name == key:
                return entry
        names = ", ".join(entry.name for entry in self.entries)
        raise Refused("NO_SUCH_DATASET", "This purpose has no view of that name.", hint=f"its views are: {names}")

    def to_polars(self) -> pl.DataFrame:
        """One row per column of a view: view, title, access, column, type, description, facts, fresh_as_of, bounds."""
        rows = [
            {
                "view": entry.name,
                "title": entry.title,
                "access": " and ".join(entry.access),
                "column": str(column.get("name", "")),
                "type": str(column.get("type", "")),
                "description": str(column.get("description", "")),
                "facts": _facts(column),
                "fresh_as_of": entry.fresh_as_of,
                "bounds": entry.bounds,
            }
            for entry in self.entries
            for column in entry.columns
        ]
        names = ("view", "title", "access", "column", "type", "description", "facts", "fresh_as_of", "bounds")
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))

    def _text(self) -> str:
        blocks = [
            "\n".join([_headline(entry), *text_table(_COLUMN_FACTS, _column_rows(entry))]) for entry in self.entries
        ]
        return "\n\n".join(blocks) or "This purpose has no views."

    def _html(self) -> str:
        blocks = [f"<p>{_headline_html(entry)}</p>{self._table(entry)}" for entry in self.entries]
        return f'<div class="kai-datasets">{"".join(blocks)}</div>' if blocks else "<p>This purpose has no views.</p>"

    def _table(self, entry: Dataset) -> str:
        return html_table(_COLUMN_FACTS, _column_rows(entry))


def _headline(entry: Dataset) -> str:
    return f"{entry.name}: {_about(entry)}"


def _headline_html(entry: Dataset) -> str:
    return f"<strong>{escape(entry.name)}</strong>: {escape(_about(entry))}"


def _about(entry: Dataset) -> str:
    """Title, how to ask, bounds, what may leave today, and freshness, each a sentence."""
    asked = " and ".join(_ASKED_BY.get(level, level) for level in entry.access)
    bounds = f" {entry.bounds[:1].upper()}{entry.bounds[1:]}." if entry.bounds else ""
    left = f" {entry.rows_left}." if entry.rows_left else ""
    return f"{entry.title}. Ask with {asked}.{bounds}{left} Source written {entry.fresh_as_of}."


def _column_rows(entry: Dataset) -> list[list[str]]:
    return [
        [*(str(column.get(name, "")) for name in ("name", "type")), _facts(column), str(column.get("description", ""))]
        for column in entry.columns
    ]


def _facts(column: Mapping[str, Any]) -> str:
    """What else the gateway says of a column: its bounds, how many keys it has, that it is a pseudonym."""
    others = {name: value for name, value in column.items() if name not in _NAMED_FACTS and value not in (None, False)}
    return ", ".join(name if value is True else f"{name} {value}" for name, value in others.items())
