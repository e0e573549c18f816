"""Frames: whole or not there, bounded, and never waited for past the time."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from kaianalytics.gateway.workers.channel import FRAME_MAX, Channel, FrameKind


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def test_a_frame_arrives_as_it_was_sent(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    Channel(theirs).send_json(FrameKind.STATUS, {"ok": True, "語": ["あ"]})
    frame = channel.receive()
    assert frame is not None
    assert (frame.kind, frame.json()) == (FrameKind.STATUS, {"ok": True, "語": ["あ"]})


def test_half_a_frame_is_no_frame(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.sendall(struct.pack(">cI", b"C", 10) + b"half")
    theirs.close()
    assert channel.receive() is None


def test_the_other_sides_end_is_none_and_sending_to_it_raises(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.close()
    assert channel.receive() is None
    with pytest.raises(OSError):
        channel.send(FrameKind.REQUEST, b"x")


def test_waiting_ends_in_time_also_inside_a_frame(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.sendall(struct.pack(">cI", b"C", 10) + b"half")
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        channel.receive(until=started + 0.1)
    assert time.monotonic() - started < 1
    with pytest.raises(TimeoutError):
        channel.receive(until=started - 1)


@pytest.mark.parametrize("head", [struct.pack(">cI", b"C", FRAME_MAX + 1), struct.pack(">cI", b"?", 0)])
def test_a_frame_too_large_or_of_no_known_kind_is_refused(ends: tuple[Channel, socket.socket], head: bytes) -> None:
    channel, theirs = ends
    theirs.sendall(head)
    with pytest.raises(ValueError):
        channel.receive()


def test_a_frames_json_is_an_object(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    Channel(theirs).send(FrameKind.STATUS, b"[1]")
    frame = channel.receive()
    assert frame is not None
    with pytest.raises(ValueError):
        frame.json()
