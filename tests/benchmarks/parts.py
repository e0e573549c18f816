"""What a small question is made of: the guard, the proof, and the commits that must precede an answer.

Measured in this process on the rooms themselves, with a home of its own whose ledger nobody else writes.
"""

from __future__ import annotations

import os
from pathlib import Path

from asking import PURPOSE, ROWS, STATISTICS
from building import AS_OF
from measured import Action, Series, repeated
from page import Table, duration
from support.records_kit import charge, declare, event, make_home, population

from kaianalytics.custody.contracts import load
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.statistics.question import Ground, prepare
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.contract import Contracts
from kaianalytics.policy.views import store_plan
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.unit import StatisticsView
from kaianalytics.protocol import StatisticsRequest
from kaianalytics.records.database import Records

TIMES, WARM = 100, 5
_PRICE = PrivacyLoss.of("0.001")
_HEAD_BYTES = 300  # about what the signed head has


def parts(work: Path, contracts_folder: Path) -> Table:
    """The table."""
    contracts = load(contracts_folder)
    measured = {
        "guard admits one `SELECT`": _guard(contracts),
        "question lowered, bounded, its loss proved by OpenDP's map": _proof(contracts),
        **_commits(work),
        "one write synced to the same volume": _sync(work / "synced"),
    }
    return Table(
        "What a question is made of",
        "A question for rows commits twice: that it was permitted, before it runs, and what left, before it leaves. A "
        "new statistic commits twice: its charge, before data is read, and its release. Each commit syncs the records, "
        "their signed head and the head's folder to the disk; none of it may be put off (laws 4 and 6).",
        ("part", "median", "p95", "n"),
        [(what, duration(took.median), duration(took.p95), str(took.times)) for what, took in measured.items()],
    )


def _guard(contracts: Contracts) -> Series:
    guard = Guard()
    try:
        return _warm(lambda _: guard.admit(ROWS, tuple(contracts.products)))
    finally:
        guard.close()


def _proof(contracts: Contracts) -> Series:
    guard = Guard()
    try:
        admitted = guard.admit(STATISTICS, tuple(contracts.products))
    finally:
        guard.close()
    session = Session("benchmark", "aiko", os.getuid(), PURPOSE, "interactive", "benchmark")
    asked = StatisticsRequest(STATISTICS, "0.002")
    ground = Ground(_views(contracts), {}, contracts.purposes.populations, AS_OF, lambda *subject: None)
    return _warm(lambda _: prepare(admitted, asked, session, ground))


def _views(contracts: Contracts) -> dict[str, StatisticsView]:
    tables = store_plan(contracts, PURPOSE, "statistics").tables
    return {name: table.statistics for name, table in tables.items() if table.statistics is not None}


def _commits(work: Path) -> dict[str, Series]:
    home, keys = make_home(work)
    records = Records.of(home, keys)
    try:
        declare(records, population())
        return {
            "one audit event committed": _warm(lambda turn: records.append(event(turn=turn))),
            "one charge committed, with its event": _warm(lambda turn: charge(records, turn, loss=_PRICE)),
        }
    finally:
        records.close()


def _sync(file: Path) -> Series:
    def write(_: int) -> None:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, b"0" * _HEAD_BYTES)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    return _warm(write)


def _warm(action: Action) -> Series:
    return Series(repeated(WARM + TIMES, action).seconds[WARM:])
