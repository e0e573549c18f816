"""`kai` commands for tests, forked from one process that has their modules in memory: a command costs no imports.

Each is a process of its own, with its arguments, its environment and its own output, and ends with its own exit code;
what it does not have of its own is the interpreter's start. `World.type` asks for them. The gateway, and whatever a
test kills or reads from as it runs, is started by its script like anybody's.

The process that forks has one thread, or it refuses: another thread's locks would stay held in what it forks.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

# Not all of `kaianalytics.cli`: what imports Polars starts threads.
PRELOADED = ("terminal", "home", "contracts", "build", "identity", "budget", "stop", "audit", "review", "workspace")
_THREADS = Path("/proc/self/task")  # where a system doesn't tell them, a command is started by its script
_QUIET = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}


class WarmKai:
    """The process that forks, started when it is first asked, gone with the tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """The command's exit code, and what it said on both of its outputs."""
        if not _THREADS.exists():
            return _cold(arguments, environment)
        code_end, ours = os.pipe()
        said, theirs = os.pipe()
        request = json.dumps({"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())})
        with self._lock:
            control = self._started()
            control.sendall(len(request.encode()).to_bytes(4, "big") + request.encode())
            socket.send_fds(control, [b"+"], [ours, theirs])
        os.close(ours)
        os.close(theirs)
        with os.fdopen(said, "rb") as output, os.fdopen(code_end, "rb") as code:
            text = output.read().decode()
            return int(code.read() or b"-9"), text

    def _started(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair()
            with theirs:
                environment = {**os.environ, **_QUIET}
                command = [sys.executable, __file__]
                self._process = subprocess.Popen(command, stdin=theirs.fileno(), env=environment)
            atexit.register(self.end)
        return self._control

    def end(self) -> None:
        """End it."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait(10)


def _cold(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    command = [Path(sys.executable).with_name("kai"), *arguments]
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ran.returncode, ran.stdout


def serve(control: socket.socket) -> None:
    """Fork for each request until the tests are gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for a command wait for it themselves
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in PRELOADED:
        import_module(f"kaianalytics.cli.{module}")
    if len(list(_THREADS.iterdir())) != 1:
        raise SystemExit("what is preloaded starts threads")
    while len(head := control.recv(4, socket.MSG_WAITALL)) == 4:
        request = control.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        _, (code, output), _, _ = socket.recv_fds(control, 1, 2)
        if os.fork() == 0:
            control.close()
            _wait_for(json.loads(request), code, output)
        os.close(code)
        os.close(output)


def _wait_for(request: dict[str, object], code: int, output: int) -> None:
    """A process for each command, which alone knows its end, however it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(code)
        _become(request, output)
    os.close(output)
    _, status = os.waitpid(child, 0)
    os.write(code, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: dict[str, object], output: int) -> None:
    """The command, as its script would run it."""
    ended = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # a descriptor is what is wanted
            os.dup2(nothing.fileno(), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.environ.clear()
        os.environ.update(request["environment"])  # type: ignore[call-overload]
        os.chdir(request["folder"])  # type: ignore[arg-type]
        sys.argv = ["kai", *request["arguments"]]  # type: ignore[misc]
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        import kaianalytics.cli

        kaianalytics.cli.main()
        ended = 0
    except SystemExit as end:
        ended = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended)


WARM_KAI = WarmKai()

if __name__ == "__main__":
    serve(socket.socket(fileno=os.dup(0)))
