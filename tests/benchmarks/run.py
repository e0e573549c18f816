"""`make bench`: measures, and writes pages of docs/reference from what it measured.

    python tests/benchmarks/run.py [--only PAGE] [--customers N] [--large] [--install] [--test-seconds S]

    measurements.md    what it costs to have the privacy policy enforced, beside the plain tool
    wall.md            what the wall costs and leaves behind, against its bars
    accuracy.md        how exact answers are, beside two peers; fetches them from the package index the first time

Everything happens in a temporary folder that is gone afterwards, but for the peers' environments, which the user's
cache keeps; a run that fails leaves its page as it was.
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

from accuracy.bench import accuracy
from accuracy.report import HEAD as ACCURACY_HEAD
from asking import analyst, asking
from building import building, built
from children import ROOT, gateway
from machine import facts
from page import HEAD, Table, page
from parts import parts
from starting import starting
from statistics_speed import statistics_speed
from wall.bench import HEAD as WALL_HEAD
from wall.bench import wall
from whole_way import whole_way

FOLDER = ROOT / "docs" / "reference"
LARGE = 1_000_000
T = TypeVar("T")


def main() -> None:
    """Measure and write the pages."""
    options = _options()
    for name, (head, tables) in _PAGES.items():
        if options.only in (None, name):
            _write(name, head, tables, options)


def _write(
    name: str, head: str, tables: Callable[[Path, argparse.Namespace], list[Table]], options: argparse.Namespace
) -> None:
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="kai-bench-") as folder:
        measured = tables(Path(folder), options)
    command = " ".join(["python tests/benchmarks/run.py", *sys.argv[1:]])
    text = page(facts(command, load_before, date.today()), measured, head)
    (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
    print(f"Wrote docs/reference/{name}.md.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=_PAGES, help="write this page alone")
    parser.add_argument("--customers", type=int, default=100_000, help="of the build that questions are asked of")
    parser.add_argument("--large", action="store_true", help=f"also build for {LARGE:,} customers")
    parser.add_argument("--install", action="store_true", help="also install into a new environment; downloads")
    parser.add_argument("--test-seconds", type=float, help="what `make test` took")
    return parser.parse_args()


def _accuracy(work: Path, _: argparse.Namespace) -> list[Table]:
    return _told("accuracy", lambda: accuracy(work))


def _wall(work: Path, _: argparse.Namespace) -> list[Table]:
    return _told("the wall", lambda: wall(work))


def _measurements(work: Path, options: argparse.Namespace) -> list[Table]:
    """Every table, in the order of the page; builds come first, while this process is still small."""
    builds = [_told("build", lambda: built(work, options.customers))]
    if options.large:
        builds.append(_told("large build", lambda: built(work, LARGE)))
    asker = analyst(builds[0].home)
    started = _told("starting", lambda: starting(work, asker))
    with gateway(asker.home):
        asked = _told("asking", lambda: asking(asker))
    inside = _told("parts", lambda: parts(work / "parts", ROOT / "data_contracts"))
    speed = _told("speed of statistics", lambda: statistics_speed(work / "speed"))
    way = _told("demo", lambda: whole_way(work, install=options.install, test_seconds=options.test_seconds))
    return [way, started, asked, inside, *speed, building(builds)]


def _told(what: str, measure: Callable[[], T]) -> T:
    print(f"{what} …", flush=True)
    return measure()


_PAGES = {"measurements": (HEAD, _measurements), "wall": (WALL_HEAD, _wall), "accuracy": (ACCURACY_HEAD, _accuracy)}

if __name__ == "__main__":
    main()
