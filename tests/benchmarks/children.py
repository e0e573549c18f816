"""Processes that are measured from outside: run to their end with time and peak memory, or a gateway until it is ready.

Each is ended by its own handle. A command that fails ends the benchmark with what it said: a figure of half a run is
no figure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kaianalytics.client.transport import GatewayClient
from kaianalytics.custody.home import Home
from kaianalytics.errors import Unreachable
from kaianalytics.protocol import API

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
_READY_SECONDS = 60
_PAUSE_SECONDS = 0.002


@dataclass(frozen=True)
class Ran:
    """How long a command took, and the most memory that it or a process it waited for held at a time, in bytes."""

    seconds: float
    peak: int


def run(command: Sequence[str], *, folder: Path = ROOT, environment: Mapping[str, str] | None = None) -> Ran:
    """Run a command to its end; RuntimeError with its last words unless it ends well."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **(environment or {})}, stdout=said, stderr=subprocess.STDOUT
        )
        # wait4, and not RUSAGE_CHILDREN: that one is the largest of all children so far
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{said.read().decode()[-2000:]}")
    return Ran(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def kai(home: Path, *arguments: str) -> Ran:
    """Run one `kai` command on a home."""
    return run([str(BIN / "kai"), *arguments], environment={"KAI_HOME": str(home)})


@contextmanager
def gateway(home: Home, **environment: str) -> Iterator[float]:
    """A gateway on the home until the block ends; the seconds from its start to its first answer."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [BIN / "kai", "gateway", "serve"],
        env={**os.environ, "KAI_HOME": str(home.root), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(home, process, started + _READY_SECONDS)
        yield time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(home: Home, process: subprocess.Popen[bytes], until: float) -> None:
    client = GatewayClient(home.socket_path, "anyone")
    while True:
        try:
            client.request_json("GET", f"{API}/health")
            return
        except Unreachable:
            if process.poll() is not None or time.perf_counter() > until:
                raise
            time.sleep(_PAUSE_SECONDS)
