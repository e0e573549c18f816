"""Pseudonyms: one purpose's names for people and records, which no other purpose and no source knows.

Rules:
    1. A pseudonym is HMAC-SHA-256 (RFC 2104) under the purpose's key of domain, a zero byte, and the value; its first
       128 bits, in 32 hex digits.
    2. The same value of the same domain is the same pseudonym in every table and both stores of one purpose, and
       another in another purpose: stores of two purposes can't be joined.
    3. It is computed here, once per distinct value, and joined: a key never stands in SQL, a plan or a manifest.
    4. A `statistics` store, which nobody looks at, holds a pseudonym as a number: its first 64 bits. That two values
       share one is unlikely, and `demand_distinct` sees to it.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
from sqlglot import exp

from kaianalytics.errors import BuildFault
from kaianalytics.warehouse.expressions import cast, named, table, text

PSEUDONYM = re.compile(r"[0-9a-f]{32}")
RAW, NAME = "raw", "pseudonym"  # the columns of a table of pseudonyms
NUMBER_TYPE = "UBIGINT"
_HEX_DIGITS, _NUMBER_DIGITS = 32, 16
_BATCH = 100_000
_FEWEST_KEY_BYTES = 32


@dataclass(frozen=True)
class Pseudonymiser:
    """The pseudonyms of one domain (such as `customer`) for one purpose, whose secret key is held and never shown."""

    key: bytes = field(repr=False)
    domain: str

    def __post_init__(self) -> None:
        if len(self.key) < _FEWEST_KEY_BYTES:
            raise ValueError("a pseudonym key has at least 32 bytes")
        if not self.domain or "\0" in self.domain:
            raise ValueError("a pseudonym domain is a word without a zero byte")

    def name(self, value: str) -> str:
        """The pseudonym of one value: 32 hex digits."""
        return self.names([value])[0]

    def names(self, values: list[str]) -> list[str]:
        """The pseudonyms of many values, in their order."""
        begun = hmac.new(self.key, self.domain.encode() + b"\0", "sha256")
        return [_finished(begun, value) for value in values]


def _finished(begun: hmac.HMAC, value: str) -> str:
    one = begun.copy()
    one.update(value.encode())
    return one.hexdigest()[:_HEX_DIGITS]


def write_pseudonyms(
    con: duckdb.DuckDBPyConnection,
    values: exp.Select,
    pseudonymiser: Pseudonymiser,
    name: str,
    batch_rows: int = _BATCH,
) -> None:
    """Write the table `name` (raw, pseudonym) into the scratch database: one row for each of the distinct `values`.

    `values` selects one column of text without NULLs. Memory stays at one batch, whatever their number.
    """
    target = text(table(name))
    con.execute(f"CREATE TABLE {target} ({RAW} VARCHAR, {NAME} VARCHAR)")
    # Reading and writing need a cursor each; both are of the same in-memory database.
    with con.cursor() as writer:
        for batch in con.sql(text(values)).to_arrow_reader(batch_rows):
            raw = batch.column(0)
            names = pa.array(pseudonymiser.names(raw.to_pylist()), pa.string())
            writer.register("batch", pa.table({RAW: raw, NAME: names}))
            writer.execute(f"INSERT INTO {target} SELECT {RAW}, {NAME} FROM batch")
            writer.unregister("batch")


def number_of(pseudonym: exp.Expression) -> exp.Expression:
    """The number that stands for a pseudonym."""
    digits = exp.Left(this=pseudonym, expression=exp.Literal.number(_NUMBER_DIGITS))
    return cast(exp.DPipe(this=exp.Literal.string("0x"), expression=digits), NUMBER_TYPE)


def demand_distinct(con: duckdb.DuckDBPyConnection, name: str, domain: str) -> None:
    """BuildFault PSEUDONYMS_MEET if two of the pseudonyms in the table `name` have the same number."""
    numbers = exp.Count(this=exp.Distinct(expressions=[number_of(named(NAME))]))
    counted = exp.select(exp.Count(this=exp.Star()), numbers).from_(table(name))
    [(pseudonyms, distinct)] = con.execute(text(counted)).fetchall()
    if pseudonyms != distinct:
        raise BuildFault(
            "PSEUDONYMS_MEET",
            f"Two keys of the domain `{domain}` have the same number.",
            rule="a statistics store tells units apart by the first 64 bits of their pseudonyms",
            hint="change the pseudonym key: another one makes other numbers",
        )
