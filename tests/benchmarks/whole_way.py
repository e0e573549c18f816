"""The two commands of the README, on a copy of the checkout: installing, and the demonstration, first and again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from children import ROOT, run
from page import NOT_MEASURED, Table, duration, megabytes

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".kai*", ".*_cache", ".hypothesis", "__pycache__", "tests")


def whole_way(work: Path, *, install: bool, test_seconds: float | None) -> Table:
    """Installing where asked for, two demonstrations, and the time of `make test` as it was told."""
    checkout = work / "checkout"
    shutil.copytree(ROOT, checkout, ignore=_LEFT_OUT)
    installed = _installed(checkout) if install else f"{NOT_MEASURED}: `--install`"
    # no copy of the environment: the same packages, and the copy's own contracts, notebooks and home
    demo = [sys.executable, "pipelines/demo.py"]
    first, again = (run(demo, folder=checkout).seconds for _ in range(2))
    test = f"{NOT_MEASURED}: `--test-seconds`" if test_seconds is None else duration(test_seconds)
    return Table(
        "From nothing to a report",
        "`make demo` is for 50,000 customers: sources, contracts, six stores, the gateway, three notebooks from "
        "submission to published report, and a refusal. Its second run meets the first one's home.",
        ("step", "measured once"),
        (
            ("install into a new environment, nothing cached", installed),
            ("`make demo`, first run", duration(first)),
            ("`make demo`, second run", duration(again)),
            ("`make test`", test),
        ),
    )


def _installed(checkout: Path) -> str:
    """Seconds and size of the environment that the Makefile makes from the lock file."""
    environment = {"PIP_NO_CACHE_DIR": "1", "VIRTUAL_ENV": ""}
    python = Path(sys.base_prefix) / "bin" / "python3"
    ran = run(["make", ".venv/.ready", f"PYTHON={python}"], folder=checkout, environment=environment)
    size = sum(path.lstat().st_size for path in (checkout / ".venv").rglob("*") if path.is_file())
    return f"{duration(ran.seconds)}, {megabytes(size)}"
