"""`kai session`: the purpose tokens that are out, and an end to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, open_home, table
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import IdentityRefused
from kaianalytics.gateway.sessions import Out, sessions_out
from kaianalytics.gateway.tokens import utc_now
from kaianalytics.records import revocations
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The purpose tokens that kernels and runs hold.")


@app.command("list")
@for_people
def list_sessions() -> None:
    """Every purpose token that is good now: whose, for what, of which kernel, until when."""
    with _records() as records, records.reading() as view:
        rows = [_row(out) for out in sessions_out(view, utc_now())]
    console.print(table(("session", "user", "purpose", "kernel", "opened", "good until"), rows))


@app.command()
@for_people
def end(
    which: Annotated[str, typer.Argument(help="The session, by the first digits of its id; or with --user a user.")],
    user: Annotated[bool, typer.Option("--user", help="End all sessions of the user of that name.")] = False,
) -> None:
    """End a session now: its next request is refused, and what it runs is ended."""
    now = utc_now()
    with _records() as records:
        with records.reading() as view:
            found = [out for out in sessions_out(view, now) if (out.user == which if user else _is(out, which))]
        if not found or (len(found) > 1 and not user):
            raise IdentityRefused(
                "SESSION_UNKNOWN", "This names no session that is open, or several.", hint="see `kai session list`"
            )
        for out in found:
            with records.writing(
                AuditEvent(now, "custodian", "session.ended", out.user, {"session": out.token_id})
            ) as tx:
                revocations.revoke(tx, out.token_id, out.expires_at)
    console.print(f"Ended {len(found)} session{'' if len(found) == 1 else 's'} of [bold]{found[0].user}[/].")


@contextmanager
def _records() -> Iterator[Records]:
    home = open_home()
    records = Records.of(home, Keys.load(home))
    try:
        yield records
    finally:
        records.close()


def _is(out: Out, which: str) -> bool:
    return len(which) >= 6 and out.token_id.startswith(which)


def _row(out: Out) -> tuple[str, ...]:
    times = (f"{moment:%Y-%m-%d %H:%M}" for moment in (out.at, out.expires_at))
    return (out.token_id[:12], out.user, out.purpose, out.kernel[:40], *times)
