"""What a process must not leave behind: children, and open descriptors."""

from __future__ import annotations

import contextlib
from pathlib import Path

from support.real_world import soon

DESCRIPTORS_MORE = 8  # a connection, a database's journal, a log: no leak is so small for long


def descendants(pid: int) -> set[int]:
    """The processes that it started, and those that they started."""
    running, found = _running(), {pid}
    while more := {child for child, parent in running.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _running() -> dict[int, int]:
    """Every process that runs, with its parent; not by `ps`, which would be a child itself."""
    found: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            found |= {} if state in "ZX" else {int(entry.name): int(parent)}
    return found


def descriptors(pid: int) -> int:
    """How many descriptors it has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


class Watch:
    """Notes what a process has, to demand later that it has no more."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._children = descendants(pid)
        self._descriptors = descriptors(pid)

    def leaked(self, workers: int = 0) -> str:
        """What it has more than then, beside so many workers; '' where there is nothing, after a while."""
        if not soon(lambda: not self._told(workers), 10.0):
            return self._told(workers)
        return ""

    def _told(self, workers: int) -> str:
        more = descendants(self._pid) - self._children
        opened = descriptors(self._pid) - self._descriptors
        if len(more) > workers:
            return f"{len(more)} processes more, of which {workers} may be: {sorted(more)}"
        return f"{opened} descriptors more" if opened > DESCRIPTORS_MORE + 4 * workers else ""


def words_of(folder: Path) -> bytes:
    """What the gateway's log and its standard output hold."""
    files = [*folder.glob("home/**/*.log*"), folder / "gateway.out"]
    return b"\n".join(file.read_bytes() for file in files if file.is_file())
