"""The policy enforcement point: every answer that leaves the custody is made on this page.

Rows, in order:
    1. the guard admits one SELECT and names its views
    2. the policy permits this session those views as rows, today
    3. the decision is recorded with its grounds, unless the day has no rows left
    4. the session's own worker runs it on its one store, under a deadline and caps
    5. what is about to leave is counted against the contracts' caps, and recorded: rows, bytes, digest
    6. it leaves, with its snapshot and the isolation level

Statistics, in order:
    1. the guard admits one SELECT and names its views; tables of the analyst's own are admitted as names, and small
    2. the policy permits this session those views as statistics, today
    3. the tree that the guard admitted is lowered to a query that can be proved private, or refused by name
    4. contributions are bounded and the loss is proved, from public facts alone
    5. one transaction: the same asking answered on this snapshot before is returned, free; other askings of the same
       measures are answered from the noisy numbers recorded for them, free; a charge whose release was never recorded
       is redeemed, once; else the loss is charged. No data has been read so far
    6. the session's statistics worker runs the bounded aggregates, which our compiler wrote
    7. noise is drawn, once for each charge; then nothing goes on before the end of a time bucket, nor after a failure
    8. the noisy numbers and the answer are recorded, byte for byte as it will be sent
    9. it leaves
Where bounds are found from the data, 6 and 7 come twice within the one charge: for the figures that bounds are found
from, then for the answer, whose loss is proved within the rest of the charge before its own read.

What a question would cost takes steps 1 to 4 and is recorded: it reads nothing and charges nothing. Earlier answers
are shown to whom their views are permitted today, and each showing is recorded; a run's is noted among its uses.

A refusal or a fault at any step is recorded with its code before it is answered. Nothing is ever refunded.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from threading import Event
from typing import Any

from kaianalytics.errors import KaiError, QueryFailed, Refused, WorkerFault
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.guard.admission import Admitted, Guard
from kaianalytics.gateway.guard.allowed import STATISTICS_FUNCTIONS
from kaianalytics.gateway.guard.spelling import naming_unknown_columns
from kaianalytics.gateway.locks import KeyedLocks
from kaianalytics.gateway.logbook import reference
from kaianalytics.gateway.serving import Serving
from kaianalytics.gateway.statistics import budgeting
from kaianalytics.gateway.statistics.answering import release_payload, statistics_plan
from kaianalytics.gateway.statistics.buckets import Buckets
from kaianalytics.gateway.statistics.drawing import Drawn, profile_of, profile_text
from kaianalytics.gateway.statistics.lookups import lookups
from kaianalytics.gateway.statistics.question import Ground, Question, prepare
from kaianalytics.gateway.tokens import Session
from kaianalytics.gateway.workers.answer import Row
from kaianalytics.gateway.workers.failures import of_statistics
from kaianalytics.gateway.workers.pool import SessionWorker, WorkerPool
from kaianalytics.gateway.workers.process import StoreSpec
from kaianalytics.policy.contract import Access
from kaianalytics.policy.decision import Deny, Permit, Request, decide
from kaianalytics.policy.leaving import one_answer
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.query import Relation
from kaianalytics.privacy.unit import Profile
from kaianalytics.protocol import StatisticsRequest, isolation_sentence
from kaianalytics.records import ledger, releases, reviews, row_uses, runs, stops
from kaianalytics.records.row_uses import Amount
from kaianalytics.records.runs import UseWord
from kaianalytics.records.transaction import Transaction
from kaianalytics.review.passport import digest

DEADLINE_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowsAnswer:
    """Rows as an Arrow IPC stream, with what they were answered on."""

    arrow: bytes
    digest: str
    snapshot: str
    isolation: str


@dataclass(frozen=True)
class Found:
    """The charge that pays for an answer, and what was recorded of it before: the answer, or the numbers behind it."""

    charge_id: int
    payload: bytes | None = None
    drawn: Drawn | None = None


class Enforcement:
    """Answers questions under purpose tokens."""

    def __init__(self, context: Context, guard: Guard, pool: WorkerPool, buckets: Buckets | None = None) -> None:
        self._context = context
        self._guard = guard
        self._pool = pool
        self._questions = KeyedLocks()
        self._buckets = buckets or Buckets(lambda: pool.is_closed)

    def answer_rows(self, session: Session, sql: str, gone: Event | None = None) -> RowsAnswer:
        """The rows of an admitted and permitted SELECT; a KaiError with its reason otherwise."""
        serving = self._context.serving()
        with self._recording(session, "rows", sql):
            admitted = self._admit(serving, sql)  # 1
            permit = self._permit(serving, session, "rows", admitted)  # 2
            use = row_uses.Asked(session.user, session.purpose, serving.rows_caps(admitted.views))
            facts = {"sql": sql, "views": list(admitted.views), "grounds": list(permit.grounds)}
            with self._writing(session, "rows.permitted", **facts) as tx:  # 3
                row_uses.demand_room(tx, use)
            worker, snapshot = self._worker(serving, session, "rows")
            columns = serving.columns(session.purpose, admitted.views)
            rows_max, bytes_max = one_answer(use.caps.values())
            with (
                naming_unknown_columns(admitted.tree, columns),
                worker.run(admitted.sql, DEADLINE_SECONDS, gone=gone, rows_max=rows_max, bytes_max=bytes_max) as answer,
            ):
                arrow = b"".join(answer)  # 4
            told = answer.outcome
            left = {"rows": told.rows, "bytes": len(arrow), "digest": told.digest, "ms": round(told.seconds * 1000)}
            with self._writing(session, "rows.answered", sql=digest(sql), snapshot=snapshot, **left) as tx:  # 5
                row_uses.take(tx, use, Amount(told.rows, len(arrow)))
        return RowsAnswer(arrow, told.digest, snapshot, isolation_sentence(session.isolation))  # 6

    def answer_statistics(
        self, session: Session, asked: StatisticsRequest, gone: Event | None = None
    ) -> dict[str, Any]:
        """The release that answers an admitted, permitted and proved question; a KaiError with its reason otherwise."""
        serving = self._context.serving()
        with self._recording(session, "statistics", asked.sql):
            admitted, tables, permit = self._permitted(serving, session, asked)  # 1, 2
            worker, snapshot = self._worker(serving, session, "statistics")
            question = self._proved(serving, session, asked, admitted, tables, snapshot)  # 3, 4
            with self._questions.holding(f"{question.charge.question} {question.charge.snapshot}"):
                found = self._charge_or_find(session, question, permit)  # 5
                if found.payload is not None:
                    return self._answer(session, question, found.payload, charged=False)
                drawn = found.drawn
                if drawn is None:
                    with self._buckets.over(session.session_id, question.population.time_bucket, gone):
                        drawn = question.draw(lambda sql: _read(worker, sql, gone))  # 6, 7
                payload = release_payload(question, found.charge_id, drawn, self._context.keys)
                self._record_release(session, question, found, drawn, payload)  # 8
            return self._answer(session, question, payload, charged=found.drawn is None)  # 9

    def plan_statistics(self, session: Session, asked: StatisticsRequest) -> dict[str, Any]:
        """What a question would cost and how exact it would be: steps 1 to 4, nothing read, nothing charged."""
        serving = self._context.serving()
        with self._recording(session, "statistics", asked.sql):
            admitted, tables, permit = self._permitted(serving, session, asked)
            snapshot = serving.snapshot(self._context.stop_epoch())
            question = self._proved(serving, session, asked, admitted, tables, snapshot)
            facts = {**question.facts, "grounds": list(permit.grounds)}
            self._record(session, "statistics.planned", **facts)
            with self._context.records.reading() as view:
                left = ledger.questions_left(ledger.limits(view, question.charge), question.charge)
        return asdict(statistics_plan(question, left))

    def earlier_releases(
        self, session: Session, view_name: str, contains: str, purpose: str = ""
    ) -> list[dict[str, Any]]:
        """The recorded answers over views that the session may ask today, newest first, as recorded.

        They are its purpose's own; another's where the register of purposes says so.
        """
        serving = self._context.serving()
        with self._recording(session, "releases", contains):
            of = serving.releases_of(session.purpose, purpose)
            with self._context.records.reading() as view:
                listed = releases.listing(view, purpose=of, product=view_name, contains=contains)
            read = {each.products for each in listed}
            permitted = {products for products in read if self._may_see(serving, session, products)}
            shown = [each for each in listed if each.products in permitted]
            numbers = [each.answer.charge_id for each in shown]
            facts = {"view": view_name, "contains": contains, "of": of, "releases": numbers}
            with self._writing(session, "releases.shown", **facts) as tx:
                self._demand_run(tx, session)
                for each in shown:
                    this_one = each.snapshot == serving.snapshot(self._context.stop_epoch())
                    self._note_use(tx, session, each.answer.charge_id, "repeated" if this_one else "earlier")
        return [{"release": each.answer.payload.decode(), "at": each.answer.at} for each in shown]

    def _permitted(
        self, serving: Serving, session: Session, asked: StatisticsRequest
    ) -> tuple[Admitted, Mapping[str, Relation], Permit]:
        """The tree that the guard admits, the analyst's own tables, and the permit that the question rests on."""
        tables = lookups(asked, serving.contracts.products)
        admitted = self._admit(serving, asked.sql, tables, STATISTICS_FUNCTIONS)
        return admitted, tables, self._permit(serving, session, "statistics", admitted)

    def _proved(
        self,
        serving: Serving,
        session: Session,
        asked: StatisticsRequest,
        admitted: Admitted,
        tables: Mapping[str, Relation],
        snapshot: str,
    ) -> Question:
        views, populations = serving.statistics_views(session.purpose), serving.contracts.purposes.populations
        ground = Ground(views, tables, populations, snapshot, self._found_profile)
        return prepare(admitted, asked, session, ground)

    def _charge_or_find(self, session: Session, question: Question, permit: Permit) -> Found:
        """The charge that pays for the answer, with what was recorded of it before."""
        facts = {**question.facts, "grounds": list(permit.grounds)}
        charge = question.charge
        with self._writing(session, "statistics.asked", **facts) as tx:
            self._demand_run(tx, session)
            if answer := releases.find_answer(tx, charge, question.asked):
                self._note_use(tx, session, answer.charge_id, "repeated")
                tx.event.note(outcome="repeated", charge=answer.charge_id)
                return Found(answer.charge_id, payload=answer.payload)
            released = releases.find_release(tx, charge)
            drawn = None if released is None else Drawn.from_bytes(released.noisy)
            if released and drawn and question.can_use(drawn):
                self._note_use(tx, session, released.charge_id, "repeated")
                tx.event.note(outcome="reused", charge=released.charge_id)
                return Found(released.charge_id, drawn=drawn)
            charge_id = ledger.redeem(tx, charge)
            tx.event.note(outcome="charged" if charge_id is None else "redeemed")
            if session.run and charge_id not in {use.charge_id for use in runs.uses(tx, session.run)}:
                # also where an earlier run paid: what one run shows costs no more than was approved for one
                allowed = PrivacyLoss.of(session.rho_per_run, session.delta_per_run)
                runs.demand_within(tx, session.run, charge.loss, allowed)
            if charge_id is None:
                charge_id = ledger.charge(tx, charge)
            self._note_use(tx, session, charge_id, "charged")
            return Found(charge_id)

    def _record_release(self, session: Session, question: Question, found: Found, drawn: Drawn, payload: bytes) -> None:
        with self._writing(session, "statistics.released", charge=found.charge_id) as tx:
            if found.drawn is None:
                releases.record(tx, found.charge_id, drawn.to_bytes())
                if drawn.profile is not None:
                    whose = (question.charge.population, session.purpose, question.subject)
                    releases.record_profile(tx, found.charge_id, *whose, profile_text(drawn.profile))
            releases.record_answer(tx, found.charge_id, question.asked, question.sql, payload)

    def _answer(self, session: Session, question: Question, payload: bytes, *, charged: bool) -> dict[str, Any]:
        """The release as recorded, byte for byte, and what is left now, which is no part of it."""
        with self._context.records.reading() as view:
            limits = ledger.limits(view, question.charge)
            lost = budgeting.lost(view, question.charge, limits)
        remaining = budgeting.remaining(limits)
        return {"release": payload.decode(), "charged": charged, "remaining": remaining, "lost": lost}

    def _found_profile(self, population: str, purpose: str, subject: str) -> Profile | None:
        with self._context.records.reading() as view:
            text = releases.find_profile(view, population, purpose, subject)
        return None if text is None else profile_of(json.loads(text))

    def cancel(self, session: Session, gone: Event) -> None:
        """End the session's query whose client hung up, and no other."""
        if self._pool.cancel(session.session_id, gone):
            self._record(session, "query.cancelled")

    def _admit(
        self, serving: Serving, sql: str, tables: Collection[str] = (), functions: Collection[str] = ()
    ) -> Admitted:
        # the names of all products are public: the decision, not the guard, says which purpose has which
        admitted = self._guard.admit(sql, (*serving.contracts.products, *tables), functions)
        return replace(admitted, views=tuple(view for view in admitted.views if view not in tables))

    def _permit(self, serving: Serving, session: Session, access: Access, admitted: Admitted) -> Permit:
        if not admitted.views:
            raise Refused("NO_VIEW", "The statement reads no view.", hint="`kai.datasets()` lists the views")
        decision = self._decide(serving, session, access, admitted.views)
        if isinstance(decision, Deny):
            raise decision.refusal()
        return decision

    def _decide(self, serving: Serving, session: Session, access: Access, views: tuple[str, ...]) -> Permit | Deny:
        request = Request(session.user, session.purpose, session.kind, access, views)
        return decide(request, serving.contracts, self._context.roles(), self._context.clock().date())

    def _may_see(self, serving: Serving, session: Session, products: tuple[str, ...]) -> bool:
        return isinstance(self._decide(serving, session, "statistics", products), Permit)

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
            error.locate(sql)
            word = "refused" if isinstance(error, Refused) else "failed"
            self._record(session, f"{door}.{word}", code=error.code, reference=reference(), sql=sql[:2000])
            error.recorded = True
            raise

    def _record(self, session: Session, kind: str, **body: object) -> None:
        with self._writing(session, kind, **body):
            pass

    def _writing(self, session: Session, kind: str, **body: object) -> AbstractContextManager[Transaction]:
        """One transaction with its event."""
        return self._context.records.writing(self._context.event(session.user, kind, session.session_id, **body))

    @staticmethod
    def _demand_run(tx: Transaction, session: Session) -> None:
        """Refuse a report's session whose run has ended, or whose approval was revoked."""
        if session.run:
            reviews.demand_unrevoked(tx, session.approval)
            runs.demand_under_way(tx, session.run)

    @staticmethod
    def _note_use(tx: Transaction, session: Session, charge_id: int, how: UseWord) -> None:
        if session.run:
            runs.note_use(tx, session.run, charge_id, how)


def _read(worker: SessionWorker, sql: str, gone: Event | None) -> list[Row]:
    """The exact rows of one bounded aggregate, which go no further than the noise; one code for every failure."""
    try:
        return worker.fetch(sql, DEADLINE_SECONDS, gone=gone)
    except (QueryFailed, WorkerFault) as error:
        told = of_statistics(error)
        if told is error:
            raise
        log.warning("a statistic failed with %s", error.code)
        raise told from None
