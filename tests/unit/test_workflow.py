"""The review workflow's table: who may do what, from which state."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaianalytics.errors import ReviewRefused
from kaianalytics.review.workflow import STEPS, Actor, actions_from, decide, diagram

REVIEWER = Actor("ren", frozenset({"reviewer"}))
ANALYST = Actor("aiko", frozenset({"analyst"}))
STATES = ("submitted", "approved", "returned", "rejected", "revoked")
ACTIONS = ("approve", "return", "reject", "revoke")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ACTIONS)
def test_only_the_tables_pairs_are_allowed(state: str, action: str) -> None:
    if (state, action) in STEPS:
        assert decide(state, action, REVIEWER, author="aiko", note="why") == STEPS[state, action].to
    else:
        with pytest.raises(ReviewRefused) as refusal:
            decide(state, action, REVIEWER, author="aiko", note="why")
        assert refusal.value.code == "NOT_IN_THIS_STATE"


def test_the_author_never_reviews_their_own_work_whatever_their_roles() -> None:
    both = Actor("aiko", frozenset({"analyst", "reviewer"}))
    with pytest.raises(ReviewRefused) as refusal:
        decide("submitted", "approve", both, author="aiko", note="")
    assert refusal.value.code == "OWN_WORK"


def test_a_decision_takes_the_role() -> None:
    with pytest.raises(ReviewRefused) as refusal:
        decide("submitted", "approve", ANALYST, author="someone", note="")
    assert refusal.value.code == "ROLE_MISSING"


@pytest.mark.parametrize("action", ["return", "reject"])
def test_a_no_says_why(action: str) -> None:
    with pytest.raises(ReviewRefused) as refusal:
        decide("submitted", action, REVIEWER, author="aiko", note="  ")
    assert refusal.value.code == "NOTE_MISSING"


def test_nothing_follows_an_end() -> None:
    assert actions_from("revoked") == actions_from("rejected") == actions_from("returned") == ()


def test_the_page_in_the_docs_is_drawn_from_the_table() -> None:
    page = Path(__file__).parents[2] / "docs/reference/review-workflow.md"
    assert diagram() in page.read_text(encoding="utf-8")
