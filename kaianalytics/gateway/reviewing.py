"""What a reviewer is shown of a submission, and an author of their own: all that would run, and what it can reach."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from kaianalytics.errors import PolicyRefused
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.door.identity import Doorkeeper
from kaianalytics.gateway.tokens import Identity
from kaianalytics.records import reviews
from kaianalytics.records.reviews import Submission
from kaianalytics.records.transaction import Reading
from kaianalytics.review.forecast import RUNS_PER_WEEK
from kaianalytics.review.passport import NotebookSource, read_source


class Reviewing:
    """The queue, and one review in full."""

    def __init__(self, context: Context, doorkeeper: Doorkeeper) -> None:
        self._context = context
        self._doorkeeper = doorkeeper

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
        source = self._source(submission)
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

    def _source(self, submission: Submission) -> NotebookSource:
        return read_source(json.loads(submission.notebook), self._context.serving().contracts.purposes)

    def _approved_before(self, view: Reading, submission: Submission, author: str) -> NotebookSource | None:
        for earlier in reviews.listing(view, state="approved", report=submission.report, author=author):
            if earlier.id < submission.id:
                return self._source(earlier)
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
        runs = RUNS_PER_WEEK[request["cadence"]] * 52
        rho, delta = request["rho_per_run"], request["delta_per_run"]
        also = f" and δ {delta}" if Decimal(delta) else ""
        also_total = f" and δ {Decimal(delta) * runs:f}" if also else ""
        return [
            f"purpose, kernel and tag agree: {submission.purpose}",
            "no injected cell in the source",
            f"a run may cost ρ {rho}{also}, all its runs together ρ {Decimal(rho) * runs:f}{also_total} "
            "if it holds for 52 weeks",
            "the cadence sets that sum; no pace is enforced within it",
            "a run reaches statistics only, whatever the notebook asks",
        ]


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
