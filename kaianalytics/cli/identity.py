"""`kai identity`: token files for the people and services of roles.yaml."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, open_home
from kaianalytics.custody.contracts import load_roles
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import IdentityRefused
from kaianalytics.gateway.tokens import Tokens, utc_now
from kaianalytics.records import revocations
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records

LONGEST_DAYS = 366

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Token files for the people and services of roles.yaml."
)


@app.command()
@for_people
def issue(
    name: Annotated[str, typer.Argument(help="The identity's key in roles.yaml.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it; default: in the home.")] = None,
    uid: Annotated[int | None, typer.Option(help="The OS user it is good from; default: yours.")] = None,
    days: Annotated[int, typer.Option(min=1, max=LONGEST_DAYS, help="How long it is good.")] = 90,
) -> None:
    """Write an identity token file (mode 0600) for a registered identity."""
    home = open_home()
    keys = Keys.load(home)
    if name not in load_roles(home.contracts / "roles.yaml").identities:
        raise IdentityRefused(
            "IDENTITY_UNKNOWN",
            f"`{name}` is not a registered identity.",
            rule="only appointed handlers get a token (clause 8)",
            hint="register it in roles.yaml first",
        )
    owner = os.getuid() if uid is None else uid
    token = Tokens(keys.token_key).mint_identity(name, owner, now := utc_now(), timedelta(days=days))
    file = out or home.identities / f"{name}.token"
    event = AuditEvent(now, "custodian", "identity.issued", name, {"uid": owner, "days": days})
    Records.of(home, keys).append(event)
    _write_private(file, token)
    console.print(f"Token for [bold]{name}[/], good for {days} days from uid {owner}: {file}", soft_wrap=True)


@app.command()
@for_people
def revoke(
    token: Annotated[Path, typer.Argument(help="The token file to end, or a copy of it.")],
) -> None:
    """End an identity token now, and every kernel's session that was opened with it."""
    home = open_home()
    keys = Keys.load(home)
    identity = Tokens(keys.token_key).read_identity(_read(token))
    now = utc_now()
    with Records.of(home, keys).writing(AuditEvent(now, "custodian", "identity.revoked", identity.user)) as tx:
        news = revocations.revoke(tx, identity.token_id, now + timedelta(days=LONGEST_DAYS))
    console.print(f"Token of [bold]{identity.user}[/] {'revoked' if news else 'was revoked already'}.")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise IdentityRefused("TOKEN_UNREADABLE", "There is no readable token file of that name.") from None


def _write_private(file: Path, text: str) -> None:
    aside = file.with_name(f".{file.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(text + "\n")
    aside.replace(file)
