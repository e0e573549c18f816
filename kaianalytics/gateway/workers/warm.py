"""The warm process: it has the engine's libraries in memory, and forks a worker whenever the gateway asks.

`python -I -m kaianalytics.gateway.workers.warm <pid of the gateway>`, with one end of a socket pair as standard input.

1. It never opens a database, a store or a key, and gives up its capabilities first. What it has in memory is code.
2. It has one thread, and looks before each fork: another thread's locks would stay held in the child, and Landlock
   would not bind it. With a second thread it ends, and the gateway starts another.
3. A worker gets its channel as standard input and no other descriptor, in a session of its own. It dies with this
   process, which dies with the gateway.
4. A worker's end is told over the worker's own pipe: its exit code. Until then its number is nobody else's, and the
   gateway holds a descriptor of it, so that nothing else is ever killed in its place.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from kaianalytics.gateway.workers import worker
from kaianalytics.gateway.workers.channel import Channel
from kaianalytics.gateway.workers.starting import PID, STATUS
from kaianalytics.sandbox import capabilities, landlock, limits

_DESCRIPTORS_MAX = 1 << 20


def main() -> None:
    """Forks workers until the gateway is gone."""
    limits.die_with_parent(int(sys.argv[1]))
    with suppress(OSError):
        capabilities.drop()
    gc.collect()
    gc.freeze()  # else the collector of each worker would write to, and so copy, what all of them share
    serve(socket.socket(fileno=0))


def serve(control: socket.socket) -> None:
    """Forks one worker for each request, and tells the ends of workers meanwhile."""
    ends: dict[int, tuple[int, int]] = {}  # by descriptor of the worker: its number, and the pipe to tell its end over
    polling = select.poll()
    polling.register(control, select.POLLIN)
    while True:
        for ready, _ in polling.poll():
            if ready in ends:
                polling.unregister(ready)
                _tell(ready, *ends.pop(ready))
                continue
            said, descriptors, _, _ = socket.recv_fds(control, 1, 2, socket.MSG_CMSG_CLOEXEC)
            if not said or len(descriptors) != 2 or landlock.threads() != 1:
                return
            channel, end = descriptors
            if (handle := _fork(control, channel, end, ends)) is not None:
                polling.register(handle, select.POLLIN)


def _fork(control: socket.socket, channel: int, end: int, ends: dict[int, tuple[int, int]]) -> int | None:
    """A worker's descriptor, which the gateway has got as well; None where no process could be started."""
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        os.close(channel)
        os.close(end)
        control.sendall(PID.pack(0))
        return None
    if pid == 0:
        _become_worker(channel, parent)
    os.close(channel)
    handle = os.pidfd_open(pid)
    ends[handle] = (pid, end)
    socket.send_fds(control, [PID.pack(pid)], [handle])
    return handle


def _tell(handle: int, pid: int, end: int) -> None:
    _, status = os.waitpid(pid, 0)
    os.close(handle)
    with suppress(OSError):  # whoever asked has closed its side
        os.write(end, STATUS.pack(os.waitstatus_to_exitcode(status)))
    os.close(end)


def _become_worker(channel: int, parent: int) -> NoReturn:
    """Be a worker to the end; nothing of the warm process's own loop is ever returned to."""
    code = 1
    try:
        limits.die_with_parent(parent)
        os.setsid()
        os.dup2(channel, 0)
        os.closerange(3, _DESCRIPTORS_MAX)
        worker.work(Channel(socket.socket(fileno=0)))
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
