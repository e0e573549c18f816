"""A small world for the builder's tests: a few people, their choices, stops and visits, with canaries in all of it.

Every source is written by hand, so that a test can say of each row why it must or must not be in a store. The stores
are built by the real builder from real files; only the contracts are made as values instead of being read from YAML.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kaianalytics.policy.clauses import PrivacyPolicy
from kaianalytics.policy.contract import (
    Access,
    Basis,
    Column,
    ColumnRule,
    Contracts,
    DataContract,
    PurposeRule,
    Retention,
)
from kaianalytics.policy.purpose import Allowance, ChoiceSource, Population, Purpose, Purposes, StopSource
from kaianalytics.policy.roles import Roles
from kaianalytics.policy.views import store_plan
from kaianalytics.privacy.unit import ContributionBounds
from kaianalytics.warehouse.builder import BuildOrder
from kaianalytics.warehouse.pseudonyms import Pseudonymiser

AS_OF = date(2026, 11, 1)
NOW = datetime(2026, 11, 1, 3, tzinfo=UTC)
BOTH: frozenset[Access] = frozenset({"rows", "statistics"})
KEEP, PSEUDONYM = ColumnRule("keep"), ColumnRule("pseudonym")
CANARY = "canary-in-a-dropped-column"

# unit, name, mail, country, choices (choice, state, day), stops (scope) and why ad-targeting must leave the unit out
PEOPLE: Sequence[tuple[str, str, str | None, Sequence[tuple[str, str, int]], Sequence[str | None], str | None]] = (
    ("P-000001", "Ishikawa Ren", "JP", [], [], None),
    ("P-000002", "Mori Aoi", "TW", [("ads", "granted", 3)], [], None),
    ("P-000003", "Sato Yui", "JP", [("ads", "refused", 3)], [], "opted out"),
    ("P-000004", "Abe Jun", "JP", [("ads", "granted", 3), ("ads", "withdrawn", 5)], [], "opted out"),
    ("P-000005", "Ito Nao", "JP", [("ads", "refused", 3), ("ads", "granted", 5)], [], None),
    ("P-000006", "Kato Rin", "JP", [("ads", "granted", 4), ("ads", "refused", 4)], [], "opted out"),  # a tie
    ("P-000007", "Weber Anna", "DE", [], [], "residence"),
    ("P-000008", "Unknown Residence", None, [], [], "residence"),
    ("P-000009", "Endo Mao", "JP", [], ["all"], "stopped"),
    ("P-000010", "Ueda Kai", "JP", [], ["ads"], "stopped"),
    ("P-000011", "Noda Emi", "JP", [], ["surveys"], None),
    ("P-000012", "Hara Sho", "JP", [], ["somthing misspelt"], "stopped"),
    ("P-000013", "Kudo Ken", "JP", [("ads", "GRANTED", 3)], [], "opted out"),  # no state that is known to grant
    ("P-000014", "Oda Mei", "JP", [("profiling", "granted", 3)], [], None),
    ("P-000015", "Seki Ryo", "JP", [("profiling", "refused", 3)], [], None),
)
CONSENTING = frozenset({"P-000014"})  # to profiling
EXCLUDED = frozenset(person[0] for person in PEOPLE if person[-1])


def column(name: str, kind: str = "string", **facts: Any) -> Column:
    """A column with the same rule for both purposes, `drop` unless another is given."""
    rule = facts.pop("rule", ColumnRule("drop"))
    defaults: dict[str, Any] = {
        "classification": "personal",
        "required": False,
        "rules": {"ads": rule, "surveys": rule},
    }
    return Column(name=name, type=kind, **{**defaults, **facts})  # type: ignore[arg-type]  # the tests name real types


def key(name: str, domain: str, rule: ColumnRule = PSEUDONYM, required: bool = True) -> Column:
    """A key column of a pseudonym domain."""
    return column(name, classification="key", key=domain, rule=rule, required=required)


def product(name: str, columns: Sequence[Column], **facts: Any) -> DataContract:
    """A contract of people, notified for both purposes and both accesses, unless told otherwise."""
    basis, access = facts.pop("basis", Basis("notified")), facts.pop("access", BOTH)
    open_to = facts.pop("open_to", ("ads", "surveys"))
    defaults: dict[str, Any] = {
        "version": "1",
        "title": name,
        "source": f"{name}.parquet",
        "format": "parquet",
        "population": "people",
        "unit": "person",
        "contribution": ContributionBounds(1, 10),
        "purposes": {purpose: PurposeRule(purpose, basis, access) for purpose in open_to},
    }
    return DataContract(product=name, columns=tuple(columns), **{**defaults, **facts})


def products() -> dict[str, DataContract]:
    """The world's contracts: people, visits, profiles (on prior consent), places (public), choices and stops."""
    listed = (
        product(
            "people",
            [
                replace(key("person", "person"), primary_key=True),
                column("name", classification="direct-identifier", rule=ColumnRule("mask")),
                column("mail", classification="direct-identifier"),
                column("country", enum=("JP", "TW", "DE"), rule=KEEP),
                column("born", "date", classification="quasi-identifier", rule=ColumnRule("generalise", "decade")),
                column("notes", classification="free-text"),
            ],
        ),
        product(
            "visits",
            [
                replace(key("visit", "visit"), primary_key=True),
                key("person", "person", required=False),
                key("invited", "person", required=False),
                column("at", "timestamp", rule=ColumnRule("generalise", "week"), required=True),
                column("minutes", "integer", rule=ColumnRule("generalise", "bands:10,20")),
                column("paid", "number", step=Decimal("0.01"), rule=KEEP),
                column("area", rule=ColumnRule("generalise", "prefix:3")),
                column("page", enum=("home", "shop"), rule=KEEP),
            ],
            retention=Retention("at", 100),
        ),
        product(
            "profiles",
            [key("person", "person"), column("score", "integer", rule=KEEP)],
            basis=Basis("prior-consent", "profiling"),
            open_to=("ads",),
        ),
        product(
            "places",
            [
                column("place", classification="public", rule=KEEP, primary_key=True),
                column("size", "integer", classification="public", rule=KEEP),
            ],
            population=None, unit=None, contribution=None,
        ),
        product(
            "choices",
            [key("person", "person"), column("choice"), column("state"), column("at", "timestamp")],
            open_to=(),
        ),
        product("stops", [key("person", "person"), column("scope"), column("at", "timestamp")], open_to=()),
    )  # fmt: skip
    return {contract.product: contract for contract in listed}


def purposes() -> Purposes:
    """Two open purposes and one that is closed."""
    allowance = Allowance(Decimal(1), Decimal(0))
    people = Population(
        name="people", product="people", key="person", account=allowance, purpose_caps={}, analyst_cap=allowance,
        residence="country", countries=frozenset({"JP", "TW"}),
        consents=ChoiceSource("choices", "person", "choice", "state", "at"),
        stops=StopSource("stops", "person", "scope", "at"),
    )  # fmt: skip
    stated = {name: Purpose(name, name, "3.4", open=name != "care") for name in ("ads", "surveys", "care")}
    return Purposes("1", stated, {"people": people})


def rows() -> dict[str, list[dict[str, Any]]]:
    """What stands in each source."""
    return {
        "people": [
            {
                "person": unit, "name": name, "mail": f"{name.split()[0].lower()}@example.org", "country": country,
                "born": date(1970 + place, 5, 17), "notes": f"{CANARY} {unit}",
            }
            for place, (unit, name, country, *_) in enumerate(PEOPLE)
        ],
        "visits": visits(),
        "profiles": [{"person": unit, "score": place} for place, (unit, *_) in enumerate(PEOPLE)],
        "places": [{"place": "hall", "size": 300}, {"place": "kept-in-public", "size": 20}],
        "choices": [
            {"person": unit, "choice": choice, "state": state, "at": datetime(2026, 10, day)}
            for unit, _, _, choices, *_ in PEOPLE
            for choice, state, day in choices
        ],
        "stops": [
            {"person": unit, "scope": scope, "at": datetime(2026, 10, 9)}
            for unit, *_, stops, _ in PEOPLE
            for scope in stops
        ],
    }  # fmt: skip


def visits() -> list[dict[str, Any]]:
    """Three visits of each person, and five rows that must be left out for reasons of their own."""
    made = [
        visit(f"V-{place:03d}-{turn}", unit, day=1 + place, minutes=5 + 7 * turn, paid=Decimal(f"{place}.{turn}5"))
        for place, (unit, *_) in enumerate(PEOPLE)
        for turn in range(3)
    ]
    return [
        *made,
        visit("V-nobody-1", None),
        visit("V-unlisted", "P-999999"),
        visit("V-too-old1", "P-000001", month=7),
        visit("V-with-007", "P-000001", invited="P-000007"),
        visit("V-with-002", "P-000001", invited="P-000002"),
    ]


def visit(name: str, person: str | None, **facts: Any) -> dict[str, Any]:
    """One visit on a day of October unless told otherwise."""
    return {
        "visit": name,
        "person": person,
        "invited": facts.get("invited"),
        "at": datetime(2026, facts.get("month", 10), facts.get("day", 10), 12, 30),
        "minutes": facts.get("minutes"),
        "paid": facts.get("paid", Decimal("1.25")),
        "area": "shibuya-east",
        "page": "shop",
    }


TYPES: Mapping[str, pa.DataType] = {
    "born": pa.date32(), "at": pa.timestamp("us"), "minutes": pa.int32(), "paid": pa.decimal128(9, 2),
    "score": pa.int64(), "size": pa.int16(),
}  # fmt: skip


@dataclass
class World:
    """The folders of one home, and the order to build it."""

    root: Path
    contracts: dict[str, DataContract]

    @classmethod
    def create(cls, root: Path, data: Mapping[str, list[dict[str, Any]]] | None = None) -> World:
        """A world under `root` with its sources written as Parquet."""
        world = cls(root, products())
        for folder in (world.sources, world.contract_files):
            folder.mkdir(parents=True)
        (world.contract_files / "people.odcs.yaml").write_text("title: people\n")
        for name, listed in (data or rows()).items():
            world.write(name, listed)
        return world

    @property
    def sources(self) -> Path:
        return self.root / "sources"

    @property
    def contract_files(self) -> Path:
        return self.root / "contracts"

    @property
    def stores(self) -> Path:
        return self.root / "stores"

    def write(self, name: str, listed: list[dict[str, Any]], **types: pa.DataType) -> None:
        """Write one source in the format of its contract; `types` are Arrow types other than the world's."""
        contract = self.contracts[name]
        columns = list(dict.fromkeys([c.name for c in contract.columns] + [key for row in listed for key in row]))
        if contract.format == "csv":
            _write_csv(self.sources / contract.source, columns, listed)
            return
        table = pa.table(
            {c: pa.array([row.get(c) for row in listed], {**TYPES, **types}.get(c, pa.string())) for c in columns}
        )
        if contract.format == "duckdb":
            _write_duckdb(self.sources, contract.source, table)
        else:
            pq.write_table(table, self.sources / contract.source)

    def change(self, name: str, **facts: Any) -> None:
        """Change one contract."""
        self.contracts[name] = replace(self.contracts[name], **facts)

    def order(self, **facts: Any) -> BuildOrder:
        """The order to build this world as it stands."""
        stated = purposes()
        all_contracts = Contracts(stated, _NO_POLICY, _NO_ROLES, self.contracts, digest="")
        plans = tuple(
            store_plan(all_contracts, purpose, access)
            for purpose in ("ads", "surveys")
            for access in _ACCESSES
        )  # fmt: skip
        defaults: dict[str, Any] = {
            "products": self.contracts, "purposes": stated, "plans": plans,
            "contracts_digest": digest_folder(self.contract_files), "contracts_folder": self.contract_files,
            "digest_contracts": digest_folder, "sources": self.sources, "stores": self.stores,
            "staging": self.root / "staging", "pseudonym_key": pseudonym_key, "pseudonym_key_id": "test keys",
            "as_of": AS_OF, "built_at": NOW,
        }  # fmt: skip
        return BuildOrder(**{**defaults, **facts})


_ACCESSES: tuple[Access, Access] = ("rows", "statistics")
_NO_POLICY = PrivacyPolicy("1", date(2022, 4, 1), "Kai Corporation", {})
_NO_ROLES = Roles("1", {}, {}, frozenset(), (), "")


def pseudonym_key(purpose: str) -> bytes:
    """A purpose's key, as a home would derive it."""
    return hashlib.sha256(b"pseudonyms of " + purpose.encode()).digest()


def names(purpose: str, domain: str, values: Sequence[str]) -> set[str]:
    """The pseudonyms of raw values, as the builder must have made them."""
    return set(Pseudonymiser(pseudonym_key(purpose), domain).names(list(values)))


def digest_folder(folder: Path) -> str:
    """A digest of a folder of contracts."""
    content = b"\0".join(file.name.encode() + file.read_bytes() for file in sorted(folder.iterdir()))
    return hashlib.sha256(content).hexdigest()


def read(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a store answers."""
    with duckdb.connect(str(file), read_only=True) as con:
        return con.execute(sql).fetchall()


def _write_csv(file: Path, columns: list[str], listed: list[dict[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(listed)


def _write_duckdb(folder: Path, source: str, table: pa.Table) -> None:
    file, _, name = source.partition("#")
    with duckdb.connect(str(folder / file)) as con:
        con.register("given", table)
        con.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM given")
