"""What the gateway serves just now: the published build, the contracts it was built under, and the plans of its stores.

The contracts are the copies in the build's own folder: editing the working contracts changes nothing here until a build
is published. A new build is noticed at the next question; a session's workers then move to it between two questions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from kaianalytics.custody import contracts as contract_files
from kaianalytics.errors import BuildFault, Refused
from kaianalytics.policy.contract import Access, Contracts
from kaianalytics.policy.leaving import RowsCaps
from kaianalytics.policy.secure_views import ViewSql, views_sql
from kaianalytics.policy.views import StorePlan, store_plan
from kaianalytics.privacy.bounding.windows import start_of
from kaianalytics.privacy.unit import StatisticsView, WindowSpan
from kaianalytics.warehouse import published
from kaianalytics.warehouse.published import PublishedBuild

ACCESS_LEVELS: tuple[Access, ...] = ("rows", "statistics")


def window_id(first_day: date | str, span: WindowSpan) -> str:
    """What the ledger calls a window of a population: the same window, whichever product has it."""
    return f"{first_day}/{span}"


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

    def columns(self, purpose: str, views: Iterable[str]) -> frozenset[str]:
        """The columns that these views of a purpose have as rows."""
        tables = self.plans[purpose, "rows"].tables
        return frozenset(column.name for view in views if view in tables for column in tables[view].columns)

    def rows_caps(self, views: Iterable[str]) -> Mapping[str, RowsCaps]:
        """What of these views may leave as rows."""
        return {view: self.contracts.products[view].rows_caps for view in views}

    def populations(self, purpose: str) -> tuple[str, ...]:
        """The populations whose accounts a purpose's statistics are charged to."""
        views = self.statistics_views(purpose).values()
        return tuple(sorted({view.unit.population for view in views if view.unit}))

    def newest_windows(self, purpose: str) -> tuple[str, ...]:
        """The last window of each view of a purpose that has windows, by its id; each once."""
        stated = (view.windows for view in self.statistics_views(purpose).values())
        return tuple(dict.fromkeys(window_id(start_of(each.last, each.span), each.span) for each in stated if each))

    def population(self, purpose: str, named: str = "") -> str:
        """The one that is named, or the first; Refused NO_STATISTICS or POPULATION_UNKNOWN where there is none."""
        known = self.populations(purpose)
        if not known:
            raise Refused("NO_STATISTICS", "No statistics can be asked for this purpose.", hint="see `kai.datasets()`")
        if named and named not in known:
            message = "This purpose's statistics are about no population of that name."
            raise Refused("POPULATION_UNKNOWN", message, hint=f"there are: {', '.join(known)}")
        return named or known[0]

    def releases_of(self, purpose: str, named: str) -> str:
        """The purpose whose recorded answers are asked for; Refused RELEASES_OF_PURPOSE where they are not shown."""
        if named in ("", purpose) or named in self.contracts.purposes.purposes[purpose].releases_of:
            return named or purpose
        raise Refused(
            "RELEASES_OF_PURPOSE",
            "The recorded answers of that purpose are not shown for this one.",
            rule="an answer serves the purpose that it was asked for, unless the register of purposes says otherwise",
            hint="ask the question for this purpose, or a steward about `releases_of` in purposes.yaml",
        )

    @cached_property
    def _view_statements(self) -> Mapping[tuple[str, Access], tuple[ViewSql, ...]]:
        # written once for a build: sqlglot takes longer over them than the guard over a question
        return {store: views_sql(plan) for store, plan in self.plans.items()}

    def view_statements(self, purpose: str, access: Access) -> tuple[ViewSql, ...]:
        """The statements by which a worker makes its views."""
        return self._view_statements[purpose, access]

    def store(self, purpose: str, access: Access) -> Path:
        """The one file that a worker of this purpose and access opens."""
        return self.build.store_path(purpose, access)

    def snapshot(self, epoch: int) -> str:
        """Build id and stop epoch: what an answer is made on."""
        return f"{self.build.build_id[:16]}+{epoch}"

    def answered(self, snapshot: str) -> bool:
        """Whether an answer on that snapshot was made from this build, at whatever stop epoch."""
        return snapshot.partition("+")[0] == self.build.build_id[:16]


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
                self._serving = Serving(build, _contracts_of(build))
            return self._serving


def _contracts_of(build: PublishedBuild) -> Contracts:
    """The contracts that the build was made under; BuildFault where their copy is no longer what the manifest says."""
    contracts = contract_files.load(build.contracts_folder)
    if contracts.digest != build.manifest.inputs.contracts:
        raise BuildFault(
            "PUBLISHED_DAMAGED",
            "The contracts in the published build are not those that it was built under.",
            rule="stores are never served under other contracts than their own",
            hint="edit the working contracts instead, then build with `kai build`",
        )
    return contracts
