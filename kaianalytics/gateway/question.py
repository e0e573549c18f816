"""A statistical question made ready: lowered, bounded, its loss proved; and the release that answers it.

Everything here rests on public facts: the admitted tree, the contract's bounds and the asked loss. Nothing is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kaianalytics.errors import QueryUnsupported
from kaianalytics.gateway.guard import Admitted, without_comments
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.reading import canonical_digest
from kaianalytics.privacy.bounding import BoundedAggregate, compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measurement import Measurement, plan
from kaianalytics.privacy.query import Key, StatisticsQuery, lower
from kaianalytics.privacy.unit import StatisticsView
from kaianalytics.protocol import Release, ReleaseColumn, Scalar, StatisticsRequest
from kaianalytics.records.ledger import Charge


@dataclass(frozen=True)
class Question:
    """One question with its proof: what will run, what it costs, and who is charged."""

    sql: str
    query: StatisticsQuery
    bounded: BoundedAggregate
    measurement: Measurement
    charge: Charge

    @property
    def facts(self) -> dict[str, Any]:
        """What the audit chain keeps of the question."""
        sensitivities = [{"name": column.name, "l2": str(column.l2)} for column in self.bounded.columns]
        return {"sql": self.sql, "rho_units": self.charge.loss.rho_units, "sensitivities": sensitivities}


def prepare(
    admitted: Admitted,
    asked: StatisticsRequest,
    views: Mapping[str, StatisticsView],
    session: Session,
    snapshot: str,
) -> Question:
    """The question with its proof, or QueryUnsupported naming what can't be proved."""
    loss = asked_loss(asked.rho)
    query = lower(admitted.tree, views)
    bounded = compile_query(query, query.view)
    measurement = plan(bounded.columns, loss)
    charge = Charge(
        population=query.view.unit.population,
        purpose=session.purpose,
        analyst=session.user,
        product=query.view.name,
        question=canonical_digest(query),
        snapshot=snapshot,
        loss=loss,
        approval=session.approval,
        report=session.report,
    )
    return Question(admitted.sql, query, bounded, measurement, charge)


def asked_loss(rho: str) -> PrivacyLoss:
    """The loss that an analyst asks to spend; QueryUnsupported RHO unless it is a positive decimal number."""
    try:
        loss = PrivacyLoss.of(rho)
    except ValueError:
        loss = PrivacyLoss(0)
    if loss.rho_units < 1:
        raise QueryUnsupported(
            "RHO",
            "A question names its price, a positive decimal number.",
            rule="no privacy loss has a default",
            hint='kai.stats("…", rho="0.002"); `kai.budget()` shows what is left',
        )
    return loss


def release_payload(question: Question, charge_id: int, noisy: Sequence[Sequence[int]], isolation: str) -> bytes:
    """The release as it is recorded and sent: these bytes, now and at every repeat."""
    release = Release(
        release_id=charge_id,
        sql=without_comments(question.sql),  # another analyst may be shown it, and a comment is no part of it
        purpose=question.charge.purpose,
        snapshot=question.charge.snapshot,
        isolation=isolation,
        columns=tuple(_columns(question)),
        rows=tuple(tuple(_scalar(value) for value in row) for row in question.bounded.table(noisy)),
        bounding=question.bounded.bounding,
        rho=f"{question.charge.loss.rho.normalize():f}",
        delta=f"{question.charge.loss.delta.normalize():f}",
    )
    return json.dumps(release.to_json(), ensure_ascii=False, allow_nan=False).encode()


def _columns(question: Question) -> list[ReleaseColumn]:
    widths = iter(zip(question.bounded.columns, question.measurement.half_widths, strict=True))
    columns = []
    for item in question.bounded.select:
        if isinstance(item, Key):
            columns.append(ReleaseColumn(item.name, "key", question.query.view.columns[item.column].type))
        else:
            bounded, half_width = next(widths)
            kind = "integer" if bounded.whole else "decimal"
            columns.append(ReleaseColumn(item.name, bounded.role, kind, half_width))
    return columns


def _scalar(value: object) -> Scalar:
    """A key or a figure as JSON has it: dates as ISO text, decimals as text, exactly."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"no release holds a {type(value).__name__}")
