"""The policy enforcement point: every answer that leaves the custody is made on this page.

Rows, in order:
    1. the guard admits one SELECT and names its views
    2. the policy permits this session those views as rows, today
    3. the decision is recorded with its grounds
    4. the session's own worker runs it on its one store, under a deadline and caps
    5. what is about to leave is recorded: rows, bytes, digest
    6. it leaves, with its snapshot and the isolation level

Statistics, in order:
    1. the guard admits one SELECT and names its view
    2. the policy permits this session that view as statistics, today
    3. the tree that the guard admitted is lowered to a query that can be proved private, or refused by name
    4. contributions are bounded and the loss is proved, from public facts alone
    5. one transaction: the same question answered on this snapshot before is returned, free; a charge whose release was
       never recorded is redeemed, once; else the loss is charged. No data has been read so far
    6. the session's statistics worker runs the bounded aggregate, which our compiler wrote
    7. noise is drawn
    8. the release is recorded, byte for byte as it will be sent
    9. it leaves

A refusal or a fault at any step is recorded with its code before it is answered. Nothing is ever refunded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

from kaianalytics.errors import KaiError, Refused
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.guard import Admitted, Guard
from kaianalytics.gateway.locks import KeyedLocks
from kaianalytics.gateway.pool import SessionWorker, WorkerPool
from kaianalytics.gateway.process import StoreSpec
from kaianalytics.gateway.question import Question, prepare, release_payload
from kaianalytics.gateway.serving import Serving
from kaianalytics.gateway.spelling import naming_unknown_columns
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.contract import Access
from kaianalytics.policy.decision import Deny, Permit, Request, decide
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.protocol import StatisticsRequest, isolation_sentence
from kaianalytics.records import ledger, reviews, runs, stops
from kaianalytics.records.ledger import StoredRelease
from kaianalytics.records.transaction import Transaction
from kaianalytics.review.passport import digest

DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class RowsAnswer:
    """Rows as an Arrow IPC stream, with what they were answered on."""

    arrow: bytes
    digest: str
    snapshot: str
    isolation: str


class Enforcement:
    """Answers questions under purpose tokens."""

    def __init__(self, context: Context, guard: Guard, pool: WorkerPool) -> None:
        self._context = context
        self._guard = guard
        self._pool = pool
        self._questions = KeyedLocks()

    def answer_rows(self, session: Session, sql: str, gone: Event | None = None) -> RowsAnswer:
        """The rows of an admitted and permitted SELECT; a KaiError with its reason otherwise."""
        serving = self._context.serving()
        with self._recording(session, "rows", sql):
            admitted = self._admit(serving, sql)  # 1
            permit = self._permit(serving, session, "rows", admitted)  # 2
            facts = {"sql": sql, "views": list(admitted.views), "grounds": list(permit.grounds)}
            self._record(session, "rows.permitted", **facts)  # 3
            worker, snapshot = self._worker(serving, session, "rows")
            columns = serving.columns(session.purpose, admitted.views)
            with (
                naming_unknown_columns(admitted.tree, columns),
                worker.run(admitted.sql, DEADLINE_SECONDS, gone=gone) as answer,  # 4
            ):
                arrow = b"".join(answer)
            left = {"rows": answer.outcome.rows, "bytes": len(arrow), "digest": answer.outcome.digest}
            milliseconds = round(answer.outcome.seconds * 1000)
            self._record(session, "rows.answered", sql=digest(sql), snapshot=snapshot, ms=milliseconds, **left)  # 5
        return RowsAnswer(arrow, answer.outcome.digest, snapshot, isolation_sentence(session.isolation))  # 6

    def answer_statistics(
        self, session: Session, asked: StatisticsRequest, gone: Event | None = None
    ) -> dict[str, Any]:
        """The release that answers an admitted, permitted and proved question; a KaiError with its reason otherwise."""
        serving = self._context.serving()
        with self._recording(session, "statistics", asked.sql):
            admitted = self._admit(serving, asked.sql)  # 1
            permit = self._permit(serving, session, "statistics", admitted)  # 2
            worker, snapshot = self._worker(serving, session, "statistics")
            views = serving.statistics_views(session.purpose)
            question = prepare(admitted, asked, views, session, snapshot)  # 3, 4
            with self._questions.holding(f"{question.charge.question} {snapshot}"):
                charge_id, released = self._charge_or_find(session, question, permit)  # 5
                if released is None:
                    exact = worker.fetch(question.bounded.sql, DEADLINE_SECONDS, gone=gone)  # 6
                    noisy = question.measurement.release(question.bounded.assemble(exact))  # 7
                    payload = release_payload(question, charge_id, noisy, isolation_sentence(session.isolation))
                    self._record_release(session, charge_id, payload)  # 8
                    return self._answer(session, question, payload, charged=True)  # 9
        return self._answer(session, question, released.payload, charged=False)

    def _charge_or_find(self, session: Session, question: Question, permit: Permit) -> tuple[int, StoredRelease | None]:
        """The charge that pays for the answer, and the answer if it was released before."""
        facts = {**question.facts, "grounds": list(permit.grounds)}
        event = self._context.event(session.user, "statistics.asked", session.session_id, **facts)
        with self._context.records.writing(event) as tx:
            if session.run:
                reviews.demand_unrevoked(tx, session.approval)
            if released := ledger.find_release(tx, question.charge):
                self._note_use(tx, session, released.charge_id, fresh=False)
                tx.event.note(outcome="repeated", charge=released.charge_id)
                return released.charge_id, released
            charge_id = ledger.redeem(tx, question.charge)
            tx.event.note(outcome="charged" if charge_id is None else "redeemed")
            if session.run and charge_id not in {use.charge_id for use in runs.uses(tx, session.run)}:
                # also where an earlier run paid: what one run shows costs no more than was approved for one
                runs.demand_within(tx, session.run, question.charge.loss, PrivacyLoss.of(session.rho_per_run))
            if charge_id is None:
                charge_id = ledger.charge(tx, question.charge)
            self._note_use(tx, session, charge_id, fresh=True)
            return charge_id, None

    def _record_release(self, session: Session, charge_id: int, payload: bytes) -> None:
        event = self._context.event(session.user, "statistics.released", session.session_id, charge=charge_id)
        with self._context.records.writing(event) as tx:
            ledger.record_release(tx, charge_id, payload)

    def _answer(self, session: Session, question: Question, payload: bytes, *, charged: bool) -> dict[str, Any]:
        """The release as recorded, byte for byte, and what is left now, which is no part of it."""
        with self._context.records.reading() as view:
            charge = question.charge
            balance = ledger.balance(view, charge.population, session.purpose, session.user)
        left = {"account": balance.account, "purpose": balance.purpose, "analyst": balance.analyst}
        remaining = {name: f"{limit.left.rho.normalize():f}" for name, limit in left.items()}
        return {"release": payload.decode(), "charged": charged, "remaining": remaining}

    def cancel(self, session: Session, gone: Event) -> None:
        """End the session's query whose client hung up, and no other."""
        if self._pool.cancel(session.session_id, gone):
            self._record(session, "query.cancelled")

    def _admit(self, serving: Serving, sql: str) -> Admitted:
        # the names of all products are public: the decision, not the guard, says which purpose has which
        return self._guard.admit(sql, tuple(serving.contracts.products))

    def _permit(self, serving: Serving, session: Session, access: Access, admitted: Admitted) -> Permit:
        if not admitted.views:
            raise Refused("NO_VIEW", "The statement reads no view.", hint="`kai.datasets()` lists the views")
        request = Request(session.user, session.purpose, session.kind, access, admitted.views)
        decision = decide(request, serving.contracts, self._context.roles(), self._context.clock().date())
        if isinstance(decision, Deny):
            raise decision.refusal()
        return decision

    def _worker(self, serving: Serving, session: Session, access: Access) -> tuple[SessionWorker, str]:
        """The session's own worker for one access, with the stop requests as they stand; and its snapshot."""
        with self._context.records.reading() as view:
            epoch, stopped = stops.epoch(view), frozenset(stops.pending(view, session.purpose))
        store, views = serving.store(session.purpose, access), serving.view_statements(session.purpose, access)
        spec = StoreSpec(session.purpose, access, store, views, stopped)
        return self._pool.session(session.session_id, spec), serving.snapshot(epoch)

    @contextmanager
    def _recording(self, session: Session, door: str, sql: str) -> Iterator[None]:
        """Record a refusal or a fault with its code; it then goes its way."""
        try:
            yield
        except KaiError as error:
            word = "refused" if isinstance(error, Refused) else "failed"
            self._record(session, f"{door}.{word}", code=error.code, sql=sql[:2000])
            error.recorded = True
            raise

    def _record(self, session: Session, kind: str, **body: object) -> None:
        self._context.records.append(self._context.event(session.user, kind, session.session_id, **body))

    @staticmethod
    def _note_use(tx: Transaction, session: Session, charge_id: int, *, fresh: bool) -> None:
        if session.run:
            runs.note_use(tx, session.run, charge_id, fresh=fresh)
