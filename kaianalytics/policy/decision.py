"""The policy decision point: who may use what, for which purpose, today.

Laws: what no rule permits is denied; a decision carries every reason, not the first one found; the day is an argument.

    1. The identity is registered, appointed today, bound to confidentiality, of a company in the joint use, and of a
       country that was assessed (clauses 5, 8, 9.1, 9.2): `policy.handlers`.
    2. The purpose is stated and open (clause 3).
    3. The work is an analyst's. Interactive work needs an exploration grant that holds today; a report runs in its
       author's name and reaches statistics alone.
    4. Each view is granted to the purpose, with the access asked for, to the identity's company and country.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from kaianalytics.errors import PolicyRefused
from kaianalytics.policy.contract import Access, Contracts, DataContract
from kaianalytics.policy.handlers import appointment_ground, handler_reasons, role_reasons, stewards
from kaianalytics.policy.purpose import Purpose, Purposes
from kaianalytics.policy.roles import Company, Grant, Identity, Roles
from kaianalytics.policy.verdict import Deny, Obligation, Permit, Reason

Work = Literal["interactive", "report"]

__all__ = ["Deny", "Obligation", "Permit", "Reason", "Request", "Work", "decide", "decide_handler", "purpose_fault"]


@dataclass(frozen=True)
class Request:
    """What somebody asks to do; without `views` it is the opening of a session for the purpose."""

    identity: str
    purpose: str
    work: Work
    access: Access | None = None
    views: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.views) != (self.access is not None):
            raise ValueError(
                "a request for views names the access it wants, and the opening of a session names neither"
            )


def decide(request: Request, contracts: Contracts, roles: Roles, today: date) -> Permit | Deny:
    """Whether the request is permitted on that day; `roles` are the register as it stands, which may be newer."""
    asked = _Asked(request, contracts, roles, today)
    reasons = (
        *handler_reasons(request.identity, roles, today),  # 1
        *_purpose_reasons(contracts.purposes, request.purpose),  # 2
        *_work_reasons(asked),  # 3
        *_view_reasons(asked),  # 4
    )
    return Deny(reasons) if reasons else Permit(_grounds(asked), _obligations(asked))


def purpose_fault(purposes: Purposes, key: str) -> PolicyRefused | None:
    """The refusal of a purpose that is unknown or not open, for doors that ask nothing else; None for an open one."""
    reasons = tuple(_purpose_reasons(purposes, key))
    return Deny(reasons).refusal() if reasons else None


def decide_handler(identity: str, roles: Roles, today: date) -> Deny | None:
    """The denial of somebody who may handle no data on that day, whatever for; None for a handler in good standing."""
    reasons = tuple(handler_reasons(identity, roles, today))
    return Deny(reasons) if reasons else None


@dataclass(frozen=True)
class _Asked:
    request: Request
    contracts: Contracts
    roles: Roles
    today: date

    @property
    def identity(self) -> Identity | None:
        return self.roles.identities.get(self.request.identity)

    @property
    def company(self) -> Company | None:
        return self.roles.companies.get(self.identity.company) if self.identity else None

    @property
    def purpose(self) -> Purpose | None:
        return self.contracts.purposes.purposes.get(self.request.purpose)

    @property
    def grant(self) -> Grant | None:
        """The grant that holds today, and of several the one that ends last."""
        grants = self.roles.grants_of(self.request.identity, self.request.purpose)
        return max((each for each in grants if each.holds(self.today)), key=lambda each: each.ends, default=None)

    def products(self) -> list[DataContract]:
        """The products that the request names and that the contracts describe."""
        return [self.contracts.products[view] for view in self.request.views if view in self.contracts.products]


def _purpose_reasons(purposes: Purposes, key: str) -> Iterator[Reason]:
    purpose, opened = purposes.purposes.get(key), ", ".join(purposes.open) or "none"
    if purpose is None:
        yield Reason(
            "PURPOSE_UNKNOWN",
            f"`{key}` is no stated purpose.",
            "clause 3: use for stated purposes alone",
            f"choose a purpose that is open: {opened}",
        )
    elif not purpose.open:
        yield Reason(
            "PURPOSE_NOT_OPEN",
            f"Purpose `{key}` ({purpose.title}) is stated in clause {purpose.clause} and not open to analysis.",
            f"clause {purpose.clause}, which purposes.yaml keeps closed here",
            f"choose a purpose that is open: {opened}",
        )


def _work_reasons(asked: _Asked) -> Iterator[Reason]:
    yield from role_reasons(asked.request.identity, {"analyst"}, asked.roles)
    analyst = asked.identity is not None and "analyst" in asked.identity.roles
    if asked.request.work == "interactive" and analyst and asked.purpose and asked.purpose.open and not asked.grant:
        yield _no_grant(asked)
    if asked.request.work == "report" and asked.request.access == "rows":
        yield Reason(
            "REPORT_STATISTICS_ONLY",
            "A report reaches statistics alone, not rows.",
            "clause 6: what leaves the sandbox on a schedule is a statistic with recorded evidence",
            'ask with kai.stats(…, rho="…") instead of kai.sql(…)',
        )


def _no_grant(asked: _Asked) -> Reason:
    held = asked.roles.grants_of(asked.request.identity, asked.request.purpose)
    dates = "; ".join(f"{grant.starts} to {grant.ends}" for grant in held)
    return Reason(
        "NO_EXPLORATION_GRANT",
        f"`{asked.request.identity}` has no exploration grant for `{asked.request.purpose}` that holds today"
        + (f" (there was one for {dates})." if dates else "."),
        "interactive work on real data needs a dated exploration grant in roles.yaml",
        f"ask {stewards(asked.roles)} for a dated grant; dummy data to work on without one is not built yet",
    )


def _view_reasons(asked: _Asked) -> Iterator[Reason]:
    if asked.purpose is None or not asked.purpose.open:
        return
    for view in asked.request.views:
        product = asked.contracts.products.get(view)
        if product is None:
            yield _no_such_view(asked, view)
        elif asked.request.purpose not in product.purposes:
            yield _not_for_purpose(asked, product)
        else:
            yield from _granted_view_reasons(asked, product)


def _no_such_view(asked: _Asked, view: str) -> Reason:
    having = (name for name, product in asked.contracts.products.items() if asked.request.purpose in product.purposes)
    return Reason(
        "NO_SUCH_VIEW",
        f"There is no view `{view}`.",
        "a view is a data product that a contract describes",
        f"`{asked.request.purpose}` has: {_listed(set(having))}",
    )


def _not_for_purpose(asked: _Asked, product: DataContract) -> Reason:
    having = set(product.purposes) & set(asked.contracts.purposes.open)
    elsewhere = f"it is for: {_listed(having)}" if having else "no open purpose has it"
    return Reason(
        "NOT_FOR_PURPOSE",
        f"`{product.product}` is not in the data of purpose `{asked.request.purpose}`.",
        f"the contract {product.file} grants it to no such purpose (clause 3)",
        f"{elsewhere}; ask {_whom(asked, product)} if the purpose should cover it",
    )


def _granted_view_reasons(asked: _Asked, product: DataContract) -> Iterator[Reason]:
    granted = product.purposes[asked.request.purpose].access
    if asked.request.access == "rows" and "rows" not in granted:
        yield Reason(
            "STATISTICS_ONLY",
            f"`{product.product}` gives statistics alone for `{asked.request.purpose}`, not rows.",
            f"the contract {product.file} grants {_listed(set(granted))}",
            'ask with kai.stats(…, rho="…")',
        )
    if asked.request.access == "statistics" and "statistics" not in granted:
        yield Reason(
            "ROWS_ONLY",
            f"`{product.product}` is about nobody and gives rows, not statistics.",
            f"the contract {product.file} grants {_listed(set(granted))}",
            "ask with kai.sql(…), which costs no privacy loss",
        )
    if product.unit is not None and asked.company:
        yield from _reach_reasons(asked, product, asked.company)


def _reach_reasons(asked: _Asked, product: DataContract, company: Company) -> Iterator[Reason]:
    if company.key not in product.joint_use:
        yield Reason(
            "NOT_IN_JOINT_USE",
            f"{company.name} is not in the joint use of `{product.product}`.",
            f"clause 5: kai.jointUse in the contract {product.file}",
            f"ask {_whom(asked, product)}",
        )
    if company.country not in product.countries:
        yield Reason(
            "COUNTRY_NOT_PERMITTED",
            f"`{product.product}` may not be used from {company.country}, where {company.name} works.",
            f"clause 9.1: kai.countries in the contract {product.file}",
            f"ask {_whom(asked, product)}",
        )


def _grounds(asked: _Asked) -> tuple[str, ...]:
    purpose, grounds = asked.purpose, [appointment_ground(asked.request.identity)]
    if purpose:
        grounds.append(f"purpose `{purpose.key}` is open (clause {purpose.clause})")
    if asked.request.work == "interactive" and asked.grant:
        grant = asked.grant
        grounds.append(f"exploration grant {grant.starts} to {grant.ends} by {grant.granted_by}: {grant.reason}")
    for product in asked.products():
        basis = product.purposes[asked.request.purpose].basis
        grounds.append(f"contract {product.file} {product.version} grants {asked.request.access}, basis {basis}")
    return tuple(grounds)


def _obligations(asked: _Asked) -> tuple[Obligation, ...]:
    populations = {product.population for product in asked.products() if product.population}
    obligations = [Obligation("audit")]
    if asked.request.access == "statistics":
        obligations += [Obligation("charge", population) for population in sorted(populations)]
    if asked.request.work == "report":
        obligations.append(Obligation("statistics-only"))
    return (*obligations, Obligation("ends", _last_day(asked).isoformat()))


def _last_day(asked: _Asked) -> date:
    """The last day on which the grounds hold: the appointment's, or in interactive work the grant's if earlier."""
    days = [asked.identity.expires] if asked.identity else [asked.today]
    if asked.request.work == "interactive" and asked.grant:
        days.append(asked.grant.ends)
    return min(days)


def _whom(asked: _Asked, product: DataContract) -> str:
    return asked.roles.names(product.approvers) or stewards(asked.roles)


def _listed(words: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(words)) or "nothing"
