"""Control groups: memory and processes of a whole kernel, with all that it starts, where this user may make groups.

1. A group of its own beside or beneath the one that this process is in; what can't be made is not counted, and told.
2. Whoever starts a process puts it there before the process has what it needs to go on, and removes the group after its
   end. Groups whose process is gone, and whose starter never came to remove them, are removed on the way.

Version 2 where it has the controllers, else version 1. Without a right to make groups, a process limit holds in a user
namespace (`limits`), and memory is bounded per process alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
REMOVE_SECONDS = 2.0  # what is killed in a group takes a moment to be gone
_PREFIX = "kai-"
# controller: (file of version 2, file of version 1)
_LIMITS = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max", "pids.max")}


def place(pid: int, memory: int, processes: int) -> frozenset[str]:
    """Put a process into a group of its own; the controllers that bound it now, some of `memory` and `pids`."""
    held = set()
    for controller, bound in (("memory", memory), ("pids", processes)):
        for folder, file in _places(controller):
            _sweep(folder)
            # one group of version 2 serves both controllers
            if bound and controller not in held and _bounded(folder / f"{_PREFIX}{pid}", file, bound, pid):
                held.add(controller)
    return frozenset(held)


def remove(pid: int) -> None:
    """Remove the groups of a process that has ended, once what it started has ended too."""
    until = time.monotonic() + REMOVE_SECONDS
    for folder in {folder for controller in _LIMITS for folder, _ in _places(controller)}:
        group = folder / f"{_PREFIX}{pid}"
        while group.is_dir() and not _removed(group) and time.monotonic() < until:
            time.sleep(0.005)


def _bounded(group: Path, file: str, bound: int, pid: int) -> bool:
    try:
        group.mkdir(exist_ok=True)
        (group / file).write_text(str(bound), encoding="ascii")
        (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
    except OSError:
        _removed(group)
        return False
    return True


def _sweep(folder: Path) -> None:
    with suppress(OSError):
        for group in folder.glob(f"{_PREFIX}[0-9]*"):
            if not Path("/proc", group.name.removeprefix(_PREFIX)).exists():
                _removed(group)


def _removed(group: Path) -> bool:
    with suppress(OSError):  # something in it still ends
        group.rmdir()
        return True
    return False


def _places(controller: str) -> Iterator[tuple[Path, str]]:
    """Where a group may be made for a controller, and the file of its bound."""
    for unified in (ROOT, ROOT / "unified"):
        own = unified / _own("").lstrip("/")
        # beside: a group with processes of its own can have no groups beneath that are counted
        if own != unified and controller in _controllers(own.parent):
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
                return group
    return ""
