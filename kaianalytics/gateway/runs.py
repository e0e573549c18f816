"""Runs of approved reports: leased against the passport, published once.

Laws: a run is leased only if notebook, parameters, kernel and contracts are what the passport names, its signature
verifies and it has not expired or been revoked; a run's token reaches statistics only, and spends at most what the
passport allows per run, while the approval stands; what is published is compared with the passport, and the contracts
and the build with those it began on, once more. Earlier answers may stand beside it, each under its own snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from kaianalytics.errors import KaiError, ReviewRefused
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.door.identity import Doorkeeper
from kaianalytics.gateway.isolation import Statement
from kaianalytics.gateway.serving import Serving
from kaianalytics.gateway.sessions import RUN_LEASED, session_facts
from kaianalytics.gateway.tokens import Identity, Session, new_token_id
from kaianalytics.policy.decision import Deny, Request, decide
from kaianalytics.policy.views import slice_digest
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.protocol import RunGrant, isolation_sentence
from kaianalytics.publishing.publish import Provenance, check_executed, publish, render
from kaianalytics.records import reviews, runs
from kaianalytics.records.reviews import StoredPassport
from kaianalytics.records.runs import Run, Use
from kaianalytics.review import passport as passports
from kaianalytics.review.passport import Passport, read_source


class Runs:
    """Leases runs and publishes what they made."""

    def __init__(self, context: Context, doorkeeper: Doorkeeper) -> None:
        self._context = context
        self._doorkeeper = doorkeeper

    def lease(self, caller: Identity, body: Mapping[str, Any]) -> dict[str, Any]:
        """A run and its token, if what is to run is what was approved; else a refusal, and an event that says so."""
        self._doorkeeper.handler(caller, "runner")
        report = str(body.get("report", ""))
        try:
            passport = self._admitted(report, body)
        except KaiError as refusal:
            self._context.records.append(
                self._context.event(caller.user, "run.refused", report[:200] or "unnamed", code=refusal.code)
            )
            refusal.recorded = True
            raise
        level = self._level(caller, body)
        event = self._context.event(caller.user, RUN_LEASED, report, passport=passport.passport_id, isolation=level)
        with self._context.records.writing(event) as tx:
            run = runs.lease(tx, report=report, passport_id=passport.passport_id)
            session = self._session(caller, passport, run, level)
            tx.event.note(**session_facts(session))
        return asdict(RunGrant(run, self._doorkeeper.grant(session)))

    def finish(self, caller: Identity, number: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """Publish the executed notebook, or record the run as failed; a refused publication fails the run."""
        self._doorkeeper.handler(caller, "runner")
        with self._context.records.reading() as view:
            run = runs.get(view, number)
        if body.get("failed") is not False:
            return self._fail(caller, run, str(body.get("code", "")) or "RUN_FAILED")
        try:
            return self._publish(caller, run, body.get("notebook"), self._level(caller, body))
        except Exception as error:  # whatever it was: a run that can't be published has failed
            self._fail(caller, run, error.code if isinstance(error, KaiError) else "PUBLISHING_BROKE")
            if isinstance(error, KaiError):
                error.recorded = True
            raise

    def _admitted(self, report: str, body: Mapping[str, Any]) -> Passport:
        passport = self._passport(report)
        notebook, parameters = body.get("notebook"), body.get("parameters")
        contracts = self._context.serving().contracts
        source = read_source(notebook if isinstance(notebook, Mapping) else {}, contracts.purposes)
        author = Request(passport.author, source.purpose, "report")
        decision = decide(author, contracts, self._context.roles(), self._context.clock().date())
        if isinstance(decision, Deny):
            raise decision.refusal()
        digest = slice_digest(contracts, source.purpose)
        asked = passports.Run(source, parameters if isinstance(parameters, Mapping) else {}, digest)
        passport.admit(asked, self._context.clock())
        return passport

    def _passport(self, report: str) -> Passport:
        with self._context.records.reading() as view:
            stored = reviews.latest_passport(view, report)
        if stored is None:
            raise ReviewRefused(
                "NOT_APPROVED",
                "No reviewer has approved this report.",
                hint="`kai submit`, then ask a privacy reviewer",
            )
        return self._holding(stored)

    def _holding(self, stored: StoredPassport) -> Passport:
        """The passport, neither revoked nor forged."""
        if stored.revoked_at is not None:
            raise ReviewRefused("PASSPORT_REVOKED", "The approval of this report was revoked.", hint=passports.RESUBMIT)
        content = stored.content.encode()
        passport = Passport.from_content(content)
        if passport.passport_id != stored.id or not self._context.keys.verify(bytes.fromhex(stored.signature), content):
            raise passports.forged()
        return passport

    def _level(self, caller: Identity, body: Mapping[str, Any]) -> str:
        return self._context.isolation.of_kernel(Statement.of(body), caller.uid)

    def _session(self, caller: Identity, passport: Passport, run: int, level: str) -> Session:
        return Session(
            session_id=new_token_id(),
            user=passport.author,
            uid=caller.uid,
            purpose=passport.purpose,
            kind="report",
            kernel=f"run-{run}",
            report=passport.report,
            run=run,
            approval=passport.passport_id,
            rho_per_run=passport.conditions.rho_per_run,
            delta_per_run=passport.conditions.delta_per_run,
            isolation=level,
            identity=caller.token_id,
        )

    def _fail(self, caller: Identity, run: Run, code: str) -> dict[str, Any]:
        event = self._context.event(caller.user, "run.failed", run.report, run=run.id, code=code[:60])
        with self._context.records.writing(event) as tx:
            runs.finish(tx, run.id, "failed", {"code": code[:60]})
        return {"run": run.id, "state": "failed", "code": code[:60]}

    def _publish(self, caller: Identity, run: Run, notebook: Any, level: str) -> dict[str, Any]:
        serving = self._context.serving()
        with self._context.records.reading() as view:
            stored = reviews.passport(view, run.passport_id)
        if stored is None or not isinstance(notebook, Mapping) or not isinstance(notebook.get("cells"), list):
            raise ReviewRefused("NOT_A_NOTEBOOK", "The run sent no notebook.", hint="run the report again")
        passport = self._holding(stored)
        check_executed(notebook, passport, serving.contracts.purposes)
        if slice_digest(serving.contracts, passport.purpose) != passport.slice_digest:
            raise passports.void(passport, "the contracts or the policy behind it changed during the run")
        provenance = self._provenance(run, serving, level)
        title = serving.contracts.purposes.purposes[passport.purpose].title
        html = render(notebook, passport, provenance, title)
        event = self._context.event(caller.user, "run.published", run.report, run=run.id, html=passports.digest(html))
        with self._context.records.writing(event) as tx:
            reviews.demand_unrevoked(tx, run.passport_id)
            publication = {"releases": list(provenance.releases), "rho": provenance.rho_charged}
            runs.finish(tx, run.id, "published", publication)
            # the folder appears inside the transaction: no event without a page, no page without an event
            page = publish(self._context.home.reports, html, passport, provenance)
        where = page.relative_to(self._context.home.root)
        return {"run": run.id, "state": "published", "page": str(where), "rho": provenance.rho_charged}

    def _provenance(self, run: Run, serving: Serving, level: str) -> Provenance:
        """What the page says of the answers it shows; ReviewRefused BUILD_CHANGED where it asked several builds.

        What was shown from the record is of whatever snapshot it was answered on, and is named with it.
        """
        with self._context.records.reading() as view:
            shown = runs.uses(view, run.id)
        used = [use for use in shown if use.how != "earlier"]
        snapshots = sorted({use.snapshot for use in used}) or [serving.snapshot(self._context.stop_epoch())]
        if not all(serving.answered(snapshot) for snapshot in snapshots):
            raise ReviewRefused(
                "BUILD_CHANGED",
                "The stores were built anew during the run, so its figures are not of one build.",
                rule="a page names the one build that its figures were answered on",
                hint="run the report again",
            )
        charged, repeated = (
            sum((use.loss for use in used if use.fresh is fresh), PrivacyLoss(0)) for fresh in (True, False)
        )
        return Provenance(
            run=run.id,
            published_at=f"{self._context.clock():%Y-%m-%d %H:%M} UTC",
            snapshot=", ".join(snapshots),
            as_of=serving.as_of,
            isolation=isolation_sentence(level),
            rho_charged=f"{charged.rho.normalize():f}",
            rho_repeated=f"{repeated.rho.normalize():f}",
            releases=tuple(use.charge_id for use in used),
            earlier=_by_snapshot(use for use in shown if use.how == "earlier"),
        )


def _by_snapshot(uses: Iterable[Use]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The numbers of the releases of each snapshot, in the order in which the snapshots were first charged."""
    numbers: dict[str, list[int]] = {}
    for use in uses:
        numbers.setdefault(use.snapshot, []).append(use.charge_id)
    return tuple((snapshot, tuple(found)) for snapshot, found in numbers.items())
