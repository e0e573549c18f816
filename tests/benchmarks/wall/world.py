"""The homes that are measured on: real contracts in YAML, real sources, the real builder.

TPC-H at scale 1 as an owner would declare it for `rows`: the unit is the customer; orders and lineitem carry the
customer's key, and every key becomes a pseudonym. Its register, policy and purposes are the public data set's, with
another population. The other home is the sample's, with many analysts: one user's questions wait for each other.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import yaml
from asking import Asker, analyst
from building import AS_OF as SAMPLE_AS_OF
from children import ROOT, kai, run
from speed import tpch

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.gateway.tokens import Tokens, utc_now

PURPOSE = "campaign-analysis"
TABLES = {"customer": 1, "orders": 50, "lineitem": 200}  # with how many rows a customer may have in each
AS_OF = "1998-12-01"
_BASE = ROOT / "data_contracts" / "complete_journey"
MANY_ROWS = {"rowsPerQuery": 10_000_000, "bytesPerQuery": 2**30, "rowsPerDay": 10**9, "bytesPerDay": 2**40}
ANALYSTS, CUSTOMERS = 16, 20_000
_ABSENT = "The data set is generated: nobody chose, moved or asked."
_TYPES = {"string": "VARCHAR", "integer": "BIGINT", "number": "DECIMAL(15,2)", "date": "DATE"}
# what of each table the queries read: keys with their domain and what they refer to, and the rest as it is
_KEYS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "customer": [("c_custkey", "customer", "")],
    "orders": [("o_orderkey", "order", ""), ("o_custkey", "customer", "customer.c_custkey")],
    "lineitem": [("l_orderkey", "order", "orders.o_orderkey"), ("l_custkey", "customer", "customer.c_custkey")],
}
_KEPT: Mapping[str, Mapping[str, str]] = {
    "customer": {"c_mktsegment": "string"},
    "orders": {"o_orderdate": "date", "o_shippriority": "integer"},
    "lineitem": {
        **dict.fromkeys(("l_quantity", "l_extendedprice", "l_discount", "l_tax"), "number"),
        **dict.fromkeys(("l_returnflag", "l_linestatus"), "string"),
        "l_shipdate": "date",
    },
}


class NotMade(Exception):
    """Why there is no world: what generates the data could not be had."""


def sample_home(work: Path) -> list[Asker]:
    """Sixteen analysts at a new home under `work`, built of generated sources."""
    sources, contracts, home = work / "sample-sources", work / "sample-contracts", work / "sample-home"
    generate = ["pipelines/sample_warehouse.py", "--customers", str(CUSTOMERS), "--out", str(sources)]
    run([sys.executable, *generate])
    shutil.copytree(ROOT / "data_contracts", contracts, ignore=shutil.ignore_patterns("complete_journey"))
    users = [f"analyst-{number:02}" for number in range(ANALYSTS)]
    register = yaml.safe_load((contracts / "roles.yaml").read_text(encoding="utf-8"))
    register["identities"] |= {user: {**register["identities"]["aiko"], "name": user} for user in users}
    aikos = [grant for grant in register["grants"] if grant["identity"] == "aiko"]
    register["grants"] += [{**grant, "identity": user} for user in users for grant in aikos]
    _dump(contracts / "roles.yaml", register)
    kai(home, "init", "--contracts", str(contracts), "--sources", str(sources))
    kai(home, "build", "--as-of", SAMPLE_AS_OF)
    return [_asker(Home.open(home), user) for user in users]


def _asker(home: Home, user: str) -> Asker:
    """The user with an identity token as `kai identity issue` writes it."""
    file = home.root / "identities" / f"{user}.token"
    file.parent.mkdir(exist_ok=True)
    token = Tokens(Keys.load(home).token_key).mint_identity(user, os.getuid(), utc_now(), timedelta(days=1))
    file.write_text(token, encoding="ascii")
    return Asker(home, file)


def tpch_home(work: Path) -> Asker:
    """The analyst at a new home under `work`, built."""
    sources, contracts = work / "tpch-sources", work / "tpch-contracts"
    for folder in (sources, contracts):
        folder.mkdir(parents=True)
    if reason := tpch.generated(sources, tuple(TABLES)):
        raise NotMade(f"the generator `tpchgen-cli` could not be had: {reason}")
    _put_customers_into_lineitem(sources)
    _write_contracts(contracts)
    home = work / "tpch-home"
    kai(home, "init", "--contracts", str(contracts), "--sources", str(sources))
    kai(home, "build", "--as-of", AS_OF)
    return analyst(Home.open(home))


def _put_customers_into_lineitem(sources: Path) -> None:
    """As any source about people must have whom its rows are about."""
    joined = (
        f"SELECT l.*, o_custkey AS l_custkey FROM '{sources}/lineitem.parquet' AS l JOIN '{sources}/orders.parquet'"
    )
    with duckdb.connect() as con:
        con.execute(f"COPY ({joined} ON l_orderkey = o_orderkey) TO '{sources}/joined.parquet'")
    (sources / "joined.parquet").replace(sources / "lineitem.parquet")


def _write_contracts(folder: Path) -> None:
    for name in ("privacy_policy.yaml", "roles.yaml"):
        (folder / name).write_bytes((_BASE / name).read_bytes())
    purposes = yaml.safe_load((_BASE / "purposes.yaml").read_text(encoding="utf-8"))
    [declared] = purposes["populations"].values()
    absent = {part: {"absent": _ABSENT} for part in ("residence", "consents", "stops")}
    purposes["populations"] = {"customers": {**declared, "product": "customer", "key": "c_custkey", **absent}}
    _dump(folder / "purposes.yaml", purposes)
    for table in TABLES:
        _dump(folder / f"{table}.odcs.yaml", _contract(table))


def _contract(table: str) -> dict[str, Any]:
    unit = next(name for name, domain, _ in _KEYS[table] if domain == "customer")
    ours = {
        "kai.privacyUnit": {"population": "customers", "column": unit},
        "kai.purposes": {PURPOSE: {"basis": "notified", "access": ["rows", "statistics"]}},
        "kai.contribution": {"rows": TABLES[table]},
        "kai.appiStatus": "personal-information",
        "kai.jointUse": ["kai-corporation", "kai-media"],
        "kai.countries": ["JP"],
        "kai.rowsCaps": MANY_ROWS,
    }
    columns = [*(_key(*key) for key in _KEYS[table]), *(_kept(name, kind) for name, kind in _KEPT[table].items())]
    schema = {"name": table, "properties": columns, "customProperties": _properties(ours)}
    server = {"server": "sources", "type": "local", "path": f"{table}.parquet", "format": "parquet"}
    head = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": f"urn:benchmark:{table}", "name": table}
    return {**head, "version": "1.0.0", "status": "active", "servers": [server], "schema": [schema]}


def _key(name: str, domain: str, to: str) -> dict[str, Any]:
    ours = {"kai.keyDomain": domain, "kai.purposeRules": {PURPOSE: "pseudonym"}}
    first = {"relationships": [{"to": to}]} if to else {"primaryKey": True}
    return {**_column(name, "integer", "key", ours), **first}


def _kept(name: str, kind: str) -> dict[str, Any]:
    return _column(name, kind, "personal", {"kai.purposeRules": {PURPOSE: "keep"}})


def _column(name: str, kind: str, classification: str, ours: Mapping[str, Any]) -> dict[str, Any]:
    facts = {"logicalType": kind, "physicalType": _TYPES[kind], "required": True, "classification": classification}
    return {"name": name, **facts, "customProperties": _properties(ours)}


def _properties(ours: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"property": name, "value": value} for name, value in ours.items()]


class _NoAnchors(yaml.SafeDumper):
    """A contract has no anchors: what is the same twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _dump(file: Path, value: object) -> None:
    file.write_text(yaml.dump(value, Dumper=_NoAnchors, sort_keys=False), encoding="utf-8")
