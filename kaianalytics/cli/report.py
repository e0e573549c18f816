"""`kai report`: runs of approved reports."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from kaianalytics.cli.lab import install_kernelspecs
from kaianalytics.cli.terminal import console, for_people, gateway, home_folder
from kaianalytics.errors import Refused
from kaianalytics.reports.description import read_description

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Runs of approved reports.")


@app.callback()
def _group() -> None:
    """Runs of approved reports."""


@app.command()
@for_people
def run(
    description: Annotated[Path, typer.Argument(help="The report's description, such as pipelines/usage_trends.yaml.")],
    keep: Annotated[Path | None, typer.Option(help="Also write the executed notebook here.")] = None,
) -> None:
    """Run a report once, if it is what was approved, and publish it. cron or a systemd timer may call this."""
    # seconds to import, papermill among it; `kai --help` looks at every noun and needs none of it
    from kaianalytics.reports.runner import ReportSpec, run_report

    report = read_description(description)
    door = gateway()
    spec = ReportSpec(report.report, install_kernelspecs(door))
    with tempfile.TemporaryDirectory(prefix="kai-run-") as workdir:
        result = run_report(door, spec, report.notebook.read_bytes(), report.parameters, Path(workdir))
    if keep:
        keep.write_text(json.dumps(result.executed, ensure_ascii=False, indent=1), encoding="utf-8")
    if result.failed:
        raise Refused(
            result.failed_code,
            f"Run {result.run} of `{report.report}` failed and is not published: {result.failed_sentence}",
            rule="a failed run keeps its charge and is never published",
            hint="mend the cause and run it again; what was answered already is repeated free on the same snapshot",
        )
    page = home_folder() / str(result.publication["page"])
    console.print(f"Published run {result.run}: {page} (ρ {result.publication['rho']} charged)", soft_wrap=True)
