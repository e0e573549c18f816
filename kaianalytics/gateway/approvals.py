"""From a submitted notebook to a passport: the review desk.

Laws: the source is read before anything is stored, so that what can't be approved is refused with its reason; a
decision and its event are one transaction; an approval is signed over its content, and its whole cost becomes a cap in
the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kaianalytics.errors import Refused, ReviewRefused
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.door.identity import Doorkeeper
from kaianalytics.gateway.tokens import Identity
from kaianalytics.policy.decision import Deny, Request, decide
from kaianalytics.policy.views import slice_digest
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import MAX_SHARE
from kaianalytics.records import caps, reviews
from kaianalytics.records.reviews import Submission
from kaianalytics.records.transaction import Reading, Transaction
from kaianalytics.review import workflow
from kaianalytics.review.forecast import RUNS_PER_WEEK
from kaianalytics.review.passport import RESUBMIT, Conditions, NotebookSource, Passport, canonical, read_source
from kaianalytics.review.request import demand_readable, read_request

SAME_USER = "One OS user acted as author and as reviewer: a demonstration of the separation, not the separation."
TWO_USERS = "Author and reviewer acted from two OS users."


class Approvals:
    """Submissions and decisions."""

    def __init__(self, context: Context, doorkeeper: Doorkeeper) -> None:
        self._context = context
        self._doorkeeper = doorkeeper

    def submit(self, caller: Identity, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store a notebook for review, or say that it is approved as it stands."""
        self._doorkeeper.handler(caller, "analyst")
        source = self._source(body)
        self._demand_permit(caller, source.purpose)
        request = read_request(body, caller.uid, MAX_SHARE) | {"slice_digest": self._slice(source.purpose)}
        demand_readable(request["title"], source)
        with self._context.records.reading() as view:
            _demand_own_name(view, request["report"], caller.user)
        if standing := self._standing(request["report"], source, request):
            return {"state": "approved", "report": standing.report, "expires_at": standing.expires_at}
        event = self._context.event(caller.user, "review.submitted", request["report"])
        with self._context.records.writing(event) as tx:
            review = reviews.add_submission(
                tx,
                report=request["report"],
                purpose=source.purpose,
                author=caller.user,
                notebook=json.dumps(body["notebook"], sort_keys=True).encode(),
                notebook_digest=source.digest,
                parameters=request["parameters"],
                kernelspec=source.kernelspec,
                request=request,
                state="submitted",
            )
        return {"id": review, "state": "submitted", "report": request["report"]}

    def decide(self, caller: Identity, number: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take one step of the workflow; an approval answers with its passport."""
        handler = self._doorkeeper.handler(caller)
        action, note = str(body.get("action", "")), str(body.get("note", ""))
        event = self._context.event(caller.user, f"review.{action or 'unnamed'}"[:200], str(number), uid=caller.uid)
        with self._context.records.writing(event) as tx:
            submission = reviews.get(tx, number)
            actor = workflow.Actor(caller.user, frozenset(handler.roles))
            state = workflow.decide(submission.state, action, actor, submission.author, note)
            if action == "approve":
                _demand_own_name(tx, submission.report, submission.author)
            reviews.set_state(tx, number, state, expect=submission.state, reviewer=caller.user, note=note)
            if action == "revoke":
                self._revoke(tx, number)
            passport = self._sign(tx, submission, caller, body) if action == "approve" else None
        if passport is None:
            return {"id": number, "state": state}
        shown = {"passport": passport.passport_id, "expires_at": passport.expires_at, "separation": passport.separation}
        return {"id": number, "state": state, **shown}

    def _slice(self, purpose: str) -> str:
        return slice_digest(self._context.serving().contracts, purpose)

    def _source(self, body: Mapping[str, Any]) -> NotebookSource:
        notebook = body.get("notebook")
        purposes = self._context.serving().contracts.purposes
        return read_source(notebook if isinstance(notebook, Mapping) else {}, purposes)

    def _demand_permit(self, caller: Identity, purpose: str) -> None:
        contracts, today = self._context.serving().contracts, self._context.clock().date()
        decision = decide(Request(caller.user, purpose, "report"), contracts, self._context.roles(), today)
        if isinstance(decision, Deny):
            raise decision.refusal()

    def _standing(self, report: str, source: NotebookSource, request: Mapping[str, Any]) -> Passport | None:
        """The passport that covers exactly this already, if it holds."""
        with self._context.records.reading() as view:
            stored = reviews.latest_passport(view, report)
        if stored is None or stored.revoked_at is not None:
            return None
        passport = Passport.from_content(stored.content.encode())
        same = (
            passport.notebook_digest == source.digest
            and canonical(dict(passport.parameters)) == canonical(request["parameters"])  # to Python, 1 is True
            and passport.slice_digest == request["slice_digest"]
            and passport.conditions.rho_per_run == request["rho_per_run"]
            and passport.conditions.delta_per_run == request["delta_per_run"]
            and passport.conditions.cadence == request["cadence"]
        )
        return passport if same and self._context.clock() < datetime.fromisoformat(passport.expires_at) else None

    def _sign(self, tx: Transaction, submission: Submission, caller: Identity, body: Mapping[str, Any]) -> Passport:
        weeks = body.get("weeks", 52)
        if not isinstance(weeks, int) or isinstance(weeks, bool) or not 1 <= weeks <= 104:
            raise Refused("WEEKS", "An approval holds for 1 to 104 weeks.", hint="`--weeks 52`")
        if submission.request["slice_digest"] != self._slice(submission.purpose):
            raise ReviewRefused(
                "CONTRACTS_CHANGED",
                "The contracts or the policy behind this notebook changed after it was submitted.",
                rule="an approval is bound to what was submitted and read",
                hint=f"return it with a note; {RESUBMIT}",
            )
        now = self._context.clock()
        passport = self._passport(submission, caller, now, now + timedelta(weeks=weeks), weeks)
        reviews.add_passport(
            tx,
            passport_id=passport.passport_id,
            review_id=submission.id,
            content=passport.content.decode(),
            signature=tx.sign(passport.content).hex(),
            expires_at=datetime.fromisoformat(passport.expires_at),
        )
        total = PrivacyLoss.of(passport.conditions.rho_total, passport.conditions.delta_total)
        for population in self._context.serving().populations(submission.purpose):
            caps.cap_approval(tx, population, passport.passport_id, total)
        return passport

    def _passport(
        self, submission: Submission, caller: Identity, now: datetime, expires: datetime, weeks: int
    ) -> Passport:
        request = submission.request
        runs = weeks * RUNS_PER_WEEK[request["cadence"]]
        total, delta = Decimal(request["rho_per_run"]) * runs, Decimal(request["delta_per_run"]) * runs
        return Passport(
            report=submission.report,
            title=request["title"],
            purpose=submission.purpose,
            author=submission.author,
            reviewer=caller.user,
            separation=SAME_USER if request["uid"] == caller.uid else TWO_USERS,
            isolation=self._context.isolation.sentence,
            notebook_digest=submission.notebook_digest,
            parameters=submission.parameters,
            kernelspec=submission.kernelspec,
            slice_digest=submission.request["slice_digest"],
            conditions=Conditions(
                *(request["rho_per_run"], f"{total:f}", request["cadence"]), request["delta_per_run"], f"{delta:f}"
            ),
            approved_at=now.isoformat(),
            expires_at=expires.isoformat(),
        )

    def _revoke(self, tx: Transaction, number: int) -> None:
        if stored := reviews.passport_of(tx, number):
            reviews.revoke_passport(tx, stored.id)


def _demand_own_name(view: Reading, report: str, author: str) -> None:
    """ReviewRefused REPORT_TAKEN where the report that has this name was approved for another author."""
    if any(approved.author != author for approved in reviews.listing(view, state="approved", report=report)):
        raise ReviewRefused(
            "REPORT_TAKEN",
            f"The report `{report}` is another analyst's.",
            rule="a report keeps its author as long as its approval stands",
            hint="choose another name, or ask a reviewer to revoke the other approval",
        )
