"""Resource limits that a process puts on itself before it opens anything: the kernel's own, which no library can lift.

1. Soft and hard limit are set alike, so nothing that runs later can raise them again.
2. What could not be set is told, not passed over: `apply` returns the names of the limits that hold.
3. Processes are counted per user, and so are limited only where the count is the process's own: in a user namespace
   (`namespaces`). Elsewhere it would let one session starve another; there `cgroups` may count them.

`die_with_parent` uses Linux's parent-death signal, which follows the *thread* that started the process: start such a
process from a thread that lives as long as it should.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ResourceLimits:
    """What one process may use: bytes of address space and of files it writes, open files; never a core dump.

    `data` bounds the memory that is its own and may be written: an engine that draws charts reserves 64 GiB of
    addresses and uses little of it. `processes` bounds all processes and threads of a user namespace, and
    `processor_seconds` the time that all threads of the process compute. Of these three, 0 is no bound.
    """

    address_space: int
    open_files: int = 64
    file_size: int = 0
    data: int = 0
    processes: int = 0
    processor_seconds: int = 0

    def __post_init__(self) -> None:
        optional = (self.file_size, self.data, self.processes, self.processor_seconds)
        if self.address_space <= 0 or self.open_files <= 0 or min(optional) < 0:
            raise ValueError("a resource limit is a positive number")


def apply(limits: ResourceLimits) -> frozenset[str]:
    """Puts the limits on this process and returns the names of those that hold now."""
    wanted = {
        "core": (resource.RLIMIT_CORE, 0),
        "address space": (resource.RLIMIT_AS, limits.address_space),
        "file size": (resource.RLIMIT_FSIZE, limits.file_size),
        "open files": (resource.RLIMIT_NOFILE, limits.open_files),
    }
    wanted |= {"memory of each process": (resource.RLIMIT_DATA, limits.data)} if limits.data else {}
    held = {name for name, (kind, value) in wanted.items() if _set(kind, value)}
    # a second apart, else the end would be a SIGKILL, and look like one from outside
    seconds = limits.processor_seconds
    held |= {"processor time"} if seconds and _set(resource.RLIMIT_CPU, seconds, seconds + 1) else set()
    return frozenset(held)


def limit_processes(limits: ResourceLimits) -> bool:
    """Bounds the processes and threads of this process's user namespace; True if the bound holds (law 3).

    Linux counts nobody who is root outside.
    """
    return bool(limits.processes) and os.getuid() != 0 and _set(resource.RLIMIT_NPROC, limits.processes)


def die_first() -> None:
    """Has a machine that is out of memory end this process before others; where it can't be asked, it is not."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def die_with_parent(parent: int) -> bool:
    """Has the kernel kill this process when the thread that started it ends; True where the kernel can (Linux).

    Ends the process at once if the parent is gone already.
    """
    if sys.platform != "linux":
        return False
    held = ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
    if os.getppid() != parent:
        os._exit(0)
    return bool(held)


def _set(kind: int, value: int, hard: int | None = None) -> bool:
    try:
        resource.setrlimit(kind, (value, value if hard is None else hard))
    except (OSError, ValueError):  # some systems refuse a limit on the address space
        return False
    return True
