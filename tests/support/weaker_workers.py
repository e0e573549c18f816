"""A worker with something in a layer's place, for tests alone: a program that is started instead of the real one.

`python -I weaker_workers.py <pid of the gateway> <layers>`, with one end of a socket pair as standard input.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from kaianalytics.attack import layers as L
from kaianalytics.gateway.workers import worker
from kaianalytics.gateway.workers.channel import Channel
from kaianalytics.gateway.workers.failures import Failure
from kaianalytics.gateway.workers.starting import _ENVIRONMENT, Process, _Child
from kaianalytics.sandbox import limits

OF_WORKERS = frozenset({L.ERROR_WORDS, L.SECOND_LOOK, L.LOCK_DOWN})


class Weaker:
    """Starts workers that lack layers."""

    def __init__(self, without: Collection[str]) -> None:
        self._without = sorted(set(without) & OF_WORKERS)

    def start(self, channel: socket.socket) -> Process:
        """A new worker."""
        command = (sys.executable, "-I", str(Path(__file__)), str(os.getpid()), ",".join(self._without))
        return _Child(
            subprocess.Popen(
                command,
                stdin=channel.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        )

    def prepare(self) -> None:
        """Nothing is kept ready."""

    def close(self) -> None:
        """Its workers end by themselves, once their channels are closed."""


def main(without: Collection[str]) -> None:
    """Be a worker that lacks layers."""
    limits.die_with_parent(int(sys.argv[1]))
    if L.SECOND_LOOK in without:
        worker._is_one_select = lambda connection, sql: True
    if L.LOCK_DOWN in without:
        worker.lock = lambda connection, store: None
    if L.ERROR_WORDS in without:
        worker.failure_of = telling(worker.failure_of)
    worker.work(Channel(socket.socket(fileno=0)))


def telling(failure_of):  # type: ignore[no-untyped-def]
    """A failure that is told in the engine's own words."""

    def told(classes) -> Failure:  # type: ignore[no-untyped-def]
        failure: Failure = failure_of(classes)
        return replace(failure, message=f"{failure.message} {sys.exc_info()[1]}")

    return told


if __name__ == "__main__":
    main(sys.argv[2].split(","))
