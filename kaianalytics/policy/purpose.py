"""Purposes of use: what a use is for, bound to a clause of the privacy policy; and the populations it may learn about.

Laws: every purpose says whether it is open, and nothing is open by default; a population says where its residences,
choices and stop requests are kept, or in a word why it has none; each open purpose has a cap within the account.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from kaianalytics.policy.clauses import PURPOSE_CLAUSES
from kaianalytics.policy.reading import Document, Faults, Part
from kaianalytics.privacy.loss import PrivacyLoss

TIME_BUCKET = Decimal("0.25")  # a small question takes less, and a notebook still feels quick
SHORTEST_BUCKET, LONGEST_BUCKET = Decimal("0.05"), Decimal(60)

# The fields of a purpose and of a population in purposes.yaml, and what each means: the reference page is made of this.
PURPOSE_FIELDS: Mapping[str, str] = {
    "title": "Its name on screens.",
    "clause": "The clause of the privacy policy that states it.",
    "open": "Whether the sandbox serves it: only then it has stores.",
    "description": "What it is for, in a sentence.",
    "dpv": "Terms of the Data Privacy Vocabulary.",
    "fideslang": "Terms of fideslang.",
    "releases_of": "Other purposes whose recorded answers its analysts may be shown, where they may ask about the same "
    "products themselves: `kai.releases(purpose=…)`. Without it each purpose sees its own alone.",
}
POPULATION_FIELDS: Mapping[str, str] = {
    "product": "The product that lists the units.",
    "key": "Its column that names them: required, and the population's own privacy unit.",
    "account": "`{rho, delta}`: all that may ever be learnt of these units, over all products and purposes.",
    "purpose_caps": "`{purpose: {rho, delta}}`: a cap within the account for each open purpose.",
    "product_caps": "`{product: {rho, delta}}`: caps of single products, where wanted.",
    "analyst_cap": "`{rho, delta}`: the cap of each analyst.",
    "window_cap": "`{rho, delta}`: the cap of each window of time; needed where a product has `kai.windows`.",
    "reporting_delta": "The δ at which ε is told to people, and at which a price in ε is converted.",
    "question_delta": "The δ that one question about groups with unknown values spends; without it there are none.",
    "time_bucket": f"Seconds, {SHORTEST_BUCKET} to {LONGEST_BUCKET}; {TIME_BUCKET} where none are stated. A statistic "
    "leaves so long after its read began, or twice, four times, eight times as long, whatever the read took.",
    "residence": "`{column, countries}`: whose data may be processed, by where they live; or `{absent: why}`.",
    "consents": "`{product, unit, choice, state, decided_at, granted}`: where choices are kept; or `{absent: why}`.",
    "stops": "`{product, unit, scope, received_at}`: where stop requests are kept; or `{absent: why}`.",
}


@dataclass(frozen=True)
class Purpose:
    """One stated purpose of clause 3, and whether the sandbox may serve it."""

    key: str
    title: str
    clause: str
    open: bool
    description: str = ""
    dpv: tuple[str, ...] = ()
    fideslang: tuple[str, ...] = ()
    releases_of: tuple[str, ...] = ()  # other purposes whose recorded answers may be shown


@dataclass(frozen=True)
class Allowance:
    """A limit on accumulated privacy loss, as the contracts state it (decimal strings, never floats)."""

    rho: Decimal
    delta: Decimal

    def __post_init__(self) -> None:
        PrivacyLoss.of(self.rho, self.delta)  # raises where no ledger could hold it


@dataclass(frozen=True)
class Population:
    """All units of one kind, the one ledger account they own, and where their choices are recorded.

    `product`/`key` name the product and column that list the units. `countries` are the residences that may be
    processed: anyone else, and anyone whose residence is unknown, is in no store (clauses 9.1 and 11). Where
    `residence`, `consents` or `stops` is None, the contract says why there are none to join.
    """

    name: str
    product: str
    key: str
    account: Allowance
    purpose_caps: Mapping[str, Allowance]
    analyst_cap: Allowance
    residence: str | None = None
    countries: frozenset[str] = frozenset()
    consents: ChoiceSource | None = None
    stops: StopSource | None = None
    reporting_delta: Decimal = Decimal("0.000001")  # the δ at which ε is told to people
    product_caps: Mapping[str, Allowance] = field(default_factory=dict)
    window_cap: Allowance | None = None  # of each window; None: no question may read windows
    question_delta: Decimal | None = None  # δ that one question with unknown keys spends; None: there are none
    time_bucket: Decimal = TIME_BUCKET  # seconds from a read's beginning until its statistic leaves, or twice that, …

    def __post_init__(self) -> None:
        if bool(self.residence) != bool(self.countries):
            raise ValueError("a residence column comes with the countries that may be processed")


@dataclass(frozen=True)
class ChoiceSource:
    """Where choices are kept: the latest `state` per unit and `choice` by `decided_at` is the one that holds."""

    product: str
    unit: str
    choice: str
    state: str
    decided_at: str
    granted: str = "granted"


@dataclass(frozen=True)
class StopSource:
    """Where stop requests are kept; `scope` holds a purpose key or `all`."""

    product: str
    unit: str
    scope: str
    received_at: str


@dataclass(frozen=True)
class Purposes:
    """The registry of purposes and populations, as `purposes.yaml` states it."""

    version: str
    purposes: Mapping[str, Purpose]
    populations: Mapping[str, Population]

    @property
    def open(self) -> tuple[str, ...]:
        """The keys of the purposes that the sandbox serves, in order."""
        return tuple(sorted(key for key, purpose in self.purposes.items() if purpose.open))


def read_purposes(document: Document, faults: Faults) -> Purposes:
    """What can be read of a parsed `purposes.yaml`, every fault noted; good for use only where none was."""
    root = Part(document, (), faults)
    root.only("version", "purposes", "populations")
    version = root.text("version")
    purposes = {key: _purpose(key, part) for key, part in root.named("purposes").items()}
    _check_clauses(root, purposes)
    _check_releases(root, purposes)
    parts = root.named("populations")
    populations = {name: each for name, part in parts.items() if (each := _population(name, part, purposes))}
    return Purposes(version, purposes, populations)


def _purpose(key: str, part: Part) -> Purpose:
    part.only(*PURPOSE_FIELDS)
    return Purpose(
        key=key,
        title=part.text("title"),
        clause=part.choice("clause", PURPOSE_CLAUSES),
        open=part.flag("open"),
        description=part.text("description", ""),
        dpv=part.texts("dpv", required=False),
        fideslang=part.texts("fideslang", required=False),
        releases_of=part.texts("releases_of", required=False),
    )


def _check_releases(root: Part, purposes: Mapping[str, Purpose]) -> None:
    for key, purpose in purposes.items():
        for other in purpose.releases_of:
            if other == key or other not in purposes or not purposes[other].open:
                place = (*root.path, "purposes", key, "releases_of")
                root.faults.note(root.document, place, f"`{other}` is no other open purpose", "name one that is open")


def _check_clauses(root: Part, purposes: Mapping[str, Purpose]) -> None:
    stated = {purpose.clause for purpose in purposes.values()}
    for clause in PURPOSE_CLAUSES:
        if clause not in stated:
            root.fault(f"no purpose states clause {clause}", "state all eight, open or not", at="purposes")


def _population(name: str, part: Part, purposes: Mapping[str, Purpose]) -> Population | None:
    before = len(part.faults)
    part.only(*POPULATION_FIELDS)
    product, key, reporting_delta = part.text("product"), part.text("key"), part.decimal("reporting_delta")
    account, analyst_cap = _allowance(part.part("account")), _allowance(part.part("analyst_cap"))
    caps = {purpose: _allowance(cap) for purpose, cap in part.named("purpose_caps").items()}
    product_caps = {name: _allowance(cap) for name, cap in part.named("product_caps", required=False).items()}
    window_cap = _allowance(part.part("window_cap")) if part.has("window_cap") else None
    question_delta = part.decimal("question_delta") if part.has("question_delta") else None
    time_bucket = _time_bucket(part)
    residence, countries = _residence(part)
    consents, stops = _consents(part), _stops(part)
    if len(part.faults) != before:
        return None
    population = Population(
        *(name, product, key, account, caps, analyst_cap),
        *(residence, countries, consents, stops, reporting_delta),
        *(product_caps, window_cap, question_delta, time_bucket),
    )
    _check_caps(part, population, purposes)
    return population


def _time_bucket(part: Part) -> Decimal:
    if not part.has("time_bucket"):
        return TIME_BUCKET
    stated = part.decimal("time_bucket")
    if not SHORTEST_BUCKET <= stated <= LONGEST_BUCKET:
        part.fault(f"a time bucket has {SHORTEST_BUCKET} to {LONGEST_BUCKET} seconds", at="time_bucket")
        return TIME_BUCKET
    return stated


def _residence(part: Part) -> tuple[str | None, frozenset[str]]:
    stated = _or_absent(part, "residence", "column", "countries")
    return (stated.text("column"), frozenset(stated.texts("countries"))) if stated else (None, frozenset())


def _allowance(part: Part | None) -> Allowance:
    stand_in = Allowance(Decimal(1), Decimal(1))
    if part is None:
        return stand_in
    part.only("rho", "delta")
    try:
        return Allowance(part.decimal("rho"), part.decimal("delta"))
    except ValueError as error:
        part.fault(str(error))
        return stand_in


def _or_absent(part: Part, key: str, *fields: str) -> Part | None:
    """The mapping under `key`, or None where it says, in a sentence, that there is none."""
    stated = part.part(key)
    if stated is None or not stated.has("absent"):
        if stated is not None:
            stated.only(*fields, "absent")
        return stated
    stated.text("absent")
    stated.only("absent")
    return None


def _consents(part: Part) -> ChoiceSource | None:
    fields = ("product", "unit", "choice", "state", "decided_at", "granted")
    source = _or_absent(part, "consents", *fields)
    return ChoiceSource(*(source.text(field) for field in fields)) if source else None


def _stops(part: Part) -> StopSource | None:
    fields = ("product", "unit", "scope", "received_at")
    source = _or_absent(part, "stops", *fields)
    return StopSource(*(source.text(field) for field in fields)) if source else None


def _check_caps(part: Part, population: Population, purposes: Mapping[str, Purpose]) -> None:
    for key in population.purpose_caps:
        if key not in purposes:
            part.faults.note(part.document, (*part.path, "purpose_caps", key), f"purpose `{key}` is not stated above")
    for key, purpose in purposes.items():
        if purpose.open and key not in population.purpose_caps:
            part.fault(f"the open purpose `{key}` has no cap", at="purpose_caps")
    for place, cap in _caps(population):
        if cap.rho > population.account.rho or cap.delta > population.account.delta:
            part.faults.note(part.document, (*part.path, *place), "the cap is above the account's own")
    if population.question_delta is not None and population.question_delta > population.account.delta:
        part.fault("one question would spend more than the account's δ", at="question_delta")


def _caps(population: Population) -> Iterator[tuple[tuple[str, ...], Allowance]]:
    """Every cap within the account, and where it stands in the population."""
    for key, cap in population.purpose_caps.items():
        yield ("purpose_caps", key), cap
    for key, cap in population.product_caps.items():
        yield ("product_caps", key), cap
    yield ("analyst_cap",), population.analyst_cap
    if population.window_cap is not None:
        yield ("window_cap",), population.window_cap
