"""The pool: one SQL worker per session and access, started when first asked, ended when it is no longer trusted.

1. A deadline is the gateway's: past it the worker is killed with SIGKILL, whatever the engine thinks it is doing.
2. A worker that was killed, ran out of memory or died is a WorkerFault with a code; the session's next query starts a
   fresh worker, with the stops as they stand.
3. Sessions do not wait for each other; the queries of one session run one after another.
4. A stop reaches every query that is sent to a worker after the pool was told of it, by `update_stops` or by anyone's
   `session`: whether its stops are those of the moment is looked at under the lock that telling takes. It is never
   taken back while the pool lives.
5. A query whose asker is gone is ended: before its worker is asked, or with its worker; never another's query.
6. No worker outlives the gateway: it ends when its channel closes, and the kernel kills it with the process that it
   was forked from, and that with the pool's own thread.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

from kaianalytics.errors import KaiError, WorkerFault
from kaianalytics.gateway.workers.answer import Answer, Row, rows_of
from kaianalytics.gateway.workers.channel import Frame
from kaianalytics.gateway.workers.process import MIB, StoreSpec, WorkerLimits, WorkerProcess
from kaianalytics.gateway.workers.starting import Starter, starter

log = logging.getLogger(__name__)

ROWS_MAX = 5_000_000
BYTES_MAX = 512 * MIB


class SessionWorker:
    """One session's worker at one access level. The process starts with the first query, and again after a fault."""

    def __init__(self, spec: StoreSpec, limits: WorkerLimits, start: Callable[[], WorkerProcess]) -> None:
        self.spec = spec
        self.used = time.monotonic()
        self._limits = limits
        self._start = start
        self._busy = threading.Lock()
        self._telling = threading.Lock()  # held while a request is sent, and while the stops change
        self._process: WorkerProcess | None = None
        self._closed = False
        self._gone: threading.Event | None = None  # of the query whose turn it is

    def run(
        self,
        sql: str,
        deadline_s: float,
        *,
        gone: threading.Event | None = None,
        rows_max: int = ROWS_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> Answer:
        """The answer to one admitted SELECT as Arrow IPC bytes, whole in the worker before its first byte comes.

        Raises QueryFailed for what the statement can't do, WorkerFault where the process ended. The deadline counts
        from now to the last byte read, the wait for the session's earlier query included. `gone` is set, and `cancel`
        called with it, once nobody waits for the answer.
        """
        started = time.monotonic()
        until = started + deadline_s
        if not self._busy.acquire(timeout=deadline_s):
            raise WorkerFault("BUSY", "The session's earlier query still runs.", hint="wait for it, or interrupt it")
        self._gone = gone
        try:
            request = {"op": "query", "sql": sql, "rows_max": rows_max, "bytes_max": bytes_max}
            process = self._sent(request, until, gone)
            schema = process.status(until)["schema"]
        except BaseException as error:
            self._give_back(whole=False, error=error)
            raise
        return Answer(_Frames(self, process, until), tuple((name, kind) for name, kind in schema), started)

    def fetch(
        self, sql: str, deadline_s: float, *, gone: threading.Event | None = None, rows_max: int = ROWS_MAX
    ) -> list[Row]:
        """The rows of one SELECT of our own compiler as Python values; whole decimals come as integers."""
        return rows_of(self.run(sql, deadline_s, gone=gone, rows_max=rows_max))

    def stop(self, units: frozenset[str]) -> None:
        """Leaves these units out of every query that is sent from now on, beside those stopped before."""
        if not units <= self.spec.stops:
            with self._telling:
                self.spec = replace(self.spec, stops=self.spec.stops | units)

    def cancel(self, gone: threading.Event | None = None) -> bool:
        """Kills the process if a query runs, with `gone` that one alone: it ends with the code CANCELLED.

        For any thread.
        """
        process = self._process
        if process is None or not self._busy.locked() or (gone is not None and self._gone is not gone):
            return False
        process.cancel()
        return True

    def close(self) -> None:
        """Ends the process with whatever it runs, for good."""
        self._closed = True
        self.cancel()
        with self._busy:
            self._end()

    def end_if_idle(self, before: float) -> None:
        """Ends the process if no query runs, and none was asked since the monotonic time `before`."""
        if self.used <= before and self._busy.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._busy.release()

    def is_unused(self, before: float) -> bool:
        """Whether there is no process, and nobody was given it since the monotonic time `before`."""
        return self.used <= before and self._process is None and not self._busy.locked()

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        process = self._process
        return process.pid if process else None

    def _sent(self, request: dict[str, Any], until: float, gone: threading.Event | None) -> WorkerProcess:
        """The process that the request was sent to, which knew the stops of that moment (law 4)."""
        while True:
            _demand_asker(gone)
            process = self._ready(until)
            _demand_asker(gone)  # a process takes a while to start
            with self._telling:
                if process.stops == self.spec.stops:
                    process.send(request, until)
                    return process

    def _ready(self, until: float) -> WorkerProcess:
        """A process that is up and knows the stops of now."""
        if self._closed:
            raise WorkerFault("SESSION_CLOSED", "The session is closed.", hint="restart the kernel to open another")
        self.used = time.monotonic()
        if self._process is not None and not self._process.is_alive:
            self._end()  # it died while nobody asked: no query is lost by starting another
        spec = self.spec
        if self._process is None:
            self._process = self._start()
            self._process.open(spec, self._limits)
        if self._process.stops != spec.stops:
            self._process.ask({"op": "stops", "units": sorted(spec.stops)}, until)
            self._process.stops = spec.stops
        return self._process

    def _give_back(self, *, whole: bool, error: BaseException | None = None) -> None:
        """Ends the turn; the process goes too after half an answer, and after any error that is no refusal."""
        if isinstance(error, WorkerFault):
            log.warning("a worker's query ended with %s", error.code)
        if not whole and (error is None or isinstance(error, WorkerFault) or not isinstance(error, KaiError)):
            self._end()
        self.used = time.monotonic()
        self._busy.release()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()


def _discard(started: Future[WorkerProcess]) -> None:
    """Ends a process that came too late for whoever asked."""
    if started.exception() is None:
        started.result().kill()


def _demand_asker(gone: threading.Event | None) -> None:
    if gone is not None and gone.is_set():
        raise WorkerFault("CANCELLED", "The query was cancelled.", hint="run the cell again")


class _Frames:
    """One answer's frames, and the turn that its reading takes."""

    def __init__(self, worker: SessionWorker, process: WorkerProcess, until: float) -> None:
        self._worker = worker
        self._process = process
        self._until = until

    def receive(self) -> Frame:
        return self._process.receive(self._until)

    def finished(self, *, whole: bool) -> None:
        self._worker._give_back(whole=whole)


class WorkerPool:
    """The workers of every session of one gateway. For every thread."""

    def __init__(self, limits: WorkerLimits | None = None, starting: Starter | None = None) -> None:
        self.limits = limits or WorkerLimits()
        self._starter = starting or starter()
        self._workers: dict[tuple[str, str], SessionWorker] = {}
        self._stopped: dict[str, frozenset[str]] = {}  # by purpose, all that the pool was ever told
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._requests: queue.SimpleQueue[Future[WorkerProcess] | None] = queue.SimpleQueue()
        # Processes start on this thread alone: the kernel kills a worker when the *thread* that started it ends.
        self._keeper = threading.Thread(target=self._keep, name="worker-pool", daemon=True)
        self._keeper.start()

    def session(self, session_id: str, spec: StoreSpec) -> SessionWorker:
        """The session's worker for the store; another store than before ends the earlier worker first."""
        key = (session_id, spec.access)
        with self._lock:
            spec = replace(spec, stops=self._told(spec.purpose, spec.stops))
            found = self._workers.get(key)
            same = found is not None and replace(found.spec, stops=spec.stops) == spec
            if found is None or not same:
                self._workers[key] = SessionWorker(spec, self.limits, self._start)
            worker, purposes_own = self._workers[key], self._of_purpose(spec.purpose)
            worker.used = time.monotonic()  # under the lock: what somebody was just given is not forgotten
        for each in purposes_own:
            each.stop(spec.stops)
        if found is not None and found is not worker:
            found.close()
        return worker

    def update_stops(self, purpose: str, pseudonyms: Iterable[str]) -> None:
        """Leaves these units of a purpose out of every query that is sent from now, in running workers too."""
        with self._lock:
            stops, workers = self._told(purpose, frozenset(pseudonyms)), self._of_purpose(purpose)
        for worker in workers:  # not under the pool's lock, for a worker may be taking its time over a request
            worker.stop(stops)

    def _told(self, purpose: str, stops: frozenset[str]) -> frozenset[str]:
        """All that the pool was ever told to stop for the purpose: of two askers either may have read first."""
        self._stopped[purpose] = stops | self._stopped.get(purpose, frozenset())
        return self._stopped[purpose]

    def _of_purpose(self, purpose: str) -> list[SessionWorker]:
        return [worker for worker in self._workers.values() if worker.spec.purpose == purpose]

    def cancel(self, session_id: str, gone: threading.Event | None = None) -> bool:
        """Ends what the session runs just now, with `gone` that one query alone; True if something did."""
        cancelled = [worker.cancel(gone) for worker in self._of(session_id)]  # every one, not up to the first
        return any(cancelled)

    def close(self, session_id: str) -> None:
        """Ends the session's workers, and forgets them."""
        for worker in self._of(session_id, forget=True):
            worker.close()

    @property
    def is_closed(self) -> bool:
        """Whether the gateway is ending."""
        return self._closed.is_set()

    def close_all(self) -> None:
        """Ends every worker and the pool itself."""
        self._closed.set()
        with self._lock:
            workers = list(self._workers.values())
            self._workers.clear()
        for worker in workers:
            worker.close()
        self._requests.put(None)
        self._keeper.join()

    def _of(self, session_id: str, *, forget: bool = False) -> list[SessionWorker]:
        with self._lock:
            keys = [key for key in self._workers if key[0] == session_id]
            return [self._workers.pop(key) if forget else self._workers[key] for key in keys]

    def _start(self) -> WorkerProcess:
        """A new process, once there is room for it; called by a session's own thread."""
        if self._closed.is_set():
            raise WorkerFault("SESSION_CLOSED", "The gateway is closing.", hint="try again once it is back")
        self._make_room()
        started: Future[WorkerProcess] = Future()
        self._requests.put(started)
        try:
            return started.result(timeout=self.limits.start_seconds)
        except (OSError, TimeoutError) as error:
            if not started.cancel():
                started.add_done_callback(_discard)
            hint = "the machine may be out of processes or files: tell the custodian"
            raise WorkerFault("WORKER_START", "The session's worker could not be started.", hint=hint) from error

    def _make_room(self) -> None:
        """Ends the worker that was idle longest if as many are up as may be."""
        for idle in (self.limits.idle_seconds, 0.0):
            up = self._up()
            for worker in up[: max(0, len(up) - self.limits.workers_max + 1)] if idle == 0 else up:
                worker.end_if_idle(time.monotonic() - idle)
        if len(self._up()) >= self.limits.workers_max:
            hint = "wait until another session's query has ended"
            raise WorkerFault("TOO_MANY_WORKERS", "Every worker that the gateway may start is busy.", hint=hint)

    def _rest(self, before: float) -> None:
        """Ends what was not asked since, and forgets sessions that had ended by then: not every kernel can say so."""
        for worker in self._up():
            worker.end_if_idle(before)
        with self._lock:
            self._workers = {key: worker for key, worker in self._workers.items() if not worker.is_unused(before)}

    def _up(self) -> list[SessionWorker]:
        """The workers that hold a process, the longest unused first."""
        with self._lock:
            up = [worker for worker in self._workers.values() if worker.pid is not None]
        return sorted(up, key=lambda worker: worker.used)

    def _keep(self) -> None:
        """Has processes started, on this thread alone, until the pool is closed."""
        with suppress(OSError):  # if it fails again, whoever asks is told
            self._starter.prepare()
        try:
            self._start_as_asked()
        finally:
            self._starter.close()

    def _start_as_asked(self) -> None:
        """Starts processes as they are asked for, and ends idle ones meanwhile."""
        while True:
            try:
                request = self._requests.get(timeout=max(0.05, self.limits.idle_seconds / 4))
            except queue.Empty:
                self._rest(time.monotonic() - self.limits.idle_seconds)
                continue
            if request is None:
                return
            if not request.set_running_or_notify_cancel():
                continue  # whoever asked has given up
            try:
                request.set_result(WorkerProcess(self._starter))
            except OSError as error:
                request.set_exception(error)
