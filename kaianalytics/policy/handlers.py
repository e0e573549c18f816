"""Who may handle data at all: registered, appointed today, bound to confidentiality, of an assessed company (law 1).

Clauses 5, 8, 9.1 and 9.2 of the privacy policy. Every door asks this first: analysts', reviewers' and the runner's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from kaianalytics.policy.roles import Identity, Role, Roles
from kaianalytics.policy.verdict import Reason


def handler_reasons(key: str, roles: Roles, today: date) -> Iterator[Reason]:
    """Why the identity may not handle data on that day; nothing where it may."""
    identity, register = roles.identities.get(key), f"ask {stewards(roles)} to see to roles.yaml"
    if identity is None:
        yield Reason(
            "IDENTITY_UNKNOWN",
            f"`{key}` is no registered handler.",
            "clause 8: only appointed handlers touch information",
            register,
        )
        return
    if not identity.appointed <= today <= identity.expires:
        yield Reason(
            "NOT_APPOINTED",
            f"The appointment of `{identity.key}` holds from {identity.appointed} to {identity.expires}, not today.",
            "clause 8: only appointed handlers touch information",
            register,
        )
    if identity.acknowledged is None or identity.acknowledged > today:
        yield Reason(
            "NOT_ACKNOWLEDGED",
            f"`{identity.key}` has not acknowledged confidentiality.",
            "clause 9.2: handlers are bound to confidentiality",
            register,
        )
    yield from _company_reasons(identity, roles, register)


def _company_reasons(identity: Identity, roles: Roles, register: str) -> Iterator[Reason]:
    company = roles.companies.get(identity.company)
    if company is None or not company.joint_use:
        yield Reason(
            "NOT_IN_JOINT_USE",
            f"The company of `{identity.key}` is not in the joint use.",
            "clause 5: joint use inside the published group alone",
            register,
        )
    elif company.country not in roles.assessed_countries:
        yield Reason(
            "COUNTRY_NOT_ASSESSED",
            f"The data protection system of {company.country}, where {company.name} works, has not been assessed.",
            "clause 9.1: abroad only with knowledge of the other country's system",
            register,
        )


def role_reasons(key: str, fitting: set[Role], roles: Roles) -> Iterator[Reason]:
    """Why a registered identity holds no fitting role; nothing where it holds one, or is not registered at all."""
    identity = roles.identities.get(key)
    if identity is not None and not identity.roles & fitting:
        yield Reason(
            "ROLE_MISSING",
            f"`{key}` does not hold the role that this needs: {' or '.join(sorted(fitting))}.",
            "clause 8: a handler does what the appointment says",
            f"ask {stewards(roles)} about roles.yaml",
        )


def appointment_ground(key: str) -> str:
    """The ground of a permit that the identity may handle data."""
    return f"`{key}` is appointed and bound to confidentiality"


def stewards(roles: Roles) -> str:
    """Whom to ask about the registers."""
    return roles.names(roles.holders("steward")) or "a steward"
