"""Every decoder: whatever bytes or values come, it gives a value or its own refusal, and never another exception.

Where there is an encoder, what it wrote is read back the same. `DECODERS` names every place where text or bytes become
values: what comes over the wire, from a worker, from a kernel, from disk, and what the analyst's side reads. Arrow
streams are read by Arrow and tables by Polars, which are fuzzed where they are made.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from support.contracts_kit import Folder, sample
from support.reading_kit import LOOKUPS, VIEWS, parsed
from support.reading_kit import asked as lowered
from support.release_kit import figure, key, release

from fuzz.shaking import anything, cut, objects, raw, shaken, texts_of
from kaianalytics.client import connection as client
from kaianalytics.client.transport import HandedSockets
from kaianalytics.custody import documents, home, keys
from kaianalytics.errors import (
    BuildFault,
    HomeFault,
    IdentityRefused,
    KaiError,
    QueryUnsupported,
    RecordsFault,
    Refused,
    ReviewRefused,
    Unreachable,
)
from kaianalytics.gateway.door import asking, reading
from kaianalytics.gateway.door.binding import FirstLine
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.isolation import Statement
from kaianalytics.gateway.statistics.drawing import Drawn, profile_of
from kaianalytics.gateway.statistics.lookups import lookups
from kaianalytics.gateway.tokens import Session, Tokens
from kaianalytics.gateway.workers.channel import Channel, Frame, FrameKind
from kaianalytics.gateway.workers.failures import Failure, failure_of
from kaianalytics.policy.reading import Faults
from kaianalytics.privacy import canonical
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring import certificate
from kaianalytics.privacy.measuring.measurement import plan_noise
from kaianalytics.privacy.measuring.prices import price_of
from kaianalytics.privacy.plan import Noisy, Plan
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import Profile
from kaianalytics.protocol import (
    BINDING_BYTES,
    Budget,
    BudgetLine,
    FigurePlan,
    RecordedRelease,
    Release,
    StatisticsAnswer,
    StatisticsPlan,
    StatisticsRequest,
    binding,
    refusal_from_json,
    refusal_to_json,
)
from kaianalytics.records.audit import Link
from kaianalytics.records.head import HeadFile
from kaianalytics.reports import description
from kaianalytics.review.passport import Conditions, Passport, read_source
from kaianalytics.review.request import demand_readable, read_request
from kaianalytics.sandbox.confinement import Confinement, KernelLimits, kernel
from kaianalytics.warehouse import published
from kaianalytics.warehouse.manifest import BuildInputs, Manifest, StoredFile, StoredTable

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
TOKENS = Tokens(b"k" * 32)
SESSION = Session("s" * 32, "aiko", 1000, "ad-targeting", "interactive", "kernel")
QUESTION = {
    "sql": "SELECT COUNT(*) FROM sessions",
    "rho": "0.01",
    "size": "100",
    "bounds": {"rows": 3, "values": {"pages": [0, 5]}},
}
TABLES = {"labels": {"device": ["phone", None], "weight": [1, 2.5], "good": [True, False]}}
KEYS = keys.Keys(dict(zip(keys.KINDS, (b"1" * 32, b"2" * 32, b"3" * 32), strict=True)), dict.fromkeys(keys.KINDS, ""))
PROFILE = Profile(
    100, ((Decimal("0.5"), Decimal(2)), (Decimal(1), Decimal(9))), {"pages": ((Decimal(1), Decimal(50)),)}
)
DRAWN = Drawn(Noisy((("a", 1), (None, date(2026, 1, 5))), ((1, 2), (3, 4))), "d" * 64, PROFILE)
CONDITIONS = Conditions("0.004", "0.2", "weekly")
PASSPORT = Passport(
    "usage", "Usage", "service-improvement", "aiko", "ren", "two", "sandboxed", "n" * 64, {"weeks": 4},
    "kai-service-improvement", "s" * 64, CONDITIONS, NOW.isoformat(), (NOW + timedelta(weeks=52)).isoformat(),
)  # fmt: skip
CONFINEMENT = kernel(Path("/w"), Path("/r"), Path("/p"), KernelLimits(2**31))
MANIFEST = Manifest(
    BuildInputs("c", "p", {"sessions": "d"}, "k", date(2026, 11, 1), "2.0.0"), NOW,
    (StoredFile("ads", "rows", "f", "s", 1, {"sessions": StoredTable(3, (("a", "VARCHAR"),), date(2026, 11, 1))}),),
)  # fmt: skip
NOTEBOOK = {
    "nbformat": 4, "nbformat_minor": 5, "metadata": {
        "kai": {"purpose": "service-improvement"},
        "kernelspec": {"name": "kai-service-improvement", "language": "python"},
    },
    "cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["a = 1\n", "b"], "outputs": []}],
}  # fmt: skip
SUBMISSION = {
    "report": "usage-trends", "title": "Usage", "cadence": "weekly", "rho_per_run": "0.004", "delta_per_run": "0",
    "parameters": {"weeks": 4}, "notebook": NOTEBOOK,
}  # fmt: skip
REPORT_YAML = 'report: a\ntitle: A\nnotebook: a.ipynb\ncadence: weekly\nrho_per_run: "0.004"\nparameters: {weeks: 4}\n'
LINE = BudgetLine("account", "1", "0", "1")
BUDGET = Budget("customers", "ads", (LINE,))
PLAN = StatisticsPlan(
    "0.1", "0.1", "0", "1", "0", (FigurePlan("n", "count", 1.5),), 3, ("2026-10-01",), ("b",), None, 7
)
RELEASE = json.loads(json.dumps(release([key("device"), figure("visits")], [["phone", 3]], [None, 1.5]).to_json()))
KNOWN = "SELECT channel, count(*) AS n, sum(amount) AS s FROM orders GROUP BY channel"
COST = PrivacyLoss.of("0.1")
CERTIFICATE = certificate.certificate_of(
    certificate.Asked(KNOWN, VIEWS, COST), plan_noise(compile_query(lowered(KNOWN)), COST),
    snapshot="s", entry=1, release=RELEASE, versions={"duckdb": "2.0.0"},
)  # fmt: skip


@dataclass(frozen=True)
class Decoder:
    """One decoder: what it is given, and the exceptions that are its own refusals."""

    name: str
    given: st.SearchStrategy[Any]
    read: Callable[[Any], Any]
    refusals: tuple[type[BaseException], ...]


def body(received: bytes) -> dict[str, Any]:
    """A request's body as the door reads it."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": received, "more_body": False}

    return asyncio.run(reading.json_body(Request({"type": "http", "headers": [], "method": "POST"}, receive)))


def query(text: str) -> str:
    scope = {"type": "http", "headers": [], "method": "GET", "query_string": text.encode(errors="surrogatepass")}
    return reading.query_text(Request(scope), "contains")


def bearer(header: bytes) -> str:
    return reading.bearer(Request({"type": "http", "headers": [(b"authorization", header)], "method": "GET"}))


def asked(told: dict[str, Any]) -> Any:
    """A question's request, its price, its bounds and its tables, each read as far as the one before lets it."""
    request = asking.statistics_request(told)
    return price_of(request, Decimal("1e-6")), BoundsAsked.of(request.bounds), lookups(request, sample().products)


def tables(told: Any) -> Any:
    return lookups(asking.statistics_request({"sql": "SELECT 1", "rho": "1", "tables": told}), sample().products)


def frames(sent: bytes) -> list[Frame]:
    """The frames that a worker's bytes are."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(sent[:50_000])
    found, channel = [], Channel(ours)
    try:
        while (frame := channel.receive()) is not None:
            found.append(frame)
            frame.json()
    finally:
        channel.close()
    return found


def first_line(sent: bytes) -> Any:
    """What a connection's first bytes are, whole or one by one: the same either way."""
    outcomes = []
    for pieces in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
        line, left, refused = FirstLine(), b"", False
        try:
            for piece in pieces:
                left = (line.take(piece) or b"") if line is not None else left + piece
                if left:
                    break
        except ValueError:
            refused = True
        outcomes.append((refused, line.binding))
    assert outcomes[0] == outcomes[1] or not sent.startswith(b"KAI-BIND ")
    return outcomes


def handed(answer: bytes) -> socket.socket:
    """A kernel's socket out of whatever the other end answers."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        return HandedSockets(ours)()


def in_file(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """A decoder of a file, of bytes."""

    def decode(content: bytes) -> Any:
        file = FOLDER / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        return read(file)

    return decode


def contract(file: Path) -> Any:
    faults = Faults()
    found = documents.read_document(file, faults)
    assert (found is None) == bool(len(faults))
    return found


def contracts_with(file: str) -> Callable[[bytes], Any]:
    """The whole folder of contracts with one file replaced: loaded, or every fault of it told."""

    def decode(content: bytes) -> Any:
        folder = FOLDER / f"contracts-{os.getpid()}"
        copied = Folder.__new__(Folder)
        copied.path = folder
        if not folder.exists():
            copied = Folder(folder)
        before = (folder / file).read_bytes()
        try:
            (folder / file).write_bytes(content)
            return copied.load()
        finally:
            (folder / file).write_bytes(before)

    return decode


def submission(told: dict[str, Any]) -> Any:
    request = read_request(told, 1000, PrivacyLoss.of("0.1"))
    notebook = told.get("notebook")
    source = read_source(notebook if isinstance(notebook, dict) else {}, sample().purposes)
    demand_readable(request["title"], source)
    return source


def signed(claims: dict[str, Any]) -> Any:
    """A token that carries our signature and somebody else's claims."""
    token = jwt.encode({"exp": NOW + timedelta(days=9000), "iat": NOW, **claims}, b"k" * 32, algorithm="HS256")
    return TOKENS.read_session(token), TOKENS.read_identity(token)


def only(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Those of them that are objects."""
    return values.filter(lambda value: isinstance(value, dict))


def decoded(text: bytes) -> str:
    """A file's text, as far as it is one."""
    return text.decode(errors="replace")


def yamls(name: str) -> st.SearchStrategy[bytes]:
    text = (Path(__file__).parents[2] / "data_contracts" / name).read_bytes()
    return (
        cut(text)
        | raw
        | st.sampled_from(
            [text.replace(b"true", b"!!python/none x"), b"a: &a [*a]", b"? [a]\n: b\n", b'x: "\\ud83d\\ude80"\n']
        )
    )


FOLDER = Path("/nowhere")
TOKEN = TOKENS.mint_session(SESSION, datetime.now(UTC))[0].encode()
SIGNED = {"aud": "kai-purpose", "sub": "aiko", "jti": "x", **dict.fromkeys(asdict(SESSION), "")}
MATERIAL = {"version": 2, **{kind: {"key": "00" * 32, "made": ""} for kind in keys.KINDS}, "retired": []}
SHAPE = (KeyError, TypeError, ValueError, AttributeError)  # what `client._read` turns into one fault

DECODERS = (
    # over the wire, at the gateway
    Decoder("a request's body", texts_of(QUESTION), body, (Refused,)),
    Decoder("the Authorization header", st.binary(max_size=60), bearer, (IdentityRefused,)),
    Decoder("a word of the path's query", st.text(max_size=600).map("contains={}".format), query, (Refused,)),
    Decoder("a statistical question", shaken(QUESTION) | objects, asked, (Refused, QueryUnsupported)),
    Decoder("bounds of one's own", shaken({"groups": 2, "rows_per_group": 3, "values": {"pages": [0, 9]}}) | anything,
            BoundsAsked.of, (QueryUnsupported,)),
    Decoder("lookup tables", shaken(TABLES) | anything, tables, (Refused, QueryUnsupported)),
    Decoder("a platform's statement", objects, Statement.of, ()),
    Decoder("a submission", shaken(SUBMISSION) | objects, submission, (Refused,)),
    Decoder("a notebook", shaken(NOTEBOOK) | objects, lambda told: read_source(told, sample().purposes), (Refused,)),
    Decoder("a purpose token", cut(TOKEN) | st.text().map(lambda text: text.encode(errors="replace")),
            lambda token: TOKENS.read_session(token.decode(errors="replace")), (IdentityRefused,)),
    Decoder("a token of ours with other claims", shaken(SIGNED), signed, (IdentityRefused,)),
    Decoder("the line that binds a connection", cut(binding("t", "k") + b"GET / HTTP/1.1") | st.binary(),
            first_line, ()),
    # from a worker
    Decoder("a worker's frames", cut(b"S\0\0\0\x02{}C\0\0\0\x01x") | raw | texts_of({"ok": True}).map(
        lambda text: b"S" + len(text).to_bytes(4, "big") + text), frames, (ValueError,)),
    Decoder("a worker's failure", shaken(failure_of(["BinderException"]).to_json()) | objects, Failure.from_json,
            (TypeError, ValueError)),
    # from disk, at the custodian's
    Decoder("a recorded release", texts_of(json.loads(DRAWN.to_bytes())), Drawn.from_bytes, (RecordsFault,)),
    Decoder("a profile", shaken(canonical.to_json(PROFILE)) | anything, profile_of, (ValueError,)),
    Decoder("canonical JSON", shaken(canonical.to_json(PROFILE)) | anything, canonical.from_json, (ValueError,)),
    Decoder("a view's public facts", shaken(CERTIFICATE["views"]["orders"]) | anything, canonical.view_from_json,
            (ValueError,)),
    Decoder("a passport", texts_of(asdict(PASSPORT)), Passport.from_content, (ReviewRefused,)),
    Decoder("the records' head", texts_of({"sequence": 1, "hash": "a", "signature": "00"}),
            in_file("head", lambda file: HeadFile(file, KEYS).read()), (RecordsFault,)),
    Decoder("a build's manifest", texts_of(json.loads(MANIFEST.to_json())).map(decoded),
            Manifest.from_json, (ValueError,)),
    Decoder("what names the current build", texts_of({"build_id": "a" * 64}),
            in_file(published.CURRENT, lambda file: published.current(file.parent)), (BuildFault,)),
    Decoder("the custodian's keys", texts_of(MATERIAL), keys._parse, (HomeFault,)),
    Decoder("the home's settings", cut(b'contracts = "/c"\nsources = "/s"\n') | raw,
            in_file("kai.toml", home._read_settings), (HomeFault,)),
    Decoder("a YAML document", yamls("sessions.odcs.yaml") | yamls("purposes.yaml"), in_file("x.yaml", contract), ()),
    *(Decoder(f"contracts with another {file}", yamls(file), contracts_with(file), (KaiError,))
      for file in ("sessions.odcs.yaml", "purposes.yaml", "roles.yaml", "privacy_policy.yaml")),
    # in the sandbox and at the runner's
    Decoder("a confinement", texts_of(json.loads(CONFINEMENT.to_json())).map(decoded),
            Confinement.from_json, (ValueError,)),
    Decoder("a report's description", cut(REPORT_YAML.encode()) | raw, in_file("r.yaml", description.read_description),
            (Refused,)),
    Decoder("a notebook's file", texts_of(NOTEBOOK), description.read_notebook, (Refused,)),
    # at the analyst's
    Decoder("a handed socket", cut(b"+\0") | st.binary(max_size=6), handed, (OSError,)),
    Decoder("a refusal", only(shaken(refusal_to_json(Refused("A", "b")))) | objects,
            lambda told: refusal_from_json(told, 422), ()),
    *(Decoder(f"the answer: {kind.__name__}", shaken(valid) | objects,
              lambda told, kind=kind: client._read(kind.from_json, told), (Unreachable, KaiError))
      for kind, valid in (
          (Budget, asdict(BUDGET)), (StatisticsPlan, asdict(PLAN)), (Release, RELEASE),
          (StatisticsAnswer, {"release": json.dumps(RELEASE), "charged": True, "remaining": {}}),
          (RecordedRelease, {"release": json.dumps(RELEASE), "at": "2026-11-01"}))),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    global FOLDER
    FOLDER = tmp_path_factory.mktemp("decoded")


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_a_value_or_its_own_refusal(decoder: Decoder) -> None:
    slow = "contracts with" in decoder.name

    @settings(max_examples=6 if slow else 40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(decoder.given)
    def judged(told: Any) -> None:
        try:
            decoder.read(told)
        except decoder.refusals:
            return

    judged()


def test_planted_fault_an_exception_of_another_kind_is_caught() -> None:
    unwary = Decoder("unwary", texts_of(QUESTION), lambda text: json.loads(text)["sql"], (ValueError,))
    with pytest.raises((KeyError, TypeError, RecursionError, ExceptionGroup)):
        test_a_value_or_its_own_refusal(unwary)


def test_what_was_written_is_read_back() -> None:
    assert Drawn.from_bytes(DRAWN.to_bytes()) == DRAWN
    assert Passport.from_content(PASSPORT.content) == PASSPORT
    assert Confinement.from_json(CONFINEMENT.to_json()) == CONFINEMENT
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert Budget.from_json(json.loads(json.dumps(asdict(BUDGET)))) == BUDGET
    assert StatisticsPlan.from_json(json.loads(json.dumps(asdict(PLAN)))) == PLAN
    assert json.loads(json.dumps(Release.from_json(RELEASE).to_json())) == RELEASE
    assert TOKENS.read_session(TOKEN.decode()) == SESSION
    assert profile_of(json.loads(canonical.canonical_text(canonical.to_json(PROFILE)))) == PROFILE
    head = HeadFile(FOLDER / "head", KEYS)
    head.write(Link(3, "abc"))
    assert head.read() == Link(3, "abc")
    refusal = refusal_from_json(refusal_to_json(Refused("A", "b", rule="c", hint="d")), 422)
    assert (refusal.code, refusal.message, refusal.rule, refusal.hint) == ("A", "b", "c", "d")
    line = FirstLine()
    assert line.take(binding("t", "k") + b"GET") == b"GET" and line.binding is not None
    assert len(binding("t", "k")) == BINDING_BYTES


@given(st.binary(max_size=400), st.sampled_from(list(FrameKind)))
def test_a_frame_is_read_back_as_it_was_sent(payload: bytes, kind: FrameKind) -> None:
    ours, theirs = socket.socketpair()
    one, two = Channel(ours), Channel(theirs)
    one.send(kind, payload)
    assert two.receive() == Frame(kind, payload)
    one.close()
    assert two.receive() is None
    two.close()


@pytest.fixture(scope="module")
def guard() -> Any:
    guard = Guard()
    yield guard
    guard.close()


def test_any_text_is_admitted_or_refused(guard: Guard) -> None:
    @settings(max_examples=150, deadline=None)
    @given(st.text(max_size=60) | st.text(alphabet="SELECT FROM()'\"$;,-/*1x\n\u200b\ud800", max_size=60))
    def judged(sql: str) -> None:
        try:
            guard.admit(sql, ("sessions",))
        except Refused as refusal:
            assert refusal.code and refusal.message

    judged()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(shaken(CERTIFICATE) | objects, shaken(RELEASE) | objects)
def test_a_certificate_of_anything_is_checked(told: Any, beside: Any) -> None:
    """`check` tells findings of whatever it is given, and raises nothing; `asked_of` gives a value or ValueError."""
    certificate.check(told, _derived, beside)
    try:
        certificate.asked_of(told)
    except ValueError:
        return


def test_an_honest_certificate_holds() -> None:
    assert certificate.check(json.loads(json.dumps(CERTIFICATE)), _derived, RELEASE) == []


def _derived(asked: certificate.Asked) -> Plan:
    return compile_query(
        lower(parsed(asked.sql), asked.views, LOOKUPS), BoundsAsked.none(), asked.chosen_at, asked.profile
    )


def test_a_request_of_statistics_is_read_back() -> None:
    request = asking.statistics_request(QUESTION | {"tables": TABLES})
    assert isinstance(request, StatisticsRequest) and request.tables == TABLES and request.rho == "0.01"
