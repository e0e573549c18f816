"""Runs of reports: leased under a passport, then published or failed, once.

lease ──▶ leased ──finish──▶ published
             └─────finish──▶ failed
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, select

from kaianalytics.errors import BudgetRefused, ReviewRefused
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records.ledger import told
from kaianalytics.records.reviews import json_text
from kaianalytics.records.tables import charges, run_uses, runs
from kaianalytics.records.transaction import Reading, Transaction

LEASED, PUBLISHED, FAILED = "leased", "published", "failed"
UseWord = Literal["charged", "repeated", "earlier"]


@dataclass(frozen=True)
class Run:
    """One run of a report; `publication` is what it left behind: empty until it is finished."""

    id: int
    report: str
    passport_id: str
    started_at: str
    finished_at: str | None
    state: str
    publication: Mapping[str, Any]


def lease(tx: Transaction, *, report: str, passport_id: str) -> int:
    """Starts a run under a stored passport; its id."""
    start = {"started_at": tx.at, "state": LEASED, "publication": "{}"}
    (run_id,) = tx.insert(runs, report=report, passport_id=passport_id, **start)
    return int(run_id)


def finish(tx: Transaction, run_id: int, state: Literal["published", "failed"], publication: Mapping[str, Any]) -> None:
    """Ends a leased run with what it published or why it failed; ReviewRefused RUN_FINISHED if it has ended."""
    end = {"finished_at": tx.at, "state": state, "publication": json_text(publication)}
    if not tx.update(runs, {"id": run_id}, {"state": LEASED}, **end):
        raise _finished(get(tx, run_id))


def get(view: Reading, run_id: int) -> Run:
    """The run; ReviewRefused RUN_UNKNOWN."""
    row = view.one(select(runs).where(runs.c.id == run_id))
    if row is None:
        raise ReviewRefused("RUN_UNKNOWN", f"There is no run {run_id}.", hint="start one with `kai report run`")
    return _run(row)


def listing(view: Reading, *, report: str = "", state: str = "") -> tuple[Run, ...]:
    """The runs, newest first; of one report or state where named."""
    query = select(runs).order_by(runs.c.id.desc())
    for name, value in (("report", report), ("state", state)):
        if value:
            query = query.where(runs.c[name] == value)
    return tuple(_run(row) for row in view.rows(query))


@dataclass(frozen=True)
class Use:
    """One answer that a run used: the charge that paid for it, its loss and snapshot, and how the run came by it.

    charged   by this run, on the snapshot of its day
    repeated  asked again on the same snapshot, or drawn from what an earlier question had paid for
    earlier   shown from the record, as it was answered on a snapshot of its own
    """

    charge_id: int
    how: UseWord
    loss: PrivacyLoss
    snapshot: str

    @property
    def fresh(self) -> bool:
        """Whether this run paid for it."""
        return self.how == "charged"


def demand_under_way(view: Reading, run_id: int) -> None:
    """ReviewRefused RUN_FINISHED unless the run is leased and has not ended."""
    if (run := get(view, run_id)).state != LEASED:
        raise _finished(run)


def demand_within(view: Reading, run_id: int, loss: PrivacyLoss, allowance: PrivacyLoss) -> None:
    """BudgetRefused RUN_CAP unless the run may still spend `loss` of what its passport allows per run."""
    spent = sum((use.loss for use in uses(view, run_id) if use.fresh), PrivacyLoss(0))
    if not (spent + loss).within(allowance):
        raise BudgetRefused(
            "RUN_CAP",
            f"This run has spent {told(spent)}, and may spend {told(allowance)}: "
            f"another {told(loss)} is more than was approved.",
            rule="a run spends at most what its passport allows",
            hint="ask for less, or submit the report again with a larger rho_per_run (or delta_per_run)",
        )


def note_use(tx: Transaction, run_id: int, charge_id: int, how: UseWord) -> None:
    """Notes once that a run used the answer of a charge, its own or an earlier one's; RUN_FINISHED after its end."""
    demand_under_way(tx, run_id)
    known = select(run_uses.c.seq).where(run_uses.c.run_id == run_id, run_uses.c.charge_id == charge_id)
    if tx.one(known) is None:
        tx.insert(run_uses, run_id=run_id, charge_id=charge_id, use=how)


def uses(view: Reading, run_id: int) -> tuple[Use, ...]:
    """The answers that a run used, in the order of their charges."""
    query = select(run_uses.c.charge_id, run_uses.c.use, charges.c.rho_units, charges.c.delta_units, charges.c.snapshot)
    rows = view.rows(query.join(charges).where(run_uses.c.run_id == run_id).order_by(run_uses.c.charge_id))
    return tuple(Use(row.charge_id, row.use, PrivacyLoss(row.rho_units, row.delta_units), row.snapshot) for row in rows)


def _finished(run: Run) -> ReviewRefused:
    return ReviewRefused(
        "RUN_FINISHED",
        f"Run {run.id} is {run.state} already.",
        rule="a run is published once, or failed",
        hint="start another run",
    )


def _run(row: Row[Any]) -> Run:
    values = dict(row._mapping)
    del values["seq"]
    return Run(**{**values, "publication": json.loads(row.publication)})
