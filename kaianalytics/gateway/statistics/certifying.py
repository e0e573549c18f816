"""Certificates signed and checked: what anyone needs to compute a release's claim again, under the custodian's name.

Laws: what is signed is the certificate's canonical JSON, which holds the digest of the release it was made for; a check
believes nothing that it can derive, parses the text as the guard does, and needs no data.

A check of a release
    1. its certificate is signed by the key of this custody, over exactly what it says
    2. text, views and options come to the plan that is stated, and OpenDP's map to the losses: the steps of
       `privacy.measuring.certificate`
    3. what is shown to people, the loss, the windows, the snapshot, the number, is what is certified
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from kaianalytics.custody.keys import Keys
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.guard.allowed import STATISTICS_FUNCTIONS
from kaianalytics.gateway.statistics.budgeting import plain
from kaianalytics.gateway.statistics.drawing import Drawn
from kaianalytics.gateway.statistics.lookups import lookups
from kaianalytics.gateway.statistics.question import Question, lowered
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.bounding.found_bounds import profile_plan
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.certificate import SIGNATURE, Asked, Finding, certificate_of, check, signed_text
from kaianalytics.privacy.measuring.measurement import Measurement
from kaianalytics.privacy.measuring.pricing import Priced
from kaianalytics.privacy.plan import Plan
from kaianalytics.privacy.unit import Profile
from kaianalytics.protocol import StatisticsRequest

SIGNED = b"kaianalytics certificate v1\n"
FINDING = "finding"  # the part of a certificate that is of the measurement by which bounds were found
_OF_A_MEASUREMENT = ("plan", "vectors", "loss", "account_loss")
_NO_FINDING = {"loss": {"rho_units": 0, "delta_units": 0}}
_ENGINES = ("kaianalytics", "opendp", "duckdb", "sqlglot")


def certified(
    question: Question, settled: Priced, drawn: Drawn, charge_id: int, release: Mapping[str, Any], keys: Keys
) -> dict[str, Any]:
    """The signed certificate of a release, as JSON values; with that of the finding, where bounds were found."""
    asked = _asked(question, settled.chosen_at, drawn.profile or question.profile)

    def stated(measurement: Measurement) -> dict[str, Any]:
        return certificate_of(
            asked,
            measurement,
            snapshot=question.charge.snapshot,
            entry=charge_id,
            release=release,
            versions=_versions(),
        )

    certificate = stated(settled.measurement)
    if question.finding is not None:
        found = stated(question.finding.measurement)
        certificate[FINDING] = {part: found[part] for part in _OF_A_MEASUREMENT}
    signature = {"key": keys.public_key_id, "ed25519": keys.sign(SIGNED + signed_text(certificate)).hex()}
    return {**certificate, SIGNATURE: signature}


def _asked(question: Question, chosen_at: PrivacyLoss, profile: Profile | None) -> Asked:
    request = question.request
    price = {"rho": request.rho, "epsilon": request.epsilon, "accuracy": request.accuracy, "size": request.size}
    return Asked(
        sql=question.sql,
        views=question.views,
        chosen_at=chosen_at,
        price={name: value for name, value in price.items() if value is not None},
        bounds=request.bounds,
        tables=request.tables,
        profile=profile,
    )


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
    finding = certificate.get(FINDING)
    if isinstance(finding, Mapping):
        derived += check({**certificate, **finding}, lambda asked: relowered(asked, guard, finding=True))
    return [*found, *map(str, derived), *_told_otherwise(release, certificate), *_made_by(certificate, derived)]


def relowered(asked: Asked, guard: Guard, *, finding: bool = False) -> Plan:
    """The plan that a text comes to over the views it was asked of, or by which its bounds were found.

    It is parsed, lowered and bounded as the gateway does.
    """
    tables = lookups(StatisticsRequest(asked.sql, tables=asked.tables), asked.views)
    tree = guard.admit(asked.sql, (*asked.views, *tables), STATISTICS_FUNCTIONS).tree
    query, bounds = lowered(tree, asked.bounds, asked.views, tables)
    return profile_plan(query) if finding else compile_query(query, bounds, asked.chosen_at, asked.profile)


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


def _made_by(certificate: Mapping[str, Any], derived: Sequence[Finding]) -> Iterator[str]:
    """A word on versions, where the derivation differs and another version may be why."""
    stated, here = certificate.get("versions"), _versions()
    if derived and isinstance(stated, Mapping) and stated != here:
        told = ", ".join(f"{name} {of}" for name, of in sorted(stated.items()))
        yield f"It was made by {str(told)[:200]}, and checked by others: check it by those before it is disbelieved."


def _loss_told(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """The loss and the windows as a release tells them; nothing at all of a certificate that states none."""
    try:
        loss = PrivacyLoss(**certificate["loss"]) + PrivacyLoss(**certificate.get(FINDING, _NO_FINDING)["loss"])
        return {"rho": plain(loss.rho), "delta": plain(loss.delta), "windows": certificate["plan"]["windows"]}
    except (KeyError, TypeError, ValueError):
        return {"rho": None, "delta": None, "windows": None}


@cache
def _versions() -> dict[str, str]:
    return {engine: version(engine) for engine in _ENGINES}
