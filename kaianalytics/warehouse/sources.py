"""The sources as they stand: found, digested, and held against their contracts before a row of them is read.

Rules:
    1. A source lies inside the sources folder; a missing or unreadable one is named by its product, never by its path.
    2. A source must have each column of its contract, of its type, filled where the contract says `required`. All
       differences of a source are told at once, by product and column: public words, no value (law 5).
    3. A column that the contract does not know is left out, and the steward is told.
    4. A number that is not finite is no value: it counts as missing, here and in the store.
    5. A source that changes while it is being read is a fault: its digest would vouch for something else.

Formats: Parquet, CSV (RFC 4180 with a header; an empty field is missing), and `file.duckdb#table`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
from sqlglot import exp

from kaianalytics.errors import SourceFault
from kaianalytics.policy.contract import Column, DataContract
from kaianalytics.privacy.unit import ColumnType
from kaianalytics.warehouse.expressions import cast, literal, named, table, text

_RULE = "a source is as its data contract says, or nothing is built"

_LOGICAL: Mapping[str, ColumnType] = {
    "VARCHAR": "string", "UUID": "string", "ENUM": "string",
    "TINYINT": "integer", "SMALLINT": "integer", "INTEGER": "integer", "BIGINT": "integer",
    "UTINYINT": "integer", "USMALLINT": "integer", "UINTEGER": "integer",
    "FLOAT": "number", "DOUBLE": "number", "DECIMAL": "number",
    "BOOLEAN": "boolean", "DATE": "date",
    "TIMESTAMP": "timestamp", "TIMESTAMP_S": "timestamp", "TIMESTAMP_MS": "timestamp", "TIMESTAMP_NS": "timestamp",
}  # fmt: skip
_PHYSICAL: Mapping[ColumnType, str] = {
    "string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMP",
}  # fmt: skip


@dataclass(frozen=True)
class SourceColumn:
    """One column as a source has it; `type` is DuckDB's name of it, such as BIGINT or DECIMAL(9,2)."""

    name: str
    type: str
    nullable: bool

    @property
    def logical(self) -> ColumnType | None:
        """The contract's word for the type; None for one that no contract can have, such as a list."""
        return logical_type(self.type)


@dataclass(frozen=True)
class Source:
    """One opened source: a view of its contract's columns in the builder's scratch database."""

    contract: DataContract
    view: str
    digest: str
    modified: date
    ignored: tuple[str, ...]  # columns that are not in the contract

    @property
    def product(self) -> str:
        """The data product that the source holds."""
        return self.contract.product


@dataclass(frozen=True)
class _Place:
    file: Path
    table: str | None

    @property
    def kind(self) -> str:
        return "duckdb" if self.table is not None else "csv" if self.file.suffix.lower() == ".csv" else "parquet"


def logical_type(physical: str) -> ColumnType | None:
    """The contract's word for one of DuckDB's types, or None."""
    return _LOGICAL.get(physical.partition("(")[0])


def read_schema(path: Path | str) -> list[SourceColumn]:
    """The columns of a Parquet or CSV file or of `file.duckdb#table`, in order; SourceFault if it can't be read."""
    place = _place(str(path))
    if not place.file.is_file():
        raise _missing("this file")
    with duckdb.connect(":memory:") as con:
        try:
            return _columns(con, place, _scan(con, place, "schema"))
        except duckdb.Error:
            raise _unreadable("this file") from None


@dataclass
class Sources:
    """The sources of one build, opened one by one in its scratch database."""

    con: duckdb.DuckDBPyConnection
    folder: Path
    opened: dict[str, Source] = field(default_factory=dict)
    _marks: dict[Path, tuple[int, int, int]] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)

    def open(self, contract: DataContract) -> Source:
        """The product's source, checked against its contract; SOURCE_MISSING, SOURCE_UNREADABLE or SOURCE_CHANGED."""
        if contract.product not in self.opened:
            try:
                self.opened[contract.product] = self._opened(contract)
            except duckdb.Error:
                raise _unreadable(contract.product) from None
        return self.opened[contract.product]

    def demand_unchanged(self) -> None:
        """SourceFault SOURCE_CHANGING if a source's file was written since it was digested."""
        for contract in (source.contract for source in self.opened.values()):
            file = self._place(contract).file
            if not file.is_file() or _mark(file) != self._marks[file]:
                raise SourceFault(
                    "SOURCE_CHANGING",
                    f"The source of `{contract.product}` changed while it was being read.",
                    rule="a build's id is the digest of what it read",
                    hint="build again when the source is at rest",
                )

    def _opened(self, contract: DataContract) -> Source:
        place = self._place(contract)
        if not place.file.is_file():
            raise _missing(f"`{contract.product}`", contract.source)
        self._digest(place.file)
        scan = _scan(self.con, place, contract.product)
        found = {column.name: column for column in _columns(self.con, place, scan)}
        _demand_columns(contract, found, place.kind)
        view = f"source {contract.product}"
        columns = [
            _typed(column, found[column.name], place.kind).as_(column.name, quoted=True) for column in contract.columns
        ]
        self.con.execute(_create_view(view, exp.select(*columns).from_(scan)))
        _demand_values(self.con, contract, scan, view)
        modified = datetime.fromtimestamp(place.file.stat().st_mtime, UTC).date()
        ignored = tuple(name for name in found if not contract.has(name))
        return Source(contract, view, self._digests[place.file], modified, ignored)

    def _place(self, contract: DataContract) -> _Place:
        place = _place(contract.source)
        file = self.folder / place.file
        if place.kind != contract.format or not file.resolve().is_relative_to(self.folder.resolve()):
            raise SourceFault(
                "SOURCE_PLACE",
                f"The source of `{contract.product}` is not a {contract.format} file inside the sources folder.",
                rule="a contract names a file of its own format inside the sources folder",
                hint="mend the contract's server, or move the file",
            )
        return _Place(file, place.table)

    def _digest(self, file: Path) -> None:
        if file not in self._digests:
            self._marks[file] = _mark(file)
            with file.open("rb") as stream:
                self._digests[file] = hashlib.file_digest(stream, "sha256").hexdigest()


def _place(path: str) -> _Place:
    file, hash_sign, inner = path.partition("#")
    return _Place(Path(file), inner if hash_sign else None)


def _mark(file: Path) -> tuple[int, int, int]:
    facts = file.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _scan(con: duckdb.DuckDBPyConnection, place: _Place, name: str) -> exp.Expression:
    """The relation that reads the source; a DuckDB file is attached read-only under a name of its own."""
    if place.kind == "duckdb":
        catalog = f"origin {name}"
        con.execute(f"ATTACH {text(literal(str(place.file)))} AS {text(named(catalog))} (READ_ONLY)")
        return exp.table_(str(place.table), db="main", catalog=catalog, quoted=True)
    if place.kind == "csv":
        # A table of texts and no view: DuckDB 2.0 would push a later TRY_CAST into its reader, where it raises.
        written = exp.select("*").from_(_read_csv(place, all_varchar=True))
        con.execute(f"CREATE TABLE {text(table(f'csv {name}'))} AS {text(written)}")
        return table(f"csv {name}")
    return _table_function("read_parquet", literal(str(place.file)))


def _read_csv(place: _Place, *, all_varchar: bool) -> exp.Expression:
    """The file read as RFC 4180 has it, whatever it looks like; without `all_varchar` types are guessed, for drafts."""
    facts = {"delim": literal(","), "quote": literal('"'), "escape": literal('"'), "header": exp.true()}
    facts |= {"all_varchar": exp.true()} if all_varchar else {}
    options = (exp.EQ(this=exp.column(name), expression=value) for name, value in facts.items())
    return _table_function("read_csv", literal(str(place.file)), *options)


def _table_function(name: str, *arguments: exp.Expression) -> exp.Expression:
    return exp.Table(this=exp.Anonymous(this=name, expressions=list(arguments)))


def _columns(con: duckdb.DuckDBPyConnection, place: _Place, scan: exp.Expression) -> list[SourceColumn]:
    if place.kind == "csv":  # a guess: a draft may start from it, a contract decides
        scan = _read_csv(place, all_varchar=False)
    described = con.execute(f"DESCRIBE {text(exp.select('*').from_(scan))}").fetchall()
    filled = _declared_filled(con, place)
    return [SourceColumn(name, str(kind), nullable=name not in filled) for name, kind, *_ in described]


def _declared_filled(con: duckdb.DuckDBPyConnection, place: _Place) -> frozenset[str]:
    """The columns that the source itself declares never to be missing."""
    if place.kind == "parquet":
        sql = f"SELECT name FROM parquet_schema({text(literal(str(place.file)))}) WHERE repetition_type = 'REQUIRED'"
    elif place.kind == "duckdb":
        sql = (
            "SELECT column_name FROM duckdb_columns() WHERE NOT is_nullable AND NOT internal "
            f"AND table_name = {text(literal(str(place.table)))}"
        )
    else:
        return frozenset()
    return frozenset(name for (name,) in con.execute(sql).fetchall())


def _demand_columns(contract: DataContract, found: Mapping[str, SourceColumn], kind: str) -> None:
    changes = []
    for column in contract.columns:
        if column.name not in found:
            changes.append(f"column `{column.name}` is missing")
        elif kind != "csv" and not _fits(column.type, found[column.name].logical):
            changes.append(f"column `{column.name}` is {found[column.name].type}, and the contract says {column.type}")
    _demand_none(contract.product, changes)


def _fits(wanted: ColumnType, have: ColumnType | None) -> bool:
    return have == wanted or (wanted == "number" and have == "integer")


def _typed(column: Column, found: SourceColumn, kind: str) -> exp.Expression:
    """The column in the one physical type of its contract's type.

    Decimals keep theirs, for they are exact; a number of a CSV is one too where the contract declares its step.
    """
    raw = named(column.name)
    if column.type == "number" and kind == "csv" and column.step is not None:
        return cast(raw, f"DECIMAL(18, {_places(column.step)})", lenient=True)
    if column.type == "number" and found.type.startswith("DECIMAL"):
        return raw
    typed = cast(raw, _PHYSICAL[column.type], lenient=True)
    if column.type != "number":
        return typed
    finite = exp.Anonymous(this="isfinite", expressions=[typed])
    return exp.Case().when(finite, typed.copy())


def _places(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _demand_values(con: duckdb.DuckDBPyConnection, contract: DataContract, scan: exp.Expression, view: str) -> None:
    """Rule 2 for values: what is written must be readable as its type, and what is required must be there."""
    [written] = con.execute(text(_filled(contract.columns).from_(scan))).fetchall()
    [readable] = con.execute(text(_filled(contract.columns).from_(table(view)))).fetchall()
    rows = written[0]
    changes = []
    for column, given, kept in zip(contract.columns, written[1:], readable[1:], strict=True):
        if kept < given:
            changes.append(f"column `{column.name}` has values that are no {column.type}")
        elif column.required and kept < rows:
            changes.append(f"column `{column.name}` is required, and values are missing")
    _demand_none(contract.product, changes)


def _filled(columns: Iterable[Column]) -> exp.Select:
    return exp.select(exp.Count(this=exp.Star()), *(exp.Count(this=named(column.name)) for column in columns))


def _demand_none(product: str, changes: list[str]) -> None:
    if changes:
        raise SourceFault(
            "SOURCE_CHANGED",
            f"The source of `{product}` is not as its contract says: {'; '.join(changes)}.",
            rule=_RULE,
            hint="mend the source, or change the contract by review",
        )


def _create_view(name: str, select: exp.Select) -> str:
    return f"CREATE VIEW {text(table(name))} AS {text(select)}"


def _missing(what: str, source: str = "") -> SourceFault:
    where = f" ({source})" if source else ""
    return SourceFault(
        "SOURCE_MISSING",
        f"The source of {what}{where} is not in the sources folder." if source else "There is no such source file.",
        rule=_RULE,
        hint="put the file there, or mend the contract's server",
    )


def _unreadable(product: str) -> SourceFault:
    return SourceFault(
        "SOURCE_UNREADABLE",
        f"The source of `{product}` can't be read to its end: it is truncated, damaged, or of another format."
        if product != "this file"
        else "This source can't be read: it is truncated, damaged, or of another format.",
        rule=_RULE,
        hint="write the source anew, then build again",
    )
