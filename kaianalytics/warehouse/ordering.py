"""The order to build a home's stores: from its own contracts and sources, with its own keys."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from kaianalytics.custody.contracts import load
from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.policy.contract import Contracts
from kaianalytics.policy.views import StorePlan, store_plan
from kaianalytics.warehouse.builder import BuildOrder
from kaianalytics.warehouse.workshop import Room


def build_order(home: Home, as_of: date, built_at: datetime, room: Room) -> BuildOrder:
    """The order to build a home's stores from its own contracts and sources, with its own keys."""
    contracts = load(home.contracts)
    keys = Keys.load(home)
    return BuildOrder(
        products=contracts.products,
        purposes=contracts.purposes,
        plans=_plans(contracts),
        contracts_digest=contracts.digest,
        contracts_folder=home.contracts,
        digest_contracts=_digest,
        sources=home.sources,
        stores=home.stores,
        staging=home.staging,
        pseudonym_key=keys.pseudonym_key,
        pseudonym_key_id=keys.key_id,
        as_of=as_of,
        built_at=built_at,
        room=room,
    )


def _plans(contracts: Contracts) -> tuple[StorePlan, ...]:
    """A plan for each open purpose and access, empty ones included: an absent store would look like a fault."""
    opened = [key for key, purpose in contracts.purposes.purposes.items() if purpose.open]
    return tuple(
        plan
        for key in opened
        for plan in (store_plan(contracts, key, "rows"), store_plan(contracts, key, "statistics"))
    )


def _digest(folder: Path) -> str:
    return load(folder).digest
