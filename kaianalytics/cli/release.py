"""`kai release`: what was released, and whether what a release claims holds, computed again without data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kaianalytics.cli.terminal import console, for_people, open_home, spelt_out, table
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import Refused
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.statistics.certifying import findings
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import releases
from kaianalytics.records.database import Records
from kaianalytics.records.releases import ListedAnswer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What was released, and whether its claims hold.")
_FACTS = ("sql", "purpose", "snapshot", "rho", "delta", "epsilon", "epsilon_delta", "windows", "isolation")
Number = Annotated[int, typer.Argument(help="The release's number, as `kai release list` shows it.")]


@app.command("list")
@for_people
def list_releases(
    purpose: Annotated[str, typer.Option(help="Of this purpose alone.")] = "",
    view: Annotated[str, typer.Option(help="Of this view alone.")] = "",
    contains: Annotated[str, typer.Option(help="With this text in the question.")] = "",
) -> None:
    """The recorded answers, newest first."""
    listed = _recorded(purpose=purpose, product=view, contains=contains)
    rows = [(*_facts(each, "release_id", "purpose", "snapshot", "rho", "sql"), each.answer.at[:19]) for each in listed]
    console.print(table(("release ", "purpose", "snapshot", "ρ ", "question", "recorded"), rows))


@app.command()
@for_people
def show(number: Number) -> None:
    """One release: its figures, what they rest on, and what they cost; each answer that was made of it."""
    for each in _demand(number):
        release = json.loads(each.answer.payload)
        console.print(table(("", ""), [(name, _text(release[name])) for name in _FACTS]))
        console.print()
        console.print(table(tuple(column["name"] for column in release["columns"]), _figures(release)))
        for sentence in (*release["bounding"], *release["notes"]):
            console.print(f"  {spelt_out(sentence)}", markup=False)
        console.print(f"\nRecorded {each.answer.at}, SHA-256 {each.answer.digest}\n", markup=False)


@app.command()
@for_people
def verify(
    release: Annotated[str, typer.Argument(help="A release's number, or a file that holds one as JSON.")],
    key: Annotated[str, typer.Option(help="The custodian's public key in hex; without it, this home's own.")] = "",
) -> None:
    """Compute again what a release claims: its plan, its sensitivities, its loss, its signature. Reads no data.

    Exit code 1 where anything does not hold.
    """
    signed, failed = _signature_check(key), False
    with closing(Guard()) as guard:
        for name, payload, charged in _named(release):
            found = [*findings(payload, guard, signed), *_charged_less(payload, charged)]
            failed = failed or bool(found)
            console.print(f"{name}: {'does not hold' if found else 'holds'}.", markup=False)
            for sentence in found or _holding(payload):
                console.print(f"  {spelt_out(sentence)}", markup=False)
    if failed:
        raise typer.Exit(1)


@app.command("key")
@for_people
def public_key() -> None:
    """The public key that this home's certificates are signed by: with it, anyone can verify them elsewhere."""
    console.print(Keys.load(open_home()).public_key.hex(), markup=False)


def _named(release: str) -> Iterator[tuple[str, Mapping[str, Any], PrivacyLoss | None]]:
    """The release of a file, or every answer of a recorded one with what the ledger was charged for it."""
    if release.isdigit() and not Path(release).exists():
        for each in _demand(int(release)):
            yield f"Release {release}, recorded {each.answer.at}", json.loads(each.answer.payload), each.loss
        return
    try:
        read = json.loads(Path(release).read_bytes())
    except (OSError, ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise Refused("NOT_A_RELEASE", "The file holds no release.", hint="give a release's JSON, or its number")
    yield f"Release of {Path(release).name}", read, None


def _charged_less(release: Mapping[str, Any], charged: PrivacyLoss | None) -> Iterator[str]:
    try:
        claimed = PrivacyLoss(**release["certificate"]["account_loss"])
    except (KeyError, TypeError, ValueError):
        return  # a certificate without it has been found out
    if charged is not None and not claimed.within(charged):
        yield "The ledger was charged less than the certificate says."


def _holding(release: Mapping[str, Any]) -> Iterator[str]:
    certificate = release["certificate"]
    loss = certificate["account_loss"]
    yield f"signed by {certificate['signature']['key']}; entry {certificate['entry']} of the ledger"
    yield f"the account lost ρ {loss['rho_units']} · 10⁻¹² and δ {loss['delta_units']} · 10⁻¹⁸, by OpenDP's map"


def _signature_check(key: str) -> Callable[[bytes, bytes], bool]:
    """Whether a signature is the custodian's over some bytes."""
    if not key:
        return Keys.load(open_home()).verify
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    except ValueError:
        raise Refused("NOT_A_KEY", "This is no public key.", hint="64 hex digits, as `kai release key` says") from None

    def signed(signature: bytes, data: bytes) -> bool:
        try:
            public.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return signed


def _demand(number: int) -> tuple[ListedAnswer, ...]:
    if found := _recorded(charge_id=number):
        return found
    raise Refused("NO_SUCH_RELEASE", f"There is no release {number}.", hint="see `kai release list`")


def _recorded(**named: Any) -> tuple[ListedAnswer, ...]:
    home = open_home()
    with closing(Records.of(home, Keys.load(home))) as records, records.reading() as view:
        return releases.listing(view, **named)


def _facts(listed: ListedAnswer, *names: str) -> list[str]:
    release = json.loads(listed.answer.payload)
    return [_text(release[name]) for name in names]


def _figures(release: Mapping[str, Any]) -> Iterator[list[str]]:
    for row, margins in zip(release["rows"], release["margins"], strict=True):
        yield [
            _text(value) + ("" if margin is None else f" ± {margin:.4g}")
            for value, margin in zip(row, margins, strict=True)
        ]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
