"""Messages across the wall: what a notebook and the gateway say to each other, and nothing else.

HTTP over a Unix socket. Requests are JSON with a bearer token; rows come back as an Arrow IPC stream, everything else
as JSON. Every answer carries the snapshot it was made on and the isolation level it was made under.

A connection that is handed into a kernel begins with one line, which whoever connects sends before it hands it over:
`binding`. From then on it takes the token of that line's digest, for that kernel, and no other token.

    POST /v1/sessions       identity token → purpose token            SessionRequest → SessionGrant
    POST /v1/sql            purpose token  → Arrow IPC stream         {"sql"}
    POST /v1/statistics     purpose token  → StatisticsAnswer         StatisticsRequest
    GET  /v1/datasets       purpose token  → {"datasets": [Dataset]}
    GET  /v1/budget         purpose token  → Budget
    POST /v1/submissions    identity token → review                   Submission
    GET  /v1/reviews[/id]   identity token → reviews
    POST /v1/reviews/id/decision  identity token → review             {"action", "note", "weeks"}
    POST /v1/runs           identity token → RunGrant                 {"report", "notebook", "parameters"}
    POST /v1/runs/id/finish identity token → publication              {"notebook", "failed", "code"}
    GET  /v1/workspaces     identity token → {"user", "purposes"}: how long files stay, and how large they may leave
    POST /v1/workspaces/downloads  identity token                     {"purpose", "name", "content", "size"}
    POST /v1/workspaces/removals   identity token                     {"purpose", "files", "since"}
    GET  /v1/health         no token
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kaianalytics.errors import (
    BudgetRefused,
    Fault,
    IdentityRefused,
    KaiError,
    PolicyRefused,
    Refused,
    ReviewRefused,
)

API = "/v1"
SNAPSHOT_HEADER = "kai-snapshot"
ISOLATION_HEADER = "kai-isolation"
ROWS_MEDIA_TYPE = "application/vnd.apache.arrow.stream"

GUARD_RAILS_ONLY, SANDBOXED, FULL = "guard rails only", "sandboxed", "full"
ISOLATION_SENTENCE = (
    "Isolation: guard rails only. Mistakes are stopped; an attacker who runs code as this OS user is not."
)
ISOLATION_SENTENCES = {  # the weakest level first
    GUARD_RAILS_ONLY: ISOLATION_SENTENCE,
    SANDBOXED: "Isolation: sandboxed. Kernels are confined by the operating system; custodian, platform and "
    "kernels are one OS user, so that their separation is a convention.",
    FULL: "Isolation: full. Kernels are confined by the operating system; custodian, platform and kernels are "
    "different OS users.",
}
BINDING_WORD = b"KAI-BIND "
BINDING_BYTES = len(BINDING_WORD) + 64 + 1 + 64 + 1

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class SessionRequest:
    """Asks for a purpose token for one kernel of interactive work; a report's comes with its lease.

    `isolation` is the level that the kernel will be started at, and `kernel_uid` the OS user it will run as: what the
    platform says, which the gateway never takes for more than it knows of itself.
    """

    purpose: str
    kernel: str
    notebook: str = ""
    isolation: str = GUARD_RAILS_ONLY
    kernel_uid: int = -1


@dataclass(frozen=True)
class SessionGrant:
    """A purpose token with what it stands for; the token is in no repr, so that no log or traceback shows it.

    `kernel` is the name that its connections are bound to. Files of the workspace from before `files_since` must go
    before the kernel starts; empty where none must.
    """

    token: str = field(repr=False)
    user: str
    purpose: str
    snapshot: str
    isolation: str
    expires_at: str
    kernel: str = ""
    files_since: str = ""


@dataclass(frozen=True)
class RunGrant:
    """A leased report run: its number, and the session that its kernel works under."""

    run: int
    session: SessionGrant

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunGrant:
        """The grant that `asdict` wrote."""
        return cls(int(data["run"]), SessionGrant(**data["session"]))


@dataclass(frozen=True)
class BudgetLine:
    """One allowance that stands over a question: whose it is, and its ρ as decimal strings."""

    name: str  # "account", "purpose", "analyst", …
    limit: str
    spent: str
    remaining: str


@dataclass(frozen=True)
class Budget:
    """What is left of each allowance that a purpose's questions are charged to; `note` says how long it lasts."""

    population: str
    purpose: str
    lines: tuple[BudgetLine, ...]
    note: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Budget:
        """The budget that `asdict` wrote."""
        return cls(**{**data, "lines": tuple(BudgetLine(**line) for line in data["lines"])})


@dataclass(frozen=True)
class StatisticsRequest:
    """One question and what it may cost: `rho` is a decimal string, and required."""

    sql: str
    rho: str


@dataclass(frozen=True)
class ReleaseColumn:
    """One column of a release: a key, or a noisy figure with its half-width at 95% confidence."""

    name: str
    role: Literal["key", "count", "sum"]
    type: str
    half_width: float | None = None


@dataclass(frozen=True)
class Release:
    """A recorded statistical answer: keys, noisy figures, their error bars, and what it cost.

    `rows` are in the order of the key domain. `half_width` is at 95% and counts privacy noise alone, not sampling and
    not the bias of bounding, which `bounding` names in sentences.
    """

    release_id: int
    sql: str
    purpose: str
    snapshot: str
    isolation: str
    columns: tuple[ReleaseColumn, ...]
    rows: tuple[tuple[Scalar, ...], ...]
    bounding: tuple[str, ...]
    rho: str
    delta: str
    confidence: float = 0.95

    def to_json(self) -> dict[str, Any]:
        """The release as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Release:
        """The release that `to_json` wrote."""
        columns = tuple(ReleaseColumn(**column) for column in data["columns"])
        rows = tuple(tuple(row) for row in data["rows"])
        return cls(**{**data, "columns": columns, "rows": rows, "bounding": tuple(data["bounding"])})


@dataclass(frozen=True)
class StatisticsAnswer:
    """A release as it was recorded, and what is true only now: whether this asking was charged, and what is left.

    Over the wire the release is the text that was recorded, so that a repeat is the same byte for byte.
    """

    release: Release
    charged: bool
    remaining: Mapping[str, str]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StatisticsAnswer:
        """The answer that the gateway sent."""
        return cls(Release.from_json(json.loads(data["release"])), bool(data["charged"]), dict(data["remaining"]))


@dataclass(frozen=True)
class Dataset:
    """One view that a purpose can ask: its columns, how it may be asked, and how fresh it is."""

    name: str
    title: str
    access: tuple[str, ...]  # "rows", "statistics"
    columns: tuple[Mapping[str, Any], ...]
    fresh_as_of: str
    bounds: str = ""


def isolation_sentence(level: str) -> str:
    """What an isolation level means; of a word that is none, the weakest level's."""
    return ISOLATION_SENTENCES.get(level, ISOLATION_SENTENCE)


def weakest(*levels: str) -> str:
    """The weakest of some isolation levels; a word that is none is the weakest."""
    order = list(ISOLATION_SENTENCES)
    return order[min(order.index(level) if level in order else 0 for level in levels)]


def binding(token: str, kernel: str) -> bytes:
    """The line that binds a connection to a token and a kernel: their digests, which tell neither."""
    digests = (hashlib.sha256(text.encode()).hexdigest() for text in (token, kernel))
    return BINDING_WORD + " ".join(digests).encode() + b"\n"


def refusal_to_json(error: KaiError) -> dict[str, Any]:
    """A refusal or fault as the one shape every door answers with."""
    kind = "refused" if isinstance(error, Refused) else "fault"
    return {kind: {"code": error.code, "message": error.message, "rule": error.rule, "hint": error.hint}}


def refusal_from_json(data: Mapping[str, Any], status: int) -> KaiError:
    """The exception on the analyst's side for an answer that `refusal_to_json` wrote; a fault for anything else."""
    for kind, error_class in (("refused", _refused_class(status)), ("fault", Fault)):
        if isinstance(body := data.get(kind), Mapping):
            return error_class(
                str(body.get("code", "UNKNOWN")),
                str(body.get("message", "")),
                rule=str(body.get("rule", "")),
                hint=str(body.get("hint", "")),
            )
    return Fault(
        "BAD_ANSWER", f"The gateway answered with status {status} and no reason.", hint="see the gateway's log"
    )


def _refused_class(status: int) -> type[KaiError]:
    kinds = {401: IdentityRefused, 402: BudgetRefused, 403: PolicyRefused, 409: ReviewRefused}
    return kinds.get(status, Refused)
