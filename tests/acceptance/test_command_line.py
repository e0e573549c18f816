"""`kai` as its people type it: what each command says, and the exit code it ends with."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path

import pytest
from support.real_world import Gateway, World, describe, notebook

from kaianalytics.protocol import API


def submitted(world: World, folder: Path, report: str) -> str:
    """The number of a new review."""
    found = re.search(r"as review (\d+)", world.kai("submit", describe(folder, report, notebook("1")), identity="aiko"))
    assert found
    return found[1]


def left_of_account(gateway: Gateway) -> Decimal:
    """What is left of the account, as an analyst sees it."""
    lines = gateway.session().door.request_json("GET", f"{API}/budget")["lines"]
    return Decimal(next(line["remaining"] for line in lines if line["name"] == "account"))


def test_a_steward_raises_the_account_by_a_recorded_act_and_nobody_else_does(gateway: Gateway) -> None:
    world, before = gateway.world, left_of_account(gateway)
    asked = ("budget", "raise", "--rho", "1.3", "--reason", "a second year of reports")
    assert "ROLE_MISSING" in world.kai(*asked, "--steward", "aiko", expect=1)
    assert world.type(*asked, "--steward", "mallory").code == 1
    assert left_of_account(gateway) == before
    assert "signed, and recorded as event" in world.kai(*asked, "--steward", "sora")
    assert left_of_account(gateway) == before + Decimal("0.1")
    act = world.events("budget.raised")[-1]
    assert (act.actor, act.facts()["act"]["reason"]) == ("sora", "a second year of reports")
    assert len(act.facts()["signature"]) == 128
    assert "CAP_NOT_RAISED" in world.kai(*asked, "--steward", "sora", expect=1)  # it is there already
    assert "[RHO]" in world.kai("budget", "raise", "--steward", "sora", "--reason", "r", "--rho", "Infinity", expect=1)
    assert left_of_account(gateway) == before + Decimal("0.1")


def test_the_budget_is_shown_and_forecast(gateway: Gateway, tmp_path: Path) -> None:
    world = gateway.world
    world.kai("review", "approve", submitted(world, tmp_path, "forecast"), identity="ren")
    shown = world.kai("budget", "show")
    for allowance in ("the account", "purpose service-improvement", "approval"):
        assert allowance in shown
    assert re.search(r"^(each analyst|analyst \w+) ", shown, re.MULTILINE)  # by name, once one has spent
    forecast = world.kai("budget", "forecast")
    assert re.search(r"report forecast\s+service-improvement\s+0\.002", forecast)
    assert re.search(r"the account\s+[\d.]+\s+[\d.]+\s+\d+ weeks\s+20\d\d-\d\d-\d\d", forecast)


def test_the_chain_is_verified_and_its_end_shown(gateway: Gateway) -> None:
    assert "In order" in gateway.world.kai("audit", "verify")
    gateway.session()
    tail = gateway.world.kai("audit", "tail", "--number", "3")
    assert "session.opened" in tail
    assert len([line for line in tail.splitlines() if line.strip()]) == 4


def test_a_review_is_listed_shown_rejected_and_an_approved_one_revoked(gateway: Gateway, tmp_path: Path) -> None:
    world = gateway.world
    number = submitted(world, tmp_path, "turned-down")
    assert "turned-down" in world.kai("review", "list", identity="ren")
    assert "turned-down" not in world.kai("review", "list", identity="kaito")
    shown = world.kai("review", "show", number, identity="ren")
    assert "Data it can reach" in shown and "kaianalytics.connect" in shown
    assert "NOT_YOURS" in world.kai("review", "show", number, identity="kaito", expect=1)
    assert world.type("review", "reject", number, "--note", " ", identity="ren").code == 1
    assert "Rejected" in world.kai("review", "reject", number, "--note", "no such purpose", identity="ren")
    assert "NOT_IN_THIS_STATE" in world.kai("review", "approve", number, identity="ren", expect=1)
    other = submitted(world, tmp_path, "turned-back")
    world.kai("review", "approve", other, identity="ren")
    assert "ROLE_MISSING" in world.kai("review", "revoke", other, "--note", "mine", identity="kaito", expect=1)
    assert "Revoked" in world.kai("review", "revoke", other, "--note", "the purpose ended", identity="ren")
    assert "REVIEW_UNKNOWN" in world.kai("review", "show", "4711", identity="ren", expect=1)


def test_a_question_is_asked_in_a_kernel_of_its_purpose(gateway: Gateway) -> None:
    world = gateway.world
    answered = world.kai(
        "ask", "--purpose", "ad-targeting", "SELECT COUNT(*) AS seen FROM ad_impressions", identity="aiko"
    )
    assert "seen" in answered
    wrong = ("--purpose", "ad-targeting", "--rho", "0.001", "SELECT COUNT(*) AS n FROM campaign_contacts")
    refused = world.kai("ask", *wrong, identity="aiko", expect=1)
    assert "NOT_FOR_PURPOSE" in refused and "Traceback" not in refused


@pytest.mark.parametrize(
    ("purpose", "user", "said"),
    [
        ("customer-communication", "aiko", "3.2"),
        ("world-domination", "aiko", "PURPOSE_UNKNOWN"),
        ("service-improvement", "mio", "NO_EXPLORATION_GRANT"),
    ],
)
def test_a_purpose_that_may_not_be_used_is_refused_in_a_sentence(
    gateway: Gateway, purpose: str, user: str, said: str
) -> None:
    refused = gateway.world.kai("ask", "--purpose", purpose, "SELECT 1", identity=user, expect=1)
    assert said in refused
    assert "Traceback" not in refused


def test_who_asks_without_a_token_or_a_gateway_is_told_what_to_do(world: World) -> None:
    assert "GATEWAY_AWAY" in world.kai("review", "list", identity="aiko", expect=2)
    assert "IDENTITY_MISSING" in world.kai("review", "list", expect=1)
    assert "IDENTITY_UNREADABLE" in world.kai("review", "list", identity="nobody", expect=1)


def test_a_token_file_is_the_persons_alone_and_issued_to_the_registered_alone(world: World) -> None:
    file = world.root / "aiko.token"
    world.kai("identity", "issue", "aiko", "--out", file, "--days", "1")
    assert file.stat().st_mode & 0o777 == 0o600
    issued = world.events("identity.issued")[-1]
    assert (issued.subject, issued.facts()["uid"]) == ("aiko", os.getuid())
    assert file.read_text(encoding="ascii").strip() not in issued.body
    assert "IDENTITY_UNKNOWN" in world.kai("identity", "issue", "mallory", "--out", world.root / "m", expect=1)
    assert not (world.root / "m").exists()


def test_a_home_is_not_made_over_something_else(tmp_path: Path, template: World) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("keep me")
    assert "HOME_NOT_EMPTY" in World(tmp_path).kai("init", "--contracts", template.contracts, expect=2)
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["letter.txt"]
