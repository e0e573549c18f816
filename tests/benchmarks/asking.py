"""A small question through the real socket, beside the same text in plain DuckDB on the same store file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import polars as pl
from children import kai
from measured import Action, Series, in_turns
from page import Table, duration, ratio

from kaianalytics.client.connection import Connection
from kaianalytics.client.transport import Door, GatewayClient
from kaianalytics.custody.home import Home
from kaianalytics.gateway.tokens import new_token_id
from kaianalytics.lab.handover import binding_of, connect_bound
from kaianalytics.policy.contract import Access
from kaianalytics.protocol import API, SessionGrant, SessionRequest
from kaianalytics.warehouse.published import current

PURPOSE = "campaign-analysis"
ROWS = "SELECT arm, COUNT(*) AS n, SUM(spend_yen) AS spend FROM campaign_contacts GROUP BY arm ORDER BY arm"
STATISTICS = "SELECT arm, COUNT(*) AS n FROM campaign_contacts WHERE campaign = 'autumn-coupon' GROUP BY arm"
LARGE = "SELECT campaign, arm, contacted_on, converted, spend_yen FROM campaign_contacts"
TIMES, LARGE_TIMES, WARM = 60, 10, 5
THREADS = 2  # as many as a worker has


@dataclass(frozen=True)
class Asker:
    """Who asks: an analyst's identity at one home's gateway, for one purpose."""

    home: Home
    identity: Path
    purpose: str = PURPOSE

    @property
    def socket(self) -> Path:
        """The gateway's socket."""
        return self.home.socket_path

    def open(self) -> Connection:
        """A session of its own, as a kernel has one."""
        client = GatewayClient(self.socket, self.identity.read_text(encoding="ascii").strip())
        asked = SessionRequest(self.purpose, new_token_id())
        grant = SessionGrant(**client.request_json("POST", f"{API}/sessions", asdict(asked)))
        return Connection(grant, Door(lambda: connect_bound(self.socket, binding_of(grant)), grant.token))

    def close(self, session: Connection) -> None:
        """End such a session, as the server of a kernel that has ended does."""
        session._door.request_json("DELETE", f"{API}/sessions")

    def store(self, access: Access) -> Path:
        """The store file that the purpose's workers open."""
        return current(self.home.stores).store_path(self.purpose, access)


def analyst(home: Home) -> Asker:
    """The sample's analyst at this home, with an identity token."""
    identity = home.root / "identities" / "aiko.token"
    if not identity.exists():
        kai(home.root, "identity", "issue", "aiko", "--out", str(identity))
    return Asker(home, identity)


def asking(asker: Asker) -> Table:
    """The table; the gateway must be running."""
    rows = [*_rows(asker.open(), asker.store("rows")), *_statistics(asker.open(), asker.store("statistics"))]
    return Table(
        "Asking",
        "Warm, in one session, over the gateway's Unix socket into Polars. Plain DuckDB runs the same text in process "
        f"with {THREADS} threads, on the very file that the worker has open, into Polars too. A new question differs "
        "in a constant, or for statistics in its price. A statistic bounds what each person adds, is charged, gets "
        "noise and is recorded; asked again, it is returned from the record.",
        ("question", "p50", "p95", "DuckDB p50", "DuckDB p95", "ratio of p50", "n"),
        rows,
    )


def _rows(kai_: Connection, store: Path) -> list[tuple[str, ...]]:
    with duckdb.connect(str(store), read_only=True, config={"threads": THREADS}) as plain:
        again = _beside(TIMES, lambda _: kai_.sql(ROWS), lambda _: _frame(plain, ROWS))
        new = _beside(TIMES, lambda turn: kai_.sql(_new(turn)), lambda turn: _frame(plain, _new(turn)))
        height = kai_.sql(LARGE).height
        large = _beside(LARGE_TIMES, lambda _: kai_.sql(LARGE), lambda _: _frame(plain, LARGE))
    return [
        _row("`kai.sql`, a small question, new each time", *new),
        _row("`kai.sql`, the same small question", *again),
        _row(f"`kai.sql`, {height:,} rows of 5 columns", *large),
    ]


def _statistics(kai_: Connection, store: Path) -> list[tuple[str, ...]]:
    with duckdb.connect(str(store), read_only=True, config={"threads": THREADS}) as plain:

        def exact(_: int) -> object:
            return _frame(plain, STATISTICS)

        new = _beside(TIMES, lambda turn: kai_.stats(STATISTICS, rho=f"0.002{100 + turn}"), exact)
        again = _beside(TIMES, lambda _: kai_.stats(STATISTICS, rho="0.002"), exact)
    return [_row("`kai.stats`, new each time", *new), _row("`kai.stats`, the same question", *again)]


def _frame(plain: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    return pl.DataFrame(plain.sql(sql).to_arrow_table())


def _new(turn: int) -> str:
    return ROWS.replace(" GROUP BY", f" WHERE spend_yen >= {turn} GROUP BY")


def _beside(times: int, ours: Action, plain: Action) -> tuple[Series, Series]:
    """Both in turns; what the first turns warm up is not counted."""
    taken = in_turns(WARM + times, {"ours": ours, "plain": plain})
    return Series(taken["ours"].seconds[WARM:]), Series(taken["plain"].seconds[WARM:])


def _row(what: str, ours: Series, plain: Series) -> tuple[str, ...]:
    spans = (ours.median, ours.p95, plain.median, plain.p95)
    return (what, *map(duration, spans), ratio(ours, plain), str(ours.times))
