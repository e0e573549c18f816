"""Who handles data: identities, the companies of the joint use, and dated exploration grants.

Laws: an identity without an appointment that holds today, without a confidentiality acknowledgement, or of a company
outside the joint use may do nothing (clauses 5, 8, 9.2); a grant names its reason, its dates and who gave it, and
nobody grants to themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args

from kaianalytics.policy.reading import Document, Faults, Part, Path, canonical_digest

Role = Literal["analyst", "reviewer", "steward", "custodian", "runner"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Company:
    """One company: where its people work, and whether it is in the published joint use (clause 5)."""

    key: str
    name: str
    country: str
    joint_use: bool


@dataclass(frozen=True)
class Identity:
    """One person or service that may be appointed to handle data; dates are inclusive."""

    key: str
    name: str
    company: str
    roles: frozenset[Role]
    appointed: date
    expires: date
    acknowledged: date | None  # when the confidentiality text was acknowledged


@dataclass(frozen=True)
class Grant:
    """A dated permission to explore real data interactively for one purpose; dates are inclusive."""

    identity: str
    purpose: str
    starts: date
    ends: date
    reason: str
    granted_by: str

    def holds(self, today: date) -> bool:
        """Whether the grant holds on that day."""
        return self.starts <= today <= self.ends


@dataclass(frozen=True)
class Roles:
    """The register of handlers, as `roles.yaml` states it."""

    version: str
    identities: Mapping[str, Identity]
    companies: Mapping[str, Company]
    assessed_countries: frozenset[str]  # whose data protection system has been assessed (clause 9.1)
    grants: tuple[Grant, ...]
    digest: str

    def grants_of(self, identity: str, purpose: str) -> tuple[Grant, ...]:
        """Every exploration grant of that identity for that purpose, whatever its dates."""
        return tuple(g for g in self.grants if g.identity == identity and g.purpose == purpose)

    def names(self, keys: tuple[str, ...]) -> str:
        """The keys with the names shown, for "whom to ask" in a refusal."""
        shown = (f"{self.identities[key].name} ({key})" if key in self.identities else key for key in keys)
        return ", ".join(shown)

    def holders(self, role: Role) -> tuple[str, ...]:
        """The identities that hold a role, in order of their keys."""
        return tuple(key for key, identity in sorted(self.identities.items()) if role in identity.roles)


def read_roles(document: Document, faults: Faults) -> Roles | None:
    """The register in a parsed `roles.yaml`, or None with every fault noted."""
    before = len(faults)
    root = Part(document, (), faults)
    root.only("version", "companies", "assessed_countries", "identities", "grants")
    companies = {key: _company(key, part) for key, part in root.named("companies").items()}
    identities = {key: _identity(key, part, companies) for key, part in root.named("identities").items()}
    grants = tuple(_grant(part, identities) for part in root.parts("grants", required=False))
    roles = Roles(
        version=root.text("version"),
        identities=identities,
        companies=companies,
        assessed_countries=frozenset(root.texts("assessed_countries")),
        grants=grants,
        digest=canonical_digest(document.data),
    )
    return roles if len(faults) == before else None


def grant_places(document: Document) -> list[tuple[Path, str]]:
    """Where each grant names its purpose, so that a purpose nobody stated can be pointed at."""
    root = Part(document, (), Faults())
    return [((*part.path, "purpose"), part.text("purpose")) for part in root.parts("grants", required=False)]


def _company(key: str, part: Part) -> Company:
    part.only("name", "country", "joint_use")
    return Company(key, part.text("name"), part.text("country"), part.flag("joint_use"))


def _identity(key: str, part: Part, companies: Mapping[str, Company]) -> Identity:
    part.only("name", "company", "roles", "appointed", "expires", "acknowledged")
    company = part.text("company")
    if company and company not in companies:
        part.fault(f"company `{company}` is not registered under companies", at="company")
    appointed, expires = part.day("appointed"), part.day("expires")
    if expires < appointed:
        part.fault("the appointment expires before it begins", at="expires")
    return Identity(
        key=key,
        name=part.text("name"),
        company=company,
        roles=frozenset(part.choices("roles", ROLES)),
        appointed=appointed,
        expires=expires,
        acknowledged=part.day("acknowledged") if part.has("acknowledged") else None,
    )


def _grant(part: Part, identities: Mapping[str, Identity]) -> Grant:
    part.only("identity", "purpose", "from", "to", "reason", "granted_by")
    grant = Grant(
        identity=part.text("identity"),
        purpose=part.text("purpose"),
        starts=part.day("from"),
        ends=part.day("to"),
        reason=part.text("reason"),
        granted_by=part.text("granted_by"),
    )
    _check_grant(part, grant, identities)
    return grant


def _check_grant(part: Part, grant: Grant, identities: Mapping[str, Identity]) -> None:
    if grant.ends < grant.starts:
        part.fault("the grant ends before it begins", at="to")
    grantee = identities.get(grant.identity)
    if grantee is None:
        part.fault(f"identity `{grant.identity}` is not registered under identities", at="identity")
    elif "analyst" not in grantee.roles:
        part.fault(f"`{grant.identity}` is no analyst: exploration is an analyst's work", at="identity")
    granter = identities.get(grant.granted_by)
    if granter is None or "steward" not in granter.roles:
        part.fault(f"`{grant.granted_by}` is no registered steward: a steward gives grants", at="granted_by")
    if grant.identity == grant.granted_by:
        part.fault("nobody grants to themselves", at="granted_by")
