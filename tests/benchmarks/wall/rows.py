"""Row-level questions beside plain DuckDB: aggregates of TPC-H, and ten million rows on their way to a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import polars as pl
from asking import THREADS, Asker
from measured import Series, in_turns
from page import Table, duration, ratio

from kaianalytics.gateway.workers.process import WorkerLimits
from wall.bars import RATIO_OF_AGGREGATES, RATIO_OF_MANY_ROWS, Held, Part, of_ratio

TIMES, TIMES_OF_MANY, WARM = 15, 5, 2
MANY = 10_000_000
SMALL = "SELECT COUNT(*) AS n FROM customer WHERE c_mktsegment = 'BUILDING'"
QUERIES: Mapping[str, str] = {
    "Q1": """SELECT l_returnflag, l_linestatus, SUM(l_quantity) AS sum_qty, SUM(l_extendedprice) AS sum_base_price,
        SUM(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
        SUM(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, AVG(l_quantity) AS avg_qty,
        AVG(l_extendedprice) AS avg_price, AVG(l_discount) AS avg_disc, COUNT(*) AS count_order
        FROM lineitem WHERE l_shipdate <= DATE '1998-09-02' GROUP BY l_returnflag, l_linestatus
        ORDER BY l_returnflag, l_linestatus""",
    "Q3": """SELECT l_orderkey, SUM(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority
        FROM customer, orders, lineitem
        WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey
        AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15'
        GROUP BY l_orderkey, o_orderdate, o_shippriority ORDER BY revenue DESC, o_orderdate LIMIT 10""",
    "Q6": """SELECT SUM(l_extendedprice * l_discount) AS revenue FROM lineitem
        WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
        AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24""",
}
_FIVE = "l_shipdate, l_returnflag, l_linestatus, l_quantity, CAST(l_extendedprice AS DOUBLE) AS price"
_LARGE = f"SELECT {_FIVE} FROM lineitem UNION ALL SELECT {_FIVE} FROM lineitem LIMIT {MANY}"


def aggregates(asker: Asker) -> Part:
    """Q1, Q3 and Q6; the gateway must be running."""
    kai = asker.open()
    with _plain(asker) as plain:
        taken = {
            name: _warm(TIMES, lambda sql=sql: kai.sql(sql), lambda sql=sql: _frame(plain, sql))
            for name, sql in {"a small question": SMALL, **QUERIES}.items()
        }
    small, plain_small = taken["a small question"]
    price = small.median - plain_small.median
    held = [_aggregate(name, *taken[name], price) for name in QUERIES]
    rows = [
        (name, duration(ours.median), duration(exact.median), ratio(ours, exact), duration(ours.median - exact.median))
        for name, (ours, exact) in taken.items()
    ]
    words = (
        f"TPC-H at scale 1 in a `rows` store that the builder wrote, no stop pending; medians of {TIMES}, in turns. "
        f"Plain DuckDB has the worker's memory, {THREADS} threads, and the very file that the worker has open; both "
        "end in Polars. What a small question takes longer is what every question does: HTTP, the guard, two records."
    )
    return Part(held, [Table("Aggregates of rows", words, ("question", "ours", "DuckDB", "ratio", "longer by"), rows)])


def many_rows(asker: Asker) -> Part:
    """Ten million rows of five columns; the gateway must be running."""
    kai = asker.open()
    sizes: list[int] = []
    with _plain(asker) as plain:
        ours, exact = _warm(TIMES_OF_MANY, lambda: sizes.append(kai.sql(_LARGE).height), lambda: _frame(plain, _LARGE))
        arrow = plain.sql(_LARGE).to_arrow_table().nbytes
    if set(sizes) != {MANY}:
        raise RuntimeError(f"an answer had other than {MANY:,} rows")
    what = f"{MANY / 1e6:.0f}M × 5 rows, digest included"
    held = of_ratio(what, ours, exact, RATIO_OF_MANY_ROWS, "copies on the way: see the table")
    words = (
        f"{arrow / 1e6:.0f} MB of Arrow: computed by the worker, sent to the gateway, hashed, recorded, and only then "
        f"sent to the notebook's process and read into Polars; medians of {TIMES_OF_MANY}, in turns."
    )
    row = (
        what,
        duration(ours.median),
        duration(exact.median),
        ratio(ours, exact),
        f"{arrow / ours.median / 1e6:.0f} MB",
    )
    return Part([held], [Table("Many rows", words, ("answer", "ours", "in process", "ratio", "a second"), [row])])


def _aggregate(name: str, ours: Series, exact: Series, price: float) -> Held:
    rest = ours.median - exact.median - price
    why = (
        f"of the {duration(ours.median - exact.median)} more, any question costs {duration(price)}, "
        f"which is {price / exact.median:.0%} of so short a query; the query itself, {duration(max(rest, 0.0))}"
    )
    return of_ratio(f"TPC-H {name} on rows", ours, exact, RATIO_OF_AGGREGATES, why)


def _warm(times: int, ours: object, plain: object) -> tuple[Series, Series]:
    actions = {"ours": lambda _: ours(), "plain": lambda _: plain()}  # type: ignore[operator]
    taken = in_turns(WARM + times, actions)
    return Series(taken["ours"].seconds[WARM:]), Series(taken["plain"].seconds[WARM:])


@contextmanager
def _plain(asker: Asker) -> Iterator[duckdb.DuckDBPyConnection]:
    config = {"threads": THREADS, "memory_limit": f"{WorkerLimits().memory_mib}MiB"}
    with duckdb.connect(str(asker.store("rows")), read_only=True, config=config) as connection:
        yield connection


def _frame(plain: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    return pl.DataFrame(plain.sql(sql).to_arrow_table())
