"""Tokens: each kind opens its own door, until it expires, under one key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from kaianalytics.errors import IdentityRefused
from kaianalytics.gateway.tokens import Session, Tokens, new_token_id

KEY = bytes(range(32))
NOW = datetime.now(UTC).replace(microsecond=0)
SESSION = Session("s" * 32, "aiko", 1000, "ad-targeting", "interactive", "k1")
TOKENS = Tokens(KEY)


def test_an_identity_token_says_who_and_from_which_os_user() -> None:
    identity = TOKENS.read_identity(TOKENS.mint_identity("aiko", 1000, NOW, timedelta(days=1)))
    assert (identity.user, identity.uid) == ("aiko", 1000)


def test_a_purpose_token_stands_for_its_session() -> None:
    token, expires = TOKENS.mint_session(SESSION, NOW)
    assert TOKENS.read_session(token) == SESSION
    assert expires == NOW + timedelta(hours=12)


def test_a_report_token_is_shorter() -> None:
    _, expires = TOKENS.mint_session(replace(SESSION, kind="report"), NOW)
    assert expires == NOW + timedelta(hours=1)


@pytest.mark.parametrize("read", [TOKENS.read_identity, TOKENS.read_session])
def test_neither_kind_passes_for_the_other(read: object) -> None:
    identity = TOKENS.mint_identity("aiko", 1000, NOW, timedelta(days=1))
    session, _ = TOKENS.mint_session(SESSION, NOW)
    wrong = session if read == TOKENS.read_identity else identity
    with pytest.raises(IdentityRefused) as refusal:
        read(wrong)  # type: ignore[operator]
    assert refusal.value.code == "TOKEN_INVALID"


def test_an_expired_token_is_refused() -> None:
    old = TOKENS.mint_identity("aiko", 1000, NOW - timedelta(days=2), timedelta(days=1))
    with pytest.raises(IdentityRefused) as refusal:
        TOKENS.read_identity(old)
    assert refusal.value.code == "TOKEN_EXPIRED"


def forged() -> list[str]:
    """Tokens that were not made by this key, or not by this algorithm."""
    claims = {
        "aud": "kai-identity",
        "sub": "ren",
        "uid": 0,
        "jti": new_token_id(),
        "iat": NOW,
        "exp": NOW + timedelta(days=1),
    }
    genuine = TOKENS.mint_identity("aiko", 1000, NOW, timedelta(days=1))
    head, body, signature = genuine.split(".")
    return [
        jwt.encode(claims, b"another key, thirty-two bytes ...", algorithm="HS256"),
        jwt.encode(claims, None, algorithm="none"),
        jwt.encode({key: claims[key] for key in ("aud", "sub", "uid", "jti", "iat")}, KEY, algorithm="HS256"),
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        "",
        "not a token",
    ]


@pytest.mark.parametrize("token", forged())
def test_forged_tokens_are_refused(token: str) -> None:
    with pytest.raises(IdentityRefused) as refusal:
        TOKENS.read_identity(token)
    assert refusal.value.code == "TOKEN_INVALID"
