"""Attacks with tokens: stolen, replayed, forged, another's. The gateway is the real one, and so are the commands."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.real_world import Asker, Gateway, World, refusal, soon
from support.waiting import ENDLESS, Waiting, own_worker

from kaianalytics.client.transport import Door, connect_to
from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.gateway.sessions import identities_out, sessions_out
from kaianalytics.gateway.tokens import Session, Tokens, new_token_id, utc_now
from kaianalytics.lab.handover import connect_bound
from kaianalytics.protocol import API, binding
from kaianalytics.records.database import Records
from kaianalytics.records.transaction import Reading

SMALL = "SELECT COUNT(*) AS n FROM sessions"


def claims(token: str) -> dict[str, Any]:
    """What a token says, read without a key, as a thief reads it."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def on(gateway: Gateway, token: str, bound: bytes | None) -> Door:
    """A thief's door: the token on a connection bound to anything, or to nothing."""
    if bound is None:
        return Door(lambda: connect_to(gateway.socket), token)
    return Door(lambda: connect_bound(gateway.socket, bound), token)


def code(door: Door, sql: str = SMALL) -> str:
    return refusal(lambda: door.request_rows(f"{API}/sql", {"sql": sql})).code


# Ended by the custodian


@pytest.fixture(scope="module")
def ending(template: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose tokens these tests end; the last of them starts it anew."""
    with template.copy(tmp_path_factory.mktemp("ending")).gateway() as running:
        yield running


def start(gateway: Gateway, kernel: str, token: str) -> Asker:
    """The session of a kernel that has just started."""
    asked = {"purpose": "service-improvement", "kernel": kernel}
    grant = gateway.door(token).request_json("POST", f"{API}/sessions", asked)
    return Asker(grant["token"], gateway.door(grant["token"]), grant)


def of(gateway: Gateway, user: str) -> str:
    return gateway.world.token_file(user).read_text(encoding="ascii").strip()


def runs_endlessly(asker: Asker) -> Waiting:
    running = Waiting(asker, ENDLESS)
    time.sleep(0.4)
    assert not running.code
    return running


def test_a_session_that_is_ended_has_no_next_request_and_nothing_under_way(ending: Gateway) -> None:
    world, other = ending.world, ending.session("aiko")
    asker = ending.session("aiko")
    before = set(ending.workers())
    assert asker.one(SMALL) > 0
    worker = own_worker(ending, before)
    session = claims(asker.token)["jti"]
    assert session[:12] in world.kai("session", "list")
    running = runs_endlessly(asker)
    assert "Ended 1 session of aiko" in world.kai("session", "end", session[:12])
    assert running.ended(10) == "TOKEN_REVOKED"
    assert soon(lambda: worker not in ending.workers())
    assert asker.refused(SMALL).code == asker.refused(SMALL, rho="0.001").code == "TOKEN_REVOKED"
    assert other.one(SMALL) > 0
    assert "SESSION_UNKNOWN" in world.kai("session", "end", session[:12], expect=1)
    [ended] = world.events("session.ended")
    assert (ended.subject, ended.facts()["session"]) == ("aiko", session)


def test_a_name_is_enough_to_end_all_that_an_identity_has(ending: Gateway) -> None:
    world = ending.world
    stolen = world.root / "stolen.token"
    world.kai("identity", "issue", "kaito", "--out", stolen)
    kernel = start(ending, "thief", token := stolen.read_text().strip())
    assert kernel.one(SMALL) > 0
    assert "kaito" in world.kai("identity", "list")
    running = runs_endlessly(kernel)
    assert "revoked" in world.kai("identity", "revoke", "kaito")
    assert running.ended(10) == kernel.refused(SMALL).code == "TOKEN_REVOKED"
    assert refusal(lambda: ending.door(token).request_json("GET", f"{API}/reviews")).code == "TOKEN_REVOKED"
    assert refusal(lambda: start(ending, "another", token)).code == "TOKEN_REVOKED"
    assert "TOKENS_NONE" in world.kai("identity", "revoke", "kaito", expect=1)
    with records(world) as view:
        assert not identities_out(view, utc_now())
        assert {out.user for out in sessions_out(view, utc_now())} == {"aiko"}


@contextmanager
def records(world: World) -> Iterator[Reading]:
    with closing(Records.of(world.home, world.keys)) as opened, opened.reading() as view:
        yield view


def test_a_kernel_that_restarts_leaves_no_token_behind_whatever_has_restarted_since(ending: Gateway) -> None:
    world, aiko, kaito = ending.world, of(ending, "aiko"), of(ending, "kaito")
    first, neighbour, anothers = start(ending, "k1", aiko), start(ending, "k2", aiko), start(ending, "k1", kaito)
    running = runs_endlessly(first)
    second = start(ending, "k1", aiko)
    assert running.ended(10) in ("CANCELLED", "TOKEN_REVOKED", "SESSION_CLOSED")
    assert first.refused(SMALL).code == "TOKEN_REVOKED"
    assert [asker.one(SMALL) > 0 for asker in (second, neighbour, anothers)] == [True] * 3
    ending.stop()
    with world.gateway() as gateway:  # which does not remember, and reads it in the chain

        def again(asker: Asker) -> Asker:
            return Asker(asker.token, gateway.door(asker.token), asker.grant)

        assert again(second).one(SMALL) > 0
        third = start(gateway, "k1", aiko)
        for ended in (first, second):
            assert again(ended).refused(SMALL).code == "TOKEN_REVOKED"
        assert [asker.one(SMALL) > 0 for asker in (third, again(neighbour), again(anothers))] == [True] * 3


# Replayed elsewhere


def test_a_token_is_worth_nothing_on_another_connection(gateway: Gateway) -> None:
    mine, theirs = gateway.session("aiko"), gateway.session("kaito")
    kernels = {asker.token: claims(asker.token)["kernel"] for asker in (mine, theirs)}
    for bound, expected in (
        (None, "CONNECTION_NOT_BOUND"),
        (binding(theirs.token, kernels[theirs.token]), "NOT_THIS_CONNECTION"),
        (binding(mine.token, kernels[theirs.token]), "NOT_THIS_CONNECTION"),
        (binding(theirs.token, kernels[mine.token]), "NOT_THIS_CONNECTION"),
    ):
        assert code(on(gateway, mine.token, bound)) == expected
    identity = gateway.world.token_file("kaito").read_text().strip()
    door = on(gateway, identity, binding(mine.token, kernels[mine.token]))
    assert refusal(lambda: door.request_json("GET", f"{API}/reviews")).code == "KERNELS_CONNECTION"
    assert mine.one(SMALL) > 0


def minted(keys: Keys, at: Any = None, **changed: Any) -> str:
    facts: dict[str, Any] = {"user": "aiko", "uid": os.getuid(), "purpose": "service-improvement", "kernel": "k"}
    return Tokens(keys.token_key).mint_session(
        Session(new_token_id(), kind="interactive", **facts | changed), at or utc_now()
    )[0]


def test_a_token_ends_with_its_time_and_is_of_one_home(gateway: Gateway, tmp_path: Path) -> None:
    keys = gateway.world.keys
    other = Keys.create(Home.create(tmp_path / "other", tmp_path, tmp_path))
    for token, expected in (
        (minted(keys, utc_now() - timedelta(hours=12, seconds=1)), "TOKEN_EXPIRED"),
        (minted(keys, utc_now() + timedelta(hours=1)), "TOKEN_INVALID"),  # from tomorrow
        (minted(other), "TOKEN_INVALID"),
        (minted(keys, uid=os.getuid() + 1), "WRONG_OS_USER"),
    ):
        assert code(on(gateway, token, binding(token, "k"))) == expected
    good = minted(keys)
    assert on(gateway, good, binding(good, "k")).request_rows(f"{API}/sql", {"sql": SMALL}).arrow


# Forged


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def changed_payload(token: str, **changed: Any) -> str:
    first, _, signature = token.split(".")
    return f"{first}.{part({**claims(token), **changed})}.{signature}"


def with_head(token: str, head: dict[str, Any]) -> str:
    _, payload, signature = token.split(".")
    return f"{part(head)}.{payload}.{signature}"


FORGERIES: dict[str, Callable[[str, Keys], str]] = {
    "another user": lambda token, keys: changed_payload(token, sub="kaito"),
    "another purpose": lambda token, keys: changed_payload(token, purpose="ad-targeting"),
    "another kernel": lambda token, keys: changed_payload(token, kernel="mine"),
    "another audience": lambda token, keys: changed_payload(token, aud="kai-identity"),
    "a longer life": lambda token, keys: changed_payload(token, exp=2**33),
    "no signature": lambda token, keys: token.rpartition(".")[0] + ".",
    "no third part": lambda token, keys: token.rpartition(".")[0],
    "half a signature": lambda token, keys: token[:-20],
    "a signature less by one": lambda token, keys: token[:-1],
    "a signature and more": lambda token, keys: token + "AAAA",
    "a fourth part": lambda token, keys: token + ".x",
    "no algorithm": lambda token, keys: jwt.encode(claims(token), None, algorithm="none"),
    "no algorithm, signed": lambda token, keys: with_head(token, {"alg": "none", "typ": "JWT"}),
    "an algorithm in capitals": lambda token, keys: with_head(token, {"alg": "NONE", "typ": "JWT"}),
    "another algorithm's name": lambda token, keys: with_head(token, {"alg": "RS256", "typ": "JWT"}),
    "another hash": lambda token, keys: jwt.encode(claims(token), keys.token_key * 2, algorithm="HS512"),
    "the public key as a secret": lambda token, keys: jwt.encode(claims(token), keys.public_key, algorithm="HS256"),
    "a secret of zeros": lambda token, keys: jwt.encode(claims(token), bytes(32), algorithm="HS256"),
    "a key that is named": lambda token, keys: with_head(token, {"alg": "HS256", "kid": "../../dev/null"}),
    "a key that is brought along": lambda token, keys: with_head(token, {"alg": "HS256", "jwk": {"k": "AAAA"}}),
    "a wrong curve's signature": lambda token, keys: f"{token.rpartition('.')[0]}.{part(keys.sign(b'x').hex())}",
    "a payload that is no object": lambda token, keys: f"{token.split('.')[0]}.{part([1])}.{token.split('.')[2]}",
    "no token at all": lambda token, keys: "Bearer",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_opens_nothing(gateway: Gateway, name: str) -> None:
    genuine = minted(gateway.world.keys)
    forged = FORGERIES[name](genuine, gateway.world.keys)
    assert forged != genuine
    for bound in (binding(forged, "k"), binding(forged, "mine")):
        assert code(on(gateway, forged, bound)) == "TOKEN_INVALID"


def test_a_claim_of_another_type_is_a_forgery_that_only_the_key_could_make(gateway: Gateway) -> None:
    """Were the key to sign nonsense, the gateway would still say one of its codes, and no trace of an error."""
    standard = claims(minted(gateway.world.keys))
    for changed in (
        {"uid": "0"},
        {"uid": True},
        {"sub": ""},
        {"purpose": "../../keys"},
        {"kernel": ["k"]},
        {"run": 1.5},
    ):
        token = jwt.encode({**standard, **changed}, gateway.world.keys.token_key, algorithm="HS256")
        said = refusal(lambda token=token: on(gateway, token, binding(token, "k")).request_json("GET", f"{API}/budget"))
        assert said.code in {"WRONG_OS_USER", "PURPOSE_UNKNOWN", "IDENTITY_UNKNOWN", "TOKEN_INVALID"}, (changed, said)
