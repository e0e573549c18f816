"""Pipes between the provisioner and the program that it starts: what is handed in, and the one that answers."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress

ANSWER_SECONDS = 30.0
_ANSWER_BYTES = 65536


class Pipes:
    """The pipes of one launch; closed by `close`, or by the reader's end."""

    def __init__(self) -> None:
        self._given: list[int] = []
        self._later: int | None = None
        self._taking: int | None = None

    def give(self, text: str) -> int:
        """A descriptor from which the program reads `text`, to its end. A pipe holds it all: this does not wait."""
        reading, writing = os.pipe()
        self._given.append(reading)
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            pipe.write(text)
        return reading

    def give_later(self) -> int:
        """A descriptor on which the program waits for what `give_now` will give it."""
        reading, self._later = os.pipe()
        self._given.append(reading)
        return reading

    def give_now(self, text: str) -> None:
        """Give the program what it waits for."""
        if self._later is not None:
            later, self._later = self._later, None
            with suppress(BrokenPipeError), os.fdopen(later, "w", encoding="utf-8") as pipe:  # it ended already
                pipe.write(text)

    def take(self) -> int:
        """The descriptor on which the program answers, once."""
        self._taking, writing = os.pipe()
        self._given.append(writing)
        return writing

    def taken(self) -> str:
        """The answer; empty where the program ended without one, or did not answer in time."""
        answer, until = bytearray(), time.monotonic() + ANSWER_SECONDS
        while self._taking is not None and len(answer) < _ANSWER_BYTES:
            ready, _, _ = select.select([self._taking], [], [], max(until - time.monotonic(), 0))
            if not ready or not (said := os.read(self._taking, _ANSWER_BYTES)):
                break
            answer += said
        return answer.decode(errors="replace")

    def close_given(self) -> None:
        """Close this process's copies of what the program inherits."""
        while self._given:
            os.close(self._given.pop())

    def close(self) -> None:
        """Close everything."""
        self.close_given()
        for descriptor in (self._later, self._taking):
            if descriptor is not None:
                os.close(descriptor)
        self._later = self._taking = None
