"""Purposes, populations, clauses and roles: what the registers say, and what they can't be made to say."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from support.contracts_kit import COMPLETE_JOURNEY, Folder, sample

from kaianalytics.custody.contracts import load
from kaianalytics.errors import ContractFaults
from kaianalytics.policy.clauses import CLAUSES, Control
from kaianalytics.policy.purpose import Allowance, Population
from kaianalytics.policy.roles import Grant

WEEKS, QUESTIONS, RHO = 52, 3, Decimal("0.002")


def test_every_clause_is_stated_with_what_keeps_it_or_that_nothing_does() -> None:
    policy = sample().policy
    assert tuple(policy.clauses) == CLAUSES
    assert policy.version == "2022-04-01" and policy.effective == date(2022, 4, 1)
    for clause in policy.clauses.values():
        assert clause.statement.endswith(".") and clause.controls


def test_each_purpose_stands_in_the_clause_it_is_bound_to() -> None:
    contracts = sample()
    for key, purpose in contracts.purposes.purposes.items():
        assert contracts.policy.clauses[purpose.clause].purposes == (key,)


def test_purposes_carry_terms_of_both_vocabularies() -> None:
    for purpose in sample().purposes.purposes.values():
        assert purpose.dpv and purpose.fideslang


def test_the_samples_caps_last_a_year_of_its_three_weekly_reports_and_leave_something_to_explore() -> None:
    population = sample().purposes.populations["customers"]
    year_of_one_report = WEEKS * QUESTIONS * RHO
    assert all(cap.rho > year_of_one_report for cap in population.purpose_caps.values())
    assert population.analyst_cap.rho > 3 * year_of_one_report
    assert sum(cap.rho for cap in population.purpose_caps.values()) <= population.account.rho


def test_windows_and_questions_have_caps_of_their_own_within_the_account() -> None:
    population = sample().purposes.populations["customers"]
    assert population.window_cap == Allowance(Decimal("0.05"), Decimal("0.000001"))
    assert population.question_delta == Decimal("0.00000001") < population.account.delta
    households = load(COMPLETE_JOURNEY).purposes.populations["households"]
    assert households.window_cap is None and households.question_delta == Decimal("0.00000001")


def test_a_purpose_may_be_shown_the_answers_of_another_open_one_and_by_default_of_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "contracts")
    assert not any(purpose.releases_of for purpose in folder.load().purposes.purposes.values())
    line = 'clause: "3.4"\n    open: true\n'
    folder.edit("purposes.yaml", line, f"{line}    releases_of: [service-improvement]\n")
    assert folder.load().purposes.purposes["ad-targeting"].releases_of == ("service-improvement",)
    for other in ("ad-targeting", "customer-care", "elsewhere"):
        folder.edit("purposes.yaml", "releases_of: [service-improvement]", f"releases_of: [{other}]")
        with pytest.raises(ContractFaults, match="is no other open purpose"):
            folder.load()
        folder.edit("purposes.yaml", f"releases_of: [{other}]", "releases_of: [service-improvement]")


def test_a_product_may_have_a_cap_and_needs_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "contracts")
    assert folder.load().purposes.populations["customers"].product_caps == {}
    caps = '    product_caps: {sessions: {rho: "0.3", delta: "0.000001"}}\n    analyst_cap'
    folder.edit("purposes.yaml", "    analyst_cap", caps)
    stated = folder.load().purposes.populations["customers"].product_caps
    assert stated == {"sessions": Allowance(Decimal("0.3"), Decimal("0.000001"))}


def test_residents_of_the_eea_are_not_among_those_who_may_be_processed() -> None:
    contracts = sample()
    population = contracts.purposes.populations["customers"]
    declared = contracts.products["customers"].column("country").enum
    assert population.residence == "country"
    assert set(declared) - population.countries == {"DE"}


def test_a_population_without_choices_says_so_and_has_none() -> None:
    households = load(COMPLETE_JOURNEY).purposes.populations["households"]
    assert (households.residence, households.countries) == (None, frozenset())
    assert households.consents is None and households.stops is None


@pytest.mark.parametrize(("rho", "delta"), [("-1", "0"), ("NaN", "0"), ("1e7", "0"), ("1", "1.1")])
def test_an_allowance_that_no_ledger_could_hold_is_none(rho: str, delta: str) -> None:
    with pytest.raises(ValueError, match="privacy loss"):
        Allowance(Decimal(rho), Decimal(delta))


def test_countries_without_a_residence_column_are_no_population() -> None:
    allowance = Allowance(Decimal(1), Decimal(0))
    with pytest.raises(ValueError, match="residence"):
        Population("p", "customers", "id", allowance, {}, allowance, countries=frozenset({"JP"}))


@pytest.mark.parametrize(("evidence", "absent"), [("", False), ("a test", True)])
def test_a_control_proves_itself_or_is_absent(evidence: str, absent: bool) -> None:
    with pytest.raises(ValueError, match="evidence"):
        Control("does something", evidence, absent)


def test_a_grant_holds_on_both_its_ends_and_not_beyond() -> None:
    grant = Grant("aiko", "ad-targeting", date(2026, 1, 1), date(2026, 1, 31), "why", "sora")
    days = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1)]
    assert [grant.holds(day) for day in days] == [False, True, True, False]
