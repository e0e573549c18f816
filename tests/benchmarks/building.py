"""`kai build` on generated sources: seconds, peak memory and the size of what it made, by number of customers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from children import ROOT, kai, run
from page import Table, duration, megabytes

from kaianalytics.custody.home import Home

AS_OF = "2026-11-01"


@dataclass(frozen=True)
class Built:
    """One home with its stores, and what building them took."""

    home: Home
    customers: int
    sources: int
    seconds: float
    peak: int
    stores: int
    unchanged_seconds: float

    def row(self) -> tuple[str, ...]:
        """The row of the page."""
        sizes = (megabytes(self.sources), duration(self.seconds), megabytes(self.peak), megabytes(self.stores))
        return (f"{self.customers:,}", *sizes, duration(self.unchanged_seconds))


def built(work: Path, customers: int) -> Built:
    """A new home under `work` with generated sources of that many customers, built and built again."""
    folder, sources = work / f"home-{customers}", work / f"sources-{customers}"
    generate = ["pipelines/sample_warehouse.py", "--customers", str(customers), "--out", str(sources)]
    run([sys.executable, *generate])
    kai(folder, "init", "--contracts", str(ROOT / "data_contracts"), "--sources", str(sources))
    first, again = (kai(folder, "build", "--as-of", AS_OF) for _ in range(2))
    home = Home.open(folder)
    stores = _bytes(home.stores, "*/*.duckdb")
    return Built(home, customers, _bytes(sources, "*.parquet"), first.seconds, first.peak, stores, again.seconds)


def building(builds: Sequence[Built]) -> Table:
    """The table of the builds."""
    return Table(
        "Building the stores",
        "`kai build` with its defaults (2 GB for DuckDB, 2 threads): sources checked against their contracts, six "
        "stores written, each opened again and verified, published. Peak memory is the whole process's. A build whose "
        "inputs have not changed reads the sources' and the stores' digests and stops. Each was measured once.",
        ("customers", "sources", "build", "peak memory", "six stores", "again, unchanged"),
        [build.row() for build in builds],
    )


def _bytes(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern))
