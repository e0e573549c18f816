"""`kai keys`: which keys the custodian has, how old they are, and another one in the place of one; never a key."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, open_home, table
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import Refused
from kaianalytics.gateway.rotation import rotate as rotate_key
from kaianalytics.gateway.tokens import utc_now

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The custodian's keys, by their public names.")


class Rotatable(StrEnum):
    """What can be rotated, each by itself."""

    signing = "signing"
    tokens = "tokens"
    pseudonyms = "pseudonyms"


MEANS = {
    Rotatable.signing: "New passports, releases and heads carry the new id. What was signed before still verifies.",
    Rotatable.tokens: "Every token is void: issue identities anew with `kai identity issue`, and restart kernels.",
    Rotatable.pseudonyms: "The next `kai build` makes other pseudonyms, and stops reach everyone under them too. "
    "Answers on the builds before are not free to repeat on that one.",
}


@app.command("list")
@for_people
def list_keys() -> None:
    """Every key by its public name: what it is for, when it was made, when it was replaced."""
    now = datetime.now(UTC)
    rows = [
        (each.kind, each.id, _age(each.made, now), each.retired[:10] or "in use")
        for each in Keys.load(open_home()).all_made()
    ]
    console.print(table(("for", "id", "age ", "replaced"), rows))


@app.command()
@for_people
def public(
    name: Annotated[
        str, typer.Argument(help="The signing key's id, or its first digits, as `kai keys list` says.")
    ] = "",
) -> None:
    """The public half of a signing key, present or earlier: with it, anyone can verify what it signed."""
    keys = Keys.load(open_home())
    found = {key for key_id, key in keys.public_keys().items() if key_id.startswith(name or keys.public_key_id)}
    if len(found) != 1:
        raise Refused("KEY_UNKNOWN", "This names no signing key, or several.", hint="see `kai keys list`")
    console.print(found.pop().hex(), markup=False)


@app.command()
@for_people
def rotate(what: Annotated[Rotatable, typer.Argument(help="Which key.")]) -> None:
    """Put another key in the place of one, at one stroke, while no gateway serves the home."""
    keys = rotate_key(open_home(), what.value, utc_now())
    console.print(f"The key for {what.value} is now [bold]{keys.id_of(what.value)}[/].")
    console.print(MEANS[what], soft_wrap=True)


def _age(made: str, now: datetime) -> str:
    if not made:
        return "unknown"
    days = (now - datetime.fromisoformat(made)).days
    return f"{days} day{'' if days == 1 else 's'}"
