"""`make bench`: measures, and writes docs/reference/measurements.md from what it measured.

    python tests/benchmarks/run.py [--customers N] [--large] [--install] [--test-seconds S]

Everything happens in a temporary folder that is gone afterwards; a run that fails leaves the page as it was.
`--large` also builds for 1,000,000 customers, `--install` also installs from the lock file (it downloads), and
`--test-seconds` puts the time that `make test` took on the page, which is measured by who ran it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for tests/support

from asking import analyst, asking
from building import building, built
from children import ROOT, gateway
from machine import facts
from page import Table, page
from parts import parts
from starting import starting
from whole_way import whole_way

PAGE = ROOT / "docs" / "reference" / "measurements.md"
LARGE = 1_000_000
T = TypeVar("T")


def main() -> None:
    """Measure and write the page."""
    options = _options()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="kai-bench-") as folder:
        tables = _tables(Path(folder), options)
    command = " ".join(["python tests/benchmarks/run.py", *sys.argv[1:]])
    PAGE.write_text(page(facts(command, load_before, date.today()), tables), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--customers", type=int, default=100_000, help="of the build that questions are asked of")
    parser.add_argument("--large", action="store_true", help=f"also build for {LARGE:,} customers")
    parser.add_argument("--install", action="store_true", help="also install into a new environment; downloads")
    parser.add_argument("--test-seconds", type=float, help="what `make test` took")
    return parser.parse_args()


def _tables(work: Path, options: argparse.Namespace) -> list[Table]:
    """Every table, in the order of the page; builds come first, while this process is still small."""
    builds = [_told("build", lambda: built(work, options.customers))]
    if options.large:
        builds.append(_told("large build", lambda: built(work, LARGE)))
    asker = analyst(builds[0].home)
    started = _told("starting", lambda: starting(work, asker))
    with gateway(asker.home):
        asked = _told("asking", lambda: asking(asker))
    inside = _told("parts", lambda: parts(work / "parts", ROOT / "data_contracts"))
    way = _told("demo", lambda: whole_way(work, install=options.install, test_seconds=options.test_seconds))
    return [way, started, asked, inside, building(builds)]


def _told(what: str, measure: Callable[[], T]) -> T:
    print(f"{what} …", flush=True)
    return measure()


if __name__ == "__main__":
    main()
