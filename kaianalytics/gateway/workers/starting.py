"""How a worker's process comes to be, and the handle by which the gateway ends it and learns its end.

1. `Warm` has one process, with the engine's libraries in memory and nothing else, fork a worker whenever asked. If that
   process is gone, another is started; its workers went with it.
2. `Cold` starts an interpreter for each worker: for systems without handles of processes, and to compare with.
3. What is held is never a process's number, which the system gives to another process after the end: a descriptor of
   the process, or the child of this one that nobody else waits for.
4. Nothing is inherited: an isolated interpreter, fixed environment names, one end of a socket pair. The kernel ends a
   worker with the warm process, and that with the gateway's *thread* that started it: `start` is for one thread, which
   lives as long as its workers should.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Protocol

_ENVIRONMENT = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # a thread before Landlock would stay free of it
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",  # for the same reason
    "PATH": "/usr/bin:/bin",
    "TZ": "UTC",
}
_ROOM = "kaianalytics.gateway.workers"
KILLED = -signal.SIGKILL
ANSWER_SECONDS = 20.0  # for the warm process, whose libraries are read from disk before its first answer
STATUS = struct.Struct("=i")  # a worker's exit code, as the warm process tells it
PID = struct.Struct("=q")


class Process(Protocol):
    """A worker's process. For every thread, but `close`, which comes last."""

    pid: int

    def is_alive(self) -> bool:
        """Whether it still runs."""

    def kill(self) -> None:
        """Ends it now; never another process, however long it is gone."""

    def wait(self) -> int:
        """Waits for its end: the exit code, or the signal's number below zero."""

    def close(self) -> None:
        """Gives the handle up, after its end."""


class Starter(Protocol):
    """Starts workers' processes. For one thread."""

    def start(self, channel: socket.socket) -> Process:
        """A new worker, which has `channel` as its standard input; OSError where there can't be one."""

    def prepare(self) -> None:
        """Has ready what the first start would wait for."""

    def close(self) -> None:
        """Ends what was prepared, and its workers."""


def starter() -> Starter:
    """The quickest way to start workers that this system has."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return Cold()
    return Warm()


class Cold:
    """An interpreter of its own for each worker."""

    def start(self, channel: socket.socket) -> Process:
        """A new worker."""
        return _Child(interpreter(f"{_ROOM}.worker", channel))

    def prepare(self) -> None:
        """Nothing is kept ready."""

    def close(self) -> None:
        """Its workers end by themselves, once their channels are closed."""


class Warm:
    """The gateway's end of the warm process (`warm`)."""

    def __init__(self) -> None:
        self._parent: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self, channel: socket.socket) -> Process:
        """A new worker; from another warm process where the one before is gone."""
        status, theirs = os.pipe()
        try:
            pid, handle = self._asked(channel.fileno(), theirs)
        except OSError:
            os.close(status)
            raise
        finally:
            os.close(theirs)
        return _Forked(pid, handle, status)

    def prepare(self) -> None:
        """Starts the warm process if there is none."""
        if self._parent is None or self._parent.poll() is not None:
            self.close()
            self._control, theirs = socket.socketpair()
            self._control.settimeout(ANSWER_SECONDS)
            with theirs:
                self._parent = interpreter(f"{_ROOM}.warm", theirs)

    def close(self) -> None:
        """Ends the warm process, and so its workers."""
        parent, self._parent, control, self._control = self._parent, None, self._control, None
        if control is not None:
            control.close()
        if parent is not None:
            parent.kill()
            parent.wait()

    def _asked(self, *descriptors: int) -> tuple[int, int]:
        """A new worker's number and descriptor. A warm process that could not fork just now stays."""
        try:
            return self._answer(descriptors)
        except ChildProcessError:
            raise
        except OSError:
            self.close()
            return self._answer(descriptors)

    def _answer(self, descriptors: tuple[int, ...]) -> tuple[int, int]:
        self.prepare()
        assert self._control is not None
        socket.send_fds(self._control, [b"+"], descriptors)
        said, handles, _, _ = socket.recv_fds(self._control, PID.size, 1, socket.MSG_CMSG_CLOEXEC)
        if len(said) != PID.size:
            raise ConnectionError("the warm process is gone")
        if len(handles) != 1:
            raise ChildProcessError("no process could be started")
        return int(PID.unpack(said)[0]), handles[0]


class _Child:
    """A child of this process."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self._popen = popen

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def kill(self) -> None:
        self._popen.kill()

    def wait(self) -> int:
        return self._popen.wait()

    def close(self) -> None:
        self._popen.wait()


class _Forked:
    """A child of the warm process: a descriptor of it, and the pipe over which its exit code comes."""

    def __init__(self, pid: int, handle: int, status: int) -> None:
        self.pid = pid
        self._handle = handle
        self._status = status
        self._code: int | None = None
        self._lock = threading.Lock()  # a descriptor's number, once closed, would be another's
        self._closed = False

    def is_alive(self) -> bool:
        with self._lock:
            return not self._closed and not _readable(self._handle, 0)

    def kill(self) -> None:
        with self._lock, suppress(ProcessLookupError):
            if not self._closed:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def wait(self) -> int:
        if self._code is None:
            _readable(self._handle, None)
            self._code = self._told() if _readable(self._status, ANSWER_SECONDS) else KILLED
        return self._code

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._handle)
                os.close(self._status)

    def _told(self) -> int:
        """What the warm process said of its end; if that is gone too, the kernel has killed this with it."""
        said = os.read(self._status, STATUS.size)
        return int(STATUS.unpack(said)[0]) if len(said) == STATUS.size else KILLED


def _readable(descriptor: int, seconds: float | None) -> bool:
    polling = select.poll()
    polling.register(descriptor, select.POLLIN)
    return bool(polling.poll(None if seconds is None else seconds * 1000))


def interpreter(module: str, standard_input: socket.socket) -> subprocess.Popen[bytes]:
    """An isolated interpreter that runs a module of this package; it is told whose child it is to be."""
    return subprocess.Popen(
        (sys.executable, "-I", "-m", module, str(os.getpid())),
        stdin=standard_input.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
