"""`kai identity`: token files for the people and services of roles.yaml."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, open_home, table
from kaianalytics.custody.contracts import load_roles
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import IdentityRefused
from kaianalytics.gateway.sessions import IDENTITY_ISSUED, LONGEST, Out, identities_out
from kaianalytics.gateway.tokens import Tokens, utc_now
from kaianalytics.records import revocations
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.records.transaction import Reading

LONGEST_DAYS = LONGEST.days

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
    tokens = Tokens(keys.token_key)
    token = tokens.mint_identity(name, owner, now := utc_now(), timedelta(days=days))
    file = out or home.identities / f"{name}.token"
    facts = {"uid": owner, "days": days, "token": tokens.read_identity(token).token_id}
    Records.of(home, keys).append(AuditEvent(now, "custodian", IDENTITY_ISSUED, name, facts))
    _write_private(file, token)
    console.print(f"Token for [bold]{name}[/], good for {days} days from uid {owner}: {file}", soft_wrap=True)


@app.command("list")
@for_people
def list_identities() -> None:
    """Every identity token that is good now: whose, and until when."""
    home = open_home()
    with closing(Records.of(home, Keys.load(home))) as records, records.reading() as view:
        rows = [(o.token_id[:12], o.user, f"{o.at:%Y-%m-%d}", f"{o.expires_at:%Y-%m-%d}") for o in _out(view)]
    console.print(table(("token", "identity", "issued", "good until"), rows))


@app.command()
@for_people
def revoke(
    token: Annotated[str, typer.Argument(help="The token file to end; or an identity's name: all of its tokens.")],
) -> None:
    """End identity tokens now, every kernel's session that was opened with them, and what those run."""
    home = open_home()
    keys, now = Keys.load(home), utc_now()
    with closing(Records.of(home, keys)) as records:
        user, ids = _named(token, keys, records)
        facts = {"tokens": sorted(ids)}
        with records.writing(AuditEvent(now, "custodian", "identity.revoked", user, facts)) as tx:
            news = [revocations.revoke(tx, each, now + LONGEST) for each in ids]
    console.print(f"Token of [bold]{user}[/] {'revoked' if any(news) else 'was revoked already'}.")


def _named(token: str, keys: Keys, records: Records) -> tuple[str, frozenset[str]]:
    """Whose the tokens are, and their ids: the one in a file, or all that an identity has."""
    if Path(token).exists() or os.sep in token:
        identity = Tokens(keys.token_key).read_identity(_read(Path(token)))
        return identity.user, frozenset({identity.token_id})
    with records.reading() as view:
        ids = frozenset(out.token_id for out in _out(view) if out.user == token)
    if not ids:
        raise IdentityRefused(
            "TOKENS_NONE",
            f"There is no file {token!r}, and no identity of that name has a token.",
            hint="`kai identity list`",
        )
    return token, ids


def _out(view: Reading) -> tuple[Out, ...]:
    return identities_out(view, utc_now())


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
