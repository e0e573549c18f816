"""`kai`, the connection that a notebook works with.

Laws:
1. The token is read once, from a pipe that only this kernel inherited; the pipe is closed and its number leaves the
   environment before anything else is done. It is in no repr, no message and no environment.
2. A kernel has one connection: `connect()` again returns the same.
3. What reaches the analyst is a frame, a release, or a KaiError with its rule and what to do; nothing is retried.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import urlencode

import polars as pl

from kaianalytics.client.asking import Accuracy, Asking, Bounds, Number, rho_text
from kaianalytics.client.budget import BudgetTable
from kaianalytics.client.datasets import DatasetList
from kaianalytics.client.lookups import Lookup
from kaianalytics.client.planned import PlanTable
from kaianalytics.client.pointing import pointing_into
from kaianalytics.client.release import ReleaseTable
from kaianalytics.client.releases import ReleaseList
from kaianalytics.client.shown import isolation_sentence
from kaianalytics.client.transport import Door, HandedSockets
from kaianalytics.errors import Fault, PolicyRefused, Refused
from kaianalytics.protocol import (
    API,
    Budget,
    Dataset,
    RecordedRelease,
    SessionGrant,
    StatisticsAnswer,
    StatisticsPlan,
)

T = TypeVar("T")

TOKEN_FD = "KAI_TOKEN_FD"  # the pipe that holds the session's grant
HANDOVER_FD = "KAI_HANDOVER_FD"  # the socket over which gateway sockets are asked for


@dataclass(frozen=True)
class Answer:
    """What the last answer rests on: its question, its snapshot, its isolation level, and how many rows it has."""

    sql: str
    snapshot: str
    isolation: str
    rows: int


class Connection:
    """One kernel's session with the gateway, for one user and one purpose."""

    def __init__(self, grant: SessionGrant, door: Door) -> None:
        self._grant = grant
        self._door = door
        self._last: Answer | None = None

    @property
    def user(self) -> str:
        """Whose session this is."""
        return self._grant.user

    @property
    def purpose(self) -> str:
        """The purpose that every question of this kernel is asked for."""
        return self._grant.purpose

    @property
    def snapshot(self) -> str:
        """The snapshot of the last answer; before the first, the one that the session was opened on."""
        return self._last.snapshot if self._last else self._grant.snapshot

    @property
    def isolation(self) -> str:
        """The isolation level of the last answer; before the first, the one that the session was opened under."""
        return self._last.isolation if self._last else self._grant.isolation

    @property
    def last(self) -> Answer | None:
        """What the last answer rests on; None before the first."""
        return self._last

    def sql(self, query: str) -> pl.DataFrame:
        """The rows that one SELECT over the purpose's row-level views gives."""
        with pointing_into(query):
            answer = self._door.request_rows(f"{API}/sql", {"sql": query})
        try:
            frame = pl.read_ipc_stream(BytesIO(answer.arrow))
        except (pl.exceptions.PolarsError, OSError, ValueError):
            raise Fault(
                "BAD_ANSWER", "The gateway's answer is not a table.", hint="ask again, or tell the custodian"
            ) from None
        self._last = Answer(query, answer.snapshot, answer.isolation, frame.height)
        return frame

    def stats(
        self,
        query: str,
        *,
        rho: Number | None = None,
        epsilon: Number | None = None,
        accuracy: Accuracy | None = None,
        size: Number | None = None,
        bounds: Bounds | None = None,
        tables: Mapping[str, Lookup] | None = None,
    ) -> ReleaseTable:
        """The differentially private release that answers one statistics question, at exactly one price.

        `rho` is zCDP; `epsilon` is converted at the contract's δ; `accuracy` is the half-width wanted at 95%: a number,
        "5%" of a stated `size`, or one of them for each figure's name. `bounds` are tighter than the contract's, or
        "private" (found from the data, at a part of the price). `tables` are small public tables of your own to join.
        The same question on the same snapshot is answered from the record, free of charge.
        """
        asking = Asking(rho, epsilon, accuracy, size, bounds, tables)
        with pointing_into(query):
            data = self._door.request_json("POST", f"{API}/statistics", asking.request(query))
        answer = _read(StatisticsAnswer.from_json, data)
        release = answer.release
        self._last = Answer(query, release.snapshot, release.isolation, len(release.rows))
        return ReleaseTable(release, answer.charged, answer.remaining, answer.lost)

    def cost(
        self,
        query: str,
        *,
        accuracy: Accuracy,
        size: Number | None = None,
        bounds: Bounds | None = None,
        tables: Mapping[str, Lookup] | None = None,
    ) -> PlanTable:
        """What the question would cost at that accuracy; no data is read, and nothing is charged."""
        return self._plan(query, Asking(accuracy=accuracy, size=size, bounds=bounds, tables=tables))

    def accuracy(
        self,
        query: str,
        *,
        rho: Number | None = None,
        epsilon: Number | None = None,
        size: Number | None = None,
        bounds: Bounds | None = None,
        tables: Mapping[str, Lookup] | None = None,
    ) -> PlanTable:
        """How exact the question's answer would be at that price; no data is read, and nothing is charged.

        `size` is the number of rows that a mean or a quantile is expected to rest on.
        """
        return self._plan(query, Asking(rho=rho, epsilon=epsilon, size=size, bounds=bounds, tables=tables))

    def releases(self, view: str = "", contains: str = "", *, purpose: str = "") -> ReleaseList:
        """Earlier recorded answers of this purpose, newest first: of one view, or with a text in their question.

        Another `purpose` may be named where the register of purposes lets this one be shown its answers.
        """
        asked = {name: text for name, text in (("view", view), ("contains", contains), ("purpose", purpose)) if text}
        path = f"{API}/releases" + (f"?{urlencode(asked)}" if asked else "")
        recorded = _read(_recorded, self._door.request_json("GET", path))
        return ReleaseList(tuple(ReleaseTable(one.release, charged=False, recorded=one.at) for one in recorded))

    def datasets(self) -> DatasetList:
        """The views that this purpose can ask, with their columns, how they may be asked, and how fresh they are."""
        data = self._door.request_json("GET", f"{API}/datasets")
        return DatasetList(_read(lambda answer: tuple(_dataset(entry) for entry in answer["datasets"]), data))

    def budget(self, *, rho: Number | None = None, population: str = "") -> BudgetTable:
        """What is left of every allowance that this purpose's statistics are charged to, and who gives more.

        How many more questions that is, is counted at `rho`, or at the price of the last question. Where a purpose has
        views about several populations, each has an account of its own: name one, or the first is shown.
        """
        asked = {"rho": "" if rho is None else rho_text(rho), "population": population}
        path = f"{API}/budget?{urlencode({name: text for name, text in asked.items() if text})}".rstrip("?")
        return BudgetTable(_read(Budget.from_json, self._door.request_json("GET", path)))

    def _plan(self, query: str, asking: Asking) -> PlanTable:
        with pointing_into(query):
            data = self._door.request_json("POST", f"{API}/statistics/plan", asking.request(query))
        return PlanTable(_read(StatisticsPlan.from_json, data))

    def __repr__(self) -> str:
        return (
            f"kaianalytics for {self.purpose}, as {self.user}\n"
            "Ask: kai.datasets() · kai.sql(query) · kai.stats(query, rho=…) · kai.budget()\n"
            "Before: kai.cost(query, accuracy=…) · kai.accuracy(query, rho=…)   Again, free: kai.releases()\n"
            f"Snapshot: {self.snapshot}\n{isolation_sentence(self.isolation)}"
        )


_connection: Connection | None = None  # law 2; the token can be read only once


def connect(purpose: str = "") -> Connection:
    """This kernel's one connection; see `kaianalytics.connect`."""
    global _connection
    if _connection is None:
        _connection = open_connection(os.environ)
        _load_magic()
    if purpose and purpose != _connection.purpose:
        raise PolicyRefused(
            "PURPOSE_MISMATCH",
            f"This kernel works for `{_connection.purpose}`, and the notebook asks for `{purpose}`.",
            rule="a kernel serves the one purpose it was started for",
            hint=f"choose the launcher card of `{purpose}`, or Kernel → Change Kernel → the card's name",
        )
    return _connection


def _load_magic() -> None:
    """Make `%%kai` and its completion known where this is IPython; it is imported there already, and nowhere else."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and (shell := ipython.get_ipython()) is not None:
        shell.extension_manager.load_extension("kaianalytics")


def open_connection(environ: MutableMapping[str, str]) -> Connection:
    """The connection that the inherited descriptors named in `environ` give; takes their numbers out of it."""
    token_fd, handover_fd = environ.pop(TOKEN_FD, ""), environ.pop(HANDOVER_FD, "")
    try:
        grant = _read_grant(int(token_fd))
        handover = socket.socket(fileno=int(handover_fd))
        handover.set_inheritable(False)
    except (ValueError, OSError, TypeError):
        raise _no_sandbox_kernel() from None
    # no timeout here: deadlines are the gateway's, and an interrupt ends a wait
    return Connection(grant, Door(HandedSockets(handover), grant.token, timeout=None))


def _read_grant(descriptor: int) -> SessionGrant:
    with os.fdopen(descriptor, "rb") as pipe:  # leaving the block closes the only copy this kernel has
        return SessionGrant(**json.loads(pipe.read()))


def _no_sandbox_kernel() -> Refused:
    return Refused(
        "NO_SANDBOX_KERNEL",
        "This Python was not started for a purpose, so there is no data to connect to.",
        rule="data is used for a declared purpose only",
        hint="run `make lab` and choose a purpose's launcher card; in a kernel that has one, restart the kernel",
    )


def _dataset(entry: Mapping[str, Any]) -> Dataset:
    return Dataset(**{**entry, "access": tuple(entry["access"]), "columns": tuple(entry["columns"])})


def _recorded(data: Mapping[str, Any]) -> tuple[RecordedRelease, ...]:
    return tuple(RecordedRelease.from_json(entry) for entry in data["releases"])


def _read(reader: Callable[[Mapping[str, Any]], T], data: Mapping[str, Any]) -> T:
    """What `reader` makes of an answer; a fault if the answer does not have the protocol's shape."""
    try:
        return reader(data)
    except (KeyError, TypeError, ValueError):
        raise Fault(
            "BAD_ANSWER", "The gateway's answer is not one that this client knows.", hint="use one version of both"
        ) from None
