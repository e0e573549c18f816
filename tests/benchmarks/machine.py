"""What a reader must know of the run to judge its figures: machine, versions, load. No host's name and no path."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("duckdb", "opendp", "polars", "pyarrow", "sqlalchemy", "ipykernel", "jupyterlab")


def facts(command: str, load_before: float, today: date) -> list[tuple[str, str]]:
    """The facts of this run, in the order in which they are told."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        ("date", today.isoformat()),
        ("command", f"`{command}`"),
        ("processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores"),
        ("memory", f"{_memory():.0f} GiB"),
        ("system", f"{platform.system()} {_numbers(platform.release())}, {platform.machine()}"),
        ("Python", platform.python_version()),
        ("packages", versions),
        ("load of one minute, before and after", f"{load_before:.1f} and {os.getloadavg()[0]:.1f}"),
    ]


def _processor() -> str:
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return names[0] if names else platform.machine()


def _memory() -> float:
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) / 2**30


def _numbers(release: str) -> str:
    """A kernel's version without what its builder appended, which may name a machine."""
    found = re.match(r"\d+\.\d+", release)
    return found[0] if found else ""
