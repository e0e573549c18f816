"""What a gateway holds at one moment: processes, descriptors, threads, files; asked of the operating system.

Records grow, for they are meant to stay: of the home, the names of files are compared and not what is in them.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Leftovers:
    """How much there is; `files` are those of the home and of its gateway's folder for temporary files."""

    processes: int
    descriptors: int
    threads: int
    files: frozenset[str]

    def beside(self, other: Leftovers) -> dict[str, tuple[Any, Any]]:
        """What differs."""
        differing: dict[str, tuple[Any, Any]] = {}
        for name in (field.name for field in fields(self)):
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                both = (sorted(mine - others), sorted(others - mine)) if name == "files" else (mine, others)
                differing[name] = both
        return differing


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
