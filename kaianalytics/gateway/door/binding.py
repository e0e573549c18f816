"""Connections that were handed into a kernel: bound to one token and one kernel before the kernel had them.

Laws:
1. A purpose token is good on connections that were bound to it, and on no others: a token that was read out of one
   kernel's memory is worth nothing to another kernel, to a program beside it, or to who finds it in a file.
2. A bound connection takes its own token alone: another user's identity, pasted into a notebook, opens nothing.
3. The line that binds comes first, whole, and once. Who can connect can bind; a kernel can connect nowhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from kaianalytics.errors import IdentityRefused
from kaianalytics.protocol import BINDING_BYTES, BINDING_WORD, binding

SCOPE_KEY = "kai.binding"
_RULE = "a token is good on its own kernel's connections alone"
_App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True)
class Binding:
    """The line that a connection began with."""

    line: bytes

    def demand(self, token: str, kernel: str) -> None:
        """IdentityRefused unless the connection was bound to this token and kernel."""
        if not hmac.compare_digest(self.line, binding(token, kernel)):
            raise IdentityRefused(
                "NOT_THIS_CONNECTION",
                "The token is another kernel's, or an earlier one of this kernel.",
                rule=_RULE,
                hint="use `kaianalytics.connect()`; restart the kernel for a token of its own",
            )


class FirstLine:
    """Reads a connection's first bytes until it is known whether they bind it."""

    def __init__(self) -> None:
        self._received = bytearray()
        self.binding: Binding | None = None

    def take(self, data: bytes) -> bytes | None:
        """What of the bytes so far is HTTP, once that is known; None before. ValueError for a line that binds badly."""
        self._received += data
        begun = bytes(self._received[: len(BINDING_WORD)])
        if not BINDING_WORD.startswith(begun):
            return bytes(self._received)
        if len(self._received) < BINDING_BYTES:
            return None
        line = bytes(self._received[:BINDING_BYTES])
        if not line.startswith(BINDING_WORD) or line.index(b"\n") != BINDING_BYTES - 1:
            raise ValueError("a connection is bound by two digests")
        self.binding = Binding(line)
        return bytes(self._received[BINDING_BYTES:])


def carrying(app: _App, bound: Binding) -> _App:
    """The application, told with each request what its connection is bound to."""

    async def told(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        scope[SCOPE_KEY] = bound
        await app(scope, receive, send)

    return told


def binding_of(request: Request) -> Binding | None:
    """What the request's connection is bound to."""
    found = request.scope.get(SCOPE_KEY)
    return found if isinstance(found, Binding) else None


def demand_bound(bound: Binding | None, token: str, kernel: str) -> None:
    """IdentityRefused unless the connection was bound to this token and kernel (law 1)."""
    if bound is None:
        raise IdentityRefused(
            "CONNECTION_NOT_BOUND",
            "A purpose token came on a connection that was not made for its kernel.",
            rule=_RULE,
            hint="use `kaianalytics.connect()` in a purpose's kernel",
        )
    bound.demand(token, kernel)


def demand_unbound(bound: Binding | None) -> None:
    """IdentityRefused where the connection is a kernel's (law 2)."""
    if bound is not None:
        raise IdentityRefused(
            "KERNELS_CONNECTION",
            "A kernel's connection takes its kernel's token and no other.",
            rule=_RULE,
            hint="use the `kai` command outside of the notebook",
        )
