"""Workers that are attacked from inside: a worker's own steps, in its order, and then attacks instead of requests.

1. It differs from a worker in this alone: layers may be left out, threads of its own were started before and after the
   lock, and attacks are run on them. Nothing in it runs text as code: an attack is a function of this package.
2. `EARLY` was started before the engine, `LATE` after seccomp, `ENGINE` is a thread of the engine's own, on which a
   function of ours is called for a row of a table; `MAIN` is the thread that opened.

`python -I -m kaianalytics.attack.in_workers <pid of its starter>`, with one end of a socket pair as standard input.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kaianalytics.attack.from_workers import ATTACKS, LOCK, Attack, Facts
from kaianalytics.gateway.workers import worker
from kaianalytics.gateway.workers.channel import Channel, FrameKind
from kaianalytics.gateway.workers.process import MIB, StoreSpec, WorkerLimits
from kaianalytics.gateway.workers.starting import interpreter
from kaianalytics.sandbox import confine, limits
from kaianalytics.sandbox.confinement import Confinement

MAIN, EARLY, LATE, ENGINE = "main", "early", "late", "engine"
THREADS = (MAIN, EARLY, LATE, ENGINE)
_ROWS = 1_000_000  # several of the pieces that the engine's threads take
_SECONDS = 60.0
_SECRET, _WORD = "kai-canary-beside-a-worker", "kai-attack-on-a-worker"

Work = Callable[[], bool]


@contextmanager
def surroundings(folder: Path, store: Path, other_store: Path, bounds: WorkerLimits) -> Iterator[Facts]:
    """What the attacker could be after, in an empty folder, in this process's memory, and listening."""
    (folder / "file").write_text(_SECRET, encoding="ascii")
    (folder / "scratch").touch(mode=0o600)
    for number in range(8):
        (folder / f"table-{number}.csv").write_text("note,n\n" + f"{_SECRET},{number}\n" * 20_000, encoding="ascii")
    remembered = ctypes.create_string_buffer(_SECRET.encode())
    with ExitStack() as open_:
        for address in (str(folder / "s"), f"\0{_WORD}-{os.getpid()}"):
            listener = open_.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        port = open_.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield Facts(
            secret=_SECRET, file=str(folder / "file"), scratch=str(folder / "scratch"), folder=str(folder),
            store=str(store), other_store=str(other_store), process=os.getpid(),
            address=ctypes.addressof(remembered), listener=str(folder / "s"), port=port.getsockname()[1],
            word=f"{_WORD}-{os.getpid()}", memory=bounds.address_space + MIB, open_files=100,
        )  # fmt: skip


class Victim:
    """A worker to be attacked, as whoever started it holds it."""

    def __init__(self, channel: Channel, pid: int) -> None:
        self.pid = pid
        self._channel = channel

    def lets_through(self, attack: Attack, thread: str) -> bool:
        """Whether the attack went through on that thread; an attack that ended the process did not."""
        until = time.monotonic() + _SECONDS
        self._channel.send_json(FrameKind.REQUEST, {"attack": attack.name, "thread": thread}, until=until)
        said = self._channel.receive(until=until)
        return said is not None and said.json()["through"] is True


@contextmanager
def victim(spec: StoreSpec, bounds: WorkerLimits, without: Iterable[str], facts: Facts) -> Iterator[Victim]:
    """A worker on that store without those layers, until it is no longer needed."""
    confinement = bounds.confined_to(spec.path)
    opening = {
        "confinement": replace(confinement, layers=confinement.layers - set(without)).to_json(),
        "store": str(spec.path),
        "views": spec.views,
        "stops": sorted(spec.stops),
        "memory_limit": f"{bounds.memory_mib}MiB",
        "threads": bounds.threads,
        "locked": LOCK not in set(without),
        "facts": asdict(facts),
    }
    ours, theirs = socket.socketpair()
    with theirs:
        process = interpreter(__name__, theirs)
    channel = Channel(ours)
    try:
        channel.send_json(FrameKind.OPEN, opening)
        if channel.receive(until=time.monotonic() + _SECONDS) is None:
            raise ConnectionError("the worker to be attacked did not start")
        yield Victim(channel, process.pid)
    finally:
        channel.close()
        process.kill()
        process.wait()


def main() -> None:
    """Open as a worker does, and run attacks until nobody asks."""
    limits.die_with_parent(int(sys.argv[1]))
    channel = Channel(socket.socket(fileno=0))
    opening = channel.receive()
    if opening is not None:
        _serve(channel, _Worker(opening.json()))


class _Worker:
    """The worker's steps, with threads of ours among them."""

    def __init__(self, start: dict[str, Any]) -> None:
        confinement = Confinement.from_json(start["confinement"])
        self._facts = Facts(**start["facts"])
        bounds = confine.enter_limits(confinement)
        confine.enclose(confinement)
        self._early = _started()
        self._connection = worker.attach(start)
        self._on_a_row: Work = bool
        self._connection.execute(f"CREATE TABLE pieces AS SELECT range AS piece FROM range({_ROWS})")
        self._connection.create_function("attacked", self._row, ["BIGINT"], "BIGINT")
        if start["locked"]:
            worker.lock(self._connection, start["store"])
        confine.seal(confinement, bounds)
        self._late = _started()

    def through(self, attack: Attack, thread: str) -> bool:
        """Whether the attack goes through on a thread."""
        on: dict[str, Callable[[Work], bool]] = {
            MAIN: lambda work: work(),
            EARLY: lambda work: self._early.submit(work).result(),
            LATE: lambda work: self._late.submit(work).result(),
            ENGINE: self._on_the_engines,
        }
        return on[thread](lambda: self._tried(attack))

    def _tried(self, attack: Attack) -> bool:
        try:
            if isinstance(attack.tried, str):
                return self._answered(attack.tried)
            answer = attack.tried(self._facts)
            return answer is None or bool(answer)
        except Exception:
            return False

    def _answered(self, statement: str) -> bool:
        facts = {name: str(value).replace("'", "''") for name, value in asdict(self._facts).items()}
        self._connection.execute(statement.format(**facts)).fetchall()
        return True

    def _on_the_engines(self, work: Work) -> bool:
        """Whether it goes through on the first of the engine's own threads that comes to a row."""
        here, found, turn = threading.get_native_id(), list[bool](), threading.Lock()

        def on_a_row() -> bool:
            if found:
                return True
            if threading.get_native_id() == here:
                time.sleep(0.001)  # so that another thread comes to one
            elif turn.acquire(blocking=False):
                found.append(work())
            return True

        self._on_a_row = on_a_row
        while not found:
            self._connection.execute("SELECT max(attacked(piece)) FROM pieces WHERE piece % 5000 = 0").fetchall()
        return found[0]

    def _row(self, piece: int) -> int:
        self._on_a_row()
        return piece


def _started() -> ThreadPoolExecutor:
    """A thread that runs already."""
    threads = ThreadPoolExecutor(1)
    threads.submit(bool).result()
    return threads


def _serve(channel: Channel, attacked: _Worker) -> None:
    by_name = {attack.name: attack for attack in ATTACKS}
    channel.send_json(FrameKind.READY, {})
    while (frame := channel.receive()) is not None:
        asked = frame.json()
        through = attacked.through(by_name[asked["attack"]], asked["thread"])
        channel.send_json(FrameKind.STATUS, {"through": through})


if __name__ == "__main__":
    main()
