"""Small tables of the analyst's own, which a question may join: made ready to send from whatever frame they are in.

Laws: such a table counts as public, as the text of the question does; it is small, and of texts, numbers and truth
values. Dates cross as ISO text. What the gateway would refuse is refused here by the same codes, before it is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from kaianalytics.errors import Refused

TABLES_MAX, ROWS_MAX, COLUMNS_MAX, BYTES_MAX = 10, 1_000, 20, 64 * 1024
Lookup = Any  # a Polars or pandas frame, any other that speaks Arrow, or a dict of lists
Columns = dict[str, list[Any]]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_AS_TEXT = (pl.Date, pl.Datetime, pl.Categorical, pl.Enum)
_PLAIN = (pl.String, pl.Boolean, pl.Null)


def lookups(tables: Mapping[str, Lookup]) -> dict[str, Columns]:
    """The tables as a request carries them, or a refusal that names the table and what to do."""
    if not isinstance(tables, Mapping):
        raise Refused("TABLE_VALUES", "tables= is a dict of tables.", hint='tables={"segments": frame}')
    sent = {name: _columns(name, _frame(name, table)) for name, table in tables.items()}
    if len(sent) > TABLES_MAX or len(json.dumps(sent, ensure_ascii=False).encode()) > BYTES_MAX:
        raise _too_large(f"The tables are {len(sent):,}, or larger than {BYTES_MAX // 1024} KiB together.")
    return sent


def _frame(name: str, table: Lookup) -> pl.DataFrame:
    if not _NAME.fullmatch(str(name)):
        raise Refused(
            "TABLE_NAME",
            "A table of one's own has a plain name.",
            rule="a table of one's own is small, plain and public",
            hint="lower-case letters, digits and underscores, and no view's name",
        )
    try:
        if isinstance(table, pl.DataFrame):
            return table
        if isinstance(table, Mapping):
            return pl.DataFrame({str(column): list(values) for column, values in table.items()})
        return pl.DataFrame(table.reset_index(drop=True) if hasattr(table, "reset_index") else table)
    except Exception:  # whatever a frame of another library raises: its words may quote the table at length
        raise Refused(
            "TABLE_VALUES",
            f"`{name}` can't be read as a table.",
            rule="each column of a table holds values of one type, as many as the others",
            hint="give a Polars or pandas frame, or a dict of lists of one length",
        ) from None


def _columns(name: str, frame: pl.DataFrame) -> Columns:
    if frame.height > ROWS_MAX or frame.width > COLUMNS_MAX:
        raise _too_large(f"`{name}` has {frame.height:,} rows and {frame.width:,} columns.")
    if frame.height == 0 or frame.width == 0:
        raise Refused("TABLE_VALUES", f"`{name}` is empty.", hint="fill it, or leave it out")
    return {column: _values(name, frame[column]) for column in frame.columns}


def _values(table: str, series: pl.Series) -> list[Any]:
    if not _NAME.fullmatch(series.name):
        raise Refused(
            "TABLE_NAME",
            f"A column of `{table}` can't be called {series.name[:60]!r}.",
            rule="a table of one's own is small, plain and public",
            hint="lower-case letters, digits and underscores: frame.rename({…})",
        )
    if series.dtype in _AS_TEXT or isinstance(series.dtype, _AS_TEXT):
        return [None if value is None else str(value).replace(" ", "T") for value in series.to_list()]
    if series.dtype.is_numeric():
        return _numbers(table, series)
    if series.dtype in _PLAIN:
        return series.to_list()
    raise Refused(
        "TABLE_VALUES",
        f"`{series.name}` of `{table}` is of type {series.dtype}.",
        rule="a table of one's own holds texts, numbers and truth values",
        hint="cast it to one of these, or leave it out",
    )


def _numbers(table: str, series: pl.Series) -> list[Any]:
    if series.dtype.is_integer():
        return series.to_list()
    numbers = series.cast(pl.Float64).fill_nan(None)  # as pandas writes what is missing
    if numbers.is_infinite().any():
        raise Refused(
            "TABLE_VALUES", f"`{series.name}` of `{table}` holds infinity.", hint="replace it, or leave it out"
        )
    return numbers.to_list()


def _too_large(found: str) -> Refused:
    return Refused(
        "TABLE_TOO_LARGE",
        f"{found} A question brings at most {TABLES_MAX} tables of {ROWS_MAX:,} rows and {COLUMNS_MAX} columns.",
        rule="a table of one's own is small, plain and public",
        hint="keep the rows and columns that the question needs, or have a public product made of it",
    )
