"""The privacy policy as values: each clause, the purposes it states, what keeps it here, and what proves it.

Laws: every clause is stated, in one sentence of our own; a control is something that exists and names its evidence,
or it is absent and says so in a word. Nothing is claimed that the sandbox does not do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from kaianalytics.policy.reading import Document, Faults, Part

PURPOSE_CLAUSES = tuple(f"3.{number}" for number in range(1, 9))
CLAUSES = ("1", "2", "3", *PURPOSE_CLAUSES, *(str(number) for number in range(4, 9)), "9.1", "9.2", "10", "11")


@dataclass(frozen=True)
class Control:
    """What keeps a clause here and the evidence that it does; or, when `absent`, the word why it is not there."""

    does: str
    evidence: str = ""
    absent: bool = False

    def __post_init__(self) -> None:
        if bool(self.evidence) == self.absent:
            raise ValueError("a control names its evidence, or it is absent")


@dataclass(frozen=True)
class Clause:
    """One clause of the policy in one sentence of our own."""

    key: str
    statement: str
    purposes: tuple[str, ...]
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class PrivacyPolicy:
    """The privacy policy, as `privacy_policy.yaml` states it."""

    version: str
    effective: date
    responsible: str
    clauses: Mapping[str, Clause]


def read_privacy_policy(document: Document, faults: Faults) -> PrivacyPolicy | None:
    """The policy in a parsed `privacy_policy.yaml`, or None with every fault noted."""
    before = len(faults)
    root = Part(document, (), faults)
    root.only("version", "effective", "responsible", "clauses")
    clauses = {key: _clause(key, part) for key, part in root.named("clauses").items()}
    for key in CLAUSES:
        if key not in clauses:
            root.fault(f"clause {key} is missing", "state every clause, also those without a control", at="clauses")
    for key in clauses:
        if key not in CLAUSES:
            root.faults.note(document, ("clauses", key), f"the policy has no clause {key}")
    policy = PrivacyPolicy(root.text("version"), root.day("effective"), root.text("responsible"), clauses)
    return policy if len(faults) == before else None


def _clause(key: str, part: Part) -> Clause:
    part.only("statement", "purposes", "controls")
    controls = tuple(control for each in part.parts("controls") if (control := _control(each)))
    return Clause(key, part.text("statement"), part.texts("purposes", required=False), controls)


def _control(part: Part) -> Control | None:
    part.only("does", "evidence", "absent")
    if part.has("absent") == (part.has("does") or part.has("evidence")):
        part.fault("a control says what it `does` with its `evidence`, or why it is `absent`")
        return None
    if part.has("absent"):
        return Control(part.text("absent"), absent=True)
    does, evidence = part.text("does"), part.text("evidence")
    return Control(does, evidence) if evidence else None
