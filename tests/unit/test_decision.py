"""The policy decision: every way to be denied, with its code, its reasons together, and what a permit obliges to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from support.contracts_kit import COMPLETE_JOURNEY, sample

from kaianalytics.custody.contracts import load
from kaianalytics.policy.contract import Contracts
from kaianalytics.policy.decision import Deny, Obligation, Permit, Request, decide, decide_handler, purpose_fault
from kaianalytics.policy.roles import Roles

TODAY = date(2026, 11, 2)
IMPROVE, ADS, CAMPAIGN = "service-improvement", "ad-targeting", "campaign-analysis"
Change = Callable[[Roles], Roles]


def request(**change: Any) -> Request:
    """Aiko asks for the rows of sessions for service improvement; that is permitted."""
    asked: dict[str, Any] = {
        "identity": "aiko",
        "purpose": IMPROVE,
        "work": "interactive",
        "access": "rows",
        "views": ("sessions",),
    }
    return Request(**{**asked, **change})


def codes(
    asked: Request, roles: Roles | None = None, today: date = TODAY, contracts: Contracts | None = None
) -> list[str]:
    """The codes of the denial; none for a permit."""
    contracts = contracts or sample()
    answer = decide(asked, contracts, roles or contracts.roles, today)
    return [reason.code for reason in answer.reasons] if isinstance(answer, Deny) else []


def identity(**change: Any) -> Roles:
    """The register with Aiko's entry changed."""
    roles = sample().roles
    return replace(roles, identities={**roles.identities, "aiko": replace(roles.identities["aiko"], **change)})


def company(**change: Any) -> Roles:
    """The register with the entry of Aiko's company changed."""
    roles = sample().roles
    return replace(roles, companies={**roles.companies, "kai-media": replace(roles.companies["kai-media"], **change)})


def product(name: str, **change: Any) -> Contracts:
    """The contracts with one product's changed."""
    contracts = sample()
    return replace(contracts, products={**contracts.products, name: replace(contracts.products[name], **change)})


def test_what_the_contracts_grant_is_permitted_with_its_grounds_and_obligations() -> None:
    answer = decide(request(), sample(), sample().roles, TODAY)
    assert isinstance(answer, Permit)
    told = " ".join(answer.grounds)
    assert all(word in told for word in ("aiko", "clause 3.5", "exploration grant", "sessions.odcs.yaml", "notified"))
    assert answer.obligations == (Obligation("audit"), Obligation("ends", "2027-12-31"))


def test_statistics_oblige_to_charge_the_population() -> None:
    answer = decide(request(access="statistics"), sample(), sample().roles, TODAY)
    assert isinstance(answer, Permit) and Obligation("charge", "customers") in answer.obligations


def test_a_session_is_opened_without_naming_views() -> None:
    assert codes(request(access=None, views=())) == []
    for broken in ({"views": ()}, {"access": None}):
        with pytest.raises(ValueError, match="names"):
            request(**broken)


@pytest.mark.parametrize(
    ("roles", "today", "code"),
    [
        (None, date(2025, 12, 31), "NOT_APPOINTED"),
        (None, date(2028, 1, 1), "NOT_APPOINTED"),
        (lambda: identity(acknowledged=None), TODAY, "NOT_ACKNOWLEDGED"),
        (lambda: identity(acknowledged=date(2026, 12, 1)), TODAY, "NOT_ACKNOWLEDGED"),
        (lambda: identity(company="nobody"), TODAY, "NOT_IN_JOINT_USE"),
        (lambda: company(joint_use=False), TODAY, "NOT_IN_JOINT_USE"),
        (lambda: company(country="US"), TODAY, "COUNTRY_NOT_ASSESSED"),
        (lambda: identity(roles=frozenset()), TODAY, "ROLE_MISSING"),
        (lambda: identity(roles=frozenset({"steward", "reviewer", "runner"})), TODAY, "ROLE_MISSING"),
        (lambda: replace(sample().roles, grants=()), TODAY, "NO_EXPLORATION_GRANT"),
        (lambda: replace(sample().roles, identities={}), TODAY, "IDENTITY_UNKNOWN"),
    ],
)
def test_who_may_not_handle_data_is_denied(roles: Callable[[], Roles] | None, today: date, code: str) -> None:
    assert code in codes(request(), roles() if roles else None, today)


@pytest.mark.parametrize("day", [date(2026, 1, 1), date(2027, 12, 31)])
def test_the_first_and_the_last_day_count(day: date) -> None:
    acknowledged = identity(acknowledged=date(2026, 1, 1))
    assert codes(request(), acknowledged, day) == []


def test_a_grant_that_ended_is_none_and_the_hint_says_whom_to_ask() -> None:
    ended = tuple(replace(grant, ends=date(2026, 6, 30)) for grant in sample().roles.grants)
    answer = decide(request(), sample(), replace(sample().roles, grants=ended), TODAY)
    assert isinstance(answer, Deny)
    [reason] = answer.reasons
    assert reason.code == "NO_EXPLORATION_GRANT" and "2026-06-30" in reason.message
    assert "Sora (sora)" in reason.hint and "dummy data" in reason.hint


def test_a_grant_for_one_purpose_is_none_for_another() -> None:
    ads_only = tuple(grant for grant in sample().roles.grants if grant.purpose == ADS)
    roles = replace(sample().roles, grants=ads_only)
    assert codes(request(), roles) == ["NO_EXPLORATION_GRANT"]
    assert codes(request(purpose=ADS, views=("ad_impressions",)), roles) == []


@pytest.mark.parametrize("purpose", ["customer-care", "service-provision", "partner-provision"])
def test_a_closed_purpose_is_refused_with_its_clause(purpose: str) -> None:
    answer = decide(request(purpose=purpose, access=None, views=()), sample(), sample().roles, TODAY)
    assert isinstance(answer, Deny)
    refusal = answer.refusal()
    clause = sample().purposes.purposes[purpose].clause
    assert refusal.code == "PURPOSE_NOT_OPEN" and f"clause {clause}" in refusal.message and IMPROVE in refusal.hint


def test_an_unknown_purpose_is_refused_with_those_that_are_open() -> None:
    assert codes(request(purpose="espionage")) == ["PURPOSE_UNKNOWN"]
    fault = purpose_fault(sample().purposes, "espionage")
    assert fault is not None and all(key in fault.hint for key in (IMPROVE, ADS, CAMPAIGN))
    assert purpose_fault(sample().purposes, IMPROVE) is None


def test_a_view_of_another_purpose_is_refused_with_the_purposes_that_have_it() -> None:
    answer = decide(request(views=("ad_impressions",)), sample(), sample().roles, TODAY)
    assert isinstance(answer, Deny)
    refusal = answer.refusal()
    assert refusal.code == "NOT_FOR_PURPOSE"
    assert ADS in refusal.hint and "Sora (sora)" in refusal.hint


def test_a_product_in_no_store_is_for_no_purpose() -> None:
    answer = decide(request(views=("inquiries",)), sample(), sample().roles, TODAY)
    assert isinstance(answer, Deny) and "no open purpose has it" in answer.refusal().hint


def test_an_unknown_view_is_refused_with_the_purposes_own() -> None:
    answer = decide(request(views=("secrets",)), sample(), sample().roles, TODAY)
    assert isinstance(answer, Deny)
    [reason] = answer.reasons
    assert reason.code == "NO_SUCH_VIEW" and "customers, orders, sessions" in reason.hint


def test_rows_of_a_product_that_gives_statistics_alone_are_refused_with_the_way_to_ask() -> None:
    answer = decide(request(views=("customers",)), sample(), sample().roles, TODAY)
    assert isinstance(answer, Deny)
    assert [reason.code for reason in answer.reasons] == ["STATISTICS_ONLY"]
    assert "kai.stats" in answer.refusal().hint
    assert codes(request(views=("customers",), access="statistics")) == []


def test_a_table_about_nobody_gives_statistics_where_its_contract_says_so() -> None:
    journey = load(COMPLETE_JOURNEY)
    asked = request(purpose=CAMPAIGN, views=("campaign_descriptions",))
    assert codes(asked, contracts=journey) == []
    assert codes(replace(asked, access="statistics"), contracts=journey) == []
    public = journey.products["campaign_descriptions"]
    rows_alone = {CAMPAIGN: replace(public.purposes[CAMPAIGN], access=frozenset({"rows"}))}
    products = {**journey.products, public.product: replace(public, purposes=rows_alone)}
    closed = replace(journey, products=products)
    assert codes(replace(asked, access="statistics"), contracts=closed) == ["ROWS_ONLY"]


def test_a_report_reaches_statistics_alone_and_needs_no_grant() -> None:
    roles = replace(sample().roles, grants=())
    assert codes(request(work="report", access="statistics"), roles) == []
    assert codes(request(work="report"), roles) == ["REPORT_STATISTICS_ONLY"]
    answer = decide(request(work="report", access="statistics"), sample(), roles, TODAY)
    assert isinstance(answer, Permit) and Obligation("statistics-only") in answer.obligations


def test_a_products_own_joint_use_and_countries_bind() -> None:
    assert codes(request(), contracts=product("sessions", joint_use=frozenset())) == ["NOT_IN_JOINT_USE"]
    assert codes(request(), contracts=product("sessions", countries=frozenset({"TW"}))) == ["COUNTRY_NOT_PERMITTED"]


def test_one_view_that_is_denied_denies_the_question() -> None:
    assert codes(request(views=("sessions", "ad_impressions", "customers"))) == ["NOT_FOR_PURPOSE", "STATISTICS_ONLY"]


def test_a_denial_carries_every_reason() -> None:
    roles = identity(acknowledged=None, expires=date(2026, 6, 30))
    answer = decide(request(purpose="customer-care", views=("inquiries",)), sample(), roles, TODAY)
    assert isinstance(answer, Deny)
    assert [reason.code for reason in answer.reasons] == ["NOT_APPOINTED", "NOT_ACKNOWLEDGED", "PURPOSE_NOT_OPEN"]
    refusal = answer.refusal()
    assert refusal.code == "NOT_APPOINTED"
    assert all(reason.message in refusal.message and reason.rule in refusal.rule for reason in answer.reasons)


def test_a_denial_without_a_reason_does_not_exist() -> None:
    with pytest.raises(ValueError, match="reason"):
        Deny(())


def test_everything_is_denied_where_nothing_is_granted() -> None:
    """Empty means deny: without any one register, nobody may do anything."""
    contracts, roles = sample(), sample().roles
    nothing: list[tuple[Contracts, Roles]] = [
        (replace(contracts, products={}), roles),
        (replace(contracts, purposes=replace(contracts.purposes, purposes={})), roles),
        (contracts, replace(roles, identities={})),
        (contracts, replace(roles, companies={})),
        (contracts, replace(roles, assessed_countries=frozenset())),
        (contracts, replace(roles, grants=())),
    ]
    assert all(isinstance(decide(request(), some, register, TODAY), Deny) for some, register in nothing)


def test_a_handler_in_good_standing_may_come_in_whatever_for() -> None:
    roles = sample().roles
    for key in ("aiko", "ren", "sora", "runner"):
        assert decide_handler(key, roles, TODAY) is None
    assert decide_handler("nobody", roles, TODAY) is not None
    assert decide_handler("aiko", roles, date(2028, 1, 1)) is not None
