"""Control groups: memory and processes of a whole kernel, with all that it starts, where this user may make groups.

1. A group of its own beside or beneath the one that this process is in; what can't be made is not counted, and told.
2. The group is entered before anything else is started, and removed by whoever started the process, after its end.

Version 2 where it has the controllers, else version 1. Without a right to make groups, a process limit holds in a user
namespace (`limits`), and memory is bounded per process alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_PREFIX = "kai-"
# controller: (file of version 2, file of version 1)
_LIMITS = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max", "pids.max")}


def enter(memory: int, processes: int) -> frozenset[str]:
    """Put this process into a group of its own; the controllers that bound it now, some of `memory` and `pids`."""
    held = set()
    for controller, bound in (("memory", memory), ("pids", processes)):
        for folder, file in _places(controller):
            # one group of version 2 serves both controllers
            if bound and controller not in held and _bounded(folder / f"{_PREFIX}{os.getpid()}", file, bound):
                held.add(controller)
    return frozenset(held)


def remove(pid: int) -> None:
    """Remove the groups that the process of that id made, once it has ended."""
    for controller in _LIMITS:
        for folder, _ in _places(controller):
            with suppress(OSError):  # it made none, or something in it still ends
                (folder / f"{_PREFIX}{pid}").rmdir()


def _bounded(group: Path, file: str, bound: int) -> bool:
    try:
        group.mkdir(exist_ok=True)
        (group / file).write_text(str(bound), encoding="ascii")
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return False
    return True


def _places(controller: str) -> Iterator[tuple[Path, str]]:
    """Where a group may be made for a controller, and the file of its bound."""
    for unified in (ROOT, ROOT / "unified"):
        own = unified / _own("").lstrip("/")
        # beside: a group with processes of its own can have no groups beneath that are counted
        if controller in _controllers(own.parent) and own != unified:
            yield own.parent, _LIMITS[controller][0]
    if (ROOT / controller).is_dir():
        yield ROOT / controller / _own(controller).lstrip("/"), _LIMITS[controller][1]


def _controllers(folder: Path) -> list[str]:
    with suppress(OSError):
        return (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
    return []


def _own(controller: str) -> str:
    """The group of this process for a controller of version 1, or of version 2 for none."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, names, group = line.split(":", 2)
            if controller in names.split(","):
                return group.removesuffix("/..")
    return ""
