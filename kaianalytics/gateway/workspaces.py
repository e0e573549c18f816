"""Workspaces as the custodian rules them: how long their files stay, what leaves them by Lab, and what was removed.

Laws:
1. A workspace of a purpose that has rows may hold rows. Its files go when they are older than the shortest retention of
   the products that the purpose has as rows, and when they are older than the last stop request that touches it: which
   files hold the stopped person nobody can tell. Statistics alone leave nothing that must go.
2. A file leaves by Lab only after its size was held against the purpose's cap, its age against law 1, and the event was
   recorded: who, from which purpose, digests of its name and its content, its size. The name itself may hold data, and
   is not kept. What has to go does not leave in the time until it is removed.
3. The cap is the least over the contracts of all products of the purpose (`kai.downloadBytes`), for what of which of
   them a file holds nobody can tell.

The files themselves are the platform's: this room says what is to happen to them, and keeps what the platform reports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from kaianalytics.errors import PolicyRefused, Refused
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.tokens import Identity
from kaianalytics.policy.decision import Deny, Request, decide
from kaianalytics.records import stops
from kaianalytics.records.audit import utc

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Workspaces:
    """Answers a person's platform about the workspaces of that person."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def rules(self, caller: Identity) -> dict[str, Any]:
        """Whose workspaces they are; and of each open purpose, the time its files must be from, and its cap."""
        serving = self._context.serving()
        purposes = {
            purpose: {
                "files_since": files_since(self._context, purpose),
                "download_bytes": serving.contracts.download_bytes(purpose),
            }
            for purpose in serving.open_purposes
        }
        return {"user": caller.user, "purposes": purposes}

    def download(self, caller: Identity, body: Mapping[str, Any]) -> dict[str, Any]:
        """Record a file that is about to leave; PolicyRefused where it is too large or not of the caller's purposes."""
        purpose, size = str(body.get("purpose", "")), body.get("size")
        name, content = (_digest(body.get(field)) for field in ("name", "content"))
        made = _moment(body.get("made"))
        if type(size) is not int or size < 0:
            raise Refused("SIZE", "A download says how large it is.", hint="use the kaianalytics Lab")
        serving = self._context.serving()
        decision = decide(
            Request(caller.user, purpose, "interactive"),
            serving.contracts,
            self._context.roles(),
            self._context.clock().date(),
        )
        if isinstance(decision, Deny):
            raise decision.refusal()
        if size > (cap := serving.contracts.download_bytes(purpose)):
            raise PolicyRefused(
                "DOWNLOAD_TOO_LARGE",
                f"The file has {size:,} bytes, and a download of `{purpose}` has at most {cap:,}.",
                rule="what leaves a workspace as a file is capped and recorded",
                hint="download an aggregate, or show it in the notebook",
            )
        if made < (since := files_since(self._context, purpose)):
            raise PolicyRefused(
                "FILE_EXPIRED",
                f"Files of `{purpose}` from before {since} have to go, and this is one of them.",
                rule="rows in files are kept no longer than rows in stores, and not past a stop request",
                hint="make the file anew; `kai workspace sweep` removes what has to go",
            )
        facts = {"name": name, "content": content, "size": size}
        self._context.records.append(self._context.event(caller.user, "workspace.downloaded", purpose, **facts))
        return {"granted": True}

    def removed(self, caller: Identity, body: Mapping[str, Any]) -> dict[str, Any]:
        """Record how many files of a workspace were removed, and from before when."""
        purpose, files = str(body.get("purpose", ""))[:200], body.get("files")
        if type(files) is not int or files < 0:
            raise Refused("FILES", "A removal says how many files it removed.", hint="use `kai workspace sweep`")
        facts = {"files": files, "since": str(body.get("since", ""))[:40]}
        self._context.records.append(self._context.event(caller.user, "workspace.swept", purpose or "unnamed", **facts))
        return {"recorded": True}


def files_since(context: Context, purpose: str) -> str:
    """The time from before which no file of a purpose's workspace may stay; empty where all may (law 1)."""
    serving = context.serving()
    products = serving.plans[purpose, "rows"].tables if purpose in serving.open_purposes else ()
    if not products:
        return ""
    days = [retention.days for name in products if (retention := serving.contracts.products[name].retention)]
    kept = utc(context.clock() - timedelta(days=min(days))) if days else ""
    with context.records.reading() as view:
        return max(kept, stops.latest(view, purpose))


def _moment(value: object) -> str:
    """A time as the records write it."""
    try:
        return utc(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        raise Refused("MADE", "A download says when its file was made.", hint="use the kaianalytics Lab") from None


def _digest(value: object) -> str:
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value
    raise Refused("DIGEST", "A download names digests of its name and of its content.", hint="use the kaianalytics Lab")
