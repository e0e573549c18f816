"""The certificate of a release: all that its privacy rests on, stated so that anyone can compute it again without data.

Laws: it is made of public facts; it states the question's text, the views' public facts and the options it was asked
with, and what was derived from them: the canonical plan, each vector's sensitivities, mechanism, scale, threshold, ρ
and δ; `check` derives all of that again, and takes nothing from the certificate but what the derivation starts from and
the scales and thresholds that were used. What is signed is `signed_text`.

A check
    1. reads what the derivation starts from, and lowers and bounds the text again;
    2. compares the plan: the question, the unit, the form, the SQL, the cells, the windows;
    3. compares each vector's sensitivities and mechanism;
    4. asks OpenDP's map of each mechanism, at the stated scale and threshold, for one unit in one window and in all;
    5. adds up: the vectors' losses, the question's, the account's for all windows;
    6. compares the release that it came with, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kaianalytics.errors import KaiError
from kaianalytics.privacy.canonical import canonical_text, digest, from_json, to_json, view_from_json, view_to_json
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import Measurement, Noise, keeps_within, setting_of
from kaianalytics.privacy.plan import Plan
from kaianalytics.privacy.unit import Profile, StatisticsView

FORMAT = "kai-certificate-1"
SIGNATURE = "signature"  # the one part that is not signed
CERTIFICATE = "certificate"  # the part of a release that its own digest leaves out


@dataclass(frozen=True)
class Asked:
    """What a plan is derived from: the text, the views it reads, the analyst's own tables, and the options.

    `price` and `bounds` are as they were asked; `chosen_at` is the loss that the form of bounding was chosen for, and
    `profile` the one that an earlier, paid release found.
    """

    sql: str
    views: Mapping[str, StatisticsView]
    chosen_at: PrivacyLoss
    price: Mapping[str, Any] = field(default_factory=dict)
    bounds: str | Mapping[str, Any] | None = None
    tables: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    profile: Profile | None = None


@dataclass(frozen=True)
class Finding:
    """One thing of a certificate that does not hold: which of the steps found it, and what it is."""

    step: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.sentence} (step {self.step})"


def certificate_of(
    asked: Asked,
    measurement: Measurement,
    *,
    snapshot: str,
    entry: int,
    release: Mapping[str, Any],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The certificate, unsigned, as JSON values; `entry` is the ledger's, `release` what it is made for."""
    plan = measurement.plan
    read = {relation.view.name for relation in plan.query.source.relations}
    return {
        "format": FORMAT,
        "sql": asked.sql,
        "views": {name: view_to_json(view) for name, view in asked.views.items() if name in read},
        "tables": {name: {column: list(values) for column, values in t.items()} for name, t in asked.tables.items()},
        "request": {"price": dict(asked.price), "bounds": asked.bounds, "chosen_at": asked.chosen_at.rho_units},
        "profile": to_json(asked.profile),
        "plan": plan_facts(plan),
        "vectors": [_vector_facts(noise) for noise in measurement.noises],
        "loss": _loss_facts(measurement.loss),
        "account_loss": _loss_facts(measurement.account_loss),
        "snapshot": snapshot,
        "entry": entry,
        "release": release_digest(release),
        "versions": dict(versions),
    }


def signed_text(certificate: Mapping[str, Any]) -> bytes:
    """What a signature is made and checked over: the canonical JSON of all but the signature."""
    return canonical_text({name: part for name, part in certificate.items() if name != SIGNATURE}).encode()


def release_digest(release: Mapping[str, Any]) -> str:
    """The digest of a release, as JSON values, without its certificate."""
    return digest({name: part for name, part in release.items() if name != CERTIFICATE})


def asked_of(certificate: Mapping[str, Any]) -> Asked:
    """What the plan is derived from, read from a certificate; ValueError where it can't be."""
    try:
        request = certificate["request"]
        return Asked(
            sql=_text(certificate["sql"]),
            views={str(name): view_from_json(view) for name, view in certificate["views"].items()},
            chosen_at=PrivacyLoss(request["chosen_at"]),
            price=dict(request["price"]),
            bounds=request["bounds"],
            tables={name: {c: list(values) for c, values in t.items()} for name, t in certificate["tables"].items()},
            profile=_profile(from_json(certificate["profile"])),
        )
    except (KeyError, TypeError, AttributeError) as fault:
        raise ValueError("the certificate lacks what the plan is derived from") from fault


# --- what a certificate states


def plan_facts(plan: Plan) -> dict[str, Any]:
    """The canonical plan: in full where a reader wants to see it, by its digest where it is long."""
    unit = plan.query.source.privacy_unit
    cells = None if plan.cells is None else {"count": len(plan.cells), "digest": digest(to_json(plan.cells))}
    return {
        "question": digest(to_json(plan.query)),
        "unit": {"column": unit.column, "population": unit.population},
        "form": to_json(plan.form),
        "statements": to_json(plan.statements),
        "cells": cells,
        "threshold": plan.threshold,
        "windows": list(plan.windows),
        "bounding": list(plan.sentences),
    }


def _vector_facts(noise: Noise) -> dict[str, Any]:
    return _sensitivities(noise.setting.vector) | {
        "mechanism": noise.setting.mechanism,
        "scale": noise.scale.hex(),  # exactly, as a text that reads the same everywhere
        "threshold": noise.threshold,
        "loss": _loss_facts(noise.loss),
        "account_loss": _loss_facts(noise.account_loss),
    }


def _sensitivities(vector: Any) -> dict[str, Any]:
    return {"vector": to_json(vector)}


def _loss_facts(loss: PrivacyLoss) -> dict[str, int]:
    return {"rho_units": loss.rho_units, "delta_units": loss.delta_units}


# --- checking


def check(
    certificate: Mapping[str, Any],
    relower: Callable[[Asked], Plan],
    release: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """What does not hold of a certificate; nothing, if all of it does.

    `relower` parses, lowers and bounds what was asked, as the gateway does. The signature is not checked here.
    """
    if certificate.get("format") != FORMAT:
        return [Finding(1, "This is no certificate of a format that is known here.")]
    try:
        plan = relower(asked_of(certificate))
    except KaiError as refusal:
        return [Finding(1, f"The question is refused as it is stated: {refusal.message} [{refusal.code}]")]
    except Exception as fault:  # facts that somebody else wrote may break the derivation anywhere: then they don't hold
        return [Finding(1, f"The plan can't be derived from what is stated ({type(fault).__name__}).")]
    findings = [*_plan_findings(certificate.get("plan"), plan), *_vector_findings(certificate.get("vectors"), plan)]
    if not findings:
        findings = [*_loss_findings(certificate, plan), *_sum_findings(certificate, plan)]
    if release is not None and release_digest(release) != certificate.get("release"):
        findings.append(Finding(6, "The release is not the one that the certificate was made for."))
    return findings


def _plan_findings(stated: Any, plan: Plan) -> list[Finding]:
    if not isinstance(stated, Mapping):
        return [Finding(2, "The certificate states no plan.")]
    derived = plan_facts(plan)
    differing = [name for name in derived if name not in stated or stated[name] != derived[name]]
    return [Finding(2, f"The plan's {name} is not what its text and views come to.") for name in differing]


def _vector_findings(stated: Any, plan: Plan) -> list[Finding]:
    if not isinstance(stated, list) or len(stated) != len(plan.vectors):
        return [Finding(3, "The certificate does not state one vector for each of the plan.")]
    findings = []
    for place, one in enumerate(stated):
        setting = setting_of(plan, place)
        derived = _sensitivities(setting.vector) | {"mechanism": setting.mechanism}
        if not isinstance(one, Mapping) or any(one.get(name) != fact for name, fact in derived.items()):
            findings.append(Finding(3, f"Vector {place} is not stated with the plan's sensitivities and mechanism."))
    return findings


def _loss_findings(certificate: Mapping[str, Any], plan: Plan) -> list[Finding]:
    findings = []
    for place, one in enumerate(certificate["vectors"]):
        for name, windows in (("loss", 1), ("account_loss", max(len(plan.windows), 1))):
            stated, scale = _loss(one.get(name)), _scale(one.get("scale"))
            if stated is None or scale is None:
                findings.append(Finding(4, f"Vector {place} states no {name} or no scale."))
            elif not keeps_within(setting_of(plan, place), scale, one.get("threshold"), windows, stated):
                findings.append(Finding(4, f"Vector {place} loses more than its stated {name}, by OpenDP's map."))
    return findings


def _sum_findings(certificate: Mapping[str, Any], plan: Plan) -> list[Finding]:
    findings, windows = [], max(len(plan.windows), 1)
    for name in ("loss", "account_loss"):
        parts, total = [_loss(one.get(name)) for one in certificate["vectors"]], _loss(certificate.get(name))
        if total is None or None in parts or not _sum(parts).within(total):
            findings.append(Finding(5, f"The vectors' losses add up to more than the stated {name}."))
    loss, account = _loss(certificate.get("loss")), _loss(certificate.get("account_loss"))
    if loss and account and loss.times_squared(windows).rho_units > account.rho_units:
        findings.append(Finding(5, f"The account is stated to lose less than its {windows} windows squared."))
    return findings


# --- reading


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _profile(value: Any) -> Profile | None:
    if not (value is None or isinstance(value, Profile)):
        raise TypeError("not a profile")
    return value


def _loss(stated: Any) -> PrivacyLoss | None:
    try:
        return PrivacyLoss(stated["rho_units"], stated["delta_units"])
    except (KeyError, TypeError, ValueError):
        return None


def _scale(stated: Any) -> float | None:
    try:
        return float.fromhex(stated)
    except (TypeError, ValueError, OverflowError):
        return None


def _sum(losses: Sequence[PrivacyLoss | None]) -> PrivacyLoss:
    return sum((loss for loss in losses if loss is not None), PrivacyLoss(0))
