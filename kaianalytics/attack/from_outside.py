"""What may be tried at the gateway's socket: tokens that are forged, stolen or spent, and requests that are none."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from kaianalytics.attack import layers as L
from kaianalytics.attack.attempts import Attack, Target, Trial, effect
from kaianalytics.attack.canaries import Place
from kaianalytics.attack.running import Line, Reply
from kaianalytics.attack.world import ATTACKER, VICTIM
from kaianalytics.gateway.tokens import Tokens
from kaianalytics.protocol import API
from kaianalytics.records import revocations
from kaianalytics.records.audit import AuditEvent

_TOO_LARGE = 17 * 1024 * 1024
_NO_DOORS = (
    "/", "/v1", "/v1/../keys/custodian.json", "/v1/%2e%2e/%2e%2e/keys/custodian.json", "/keys/custodian.json",
    "/v1/reviews/../../records/records.sqlite", "/v1//sql", "/static/../head.json", "/v1/reviews/-1", "/docs",
    "/openapi.json", "//etc/passwd", "/v1/sql%00", "/v1/runs/1/../../workspaces",
)  # fmt: skip


def forged(target: Target) -> Iterator[Trial]:
    """Tokens that the custodian never signed."""
    own = target.line.token
    claims = jwt.decode(own, options={"verify_signature": False})
    other = [p for p in target.world.contracts.purposes.open if p != target.purpose]
    changed = {**claims, "purpose": other[0] if other else target.purpose, "sub": VICTIM}
    head, body, sign = own.split(".")
    made = {
        "without a signature": _unsigned(changed),
        "of another key": jwt.encode(changed, "k" * 32, algorithm="HS256"),
        "its claims changed": ".".join((head, _encoded(changed), sign)),
        "its end put off": ".".join((head, _encoded({**claims, "exp": claims["exp"] + 10**6}), sign)),
        "its signature cut": ".".join((head, body, "")),
    }
    for name, token in made.items():
        yield _used(target, f"a token {name}", target.gateway.bound(token, claims["kernel"]), L.SIGNATURE)


def stolen(target: Target) -> Iterator[Trial]:
    """Another kernel's token on connections of the attacker's own, and on none that are bound."""
    for line in (
        Line(target.gateway.socket, target.victims_line.token, target.line.bound),
        Line(target.gateway.socket, target.victims_line.token),
    ):
        yield _used(target, "a token of another kernel", line, L.BINDING)


def expired(target: Target) -> Iterator[Trial]:
    """A token past its time."""
    key, now = target.world.keys.token_key, datetime.now(UTC)
    claims = jwt.decode(target.line.token, options={"verify_signature": False})
    old = {
        **claims,
        "iat": int((now - timedelta(days=2)).timestamp()),
        "exp": int((now - timedelta(days=1)).timestamp()),
    }
    yield _used(
        target, "a token of yesterday", target.gateway.bound(jwt.encode(old, key, "HS256"), claims["kernel"]), L.EXPIRY
    )


def revoked(target: Target) -> Iterator[Trial]:
    """A session's token after its person's token was revoked."""
    identity = target.world.identity(ATTACKER)
    body = {"purpose": target.purpose, "kernel": "revoked"}
    grant = target.gateway.as_(ATTACKER, identity).ask("POST", f"{API}/sessions", body).json
    read = Tokens(target.world.keys.token_key).read_identity(identity)
    now = datetime.now(UTC)
    with (
        target.world.records() as records,
        records.writing(AuditEvent(now, "custodian", "identity.revoked", ATTACKER)) as tx,
    ):
        revocations.revoke(tx, read.token_id, now + timedelta(days=2))
    yield _used(target, "a token that was revoked", target.gateway.bound(grant["token"], "revoked"), L.REVOCATION)


def of_another_os_user(target: Target) -> Iterator[Trial]:
    """A person's token that was issued to another OS user."""
    token = target.world.identity(VICTIM, uid=os.getuid() + 4242)
    reply = target.gateway.as_(VICTIM, token).ask(
        "GET", f"{API}/reviews", headers={"X-Forwarded-For": f"1.2.3.4:{os.getuid() + 4242}"}
    )
    yield effect(target.judged("a token of another OS user", reply, "", L.OS_USER), "its door opened", reply.answered)


def of_the_other_kind(target: Target) -> Iterator[Trial]:
    """A kernel's token where a person's is asked for, to open a session of another purpose with."""
    line = Line(target.gateway.socket, target.line.token)
    for purpose in target.world.contracts.purposes.open:
        reply = line.ask("POST", f"{API}/sessions", {"purpose": purpose, "kernel": "another"})
        trial = target.judged(f"a session of {purpose} by a kernel's token", reply, "", L.AUDIENCE)
        yield effect(replace(trial, stopped_by=L.AUDIENCE), "a session was opened", reply.answered)


def without_a_grant(target: Target) -> Iterator[Trial]:
    """Sessions of purposes that are closed, unknown or spelt otherwise, and of people without a role."""
    closed = [key for key, purpose in target.world.contracts.purposes.purposes.items() if not purpose.open]
    asked = [
        (ATTACKER, key)
        for key in (*closed, "no-such-purpose", target.purpose.upper(), "", "*", f"{target.purpose}\x00")
    ]
    for user, purpose in (*asked, ("kai-steward", target.purpose), ("nobody", target.purpose)):
        reply = target.gateway.as_(user).ask("POST", f"{API}/sessions", {"purpose": purpose, "kernel": "k"})
        trial = target.judged(f"a session of {purpose!r} for {user}", reply, "", L.DECISION)
        yield effect(trial, "a session was opened", reply.answered)


def anothers_review(target: Target) -> Iterator[Trial]:
    """Another analyst's notebook, which waits for its review."""
    word = target.world.canaries.word(Place("another's notebook under review"))
    body = {
        "report": f"planted-{target.purpose}", "title": "Planted", "cadence": "weekly", "rho_per_run": "0.001",
        "parameters": {}, "notebook": _notebook(target.purpose, word),
    }  # fmt: skip
    sent = target.gateway.as_(VICTIM).ask("POST", f"{API}/submissions", body)
    attacker = target.gateway.as_(ATTACKER)
    for number in {int(sent.json.get("id", 1)), 1}:
        yield target.judged(
            f"GET /v1/reviews/{number}", attacker.ask("GET", f"{API}/reviews/{number}"), "", L.OWN_REVIEWS
        )
    yield target.judged("GET /v1/reviews", attacker.ask("GET", f"{API}/reviews"), "", L.OWN_REVIEWS)


def no_doors(target: Target) -> Iterator[Trial]:
    """Paths that lead nowhere, each with a token that is good."""
    for path in _NO_DOORS:
        for line in (target.line, target.gateway.as_(ATTACKER)):
            with contextlib.suppress(ValueError):
                yield target.judged(f"GET {path!r}", line.ask("GET", path), path, L.DOOR)


def too_large(target: Target) -> Iterator[Trial]:
    """A request larger than any is: is it refused for its size, or read?"""
    body = json.dumps({"sql": "SELECT '" + "x" * _TOO_LARGE + "'"}).encode()
    reply = target.line.ask("POST", f"{API}/sql", body)
    trial = target.judged("a request of 17 MiB", reply, "", L.REQUEST_SIZE)
    read = reply.answered or (bool(reply.code) and reply.code not in ("TOO_LARGE", "TOO_SLOW"))
    yield effect(replace(trial, stopped_by=L.REQUEST_SIZE), "it was read", read)


def no_requests(target: Target) -> Iterator[Trial]:
    """Bytes that are no request, lengths that disagree, a second request slipped behind the first."""
    head = f"POST {API}/sql HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {target.line.token}\r\n"
    own, others = (
        f"GET {API}/datasets HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {line.token}\r\n"
        for line in (target.line, target.victims_line)
    )
    slipped, chunked = f"{others}\r\n", "Transfer-Encoding: chunked\r\n"
    sent = {
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
        "two lengths": f"{head}Content-Length: 0\r\nContent-Length: {len(slipped)}\r\n\r\n{slipped}".encode(),
        "a length and chunks": f"{head}Content-Length: 5\r\n{chunked}\r\n0\r\n\r\n{slipped}".encode(),
        "a length below zero": f"{head}Content-Length: -1\r\n\r\n{{}}".encode(),
        "a line ended by one byte": f"{head}X: y\n{chunked}\r\n".encode(),
        "a head without end": head.encode() + b"X: " + b"y" * 200_000,
        "a binding that is none": b"KAI-BIND " + b"z" * 200,
        "another's token behind one's own": f"{own}\r\n{slipped}".encode(),
        "brackets without end": f"{head}Content-Length: 200000\r\n\r\n{'[' * 200_000}".encode(),
    }  # fmt: skip
    for name, data in sent.items():
        got = target.line.send(data, 0.5)
        answers = got.count(b"HTTP/1.1 200")
        reply = Reply(int(got[9:12]) if got[:9] == b"HTTP/1.1 " and got[9:12].isdigit() else 0, "", got)
        trial = target.judged(name, reply, "", L.DOOR)
        allowed = 1 if name.startswith("another's") else 0
        yield effect(trial, "another's request was answered", answers > allowed)
    yield effect(Trial("is it still there?", "answered", L.DOOR), "the gateway is gone", not target.gateway.alive)


def logs(target: Target) -> Iterator[Trial]:
    """The custodian's own log after all of this: no row's value is in it, whoever asked."""
    yield Trial("the custodian's log", "searched", L.ERROR_WORDS, target.world.canaries.found(target.gateway.logged))


def _used(target: Target, what: str, line: Line, clean: str) -> Trial:
    """A token tried at the doors that a kernel has."""
    reply = line.ask("GET", f"{API}/datasets")
    taken = reply.status not in (0, 401)
    return effect(target.judged(what, reply, line.token, clean, statistics=False), "the token was taken", taken)


def _encoded(claims: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def _unsigned(claims: Mapping[str, Any]) -> str:
    return ".".join((_encoded({"alg": "none", "typ": "JWT"}), _encoded(claims), ""))


def _notebook(purpose: str, word: str) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": "code", "id": "one", "metadata": {}, "outputs": [], "execution_count": None,
        "source": f"import kaianalytics\nkai = kaianalytics.connect(purpose={purpose!r})\nidea = {word!r}",
    }  # fmt: skip
    spec = {"name": f"kai-{purpose}", "display_name": purpose, "language": "python"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kai": {"purpose": purpose}, "kernelspec": spec},
        "cells": [cell],
    }


OUTSIDE_ATTACKS = (
    Attack("a forged token", "socket", (L.SIGNATURE,), forged),
    Attack("another kernel's token", "socket", (L.BINDING,), stolen),
    Attack("an expired token", "socket", (L.EXPIRY,), expired),
    Attack("a revoked token", "socket", (L.REVOCATION,), revoked),
    Attack("a token of another OS user", "socket", (L.OS_USER,), of_another_os_user),
    Attack("a token of the other kind", "socket", (L.AUDIENCE,), of_the_other_kind),
    Attack("a session that nobody granted", "socket", (L.DECISION,), without_a_grant),
    Attack("another's notebook under review", "socket", (L.OWN_REVIEWS,), anothers_review),
    Attack("a request too large", "socket", (L.REQUEST_SIZE,), too_large),
    Attack("paths that lead nowhere", "socket", (), no_doors),
    Attack("bytes that are no request", "socket", (), no_requests),
)  # fmt: skip
LOG_ATTACKS = (Attack("what the custodian's log says of it all", "logs", (), logs),)
