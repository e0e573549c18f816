"""The doorkeeper: who is asking, from which OS user, and whether the register of handlers still knows them.

Laws: a token is good only from the OS user it was issued to, as the kernel reports the peer, and only until it is
revoked; the register is read as it stands now, so that an ended appointment or a withdrawn grant ends access at the
next request, whatever a token says. Who is refused is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from kaianalytics.errors import IdentityRefused, KaiError, PolicyRefused, Refused
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.door.binding import Binding, demand_bound, demand_unbound
from kaianalytics.gateway.isolation import Statement
from kaianalytics.gateway.sessions import SESSION_OPENED, KernelSessions, session_facts
from kaianalytics.gateway.tokens import Identity, Session, Tokens, new_token_id
from kaianalytics.gateway.workspaces import files_since
from kaianalytics.policy.decision import Deny, Request, decide, decide_handler
from kaianalytics.policy.roles import Identity as Handler
from kaianalytics.policy.roles import Role
from kaianalytics.protocol import SessionGrant
from kaianalytics.records import revocations

Bearer = TypeVar("Bearer", Identity, Session)
NOBODY = "nobody known"  # the actor of a refusal whose token named nobody


class Doorkeeper:
    """Reads tokens, looks handlers up, and opens a session for one user, purpose and kernel."""

    def __init__(self, context: Context, tokens: Tokens, end_queries: Callable[[str], None]) -> None:
        """`end_queries` ends what a session runs, and its workers."""
        self._context = context
        self._tokens = tokens
        self._kernels = KernelSessions(context)
        self._end_queries = end_queries

    def identity(self, token: str, uid: int, bound: Binding | None) -> Identity:
        """Who asks, by an identity token; IdentityRefused unless it holds, from its OS user, and from no kernel."""
        identity = self._held(self._tokens.read_identity(token), uid)
        demand_unbound(bound)
        return identity

    def session(self, token: str, uid: int, bound: Binding | None) -> Session:
        """What is asked for, by a purpose token; IdentityRefused unless it holds, comes from its OS user, and on a
        connection that was made for its kernel.
        """
        session = self._held(self._tokens.read_session(token), uid)
        demand_bound(bound, token, session.kernel)
        return session

    def handler(self, caller: Identity, role: Role | None = None) -> Handler:
        """The caller's entry in the register as it stands; PolicyRefused unless it holds today, with that role."""
        roles = self._context.roles()
        denial = decide_handler(caller.user, roles, self._context.clock().date())
        if denial:
            raise denial.refusal()
        handler = roles.identities[caller.user]
        if role and role not in handler.roles:
            raise PolicyRefused(
                "ROLE_MISSING",
                f"`{caller.user}` does not hold the role `{role}` that this takes.",
                rule="clause 8: a handler does what the appointment says",
                hint="ask a steward about roles.yaml",
            )
        return handler

    def open_session(
        self, caller: Identity, purpose: str, kernel: str, notebook: str, stated: Statement
    ) -> dict[str, str]:
        """A purpose token for one kernel of interactive work, and its event; PolicyRefused with every reason.

        The token that the same kernel had before is ended: a kernel that restarts leaves none behind.
        """
        contracts, roles = self._context.serving().contracts, self._context.roles()
        request = Request(caller.user, purpose, "interactive")
        decision = decide(request, contracts, roles, self._context.clock().date())
        if isinstance(decision, Deny):
            self._record(caller, "session.refused", purpose, codes=[reason.code for reason in decision.reasons])
            refusal = decision.refusal()
            refusal.recorded = True
            raise refusal
        session = Session(
            new_token_id(),
            caller.user,
            caller.uid,
            purpose,
            "interactive",
            kernel[:100],
            notebook=notebook[:200],
            isolation=self._context.isolation.of_kernel(stated, caller.uid),
            identity=caller.token_id,
        )
        facts = {"grounds": list(decision.grounds), "isolation": session.isolation, "kernel_uid": stated.kernel_uid}
        event = self._context.event(caller.user, SESSION_OPENED, purpose[:200], **session_facts(session), **facts)
        with self._context.records.writing(event) as tx:
            earlier = self._kernels.replace(tx, session)
        if earlier:
            self._end_queries(earlier)
        return asdict(self.grant(session))

    def close_session(self, session: Session) -> None:
        """End a session whose kernel has ended: its token opens nothing more."""
        event = self._context.event(session.user, "session.closed", session.purpose, session=session.session_id)
        with self._context.records.writing(event) as tx:
            self._kernels.end(tx, session)

    def demand_standing(self, session: Session) -> None:
        """PolicyRefused unless the session's user may still work for its purpose, today."""
        contracts, today = self._context.serving().contracts, self._context.clock().date()
        decision = decide(Request(session.user, session.purpose, session.kind), contracts, self._context.roles(), today)
        if isinstance(decision, Deny):
            raise decision.refusal()

    def demand_unrevoked(self, bearer: Identity | Session) -> None:
        """IdentityRefused where the token, or the one that it was asked for with, has been ended."""
        with self._context.records.reading() as view:
            if any(revocations.is_revoked(view, token_id) for token_id in _rests_on(bearer)):
                raise IdentityRefused(
                    "TOKEN_REVOKED",
                    "This token was revoked, or its kernel has a newer one.",
                    hint="restart the kernel; if that is refused too, ask the custodian for another identity token",
                )

    def record_refusal(self, user: str, uid: int, door: str, error: KaiError) -> None:
        """Record a refusal or a fault that no room recorded: who, as far as it is known, from where, at which door."""
        word = "refused" if isinstance(error, Refused) else "failed"
        event = self._context.event(user or NOBODY, f"request.{word}", door[:200], code=error.code, uid=uid)
        self._context.records.append(event)

    def grant(self, session: Session) -> SessionGrant:
        """A token for the session, with what it stands for."""
        token, expires = self._tokens.mint_session(session, self._context.clock())
        snapshot = self._context.serving().snapshot(self._context.stop_epoch())
        since = files_since(self._context, session.purpose) if session.kind == "interactive" else ""
        return SessionGrant(
            token,
            session.user,
            session.purpose,
            snapshot,
            session.isolation,
            expires.isoformat(),
            session.kernel,
            since,
        )

    def _held(self, bearer: Bearer, uid: int) -> Bearer:
        if uid < 0 or bearer.uid != uid:
            raise IdentityRefused(
                "WRONG_OS_USER",
                "This token was issued to another OS user.",
                rule="a token is good from one OS user alone",
                hint="ask the custodian for a token of your own",
            )
        self.demand_unrevoked(bearer)
        return bearer

    def _record(self, caller: Identity, kind: str, subject: str, **body: object) -> None:
        self._context.records.append(self._context.event(caller.user, kind, subject[:200], **body))


def _rests_on(bearer: Identity | Session) -> tuple[str, ...]:
    """The tokens that must all hold: a session's own, and the identity token that it was asked for with."""
    return (bearer.token_id, bearer.identity) if isinstance(bearer, Session) else (bearer.token_id,)
