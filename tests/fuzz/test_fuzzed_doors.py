"""A real gateway's doors with bodies by chance, and its socket with bytes by chance: never a 500, and it lives on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.real_world import Gateway

from fuzz.shaking import cut, objects, raw, shaken
from fuzz.test_decoders import QUESTION, SUBMISSION, TABLES
from fuzz.watching import Watch, words_of
from fuzz.world import PURPOSE, FuzzWorld
from kaianalytics.client.transport import connect_to
from kaianalytics.protocol import API

DIGEST = "a" * 64
DOORS: dict[str, dict[str, Any]] = {
    "sessions": {"purpose": PURPOSE, "kernel": "k", "notebook": "n", "isolation": "full", "kernel_uid": 1},
    "submissions": SUBMISSION,
    "reviews/1/decision": {"action": "approve", "note": "", "weeks": 4},
    "runs": {"report": "usage-trends", "notebook": SUBMISSION["notebook"], "parameters": {}},
    "runs/1/finish": {"failed": True, "code": "X", "notebook": SUBMISSION["notebook"]},
    "workspaces/downloads": {"purpose": PURPOSE, "name": DIGEST, "content": DIGEST, "size": 3},
    "workspaces/removals": {"purpose": PURPOSE, "files": 1, "since": "2026-11-01"},
    "sql": {"sql": "SELECT count(*) FROM sessions"},
    "statistics": QUESTION | {"tables": TABLES},
    "statistics/plan": QUESTION,
}  # fmt: skip
OF_A_SESSION = ("sql", "statistics", "statistics/plan")
REQUEST = b'POST /v1/sql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 12\r\n\r\n{"sql": "x"}'
EXAMPLES = 12


@pytest.fixture(scope="module")
def served(fuzzed: FuzzWorld) -> Iterator[Gateway]:
    with fuzzed.gateway() as gateway:
        yield gateway
    assert fuzzed.canaries_of_logs.search(words_of(fuzzed.root)) is None


@pytest.fixture(scope="module")
def clients(served: Gateway) -> Iterator[dict[str, tuple[httpx.Client, str]]]:
    session, identity = served.session("aiko", PURPOSE).token, served.world.token_file("aiko").read_text().strip()
    with served.http(session) as bound, served.http() as free:
        yield {"session": (bound, session), "identity": (free, identity)}


@pytest.mark.parametrize("door", DOORS)
def test_a_body_is_answered_or_refused(
    served: Gateway, clients: dict[str, tuple[httpx.Client, str]], door: str
) -> None:
    client, token = clients["session" if door in OF_A_SESSION else "identity"]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(shaken(DOORS[door]) | objects | raw)
    def told(body: Any) -> None:
        sent = {"content": body} if isinstance(body, bytes) else {"content": _json(body)}
        answer = client.post(f"{API}/{door}", headers={"Authorization": f"Bearer {token}"}, **sent)
        assert answer.status_code != 500, answer.text
        if answer.status_code >= 400:
            kind = answer.json().get("refused") or answer.json()["fault"]
            assert kind["code"] and kind["message"]
        assert not served.world.canaries.search(answer.content)  # type: ignore[attr-defined]

    told()


@pytest.mark.parametrize(
    "path",
    [
        "releases?view=%ff",
        "releases?contains=%00",
        "budget?rho=1e999",
        "budget?rho=x",
        f"reviews/{2**70}",
        "reviews/-1",
        "reviews/%2e%2e",
        "health",
        "datasets",
        "x" * 5000,
    ],
)
def test_a_path_is_answered_or_refused(clients: dict[str, tuple[httpx.Client, str]], path: str) -> None:
    for client, token in clients.values():
        answer = client.get(f"{API}/{path}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code != 500, answer.text


def test_bytes_by_chance_hold_nothing_and_leave_nothing(served: Gateway) -> None:
    before = Watch(served.process.pid)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(cut(REQUEST) | st.binary(max_size=300) | st.lists(st.just(REQUEST), max_size=3).map(b"".join))
    def sent(data: bytes) -> None:
        with connect_to(served.socket) as connection:
            connection.settimeout(20)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionError:
                return  # closed on us: an answer too
            assert b" 500 " not in answer.split(b"\r\n", 1)[0]

    sent()
    assert before.leaked() == ""
    assert served.session("aiko", PURPOSE).one("SELECT count(*) AS n FROM customers") > 0


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
