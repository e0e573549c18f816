"""What a gateway holds at one moment: processes, descriptors, threads, files; asked of the operating system.

Records grow, for they are meant to stay: of the home, the names of files are compared and not what is in them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Leftovers:
    """How much there is; `files` are those of the home and of the folders for temporary files."""

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


def leftovers(gateway: Any) -> Leftovers:
    """What this gateway, and whatever it started, holds now."""
    pid = gateway.process.pid
    return Leftovers(
        processes=len(descendants(pid)),
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=len(list(Path(f"/proc/{pid}/task").iterdir())),
        files=frozenset(_names(gateway.world.home.root) + _temporary()),
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


def _temporary() -> list[str]:
    """Our own folders among everybody's temporary ones, and shared memory."""
    ours = [*Path(tempfile.gettempdir()).glob("kai-*"), *Path("/dev/shm").glob("*")]
    return [str(path) for path in ours]
