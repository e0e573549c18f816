"""What a gateway holds at one moment: processes, descriptors, threads, files; asked of the operating system.

Records grow, for they are meant to stay: of the home, the names of files are compared and not what is in them.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_COUNTS = ("processes", "descriptors", "threads")


@dataclass(frozen=True)
class Leftovers:
    """How much there is; `files` are those of the home and of its gateway's folder for temporary files."""

    processes: int
    descriptors: int
    threads: int
    files: frozenset[str]

    def more_than(self, before: Leftovers) -> dict[str, Any]:
        """What there is more of than there was: how many, or which files. That there is less is nobody's leak."""
        counted = ((name, getattr(self, name) - getattr(before, name)) for name in _COUNTS)
        more: dict[str, Any] = {name: number for name, number in counted if number > 0}
        return more | ({"files": sorted(new)} if (new := self.files - before.files) else {})


def left_by(pid: int, home: Path, temporary: Path) -> Leftovers:
    """What the gateway that is process `pid`, and whatever it started, holds now; `temporary` is its TMPDIR."""
    return Leftovers(
        processes=len(descendants(pid)),
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=len(list(Path(f"/proc/{pid}/task").iterdir())),
        files=frozenset(_names(home) + _names(temporary)),
    )


def descendants(pid: int) -> list[int]:
    """Every process under this one, the ended ones that nobody waited for included."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], stdout=subprocess.PIPE, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found, under = [], {pid}
    while under := {child for child, parent in parents.items() if parent in under}:
        found += sorted(under)
    return found


def resident(pid: int) -> int:
    """The bytes of memory that the process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]
