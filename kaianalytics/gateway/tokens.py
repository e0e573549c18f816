"""Tokens: signed, short-lived, and good for one thing.

An *identity token* says who somebody is and from which OS user; a person keeps it in a file, for as many days as the
custodian said. A *purpose token* is what a kernel holds: one user, one purpose, one kernel, for twelve hours, or for
one where the kernel is a report's run; it opens rows and statistics and nothing else. Neither is renewed: a kernel gets
another at its next start, which ends the one before. The two have different audiences, so neither passes for the other.
JWT by PyJWT, HMAC-SHA-256 with the custodian's key.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import jwt

from kaianalytics.errors import IdentityRefused
from kaianalytics.protocol import GUARD_RAILS_ONLY

ALGORITHM = "HS256"
REQUIRED = ["aud", "exp", "iat", "jti", "sub"]
INTERACTIVE_LIFETIME = timedelta(hours=12)
RUN_LIFETIME = timedelta(hours=1)
SessionKind = Literal["interactive", "report"]


@dataclass(frozen=True)
class Identity:
    """Who somebody is, and the OS user their requests come from."""

    token_id: str
    user: str
    uid: int


@dataclass(frozen=True)
class Session:
    """What a purpose token stands for: every request under it is this user's, for this purpose."""

    session_id: str
    user: str
    uid: int
    purpose: str
    kind: SessionKind
    kernel: str
    notebook: str = ""
    report: str = ""
    run: int = 0
    approval: str = ""
    rho_per_run: str = ""
    delta_per_run: str = "0"
    isolation: str = GUARD_RAILS_ONLY
    identity: str = ""  # id of the identity token that it was asked for with: revoking that one ends this one

    @property
    def token_id(self) -> str:
        """The id of its token: the session's own."""
        return self.session_id


_SESSION_CLAIMS = {
    field.name: int if field.name in ("uid", "run") else str
    for field in fields(Session)
    if field.name not in ("session_id", "user")
}


class Tokens:
    """Mints and reads both kinds of token with one secret key; a token that does not hold raises IdentityRefused."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mint_identity(self, user: str, uid: int, now: datetime, lifetime: timedelta) -> str:
        """A token for a person, good from one OS user until `now + lifetime`."""
        return self._mint("kai-identity", user, new_token_id(), now, lifetime, {"uid": uid})

    def mint_session(self, session: Session, now: datetime) -> tuple[str, datetime]:
        """A token for one kernel, and when it expires."""
        lifetime = RUN_LIFETIME if session.kind == "report" else INTERACTIVE_LIFETIME
        claims = {name: value for name, value in asdict(session).items() if name in _SESSION_CLAIMS}
        token = self._mint("kai-purpose", session.user, session.session_id, now, lifetime, claims)
        return token, now + lifetime

    def read_identity(self, token: str) -> Identity:
        """Who the identity token names; IdentityRefused if it is forged, expired or of another kind."""
        claims = self._read("kai-identity", token, {"uid": int})
        return Identity(claims["jti"], claims["sub"], claims["uid"])

    def read_session(self, token: str) -> Session:
        """What the purpose token stands for; IdentityRefused if it is forged, expired or of another kind."""
        claims = self._read("kai-purpose", token, _SESSION_CLAIMS)
        return Session(claims["jti"], claims["sub"], **{name: claims[name] for name in _SESSION_CLAIMS})

    def _mint(
        self, audience: str, user: str, token_id: str, now: datetime, lifetime: timedelta, claims: dict[str, Any]
    ) -> str:
        standard = {"aud": audience, "sub": user, "jti": token_id, "iat": now, "exp": now + lifetime}
        return jwt.encode({**claims, **standard}, self._key, algorithm=ALGORITHM)

    def _read(self, audience: str, token: str, types: Mapping[str, type]) -> dict[str, Any]:
        options: Any = {"require": [*REQUIRED, *types]}
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=audience, options=options)
            if any(type(claims[name]) is not kind for name, kind in types.items()):
                raise jwt.InvalidTokenError
            return claims
        except jwt.ExpiredSignatureError:
            raise IdentityRefused(
                "TOKEN_EXPIRED",
                "The token has expired.",
                hint="restart the kernel for a new purpose token; `kai identity issue` makes a new identity token",
            ) from None
        except jwt.PyJWTError:
            raise IdentityRefused(
                "TOKEN_INVALID",
                "The token is not one that this gateway issued for this door.",
                hint="start the notebook from its purpose's launcher card, or ask the custodian for an identity token",
            ) from None


def new_token_id() -> str:
    """An id that can't be guessed."""
    return secrets.token_hex(16)


def utc_now() -> datetime:
    """The gateway's clock: whole seconds, UTC."""
    return datetime.now(UTC).replace(microsecond=0)
