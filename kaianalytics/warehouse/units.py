"""The keys of a population's units, as the source has them: for whoever must name those people once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
from sqlglot import exp

from kaianalytics.policy.contract import DataContract
from kaianalytics.warehouse.expressions import cast, is_given, named, table, text
from kaianalytics.warehouse.sources import Sources

_BATCH = 100_000


def unit_keys(contract: DataContract, key: str, sources: Path) -> Iterator[list[str]]:
    """The distinct keys that the product's source lists, a batch at a time; SourceFault where it can't be read."""
    with duckdb.connect(":memory:") as con:
        view = Sources(con, sources).open(contract).view
        column = named(key)
        select = exp.select(cast(column, "VARCHAR")).distinct().from_(table(view)).where(is_given(column))
        for batch in con.sql(text(select)).to_arrow_reader(_BATCH):
            yield batch.column(0).to_pylist()
