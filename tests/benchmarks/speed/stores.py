"""Stores to measure on, written by the builder's own SQL: the same columns, numbers, ranks, bounds, order and tables.

Only the pseudonyms are made otherwise: MD5 by the engine, for keyed ones are made in Python one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import duckdb

from kaianalytics.gateway.workers.worker import open_store
from kaianalytics.policy.secure_views import views_sql
from kaianalytics.policy.views import StorePlan, TablePlan
from kaianalytics.privacy.bounding.pre_aggregates import pre_aggregate_sql
from kaianalytics.warehouse.expressions import table, text
from kaianalytics.warehouse.numbering import numbered_table
from kaianalytics.warehouse.tables import Recipe

THREADS = 2
MEMORY = "3GiB"


def write_store(file: Path, plan: StorePlan, sources: Mapping[str, str]) -> None:
    """One statistics store; `sources` are what stands after FROM for each product."""
    with duckdb.connect(str(file), config={"threads": THREADS, "memory_limit": MEMORY}) as con:
        for product, planned in plan.tables.items():
            con.execute(f"CREATE TEMP VIEW named AS {_named(planned)} FROM {sources[product]}")
            select = text(numbered_table(_recipe(planned), table("named"))) if planned.numbered else "FROM named"
            con.execute(f"CREATE TABLE {product} AS {select}")
            con.execute("DROP VIEW named")
            for pre in planned.statistics.pre_aggregates if planned.statistics else ():
                con.execute(f"CREATE TABLE {pre.table} AS {pre_aggregate_sql(planned.statistics, pre)}")


def worker_on(file: Path, plan: StorePlan) -> duckdb.DuckDBPyConnection:
    """The store as a worker has it open: secure views over the read-only file, locked."""
    start = {"views": views_sql(plan), "stops": [], "memory_limit": MEMORY, "threads": THREADS}
    return open_store({**start, "store": str(file)})


def plain(file: Path, tables: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    """The original tables in a file of their own, as anyone would have them; `tables` are what stands after FROM."""
    con = duckdb.connect(str(file), config={"threads": THREADS, "memory_limit": MEMORY})
    for name, source in tables.items():
        con.execute(f"CREATE TABLE {name} AS SELECT * FROM {source}")
    con.execute("CHECKPOINT")
    return con


def _named(planned: TablePlan) -> str:
    columns = (
        f"md5('{column.key}|' || {column.name}) AS {column.name}" if column.rule.action == "pseudonym" else column.name
        for column in planned.columns
    )
    return f"SELECT {', '.join(columns)}"


def _recipe(planned: TablePlan) -> Recipe:
    return Recipe(planned, "", date.min, None, None, {})
