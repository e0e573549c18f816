"""The builder: sources → for each purpose a `rows` and a `statistics` store, verified and published at one stroke.

Numbered as in `build`:
    1. One build at a time; what an interrupted one left behind is removed first, for it may hold raw values.
    2. Every source is opened, digested and held against its contract before anything is written.
    3. The build id is the digest of the inputs. If that build is published and whole, nothing is built again.
    4. The contracts are copied beside the stores to be, and the copy must be what the order was made from: whoever
       edits them from now on changes the next build.
    5. For each purpose: who may be in it, their pseudonyms, then each store: written, closed, verified.
    6. The sources must not have changed meanwhile.
    7. Published by one rename and one replacement. Any fault before that leaves the old build served, untouched.

The builder never writes a raw column into a store: see `tables` (what a store receives) and `workshop` (where raw
values are while a build runs). The clock is an argument.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import duckdb

from kaianalytics.errors import BuildFault
from kaianalytics.policy.contract import DataContract
from kaianalytics.policy.purpose import Purposes
from kaianalytics.policy.reading import canonical_digest
from kaianalytics.policy.views import StorePlan
from kaianalytics.warehouse.manifest import (
    BuildInputs,
    BuildSummary,
    Manifest,
    Outcome,
    StoredFile,
    StoredTable,
    TableSummary,
)
from kaianalytics.warehouse.published import (
    CONTRACTS,
    MANIFEST,
    SUMMARY,
    current,
    file_digest,
    intact,
    make_current,
    publish,
    published,
)
from kaianalytics.warehouse.tables import Recipe
from kaianalytics.warehouse.verification import verify
from kaianalytics.warehouse.workshop import Room, Workshop, opened_workshop

Progress = Callable[[str, int, int], None]  # what begins now, how many tables are done, how many there are
_PREFIX = "build-"
_NO_RULE, _DROPPED = "no rule for this purpose", "dropped by its rule"


@dataclass(frozen=True)
class BuildOrder:
    """All that a build is made from. `stores` and `staging` lie on one volume, both the custodian's alone.

    `digest_contracts` gives the digest of a folder of contracts; `pseudonym_key` gives a purpose's secret key.
    """

    products: Mapping[str, DataContract]
    purposes: Purposes
    plans: tuple[StorePlan, ...]
    contracts_digest: str
    contracts_folder: Path
    digest_contracts: Callable[[Path], str]
    sources: Path
    stores: Path
    staging: Path
    pseudonym_key: Callable[[str], bytes] = field(repr=False)
    pseudonym_key_id: str
    as_of: date
    built_at: datetime
    room: Room = field(default_factory=Room)

    def __post_init__(self) -> None:
        if self.built_at.tzinfo is None:
            raise ValueError("the time of building has a time zone")
        if len({(plan.purpose, plan.access) for plan in self.plans}) != len(self.plans):
            raise ValueError("there is one plan for each purpose and access")

    @property
    def by_purpose(self) -> dict[str, tuple[StorePlan, ...]]:
        """The plans of each purpose."""
        purposes = dict.fromkeys(plan.purpose for plan in self.plans)
        return {purpose: tuple(plan for plan in self.plans if plan.purpose == purpose) for purpose in purposes}


def build(order: BuildOrder, progress: Progress = lambda step, done, total: None) -> BuildSummary:
    """Build, verify and publish the stores of `order`; returns the steward's summary.

    SourceFault, or BuildFault VERIFICATION, BUILD_RUNNING, BUILD_ROOM or CONTRACTS_CHANGED: then nothing is published.
    """
    with _alone(order), _work_folder(order.staging) as work:  # 1
        spill, finished = work / "spill", work / "finished"
        with opened_workshop(
            order.products, order.purposes, order.sources, order.as_of, order.pseudonym_key, spill, order.room
        ) as shop:
            progress("sources", 0, _steps(order))
            inputs = _inputs(order, shop)  # 2
            if known := _already(order, inputs.build_id):  # 3
                return known
            finished.mkdir(mode=0o700)
            _copy_contracts(order, finished / CONTRACTS)  # 4
            stores, tables = _Making(order, shop, finished, progress).all()  # 5
            shop.sources.demand_unchanged()  # 6
            ignored = {name: source.ignored for name, source in shop.sources.opened.items() if source.ignored}
        summary = BuildSummary(inputs.build_id, order.as_of, "published", tables, ignored)
        _write_private(finished / MANIFEST, Manifest(inputs, order.built_at, stores).to_json())
        _write_private(finished / SUMMARY, summary.to_json())
        publish(finished, order.stores, inputs.build_id)  # 7
        return summary


@dataclass
class _Making:
    """Step 5, purpose by purpose and store by store."""

    order: BuildOrder
    shop: Workshop
    folder: Path
    progress: Progress
    done: int = 0

    def all(self) -> tuple[tuple[StoredFile, ...], tuple[TableSummary, ...]]:
        stores: list[StoredFile] = []
        summaries: list[TableSummary] = []
        for purpose, plans in self.order.by_purpose.items():
            recipes = self.shop.recipes(purpose, plans)
            for plan in plans:
                mine = {product: recipes[plan.access, product] for product in plan.tables}
                counted = {product: self.shop.count(recipe) for product, recipe in mine.items()}
                stores.append(self._store(plan, mine, counted))
                summaries += (self._summary(plan, product, counted[product]) for product in mine)
        return tuple(stores), tuple(summaries)

    def _store(
        self, plan: StorePlan, recipes: Mapping[str, Recipe], counted: Mapping[str, Mapping[str | None, int]]
    ) -> StoredFile:
        file = self.folder / f"{plan.purpose}.{plan.access}.duckdb"
        self.shop.write_store(file, recipes, lambda product: self._tell(f"{plan.purpose} · {plan.access} · {product}"))
        rows = {product: reasons.get(None, 0) for product, reasons in counted.items()}
        self.shop.sources.demand_unchanged()  # or the verification, which reads them too, would blame the store
        verify(self.shop.con, file, self.shop.expectation(plan, recipes, rows))
        tables = {product: self._stored(plan, product, rows[product]) for product in recipes}
        return StoredFile(plan.purpose, plan.access, file.name, file_digest(file), file.stat().st_size, tables)

    def _stored(self, plan: StorePlan, product: str, rows: int) -> StoredTable:
        columns = tuple((column.name, column.type) for column in plan.tables[product].columns)
        return StoredTable(rows, columns, self.shop.sources.opened[product].modified)

    def _tell(self, step: str) -> None:
        self.progress(step, self.done, _steps(self.order))
        self.done += 1

    def _summary(self, plan: StorePlan, product: str, counted: Mapping[str | None, int]) -> TableSummary:
        held = {column.source for column in plan.tables[product].columns}
        left_out = {
            column.name: _DROPPED if plan.purpose in column.rules else _NO_RULE
            for column in self.order.products[product].columns
            if column.name not in held
        }
        reasons = {reason: rows for reason, rows in sorted(counted.items(), key=str) if reason is not None}
        return TableSummary(plan.purpose, plan.access, product, counted.get(None, 0), reasons, left_out)


def _steps(order: BuildOrder) -> int:
    return sum(len(plan.tables) for plan in order.plans)


def _inputs(order: BuildOrder, shop: Workshop) -> BuildInputs:
    opened = shop.open_sources(order.plans)
    return BuildInputs(
        contracts=order.contracts_digest,
        plans=canonical_digest(order.plans),
        sources={product: source.digest for product, source in opened.items()},
        pseudonym_key=order.pseudonym_key_id,
        as_of=order.as_of,
        duckdb=duckdb.__version__,
    )


def _already(order: BuildOrder, build_id: str) -> BuildSummary | None:
    """The summary of the same build where it stands whole, made current again if another one is."""
    known = published(order.stores, build_id)
    if known is None or not intact(known):
        return None
    outcome: Outcome = "unchanged"
    if _serving(order.stores) != build_id:
        make_current(order.stores, build_id)
        outcome = "made current again"
    return BuildSummary.from_json((known.folder / SUMMARY).read_text(encoding="utf-8"), outcome)


def _serving(stores: Path) -> str | None:
    try:
        return current(stores).build_id
    except BuildFault:
        return None


def _copy_contracts(order: BuildOrder, target: Path) -> None:
    target.mkdir(mode=0o700)
    for file in sorted(order.contracts_folder.iterdir()):
        if file.is_file() and file.suffix in (".yaml", ".yml"):
            _write_private(target / file.name, file.read_text(encoding="utf-8"))
    if order.digest_contracts(target) != order.contracts_digest:
        raise BuildFault(
            "CONTRACTS_CHANGED",
            "The contracts changed while the build was being prepared.",
            rule="stores are served under the contracts they were built under",
            hint="build again when the contracts are at rest",
        )


def _write_private(file: Path, content: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)


@contextmanager
def _alone(order: BuildOrder) -> Iterator[None]:
    """Holds the stores for one build; the kernel lets go of the lock however the build ends."""
    for folder in (order.stores, order.staging):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(order.stores / ".building", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BuildFault(
            "BUILD_RUNNING", "Another build is running on this home.", hint="wait until it is done"
        ) from None


@contextmanager
def _work_folder(staging: Path) -> Iterator[Path]:
    """A folder for this build alone, removed with all that is in it however the build ends."""
    for left_behind in staging.glob(f"{_PREFIX}*"):
        shutil.rmtree(left_behind)
    work = staging / f"{_PREFIX}{os.getpid()}"
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
