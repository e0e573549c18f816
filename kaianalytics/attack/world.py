"""A copy of the owner's world in a folder of its own: contracts, sources with canaries, stores, records, files, people.

Laws:
1. The owner's home is only read, and of it only what is named: contracts, and sources where a sample of them is asked.
2. The stores are built by the real builder under the owner's contracts as they stand. The register of handlers is the
   owner's with three people more: an attacker, who is an analyst as the owner's are; a victim beside them; a steward.
3. Everything forbidden that is not data holds a canary as well: records, keys, files, logs, workspaces, environment.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from kaianalytics.attack.canaries import Canaries, Place
from kaianalytics.attack.planting import read_source, write_source
from kaianalytics.attack.sources import STOPS_LATER, Sources, may_be_seen
from kaianalytics.custody import contracts as contract_files
from kaianalytics.custody.documents import read_document
from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import Refused
from kaianalytics.gateway.tokens import Tokens, utc_now
from kaianalytics.policy.contract import Contracts, DataContract
from kaianalytics.policy.reading import Faults
from kaianalytics.policy.roles import Company
from kaianalytics.records import stops
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.warehouse import published
from kaianalytics.warehouse.builder import build
from kaianalytics.warehouse.ordering import build_order
from kaianalytics.warehouse.pseudonyms import Pseudonymiser
from kaianalytics.warehouse.workshop import Room

ATTACKER, VICTIM, STEWARD = "kai-attacker", "kai-victim", "kai-steward"
SAMPLE_ROWS = 2_000
_SECRET = re.compile(r"[0-9a-f]{64}")
_SHORTEST_OWN, _MOST_OWN = 6, 2_000
ENVIRONMENT, PLANTED_LOG = "CANARY_OF_AN_ATTACK", "earlier.log"


@dataclass(frozen=True)
class World:
    """The copy, made; nothing serves it yet."""

    home: Home
    keys: Keys
    contracts: Contracts
    canaries: Canaries
    made: Sources
    environment: str  # the canary of the gateway's environment

    @classmethod
    def create(cls, root: Path, contracts: Path, as_of: date, *, seed: int, sources: Path | None = None) -> World:
        """A world under `root` from the owner's contracts; with rows of the owner's `sources` where they are given."""
        folder = root / "contracts"
        _copy_contracts(contracts, folder)
        loaded = contract_files.load(folder)
        canaries = Canaries(Random(seed))
        made = Sources(loaded, canaries, as_of, Random(seed))
        rows = made.make()
        (root / "sources").mkdir()
        for name, product in loaded.products.items():
            own = read_source(sources, product, SAMPLE_ROWS) if sources else []
            _look_for_own(canaries, product, own)
            write_source(root / "sources", product, [*own, *rows[name]])
        home = Home.create(root / "home", folder, root / "sources")
        keys = Keys.create(home)
        world = cls(home, keys, loaded, canaries, made, canaries.word(Place("the gateway's environment")))
        world._plant()
        return world

    def build(self) -> None:
        """Build and publish the stores; then those people ask to stop who do so after the build."""
        build(build_order(self.home, self.made.as_of, datetime.now(UTC), Room(memory="1GB")))
        with self.records() as records:
            for population in self.contracts.purposes.populations:
                for person in self.made.of_kind(population, STOPS_LATER):
                    self._stop(records, population, str(person.key))

    def may_be_seen(self, place: Place, purpose: str) -> bool:
        """Whether the contracts show what was planted there as rows of the purpose."""
        return may_be_seen(place, self.contracts, purpose)

    def identity(self, user: str, uid: int | None = None, days: int = 1) -> str:
        """An identity token, as `kai identity issue` makes it."""
        owner = os.getuid() if uid is None else uid
        return Tokens(self.keys.token_key).mint_identity(user, owner, utc_now(), timedelta(days=days))

    def store(self, purpose: str, access: Any = "rows") -> Path:
        """A store's file."""
        return published.current(self.home.stores).store_path(purpose, access)

    def token_file(self, user: str) -> Path:
        """The file of a person's identity token."""
        return self.home.identities / f"{user}.token"

    @contextmanager
    def records(self) -> Iterator[Records]:
        """The copy's records."""
        records = Records.of(self.home, self.keys)
        try:
            yield records
        finally:
            records.close()

    def _stop(self, records: Records, population: str, person: str) -> None:
        known = self.contracts.purposes.populations[population]
        domain = self.contracts.products[known.product].column(known.key).key or known.key
        purposes = self.contracts.purposes.purposes
        names = {p: Pseudonymiser(self.keys.pseudonym_key(p), domain).name(person) for p in purposes}
        with records.writing(AuditEvent(utc_now(), "custodian", "stop.recorded", "all")) as tx:
            stops.record(tx, stops.Stop("all", population, names))

    def _plant(self) -> None:
        """Canaries in what is no data: records, keys, files, workspaces; and each person's token."""
        with self.records() as records:
            word = self.canaries.word(Place("the audit chain"))
            records.append(AuditEvent(utc_now(), VICTIM, "note.planted", word, {"note": word}))
        for file in self.home.keys.iterdir():
            for secret in _SECRET.findall(file.read_text(encoding="ascii")):
                self.canaries.secret(secret, Place("the custodian's keys"))
        for purpose in self.contracts.purposes.open:
            self.canaries.secret(self.keys.pseudonym_key(purpose).hex(), Place("a pseudonym key"))
        for user in (ATTACKER, VICTIM):
            token = self.identity(user)
            self.token_file(user).write_text(token, encoding="ascii")
            self.token_file(user).chmod(0o600)
            if user == VICTIM:
                self.canaries.secret(token, Place("another person's identity token"))
        for path, what in self._files():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(self.canaries.word(Place(what)), encoding="ascii")

    def _files(self) -> Iterator[tuple[Path, str]]:
        yield self.home.reports / "planted.html", "a report's folder"
        yield self.home.log.with_name(PLANTED_LOG), "the custodian's logs"
        yield self.home.root / "planted.txt", "the custodian's home"
        for purpose in self.contracts.purposes.open:
            yield self.home.workspaces(VICTIM, purpose) / "planted.txt", "another person's workspace"


def _look_for_own(canaries: Canaries, product: DataContract, rows: Sequence[Mapping[str, Any]]) -> None:
    """What names the owner's own people is looked for as well: some values of each such column, none of them short."""
    for column in (c for c in product.columns if c.classification in ("direct-identifier", "key")):
        place = Place("the owner's own sources", product.product, column.name)
        for value in {str(row[column.name]) for row in rows if row[column.name] is not None}:
            if len(value) >= _SHORTEST_OWN and canaries.secrets < _MOST_OWN:
                canaries.secret(value, place)


def _copy_contracts(origin: Path, folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    for file in sorted(origin.iterdir()):
        if file.is_file() and file.suffix in (".yaml", ".yml"):
            (folder / file.name).write_bytes(file.read_bytes())
    loaded = contract_files.load(folder)
    document = read_document(folder / contract_files.ROLES, Faults())
    assert document is not None and isinstance(document.data, dict)  # it was read a moment ago
    register = dict(document.data)
    today, later = date.today() - timedelta(days=1), date.today() + timedelta(days=30)
    appointed = {"company": _company(loaded).key, "appointed": today, "acknowledged": today, "expires": later}
    people = {ATTACKER: ["analyst"], VICTIM: ["analyst"], STEWARD: ["steward"]}
    register["identities"] = {
        **register["identities"],
        **{key: {"name": key, "roles": roles, **appointed} for key, roles in people.items()},
    }
    register["grants"] = [
        *register.get("grants", []),
        *(
            {
                "identity": user, "purpose": purpose, "from": today, "to": later, "reason": "Attacks on a copy",
                "granted_by": STEWARD,
            }
            for user in (ATTACKER, VICTIM)
            for purpose in loaded.purposes.open
        ),
    ]  # fmt: skip
    (folder / contract_files.ROLES).write_text(json.dumps(register, default=str), encoding="utf-8")  # JSON is YAML


def _company(contracts: Contracts) -> Company:
    """The company of an analyst of the owner's, else one that could have some: the first in the joint use."""
    roles = contracts.roles
    analysts = [roles.companies[roles.identities[key].company] for key in roles.holders("analyst")]
    fit = [each for each in (*analysts, *roles.companies.values()) if each.joint_use]
    for company in fit:
        if company.country in roles.assessed_countries:
            return company
    raise Refused(
        "NO_COMPANY",
        "No registered company could have an analyst.",
        rule="an attacker is an analyst: of a company in the joint use, in a country that was assessed",
        hint="there is nothing to attack until roles.yaml has one",
    )
