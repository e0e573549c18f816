"""The gateway's rooms, put together: the one place that knows them all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kaianalytics.custody.contracts import load_roles
from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import ContractFaults, Fault
from kaianalytics.gateway.approvals import Approvals
from kaianalytics.gateway.catalogue import Catalogue
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.door.identity import Doorkeeper
from kaianalytics.gateway.enforcement import Enforcement
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.isolation import Isolation
from kaianalytics.gateway.reviewing import Reviewing
from kaianalytics.gateway.rotation import settle
from kaianalytics.gateway.runs import Runs
from kaianalytics.gateway.serving import CurrentServing
from kaianalytics.gateway.tokens import Tokens, utc_now
from kaianalytics.gateway.workers.pool import WorkerPool
from kaianalytics.gateway.workspaces import Workspaces
from kaianalytics.policy.roles import Roles
from kaianalytics.publishing.publish import withdraw_unrecorded
from kaianalytics.records import caps, runs
from kaianalytics.records.database import Records

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Custodian:
    """What the doors lead to."""

    doorkeeper: Doorkeeper
    catalogue: Catalogue
    enforcement: Enforcement
    approvals: Approvals
    reviewing: Reviewing
    runs: Runs
    workspaces: Workspaces
    pool: WorkerPool


@contextlib.contextmanager
def open_custodian(home: Home) -> Iterator[Custodian]:
    """Keys, records, published stores, guard and workers, opened in the order in which each may refuse."""
    keys = Keys.load(home)
    with contextlib.ExitStack() as undo:
        records = Records.of(home, keys)
        undo.callback(records.close)
        serving, roles = CurrentServing(home.stores), CurrentRoles(home)
        context = Context(home, keys, records, serving, roles, utc_now, Isolation.tested_now())
        settle(context.records, context.keys, context.clock())
        declare_caps(context)
        withdraw_pages(context)
        guard = Guard()
        undo.callback(guard.close)
        pool = WorkerPool()
        undo.callback(pool.close_all)
        yield _rooms(context, guard, pool)


def declare_caps(context: Context) -> None:
    """Open what the contracts declare and the ledger does not have; what differs stays as the ledger has it (law 8)."""
    populations = tuple(context.serving().contracts.purposes.populations.values())
    with context.records.reading() as view:
        differing = caps.differences(view, populations)
    if any(difference.effective is None for difference in differing):
        with context.records.writing(context.event("custodian", "budget.declared")) as tx:
            differing = caps.declare(tx, populations)
    for difference in differing:
        log.warning("the contracts declare another cap than the ledger holds: %s %s", difference.kind, difference.key)


def withdraw_pages(context: Context) -> None:
    """Put aside the pages that a crash left without their event."""
    with context.records.reading() as view:
        recorded = {(run.report, run.id) for run in runs.listing(view, state=runs.PUBLISHED)}
    for page in withdraw_unrecorded(context.home.reports, recorded):
        log.warning("a page without a record was put aside: %s of %s", page.name, page.parent.name)


class CurrentRoles:
    """The register of handlers as it stands in the working contracts; read again when the file changes.

    A register with a fault is a Fault: then nobody has a role (law 1).
    """

    def __init__(self, home: Home) -> None:
        self._file: Path = home.contracts / "roles.yaml"
        self._read: tuple[tuple[int, int, int], Roles] | None = None

    def __call__(self) -> Roles:
        """The register; Fault REGISTER_FAULTY where it has a fault, which is told to the custodian's log alone."""
        try:
            return self._current()
        except ContractFaults as faults:
            log.error("the register of handlers can't be used: %s", "; ".join(map(str, faults.faults)))
            raise Fault(
                "REGISTER_FAULTY",
                "The register of handlers can't be read, and so nobody has a role.",
                rule="a contract with a fault permits nothing (DESIGN law 1)",
                hint="ask a steward, whom `kai contracts check` tells the line",
            ) from None

    def _current(self) -> Roles:
        try:
            facts = self._file.stat()
            stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        except OSError:
            return load_roles(self._file)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, load_roles(self._file))
        return self._read[1]


def _rooms(context: Context, guard: Guard, pool: WorkerPool) -> Custodian:
    tokens = Tokens(context.keys.token_key)
    doorkeeper = Doorkeeper(context, tokens, pool.close)
    return Custodian(
        doorkeeper=doorkeeper,
        catalogue=Catalogue(context),
        enforcement=Enforcement(context, guard, pool),
        approvals=Approvals(context, doorkeeper),
        reviewing=Reviewing(context, doorkeeper),
        runs=Runs(context, doorkeeper),
        workspaces=Workspaces(context),
        pool=pool,
    )
