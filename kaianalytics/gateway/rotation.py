"""Keys rotated: another one made, put in place at one stroke, and both ends of it in the chain.

A rotation, in its order; killed between any two steps, either the old key works or the new one does:
    1. no gateway holds the home, and none starts meanwhile; a rotation that was cut short is settled
    2. the chain says what will be replaced by what
    3. under the write lock: the file of keys is replaced, then the head is signed anew; until it is, the old key's head
       counts, if it is the one that the old key signed last
    4. the chain says that it was done; where a crash came before, the next start or rotation says it (`settle`)

A new token key ends every token there is. A new signing key ends nothing: what was signed before still verifies. A new
pseudonym master is taken up by the next build, which first carries over the stop requests that name people by an
earlier one (`carry_stops`); answers recorded on earlier builds are not free to repeat on that one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys, Kind, new_secret
from kaianalytics.policy.contract import Contracts
from kaianalytics.records import audit, stops
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.records.stops import Stop
from kaianalytics.warehouse.pseudonyms import Pseudonymiser
from kaianalytics.warehouse.units import unit_keys

ROTATING, ROTATED = "keys.rotating", "keys.rotated"


def rotate(home: Home, kind: Kind, now: datetime) -> Keys:
    """Another key of a kind, in place and recorded; HomeFault HOME_HELD while a gateway serves the home."""
    with home.hold():  # 1
        keys = Keys.load(home)
        with closing(Records.of(home, keys)) as records:
            settle(records, keys, now)
            return _rotated(home, records, keys, kind, now)


def settle(records: Records, keys: Keys, now: datetime) -> None:
    """Record the end of a rotation whose key is in place, where a crash came between."""
    with records.reading() as view:
        begun = {event.sequence: event.facts() for event in audit.events(view, kind=ROTATING)}
        ended = {event.facts()["begun"] for event in audit.events(view, kind=ROTATED)}
    for number, facts in begun.items():
        if number not in ended and keys.id_of(facts["kind"]) == facts["new"]:
            _record_end(records, facts["kind"], facts["new"], number, now)


def carry_stops(home: Home, keys: Keys, contracts: Contracts, now: datetime) -> int:
    """Record the people whom stops name by an earlier pseudonym key by the present one too; how many names that took.

    SourceFault where the population's source can't be read: then nothing may be built.
    """
    with closing(Records.of(home, keys)) as records:
        with records.reading() as view:
            recorded = stops.recorded(view)
        named = [
            Stop(purpose, population, {purpose: name})
            for population in sorted({stop.population for stop in recorded} & set(contracts.purposes.populations))
            for purpose, name in _named_anew(population, recorded, keys, contracts, home)
        ]
        if named:
            with records.writing(AuditEvent(now, "custodian", "stops.carried", "", {"names": len(named)})) as tx:
                for each in named:
                    stops.record(tx, each)
    return len(named)


def _rotated(home: Home, records: Records, keys: Keys, kind: Kind, now: datetime) -> Keys:
    secret = new_secret()
    facts = {"kind": kind, "old": keys.id_of(kind), "new": keys.successor(kind, secret).id_of(kind)}
    number = records.append(AuditEvent(now, "custodian", ROTATING, kind, facts))  # 2
    rotated = records.rotate(lambda last: keys.successor(kind, secret, last).replace(home))  # 3
    _record_end(records, kind, rotated.id_of(kind), number, now)  # 4
    return rotated


def _record_end(records: Records, kind: str, new: str, begun: int, now: datetime) -> None:
    records.append(AuditEvent(now, "custodian", ROTATED, kind, {"kind": kind, "new": new, "begun": begun}))


def _named_anew(
    population: str, recorded: Iterable[Stop], keys: Keys, contracts: Contracts, home: Home
) -> Iterator[tuple[str, str]]:
    """Purpose and pseudonym of each stopped person that an earlier key named and the present one does not yet."""
    known: dict[str, set[str]] = defaultdict(set)
    for purpose, name in (
        pair for stop in recorded if stop.population == population for pair in stop.pseudonyms.items()
    ):
        known[purpose].add(name)
    stated = contracts.purposes.populations[population]
    contract = contracts.products[stated.product]
    domain = contract.column(stated.key).key or stated.key
    earlier = {p: [Pseudonymiser(key, domain) for key in keys.earlier_pseudonym_keys(p)] for p in known}
    for values in unit_keys(contract, stated.key, home.sources) if any(earlier.values()) else ():
        for purpose, names in known.items():
            present = Pseudonymiser(keys.pseudonym_key(purpose), domain).names(values)
            for old in earlier[purpose]:
                for before, now in zip(old.names(values), present, strict=True):
                    if before in names and now not in names:
                        names.add(now)
                        yield purpose, now
