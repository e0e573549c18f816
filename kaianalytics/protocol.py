"""Messages across the wall: what a notebook and the gateway say to each other, and nothing else.

HTTP over a Unix socket. Requests are JSON with a bearer token; rows come back as an Arrow IPC stream, everything else
as JSON. Every answer carries the snapshot it was made on and the isolation level it was made under.

A connection that is handed into a kernel begins with one line, which whoever connects sends before it hands it over:
`binding`. From then on it takes the token of that line's digest, for that kernel, and no other token.

    POST /v1/sessions       identity token → purpose token            SessionRequest → SessionGrant
    POST /v1/sql            purpose token  → Arrow IPC stream         {"sql"}
    POST /v1/statistics     purpose token  → StatisticsAnswer         StatisticsRequest
    POST /v1/statistics/plan purpose token → StatisticsPlan           StatisticsRequest
    GET  /v1/releases       purpose token  → {"releases": [RecordedRelease]}       ?view=&contains=
    GET  /v1/datasets       purpose token  → {"datasets": [Dataset]}
    GET  /v1/budget         purpose token  → Budget                   ?rho=
    POST /v1/submissions    identity token → review                   Submission
    GET  /v1/reviews[/id]   identity token → reviews
    POST /v1/reviews/id/decision  identity token → review             {"action", "note", "weeks"}
    POST /v1/runs           identity token → RunGrant                 {"report", "notebook", "parameters"}
    POST /v1/runs/id/finish identity token → publication              {"notebook", "failed", "code"}
    GET  /v1/workspaces     identity token → {"user", "purposes"}: how long files stay, and how large they may leave
    POST /v1/workspaces/downloads  identity token                     {"purpose", "name", "content", "size", "made"}
    POST /v1/workspaces/removals   identity token                     {"purpose", "files", "since"}
    GET  /v1/health         no token
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

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
    """One allowance that stands over a question: whose it is, and its ρ (and what is left of its δ) as decimals."""

    name: str  # "account", "purpose", "product orders", "analyst", "approval", "window 2026-10-01/month"
    limit: str
    spent: str
    remaining: str
    delta_remaining: str = "0"


@dataclass(frozen=True)
class YearLoss:
    """What one customer may have lost in all windows of one year: ρ, and the ε of it for people."""

    year: int
    rho: str
    epsilon: str
    epsilon_delta: str


@dataclass(frozen=True)
class Budget:
    """What is left of each allowance that a purpose's questions are charged to; `note` says how long it lasts.

    `questions_left` is how many more questions the tightest allowance covers at `price`, the ρ that was named or that
    the last question cost; None where neither is known. `years` are the customer-years that windows were read of, the
    newest first. `ask` says who gives more, and how. `others` are further populations of the purpose.
    """

    population: str
    purpose: str
    lines: tuple[BudgetLine, ...]
    note: str = ""
    price: str = ""
    questions_left: int | None = None
    years: tuple[YearLoss, ...] = ()
    ask: str = ""
    others: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Budget:
        """The budget that `asdict` wrote."""
        lines = tuple(BudgetLine(**line) for line in data["lines"])
        years = tuple(YearLoss(**year) for year in data.get("years", ()))
        return cls(**{**data, "lines": lines, "years": years, "others": tuple(data.get("others", ()))})


@dataclass(frozen=True)
class StatisticsRequest:
    """One question, exactly one price, and if wanted the analyst's own bounds and lookup tables.

    The price is `rho` or `epsilon` (decimal strings), or `accuracy`: a half-width at 95%, as a decimal string or, with
    `size`, as a percentage of it ("5%"); one for all figures, or by the figure's name. Of a mean or a quantile, `size`
    is the number of rows that it rests on. `bounds` is "private" (found from the data, at a part of the price), or
    limits within the contract's: {"rows": n}, {"groups": n, "rows_per_group": n}, {"norm": n} and, with any of them
    or alone, {"values": {column: [lower, upper]}}. `tables` are small tables of the analyst's own, which count as
    public: {name: {column: [values]}}.
    """

    sql: str
    rho: str | None = None
    epsilon: str | None = None
    accuracy: str | Mapping[str, str] | None = None
    size: str | None = None
    bounds: str | Mapping[str, Any] | None = None
    tables: Mapping[str, Mapping[str, Sequence[Scalar]]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReleaseColumn:
    """One column of a release: a key, or a noisy figure; `role` as in `privacy.query`, `type` as in a contract."""

    name: str
    role: str  # "key", or "count", "sum", "mean", "variance", "deviation", "quantile", "top", "ratio"
    type: str
    nonnegative: bool = False  # cannot be below zero in truth: a figure that is, is noise
    adds: bool = False  # the figures of groups without a common row add up: rows and sums do, distinct units do not


@dataclass(frozen=True)
class Release:
    """A recorded statistical answer: keys, noisy figures with their error bars, what they rest on and what they cost.

    `margins[i][j]` is the half-width at 95% of figure j in row i (None: a key, or not known), `supports[i][j]` the
    noisy number of rows that it rests on (None where that says nothing). Both count privacy noise alone, not sampling,
    and not the bias of bounding, which `bounding` names in sentences; `notes` say what else a reader should know.
    `windows` are the first days of the windows read, none where the unit is the whole customer. `bounds` are the bounds
    that were chosen, and with `bounds="private"` what choosing them cost and found. `certificate` lets anyone recompute
    the claim without the data.
    """

    release_id: int
    sql: str
    purpose: str
    snapshot: str
    isolation: str
    columns: tuple[ReleaseColumn, ...]
    rows: tuple[tuple[Scalar, ...], ...]
    margins: tuple[tuple[float | None, ...], ...]
    supports: tuple[tuple[float | None, ...], ...]
    bounding: tuple[str, ...]
    notes: tuple[str, ...]
    rho: str
    delta: str
    epsilon: str  # for people, at `epsilon_delta`
    epsilon_delta: str
    windows: tuple[str, ...] = ()
    bounds: Mapping[str, Any] = field(default_factory=dict)
    certificate: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 0.95

    def to_json(self) -> dict[str, Any]:
        """The release as JSON values; its tables as they are, for copying each value takes longer than its noise."""
        return {**vars(self), "columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Release:
        """The release that `to_json` wrote."""
        tables = {name: tuple(tuple(row) for row in data[name]) for name in ("rows", "margins", "supports")}
        lists = {name: tuple(data[name]) for name in ("bounding", "notes", "windows")}
        columns = tuple(ReleaseColumn(**column) for column in data["columns"])
        return cls(**{**data, **tables, **lists, "columns": columns})


@dataclass(frozen=True)
class FigurePlan:
    """What one figure's error bar would be; None where it depends on the answer and no size was stated."""

    name: str
    role: str
    half_width: float | None


@dataclass(frozen=True)
class StatisticsPlan:
    """What a question would cost and how exact it would be, found without reading data."""

    rho: str  # per window
    account_rho: str  # what the population's account is charged: w² times that, for w windows
    delta: str
    epsilon: str
    epsilon_delta: str
    figures: tuple[FigurePlan, ...]
    cells: int | None  # None: the keys are unknown beforehand
    windows: tuple[str, ...]
    bounding: tuple[str, ...]
    threshold: int | None  # distinct units that an unknown key needs to be shown
    questions_left: int  # how many more such questions the tightest allowance covers

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StatisticsPlan:
        """The plan that `asdict` wrote."""
        figures = tuple(FigurePlan(**figure) for figure in data["figures"])
        return cls(
            **{**data, "figures": figures, "windows": tuple(data["windows"]), "bounding": tuple(data["bounding"])}
        )


@dataclass(frozen=True)
class StatisticsAnswer:
    """A release as it was recorded, and what is true only now: whether this asking was charged, and what is left.

    Over the wire the release is the text that was recorded, so that a repeat is the same byte for byte. `remaining` is
    the ρ left of each allowance by the name that it has in a budget; `lost` the ρ that one customer has lost so far in
    each window read and in each of their years ("customer-year 2026").
    """

    release: Release
    charged: bool
    remaining: Mapping[str, str]
    lost: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StatisticsAnswer:
        """The answer that the gateway sent."""
        release = Release.from_json(json.loads(data["release"]))
        return cls(release, bool(data["charged"]), dict(data["remaining"]), dict(data.get("lost", {})))


@dataclass(frozen=True)
class RecordedRelease:
    """An earlier answer, over the wire the text that was recorded, and when that was (ISO, UTC)."""

    release: Release
    at: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RecordedRelease:
        """The recorded answer that the gateway sent."""
        return cls(Release.from_json(json.loads(data["release"])), str(data["at"]))


@dataclass(frozen=True)
class Dataset:
    """One view that a purpose can ask: its columns, how it may be asked, and how fresh it is."""

    name: str
    title: str
    access: tuple[str, ...]  # "rows", "statistics"
    columns: tuple[Mapping[str, Any], ...]
    fresh_as_of: str
    bounds: str = ""
    rows_left: str = ""  # how much of it may still leave as rows today, as a sentence


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
    told: dict[str, Any] = {"code": error.code, "message": error.message, "rule": error.rule, "hint": error.hint}
    if error.place is not None:
        told["place"] = list(error.place)
    if error.reference:
        told["reference"] = error.reference
    return {kind: told}


def refusal_from_json(data: Mapping[str, Any], status: int) -> KaiError:
    """The exception on the analyst's side for an answer that `refusal_to_json` wrote; a fault for anything else."""
    for kind, error_class in (("refused", _refused_class(status)), ("fault", Fault)):
        if isinstance(body := data.get(kind), Mapping):
            error = error_class(
                str(body.get("code", "UNKNOWN")),
                str(body.get("message", "")),
                rule=str(body.get("rule", "")),
                hint=str(body.get("hint", "")),
            )
            error.place = _place(body.get("place"))
            error.reference = str(body.get("reference", ""))
            return error
    return Fault(
        "BAD_ANSWER", f"The gateway answered with status {status} and no reason.", hint="see the gateway's log"
    )


def _place(told: Any) -> tuple[int, int] | None:
    if isinstance(told, list) and len(told) == 2 and all(type(number) is int and number > 0 for number in told):
        return told[0], told[1]
    return None


def _refused_class(status: int) -> type[KaiError]:
    kinds = {401: IdentityRefused, 402: BudgetRefused, 403: PolicyRefused, 409: ReviewRefused}
    return kinds.get(status, Refused)
