"""What the real gateway does when time is up: awaited by slow clients while the chapters before this one run."""

from __future__ import annotations

import time

from support.real_world import Gateway
from support.waiting import SMALL, Dripping, Frozen

DEADLINE_SECONDS = 60
BODY_SECONDS = 10


def test_a_request_that_never_ends_is_refused_while_others_are_answered(gateway: Gateway, dripping: Dripping) -> None:
    started = time.monotonic()
    assert gateway.session().one(SMALL) > 0
    assert time.monotonic() - started < BODY_SECONDS
    dripping.join(BODY_SECONDS + 20)
    assert b"TOO_SLOW" in dripping.answer
    assert BODY_SECONDS - 1 < dripping.seconds < BODY_SECONDS + 10
    assert "TOO_SLOW" in [event.facts()["code"] for event in gateway.world.events("request.refused")]
    assert dripping.asker.one(SMALL) > 0


def test_a_query_past_its_deadline_is_ended_and_the_next_works(frozen: Frozen) -> None:
    assert frozen.waiting.ended(DEADLINE_SECONDS + 20) == "DEADLINE"
    assert time.monotonic() - frozen.asked >= DEADLINE_SECONDS - 1
    assert frozen.asker.one(SMALL) > 0
