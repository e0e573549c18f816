"""`kai`: the command line, one module per noun.

A command's module is imported when the command is asked for: who submits a notebook doesn't wait for the builder.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

# noun: its module, the function or sub-app in it, its panel in `kai --help`
NOUNS = {
    "doctor": ("doctor", "doctor", "Custodian"),
    "init": ("home", "init", "Custodian"),
    "contracts": ("contracts", "app", "Custodian"),
    "build": ("build", "build_command", "Custodian"),
    "identity": ("identity", "app", "Custodian"),
    "session": ("session", "app", "Custodian"),
    "keys": ("keys", "app", "Custodian"),
    "gateway": ("gateway", "app", "Custodian"),
    "budget": ("budget", "app", "Custodian"),
    "release": ("release", "app", "Custodian"),
    "stop": ("stop", "stop", "Custodian"),
    "audit": ("audit", "app", "Custodian"),
    "attack": ("attack", "attack", "Custodian"),
    "engine": ("engine", "app", "Custodian"),
    "lab": ("lab", "lab", "Analyst"),
    "workspace": ("workspace", "app", "Analyst"),
    "ask": ("ask", "ask", "Analyst"),
    "submit": ("review", "submit", "Analyst"),
    "review": ("review", "app", "Reviewer"),
    "report": ("report", "app", "Reports"),
}


class Nouns(TyperGroup):
    """The nouns in the order of the table, each loaded when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The nouns."""
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The noun's command, or None for a word that is none."""
        if cmd_name not in NOUNS:
            return None
        module, name, panel = NOUNS[cmd_name]
        found = getattr(import_module(f"kaianalytics.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
            single.command(cmd_name)(found)
            found = single
        command: Any = get_command(found)
        command.name = cmd_name
        command.rich_help_panel = panel
        return command


app = typer.Typer(
    cls=Nouns,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # a local variable may hold data (law 5)
    help="An analytics sandbox whose privacy policy is enforced by where the data is.",
)


@app.callback()
def _kai() -> None:
    """An analytics sandbox whose privacy policy is enforced by where the data is."""


def main() -> None:
    """Run the command line."""
    app()
