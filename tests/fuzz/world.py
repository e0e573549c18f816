"""A small real home for fuzzing: real sources, contracts, stores, with canaries in everything that is forbidden.

The purpose asked is `service-improvement`. Forbidden to it are, and a canary holds each of: the columns that no rule
keeps (names, notes), customers who opted out, live elsewhere or filed a stop request before the build, those who filed
one after it (their rows are in the store, and only the secure views leave them out), other purposes' products and
pseudonyms, the raw keys, and the folder's own path. What is permitted is written beside it, as plain tables: the truth.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from support.real_world import AS_OF, KAITOS_GRANT, MORE_PEOPLE, PROJECT, PYTHON, World

from kaianalytics.warehouse.pseudonyms import Pseudonymiser

PURPOSE = "service-improvement"
OTHER_PURPOSE = "campaign-analysis"
DOMAIN = "customer"
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "sessions": {
        "session_id": "text", "customer_id": "text", "started_at": "time", "device": "text", "service": "text",
        "pages": "whole", "seconds": "whole", "label": "text", "score": "number", "referred": "truth",
    },
    "orders": {
        "order_id": "text", "customer_id": "text", "ordered_at": "time", "category": "text", "amount_yen": "whole",
        "quantity": "whole", "coupon_used": "truth",
    },
    "customers": {
        "customer_id": "text", "prefecture": "text", "birth_date": "day", "gender": "text", "country": "text",
        "registered_on": "day", "plan": "text",
    },
}  # fmt: skip
CANARY = "kanarie"
STOPPED_BEFORE, STOPPED_AFTER = ("C0000016", "C0000053"), ("C0000017", "C0000042")
CUSTOMERS, SESSIONS, ORDERS = 60, 120, 60  # small: chance likes cross joins

# three columns beside the sample's own, so that every type of a contract is asked for
_MORE_SESSIONS = """
      - name: label
        logicalType: string
        physicalType: VARCHAR
        classification: personal
        customProperties:
          - property: kai.purposeRules
            value: {service-improvement: keep}
      - name: score
        logicalType: number
        physicalType: DOUBLE
        classification: personal
        customProperties:
          - property: kai.purposeRules
            value: {service-improvement: keep}
      - name: referred
        logicalType: boolean
        physicalType: BOOLEAN
        classification: personal
        customProperties:
          - property: kai.purposeRules
            value: {service-improvement: keep}
"""
# a day of fuzzing is longer than a day of work
_MANY_ROWS = """      - property: kai.rowsCaps
        value: {rowsPerQuery: 200000, bytesPerQuery: 67108864, rowsPerDay: 1000000000000, bytesPerDay: 1000000000000}
"""
_LABELS = ("a", "A", "", "ü", "日本", "it's", "50%", "a_b", "2026-01-05", "12", "-1.5", "true", "x" * 40, "ß", None)


class FuzzWorld(World):
    """The home, what must never leave it, and what may."""

    @property
    def truth(self) -> Path:
        """A database of plain tables: the permitted rows, and nothing else."""
        return self.root / "permitted.duckdb"

    def stopped(self, purpose: str) -> list[str]:
        """The pseudonyms of the customers who filed a stop request after the build."""
        return Pseudonymiser(self.keys.pseudonym_key(purpose), DOMAIN).names(list(STOPPED_AFTER))

    @property
    def canaries(self) -> re.Pattern[bytes]:
        """What no answer and no error may hold: what no log may hold either, and this folder's path."""
        return re.compile(self.canaries_of_logs.pattern + b"|" + re.escape(str(self.root)).encode())

    @property
    def canaries_of_logs(self) -> re.Pattern[bytes]:
        """What nothing that the gateway writes may hold."""
        words = (self.root / "canaries").read_text(encoding="utf-8").splitlines()
        return re.compile("|".join(map(re.escape, words)).encode() + rb"|C00000\d\d")


def make_world(root: Path) -> FuzzWorld:
    """The home under `root`, built and with its late stop requests filed; nobody serves it."""
    world = FuzzWorld(root)
    shutil.copytree(PROJECT / "data_contracts", world.contracts, ignore=shutil.ignore_patterns("complete_journey"))
    _widen(world)
    sample = PROJECT / "pipelines" / "sample_warehouse.py"
    command = [PYTHON, sample, "--customers", str(CUSTOMERS), "--out", world.sources]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    _plant(world.sources)
    world.kai("init", "--contracts", world.contracts, "--sources", world.sources)
    world.kai("build", "--as-of", AS_OF)
    for customer in STOPPED_AFTER:
        world.kai("stop", customer)
    for user in ("aiko", "kaito", "ren", "sora"):
        world.issue(user)
    _write_canaries(world)
    _write_truth(world)
    return world


def _widen(world: World) -> None:
    """Grant the purpose rows of three products, give one of them columns of more types, and appoint more people."""
    world.edit("roles.yaml", "\ngrants:\n", f"{MORE_PEOPLE}\ngrants:\n")
    with (world.contracts / "roles.yaml").open("a", encoding="utf-8") as register:
        register.write(KAITOS_GRANT.lstrip("\n"))
    granted = f"{PURPOSE}: {{basis: notified, access: [statistics]}}"
    for product in ("orders", "customers"):
        world.edit(f"{product}.odcs.yaml", granted, granted.replace("[", "[rows, "))
    world.edit("customers.odcs.yaml", "{ad-targeting: keep, campaign-analysis: keep}", "{service-improvement: keep}")
    generalised = "{ad-targeting: {generalise: decade}, campaign-analysis: {generalise: decade}}"
    world.edit("customers.odcs.yaml", generalised, "{service-improvement: {generalise: decade}}")
    for product in ("sessions", "orders", "customers"):
        file = world.contracts / f"{product}.odcs.yaml"
        without = re.sub(r"      - property: kai\.rowsCaps\n        value: .*\n", "", file.read_text(encoding="utf-8"))
        file.write_text(without + _MANY_ROWS, encoding="utf-8")
    before = "\n      - name: referrer\n"
    world.edit("sessions.odcs.yaml", before, _MORE_SESSIONS.rstrip("\n") + before)


def _plant(sources: Path) -> None:
    """Cut the tables small, and put canaries wherever the purpose may not look."""
    customers = pq.read_table(sources / "customers.parquet")
    for name in ("family_name", "given_name", "family_name_kana", "given_name_kana", "email", "telephone", "address"):
        customers = _filled(customers, name, [f"{CANARY}-{name}-{i}" for i in range(len(customers))])
    pq.write_table(customers, sources / "customers.parquet")
    _plant_sessions(sources / "sessions.parquet")
    orders = _a_few_of_each(sources / "orders.parquet", ORDERS)
    orders = _filled(orders, "delivery_note", [f"{CANARY}-note-{i}" for i in range(len(orders))])
    pq.write_table(orders, sources / "orders.parquet")
    inquiries = pq.read_table(sources / "inquiries.parquet")
    pq.write_table(_filled(inquiries, "text", [f"{CANARY}-inquiry"] * len(inquiries)), sources / "inquiries.parquet")
    stops = pq.read_table(sources / "stop_requests.parquet")
    late = datetime(2026, 10, 1)
    added = [
        {"request_id": f"R9{i:06}", "customer_id": customer, "received_at": late, "scope": "all"}
        for i, customer in enumerate(STOPPED_BEFORE)
    ]
    stops = pa.concat_tables([stops, pa.Table.from_pylist(added, stops.schema)])
    pq.write_table(stops, sources / "stop_requests.parquet")


def _plant_sessions(file: Path) -> None:
    sessions = _a_few_of_each(file, SESSIONS)
    count = len(sessions)
    sessions = _filled(sessions, "referrer", [f"{CANARY}-referrer-{i}" for i in range(count)])
    hidden = _hidden_customers(file.parent)
    labels, scores, whose = [], [], sessions.column("customer_id").to_pylist()
    for i, customer in enumerate(whose):
        labels.append(f"{CANARY}-label-{customer}" if customer in hidden else _LABELS[i % len(_LABELS)])
        scores.append(8.875e9 if customer in hidden else (None if i % 9 == 0 else (i * 37 % 801 - 400) / 8))
    extra = {"label": labels, "score": scores, "referred": [None if i % 7 == 0 else i % 3 == 0 for i in range(count)]}
    for name, values in extra.items():
        sessions = sessions.append_column(name, pa.array(values))
    pq.write_table(sessions, file)


def _a_few_of_each(file: Path, rows: int) -> pa.Table:
    """So many rows, at most four of one customer: in the sample a few have most."""
    key = pq.read_schema(file).names[0]
    few = f"row_number() OVER (PARTITION BY customer_id ORDER BY {key}) <= 4"
    with duckdb.connect() as plain:
        sql = f"SELECT * FROM read_parquet('{file}') QUALIFY {few} ORDER BY {key} LIMIT {rows}"
        return plain.sql(sql).to_arrow_table()


def _hidden_customers(sources: Path) -> set[str]:
    """The customers none of whose rows may be seen, by the plainest reading of the sources."""
    with duckdb.connect() as plain:
        choices, people = str(sources / "consents.parquet"), str(sources / "customers.parquet")
        opted_out = plain.execute(
            f"SELECT customer_id FROM read_parquet('{choices}') WHERE choice = '{PURPOSE}' GROUP BY customer_id "
            "HAVING arg_max(state, decided_at) <> 'granted'"
        ).fetchall()
        elsewhere = plain.execute(
            f"SELECT customer_id FROM read_parquet('{people}') WHERE country NOT IN ('JP', 'TW')"
        ).fetchall()
    return {*STOPPED_BEFORE, *STOPPED_AFTER, *(customer for (customer,) in opted_out + elsewhere)}


def _filled(table: pa.Table, name: str, values: Sequence[str]) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, name, pa.array(values, pa.string()))


def _write_canaries(world: FuzzWorld) -> None:
    names = [f"C{number:07}" for number in range(1, CUSTOMERS + 1)]
    others = Pseudonymiser(world.keys.pseudonym_key(OTHER_PURPOSE), DOMAIN).names(names)
    stopped = Pseudonymiser(world.keys.pseudonym_key(PURPOSE), DOMAIN).names([*STOPPED_BEFORE, *STOPPED_AFTER])
    keys = [world.keys.token_key, *map(world.keys.pseudonym_key, (PURPOSE, OTHER_PURPOSE))]
    (world.root / "canaries").write_text(
        "\n".join([CANARY, *others, *stopped, *(key.hex() for key in keys)]), encoding="utf-8"
    )


def _write_truth(world: FuzzWorld) -> None:
    """The permitted rows as plain tables: the store's, without the customers who were stopped since it was built."""
    stopped = world.stopped(PURPOSE)
    with duckdb.connect(str(world.truth)) as plain:
        plain.execute(f"ATTACH '{world.store(PURPOSE)}' AS store (READ_ONLY)")
        for view, columns in COLUMNS.items():
            shown = ", ".join(columns)
            plain.execute(
                f"CREATE TABLE {view} AS SELECT {shown} FROM store.main.{view} "
                "WHERE customer_id IS NULL OR NOT list_contains(?::VARCHAR[], customer_id)",
                [stopped],
            )
        hidden = f"SELECT count(*) FROM store.main.sessions WHERE label LIKE '{CANARY}%'"
        assert plain.execute(hidden).fetchall() > [(0,)], "a world that hides nothing proves nothing"
