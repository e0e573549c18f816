"""The release that answers a question, as it is recorded and sent; and what a question would cost, as it is told.

Laws: a release is made of noisy numbers and public facts alone; its bytes are made once, and repeated as they are.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kaianalytics.custody.keys import Keys
from kaianalytics.gateway.statistics.budgeting import plain
from kaianalytics.gateway.statistics.certifying import certified
from kaianalytics.gateway.statistics.drawing import Drawn
from kaianalytics.gateway.statistics.question import Question
from kaianalytics.privacy.bounding.counting import name_of
from kaianalytics.privacy.measuring.answer import answer
from kaianalytics.privacy.measuring.foreseeing import half_widths
from kaianalytics.privacy.plan import Clipping, Plan
from kaianalytics.privacy.query import Figure, KeyColumn, Of
from kaianalytics.privacy.unit import Profile, Quantiles
from kaianalytics.protocol import Release, ReleaseColumn, Scalar, StatisticsPlan, isolation_sentence

_SHARES = (Decimal("0.5"), Decimal("0.9"), Decimal("0.99"))
_ADDING = frozenset({"rows", "sum", "histogram"})  # measures whose figures add up over groups without a common row


def release_payload(question: Question, charge_id: int, drawn: Drawn, keys: Keys) -> bytes:
    """The release as it is recorded and sent: these bytes, now and at every repeat."""
    settled = question.settled(drawn.profile)
    plan, table = settled.plan, answer(settled.plan, settled.measurement, drawn.noisy)
    loss, delta = question.told_loss(settled), question.population.reporting_delta
    release = Release(
        release_id=charge_id,
        sql=question.sql,
        purpose=question.charge.purpose,
        snapshot=question.charge.snapshot,
        isolation=isolation_sentence(question.isolation),
        columns=tuple(_column(item, kind, plan) for item, kind in zip(question.query.select, table.types, strict=True)),
        rows=tuple(tuple(scalar(value) for value in row) for row in table.rows),
        margins=table.margins,
        supports=table.supports,
        bounding=bounding_of(plan),
        notes=table.notes,
        rho=plain(loss.rho),
        delta=plain(loss.delta),
        epsilon=f"{loss.epsilon(delta):g}",
        epsilon_delta=plain(delta),
        windows=plan.windows,
        bounds=_bounds(question, plan, drawn),
    )
    told = release.to_json()
    told["certificate"] = certified(question, settled, drawn, charge_id, told, keys)
    return json.dumps(told, ensure_ascii=False, allow_nan=False).encode()


def statistics_plan(question: Question, questions_left: int) -> StatisticsPlan:
    """What the question would cost and how exact it would be."""
    plan, measurement, delta = question.priced.plan, question.priced.measurement, question.population.reporting_delta
    return StatisticsPlan(
        rho=plain(question.loss.rho),
        account_rho=plain(question.charge.loss.rho),
        delta=plain(question.loss.delta),
        epsilon=f"{question.loss.epsilon(delta):g}",
        epsilon_delta=plain(delta),
        figures=half_widths(plan, measurement, question.price.size),
        cells=None if plan.cells is None else len(plan.cells),
        windows=plan.windows,
        bounding=bounding_of(plan),
        threshold=None if plan.threshold is None else measurement.noises[plan.threshold].threshold,
        questions_left=questions_left,
    )


def bounding_of(plan: Plan) -> tuple[str, ...]:
    """What bounding leaves out, in sentences, each once."""
    return tuple(dict.fromkeys((*plan.sentences, *(vector.sentence for vector in plan.vectors if vector.sentence))))


def _bounds(question: Question, plan: Plan, drawn: Drawn) -> dict[str, Any]:
    """The bounds that were chosen, what is known of whom they cut short, and what was found where it was paid for."""
    form = {"form": plan.form.kind, "rows": plan.form.rows, "groups": plan.form.groups}
    told: dict[str, Any] = {name: value for name, value in form.items() if value is not None}
    if question.finding is not None and drawn.profile is not None:
        told |= {"found_at_rho": plain(question.finding.measurement.loss.rho)} | _found(plan, drawn.profile)
    if plan.clipping:
        told["clipping"] = [_clipping(plan, clipping) for clipping in plan.clipping]
    return told


def _found(plan: Plan, profile: Profile) -> dict[str, Any]:
    """What a profile says in a few shares of units; the whole of it stands in the certificate."""
    counted = {name_of(plan.query, measure): points for measure, points in profile.norms.items()}
    if not counted:
        counted = {"rows": profile.rows}
    return {"units_found": profile.units, "at_most": {name: _in_shares(points) for name, points in counted.items()}}


def _in_shares(points: Quantiles) -> dict[str, str]:
    return {f"{share:.0%}": plain(next(most for upto, most in points if upto >= share)) for share in _SHARES if points}


def _clipping(plan: Plan, clipping: Clipping) -> str:
    unit, name = plan.query.source.privacy_unit.column, name_of(plan.query, clipping.vector)
    return (
        f"{name}: about {clipping.share:.1%} of {unit} have more than {plain(clipping.bound)} and are cut to it; at "
        f"{plain(2 * clipping.bound)}, with twice the noise, it would be {clipping.at_double:.1%}."
    )


def scalar(value: object) -> Scalar:
    """A key or a figure as JSON has it: dates as ISO text, decimals as text, exactly."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"no release holds a {type(value).__name__}")


def _column(item: KeyColumn | Figure, kind: str, plan: Plan) -> ReleaseColumn:
    if isinstance(item, KeyColumn):
        return ReleaseColumn(item.name, "key", kind)
    measure = plan.query.measures[item.value.measure] if isinstance(item.value, Of) else None
    return ReleaseColumn(
        item.name,
        item.role,
        kind,
        nonnegative=not item.negative and item.role != "top",
        adds=measure is not None and measure.kind in _ADDING and not measure.centre,
    )
