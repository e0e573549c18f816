"""Certificates signed and checked: what anyone needs to compute a release's claim again, under the custodian's name.

Laws: what is signed is the certificate's canonical JSON, which holds the digest of the release it was made for; a check
believes nothing that it can derive, parses the text as the guard does, and needs no data.

A check of a release
    1. its certificate is signed by the key of this custody, over exactly what it says
    2. text, views and options come to the plan that is stated, and OpenDP's map to the losses: the steps of
       `privacy.certificate`
    3. what is shown to people, the loss, the windows, the snapshot, the number, is what is certified
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from kaianalytics.custody.keys import Keys
from kaianalytics.gateway.allowed import STATISTICS_FUNCTIONS
from kaianalytics.gateway.budgeting import plain
from kaianalytics.gateway.guard import Guard
from kaianalytics.gateway.lookups import lookups
from kaianalytics.gateway.question import Question, lowered
from kaianalytics.privacy.bounding import compile_query
from kaianalytics.privacy.certificate import SIGNATURE, Asked, certificate_of, check, signed_text
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.plan import Plan
from kaianalytics.protocol import StatisticsRequest

SIGNED = b"kaianalytics certificate v1\n"
_ENGINES = ("kaianalytics", "opendp", "duckdb", "sqlglot")


def certified(question: Question, charge_id: int, release: Mapping[str, Any], keys: Keys) -> dict[str, Any]:
    """The signed certificate of a release, as JSON values."""
    request = question.request
    price = {"rho": request.rho, "epsilon": request.epsilon, "accuracy": request.accuracy, "size": request.size}
    asked = Asked(
        sql=question.sql,
        views=question.views,
        chosen_at=question.priced.chosen_at,
        price={name: value for name, value in price.items() if value is not None},
        bounds=request.bounds,
        tables=request.tables,
        profile=question.profile,
    )
    certificate = certificate_of(
        asked,
        question.measurement,
        snapshot=question.charge.snapshot,
        entry=charge_id,
        release=release,
        versions=_versions(),
    )
    signature = {"key": keys.public_key_id, "ed25519": keys.sign(SIGNED + signed_text(certificate)).hex()}
    return {**certificate, SIGNATURE: signature}


def findings(release: Mapping[str, Any], guard: Guard, signed: Callable[[bytes, bytes], bool]) -> list[str]:
    """What does not hold of a release, in sentences; nothing if all of it does.

    `signed` says whether a signature is the custodian's over some bytes.
    """
    certificate = release.get("certificate")
    if not isinstance(certificate, Mapping) or not certificate:
        return ["The release carries no certificate (step 1)."]
    unsigned = "The signature is not the custodian's over this certificate (step 1)."
    found = [] if _is_signed(certificate, signed) else [unsigned]
    derived = check(certificate, lambda asked: relowered(asked, guard), release)
    return [*found, *map(str, derived), *_told_otherwise(release, certificate)]


def relowered(asked: Asked, guard: Guard) -> Plan:
    """The plan that a text comes to over the views it was asked of, parsed and bounded as the gateway does."""
    tables = lookups(StatisticsRequest(asked.sql, tables=asked.tables), asked.views)
    tree = guard.admit(asked.sql, (*asked.views, *tables), STATISTICS_FUNCTIONS).tree
    query, bounds = lowered(tree, asked.bounds, asked.views, tables)
    return compile_query(query, bounds, asked.chosen_at, asked.profile)


def _is_signed(certificate: Mapping[str, Any], signed: Callable[[bytes, bytes], bool]) -> bool:
    signature = certificate.get(SIGNATURE)
    try:
        return isinstance(signature, Mapping) and signed(
            bytes.fromhex(signature["ed25519"]), SIGNED + signed_text(certificate)
        )
    except (KeyError, TypeError, ValueError):
        return False


def _told_otherwise(release: Mapping[str, Any], certificate: Mapping[str, Any]) -> Iterator[str]:
    stated = {"release_id": "entry", "sql": "sql", "snapshot": "snapshot"}
    shown = {name: release.get(name) for name in (*stated, "rho", "delta", "windows")}
    meant = {name: certificate.get(part) for name, part in stated.items()} | _loss_told(certificate)
    for name, value in shown.items():
        if value != meant[name]:
            yield f"The release's {name} is not the one that is certified (step 3)."


def _loss_told(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """The loss and the windows as a release tells them; nothing at all of a certificate that states none."""
    try:
        loss = PrivacyLoss(**certificate["loss"])
        return {"rho": plain(loss.rho), "delta": plain(loss.delta), "windows": certificate["plan"]["windows"]}
    except (KeyError, TypeError, ValueError):
        return {"rho": None, "delta": None, "windows": None}


@cache
def _versions() -> dict[str, str]:
    return {engine: version(engine) for engine in _ENGINES}
