"""The real gateway's doors: who is let in, what is refused by which code, and what no refusal may show.

Each refusal is recorded, holds no data, and leaves the session that asked as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from support.real_world import Asker, Gateway, World

from kaianalytics.gateway.tokens import Session, Tokens, new_token_id, utc_now
from kaianalytics.protocol import API
from kaianalytics.records import revocations
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records

SMALL = "SELECT COUNT(*) AS n FROM sessions"
METADATA = {"kai": {"purpose": "service-improvement"}, "kernelspec": {"name": "kai-service-improvement"}}


@dataclass
class Doors:
    """Bare HTTP with what every answer is checked for."""

    gateway: Gateway
    secrets: frozenset[str]
    answers: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, token: str | None, **sent: Any) -> httpx.Response:
        """One request; its answer is kept for the look at what was said."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with self.gateway.http(token or "") as http:
            answer = http.request(method, path, headers=headers, **sent)
        self.answers.append(answer.text)
        return answer

    def refused(self, method: str, path: str, token: str | None, status: int, **sent: Any) -> str:
        """The code of a refusal that has this status, is recorded, and shows nothing of the data."""
        before = self.gateway.world.last_event()
        answer = self.ask(method, path, token, **sent)
        assert answer.status_code == status, answer.text
        said: Mapping[str, Any] = answer.json()["refused"]
        assert said["message"] and set(said) - {"place", "reference"} == {"code", "message", "rule", "hint"}
        recorded = [event for event in self.gateway.world.events(after=before) if "refused" in event.kind]
        assert [said["code"]] == [code for event in recorded for code in _codes(event.facts())]
        assert not any(secret in answer.text for secret in self.secrets)
        return str(said["code"])


def _codes(facts: Mapping[str, Any]) -> list[str]:
    return list(facts["codes"]) if "codes" in facts else [facts["code"]]


@pytest.fixture(scope="module")
def doors(gateway: Gateway) -> Doors:
    return Doors(gateway, frozenset(gateway.world.secrets()))


@pytest.fixture
def session(gateway: Gateway) -> Iterator[Asker]:
    """A session that must still answer when the test is over."""
    asker = gateway.session()
    yield asker
    assert asker.one(SMALL) > 0


@pytest.fixture(scope="module")
def aiko(gateway: Gateway) -> str:
    return gateway.world.token_file("aiko").read_text(encoding="ascii").strip()


def minted(world: World, user: str = "aiko", **changed: Any) -> str:
    """A purpose token as the gateway would mint it, with something changed."""
    facts = {"uid": os.getuid(), "purpose": "service-improvement", "kind": "interactive", "kernel": "k"} | changed
    at = facts.pop("at", utc_now())
    return Tokens(world.keys.token_key).mint_session(Session(new_token_id(), user, **facts), at)[0]


def ask_sql(doors: Doors, token: str | None, status: int, sql: Any = SMALL) -> str:
    return doors.refused("POST", f"{API}/sql", token, status, json={"sql": sql})


def test_no_token_opens_nothing_but_the_health_door(doors: Doors) -> None:
    assert doors.ask("GET", f"{API}/health", None).json()["status"] == "ok"
    assert ask_sql(doors, None, 401) == "TOKEN_MISSING"
    for method, path in (
        ("POST", "/sessions"), ("POST", "/statistics"), ("POST", "/statistics/plan"), ("GET", "/releases"),
        ("GET", "/datasets"), ("GET", "/budget"),
        ("POST", "/submissions"), ("GET", "/reviews"), ("GET", "/reviews/1"), ("POST", "/reviews/1/decision"),
        ("POST", "/runs"), ("POST", "/runs/1/finish"),
    ):  # fmt: skip
        assert doors.refused(method, API + path, None, 401) == "TOKEN_MISSING", path


def test_a_token_holds_only_as_it_was_minted(doors: Doors, session: Asker) -> None:
    world = doors.gateway.world
    head, body, signature = session.token.split(".")
    other = jwt.encode(jwt.decode(session.token, options={"verify_signature": False}), b"k" * 32, algorithm="HS256")
    nobody_signed = jwt.encode(jwt.decode(session.token, options={"verify_signature": False}), None, algorithm="none")
    changed = f"{head}.{body[:-4]}{'AAAA' if not body.endswith('AAAA') else 'BBBB'}.{signature}"
    for token in ("x", "a.b.c", changed, other, nobody_signed, "日本".encode().hex()):
        assert ask_sql(doors, token, 401) == "TOKEN_INVALID", token
    assert ask_sql(doors, minted(world, at=utc_now() - timedelta(hours=13)), 401) == "TOKEN_EXPIRED"
    assert ask_sql(doors, minted(world, uid=os.getuid() + 1), 401) == "WRONG_OS_USER"


def test_an_identity_token_opens_no_data_and_a_purpose_token_no_review(doors: Doors, aiko: str, session: Asker) -> None:
    assert ask_sql(doors, aiko, 401) == "TOKEN_INVALID"
    assert doors.refused("GET", f"{API}/budget", aiko, 401) == "TOKEN_INVALID"
    assert doors.refused("GET", f"{API}/reviews", session.token, 401) == "TOKEN_INVALID"
    body = {"purpose": "ad-targeting", "kernel": "k"}
    assert doors.refused("POST", f"{API}/sessions", session.token, 401, json=body) == "TOKEN_INVALID"


def test_a_revoked_token_is_refused_at_the_next_request(doors: Doors, gateway: Gateway) -> None:
    asker = gateway.session()
    assert asker.one(SMALL) > 0
    token_id = jwt.decode(asker.token, options={"verify_signature": False})["jti"]
    records = Records.of(gateway.world.home, gateway.world.keys)
    with records.writing(AuditEvent(utc_now(), "custodian", "token.revoked", token_id)) as tx:
        revocations.revoke(tx, token_id, utc_now() + timedelta(hours=12))
    records.close()
    assert ask_sql(doors, asker.token, 401) == "TOKEN_REVOKED"


@pytest.mark.parametrize(
    ("purpose", "user", "code", "said"),
    [
        ("customer-communication", "aiko", "PURPOSE_NOT_OPEN", "3.2"),
        ("misconduct-prevention", "aiko", "PURPOSE_NOT_OPEN", "3.8"),
        ("world-domination", "aiko", "PURPOSE_UNKNOWN", "service-improvement"),
        ("", "aiko", "PURPOSE_UNKNOWN", "service-improvement"),
        ("<script>alert(1)</script>", "aiko", "PURPOSE_UNKNOWN", "service-improvement"),
        ("../../keys", "aiko", "PURPOSE_UNKNOWN", "service-improvement"),
        ("service-improvement", "mio", "NO_EXPLORATION_GRANT", "sora"),
        ("service-improvement", "ren", "ROLE_MISSING", "analyst"),
    ],
)
def test_a_purpose_is_opened_only_where_the_register_and_the_policy_have_it(
    doors: Doors, purpose: str, user: str, code: str, said: str
) -> None:
    token = doors.gateway.world.token_file(user).read_text(encoding="ascii").strip()
    body = {"purpose": purpose, "kernel": "k", "notebook": "n.ipynb"}
    assert doors.refused("POST", f"{API}/sessions", token, 403, json=body) == code
    assert said in doors.answers[-1]


def test_the_view_of_another_purpose_is_refused_with_its_reason(doors: Doors, gateway: Gateway) -> None:
    asker = gateway.session("aiko", "ad-targeting")
    assert ask_sql(doors, asker.token, 403, "SELECT arm FROM campaign_contacts") == "NOT_FOR_PURPOSE"
    body = {"sql": "SELECT arm, COUNT(*) FROM campaign_contacts GROUP BY arm", "rho": "0.001"}
    assert doors.refused("POST", f"{API}/statistics", asker.token, 403, json=body) == "NOT_FOR_PURPOSE"
    assert "campaign-analysis" in doors.answers[-1]


def test_what_is_no_request_is_refused_by_name(doors: Doors, session: Asker) -> None:
    def sent(content: bytes) -> str:
        return doors.refused("POST", f"{API}/sql", session.token, 422, content=content)

    for content in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"sql": NaN}'):
        assert sent(content) == "NOT_JSON", content[:20]
    assert sent(b'{"sql": "\\ud800"}') == "NOT_JSON"  # half a surrogate pair can't be written anywhere
    for content in (b"{}", b'{"sql": 1}', b'{"sql": null}', b'{"sql": ["SELECT 1"]}'):
        assert sent(content) == "FIELD_MISSING", content
    for door in ("statistics", "statistics/plan"):
        for body in ({"rho": "1"}, {"rho": "1", "sql": 1}):
            assert doors.refused("POST", f"{API}/{door}", session.token, 422, json=body) == "FIELD_MISSING"
        assert doors.refused("POST", f"{API}/{door}", session.token, 422, json={"sql": SMALL}) == "PRICE_MISSING"


def test_paths_and_numbers_that_are_none_are_refused_in_the_same_shape(doors: Doors, aiko: str) -> None:
    assert doors.refused("GET", "/", aiko, 404) == "NO_SUCH_DOOR"
    assert doors.refused("GET", f"{API}/../../etc/passwd", aiko, 404) == "NO_SUCH_DOOR"
    assert doors.refused("GET", f"{API}/sql", aiko, 405) == "NO_SUCH_DOOR"
    assert doors.refused("GET", f"{API}/reviews/999", aiko, 409) == "REVIEW_UNKNOWN"
    assert doors.refused("GET", f"{API}/reviews/{'9' * 40}", aiko, 409) == "REVIEW_UNKNOWN"


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"report": "<b>x</b>"}, 422, "REPORT_NAME"),
        ({"report": "../escape"}, 422, "REPORT_NAME"),
        ({"title": "x" * 121}, 422, "REPORT_TITLE"),
        ({"cadence": "hourly"}, 422, "REPORT_CADENCE"),
        ({"rho_per_run": 1}, 422, "RHO_PER_RUN"),
        ({"notebook": []}, 409, "NOT_A_NOTEBOOK"),
        ({"notebook": {"metadata": {}, "cells": []}}, 409, "PURPOSE_MISSING"),
        ({"notebook": {"metadata": METADATA, "cells": ["x"]}}, 409, "NOT_A_NOTEBOOK"),
        ({"notebook": {"metadata": METADATA, "cells": [{"metadata": {"tags": 5}}]}}, 409, "NOT_A_NOTEBOOK"),
        (
            {"notebook": {"metadata": METADATA | {"kernelspec": {"name": "python3"}}, "cells": []}},
            409,
            "PURPOSE_MISMATCH",
        ),
        ({"parameters": {"__import__('os')": 1}}, 409, "PARAMETERS"),
        ({"parameters": {"x": {"deep": 1}}}, 409, "PARAMETERS"),
        ({"parameters": {"x": 1e999}}, 409, "PARAMETERS"),
    ],
)
def test_a_submission_is_checked_field_by_field(
    doors: Doors, aiko: str, changed: Mapping[str, Any], status: int, code: str
) -> None:
    sound = {
        "report": "sound",
        "title": "Sound",
        "cadence": "weekly",
        "rho_per_run": "0.001",
        "parameters": {},
        "notebook": {"nbformat": 4, "metadata": METADATA, "cells": []},
    }
    content = json.dumps({**sound, **changed}).replace("Infinity", "1e999")  # as a client that isn't ours would write
    assert doors.refused("POST", f"{API}/submissions", aiko, status, content=content.encode()) == code


def test_a_request_that_is_too_large_is_refused_and_not_kept(doors: Doors, session: Asker) -> None:
    content = b" " * 1024 * 1024
    assert doors.refused("POST", f"{API}/sql", session.token, 422, content=content) == "TOO_LARGE"


HOSTILE = (
    ("SELECT * FROM customers", 403),
    ("SELECT * FROM inquiries", 403),
    ("SELECT referrer FROM sessions", 422),
    ("SELECT CAST(customer_id AS INTEGER) FROM sessions", 422),
    ("SELECT error(customer_id) FROM sessions", 422),
    ("SELECT * FROM read_parquet('/etc/passwd')", 422),
    ("SELECT * FROM 'sessions.parquet'", 422),
    ("ATTACH '/tmp/x.db'", 422),
    ("SELECT 1; SELECT 2", 422),
    ("SELECT '<img src=x onerror=alert(1)>'::DATE FROM sessions", 422),
    ("SELECT " + "(" * 5000 + "1" + ")" * 5000, 422),
)


@pytest.mark.parametrize(("sql", "status"), HOSTILE, ids=[sql[:40] for sql, _ in HOSTILE])
def test_a_refused_query_shows_no_value_and_leaves_the_session_alive(
    doors: Doors, session: Asker, sql: str, status: int
) -> None:
    pseudonyms = set(session.rows("SELECT DISTINCT customer_id FROM sessions LIMIT 50")["customer_id"])
    ask_sql(doors, session.token, status, sql)
    assert not any(pseudonym in doors.answers[-1] for pseudonym in pseudonyms)


def test_a_report_token_reaches_no_rows(doors: Doors) -> None:
    token = minted(doors.gateway.world, kind="report", report="r", rho_per_run="0.001")
    assert ask_sql(doors, token, 403) == "REPORT_STATISTICS_ONLY"


def test_nothing_of_the_data_and_no_token_is_in_answers_log_or_chain(doors: Doors, gateway: Gateway, aiko: str) -> None:
    asker = gateway.session()
    asker.refused("SELECT CAST(customer_id AS DATE) FROM sessions")
    pseudonyms = set(asker.rows("SELECT DISTINCT customer_id FROM sessions")["customer_id"])
    assert len(pseudonyms) > 1000
    said = "\n".join([*doors.answers, gateway.said(), *(event.body for event in gateway.world.events())])
    assert "BIND_ERROR" in said  # what was said is there to be looked at
    for hidden in (*doors.secrets, *pseudonyms, asker.token, aiko):
        assert hidden not in said
