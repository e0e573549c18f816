"""Earlier answers from the record: each is free, and as good as on the day it was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from kaianalytics.client.caption import recorded_text
from kaianalytics.client.digits import loss_text
from kaianalytics.client.release import ReleaseTable
from kaianalytics.client.shown import Shown
from kaianalytics.client.tables import Column, html_caption, html_columns, text_columns
from kaianalytics.errors import Refused

_QUESTION = 72  # letters of a question that a list shows
_CAPTION = "Recorded answers of this purpose, newest first: using them is free. releases[0] is the first of the list."


@dataclass(frozen=True, repr=False)
class ReleaseList(Shown, Sequence[ReleaseTable]):
    """Recorded answers, the newest first: `releases[0]` is one by its place, `releases.number(7)` by its number."""

    entries: tuple[ReleaseTable, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[ReleaseTable]:
        return iter(self.entries)

    def __getitem__(self, key: Any) -> Any:
        return ReleaseList(self.entries[key]) if isinstance(key, slice) else self.entries[key]

    def number(self, release_id: int) -> ReleaseTable:
        """The release of that number."""
        for entry in self.entries:
            if entry.release.release_id == release_id:
                return entry
        raise Refused(
            "NO_SUCH_RELEASE",
            "The list has no release of that number.",
            hint="list them all with kai.releases(); those of other purposes are not shown",
        )

    def to_polars(self) -> pl.DataFrame:
        """One row per release: release, recorded, snapshot, rho, figures, sql."""
        rows = [
            (e.release.release_id, e.recorded, e.release.snapshot, e.release.rho, _figures(e), e.release.sql)
            for e in self.entries
        ]
        names = ("recorded", "snapshot", "rho", "figures", "sql")
        return pl.DataFrame(rows, schema={"release": pl.Int64, **dict.fromkeys(names, pl.String)}, orient="row")

    def _columns(self) -> list[Column]:
        entries = self.entries
        return [
            Column("release", [str(entry.release.release_id) for entry in entries], right=True),
            Column("recorded", [recorded_text(entry.recorded) for entry in entries]),
            Column("snapshot", [entry.release.snapshot for entry in entries]),
            Column("ρ", [loss_text(entry.release.rho) for entry in entries], right=True),
            Column("rows", [f"{len(entry.release.rows):,}" for entry in entries], right=True),
            Column("question", [_shortened(entry.release.sql) for entry in entries]),
        ]

    def _text(self) -> str:
        if not self.entries:
            return "No recorded answer of this purpose is like that."
        return "\n".join([*text_columns(self._columns()), "", _CAPTION])

    def _html(self) -> str:
        if not self.entries:
            return f"<p>{self._text()}</p>"
        return f'<div class="kai-releases">{html_columns(self._columns())}{html_caption([_CAPTION])}</div>'


def _figures(entry: ReleaseTable) -> str:
    return ", ".join(figure.name for figure in entry.figures)


def _shortened(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= _QUESTION else text[: _QUESTION - 1] + "…"
