"""A statistical question made ready: lowered, bounded, its loss proved; and what is drawn for it.

Everything that is prepared rests on public facts: the admitted tree, the contract's bounds, the analyst's own and the
asked price, and a profile that the contract declares or an earlier release found. Nothing is read.

Three digests name a question, each with all that it must tell apart:
    asked    the text's meaning, names and order included, the bounds and the price as they were asked: what is
             repeated byte for byte
    charged  what noise is drawn on: statements, sensitivities, scales, thresholds: what is never drawn twice for free
    subject  what is counted of whom in which groups, whenever it is asked and in whichever windows: what a profile
             that a release found is a profile of
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kaianalytics.gateway.drawing import Drawn
from kaianalytics.gateway.guard import Admitted, without_comments
from kaianalytics.gateway.lookups import digests
from kaianalytics.gateway.serving import window_id
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.purpose import Population
from kaianalytics.privacy.asked import BoundsAsked
from kaianalytics.privacy.assembling import assemble
from kaianalytics.privacy.bounding import compile_query
from kaianalytics.privacy.canonical import digest, to_json
from kaianalytics.privacy.expression import Expression, columns_of, conjuncts
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.lowering import lower
from kaianalytics.privacy.measurement import Measurement
from kaianalytics.privacy.plan import Noisy, Plan
from kaianalytics.privacy.prices import Price, price_of
from kaianalytics.privacy.pricing import Priced, priced
from kaianalytics.privacy.query import Relation, Source, StatisticsQuery
from kaianalytics.privacy.unit import Profile, StatisticsView
from kaianalytics.protocol import StatisticsRequest
from kaianalytics.records.ledger import Charge

Rows = Sequence[Sequence[Any]]
Fetch = Callable[[str], Rows]


@dataclass(frozen=True)
class Ground:
    """The public facts that a question is proved from; `found` gives the newest profile found of a subject."""

    views: Mapping[str, StatisticsView]
    tables: Mapping[str, Relation]
    populations: Mapping[str, Population]
    snapshot: str
    found: Callable[[str, str, str], Profile | None]


@dataclass(frozen=True)
class Question:
    """One question with its proof: what will run, what it costs, and who is charged."""

    sql: str
    request: StatisticsRequest
    views: Mapping[str, StatisticsView]
    query: StatisticsQuery
    bounds: BoundsAsked
    price: Price
    priced: Priced
    population: Population
    charge: Charge
    asked: str
    subject: str
    profile: Profile | None
    tables: Mapping[str, str]

    @property
    def plan(self) -> Plan:
        """What will run."""
        return self.priced.plan

    @property
    def measurement(self) -> Measurement:
        """What is drawn, and its proof."""
        return self.priced.measurement

    @property
    def facts(self) -> dict[str, Any]:
        """What the audit chain keeps of the question."""
        sensitivities = [{"measure": vector.measure, "l2": str(vector.l2)} for vector in self.plan.vectors]
        loss = {"rho_units": self.charge.loss.rho_units, "delta_units": self.charge.loss.delta_units}
        named = {"windows": list(self.charge.windows), "tables": dict(self.tables)}
        return {"sql": self.sql, "asked": self.asked, "sensitivities": sensitivities, **loss, **named}

    def draw(self, fetch: Fetch) -> Drawn:
        """The noisy numbers: reads what the plan reads, once, and draws what was proved, once."""
        return Drawn(read(self.plan, self.measurement, fetch), None)


def read(plan: Plan, measurement: Measurement, fetch: Fetch) -> Noisy:
    """The plan's figures with noise; the exact ones are gone when this returns."""
    return measurement.release(assemble(plan, [fetch(statement.sql) for statement in plan.statements]))


def prepare(admitted: Admitted, asked: StatisticsRequest, session: Session, ground: Ground) -> Question:
    """The question with its proof, or QueryUnsupported naming what can't be proved."""
    query, bounds = lowered(admitted.tree, asked.bounds, ground.views, ground.tables)
    population = ground.populations[query.source.privacy_unit.population]
    price = price_of(asked, population.reporting_delta)
    subject = subject_digest(query)
    profile = None if query.source.view.profile else ground.found(population.name, session.purpose, subject)

    def compiled(loss: PrivacyLoss) -> Plan:
        return compile_query(query, bounds, loss, profile)

    found = priced(price, compiled, population.question_delta)
    return Question(
        sql=without_comments(admitted.sql),  # another analyst may be shown it, and a comment is no part of it
        request=asked,
        views=ground.views,
        query=query,
        bounds=bounds,
        price=price,
        priced=found,
        population=population,
        charge=_charge(query, found, session, ground.snapshot),
        asked=_asked_digest(query, bounds, price),
        subject=subject,
        profile=profile,
        tables=digests(ground.tables),
    )


def lowered(
    tree: Mapping[str, Any],
    bounds: str | Mapping[str, Any] | None,
    views: Mapping[str, StatisticsView],
    tables: Mapping[str, Relation],
) -> tuple[StatisticsQuery, BoundsAsked]:
    """What an admitted tree asks of the views, narrowed to the analyst's own bounds, and those bounds."""
    asked = BoundsAsked.of(bounds)
    query = lower(tree, asked.narrowed(views), tables)
    asked.check_values(query.source)
    return query, asked


def _charge(query: StatisticsQuery, found: Priced, session: Session, snapshot: str) -> Charge:
    measurement, view = found.measurement, query.source.view
    span = view.windows.span if view.windows else None
    windows = tuple(window_id(day, span) for day in found.plan.windows) if span else ()
    return Charge(
        population=query.source.privacy_unit.population,
        purpose=session.purpose,
        analyst=session.user,
        product=view.name,
        question=charged_digest([measurement]),
        snapshot=snapshot,
        loss=measurement.account_loss,
        approval=session.approval,
        report=session.report,
        joined=_products(query),
        windows=windows,
        window_loss=measurement.loss if windows else PrivacyLoss(0),
    )


def _asked_digest(query: StatisticsQuery, bounds: BoundsAsked, price: Price) -> str:
    return digest(to_json([query, bounds, price]))


def subject_digest(query: StatisticsQuery) -> str:
    """The digest of what a found profile is of: its views by their names, for their days move with every build."""
    source = query.source
    relations = [(relation.view.name, relation.rows) for relation in source.relations]
    where = [part for part in conjuncts(query.where) if not _bounds_time(part, source)]
    return digest(to_json([relations, source.joins, source.unit, where, query.keys, query.measures]))


def _bounds_time(part: Expression, source: Source) -> bool:
    """Whether a condition is about the event time alone, by which windows are chosen."""
    windows = {
        (place, relation.view.windows.column)
        for place, relation in enumerate(source.relations)
        if relation.view.windows is not None
    }
    columns = columns_of(part)
    return bool(columns) and all((column.relation, column.name) in windows for column in columns)


def charged_digest(measurements: Iterable[Measurement]) -> str:
    """The digest of all that noise is drawn on and by; equal ones are one measurement, whatever is made of it after."""
    return digest(to_json([_drawn_on(measurement) for measurement in measurements]))


def _drawn_on(measurement: Measurement) -> list[object]:
    plan = measurement.plan
    noises = [
        [each.setting.mechanism, each.setting.size, each.scale.hex(), each.threshold] for each in measurement.noises
    ]
    vectors = [replace(vector, sentence="") for vector in plan.vectors]  # a sentence names figures, and moves nothing
    public = [plan.statements, vectors, plan.cells, plan.threshold, plan.windows]
    return [public, plan.query.measures, noises, measurement.loss, measurement.account_loss]


def _products(query: StatisticsQuery) -> tuple[str, ...]:
    """The products that the question reads beside its own: every relation that is no table of the analyst's."""
    read = (relation.view.name for relation in query.source.relations if relation.rows is None)
    return tuple(sorted({*read} - {query.source.view.name}))
