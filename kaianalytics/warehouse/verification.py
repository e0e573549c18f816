"""The check between building and publishing: a finished store is opened anew and held against its plan.

Numbered as in `verify`; each finding is a store, a product and a column, never a value (law 5):
    1. The file is its owner's alone (0600).
    2. Its tables, columns, their order and their types are the plan's, and it holds nothing else.
    3. Each table has as many rows as were counted for it.
    4. A key column holds pseudonyms alone, and only those that its rows may name; a unit is always named. No column is
       missing a value that the plan promises.
    5. No text looks like a mail address, a telephone number or a postal code, in whatever width its digits are written.
    6. No text is the value of a direct identifier in the sources, and none contains a raw key of them.
    7. A declared primary key stands in no two rows of a statistics store, where units and their rows are numbered as
       `numbering` says: see `numbering_checks`. Its pre-aggregates hold what the bounds leave of each unit: see
       `pre_aggregate_checks`.
Texts that the contract declares (an enum, a band's label, the mask) are public and are not searched: that is also the
way out where an innocent text meets rule 5 or 6.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlglot import exp

from kaianalytics.errors import BuildFault
from kaianalytics.policy.secure_views import columns_of
from kaianalytics.policy.statistics import KAI_RANK, KAI_UNIT, KAI_WINDOW
from kaianalytics.policy.views import ColumnPlan, StorePlan, TablePlan
from kaianalytics.privacy.unit import PreAggregate, StatisticsView
from kaianalytics.warehouse.expressions import among, is_given, is_null, literal, named, text
from kaianalytics.warehouse.numbering_checks import BUILT, built_table, number_findings
from kaianalytics.warehouse.pre_aggregate_checks import pre_aggregate_findings
from kaianalytics.warehouse.pseudonyms import NAME, NUMBER_TYPE, number_of
from kaianalytics.warehouse.sources import logical_type

_BATCH = 20_000
_PSEUDONYM = "^[0-9a-f]{32}$"

_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−ーｰ", "-"))
_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]{2,}")
_TELEPHONE = re.compile(r"(?<![0-9A-Za-z])(?:\+[1-9]|0)[0-9()./ -]{7,18}[0-9](?![0-9A-Za-z])")
_POSTAL_CODE = re.compile(r"(?<![0-9-])[0-9]{3}-[0-9]{4}(?![0-9-])")
_WORD = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]+")
# Shorter ids are often small numbers, which equal quantities, years and codes by chance.
_SHORTEST_RAW_KEY = 6


@dataclass(frozen=True)
class TableExpectation:
    """What one table must be: its plan, its rows, and for each key column the pseudonyms it may hold."""

    plan: TablePlan
    rows: int
    permitted: Mapping[str, exp.Select]  # column → one column `pseudonym`
    declared: Mapping[str, frozenset[str]]  # column → texts that the contract declares
    units: exp.Select | None = None  # `numbering.count_units` of the sources, for a table whose rows are numbered


@dataclass(frozen=True)
class StoreExpectation:
    """What one store must be; each of `identifiers` and `raw_keys` selects one column of texts from a source."""

    plan: StorePlan
    tables: Mapping[str, TableExpectation]
    identifiers: tuple[exp.Select, ...]
    raw_keys: tuple[exp.Select, ...]


def verify(con: duckdb.DuckDBPyConnection, file: Path, expected: StoreExpectation) -> None:
    """Nothing, if the store in `file` is as expected; BuildFault VERIFICATION with every finding otherwise.

    `con` is the build's scratch database, where the sources and the pseudonyms stand.
    """
    con.execute(f"ATTACH {text(literal(str(file)))} AS {BUILT} (READ_ONLY)")
    try:
        findings = list(_findings(con, file, expected))
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise  # our own SQL is wrong, which no store can cause: a defect, to be seen as it is
    except duckdb.Error:
        findings = ["the store can't be read"]
    finally:
        con.execute(f"DETACH {BUILT}")
    if findings:
        name = f"{expected.plan.purpose} · {expected.plan.access}"
        raise BuildFault(
            "VERIFICATION",
            f"The built store {name} is not as planned: {'; '.join(findings)}.",
            rule="a store is published only if it holds what its plan permits and nothing else",
            hint="mend the source or the contract named here; the stores published before are still served",
        )


def looks_like_contact(value: str) -> bool:
    """Whether a text holds something like a mail address, a telephone number or a Japanese postal code."""
    plain = unicodedata.normalize("NFKC", value).translate(_DASHES)
    return bool(_MAIL.search(plain) or _POSTAL_CODE.search(plain) or any(map(_dialled, _TELEPHONE.findall(plain))))


def _dialled(number: str) -> bool:
    return 9 <= sum(map(str.isdigit, number)) <= 15


def _findings(con: duckdb.DuckDBPyConnection, file: Path, expected: StoreExpectation) -> Iterator[str]:
    if stat.S_IMODE(file.stat().st_mode) != 0o600:  # 1
        yield "its file is open to other OS users"
    shape = list(_shape(con, expected.plan))  # 2
    yield from shape
    if shape:  # the steps below name planned tables and columns, which may not be there
        return
    yield from _pre_aggregates(con, expected.plan)  # 7
    for product, facts in expected.tables.items():
        if _number(con, exp.select(exp.Count(this=exp.Star())).from_(built_table(product))) != facts.rows:  # 3
            yield f"`{product}` has other rows than were counted for it"
        for column in facts.plan.columns:
            place = f"column `{column.name}` of `{product}`"
            yield from (f"{place} {found}" for found in _values(con, product, column, facts, expected))
        yield from (f"`{product}` {found}" for found in number_findings(con, product, facts.plan, facts.units))  # 7


def _pre_aggregates(con: duckdb.DuckDBPyConnection, plan: StorePlan) -> Iterator[str]:
    for view in (table.statistics for table in plan.tables.values() if table.statistics):
        for pre in view.pre_aggregates:
            yield from (f"`{pre.table}` {found}" for found in pre_aggregate_findings(con, view, pre))


def _shape(con: duckdb.DuckDBPyConnection, plan: StorePlan) -> Iterator[str]:
    wanted = {name: _planned(table) for name, table in plan.tables.items()}
    for view in (table.statistics for table in plan.tables.values() if table.statistics):
        wanted |= {pre.table: _pre_aggregated(view, pre) for pre in view.pre_aggregates}
    found: dict[str, list[tuple[str, str]]] = {}
    for schema, product, column, kind in con.execute(
        "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
        f"WHERE database_name = '{BUILT}' ORDER BY table_name, column_index"
    ).fetchall():
        name = product if schema == "main" else f"{schema}.{product}"
        found.setdefault(name, []).append((column, logical_type(kind) or kind))
    for product in sorted(wanted.keys() | found.keys()):
        if found.get(product) != wanted.get(product):
            yield f"`{product}` has other columns than its plan"
    for kind in ("views", "indexes", "sequences"):
        if con.execute(f"SELECT 1 FROM duckdb_{kind}() WHERE database_name = '{BUILT}' LIMIT 1").fetchall():
            yield f"it holds {kind}"


def _planned(plan: TablePlan) -> list[tuple[str, str]]:
    """The columns of a table in its order, each with its type: a statistics store holds keys as numbers."""
    if not plan.numbered:
        return [(column.name, column.type) for column in plan.columns]
    shown = [column for column in plan.columns if column.name != plan.unit]
    kept = [(column.name, NUMBER_TYPE if column.rule.action == "pseudonym" else column.type) for column in shown]
    hidden = {KAI_UNIT: NUMBER_TYPE, KAI_WINDOW: "date", KAI_RANK: "integer"}
    return [*kept, *((name, hidden[name]) for name in plan.hidden)]


def _pre_aggregated(view: StatisticsView, pre: PreAggregate) -> list[tuple[str, str]]:
    keys = [(name, view.columns[name].type) for name in pre.keys]
    return [(KAI_UNIT, NUMBER_TYPE), *keys, *((name, "integer") for name in columns_of(pre)[1 + len(keys) :])]


def _values(
    con: duckdb.DuckDBPyConnection,
    product: str,
    column: ColumnPlan,
    facts: TableExpectation,
    expected: StoreExpectation,
) -> Iterator[str]:
    stored = KAI_UNIT if facts.plan.numbered and column.name == facts.plan.unit else column.name
    if not column.nullable and _any(con, product, is_null(named(stored))):
        yield "is missing values that the plan promises"
    if column.rule.action == "pseudonym":  # 4
        yield from _keys(con, product, stored, facts.permitted[column.name], numbered=facts.plan.numbered)
    elif column.type == "string":
        yield from _texts(con, product, column.name, facts.declared.get(column.name, frozenset()), expected)


def _keys(
    con: duckdb.DuckDBPyConnection, product: str, column: str, permitted: exp.Select, *, numbered: bool
) -> Iterator[str]:
    form = exp.RegexpLike(this=named(column), expression=literal(_PSEUDONYM))
    if not numbered and _any(con, product, is_given(named(column)) & exp.not_(form)):
        yield "holds what is no pseudonym"
    name = named(NAME, "permitted")
    same = (number_of(name) if numbered else name).eq(named(column, BUILT))
    if _any(con, product, is_given(named(column)) & exp.not_(exp.Exists(this=permitted.where(same)))):
        yield "holds pseudonyms that are not permitted there"


def _texts(
    con: duckdb.DuckDBPyConnection, product: str, column: str, declared: frozenset[str], expected: StoreExpectation
) -> Iterator[str]:
    undeclared = exp.select(named(column)).distinct().from_(built_table(product)).where(is_given(named(column)))
    if declared:
        undeclared = undeclared.where(exp.not_(among(named(column), declared)))
    whole: set[str] = set()
    words: set[str] = set()
    contact = False
    for batch in con.sql(text(undeclared)).to_arrow_reader(_BATCH):
        values = batch.column(0).to_pylist()
        contact = contact or any(map(looks_like_contact, values))
        whole.update(values)
        words.update(_words(values))
    if contact:  # 5
        yield "holds what looks like a mail address, a telephone number or a postal code"
    if _meet(con, whole, expected.identifiers) or _meet(con, words, expected.raw_keys):  # 6
        yield "holds a direct identifier or a raw key of the sources"


def _words(values: Iterable[str]) -> set[str]:
    plain = (unicodedata.normalize("NFKC", value) for value in values)
    words = {word for value in plain for word in (*_WORD.findall(value), value)}
    return {word for word in words if len(word) >= _SHORTEST_RAW_KEY}


def _meet(con: duckdb.DuckDBPyConnection, texts: set[str], selects: Iterable[exp.Select]) -> bool:
    """Whether any of the texts is among the values that the selects give."""
    if not texts:
        return False
    con.register("searched", pa.table({"value": pa.array(sorted(texts), pa.string())}))
    try:
        return any(
            con.execute(
                f"SELECT 1 FROM searched SEMI JOIN ({text(select)}) AS s(value) USING (value) LIMIT 1"
            ).fetchall()
            for select in selects
        )
    finally:
        con.unregister("searched")


def _any(con: duckdb.DuckDBPyConnection, product: str, condition: exp.Expr) -> bool:
    return con.execute(text(exp.select("1").from_(built_table(product)).where(condition).limit(1))).fetchall() != []


def _number(con: duckdb.DuckDBPyConnection, select: exp.Select) -> int:
    [(number,)] = con.execute(text(select)).fetchall()
    return int(number)
