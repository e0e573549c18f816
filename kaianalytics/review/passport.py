"""The passport: a signed approval that is bound to what was approved.

Laws:
1. The digest covers the source before anything is injected: every cell's kind, tags and text, the purpose tag and the
   kernelspec. Outputs and execution counts are not source. What it would not cover, as a pasted picture, is refused.
2. A source that already holds a cell tagged `injected-parameters` has no digest: such a cell would be replaced at run.
3. A passport names the notebook digest, the parameters, the kernelspec, the purpose and the digest of the contracts'
   slice. A run is checked against all of them and against the clock; one difference voids it.
4. A passport is content-addressed: its id is the digest of its canonical content, and the signature covers the same
   bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from kaianalytics.errors import ReviewRefused
from kaianalytics.policy.purpose import Purposes

INJECTED_TAG = "injected-parameters"
CELL_KINDS = ("code", "markdown")
RESUBMIT = "submit the notebook again with `kai submit`; a reviewer then sees what changed"


@dataclass(frozen=True)
class Cell:
    """One cell's source: what a run executes or shows."""

    kind: str
    tags: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class NotebookSource:
    """A notebook as far as it can be approved: its purpose tag, its kernelspec and its cells, without outputs."""

    purpose: str
    kernelspec: str
    cells: tuple[Cell, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the source (law 1)."""
        return digest(asdict(self))


def digest(value: Any) -> str:
    """SHA-256, in hex, of a value's canonical JSON: sorted keys, no white space, UTF-8."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: Any) -> bytes:
    """The one byte string that stands for a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_source(notebook: Mapping[str, Any], purposes: Purposes) -> NotebookSource:
    """The approvable source of a notebook, or a refusal that says what its metadata must state."""
    metadata = notebook.get("metadata")
    cells = notebook.get("cells")
    if not isinstance(metadata, Mapping) or not isinstance(cells, list):
        raise _not_a_notebook()
    source = NotebookSource(_purpose(metadata, purposes), _kernelspec(metadata), tuple(_cell(cell) for cell in cells))
    if source.kernelspec != kernelspec_for(source.purpose):
        raise ReviewRefused(
            "PURPOSE_MISMATCH",
            f"The notebook is tagged `{source.purpose}` but its kernel is `{source.kernelspec}`.",
            rule="the purpose tag and the kernel agree",
            hint=f"choose the kernel `{kernelspec_for(source.purpose)}` or correct the tag `kai.purpose`",
        )
    if notebook.get("nbformat") != 4:  # of another format the readers downstream take the cells from another place
        raise _not_a_notebook()
    if any(INJECTED_TAG in cell.tags for cell in source.cells):
        raise ReviewRefused(
            "INJECTED_CELL",
            f"The source holds a cell tagged `{INJECTED_TAG}`, which a run would replace.",
            rule="what was approved is what runs",
            hint="submit the source notebook, not an executed copy of it",
        )
    return source


def _not_a_notebook() -> ReviewRefused:
    return ReviewRefused(
        "NOT_A_NOTEBOOK", "This is not a notebook of format 4.", hint="save it from JupyterLab as .ipynb"
    )


def kernelspec_for(purpose: str) -> str:
    """The name of the one kernelspec that serves a purpose."""
    return f"kai-{purpose}"


def _purpose(metadata: Mapping[str, Any], purposes: Purposes) -> str:
    tag = metadata.get("kai")
    key = tag.get("purpose") if isinstance(tag, Mapping) else None
    if not isinstance(key, str) or not key:
        open_keys = ", ".join(sorted(purpose.key for purpose in purposes.purposes.values() if purpose.open))
        raise ReviewRefused(
            "PURPOSE_MISSING",
            "The notebook names no purpose.",
            rule="every notebook declares what it is for (clause 3)",
            hint=f'set the metadata {{"kai": {{"purpose": "…"}}}} to one of: {open_keys}',
        )
    return key


def _kernelspec(metadata: Mapping[str, Any]) -> str:
    spec = metadata.get("kernelspec")
    name = spec.get("name") if isinstance(spec, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ReviewRefused(
            "KERNEL_MISSING",
            "The notebook names no kernel.",
            hint="open it in `make lab`, choose a purpose's kernel, save",
        )
    return name


def _cell(cell: Any) -> Cell:
    metadata = cell.get("metadata", {}) if isinstance(cell, Mapping) else None
    if not isinstance(metadata, Mapping):
        raise _malformed_cell()
    tags, source = _texts(metadata.get("tags", [])), cell.get("source", "")
    text = source if isinstance(source, str) else "".join(_texts(source))
    if cell.get("cell_type") not in CELL_KINDS or cell.get("attachments"):
        raise ReviewRefused(
            "CELL_NOT_REVIEWABLE",
            "The notebook holds a raw cell, a pasted picture or a cell of an unknown kind.",
            rule="what a page shows is what a reviewer read: text and code",
            hint="write it as a Markdown cell without attachments, or draw it in a code cell",
        )
    return Cell(cell["cell_type"], tuple(sorted(tags)), text)


def _texts(value: Any) -> list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise _malformed_cell()


def _malformed_cell() -> ReviewRefused:
    return ReviewRefused("NOT_A_NOTEBOOK", "A cell of the notebook is malformed.", hint="save it again from JupyterLab")


@dataclass(frozen=True)
class Conditions:
    """What a reviewer approved it to cost: ρ and δ per run, and in all until it expires (decimal strings).

    δ is for questions whose keys a threshold finds; without any, such a question is refused.
    """

    rho_per_run: str
    rho_total: str
    cadence: str
    delta_per_run: str = "0"
    delta_total: str = "0"


@dataclass(frozen=True)
class Passport:
    """One approval of one report's notebook."""

    report: str
    title: str
    purpose: str
    author: str
    reviewer: str
    separation: str  # what may be said of author and reviewer being two (law 10 of the design)
    isolation: str  # the level it was approved under
    notebook_digest: str
    parameters: Mapping[str, Any]
    kernelspec: str
    slice_digest: str
    conditions: Conditions
    approved_at: str
    expires_at: str

    @property
    def content(self) -> bytes:
        """The canonical bytes that are addressed and signed."""
        return canonical(asdict(self))

    @property
    def passport_id(self) -> str:
        """The digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @classmethod
    def from_content(cls, content: bytes) -> Passport:
        """The passport whose `content` these bytes are; ReviewRefused PASSPORT_FORGED for anything else."""
        try:
            fields = json.loads(content)
            return cls(**{**fields, "conditions": Conditions(**fields["conditions"])})
        except (ValueError, KeyError, TypeError, RecursionError):
            raise forged() from None

    def admit(self, run: Run, at: datetime) -> None:
        """Return if the run is what was approved and the approval holds; else ReviewRefused, saying what differs."""
        if at >= datetime.fromisoformat(self.expires_at):
            raise ReviewRefused(
                "PASSPORT_EXPIRED", f"The approval of `{self.report}` expired on {self.expires_at[:10]}.", hint=RESUBMIT
            )
        differences = tuple(self._differences(run))
        if differences:
            raise void(self, "; ".join(differences))

    def _differences(self, run: Run) -> Sequence[str]:
        checks = (
            (run.source.digest == self.notebook_digest, "the notebook changed"),
            (canonical(dict(run.parameters)) == canonical(dict(self.parameters)), "the parameters differ"),
            (run.source.kernelspec == self.kernelspec, "the kernel changed"),
            (run.source.purpose == self.purpose, "the purpose changed"),
            (run.slice_digest == self.slice_digest, "the contracts or the policy behind it changed"),
        )
        return [sentence for holds, sentence in checks if not holds]


def forged() -> ReviewRefused:
    """The refusal of a passport that no reviewer signed."""
    return ReviewRefused(
        "PASSPORT_FORGED",
        "The passport's signature does not verify.",
        rule="a passport is signed over its content",
        hint="tell the custodian: `kai audit verify` shows where the records differ",
    )


def void(passport: Passport, differences: str) -> ReviewRefused:
    """The refusal of what is no longer what was approved, naming what differs."""
    return ReviewRefused(
        "PASSPORT_VOID",
        f"`{passport.report}` is not what was approved on {passport.approved_at[:10]}: {differences}.",
        rule="an approval is bound to content, and a change that matters voids it",
        hint=RESUBMIT,
    )


@dataclass(frozen=True)
class Run:
    """What is about to run: compared with what was approved."""

    source: NotebookSource
    parameters: Mapping[str, Any]
    slice_digest: str
