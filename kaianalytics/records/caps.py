"""Accounts and caps: how much privacy loss a population, a purpose, a product, an analyst, an approval may add up to.

Rules (law 8):
    1. One account per population; the account's cap is its lifetime total, the other caps are policy within it.
    2. What a contract declares is a cap's *first* value. From then on the ledger's own cap holds: another value in a
       contract changes nothing and is shown to the steward as a `Difference`.
    3. Renaming opens nothing: once the ledger has an account, no contract opens another; a steward does.
    4. A cap rises by a steward's act: signed, with its reason, inside the event's body. Nothing lowers or removes one.
    5. No cap means nothing may be spent (law 1); only a product or an approval without a cap of its own is bounded by
       the others alone.
    6. A declared allowance is rounded down to whole units: towards spent (law 7).
    7. Each window of time has the cap declared for every window, until a steward gives one a wider one. It refills
       nothing: what a window is charged, the account was charged too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context
from typing import Any

from sqlalchemy import select

from kaianalytics.custody.keys import Keys
from kaianalytics.errors import BudgetRefused
from kaianalytics.policy.purpose import Allowance, Population
from kaianalytics.privacy.loss import DELTA_UNITS, RHO_UNITS, PrivacyLoss
from kaianalytics.records.audit import StoredEvent, canonical
from kaianalytics.records.tables import accounts, caps
from kaianalytics.records.transaction import Reading, Transaction

ACCOUNT, PURPOSE, PRODUCT, ANALYST, APPROVAL = "account", "purpose", "product", "analyst", "approval"
WINDOW = "window"
KINDS = (ACCOUNT, PURPOSE, PRODUCT, ANALYST, APPROVAL, WINDOW)
NAMED_ONLY = (PRODUCT, APPROVAL)  # without a cap of its own, one of these is bounded by the others alone
FOR_EVERY = (ANALYST, WINDOW)  # one of these without a cap of its own has everyone's
EVERY = "*"  # the name of that cap

CapKey = tuple[str, str, str]  # population, kind, key
_SIGNED = "kaianalytics cap v1\n"
_RULE = "a cap changes by a steward's signed, audited act alone (law 8)"


@dataclass(frozen=True)
class Difference:
    """A cap that the contracts declare otherwise than the ledger holds it; `effective` None: the ledger has none."""

    population: str
    kind: str
    key: str
    declared: PrivacyLoss
    effective: PrivacyLoss | None


def keys_of(
    population: str, purpose: str, analyst: str, products: Iterable[str] = (), approval: str = ""
) -> tuple[CapKey, ...]:
    """The caps that bind one charge, widest first, but for those of its windows."""
    named = [(ACCOUNT, ""), (PURPOSE, purpose), *((PRODUCT, product) for product in products), (ANALYST, analyst)]
    return tuple((population, kind, name) for kind, name in [*named, *([(APPROVAL, approval)] if approval else [])])


def in_force(view: Reading, key: CapKey) -> PrivacyLoss | None:
    """The cap that holds for `key`: its own, or where one holds for everyone, that; None where there is none."""
    own = _held(view, key)
    population, kind, _ = key
    return _held(view, (population, kind, EVERY)) if own is None and kind in FOR_EVERY else own


def windows_in_force(view: Reading, population: str, windows: Collection[str]) -> Mapping[str, PrivacyLoss]:
    """The cap that holds for each of these windows; where there is none, nothing may be spent."""
    query = select(caps).where(caps.c.population == population, caps.c.kind == WINDOW)
    stated = {
        row.key: PrivacyLoss(row.rho_units, row.delta_units)
        for row in view.rows(query.where(caps.c.key.in_([*windows, EVERY])))
    }
    everyones = stated.get(EVERY, PrivacyLoss(0))
    return {window: stated.get(window, everyones) for window in windows}


def has_account(view: Reading, population: str) -> bool:
    """Whether the population's account is open."""
    return view.one(select(accounts.c.seq).where(accounts.c.population == population)) is not None


def demand_account(view: Reading, population: str) -> None:
    """BudgetRefused ACCOUNT_ABSENT unless the population's account is open."""
    if not has_account(view, population):
        raise BudgetRefused(
            "ACCOUNT_ABSENT",
            f"The population {population!r} has no account of privacy loss.",
            rule="no account means nothing may be spent (law 1)",
            hint="ask a steward to open it",
        )


def held(view: Reading, population: str) -> Iterator[tuple[CapKey, PrivacyLoss]]:
    """Every cap of one population, for a steward's table."""
    query = select(caps).where(caps.c.population == population).order_by(caps.c.kind, caps.c.key)
    for row in view.rows(query):
        yield (row.population, row.kind, row.key), PrivacyLoss(row.rho_units, row.delta_units)


def rounded_down(allowance: Allowance) -> PrivacyLoss:
    """A stated allowance in whole units, none of them more than was stated; ValueError unless finite and in range."""
    PrivacyLoss.of(allowance.rho, allowance.delta)  # its range is the range of every loss
    floor = Context(prec=60, rounding=ROUND_FLOOR)
    rho = floor.to_integral_value(floor.multiply(allowance.rho, RHO_UNITS))
    return PrivacyLoss(int(rho), int(floor.to_integral_value(floor.multiply(allowance.delta, DELTA_UNITS))))


def differences(view: Reading, populations: Iterable[Population]) -> tuple[Difference, ...]:
    """Every declared cap that the ledger holds otherwise or not at all, in the order of the declarations."""
    return tuple(
        Difference(*key, declared, held)
        for population in populations
        for key, declared in _declared(population).items()
        if (held := _held(view, key)) != declared
    )


def declare(tx: Transaction, populations: Iterable[Population]) -> tuple[Difference, ...]:
    """Opens what the ledger does not have yet, and returns what still differs, for the steward to see.

    The first declaration opens every population's account and caps. Later ones add absent caps to open accounts; they
    change no cap, and a population without an account stays among the differences until a steward opens it.
    """
    populations = tuple(populations)
    first = not _opened_before(tx)
    for population in populations:
        if first or has_account(tx, population.name):
            _open_absent(tx, population)
    return differences(tx, populations)


def open_account(tx: Transaction, population: str, allowance: PrivacyLoss) -> bool:
    """Opens a population's account unless it is open; whether it was opened now.

    BudgetRefused ACCOUNT_NEEDS_STEWARD once earlier events have opened accounts: then `raise_cap` opens another.
    """
    if has_account(tx, population):
        return False
    if _opened_before(tx):
        raise BudgetRefused(
            "ACCOUNT_NEEDS_STEWARD",
            f"The ledger has accounts already, and none for the population {population!r}.",
            rule="renaming or a new version opens nothing (law 8)",
            hint="if these are truly other people, ask a steward to open the account",
        )
    _insert_account(tx, population, allowance)
    return True


def cap_approval(tx: Transaction, population: str, approval: str, allowance: PrivacyLoss) -> None:
    """Bounds what one approval may spend in all; BudgetRefused CAP_EXISTS if it is bounded already."""
    if not approval:
        raise ValueError("an approval's cap names its passport")
    if _held(tx, (population, APPROVAL, approval)) is not None:
        raise BudgetRefused(
            "CAP_EXISTS", "This approval has its cap already.", rule=_RULE, hint="a steward may raise it"
        )
    demand_account(tx, population)
    _insert_cap(tx, (population, APPROVAL, approval), allowance)


def raise_cap(tx: Transaction, key: CapKey, to: PrivacyLoss, *, steward: str, reason: str) -> None:
    """Raises one cap by a steward's act, which is signed into the event; who is a steward is the caller's to know.

    An `account` key without an account opens it; an `analyst` or `window` key gives that one a cap of its own.
    BudgetRefused CAP_NOT_RAISED, CAP_ABSENT or ACCOUNT_ABSENT; ValueError without a steward and a reason, or for a key
    that names no cap.
    """
    if key[1] not in KINDS or bool(key[2]) == (key[1] == ACCOUNT):
        raise ValueError("a cap's key is (population, kind, name), and only an account has no name")
    if not (steward and reason):
        raise ValueError("a cap is raised by someone, for a reason")
    before = in_force(tx, key)
    _demand_rise(key, before, to)
    _sign_act(tx, key, before, to, steward, reason)
    _set_cap(tx, key, to)


def steward_signed(event: StoredEvent, key: CapKey, cap: tuple[int, int], keys: Keys) -> bool:
    """Whether the event carries a signed act that sets exactly this cap, in exactly this event."""
    facts = event.facts()
    act, signature = facts.get("act"), facts.get("signature")
    if not (isinstance(act, dict) and isinstance(signature, str)):
        return False
    meant = {"cap": list(key), "to": _units(PrivacyLoss(*cap)), "at": event.at, "sequence": event.sequence}
    if any(act.get(name) != value for name, value in meant.items()):
        return False
    try:
        return keys.verify(bytes.fromhex(signature), _act_bytes(act), event=event.sequence)
    except ValueError:  # not hex
        return False


def _held(view: Reading, key: CapKey) -> PrivacyLoss | None:
    population, kind, name = key
    row = view.one(
        select(caps.c.rho_units, caps.c.delta_units).where(
            caps.c.population == population, caps.c.kind == kind, caps.c.key == name
        )
    )
    return None if row is None else PrivacyLoss(*row)


def _declared(population: Population) -> dict[CapKey, PrivacyLoss]:
    stated: dict[CapKey, Allowance] = {(population.name, ACCOUNT, ""): population.account}
    stated |= {(population.name, PURPOSE, purpose): cap for purpose, cap in population.purpose_caps.items()}
    stated |= {(population.name, PRODUCT, product): cap for product, cap in population.product_caps.items()}
    stated[population.name, ANALYST, EVERY] = population.analyst_cap
    if population.window_cap is not None:
        stated[population.name, WINDOW, EVERY] = population.window_cap
    return {key: rounded_down(allowance) for key, allowance in stated.items()}


def _opened_before(tx: Transaction) -> bool:
    return tx.one(select(accounts.c.seq).where(accounts.c.seq < tx.sequence)) is not None


def _open_absent(tx: Transaction, population: Population) -> None:
    declared = _declared(population)
    open_account(tx, population.name, declared.pop((population.name, ACCOUNT, "")))
    for key, allowance in declared.items():
        if _held(tx, key) is None:
            _insert_cap(tx, key, allowance)


def _insert_account(tx: Transaction, population: str, allowance: PrivacyLoss) -> None:
    tx.insert(accounts, population=population, opened_at=tx.at)
    _insert_cap(tx, (population, ACCOUNT, ""), allowance)


def _insert_cap(tx: Transaction, key: CapKey, allowance: PrivacyLoss) -> None:
    tx.insert(caps, **_named(key), **_units(allowance))


def _set_cap(tx: Transaction, key: CapKey, to: PrivacyLoss) -> None:
    population, kind, _ = key
    if kind == ACCOUNT and not has_account(tx, population):
        _insert_account(tx, population, to)
    elif _held(tx, key) is None:
        demand_account(tx, population)
        _insert_cap(tx, key, to)
    else:
        tx.update(caps, _named(key), {}, **_units(to))


def _named(key: CapKey) -> dict[str, str]:
    return dict(zip(("population", "kind", "key"), key, strict=True))


def _units(loss: PrivacyLoss) -> dict[str, int]:
    return {"rho_units": loss.rho_units, "delta_units": loss.delta_units}


def _demand_rise(key: CapKey, before: PrivacyLoss | None, to: PrivacyLoss) -> None:
    if before is None and key[1] in NAMED_ONLY:
        raise BudgetRefused("CAP_ABSENT", f"This {key[1]} has no cap of its own to raise.", rule=_RULE)
    if before is not None and (before == to or not before.within(to)):
        raise BudgetRefused(
            "CAP_NOT_RAISED",
            "A cap only rises: this act would lower it, or leave it as it is.",
            rule=_RULE,
            hint="name a ρ and a δ of which neither is below the cap in force",
        )


def _sign_act(
    tx: Transaction, key: CapKey, before: PrivacyLoss | None, to: PrivacyLoss, steward: str, reason: str
) -> None:
    act = {
        "cap": list(key),
        "from": None if before is None else _units(before),
        "to": _units(to),
        "steward": steward,
        "reason": reason,
        "at": tx.at,
        "sequence": tx.sequence,
    }
    tx.event.note(act=act, signature=tx.sign(_act_bytes(act)).hex())


def _act_bytes(act: Mapping[str, Any]) -> bytes:
    return (_SIGNED + canonical(act)).encode()
