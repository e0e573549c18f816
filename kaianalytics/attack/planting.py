"""Sources written as their contracts say: Parquet, CSV, or a table of a DuckDB file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kaianalytics.policy.contract import DataContract
from kaianalytics.privacy.unit import ColumnType

_ARROW: Mapping[ColumnType, pa.DataType] = {
    "string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}  # fmt: skip


def write_source(folder: Path, contract: DataContract, rows: Sequence[Mapping[str, Any]]) -> None:
    """One product's rows in its contract's format, beneath `folder`."""
    place, _, inner = contract.source.partition("#")
    file = folder / place
    file.parent.mkdir(parents=True, exist_ok=True)
    if contract.format == "csv":
        _write_csv(file, contract, rows)
        return
    columns = {
        c.name: pa.array([_value(row[c.name], c.type) for row in rows], _ARROW[c.type]) for c in contract.columns
    }
    if contract.format == "parquet":
        pq.write_table(pa.table(columns), file)
        return
    with duckdb.connect(str(file)) as con:
        con.register("given", pa.table(columns))
        con.execute(f'CREATE TABLE "{inner}" AS SELECT * FROM given')


def _value(value: Any, kind: ColumnType) -> Any:
    make = {"string": str, "integer": int, "number": float}.get(kind)
    return value if value is None or make is None else make(value)


def _write_csv(file: Path, contract: DataContract, rows: Sequence[Mapping[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [column.name for column in contract.columns])
        writer.writeheader()
        writer.writerows(rows)


def read_source(folder: Path, contract: DataContract, most: int) -> list[dict[str, Any]]:
    """The first rows of an owner's own source, its contract's columns alone; the source is only read."""
    place, _, inner = contract.source.partition("#")
    file = str(folder / place).replace("'", "''")
    with duckdb.connect(":memory:") as con:
        if contract.format == "duckdb":
            con.execute(f"ATTACH '{file}' AS origin (READ_ONLY)")
            relation = f'origin.main."{inner}"'
        else:
            relation = f"read_{contract.format}('{file}')"
        names = ", ".join(f'"{column.name}"' for column in contract.columns)
        table: pa.Table = con.execute(f"SELECT {names} FROM {relation} LIMIT {most}").to_arrow_table()
    return [dict(row) for row in table.to_pylist()]
