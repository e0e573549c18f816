"""What a confined process may do, as a value: made by whoever starts it, applied by `confine`, sent as JSON.

1. What is not named is denied, and an empty value denies everything.
2. Paths are absolute and exist. `kernel` and `worker` leave out of their lists what this machine doesn't have.
3. Nothing in a value is secret: it lies open in the process that it confines.
4. `layers` are all of them wherever this package makes a kernel's value, and the essential ones in a worker's. Tests
   take one away, to see that something needs it.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from kaianalytics.sandbox.limits import ResourceLimits
from kaianalytics.sandbox.seccomp import Filter

MIB = 1024 * 1024
GIB = 1024 * MIB
_RESERVED = 128 * GIB  # twice what the engine that draws charts reserves


class Layer(StrEnum):
    """One layer of the wall, each a module of this package."""

    LIMITS = "limits"
    CGROUPS = "cgroups"
    NAMESPACES = "namespaces"
    CAPABILITIES = "capabilities"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


EVERY_LAYER = frozenset(Layer)

# without these there is no wall; of the others a machine may have none, which is told
ESSENTIAL = frozenset({Layer.LIMITS, Layer.CAPABILITIES, Layer.LANDLOCK, Layer.SECCOMP})

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
# of /etc: what programs look up, and no shadow file, no key, no mail, no machine id
_ETC = (
    "alternatives bash.bashrc bash_completion.d ca-certificates debian_version fonts group host.conf hostname hosts "
    "inputrc ld.so.cache ld.so.conf ld.so.conf.d locale.alias locale.conf localtime magic mime.types nsswitch.conf "
    "os-release passwd profile protocols python3 resolv.conf services ssl/certs terminfo timezone vimrc"
)
_FACTS = (
    "/dev/urandom",
    "/dev/random",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
# what the engine asks when it opens; it aborts where it sees a group and can't read of it
_ENGINE_FACTS = ("/proc/self/cgroup", "/sys/fs/cgroup", "/sys/devices/system/cpu")
_LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64")
SHARED_MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Confinement:
    """Beneath which paths a process may read, run, write and open sockets, under which filter and limits.

    `run` and `read` are read-only. In `write` anything but sockets and device nodes may be made, in `sockets` sockets
    too. `devices` may be read and written. `shared_memory` is the size of a /dev/shm of its own, where it has a view of
    its own. `memory` and `processes` bound the process with all that it starts, where control groups can.
    """

    limits: ResourceLimits
    filter: Filter
    run: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    folder: str = "/"
    umask: int = 0o077
    shared_memory: int = 0
    memory: int = 0
    processes: int = 0
    layers: frozenset[Layer] = EVERY_LAYER

    def __post_init__(self) -> None:
        if not all(Path(path).is_absolute() and ".." not in Path(path).parts for path in (*self.paths, self.folder)):
            raise ValueError("a confinement names absolute paths")

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that is named."""
        return (*self.run, *self.read, *self.write, *self.sockets, *self.devices)

    def to_json(self) -> str:
        """The value as text."""
        return json.dumps({**asdict(self), "layers": sorted(self.layers)})

    @classmethod
    def from_json(cls, text: str) -> Confinement:
        """The value that `to_json` wrote; ValueError for anything else."""
        try:
            data = json.loads(text)
            data |= {name: tuple(data[name]) for name in ("run", "read", "write", "sockets", "devices")}
            data |= {"limits": ResourceLimits(**data["limits"]), "filter": Filter(data["filter"])}
            return cls(**{**data, "layers": frozenset(map(Layer, data["layers"]))})
        except (KeyError, TypeError, RecursionError):
            raise ValueError("this is no confinement") from None


@dataclass(frozen=True)
class KernelLimits:
    """What one analyst's kernel may use, all its processes together where that can be counted."""

    memory: int
    processes: int = 1024
    file_size: int = 8 * GIB
    open_files: int = 1024
    shared_memory: int = GIB

    @classmethod
    def of_this_machine(cls) -> KernelLimits:
        """Half of the memory, so that two kernels can't starve the rest; never under 2 GiB."""
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(memory=max(total // 2, 2 * GIB), shared_memory=min(GIB, max(total // 8, 64 * MIB)))

    @property
    def of_each_process(self) -> ResourceLimits:
        """As much memory for each as for all, and address space that libraries reserve and never use on top of it."""
        space = self.memory + _RESERVED
        return ResourceLimits(space, self.open_files, self.file_size, self.memory, self.processes)


def kernel(workspace: Path, runtime: Path, package: Path, limits: KernelLimits, *, umask: int = 0o077) -> Confinement:
    """The confinement of an analyst's kernel: it works in `workspace`, and its channels are in `runtime`.

    `package` is the folder of this package, which may lie outside of the environment.
    """
    return Confinement(
        limits=limits.of_each_process,
        filter=Filter.KERNEL,
        run=_existing((*_SYSTEM, *_python(), str(package))),
        read=_existing((*(f"/etc/{name}" for name in _ETC.split()), *_FACTS)),
        write=(str(workspace),),
        sockets=(str(runtime),),
        devices=_existing(_DEVICES),
        folder=str(workspace),
        umask=umask,
        shared_memory=limits.shared_memory,
        memory=limits.memory,
        processes=limits.processes,
    )


def worker(store: Path, package: Path, limits: ResourceLimits) -> Confinement:
    """The confinement of a SQL worker: it reads the one file `store` and libraries; it writes and runs nothing.

    Everything that it may reach is open in it or is in `read`, so a view of its own would hide little more.
    """
    return Confinement(
        limits=limits,
        filter=Filter.WORKER,
        read=_existing((*_LIBRARIES, *_python_libraries(), str(package), *_ENGINE_FACTS, str(store))),
        layers=ESSENTIAL,
    )


def _python() -> Iterable[str]:
    """The environment, and the Python that it was made from."""
    return (sys.prefix, sys.base_prefix, sys.exec_prefix, *_python_libraries())


def _python_libraries() -> Iterable[str]:
    paths = sysconfig.get_paths()
    return tuple(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def _existing(paths: Iterable[str]) -> tuple[str, ...]:
    """Those that are there, each once, and none that lies beneath another of them."""
    there = sorted({path for path in paths if Path(path).exists()}, key=len)
    kept: list[str] = []
    for path in there:
        if not any(path == other or path.startswith(other.rstrip("/") + "/") for other in kept):
            kept.append(path)
    return tuple(kept)
