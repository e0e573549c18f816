"""What the gateway serves just now: the published build, the contracts it was built under, and the plans of its stores.

The contracts are the copies in the build's own folder: editing the working contracts changes nothing here until a build
is published. A new build is noticed at the next question; a session's workers then move to it between two questions.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kaianalytics.custody import contracts as contract_files
from kaianalytics.policy.contract import Access, Contracts
from kaianalytics.policy.views import StorePlan, store_plan, view_sql
from kaianalytics.privacy.unit import StatisticsView
from kaianalytics.warehouse import published
from kaianalytics.warehouse.published import PublishedBuild

ACCESS_LEVELS: tuple[Access, ...] = ("rows", "statistics")


@dataclass(frozen=True)
class Serving:
    """One published build as the gateway answers from it."""

    build: PublishedBuild
    contracts: Contracts

    @property
    def as_of(self) -> str:
        """The date that the build's data stand for, ISO."""
        return self.build.manifest.inputs.as_of.isoformat()

    @cached_property
    def open_purposes(self) -> tuple[str, ...]:
        """The keys of the purposes that have stores."""
        return tuple(key for key, purpose in self.contracts.purposes.purposes.items() if purpose.open)

    @cached_property
    def plans(self) -> Mapping[tuple[str, Access], StorePlan]:
        """Every store's plan."""
        return {
            (purpose, access): store_plan(self.contracts, purpose, access)
            for purpose in self.open_purposes
            for access in ACCESS_LEVELS
        }

    def statistics_views(self, purpose: str) -> Mapping[str, StatisticsView]:
        """What statistics may be asked of under a purpose, by view name."""
        tables = self.plans[purpose, "statistics"].tables
        return {name: table.statistics for name, table in tables.items() if table.statistics is not None}

    def populations(self, purpose: str) -> tuple[str, ...]:
        """The populations whose accounts a purpose's statistics are charged to."""
        views = self.statistics_views(purpose).values()
        return tuple(sorted({view.unit.population for view in views}))

    def view_statements(self, purpose: str, access: Access) -> tuple[str, ...]:
        """The statements by which a worker makes its secure views."""
        return tuple(view_sql(table) for table in self.plans[purpose, access].tables.values())

    def store(self, purpose: str, access: Access) -> Path:
        """The one file that a worker of this purpose and access opens."""
        return self.build.store_path(purpose, access)

    def snapshot(self, epoch: int) -> str:
        """Build id and stop epoch: what an answer is made on."""
        return f"{self.build.build_id[:16]}+{epoch}"


class CurrentServing:
    """The newest published build, read again when another one is published."""

    def __init__(self, stores: Path) -> None:
        self._stores = stores
        self._lock = threading.Lock()
        self._serving: Serving | None = None

    def __call__(self) -> Serving:
        """The build to answer from now; BuildFault where nothing is published."""
        build = published.current(self._stores)
        with self._lock:
            if self._serving is None or self._serving.build.build_id != build.build_id:
                self._serving = Serving(build, contract_files.load(build.contracts_folder))
            return self._serving
