"""From an executed notebook to a published report.

Laws:
1. What is published is what was approved: apart from the one injected cell, the executed notebook's source has the
   passport's digest.
2. A run with an error in any cell is never published.
3. A report is published once, by one rename of a finished folder; nobody sees half of it. A page that a crash left
   without its event is put aside at the next start.
4. The page fetches nothing and runs no script: its own content security policy says so, charts are images, and what
   the notebook wrote as HTML is cleaned.
5. What was answered for this page is of one build, which it names. What it shows from the record beside that is named
   with the snapshot that each was answered on, outside what the notebook can write.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kaianalytics.errors import Fault, ReviewRefused
from kaianalytics.policy.purpose import Purposes
from kaianalytics.publishing.cleaning import clean_html
from kaianalytics.review.passport import INJECTED_TAG, Passport, read_source

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Provenance:
    """What a published report says of itself."""

    run: int
    published_at: str
    snapshot: str
    as_of: str
    isolation: str
    rho_charged: str
    rho_repeated: str  # answered from earlier releases, without a further charge
    releases: tuple[int, ...]
    earlier: tuple[tuple[str, tuple[int, ...]], ...] = ()  # snapshot, and the releases shown from the record of it


def check_executed(executed: Mapping[str, Any], passport: Passport, purposes: Purposes) -> None:
    """Return if the executed notebook is the approved one, run without an error; else ReviewRefused (laws 1, 2)."""
    source = read_source({**executed, "cells": list(_without_injected(executed))}, purposes)
    if source.digest != passport.notebook_digest:
        raise ReviewRefused(
            "NOT_AS_APPROVED",
            "The executed notebook is not the approved one.",
            rule="what is published is what was approved",
            hint="run the approved source again with `kai report run`",
        )
    if failed := [number for number, cell in enumerate(executed["cells"], 1) if _has_error(cell)]:
        raise ReviewRefused(
            "RUN_FAILED",
            f"Cell {failed[0]} of the run ended in an error: nothing is published.",
            hint="the runner shows the refusal; mend its cause and run the report again",
        )


def render(executed: Mapping[str, Any], passport: Passport, provenance: Provenance, purpose_title: str) -> str:
    """The report as one self-contained HTML page, without its code (law 4)."""
    # nbconvert takes seconds to import, and a gateway that publishes nothing should not wait for it
    from nbconvert import HTMLExporter
    from nbformat import reads

    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]  # nbconvert annotates only in part
        template_name="kai",
        template_file="report.html.j2",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input=True,
        sanitize_html=True,
        filters={"clean_html": clean_html},
    )
    # through text, for `reads` joins sources and outputs that are kept as lists of lines
    text = json.dumps({**executed, "cells": _without_injected(executed)})
    notebook = reads(text, as_version=4)  # type: ignore[no-untyped-call]  # as above
    sheet = {
        "title": passport.title,
        "purpose_title": purpose_title,
        "published_at": provenance.published_at,
        "as_of": provenance.as_of + (", beside earlier answers that are named below" if provenance.earlier else ""),
        "provenance": tuple(_provenance_rows(passport, provenance)),
    }
    html, _ = exporter.from_notebook_node(notebook, resources={"kai": sheet})
    return str(html)


def publish(reports: Path, html: str, passport: Passport, provenance: Provenance) -> Path:
    """Write the report's folder aside and publish it by one rename; the path of its page (law 3)."""
    shelf = reports / passport.report
    shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
    final, aside = shelf / f"run-{provenance.run:06d}", shelf / f".run-{provenance.run:06d}"
    if final.exists():
        raise Fault("PUBLISHED_ALREADY", f"Run {provenance.run} of `{passport.report}` is published already.")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    (aside / "report.html").write_text(html, encoding="utf-8")
    (aside / "passport.json").write_bytes(passport.content)
    (aside / "provenance.json").write_text(json.dumps(asdict(provenance), indent=2), encoding="utf-8")
    aside.rename(final)
    _point_latest(shelf, final)
    return final / "report.html"


def withdraw_unrecorded(reports: Path, recorded: Collection[tuple[str, int]]) -> tuple[Path, ...]:
    """Put aside each page whose run the records do not have as published, and return where they were (law 3).

    The page appears before its event is committed, so that no event lacks its page; a crash between the two leaves one.
    """
    pages = sorted(path for path in reports.glob("*/run-*") if path.is_dir())
    known = {reports / report / f"run-{run:06d}" for report, run in recorded}
    withdrawn = tuple(page for page in pages if page not in known)
    for page in withdrawn:
        page.rename(page.with_name(f".unrecorded-{page.name}-{page.stat().st_ino}"))
        if kept := [other for other in pages if other.parent == page.parent and other in known]:
            _point_latest(page.parent, kept[-1])
        else:
            (page.parent / "latest").unlink(missing_ok=True)
    return withdrawn


def _point_latest(shelf: Path, final: Path) -> None:
    link = shelf / f".latest-{final.name}"
    link.unlink(missing_ok=True)
    link.symlink_to(final.name)
    link.replace(shelf / "latest")


def _without_injected(executed: Mapping[str, Any]) -> list[Any]:
    return [cell for cell in executed["cells"] if INJECTED_TAG not in cell.get("metadata", {}).get("tags", [])]


def _has_error(cell: Mapping[str, Any]) -> bool:
    return any(output.get("output_type") == "error" for output in cell.get("outputs", []))


def _provenance_rows(passport: Passport, provenance: Provenance) -> list[tuple[str, str]]:
    return [
        ("Report", f"{passport.report}, run {provenance.run}"),
        ("Purpose", passport.purpose),
        ("Author, reviewer", f"{passport.author}, {passport.reviewer}. {passport.separation}"),
        (
            "Approved",
            f"{passport.approved_at[:10]} until {passport.expires_at[:10]}, passport {passport.passport_id[:16]}",
        ),
        ("Snapshot", provenance.snapshot),
        (
            "Privacy loss",
            f"ρ {provenance.rho_charged} charged for this run; ρ {provenance.rho_repeated} repeated, free",
        ),
        ("Releases", _numbers(provenance.releases)),
        *(
            (
                "Earlier answers",
                f"releases {_numbers(numbers)} as they were answered on snapshot {snapshot}: shown again, free",
            )
            for snapshot, numbers in provenance.earlier
        ),
        ("Isolation", provenance.isolation),
        ("Source", f"SHA-256 {passport.notebook_digest}"),
    ]


def _numbers(releases: Collection[int]) -> str:
    return ", ".join(str(number) for number in releases) or "none"
