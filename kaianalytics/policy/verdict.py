"""Answers of the policy decision: a permit with its grounds and obligations, or a denial with every reason.

Laws: a denial is never without a reason; a reason is a code that stays, a sentence, the rule it rests on, and what to
do next, all made of public facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kaianalytics.errors import PolicyRefused

ObligationKind = Literal["audit", "charge", "ends", "statistics-only"]


@dataclass(frozen=True)
class Reason:
    """One reason of a denial: a stable code, a sentence, the rule, and what to do next."""

    code: str
    message: str
    rule: str
    hint: str


@dataclass(frozen=True)
class Obligation:
    """What the enforcement point must do with a permit.

    audit: record the decision; charge: charge privacy loss to the population `value` before reading; ends: the permit
    ends with the day `value`; statistics-only: refuse rows.
    """

    kind: ObligationKind
    value: str = ""


@dataclass(frozen=True)
class Permit:
    """Yes, on these grounds, with these obligations."""

    grounds: tuple[str, ...]
    obligations: tuple[Obligation, ...]


@dataclass(frozen=True)
class Deny:
    """No, for these reasons; never without one."""

    reasons: tuple[Reason, ...]

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError("a denial has a reason")

    def refusal(self) -> PolicyRefused:
        """The refusal that says every reason; its code is the first reason's."""
        first = self.reasons[0]
        return PolicyRefused(
            first.code,
            " ".join(reason.message for reason in self.reasons),
            rule="; ".join(dict.fromkeys(reason.rule for reason in self.reasons)),
            hint="; ".join(dict.fromkeys(reason.hint for reason in self.reasons)),
        )
