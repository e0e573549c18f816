"""What is tried, on whom, and what came of it.

Laws:
1. An attack goes through where a canary comes back that it was after, or its effect is there. Where none of the layers
   that hold against it is there, it goes through; where one of them is, it does not.
2. Whatever else comes back is searched for every canary: one that may not be seen is told, whichever attack brought it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from kaianalytics.attack.adapting import adapted
from kaianalytics.attack.canaries import Place
from kaianalytics.attack.layers import stopping
from kaianalytics.attack.running import Gateway, Line, Reply
from kaianalytics.attack.world import ATTACKER, VICTIM, World
from kaianalytics.policy.contract import Column
from kaianalytics.policy.views import TablePlan, store_plan


@dataclass(frozen=True)
class Trial:
    """One try: what was sent, what came of it in a word, and what was found that may not be seen."""

    what: str
    outcome: str
    stopped_by: str = ""
    found: frozenset[Place] = frozenset()
    effect: str = ""
    seen: frozenset[Place] = frozenset()  # what may be seen, and was


@dataclass(frozen=True)
class Attack:
    """One attack: its tries, what it is after, and the layers of which each stops it alone.

    `holds` is empty where there is nothing to be taken away.
    """

    name: str
    door: str
    holds: tuple[str, ...]
    tries: Callable[[Target], Iterator[Trial]]
    after: Callable[[Place, Target], bool] = lambda place, target: True

    def went_through(self, trial: Trial, target: Target) -> bool:
        """Whether this try had what the attack was after."""
        return bool(trial.effect) or any(self.after(place, target) for place in trial.found)


@dataclass(frozen=True)
class Target:
    """One purpose of a copied world, its gateway running, and an attacker who has a session for it."""

    gateway: Gateway
    purpose: str
    every: int = 1  # of the shipped statements, every so many

    @property
    def world(self) -> World:
        """The copy."""
        return self.gateway.world

    @cached_property
    def line(self) -> Line:
        """The attacker's kernel."""
        return self.gateway.session(ATTACKER, self.purpose)

    @cached_property
    def victims_line(self) -> Line:
        """Another analyst's kernel for the same purpose."""
        return self.gateway.session(VICTIM, self.purpose, "victims")

    @cached_property
    def rows(self) -> Mapping[str, TablePlan]:
        """The views that the purpose has as rows."""
        return store_plan(self.world.contracts, self.purpose, "rows").tables

    @cached_property
    def statistics(self) -> Mapping[str, TablePlan]:
        """The views that the purpose may ask statistics of."""
        tables = store_plan(self.world.contracts, self.purpose, "statistics").tables
        return {name: table for name, table in tables.items() if table.statistics is not None}

    def adapted(self, statements: Sequence[str]) -> list[str]:
        """Shipped statements on the purpose's names."""
        return adapted(statements, self.rows or self.statistics, self.world.contracts.products)

    def absent(self, product: str) -> list[Column]:
        """The columns of a product that the purpose does not see."""
        columns = self.world.contracts.products[product].columns
        return [c for c in columns if c.rules.get(self.purpose) is None or c.rules[self.purpose].action == "drop"]

    def lacks(self, place: Place) -> bool:
        """Whether it is a column that the purpose does not see."""
        return bool(place.product) and place.column in {column.name for column in self.absent(place.product)}

    def ask_rows(self, sql: str, clean: str, line: Line | None = None) -> Trial:
        """A question of rows; `clean` is the layer that an answer without a canary is owed to."""
        return self.judged(sql, (line or self.line).rows(sql), sql, clean)

    def ask_statistics(self, sql: str, clean: str, rho: str = "0.0001") -> Trial:
        """A question of statistics."""
        return self.judged(sql, self.line.statistics(sql, rho), sql, clean, statistics=True)

    def judged(self, what: str, reply: Reply, said: str = "", clean: str = "", *, statistics: bool = False) -> Trial:
        """What came of a request that `said` something."""
        places = self.world.canaries.found(reply.raw, said) | self._decoded(reply, said)
        rows = reply.answered and not statistics and "json" not in reply.head.lower()
        seen = frozenset(place for place in places if rows and self.world.may_be_seen(place, self.purpose))
        outcome = "answered" if reply.answered else f"refused: {reply.code}" if reply.code else f"ended: {reply.status}"
        layer = clean if reply.answered else stopping(reply.status, reply.code, statistics)
        return Trial(what, outcome, layer, places - seen, seen=seen)

    def _decoded(self, reply: Reply, said: str) -> frozenset[Place]:
        try:
            table = pa.ipc.open_stream(io.BytesIO(reply.body)).read_all()
        except (pa.ArrowException, ValueError, OSError):
            return frozenset()
        values = (str(value) for column in table.columns for value in column.to_pylist() if value is not None)
        return self.world.canaries.found("\n".join((*table.column_names, *values)), said)


def rows_in(reply: Reply) -> int:
    """How many rows came."""
    try:
        return int(pa.ipc.open_stream(io.BytesIO(reply.body)).read_all().num_rows)
    except (pa.ArrowException, ValueError, OSError):
        return 0


def effect(trial: Trial, what: str, happened: bool) -> Trial:
    """The trial with an effect, where it happened."""
    return replace(trial, effect=what) if happened else trial
