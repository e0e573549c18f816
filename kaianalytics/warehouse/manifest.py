"""What a build was made of and what it made: the build id, the manifest beside the stores, the steward's summary.

Laws:
    1. The build id is the SHA-256 of the inputs' canonical JSON: contracts and policy, sources, plans, builder, DuckDB,
       the pseudonym keys' public id, and the as-of date. Same inputs, same id. The time of building is none of them.
    2. A manifest says what stands in its folder, file by file with digests; a file that differs is noticed.
    3. Manifest and summary count people: they stay in the custody, and no door hands them to an analyst.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

from kaianalytics.policy.contract import Access
from kaianalytics.policy.reading import canonical_digest

FORMAT = 1
BUILDER = "2"  # raise it whenever the same inputs would make other stores
BUILD_ID = re.compile(r"[0-9a-f]{64}")

Outcome = Literal["published", "unchanged", "made current again"]


@dataclass(frozen=True)
class BuildInputs:
    """Everything that decides what the stores hold."""

    contracts: str  # digest of purposes, privacy policy and contracts
    plans: str  # digest of the store plans made from them
    sources: Mapping[str, str]  # product → SHA-256 of its file
    pseudonym_key: str  # public id
    as_of: date
    duckdb: str
    builder: str = BUILDER

    @property
    def build_id(self) -> str:
        """The digest of the inputs: 64 hex digits."""
        return canonical_digest(self)


@dataclass(frozen=True)
class StoredTable:
    """One table of a store: its rows, its columns with their types, and the day its source was last written."""

    rows: int
    columns: tuple[tuple[str, str], ...]
    fresh: date


@dataclass(frozen=True)
class StoredFile:
    """One store's file: for which purpose and access, its digest and size, and its tables by product."""

    purpose: str
    access: Access
    file: str
    sha256: str
    bytes: int
    tables: Mapping[str, StoredTable]


@dataclass(frozen=True)
class Manifest:
    """A build's own account of itself."""

    inputs: BuildInputs
    built_at: datetime
    stores: tuple[StoredFile, ...]

    @property
    def build_id(self) -> str:
        """The id under which the build is published."""
        return self.inputs.build_id

    def store(self, purpose: str, access: Access) -> StoredFile | None:
        """The store of that purpose and access, or None where the build has none."""
        return next((s for s in self.stores if (s.purpose, s.access) == (purpose, access)), None)

    def to_json(self) -> str:
        """The manifest as a JSON text; `from_json` reads it back."""
        return _json({"format": FORMAT, "build_id": self.build_id, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest of a JSON text; ValueError unless it is one, and its id the digest of its inputs."""
        try:
            facts = json.loads(text)
            manifest = _manifest(facts)
        except (KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError("this is no manifest") from None
        if facts.get("format") != FORMAT or facts.get("build_id") != manifest.build_id:
            raise ValueError("the manifest's id is not the digest of its inputs")
        return manifest


@dataclass(frozen=True)
class TableSummary:
    """For the steward: what one store holds of one product, and what was left out and why."""

    purpose: str
    access: Access
    product: str
    kept: int
    left_out: Mapping[str, int]  # reason → rows
    columns_left_out: Mapping[str, str]  # column → reason


@dataclass(frozen=True)
class BuildSummary:
    """For the steward: what a build did."""

    build_id: str
    as_of: date
    outcome: Outcome
    tables: tuple[TableSummary, ...]
    ignored: Mapping[str, tuple[str, ...]]  # product → columns of its source that are not in the contract

    def to_json(self) -> str:
        """The summary as a JSON text; `from_json` reads it back with the outcome of that day."""
        return _json(asdict(self))

    @classmethod
    def from_json(cls, text: str, outcome: Outcome) -> BuildSummary:
        """The summary kept beside a build, told anew with another outcome."""
        facts = json.loads(text)
        return cls(
            build_id=facts["build_id"],
            as_of=date.fromisoformat(facts["as_of"]),
            outcome=outcome,
            tables=tuple(TableSummary(**table) for table in facts["tables"]),
            ignored={product: tuple(columns) for product, columns in facts["ignored"].items()},
        )


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True, default=_written) + "\n"


def _written(value: object) -> str:
    if isinstance(value, date):  # a datetime is a date
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")


def _manifest(facts: Mapping[str, Any]) -> Manifest:
    inputs = dict(facts["inputs"])
    inputs["as_of"] = date.fromisoformat(inputs["as_of"])
    return Manifest(
        inputs=BuildInputs(**inputs),
        built_at=datetime.fromisoformat(facts["built_at"]),
        stores=tuple(_stored_file(dict(store)) for store in facts["stores"]),
    )


def _stored_file(facts: dict[str, Any]) -> StoredFile:
    tables = {product: _stored_table(table) for product, table in facts.pop("tables").items()}
    return StoredFile(tables=tables, **facts)


def _stored_table(facts: Mapping[str, Any]) -> StoredTable:
    columns = tuple((name, kind) for name, kind in facts["columns"])
    return StoredTable(facts["rows"], columns, date.fromisoformat(facts["fresh"]))
