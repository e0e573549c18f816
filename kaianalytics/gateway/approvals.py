"""From a submitted notebook to a passport: the review desk.

Laws: the source is read before anything is stored, so that what can't be approved is refused with its reason; a
decision and its event are one transaction; an approval is signed over its content, and its whole cost becomes a cap in
the ledger.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kaianalytics.errors import PolicyRefused, Refused, ReviewRefused
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.identity import Doorkeeper
from kaianalytics.gateway.tokens import Identity
from kaianalytics.policy.decision import Deny, Request, decide
from kaianalytics.policy.views import slice_digest
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measurement import MAX_SHARE
from kaianalytics.records import ledger, reviews
from kaianalytics.records.reviews import Submission
from kaianalytics.records.transaction import Reading, Transaction
from kaianalytics.review import workflow
from kaianalytics.review.forecast import RUNS_PER_WEEK
from kaianalytics.review.passport import RESUBMIT, Conditions, NotebookSource, Passport, canonical, read_source

REPORT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
RHO_PER_RUN_MAX = MAX_SHARE  # a question may cost no more either
LINES_MAX, CHARACTERS_MAX = 5_000, 300_000
SAME_USER = "One OS user acted as author and as reviewer: a demonstration of the separation, not the separation."
TWO_USERS = "Author and reviewer acted from two OS users."


class Approvals:
    """Submissions, reviews and decisions."""

    def __init__(self, context: Context, doorkeeper: Doorkeeper) -> None:
        self._context = context
        self._doorkeeper = doorkeeper

    def submit(self, caller: Identity, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store a notebook for review, or say that it is approved as it stands."""
        self._doorkeeper.handler(caller, "analyst")
        source = self._source(body)
        self._demand_permit(caller, source.purpose)
        request = _request(body, caller.uid) | {"slice_digest": self._slice(source.purpose)}
        _demand_readable(request["title"], source)
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

    def reviews(self, caller: Identity) -> list[dict[str, Any]]:
        """Every review that the caller may see: a reviewer and a steward all, anyone else their own."""
        handler = self._doorkeeper.handler(caller)
        author = "" if handler.roles & {"reviewer", "steward"} else caller.user
        with self._context.records.reading() as view:
            return [_row(submission) for submission in reviews.listing(view, author=author)]

    def review(self, caller: Identity, number: int) -> dict[str, Any]:
        """One review in full: cells, what changed since the last approval, what it can reach, what checks say."""
        handler = self._doorkeeper.handler(caller)
        with self._context.records.reading() as view:
            submission = reviews.get(view, number)
            if submission.author != caller.user and not handler.roles & {"reviewer", "steward"}:
                raise PolicyRefused(
                    "NOT_YOURS", "This is another analyst's review.", hint="`kai review list` shows yours"
                )
            # the author of this one may not have seen the last one, where another analyst wrote it
            author = "" if handler.roles & {"reviewer", "steward"} else caller.user
            before = self._approved_before(view, submission, author)
        source = self._source({"notebook": json.loads(submission.notebook)})
        return {
            **_row(submission),
            "title": submission.request["title"],
            "parameters": dict(submission.parameters),
            "kernelspec": submission.kernelspec,
            "cadence": submission.request["cadence"],
            "cells": [asdict(cell) for cell in source.cells],
            "diff": _diff(before, source) if before else "",
            "views": self._reach(submission.purpose),
            "checks": self._checks(submission),
        }

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
        total = PrivacyLoss.of(passport.conditions.rho_total)
        for population in self._context.serving().populations(submission.purpose):
            ledger.cap_approval(tx, population, passport.passport_id, total)
        return passport

    def _passport(
        self, submission: Submission, caller: Identity, now: datetime, expires: datetime, weeks: int
    ) -> Passport:
        request = submission.request
        runs = weeks * RUNS_PER_WEEK[request["cadence"]]
        total = Decimal(request["rho_per_run"]) * runs
        return Passport(
            report=submission.report,
            title=request["title"],
            purpose=submission.purpose,
            author=submission.author,
            reviewer=caller.user,
            separation=SAME_USER if request["uid"] == caller.uid else TWO_USERS,
            notebook_digest=submission.notebook_digest,
            parameters=submission.parameters,
            kernelspec=submission.kernelspec,
            slice_digest=submission.request["slice_digest"],
            conditions=Conditions(request["rho_per_run"], f"{total:f}", request["cadence"]),
            approved_at=now.isoformat(),
            expires_at=expires.isoformat(),
        )

    def _revoke(self, tx: Transaction, number: int) -> None:
        if stored := reviews.passport_of(tx, number):
            reviews.revoke_passport(tx, stored.id)

    def _approved_before(self, view: Reading, submission: Submission, author: str) -> NotebookSource | None:
        for earlier in reviews.listing(view, state="approved", report=submission.report, author=author):
            if earlier.id < submission.id:
                return self._source({"notebook": json.loads(earlier.notebook)})
        return None

    def _reach(self, purpose: str) -> list[dict[str, str]]:
        plan = self._context.serving().plans.get((purpose, "statistics"))
        tables = plan.tables if plan else {}  # the purpose may have been closed since
        return [
            {"name": name, "access": "statistics", "columns": ", ".join(column.name for column in table.columns)}
            for name, table in tables.items()
        ]

    def _checks(self, submission: Submission) -> list[str]:
        request = submission.request
        total = Decimal(request["rho_per_run"]) * RUNS_PER_WEEK[request["cadence"]] * 52
        return [
            f"purpose, kernel and tag agree: {submission.purpose}",
            "no injected cell in the source",
            f"a run may cost ρ {request['rho_per_run']}, all its runs together ρ {total:f} if it holds for 52 weeks",
            "the cadence sets that sum; no pace is enforced within it",
            "a run reaches statistics only, whatever the notebook asks",
        ]


def _request(body: Mapping[str, Any], uid: int) -> dict[str, Any]:
    """What is asked for, checked field by field; Refused naming the field."""
    report, title, cadence = (str(body.get(name, "")) for name in ("report", "title", "cadence"))
    if not REPORT_NAME.fullmatch(report) or len(report) > 60:
        raise Refused(
            "REPORT_NAME", "A report's name is lower-case words joined by hyphens.", hint="such as usage-trends"
        )
    if not 1 <= len(title) <= 120:
        raise Refused("REPORT_TITLE", "A report has a title of at most 120 characters.")
    if cadence not in RUNS_PER_WEEK:
        raise Refused("REPORT_CADENCE", f"A cadence is one of {', '.join(RUNS_PER_WEEK)}.")
    rho = _rho(body.get("rho_per_run"))
    return {
        "report": report,
        "title": title,
        "cadence": cadence,
        "rho_per_run": rho,
        "parameters": _parameters(body.get("parameters", {})),
        "uid": uid,
    }


def _rho(value: Any) -> str:
    try:
        # plain digits, whatever spelling a decimal takes: this is signed, shown and multiplied
        if isinstance(value, str) and 0 < (loss := PrivacyLoss.of(value)).rho_units <= RHO_PER_RUN_MAX.rho_units:
            return f"{loss.rho.normalize():f}"
    except ValueError:
        pass
    raise Refused(
        "RHO_PER_RUN",
        f"A report says what one run may cost, as a positive decimal of at most {RHO_PER_RUN_MAX.rho:f}.",
        hint='rho_per_run: "0.004"',
    )


def _demand_readable(title: str, source: NotebookSource) -> None:
    """ReviewRefused unless a reviewer can read all of it: of bounded length, and no character that hides others."""
    lines = sum(1 + cell.source.count("\n") for cell in source.cells)
    if lines > LINES_MAX or sum(len(cell.source) for cell in source.cells) > CHARACTERS_MAX:
        raise ReviewRefused(
            "TOO_LONG_TO_REVIEW",
            f"The notebook has more than {LINES_MAX:,} lines or {CHARACTERS_MAX:,} characters.",
            rule="a reviewer reads all that is approved",
            hint="split it into several reports",
        )
    texts = (title, *(text for cell in source.cells for text in (cell.source, *cell.tags)))
    if "\n" in title or any(_hides(character) for text in texts for character in set(text)):
        raise ReviewRefused(
            "HIDDEN_CHARACTERS",
            "The title or a cell holds a control character, or one that turns or hides the text around it.",
            rule="what a reviewer reads is what runs",
            hint="retype the line; in a string write the character as an escape, such as \\u200e",
        )


def _hides(character: str) -> bool:
    """Controls, format characters and odd line ends; the joiners that some scripts are written with are none."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Zl", "Zp") and character not in "\n\t\u200c\u200d"


def _demand_own_name(view: Reading, report: str, author: str) -> None:
    """ReviewRefused REPORT_TAKEN where the report that has this name was approved for another author."""
    if any(approved.author != author for approved in reviews.listing(view, state="approved", report=report)):
        raise ReviewRefused(
            "REPORT_TAKEN",
            f"The report `{report}` is another analyst's.",
            rule="a report keeps its author as long as its approval stands",
            hint="choose another name, or ask a reviewer to revoke the other approval",
        )


def _parameters(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and all(
        isinstance(name, str) and name.isidentifier() and _is_plain(item) for name, item in value.items()
    ):
        return dict(value)
    raise ReviewRefused("PARAMETERS", "Parameters are names with plain values.", hint="numbers, texts and truth values")


def _is_plain(value: Any) -> bool:
    """Whether JSON has this value, and it holds no others: 1e999 in JSON text is no number here."""
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _row(submission: Submission) -> dict[str, Any]:
    return {
        "id": submission.id,
        "at": submission.at,
        "report": submission.report,
        "purpose": submission.purpose,
        "author": submission.author,
        "rho_per_run": submission.request["rho_per_run"],
        "state": submission.state,
        "reviewer": submission.reviewer,
        "note": submission.note,
    }


def _diff(before: NotebookSource, after: NotebookSource) -> str:
    old, new = (
        [line for cell in source.cells for line in (f"# [{cell.kind}]", *cell.source.splitlines())]
        for source in (before, after)
    )
    return "\n".join(difflib.unified_diff(old, new, "approved", "submitted", lineterm=""))
