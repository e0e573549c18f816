"""`kai submit` and `kai review`: from a notebook to a passport."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.syntax import Syntax

from kaianalytics.cli.terminal import console, for_people, gateway, plain, spelt_out, table
from kaianalytics.protocol import API
from kaianalytics.reports.description import read_description, read_notebook

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What waits for a privacy reviewer, and what was decided."
)
Number = Annotated[int, typer.Argument(help="The review's number, as `kai review list` shows it.")]


@for_people
def submit(
    spec: Annotated[Path, typer.Argument(help="The report's description, such as pipelines/usage_trends.yaml.")],
) -> None:
    """Send a report's notebook for review."""
    report = read_description(spec)
    answer = gateway().request_json(
        "POST",
        f"{API}/submissions",
        {
            "report": report.report,
            "title": report.title,
            "notebook": read_notebook(report.notebook.read_bytes()),
            "parameters": dict(report.parameters),
            "cadence": report.cadence,
            "rho_per_run": report.rho_per_run,
            "delta_per_run": report.delta_per_run,
        },
    )
    if answer["state"] == "approved":
        console.print(
            f"`{report.report}` is approved as it stands, until {answer['expires_at'][:10]}: nothing to review."
        )
        return
    console.print(f"Submitted `{report.report}` as review {answer['id']}.")
    console.print(f"A reviewer decides with: kai review approve {answer['id']}", style="dim")


@app.command("list")
@for_people
def list_reviews() -> None:
    """Every review you may see, newest first."""
    rows = gateway().request_json("GET", f"{API}/reviews")["reviews"]
    columns = ("review ", "report", "purpose", "author", "ρ per run ", "state", "by")
    keys = ("id", "report", "purpose", "author", "rho_per_run", "state", "reviewer")
    console.print(table(columns, ([row[key] for key in keys] for row in rows)))


@app.command()
@for_people
def show(review: Number) -> None:
    """One review: what it asks for, what changed since the last approval, and every cell."""
    shown = gateway().request_json("GET", f"{API}/reviews/{review}")
    facts = [(label, shown[key]) for label, key in _FACTS]
    console.print(table(("", ""), [*facts, ("parameters", json.dumps(shown["parameters"], ensure_ascii=False))]))
    console.print("\n[bold]Data it can reach[/]")
    console.print(
        table(("view", "access", "columns"), ([v["name"], v["access"], v["columns"]] for v in shown["views"]))
    )
    console.print("\n[bold]Checks[/]")
    for check in shown["checks"]:
        console.print(f"  {spelt_out(check)}", markup=False)
    if shown["diff"]:
        console.print("\n[bold]Changed since the last approval[/]")
        console.print(Syntax(spelt_out(shown["diff"]), "diff", background_color="default"))
    for number, cell in enumerate(shown["cells"], 1):
        console.print()
        console.print(plain(", ".join([f"cell {number}", cell["kind"], *cell["tags"]])), style="dim")
        language = "python" if cell["kind"] == "code" else "markdown"
        console.print(Syntax(spelt_out(cell["source"]), language, background_color="default"))


_FACTS = (
    ("review", "id"),
    ("report", "report"),
    ("title", "title"),
    ("purpose", "purpose"),
    ("author", "author"),
    ("kernel", "kernelspec"),
    ("cadence", "cadence"),
    ("ρ per run", "rho_per_run"),
    ("state", "state"),
    ("note", "note"),
)


@app.command()
@for_people
def approve(
    review: Number,
    weeks: Annotated[int, typer.Option(min=1, max=104, help="For how many weeks the approval holds.")] = 52,
    note: Annotated[str, typer.Option(help="Kept with the decision.")] = "",
) -> None:
    """Approve: signs a passport bound to the notebook, its parameters, its kernel and the contracts behind it."""
    answer = _decide(review, {"action": "approve", "weeks": weeks, "note": note})
    console.print(f"Approved until {answer['expires_at'][:10]}: passport {answer['passport'][:16]}.")
    console.print(answer["separation"], style="yellow", markup=False)


@app.command("return")
@for_people
def give_back(review: Number, note: Annotated[str, typer.Option(help="What the author should change.")]) -> None:
    """Return to the author, with what to change."""
    _decide(review, {"action": "return", "note": note})
    console.print("Returned to its author.")


@app.command()
@for_people
def reject(review: Number, note: Annotated[str, typer.Option(help="Why.")]) -> None:
    """Reject."""
    _decide(review, {"action": "reject", "note": note})
    console.print("Rejected.")


@app.command()
@for_people
def revoke(review: Number, note: Annotated[str, typer.Option(help="Why.")]) -> None:
    """Revoke an approval: its report no longer runs."""
    _decide(review, {"action": "revoke", "note": note})
    console.print("Revoked.")


def _decide(review: int, decision: dict[str, Any]) -> dict[str, Any]:
    return gateway().request_json("POST", f"{API}/reviews/{review}/decision", decision)
