"""A statistical question made ready: lowered, bounded, its loss proved; and what is drawn for it.

Laws: everything that is prepared rests on public facts: the admitted tree, the contract's bounds and the analyst's own,
the asked price, and a profile that the contract declares or an earlier release found. Nothing is read. What is drawn
is what was proved, and what is charged covers all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaianalytics.gateway.guard.admission import Admitted, without_comments
from kaianalytics.gateway.serving import window_id
from kaianalytics.gateway.statistics.digests import asked_digest, charged_digest, subject_digest
from kaianalytics.gateway.statistics.drawing import Drawn
from kaianalytics.gateway.statistics.finding import Finding, finding_of
from kaianalytics.gateway.statistics.lookups import table_digests
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.purpose import Population
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import Measurement
from kaianalytics.privacy.measuring.prices import Price, price_of
from kaianalytics.privacy.measuring.pricing import Priced, priced
from kaianalytics.privacy.plan import Noisy, Plan
from kaianalytics.privacy.query import Relation, StatisticsQuery
from kaianalytics.privacy.reading.arranging import arranged
from kaianalytics.privacy.reading.lowering import lower
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
    """One question with its proof: what will run, what it costs, and who is charged.

    `priced` is what is proved beforehand; where bounds are found from the data, by `finding`, the answer is made under
    others than those: see `settled`.
    """

    sql: str
    request: StatisticsRequest
    views: Mapping[str, StatisticsView]
    query: StatisticsQuery
    price: Price
    priced: Priced
    finding: Finding | None
    profile: Profile | None
    population: Population
    charge: Charge
    asked: str
    subject: str
    tables: Mapping[str, str]
    isolation: str

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All that is drawn, as it is proved beforehand."""
        found = () if self.finding is None else (self.finding.measurement,)
        return (*found, self.priced.measurement)

    @property
    def loss(self) -> PrivacyLoss:
        """What a window is charged, or where there are none the account."""
        return self.charge.window_loss if self.charge.windows else self.charge.loss

    @property
    def facts(self) -> dict[str, Any]:
        """What the audit chain keeps of the question."""
        vectors = [vector for measurement in self.measurements for vector in measurement.plan.vectors]
        sensitivities = [{"measure": vector.measure, "l2": str(vector.l2)} for vector in vectors]
        loss = {"rho_units": self.charge.loss.rho_units, "delta_units": self.charge.loss.delta_units}
        named = {"windows": list(self.charge.windows), "tables": dict(self.tables)}
        return {"sql": self.sql, "asked": self.asked, "sensitivities": sensitivities, **loss, **named}

    def settled(self, profile: Profile | None) -> Priced:
        """What the answer is made by: as proved beforehand, or under the bounds that a found profile leads to."""
        return self.priced if self.finding is None else self.finding.settled(profile)

    def told_loss(self, settled: Priced) -> PrivacyLoss:
        """What a window loses, or where there are none the account, by what was drawn in the end: within the charge."""
        found = PrivacyLoss(0) if self.finding is None else self.finding.measurement.loss
        return found + settled.measurement.loss

    def draw(self, fetch: Fetch) -> Drawn:
        """The noisy numbers: reads what the plan reads, once, and draws what was proved, once."""
        profile = None if self.finding is None else self.finding.profile(_read(self.finding.measurement, fetch))
        measurement = self.settled(profile).measurement
        return Drawn(_read(measurement, fetch), self._digest_of(measurement), profile)

    def can_use(self, drawn: Drawn) -> bool:
        """Whether an answer can be made of recorded numbers: they were drawn by what this one would be drawn by.

        What is derived from a profile may be another plan once the engine is of another version.
        """
        return self._digest_of(self.settled(drawn.profile).measurement) == drawn.drawn_on

    def _digest_of(self, measurement: Measurement) -> str:
        # the charge names its one measurement already, and many cells take a while to digest
        return self.charge.question if self.finding is None else charged_digest([measurement])


def _read(measurement: Measurement, fetch: Fetch) -> Noisy:
    """The plan's figures with noise; the exact ones are gone when this returns."""
    plan = measurement.plan
    return measurement.release(assemble(plan, [fetch(statement.sql) for statement in plan.statements]))


def prepare(admitted: Admitted, asked: StatisticsRequest, session: Session, ground: Ground) -> Question:
    """The question with its proof, or QueryUnsupported naming what can't be proved."""
    query, bounds = lowered(admitted.tree, asked.bounds, ground.views, ground.tables)
    population = ground.populations[query.source.privacy_unit.population]
    price, subject = price_of(asked, population.reporting_delta), subject_digest(query)
    finding = finding_of(query, bounds, price, population.question_delta) if bounds.private else None
    known = query.source.view.profile is not None or finding is not None or bounds.named
    profile = None if known else ground.found(population.name, session.purpose, subject)
    proved = _proved(query, bounds, price, profile, population) if finding is None else finding.settled(None)
    return Question(
        sql=without_comments(admitted.sql),  # another analyst may be shown it, and a comment is no part of it
        request=asked,
        views=ground.views,
        query=query,
        price=price,
        priced=proved,
        finding=finding,
        profile=profile,
        population=population,
        charge=_charge(query, proved, finding, session, ground.snapshot),
        asked=asked_digest(query, bounds, price),
        subject=subject,
        tables=table_digests(ground.tables),
        isolation=session.isolation,
    )


def _proved(
    query: StatisticsQuery, bounds: BoundsAsked, price: Price, profile: Profile | None, population: Population
) -> Priced:
    def compiled(loss: PrivacyLoss) -> Plan:
        return compile_query(query, bounds, loss, profile)

    return priced(price, compiled, population.question_delta)


def lowered(
    tree: Mapping[str, Any],
    bounds: str | Mapping[str, Any] | None,
    views: Mapping[str, StatisticsView],
    tables: Mapping[str, Relation],
) -> tuple[StatisticsQuery, BoundsAsked]:
    """What an admitted tree asks of the views, narrowed to the analyst's own bounds, and those bounds."""
    asked = BoundsAsked.of(bounds)
    query = arranged(lower(tree, asked.narrowed(views), tables))
    asked.check_values(query.source)
    return query, asked


def _charge(query: StatisticsQuery, proved: Priced, finding: Finding | None, session: Session, snapshot: str) -> Charge:
    """Who pays what: all that is drawn, and where the threshold is found later, all the δ that it may cost."""
    measurements = [proved.measurement] if finding is None else [finding.measurement, proved.measurement]
    loss = sum((each.account_loss for each in measurements), PrivacyLoss(0))
    each_window = sum((each.loss for each in measurements), PrivacyLoss(0))
    if finding is not None and query.unknown and finding.delta is not None:
        loss, each_window = (
            PrivacyLoss(each.rho_units, PrivacyLoss.of(0, finding.delta).delta_units) for each in (loss, each_window)
        )
    windows = _windows(query, proved.plan)
    return Charge(
        population=query.source.privacy_unit.population,
        purpose=session.purpose,
        analyst=session.user,
        product=query.source.view.name,
        question=charged_digest(measurements, None if finding is None else query),
        snapshot=snapshot,
        loss=loss,
        approval=session.approval,
        report=session.report,
        joined=_products(query),
        windows=windows,
        window_loss=each_window if windows else PrivacyLoss(0),
    )


def _windows(query: StatisticsQuery, plan: Plan) -> tuple[str, ...]:
    """The ids of the windows that the plan reads; every view that has windows has them of one span."""
    spans = {relation.view.windows.span for relation in query.source.relations if relation.view.windows}
    return tuple(window_id(day, span) for span in spans for day in plan.windows)


def _products(query: StatisticsQuery) -> tuple[str, ...]:
    """The products that the question reads beside its own: every relation that is no table of the analyst's."""
    read = (relation.view.name for relation in query.source.relations if relation.rows is None)
    return tuple(sorted({*read} - {query.source.view.name}))
