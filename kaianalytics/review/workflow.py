"""The review workflow: states, actions and who may take them, as one table.

Laws: a reviewer never decides on their own work; a state and an action that the table does not pair are refused; a
decided review is not decided again. `docs/reference/review-workflow.md` is drawn from this table, and a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from kaianalytics.errors import ReviewRefused


@dataclass(frozen=True)
class Step:
    """What an action leads to, and which role may take it."""

    role: str
    to: str


STEPS: dict[tuple[str, str], Step] = {
    ("submitted", "approve"): Step("reviewer", "approved"),
    ("submitted", "return"): Step("reviewer", "returned"),
    ("submitted", "reject"): Step("reviewer", "rejected"),
    ("approved", "revoke"): Step("reviewer", "revoked"),
}
NEEDS_NOTE = frozenset({"return", "reject", "revoke"})


@dataclass(frozen=True)
class Actor:
    """Who acts, with the roles that the register gives them today."""

    user: str
    roles: frozenset[str]


def decide(state: str, action: str, actor: Actor, author: str, note: str) -> str:
    """The state that the action leads to, or ReviewRefused with the reason."""
    step = STEPS.get((state, action))
    if step is None:
        raise ReviewRefused(
            "NOT_IN_THIS_STATE",
            f"A review that is `{state}` can't be taken to `{action}`.",
            rule=f"from `{state}`: {', '.join(actions_from(state)) or 'nothing more'}",
            hint="`kai review list` shows where each review stands",
        )
    if actor.user == author:
        raise ReviewRefused(
            "OWN_WORK",
            "This is your own notebook.",
            rule="the author never reviews their own work",
            hint="ask another privacy reviewer",
        )
    if step.role not in actor.roles:
        raise ReviewRefused(
            "ROLE_MISSING",
            f"To {action} a review takes the role `{step.role}`.",
            rule="roles come from data_contracts/roles.yaml",
            hint="ask the steward who appoints reviewers",
        )
    if action in NEEDS_NOTE and not note.strip():
        raise ReviewRefused(
            "NOTE_MISSING", f"To {action} a review, say why: the author reads it.", hint='add `--note "…"`'
        )
    return step.to


def actions_from(state: str) -> tuple[str, ...]:
    """The actions that the table allows from a state."""
    return tuple(action for (start, action) in STEPS if start == state)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> submitted: submit (analyst)"]
    lines += [f"    {start} --> {step.to}: {action} ({step.role})" for (start, action), step in STEPS.items()]
    ends = sorted({step.to for step in STEPS.values()} - {start for start, _ in STEPS})
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in ends)]) + "\n"
