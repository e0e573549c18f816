"""An answer on its way from a worker to the analyst: Arrow IPC bytes, and what is known once they are all read."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Protocol

import pyarrow as pa

from kaianalytics.gateway.workers.channel import Frame, FrameKind

Cell = str | int | float | bool | dt.date | dt.datetime | Decimal | None
Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Outcome:
    """What an answer was: rows, bytes and hex SHA-256 of its Arrow IPC stream, seconds from request to last byte."""

    rows: int
    bytes: int
    digest: str
    seconds: float


class Source(Protocol):
    """Where an answer's frames come from."""

    def receive(self) -> Frame:
        """The next frame; a fault where there is none."""

    def finished(self, *, whole: bool) -> None:
        """Told once, at the end: whether every frame was read."""


class Answer(Iterator[bytes | bytearray]):
    """One answer's bytes, read once. Read it to its end, or close it: until then its session answers nothing else.

    Closing early ends the worker, for the rest of the answer can't be skipped.
    """

    def __init__(self, source: Source, schema: tuple[tuple[str, str], ...], started: float) -> None:
        self.schema = schema
        self._source: Source | None = source
        self._started = started
        self._hash = hashlib.sha256()
        self._outcome: Outcome | None = None

    def __next__(self) -> bytes | bytearray:
        if self._source is None:
            raise StopIteration
        try:
            frame = self._source.receive()
        except BaseException:
            self.close()
            raise
        if frame.kind is FrameKind.END:
            self._complete(frame)
            raise StopIteration
        self._hash.update(frame.payload)
        return frame.payload

    @property
    def outcome(self) -> Outcome:
        """What the answer was; RuntimeError before its last byte was read."""
        if self._outcome is None:
            raise RuntimeError("an answer's outcome is known once it is read to its end")
        return self._outcome

    def close(self) -> None:
        """Gives the session back. Safe to call at any time, and more than once."""
        source, self._source = self._source, None
        if source is not None:
            source.finished(whole=self._outcome is not None)

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _complete(self, frame: Frame) -> None:
        end = frame.json()
        seconds = time.monotonic() - self._started
        self._outcome = Outcome(int(end["rows"]), int(end["bytes"]), self._hash.hexdigest(), seconds)
        self.close()


def rows_of(answer: Answer) -> list[Row]:
    """The rows of an answer as Python values; a decimal without a fraction's digits is an integer."""
    with answer:
        data = b"".join(answer)
    table = pa.ipc.open_stream(io.BytesIO(data)).read_all()
    columns = [_values(column) for column in table.columns]
    return list(zip(*columns, strict=True)) if columns else []


def _values(column: pa.ChunkedArray) -> list[Cell]:
    if pa.types.is_date32(column.type):  # all at once: Arrow makes days one by one, which takes ten times as long
        days: list[Cell] = column.to_numpy().tolist()
        return days
    values: list[Cell] = column.to_pylist()
    if pa.types.is_decimal(column.type) and column.type.scale == 0:  # how SUM of integers arrives
        return [int(value) if isinstance(value, Decimal) else value for value in values]
    return values
