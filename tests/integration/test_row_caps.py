"""What leaves as rows is capped by contract: with one answer, and in one day, whoever asks how often from wherever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from support.real_world import AS_OF, Gateway, World
from support.records_kit import NOON, event, make_home

from kaianalytics.errors import KaiError, PolicyRefused, RecordsFault
from kaianalytics.policy.leaving import RowsCaps
from kaianalytics.protocol import API
from kaianalytics.records import row_uses
from kaianalytics.records import tables as stored
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.records.row_uses import Amount, Asked

CAPS = RowsCaps(rows_per_query=6, bytes_per_query=600, rows_per_day=10, bytes_per_day=1000)
ASKED = Asked("aiko", "ad-targeting", {"sessions": CAPS})


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records.of(*make_home(tmp_path))
    yield opened
    opened.close()


def take(records: Records, rows: int, size: int = 1, asked: Asked = ASKED, at: Any = NOON) -> str:
    """The code of the refusal, or '' where the answer may leave."""
    try:
        with records.writing(AuditEvent(at, "aiko", "rows.answered")) as tx:
            row_uses.take(tx, asked, Amount(rows, size))
    except KaiError as refused:
        return refused.code
    return ""


def gone(records: Records, asked: Asked = ASKED) -> dict[str, Amount]:
    with records.reading() as view:
        return dict(row_uses.used(view, NOON.date().isoformat(), asked))


# The count


def test_a_day_takes_what_its_caps_allow_and_a_refused_answer_counts_nothing(records: Records) -> None:
    assert [take(records, rows) for rows in (6, 3, 2, 1, 1)] == ["", "", "ROWS_OF_TODAY", "", "ROWS_OF_TODAY"]
    assert gone(records) == {"sessions": Amount(10, 3)}
    assert take(records, 0, 600) == ""
    assert take(records, 0, 398) == "ROWS_OF_TODAY"


def test_one_answer_has_its_own_cap(records: Records) -> None:
    assert take(records, 7) == take(records, 1, 601) == "RESULT_TOO_LARGE"
    assert gone(records) == {"sessions": Amount(0, 0)}


def test_the_next_day_and_another_analyst_and_another_purpose_have_their_own(records: Records) -> None:
    assert take(records, 6) == take(records, 4) == ""
    others = (replace(ASKED, analyst="kaito"), replace(ASKED, purpose="campaign-analysis"))
    assert [take(records, 6, asked=other) for other in others] == ["", ""]
    midnight = NOON.replace(hour=0) + timedelta(days=1)
    assert take(records, 1, at=midnight - timedelta(microseconds=1)) == "ROWS_OF_TODAY"
    assert take(records, 1, at=midnight) == ""


def test_an_answer_over_several_products_has_the_least_cap_and_counts_for_each(records: Records) -> None:
    both = replace(ASKED, caps={"sessions": CAPS, "orders": RowsCaps(100, 100, 100, 100)})
    assert take(records, 7, asked=both) == take(records, 1, 101, asked=both) == "RESULT_TOO_LARGE"
    assert take(records, 6, asked=both) == take(records, 4, asked=both) == ""
    assert gone(records, both) == {"sessions": Amount(10, 2), "orders": Amount(10, 2)}
    assert take(records, 1, asked=both) == "ROWS_OF_TODAY"
    assert take(records, 1, asked=replace(ASKED, caps={"orders": both.caps["orders"]})) == ""


def test_a_refusal_says_what_is_left_and_when_it_renews(records: Records) -> None:
    take(records, 6, 300)
    with pytest.raises(PolicyRefused) as refused, records.writing(event()) as tx:
        row_uses.take(tx, ASKED, Amount(5, 1))
    said = str(refused.value)
    assert "4 rows and 700 bytes are left" in said and "2026-11-03 00:00 UTC" in said and "10 rows" in said


def test_without_room_a_question_is_not_run_and_a_cap_that_fell_leaves_nothing(records: Records) -> None:
    with records.writing(event()) as tx:
        row_uses.demand_room(tx, ASKED)
    take(records, 6)
    lower = replace(ASKED, caps={"sessions": RowsCaps(1, 1, 2, 2)})
    with pytest.raises(PolicyRefused, match="0 rows"), records.writing(event()) as tx:
        row_uses.demand_room(tx, lower)


def test_answers_at_one_time_cannot_both_take_what_is_left_for_one(records: Records) -> None:
    together = threading.Barrier(12)

    def ask(_: int) -> str:
        together.wait()
        return take(records, 3)

    with ThreadPoolExecutor(12) as threads:
        outcomes = sorted(threads.map(ask, range(12)))
    assert outcomes == ["", "", ""] + ["ROWS_OF_TODAY"] * 9
    assert gone(records) == {"sessions": Amount(9, 3)}


def test_the_chain_replays_the_count_and_finds_it_lowered(records: Records) -> None:
    take(records, 3)
    take(records, 3)
    records.verify()
    with records._engine.begin() as connection:  # as somebody would who may write the file
        connection.execute(update(stored.row_uses).values(rows=0))
    with pytest.raises(RecordsFault) as fault:
        records.verify()
    assert fault.value.code == "RECORDS_CHANGED"


# The gateway


@pytest.fixture
def capped(world: World) -> World:
    """A world in which sessions leave 40 at a time, and 100 a day."""
    whole = "{rowsPerQuery: 2000000, bytesPerQuery: 134217728, rowsPerDay: 8000000, bytesPerDay: 536870912}"
    world.edit("sessions.odcs.yaml", whole, "{rowsPerQuery: 40, bytesPerQuery: 4096, rowsPerDay: 100}")
    plan = world.kai("contracts", "plan", world.contracts)
    assert "rows a day: 8,000,000 → 100" in plan and "service-improvement" in plan
    world.kai("build", "--as-of", AS_OF)
    assert "No change" in world.kai("contracts", "plan", world.contracts)
    return world


def rows_left(gateway: Gateway, user: str = "aiko") -> str:
    views = gateway.session(user).door.request_json("GET", f"{API}/datasets")["datasets"]
    return str(next(view["rows_left"] for view in views if view["name"] == "sessions"))


def test_rows_leave_up_to_the_caps_through_whichever_session_and_after_a_restart(capped: World) -> None:
    with capped.gateway() as gateway:
        first, second = gateway.session(), gateway.session()
        assert rows_left(gateway) == "100 rows and 16,384 bytes may leave today"
        too_many = first.refused("SELECT device FROM sessions LIMIT 41")
        assert (too_many.code, "40 rows" in too_many.message) == ("RESULT_TOO_LARGE", True)
        wide = first.refused("SELECT * FROM sessions LIMIT 40")
        assert (wide.code, "4,096 bytes" in wide.message) == ("RESULT_TOO_LARGE", True)
        assert rows_left(gateway).startswith("100 rows"), "what does not leave does not count"
        assert [asker.rows("SELECT device FROM sessions LIMIT 40").height for asker in (first, second)] == [40, 40]
        assert rows_left(gateway).startswith("20 rows")
        gateway.kill()
    with capped.gateway() as gateway:
        asker, other = gateway.session(), gateway.session("kaito")
        refused = asker.refused("WITH s AS (SELECT device FROM sessions) SELECT * FROM s LIMIT 21")
        assert refused.code == "ROWS_OF_TODAY" and "20 rows" in refused.message and "renews at" in refused.hint
        assert other.rows("SELECT device FROM sessions LIMIT 40").height == 40
        assert asker.rows("SELECT device FROM sessions LIMIT 20").height == 20
        ended = asker.refused("SELECT COUNT(*) FROM sessions")
        assert ended.code == "ROWS_OF_TODAY" and "0 rows" in ended.message
        assert asker.stats("SELECT COUNT(*) AS n FROM sessions")["charged"], "statistics are no rows"
    answered = capped.events("rows.answered")
    assert [event.facts()["rows"] for event in answered] == [40, 40, 40, 20]
    assert all(len(event.facts()["digest"]) == 64 and event.facts()["bytes"] > 0 for event in answered)
    assert [event.facts()["code"] for event in capped.events("rows.refused")] == [
        "RESULT_TOO_LARGE", "RESULT_TOO_LARGE", "ROWS_OF_TODAY", "ROWS_OF_TODAY",
    ]  # fmt: skip
    assert "In order" in capped.kai("audit", "verify")


def test_what_many_askers_are_given_at_one_time_is_one_days_amount(capped: World) -> None:
    with capped.gateway() as gateway:
        askers = [gateway.session() for _ in range(6)]
        together = threading.Barrier(len(askers))

        def ask(number: int) -> int:
            together.wait()
            try:
                return askers[number].rows("SELECT device FROM sessions LIMIT 30").height
            except PolicyRefused:
                return 0

        with ThreadPoolExecutor(len(askers)) as threads:
            assert sorted(threads.map(ask, range(len(askers)))) == [0, 0, 0, 30, 30, 30]
