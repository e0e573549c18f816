"""What a notebook shows, as text and as HTML, both made from the same lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kaianalytics.client.tables import html_caption
from kaianalytics.protocol import ISOLATION_SENTENCES


@dataclass(frozen=True, repr=False)
class Shown:
    """Something that a notebook shows; everything that came over the wire is escaped before it is HTML."""

    def _text(self) -> str:
        raise NotImplementedError

    def _html(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return self._text()

    def _repr_html_(self) -> str:
        return self._html()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self._text(), "text/html": self._html()}


@dataclass(frozen=True, repr=False)
class Footnote(Shown):
    """What a release rests on, without its table: for a chart whose figures are too many to list."""

    about: tuple[str, ...]  # the figures
    origin: tuple[str, ...]  # the release

    def _text(self) -> str:
        return "\n".join([*self.about, *self.origin])

    def _html(self) -> str:
        return f'<div class="kai-release">{html_caption(self.about)}{html_caption(self.origin)}</div>'


def isolation_sentence(level: str) -> str:
    """What an isolation level means, in one sentence."""
    if level in ISOLATION_SENTENCES:
        return ISOLATION_SENTENCES[level]
    return level if level.startswith("Isolation:") else f"Isolation: {level or 'not stated'}."
