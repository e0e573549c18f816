"""Tokens that are out: what the chain says was issued or opened, and has neither expired nor been ended.

Laws: the chain names each token by its id, which opens nothing; ending one takes an entry in the records, which every
request looks at, and a running query every half second; a kernel has one token at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from kaianalytics.gateway.context import Context
from kaianalytics.gateway.tokens import INTERACTIVE_LIFETIME, RUN_LIFETIME, Session
from kaianalytics.records import audit, revocations
from kaianalytics.records.audit import StoredEvent
from kaianalytics.records.transaction import Reading, Transaction

IDENTITY_ISSUED, SESSION_OPENED, RUN_LEASED = "identity.issued", "session.opened", "run.leased"
LONGEST = timedelta(days=366)


@dataclass(frozen=True)
class Out:
    """One token that is out: an identity's, whose `kernel` and `purpose` are empty, or a session's."""

    token_id: str
    user: str
    at: datetime
    expires_at: datetime
    purpose: str = ""
    kernel: str = ""


def session_facts(session: Session) -> dict[str, str]:
    """What the chain keeps of a session when it is opened."""
    return {
        "session": session.session_id,
        "user": session.user,
        "purpose": session.purpose,
        "kernel": session.kernel,
        "identity": session.identity,
    }


def identities_out(view: Reading, now: datetime) -> tuple[Out, ...]:
    """The identity tokens that are good now, in the order in which they were issued."""
    issued = audit.events(view, kind=IDENTITY_ISSUED, since=now - LONGEST)
    return tuple(_standing(view, (_identity(event) for event in issued), now))


def sessions_out(view: Reading, now: datetime) -> tuple[Out, ...]:
    """The purpose tokens that are good now, of kernels and of runs, in the order in which they were opened."""
    kinds = {SESSION_OPENED: INTERACTIVE_LIFETIME, RUN_LEASED: RUN_LIFETIME}
    opened = [
        (event, lifetime)
        for kind, lifetime in kinds.items()
        for event in audit.events(view, kind=kind, since=now - lifetime)
    ]
    opened.sort(key=lambda each: each[0].sequence)
    resting = [(_session(event, lifetime), event.facts()["identity"]) for event, lifetime in opened]
    standing = (out for out, identity in resting if not revocations.is_revoked(view, identity))
    return tuple(_standing(view, standing, now))


class KernelSessions:
    """The one session of each kernel, while the gateway runs; what was open before it started is read at first need."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._newest: dict[tuple[str, str], str] | None = None

    def replace(self, tx: Transaction, session: Session) -> str:
        """End the session that the same user's kernel had before, if any; its id. One write at a time: no lock here."""
        if self._newest is None:
            self._newest = {(out.user, out.kernel): out.token_id for out in sessions_out(tx, self._context.clock())}
        earlier = self._newest.get((session.user, session.kernel), "")
        if earlier:
            revocations.revoke(tx, earlier, self._context.clock() + INTERACTIVE_LIFETIME)
            tx.event.note(ended=earlier)
        self._newest[session.user, session.kernel] = session.session_id
        return earlier

    def end(self, tx: Transaction, session: Session) -> None:
        """End the session whose kernel has ended; nothing of it is kept in memory."""
        revocations.revoke(tx, session.token_id, self._context.clock() + INTERACTIVE_LIFETIME)
        if self._newest and self._newest.get((session.user, session.kernel)) == session.session_id:
            del self._newest[session.user, session.kernel]


def _standing(view: Reading, out: Iterator[Out], now: datetime) -> Iterator[Out]:
    return (each for each in out if each.expires_at > now and not revocations.is_revoked(view, each.token_id))


def _identity(event: StoredEvent) -> Out:
    facts, at = event.facts(), datetime.fromisoformat(event.at)
    return Out(facts["token"], event.subject, at, at + timedelta(days=facts["days"]))


def _session(event: StoredEvent, lifetime: timedelta) -> Out:
    facts, at = event.facts(), datetime.fromisoformat(event.at)
    return Out(facts["session"], facts["user"], at, at + lifetime, facts["purpose"], facts["kernel"])
