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
from kaianalytics.gateway.approvals import Approvals
from kaianalytics.gateway.catalogue import Catalogue
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.enforcement import Enforcement
from kaianalytics.gateway.guard import Guard
from kaianalytics.gateway.identity import Doorkeeper
from kaianalytics.gateway.pool import WorkerPool
from kaianalytics.gateway.runs import Runs
from kaianalytics.gateway.serving import CurrentServing
from kaianalytics.gateway.tokens import Tokens, utc_now
from kaianalytics.policy.roles import Roles
from kaianalytics.records import ledger
from kaianalytics.records.database import Records

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Custodian:
    """What the doors lead to."""

    doorkeeper: Doorkeeper
    catalogue: Catalogue
    enforcement: Enforcement
    approvals: Approvals
    runs: Runs


@contextlib.contextmanager
def open_custodian(home: Home) -> Iterator[Custodian]:
    """Keys, records, published stores, guard and workers, opened in the order in which each may refuse."""
    keys = Keys.load(home)
    with contextlib.ExitStack() as undo:
        records = Records.of(home, keys)
        undo.callback(records.close)
        context = Context(home, keys, records, CurrentServing(home.stores), CurrentRoles(home), utc_now)
        declare_caps(context)
        guard = Guard()
        undo.callback(guard.close)
        pool = WorkerPool()
        undo.callback(pool.close_all)
        yield _rooms(context, guard, pool)


def declare_caps(context: Context) -> None:
    """Open what the contracts declare and the ledger does not have; what differs stays as the ledger has it (law 8)."""
    populations = tuple(context.serving().contracts.purposes.populations.values())
    with context.records.reading() as view:
        differing = ledger.differences(view, populations)
    if any(difference.effective is None for difference in differing):
        with context.records.writing(context.event("custodian", "budget.declared")) as tx:
            differing = ledger.declare(tx, populations)
    for difference in differing:
        log.warning("the contracts declare another cap than the ledger holds: %s %s", difference.kind, difference.key)


class CurrentRoles:
    """The register of handlers as it stands in the working contracts; read again when the file changes.

    A register with a fault raises ContractFaults: then nobody has a role (law 1).
    """

    def __init__(self, home: Home) -> None:
        self._file: Path = home.contracts / "roles.yaml"
        self._read: tuple[tuple[int, int, int], Roles] | None = None

    def __call__(self) -> Roles:
        """The register."""
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
    doorkeeper = Doorkeeper(context, tokens)
    return Custodian(
        doorkeeper=doorkeeper,
        catalogue=Catalogue(context),
        enforcement=Enforcement(context, guard, pool),
        approvals=Approvals(context, doorkeeper),
        runs=Runs(context, doorkeeper, tokens),
    )
