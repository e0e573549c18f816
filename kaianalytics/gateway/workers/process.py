"""One worker process as the gateway holds it: started, asked, and ended by its own handle.

1. It is confined to its one store by the operating system, wherever the machine can (`confine.missing`). Then a worker
   that tells less than the essential layers answers nothing: what is said of the machine's isolation holds of workers.
2. What ends it is told as a WorkerFault with a code: DEADLINE, CANCELLED, WORKER_KILLED, WORKER_ENDED, WORKER_START.

The log gets the code of a failure and the engine's class of error: never a statement, a value or a path.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kaianalytics.errors import WorkerFault
from kaianalytics.gateway.workers.channel import Channel, Frame, FrameKind
from kaianalytics.gateway.workers.failures import Failure
from kaianalytics.gateway.workers.starting import KILLED, Starter
from kaianalytics.policy.secure_views import ViewSql
from kaianalytics.sandbox import confine
from kaianalytics.sandbox.confinement import ESSENTIAL, Confinement, Layer, worker
from kaianalytics.sandbox.limits import ResourceLimits

log = logging.getLogger(__name__)

MIB = 1024 * 1024
_PACKAGE = Path(__file__).resolve().parents[2]
_RULE = "a query runs in its session's own process, within its limits (DESIGN law 3)"


@dataclass(frozen=True)
class WorkerLimits:
    """What one worker may use, and how long and how many of them a pool keeps."""

    memory_mib: int = 1024
    threads: int = 2
    start_seconds: float = 30.0
    idle_seconds: float = 900.0
    workers_max: int = 64
    processor_seconds: int = 24 * 3600  # of all its threads together: a worker that nobody ended ends some day

    def __post_init__(self) -> None:
        seconds = (self.start_seconds, self.idle_seconds, self.processor_seconds)
        if min(self.memory_mib, self.threads, self.workers_max, *seconds) <= 0:
            raise ValueError("a worker's limits are positive numbers")

    @property
    def address_space(self) -> int:
        """Bytes of address space: twice the engine's memory, and what libraries and stacks map but never use.

        The engine's own limit does not hold inside one long call, so this cap is the one that does.
        """
        return (2 * self.memory_mib + 2048 + 64 * self.threads) * MIB

    def confined_to(self, store: Path) -> Confinement:
        """What a worker on this store may do: all layers of it where the machine has them, else its limits alone."""
        of_the_process = ResourceLimits(self.address_space, processor_seconds=self.processor_seconds)
        made = worker(store, _PACKAGE, of_the_process)
        return replace(made, layers=frozenset({Layer.LIMITS})) if confine.missing() else made


@dataclass(frozen=True)
class StoreSpec:
    """What a session's worker opens: purpose and access, the one file, its views, the stopped units."""

    purpose: str
    access: str
    path: Path
    views: tuple[ViewSql, ...]
    stops: frozenset[str] = frozenset()


class WorkerProcess:
    """A worker's process and channel. One thread asks at a time; any thread may cancel."""

    def __init__(self, starter: Starter) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = starter.start(theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = Channel(ours)
        self._cancelled = threading.Event()
        self.stops: frozenset[str] = frozenset()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.is_alive()

    def open(self, spec: StoreSpec, limits: WorkerLimits) -> None:
        """Has the worker open its store and lock itself; WORKER_START where it does not come so far."""
        confinement = limits.confined_to(spec.path)
        start = {
            "confinement": confinement.to_json(),
            "store": str(spec.path),
            "views": spec.views,
            "stops": sorted(spec.stops),
            "memory_limit": f"{limits.memory_mib}MiB",
            "threads": limits.threads,
        }
        until = time.monotonic() + limits.start_seconds
        try:
            self._channel.send_json(FrameKind.OPEN, start, until=until)
            ready = self._channel.receive(until=until)
        except OSError:
            ready = None
        if ready is None or ready.kind is not FrameKind.READY or not _holds(ready, confinement):
            if self._cancelled.is_set():
                raise self._ended()
            self.kill()
            hint = "the custodian runs `kai build` again: it builds anew a store that is missing or damaged"
            raise WorkerFault("WORKER_START", "The session's worker could not open its store.", rule=_RULE, hint=hint)
        self.stops = spec.stops

    def ask(self, request: dict[str, Any], until: float) -> dict[str, Any]:
        """Sends one request and returns its status, which is ok; raises the failure that it tells otherwise."""
        self.send(request, until)
        return self.status(until)

    def send(self, request: dict[str, Any], until: float) -> None:
        """Sends one request; a WorkerFault where the time is up or the process ended."""
        try:
            self._channel.send_json(FrameKind.REQUEST, request, until=until)
        except TimeoutError as error:
            raise self._past_deadline() from error
        except OSError as error:
            raise self._ended() from error

    def status(self, until: float) -> dict[str, Any]:
        """The status of the request that was sent, which is ok; raises the failure that it tells otherwise."""
        status = self.receive(until).json()
        if status.get("ok") is True:
            return status
        failure = Failure.from_json(status)
        log.warning("a worker answered %s (%s)", failure.code, failure.kind)
        if failure.ends_worker:
            self.kill()
        raise failure.error()

    def receive(self, until: float) -> Frame:
        """The next frame; a WorkerFault where the time is up or the process ended, and then it is dead."""
        try:
            frame = self._channel.receive(until=until)
        except TimeoutError as error:
            raise self._past_deadline() from error
        if frame is None:
            raise self._ended()
        return frame

    def cancel(self) -> None:
        """Kills the process; whoever waits for it is told CANCELLED."""
        self._cancelled.set()
        self._process.kill()

    def kill(self) -> None:
        """Ends the process now, and waits until it is gone."""
        self._process.kill()
        self._process.wait()
        self._process.close()
        self._channel.close()

    def _past_deadline(self) -> WorkerFault:
        self.kill()
        hint = "filter earlier, aggregate before joining, or ask for fewer rows"
        return WorkerFault("DEADLINE", "The query ran past its deadline and was ended.", rule=_RULE, hint=hint)

    def _ended(self) -> WorkerFault:
        code = self._process.wait()
        self.kill()
        if self._cancelled.is_set():
            return WorkerFault("CANCELLED", "The query was cancelled.", rule=_RULE, hint="run the cell again")
        if code == KILLED:
            hint = "run it again; if it ends again, it needs more memory than the machine has to give"
            return WorkerFault("WORKER_KILLED", "The query's process was killed from outside.", rule=_RULE, hint=hint)
        hint = "run it again; if it ends again, ask for less at once: fewer columns, shorter texts, an earlier filter"
        return WorkerFault("WORKER_ENDED", "The query's process ended before its answer.", rule=_RULE, hint=hint)


def _holds(ready: Frame, confinement: Confinement) -> bool:
    """Whether a worker told every essential layer that its confinement names."""
    told = ready.json().get("layers")
    return isinstance(told, list) and confinement.layers & ESSENTIAL <= set(told)
