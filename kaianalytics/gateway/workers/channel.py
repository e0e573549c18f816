"""Frames between the pool and one worker, over a socket pair: one byte for the kind, four for the length, the payload.

    pool → worker   OPEN  what to open; once, first            REQUEST  a query or new stops
    worker → pool   READY once, the store is open and locked   STATUS   ok with the schema, or a failure
                    CHUNK bytes of an Arrow IPC stream         END      rows and bytes: the answer is whole

A frame is whole or it is not there: `receive` returns None where the other side is gone, and raises TimeoutError where
the time is up.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

FRAME_MAX = 64 * 1024 * 1024
_HEAD = struct.Struct(">cI")
_SMALL = 64 * 1024  # bytes that are rather copied than sent by a call of their own


class FrameKind(Enum):
    """What a frame carries."""

    OPEN = b"O"
    READY = b"R"
    REQUEST = b"Q"
    STATUS = b"S"
    CHUNK = b"C"
    END = b"E"


@dataclass(frozen=True)
class Frame:
    """One message."""

    kind: FrameKind
    payload: bytes | bytearray

    def json(self) -> dict[str, Any]:
        """The payload as a JSON object; ValueError for anything else."""
        try:
            value = json.loads(self.payload)
        except RecursionError:
            raise ValueError("a frame's JSON is no deeper than can be read") from None
        if not isinstance(value, dict):
            raise ValueError("a frame's JSON is an object")
        return value


class Channel:
    """One end of the socket pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, kind: FrameKind, payload: bytes | bytearray | memoryview, *, until: float | None = None) -> None:
        """Sends one frame; TimeoutError after the monotonic time `until`, OSError where the other side is gone."""
        if len(payload) > FRAME_MAX:
            raise ValueError("a frame is at most 64 MiB")
        self._end.settimeout(_left(until))
        head = _HEAD.pack(kind.value, len(payload))
        if len(payload) < _SMALL:
            self._end.sendall(head + payload)
        else:  # a large one is not copied
            self._end.sendall(head)
            self._end.sendall(payload)

    def send_json(self, kind: FrameKind, value: dict[str, Any], *, until: float | None = None) -> None:
        """Sends one frame of JSON."""
        self.send(kind, json.dumps(value).encode(), until=until)

    def receive(self, *, until: float | None = None) -> Frame | None:
        """The next frame, or None where the other side is gone; TimeoutError after the monotonic time `until`."""
        head = self._exactly(_HEAD.size, until)
        if head is None:
            return None
        kind, length = _HEAD.unpack(head)
        if length > FRAME_MAX:
            raise ValueError("a frame is at most 64 MiB")
        payload = self._exactly(length, until)
        return None if payload is None else Frame(FrameKind(kind), payload)

    def close(self) -> None:
        """Closes this end."""
        self._end.close()

    def _exactly(self, count: int, until: float | None) -> bytearray | None:
        received, so_far = bytearray(count), 0
        with memoryview(received) as room:
            while so_far < count:
                self._end.settimeout(_left(until))
                try:
                    came = self._end.recv_into(room[so_far:])
                except ConnectionError:
                    return None
                if not came:
                    return None
                so_far += came
        return received


def _left(until: float | None) -> float | None:
    """Seconds left, for a socket's timeout; None waits for ever, and zero would mean not to wait at all."""
    if until is None:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left
