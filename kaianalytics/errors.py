"""Every exception of the package, as one tree.

    KaiError
    ├── Refused              an expected no: a rule said so, and the work goes on
    │   ├── IdentityRefused      who asks is not known, not appointed, or not allowed this door
    │   ├── GuardRefused         the statement is not one the guard admits
    │   ├── PolicyRefused        the purpose, the contract or a role forbids it
    │   ├── QueryFailed          the engine could not compute an admitted statement, or its result is too large
    │   ├── QueryUnsupported     the statistics engine can't prove this query private
    │   ├── BudgetRefused        an allowance of privacy loss does not cover it
    │   └── ReviewRefused        the workflow or the passport forbids it
    └── Fault                something is wrong or broke, and a person must mend it
        ├── ContractFaults       contracts that can't be used: every fault with file and line
        ├── SourceFault          a source is missing, truncated, or not as its contract says
        ├── BuildFault           a built store failed its verification: nothing was published
        ├── WorkerFault          a query's process ended: deadline, memory, or killed
        ├── RecordsFault         the ledger, the audit chain or their head do not agree
        ├── HomeFault            the home folder is absent, held by another gateway, or not private
        └── Unreachable          the gateway does not answer

Law 5 holds for every message here: a code, the rule, and what to do next, made from public facts only; never a value,
a path inside the custody, or an engine's own words. `Refused` and `Fault` carry the same four fields, so that every
door reports them in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class KaiError(Exception):
    """A refusal or a fault with a stable `code`, the `rule` it rests on and a `hint` of what to do next.

    `place` is the line and the column of what it is about in the asker's own text, where it is about a part of that.
    `reference` is a word by which the custodian finds it in the records and in the log, where those may say more.
    """

    def __init__(self, code: str, message: str, *, rule: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.rule = rule
        self.hint = hint
        self.byte: int | None = None  # where in the text, before the text is known: see `locate`
        self.place: tuple[int, int] | None = None
        self.pointed = ""  # the line itself with a mark below: on the asker's side alone, who has the text
        self.reference = ""
        self.recorded = False  # whether the audit chain has it: set by the room that wrote it there, with its grounds

    def __str__(self) -> str:
        where = "line {}, column {}: ".format(*self.place) if self.place else ""
        parts = [f"{where}{self.message} [{self.code}]"]
        if self.pointed:
            parts.append(self.pointed)
        if self.rule:
            parts.append(f"Rule: {self.rule}")
        if self.hint:
            parts.append(f"What to do: {self.hint}")
        if self.reference:
            parts.append(f"Reference: {self.reference}")
        return "\n".join(parts)

    def locate(self, text: str) -> None:
        """Find the place of `byte` in the text that was asked; a full-width space before it counts as more."""
        if self.byte is not None and self.place is None:
            before = text.encode(errors="replace")[: self.byte].decode(errors="ignore")
            self.place = before.count("\n") + 1, len(before) - before.rfind("\n")

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the stack says nothing of why something was refused."""
        return f"{type(self).__name__}: {self}".splitlines()


class Refused(KaiError):
    """An expected no."""


class IdentityRefused(Refused):
    """Who asks is not known, not appointed, or not allowed through this door."""


class GuardRefused(Refused):
    """The statement is not one that the guard admits."""


class PolicyRefused(Refused):
    """The purpose, a contract or a role forbids it."""


class QueryFailed(Refused):
    """The engine could not compute an admitted statement, or its result is larger than an answer may be."""


class QueryUnsupported(Refused):
    """The statistics engine can't prove this query private."""


class BudgetRefused(Refused):
    """An allowance of privacy loss does not cover the question."""


class ReviewRefused(Refused):
    """The review workflow or a passport forbids it."""


class Fault(KaiError):
    """Something is wrong or broke, and a person must mend it."""


@dataclass(frozen=True)
class ContractFault:
    """One thing wrong in one contract file: where it stands, what is wrong, what to write instead."""

    file: str
    line: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


class ContractFaults(Fault):
    """The contracts can't be used; `faults` holds every one of the reasons, in file and line order."""

    def __init__(self, faults: Sequence[ContractFault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.file, fault.line, fault.message)))
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(
            "CONTRACT_FAULTS",
            f"The data contracts have {count}:\n{lines}",
            rule="a contract with a fault permits nothing (DESIGN law 1)",
            hint="mend the lines above, then run `kai contracts check` again",
        )


class SourceFault(Fault):
    """A source is missing, truncated, or not as its contract says."""


class BuildFault(Fault):
    """A built store failed its verification: nothing was published."""


class WorkerFault(Fault):
    """The process that ran a query ended before its answer: deadline, memory, or killed."""


class RecordsFault(Fault):
    """The ledger, the audit chain or their signed head do not agree."""


class HomeFault(Fault):
    """The home folder is absent, held by another gateway, or not private."""


class Unreachable(Fault):
    """The gateway does not answer on its socket."""
