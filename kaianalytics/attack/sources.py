"""Sources for a copy of the owner's world, made from the contracts alone, with canaries in them.

Laws:
1. The contracts alone say what a source is: its columns, their types, who its rows are about. Nothing else is assumed.
2. There are people of each kind that the contracts tell apart. Whoever may not be in a store has canaries in every
   column that can hold one; so has one person of those who may, and each column that no purpose shows as it is.
3. Where a canary would itself be a reason to leave a row out, or change who somebody is (retention, residence, choices,
   stop requests, windows of time), the value is an ordinary one.
4. Every raw key is a canary: what leaves the sources of a key is a pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from kaianalytics.attack.canaries import Canaries, Place
from kaianalytics.policy.contract import Column, Contracts, DataContract
from kaianalytics.policy.purpose import Population
from kaianalytics.policy.rules import day_of

Row = dict[str, Any]
Rows = dict[str, list[Row]]

ORDINARY = "anybody"
MARKED = "one person's own values"
STOPPED = "who had asked to stop"
OPTED_OUT = "who opted out"
ABROAD = "who lives elsewhere"
NO_CONSENT = "who did not consent"
UNLISTED = "whom no list names"
STOPS_LATER = "who asks to stop after the build"
PAST_RETENTION = "past its retention"
NAMES_ANOTHER = "that names such a person"
DROPPED = "a dropped column"
RAW_KEY = "a raw key"

OUT = (STOPPED, OPTED_OUT, ABROAD, UNLISTED)  # of no store of people
_ORDINARY_PEOPLE, _ROWS_EACH = 60, 3
_ELSEWHERE = "ZZ"


@dataclass(frozen=True)
class Person:
    """One privacy unit: its raw key, and why it may or may not be in the data."""

    key: Any
    kind: str

    @property
    def is_out(self) -> bool:
        """Whether no store may hold this person."""
        return self.kind in OUT


@dataclass
class Sources:
    """The rows of every source of one world."""

    contracts: Contracts
    canaries: Canaries
    as_of: date
    random: Random = field(default_factory=Random)
    people: dict[str, list[Person]] = field(default_factory=dict)  # by population
    rows: Rows = field(default_factory=dict)
    _planted: dict[tuple[Place, bool], Any] = field(default_factory=dict)

    def make(self) -> Rows:
        """The rows of each product."""
        for name, population in self.contracts.purposes.populations.items():
            self.people[name] = list(self._people(population))
        about_nobody_first = sorted(
            self.contracts.products.values(), key=lambda product: product.population is not None
        )
        for product in about_nobody_first:
            self.rows[product.product] = _each_key_once(product, self._rows(product))
        return self.rows

    def planted(self, place: Place) -> Any:
        """The canary of a place; None where there is none."""
        return next(
            (self._planted[place, hidden] for hidden in (True, False) if (place, hidden) in self._planted), None
        )

    def of_kind(self, population: str, kind: str) -> list[Person]:
        """The people of one kind."""
        return [person for person in self.people.get(population, ()) if person.kind == kind]

    def _people(self, population: Population) -> Iterator[Person]:
        column = self.contracts.products[population.product].column(population.key)
        kinds = [MARKED, STOPS_LATER, UNLISTED]
        kinds += [STOPPED] if population.stops else []
        kinds += [OPTED_OUT, NO_CONSENT] if population.consents else []
        kinds += [ABROAD] if population.residence else []
        for kind in (*[ORDINARY] * _ORDINARY_PEOPLE, *kinds):
            yield Person(self._key(column, population.product), kind)

    def _key(self, column: Column, product: str) -> Any:
        place = Place(RAW_KEY, product, column.name)
        return self.canaries.value(column.type, place) if column.classification == "key" else self._plain(column)

    def _rows(self, product: DataContract) -> Iterator[Row]:
        population = self.contracts.purposes.populations.get(product.population or "")
        if population is None:
            yield from (self._row(product, None, ORDINARY) for _ in range(8))
            return
        people = self.people[population.name]
        if product.product == population.product:
            yield from (self._row(product, person, person.kind) for person in people if person.kind != UNLISTED)
        elif population.consents and product.product == population.consents.product:
            yield from self._choices(product, population, people)
        elif population.stops and product.product == population.stops.product:
            yield from self._stops(product, population, people)
        else:
            yield from self._of_people(product, people)

    def _of_people(self, product: DataContract, people: Iterable[Person]) -> Iterator[Row]:
        marked = None
        for person in people:
            for _ in range(_ROWS_EACH):
                yield self._row(product, person, person.kind)
            marked = person if person.kind == MARKED else marked
        if product.retention and marked:
            old = self._row(product, marked, PAST_RETENTION)
            past = self.as_of - timedelta(days=product.retention.days + 40)
            yield {**old, product.retention.column: self._timed(product.column(product.retention.column), past)}
        another = self._another_person(product)
        out = next((person for person in people if person.is_out), None)
        if another and marked and out:
            yield {**self._row(product, marked, NAMES_ANOTHER), another.name: out.key}

    def _another_person(self, product: DataContract) -> Column | None:
        """A column that names a person other than the row's own."""
        own = product.column(product.unit or "")
        return next((c for c in product.columns if c.key == own.key and c.name != own.name and own.key), None)

    def _choices(self, product: DataContract, population: Population, people: Iterable[Person]) -> Iterator[Row]:
        source = population.consents
        assert source is not None
        refused = next((v for v in product.column(source.state).enum if v != source.granted), "refused")
        bases = {rule.basis.key for each in self.contracts.products.values() for rule in each.purposes.values()}
        own = set(self.contracts.purposes.open)
        for person in people:
            for choice in sorted((bases | own) - {""}):
                no = person.kind == OPTED_OUT or (person.kind == NO_CONSENT and choice not in own)
                row = self._row(product, person, person.kind)
                at = self._timed(product.column(source.decided_at), self.as_of - timedelta(days=30))
                state = refused if no else source.granted
                yield {**row, source.choice: choice, source.state: state, source.decided_at: at}

    def _stops(self, product: DataContract, population: Population, people: Iterable[Person]) -> Iterator[Row]:
        source = population.stops
        assert source is not None
        for person in people:
            if person.kind == STOPPED:
                at = self._timed(product.column(source.received_at), self.as_of - timedelta(days=20))
                yield {**self._row(product, person, person.kind), source.scope: "all", source.received_at: at}

    def _row(self, product: DataContract, person: Person | None, kind: str) -> Row:
        return {column.name: self._value(product, column, person, kind) for column in product.columns}

    def _value(self, product: DataContract, column: Column, person: Person | None, kind: str) -> Any:
        if person is not None and (column.name == product.unit or self._names_people(product, column)):
            return person.key
        if self._is_ruling(product, column):
            return self._ruling(product, column, kind)
        if (found := self._referred(column)) is not None:
            return found
        if column.primary_key or column.classification == "key":
            return self._key(column, product.product)
        hidden = kind == ORDINARY and not self._shown_as_it_is(column)
        if kind == ORDINARY and not hidden:
            return self._plain(column)
        place = Place(DROPPED if hidden else kind, product.product, column.name)
        return self._canary(column, place, of_nobody=kind in (*OUT, STOPS_LATER, PAST_RETENTION, NAMES_ANOTHER))

    def _canary(self, column: Column, place: Place, *, of_nobody: bool) -> Any:
        """The place's canary, the same in each row."""
        known = (place, of_nobody)
        if known not in self._planted:
            value = self.canaries.value(column.type, place, of_nobody=of_nobody)
            self._planted[known] = self._plain(column) if value is None else value
        return self._planted[known]

    def _shown_as_it_is(self, column: Column) -> bool:
        """Whether an ordinary value is wanted: some purpose keeps it, or makes a class of it, which must be known."""
        return any(rule.action in ("keep", "generalise") for rule in column.rules.values())

    def _names_people(self, product: DataContract, column: Column) -> bool:
        return bool(product.unit and column.key and column.key == product.column(product.unit).key)

    def _is_ruling(self, product: DataContract, column: Column) -> bool:
        """Whether the value decides who or what is left out (law 3)."""
        population = self.contracts.purposes.populations.get(product.population or "")
        times = {product.retention.column} if product.retention else set()
        if product.windows:
            times |= {product.windows.column, product.windows.arrived or product.windows.column}
        own = population is not None and product.product == population.product and column.name == population.residence
        return own or column.name in times

    def _ruling(self, product: DataContract, column: Column, kind: str) -> Any:
        population = self.contracts.purposes.populations[product.population or ""]
        if column.name == population.residence and product.product == population.product:
            abroad = [value for value in column.enum if value not in population.countries] or [_ELSEWHERE]
            return self.random.choice(abroad if kind == ABROAD else sorted(population.countries))
        days = min(product.retention.days, 300) if product.retention else 300
        within = self.as_of - timedelta(days=self.random.randrange(2, max(3, days - 35)))
        low, high = _day_or(column.minimum, within), _day_or(column.maximum, within)
        return self._timed(column, min(max(within, low), high) if low <= self.as_of else within)

    def _referred(self, column: Column) -> Any:
        """A value of the public table that the column refers to; None where it refers to none."""
        for reference in column.references:
            name, _, other = reference.rpartition(".")
            product = self.contracts.products.get(name)
            if product is not None and product.population is None and self.rows.get(name):
                return self.random.choice(self.rows[name])[other]
        return None

    def _plain(self, column: Column) -> Any:
        """An ordinary value, inside of what the contract declares."""
        if column.type == "boolean":
            return self.random.random() < 0.5
        if column.enum:
            chosen = self.random.choice(column.enum)
            return int(chosen) if column.type == "integer" else chosen
        if column.type == "string":
            return f"plain {self.random.randrange(9)}"
        if column.type in ("date", "timestamp"):
            low = _day_or(column.minimum, self.as_of - timedelta(days=300))
            high = max(_day_or(column.maximum, self.as_of), low)
            return self._timed(column, low + timedelta(days=self.random.randrange((high - low).days + 1)))
        return self._plain_number(column, float(column.minimum or 0), float(column.maximum or 100))

    def _plain_number(self, column: Column, low: float, high: float) -> int | float:
        if column.type == "integer":
            return self.random.randint(int(low), int(high))
        step = float(column.step or 1)
        return round(low + step * self.random.randrange(max(1, min(10_000, int((high - low) / step) + 1))), 6)

    def _timed(self, column: Column, day: date) -> date | datetime:
        return day if column.type == "date" else datetime(day.year, day.month, day.day, 12, 30)


def may_be_seen(place: Place, contracts: Contracts, purpose: str) -> bool:
    """Whether the contracts show this place's values as rows of a purpose: law 1 of `canaries`."""
    product = contracts.products.get(place.product)
    rule = product.purposes.get(purpose) if product else None
    if product is None or rule is None or "rows" not in rule.access or place.what not in (MARKED, NO_CONSENT):
        return False
    if place.what == NO_CONSENT and rule.basis.kind == "prior-consent":
        return False
    shown = product.column(place.column).rules.get(purpose)
    return shown is not None and (shown.action == "keep" or (shown.action == "generalise" and shown.how == "day"))


def _day_or(written: str | None, otherwise: date) -> date:
    return day_of(written) if written else otherwise


def _each_key_once(product: DataContract, rows: Iterable[Row]) -> list[Row]:
    """The rows without those whose primary key was there before."""
    key = [column.name for column in product.columns if column.primary_key]
    kept = {tuple(row[name] for name in key) if key else number: row for number, row in enumerate(rows)}
    return list(kept.values())
