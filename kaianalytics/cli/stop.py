"""`kai stop`: a customer's request that their data no longer be used, in effect at the next question (clause 7)."""

from __future__ import annotations

from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, open_home
from kaianalytics.custody.contracts import load
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import Refused
from kaianalytics.gateway.tokens import utc_now
from kaianalytics.records import stops
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.warehouse import published
from kaianalytics.warehouse.pseudonyms import Pseudonymiser


@for_people
def stop(
    person: Annotated[str, typer.Argument(help="The key of the person in the sources, such as a customer id.")],
    scope: Annotated[str, typer.Option(help="A purpose, or all.")] = stops.ALL_PURPOSES,
    population: Annotated[str, typer.Option(help="Which people it is one of.")] = "customers",
) -> None:
    """Stop the use of one person's data at once; the stores leave them out for good at the next build."""
    home = open_home()
    keys = Keys.load(home)
    contracts = load(published.current(home.stores).contracts_folder)
    known = contracts.purposes.populations.get(population)
    if known is None:
        there = ", ".join(contracts.purposes.populations)
        raise Refused("POPULATION_UNKNOWN", f"There is no population `{population}`.", hint=f"there is: {there}")
    every = tuple(contracts.purposes.purposes)  # closed ones too: one may be opened later
    purposes = every if scope == stops.ALL_PURPOSES else (scope,)
    if not set(purposes) <= set(every):
        raise Refused("SCOPE", f"`{scope}` is no stated purpose.", hint=f"all, or one of: {', '.join(every)}")
    domain = contracts.products[known.product].column(known.key).key or known.key
    # under earlier keys too: a build that was made with one of them may still be the one that is served
    by_key = zip(*(names_of(keys, purpose, domain, person) for purpose in purposes), strict=True)
    event = AuditEvent(utc_now(), "custodian", "stop.recorded", scope)
    with Records.of(home, keys).writing(event) as tx:
        for names in by_key:
            epoch = stops.record(tx, stops.Stop(scope, population, dict(zip(purposes, names, strict=True))))
    console.print(f"In effect from the next question on, as epoch {epoch}. Scope: {scope}.")
    console.print("Add it to the stop_requests source too: the next build then leaves the person out of every file.")


def names_of(keys: Keys, purpose: str, domain: str, person: str) -> list[str]:
    """A person's pseudonyms under one purpose, by the present key and then by each earlier one."""
    secrets = (keys.pseudonym_key(purpose), *keys.earlier_pseudonym_keys(purpose))
    return [Pseudonymiser(secret, domain).name(person) for secret in secrets]
