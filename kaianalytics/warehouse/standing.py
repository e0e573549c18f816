"""Whose rows a purpose may use: the standing of every unit, from residence, choices and stop requests.

Laws, each read towards leaving out:
    1. A unit that the population's product does not list has no standing: its rows are in no store.
    2. A stop request counts from the moment it is in the source, for its purpose or for all; a scope that is no purpose
       of the registry counts for all.
    3. The latest state of a choice holds; at the same moment, a refusal holds. Any state but the granting one refuses.
       A refusal without a time is the latest; a grant without a time, or after the as-of date, is none.
    4. Whatever the basis, a unit whose choice for the purpose's own key is refused is out. Under `prior-consent(key)`
       the choice named by the key must be granted.
    5. A unit must live in one of the population's countries; an unknown residence, or two that differ in this, is out.

The reason told is the first that applies, in the order of `REASONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from sqlglot import exp

from kaianalytics.policy.contract import Basis
from kaianalytics.policy.purpose import ChoiceSource, Population, StopSource
from kaianalytics.warehouse.expressions import among, cast, is_given, is_null, literal, named, table
from kaianalytics.warehouse.sources import Sources

STOPPED, OPTED_OUT, RESIDENCE, NO_CONSENT = "stopped", "opted out", "residence", "no consent"
REASONS = (STOPPED, OPTED_OUT, RESIDENCE, NO_CONSENT)
UNIT, REASON = "unit", "reason"  # the columns of a standing


@dataclass(frozen=True)
class Question:
    """Which standing is asked for: of whom, for which purpose, on which basis, and as of which day."""

    population: Population
    purpose: str
    basis: Basis
    as_of: date
    purposes: frozenset[str]  # every purpose of the registry, open or not

    @property
    def table(self) -> str:
        """The name of the standing's table in the scratch database."""
        return f"standing {self.population.name} {self.purpose} {self.basis}"


def standing(question: Question, sources: Sources) -> exp.Select:
    """One row for each unit of the population: `unit`, and `reason`, which is NULL where the purpose may use its rows.

    The sources of the population, its choices and its stops must be open.
    """
    query = exp.select(
        named(UNIT, "everyone"),
        _reason(question).as_(REASON),
    ).from_(_everyone(question.population, sources).subquery("everyone"))
    for alias, select in _joined(question, sources).items():
        same = named(UNIT, "everyone").eq(named(UNIT, alias))
        query = query.join(select.subquery(alias), on=same, join_type="left")
    return query


def standing_products(population: Population) -> tuple[str, ...]:
    """The products that decide a standing: the population's own, and those of its choices and stops."""
    others = (source.product for source in (population.consents, population.stops) if source)
    return tuple(dict.fromkeys((population.product, *others)))


def _reason(question: Question) -> exp.Expression:
    reason = exp.Case()
    if question.population.stops:
        reason = reason.when(is_given(named(UNIT, "stopped")), literal(STOPPED))
    if question.population.consents:
        reason = reason.when(named("refuses", "own"), literal(OPTED_OUT))
    reason = reason.when(exp.not_(named("resident", "everyone")), literal(RESIDENCE))
    if question.basis.kind == "prior-consent":
        reason = reason.when(_consent_lacks(question.population), literal(NO_CONSENT))
    return reason


def _consent_lacks(population: Population) -> exp.Expression:
    """Nobody has consented where no choices are recorded."""
    if not population.consents:
        return exp.true()
    return exp.not_(exp.Coalesce(this=named("grants", "prior"), expressions=[exp.false()]))


def _joined(question: Question, sources: Sources) -> dict[str, exp.Select]:
    population = question.population
    joined = {}
    if population.stops:
        joined["stopped"] = _stopped(population.stops, question, sources)
    if population.consents:
        joined["own"] = _choice(population.consents, question.purpose, question, sources)
        if question.basis.kind == "prior-consent":
            joined["prior"] = _choice(population.consents, question.basis.key, question, sources)
    return joined


def _everyone(population: Population, sources: Sources) -> exp.Select:
    key = named(population.key)
    resident: exp.Expression = exp.true()
    if population.residence is not None:
        known = among(named(population.residence), population.countries)
        resident = exp.Coalesce(this=known, expressions=[exp.false()])
    return (
        exp.select(cast(key, "VARCHAR").as_(UNIT), exp.LogicalAnd(this=resident).as_("resident"))
        .from_(table(sources.opened[population.product].view))
        .where(is_given(key))
        .group_by(cast(key, "VARCHAR"))
    )


def _stopped(stops: StopSource, question: Question, sources: Sources) -> exp.Select:
    scope = named(stops.scope)
    elsewhere = among(scope, question.purposes - {question.purpose})
    return (
        exp.select(cast(named(stops.unit), "VARCHAR").as_(UNIT))
        .distinct()
        .from_(table(sources.opened[stops.product].view))
        .where(exp.not_(exp.Coalesce(this=elsewhere, expressions=[exp.false()])))
    )


def _choice(choices: ChoiceSource, key: str, question: Question, sources: Sources) -> exp.Select:
    """Of each unit that answered the choice: whether its latest state refuses, and whether it grants."""
    at = cast(named(choices.decided_at), "TIMESTAMP")
    granted = exp.Coalesce(this=named(choices.state).eq(literal(choices.granted)), expressions=[exp.false()])
    in_time = exp.LT(this=at, expression=literal(question.as_of + timedelta(days=1)))
    last_grant = exp.Max(this=exp.Case().when(granted & in_time, at.copy()))
    ever = cast(literal("infinity"), "TIMESTAMP")
    last_refusal = exp.Max(this=exp.Case().when(exp.not_(granted.copy()), exp.Coalesce(this=at, expressions=[ever])))
    answers = (
        exp.select(
            cast(named(choices.unit), "VARCHAR").as_(UNIT),
            last_grant.as_("grant_at"),
            last_refusal.as_("refusal_at"),
        )
        .from_(table(sources.opened[choices.product].view))
        .where(named(choices.choice).eq(literal(key)))
        .group_by(cast(named(choices.unit), "VARCHAR"))
    )
    grant, refusal = exp.column("grant_at"), exp.column("refusal_at")
    later = exp.GT(this=grant, expression=refusal)
    grants = is_given(grant) & exp.paren(is_null(refusal) | later)
    refuses = is_given(refusal) & exp.not_(exp.paren(grants.copy()))
    return exp.select(named(UNIT), grants.as_("grants"), refuses.as_("refuses")).from_(answers.subquery("answers"))
