"""Attacks on the custody from within: an analyst with any SQL, any HTTP and any notebook, and a careless steward.

Each test is an attack that must fail. The gateway is the real one, as a process of its own; nothing is told to it but
over its socket, except where a steward edits a file or a custodian types a command.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.impatient import serving
from support.real_world import Asker, Gateway, World, notebook, refusal, replace_file, soon

from kaianalytics.errors import BuildFault, KaiError, QueryUnsupported, ReviewRefused
from kaianalytics.gateway.door.peer import PeerProtocol
from kaianalytics.gateway.guard.admission import Guard, without_comments
from kaianalytics.gateway.serving import CurrentServing
from kaianalytics.gateway.statistics.question import Ground, Question, prepare
from kaianalytics.gateway.tokens import Session, Tokens, new_token_id, utc_now
from kaianalytics.gateway.workers.pool import WorkerPool
from kaianalytics.gateway.workers.process import StoreSpec
from kaianalytics.policy.purpose import Purpose, Purposes
from kaianalytics.policy.reading import canonical_digest
from kaianalytics.protocol import API, StatisticsRequest
from kaianalytics.publishing.cleaning import clean_html
from kaianalytics.publishing.publish import Provenance, check_executed, render, withdraw_unrecorded
from kaianalytics.records import revocations
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.review.passport import Conditions, Passport, read_source

SMALL = "SELECT COUNT(*) AS n FROM sessions"
ENDLESS = "SELECT COUNT(*) AS n FROM sessions a, sessions b, sessions c WHERE a.pages + b.pages + c.pages = -1"
PURPOSES = Purposes("1", {"service-improvement": Purpose("service-improvement", "Services", "3.5", True)}, {})


def submission(report: str, source: Mapping[str, Any], rho: str = "0.002", **changed: Any) -> dict[str, Any]:
    """What `kai submit` sends."""
    body = {"report": report, "title": report, "cadence": "weekly", "rho_per_run": rho, "parameters": {}}
    return {**body, "notebook": dict(source), **changed}


def submit(gateway: Gateway, body: Mapping[str, Any], user: str = "aiko") -> dict[str, Any]:
    return gateway.as_(user).request_json("POST", f"{API}/submissions", body)


def decide(gateway: Gateway, review: int, action: str = "approve", **more: Any) -> dict[str, Any]:
    body = {"action": action, "note": "as the test says", **more}
    return gateway.as_("ren").request_json("POST", f"{API}/reviews/{review}/decision", body)


def approved(gateway: Gateway, report: str, source: Mapping[str, Any], **changed: Any) -> int:
    """The number of a review that ended in a passport."""
    review: int = submit(gateway, submission(report, source, **changed))["id"]
    assert decide(gateway, review)["state"] == "approved"
    return review


def lease(gateway: Gateway, report: str, source: Mapping[str, Any], **parameters: Any) -> tuple[int, Asker]:
    """A run, and the asker that its kernel would be."""
    body = {"report": report, "notebook": source, "parameters": parameters}
    grant = gateway.as_("runner").request_json("POST", f"{API}/runs", body)
    token = grant["session"]["token"]
    return grant["run"], Asker(token, gateway.door(token), grant["session"])


def finish(gateway: Gateway, run: int, executed: Mapping[str, Any] | None) -> dict[str, Any]:
    body = {"notebook": executed, "failed": executed is None, "code": "" if executed else "GIVEN_UP"}
    return gateway.as_("runner").request_json("POST", f"{API}/runs/{run}/finish", body)


@contextlib.contextmanager
def waiting(gateway: Gateway, token: str, sql: str, count: int) -> Iterator[None]:
    """So many connections, each with a question whose answer nobody reads; all hung up in the end."""
    body = json.dumps({"sql": sql}).encode()
    head = f"POST {API}/sql HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.ExitStack() as open_ones:
        for _ in range(count):
            connection = open_ones.enter_context(gateway.connect(token))
            connection.sendall(head.encode() + body)
        yield


# Who pays, and for how long


def test_what_a_run_may_cost_is_held_however_many_ask_at_one_time(gateway: Gateway) -> None:
    source = notebook("kai.datasets()")
    approved(gateway, "parallel", source, rho="0.003")
    _, asker = lease(gateway, "parallel", source)
    together = threading.Barrier(8)

    def ask(number: int) -> str:
        together.wait()
        try:
            asker.stats(f"{SMALL} WHERE pages > {100 + number}", rho="0.001")
        except KaiError as refused:
            return refused.code
        return "answered"

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(ask, range(8))) == ["RUN_CAP"] * 5 + ["answered"] * 3


def test_a_charge_that_an_earlier_run_left_is_no_way_past_what_a_run_may_cost(gateway: Gateway) -> None:
    source = notebook("kai.datasets()", "1")
    approved(gateway, "redeeming", source, rho="0.002")
    dropped, other = f"{SMALL} WHERE pages > 41", f"{SMALL} WHERE pages > 42"
    first, asker = lease(gateway, "redeeming", source)
    before = set(gateway.workers())
    assert asker.refused("SELECT COUNT(*) AS n FROM sessions WHERE pages > 40", rho="9").code == "RUN_CAP"
    with ThreadPoolExecutor(1) as thread:
        charge_left_without_release(gateway, asker, dropped, thread, before)
    finish(gateway, first, None)
    _, again = lease(gateway, "redeeming", source)
    assert again.stats(other, rho="0.002")["charged"]
    assert again.refused(dropped, rho="0.002").code == "RUN_CAP"


def charge_left_without_release(
    gateway: Gateway, asker: Asker, sql: str, thread: ThreadPoolExecutor, before: set[int]
) -> None:
    """Ask, and kill the question's process between charge and answer."""
    last = gateway.world.last_event()
    asked = thread.submit(refusal, lambda: asker.stats(sql, rho="0.002"))
    assert soon(lambda: any(e.facts().get("outcome") for e in gateway.world.events("statistics.asked", after=last)))
    killed: set[int] = set()
    while not asked.done():
        for pid in set(gateway.workers()) - before - killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.001)
    assert asked.result().code.startswith("WORKER_"), asked.result()


def test_a_runs_token_ends_with_its_run_and_a_revoked_approval_ends_both(gateway: Gateway) -> None:
    source = notebook("kai.datasets()", "2")
    review = approved(gateway, "ending", source)
    over, token_of_the_finished = lease(gateway, "ending", source)
    finish(gateway, over, None)
    assert token_of_the_finished.refused(SMALL, rho="0.001").code == "RUN_FINISHED"
    under_way, asker = lease(gateway, "ending", source)
    assert asker.stats(SMALL, rho="0.0014")["charged"]
    decide(gateway, review, "revoke")
    assert asker.refused(SMALL, rho="0.0014").code == "PASSPORT_REVOKED"  # not even the free repeat
    assert asker.refused(SMALL, rho="0.0001").code == "PASSPORT_REVOKED"
    assert refusal(lambda: finish(gateway, under_way, source)).code == "PASSPORT_REVOKED"
    assert not (gateway.world.home.reports / "ending").exists()


def test_a_submission_and_its_costs_are_its_senders_whatever_it_says(gateway: Gateway) -> None:
    source = notebook("kai.datasets()", "3")
    review = submit(gateway, submission("whose", source, author="kaito", reviewer="aiko", state="approved"))["id"]
    assert refusal(lambda: gateway.as_("kaito").request_json("GET", f"{API}/reviews/{review}")).code == "NOT_YOURS"
    assert decide(gateway, review)["state"] == "approved"
    _, asker = lease(gateway, "whose", source)
    assert asker.grant["user"] == "aiko"
    last = gateway.world.last_event()
    asker.stats(f"{SMALL} WHERE pages > 77", rho="0.0001")
    assert {event.actor for event in gateway.world.events(after=last)} == {"aiko"}


def test_revoking_an_identity_ends_the_sessions_it_opened(gateway: Gateway) -> None:
    world = gateway.world
    stolen = Tokens(world.keys.token_key).mint_identity("aiko", os.getuid(), utc_now(), timedelta(days=1))
    asked = {"purpose": "service-improvement", "kernel": "the thief's"}
    grant = gateway.door(stolen).request_json("POST", f"{API}/sessions", asked)
    thief, other = Asker(grant["token"], gateway.door(grant["token"]), grant), gateway.session("aiko")
    assert thief.one(SMALL) > 0
    token_id = jwt.decode(stolen, options={"verify_signature": False})["jti"]
    records = Records.of(world.home, world.keys)
    with records.writing(AuditEvent(utc_now(), "custodian", "token.revoked", token_id)) as tx:
        revocations.revoke(tx, token_id, utc_now() + timedelta(days=2))
    records.close()
    assert thief.refused(SMALL).code == "TOKEN_REVOKED"
    assert thief.refused(SMALL, rho="0.001").code == "TOKEN_REVOKED"
    assert other.one(SMALL) > 0


# What one analyst may learn of another


def test_a_repeat_shows_nobody_what_another_analyst_wrote_beside_the_question(gateway: Gateway) -> None:
    sql = "SELECT COUNT(*) AS n FROM sessions /* {} */ WHERE device <> '--' -- {}\n  AND pages > 3"
    mine = gateway.session("aiko").stats(sql.format("asked for Mrs Tanaka", "see her case"), rho="0.0007")
    theirs = gateway.session("kaito").stats(sql.format("", ""), rho="0.0007")
    assert mine["charged"] and not theirs["charged"] and mine["release"] == theirs["release"]
    assert "Tanaka" not in theirs["release"] and "her case" not in theirs["release"]
    assert json.loads(theirs["release"])["sql"].endswith("pages > 3")


@pytest.mark.parametrize(
    ("sql", "bare"),
    [
        ("SELECT 1 -- x", "SELECT 1"),
        ("/* a /* b */ c */ SELECT '--' AS \"/*\"", "SELECT '--' AS \"/*\""),
        ("SELECT '日本' /* 東京 */ AS n", "SELECT '日本'  AS n"),
        ("SELECT $$ -- $$ --\n, 2", "SELECT $$ -- $$  , 2"),
    ],
)
def test_comments_go_and_everything_else_stays(sql: str, bare: str) -> None:
    assert without_comments(sql) == bare


def test_a_reports_name_is_no_way_to_its_authors_notebook(gateway: Gateway) -> None:
    source = notebook("unpublished = 'idea of aiko'")
    aikos = submit(gateway, submission("pending", source))["id"]
    squat = submit(gateway, submission("pending", notebook("1 + 1")), "kaito")["id"]  # while nobody has the name
    decide(gateway, aikos)
    after = submit(gateway, submission("other", notebook("1 + 1")), "kaito")["id"]
    taken = refusal(lambda: submit(gateway, submission("pending", notebook("2 + 2")), "kaito"))
    assert taken.code == "REPORT_TAKEN" and "aiko" not in str(taken)
    for review in (squat, after):
        shown = gateway.as_("kaito").request_json("GET", f"{API}/reviews/{review}")
        assert "idea of aiko" not in json.dumps(shown)
    assert refusal(lambda: decide(gateway, squat)).code == "REPORT_TAKEN"
    _, asker = lease(gateway, "pending", source)  # and aiko's still runs
    assert asker.grant["user"] == "aiko"


def test_counting_through_the_numbers_shows_nobody_what_is_not_theirs(gateway: Gateway) -> None:
    source = notebook("secret_of_aiko = 1")
    review = approved(gateway, "counted", source)
    run, _ = lease(gateway, "counted", source)
    before = gateway.world.last_event()
    for user in ("kaito", "mio"):
        door = gateway.as_(user)
        for number in range(review + 3):
            try:
                shown = door.request_json("GET", f"{API}/reviews/{number}")
                assert shown["author"] == user
            except KaiError as refused:
                assert refused.code in ("NOT_YOURS", "REVIEW_UNKNOWN") and "secret_of" not in str(refused)
            decided = {"action": "approve", "note": ""}
            taken = attempt(
                lambda n=number, d=door, b=decided: d.request_json("POST", f"{API}/reviews/{n}/decision", b)
            )
            assert isinstance(taken, KaiError)
        for number in range(run + 3):
            sent = {"notebook": source, "failed": True, "code": "MINE"}
            ended = attempt(lambda n=number, d=door, b=sent: d.request_json("POST", f"{API}/runs/{n}/finish", b))
            assert isinstance(ended, KaiError) and ended.code == "ROLE_MISSING"
    told = gateway.world.events(after=before)
    assert not [event for event in told if event.kind in ("review.approve", "run.failed", "run.published")]
    assert len([event for event in told if event.kind == "request.refused"]) > 2 * review


def test_a_register_with_a_fault_closes_the_doors_and_is_not_shown(gateway: Gateway) -> None:
    asker = gateway.session()
    put_back = gateway.world.edit("roles.yaml", "roles: [reviewer]", "roles: [overlord-of-kaito]")
    try:
        refused = (asker.refused(SMALL), asker.refused(SMALL, rho="0.001"), refusal(lambda: gateway.session()))
    finally:
        put_back()
    assert {error.code for error in refused} == {"REGISTER_FAULTY"}
    assert not any("overlord" in str(error) or "roles.yaml" in str(error) for error in refused)
    assert asker.one(SMALL) > 0


# What is approved is what was read, what runs and what is shown


def test_what_changes_between_reading_approving_running_and_publishing_voids(world: World) -> None:
    source = notebook("kai.datasets()")
    with world.gateway() as gateway:
        approved(gateway, "moving", source)
        waiting_review = submit(gateway, submission("waiting", source))["id"]
        run, asker = lease(gateway, "moving", source)
        asker.stats(SMALL, rho="0.001")
        world.kai("build", "--as-of", "2026-10-30")  # the same contracts, other data
        assert refusal(lambda: finish(gateway, run, source)).code == "BUILD_CHANGED"
        run, asker = lease(gateway, "moving", source)
        answered_on = json.loads(asker.stats(SMALL, rho="0.001")["release"])["snapshot"]
        page = world.root / "home" / finish(gateway, run, source)["page"]
        assert answered_on in page.read_text(encoding="utf-8")
        run, _ = lease(gateway, "moving", source)
        world.edit("sessions.odcs.yaml", "{rows: 60}", "{rows: 59}")
        world.kai("build", "--as-of", "2026-10-30")
        assert refusal(lambda: finish(gateway, run, source)).code == "PASSPORT_VOID"
        assert refusal(lambda: lease(gateway, "moving", source)).code == "PASSPORT_VOID"
        assert refusal(lambda: decide(gateway, waiting_review)).code == "CONTRACTS_CHANGED"
        assert decide(gateway, waiting_review, "return")["state"] == "returned"


@pytest.mark.parametrize(("value", "other"), [(1, True), (True, 1), (1, 1.0), (0, None), ("1", 1), (0.0, -0.0)])
def test_a_parameter_is_another_one_where_its_json_is(gateway: Gateway, value: Any, other: Any) -> None:
    report = f"typed-{canonical_digest([str(value), str(other)])[:8]}"
    source = notebook("kai.datasets()", parameters="n = 0")
    approved(gateway, report, source, parameters={"n": value})
    same = submit(gateway, submission(report, source, parameters={"n": value}))
    assert same["state"] == "approved"
    assert submit(gateway, submission(report, source, parameters={"n": other}))["state"] == "submitted"
    assert refusal(lambda: lease(gateway, report, source, n=other)).code == "PASSPORT_VOID"


def test_a_price_is_signed_in_plain_digits_and_within_reason(gateway: Gateway) -> None:
    for spelling in ("٠.٠٠٤", " 0.00_4 ", "4E-3", "0.004" + "0" * 5000):
        review = submit(gateway, submission("spelt", notebook("4"), rho=spelling))["id"]
        shown = gateway.as_("ren").request_json("GET", f"{API}/reviews/{review}")
        assert shown["rho_per_run"] == "0.004"
    for refused in ("1000000", "10.5", "0", "-1", "NaN", "Infinity", "1e999999999"):
        assert refusal(lambda rho=refused: submit(gateway, submission("x", notebook(), rho=rho))).code == "RHO_PER_RUN"


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ({"cell_type": "raw", "source": "<meta http-equiv=refresh content='0;url=//x'>"}, "CELL_NOT_REVIEWABLE"),
        ({"cell_type": "raw", "metadata": {"raw_mimetype": "text/html"}}, "CELL_NOT_REVIEWABLE"),
        ({"cell_type": "heading", "source": "x"}, "CELL_NOT_REVIEWABLE"),
        ({"attachments": {"a.png": {"image/png": "AAAA"}}}, "CELL_NOT_REVIEWABLE"),
        ({"metadata": {"tags": "injected-parameters"}}, "NOT_A_NOTEBOOK"),
        ({"metadata": {"tags": [["injected-parameters"]]}}, "NOT_A_NOTEBOOK"),
        ({"metadata": {"tags": ["injected-parameters"]}}, "INJECTED_CELL"),
        ({"source": ["a", 1]}, "NOT_A_NOTEBOOK"),
        ({"source": {"a": 1}}, "NOT_A_NOTEBOOK"),
    ],
)
def test_what_a_digest_would_not_cover_is_no_source(cell: Mapping[str, Any], code: str) -> None:
    sound = {"cell_type": "markdown", "metadata": {}, "source": "x"}
    metadata = {"kai": {"purpose": "service-improvement"}, "kernelspec": {"name": "kai-service-improvement"}}
    with pytest.raises(ReviewRefused) as refused:
        read_source({"nbformat": 4, "metadata": metadata, "cells": [{**sound, **cell}]}, PURPOSES)
    assert refused.value.code == code
    read_source({"nbformat": 4, "metadata": metadata, "cells": [sound]}, PURPOSES)


def test_a_notebook_of_two_formats_is_not_read_as_the_harmless_one() -> None:
    two_faced = notebook("1") | {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": "evil()"}]}]}
    with pytest.raises(ReviewRefused, match="NOT_A_NOTEBOOK"):
        read_source(two_faced, PURPOSES)


@pytest.mark.parametrize("hidden", ["\x1b[2K\x1b[1A", "\r", "\x08", "\x9b8m", "\u202e", "\u2066", "\u200b", "\ufeff"])
def test_what_a_reviewer_could_not_see_is_not_submitted(gateway: Gateway, hidden: str) -> None:
    for body in (
        submission("hidden", notebook(f"import os{hidden} # harmless")),
        submission("hidden", notebook(), title=f"a{hidden}b"),
    ):
        assert refusal(lambda body=body: submit(gateway, body)).code == "HIDDEN_CHARACTERS"


def test_a_source_too_long_to_read_is_not_compared_for_hours(gateway: Gateway) -> None:
    lines = "\n".join(f"x{number % 1500}" for number in range(100_000))
    assert refusal(lambda: submit(gateway, submission("long", notebook(lines)))).code == "TOO_LONG_TO_REVIEW"


def test_a_terminal_shows_what_an_analyst_wrote_and_obeys_none_of_it(gateway: Gateway) -> None:
    source = notebook("x = '[red]not red[/red] [/]'")
    source["cells"][-1]["metadata"]["tags"] = ["[conceal]tag[/nothing]"]
    review = submit(gateway, submission("markup", source, title="[/bold] [link=https://x.example]Usage[/link]"))["id"]
    shown = gateway.world.kai("review", "show", str(review), identity="ren")
    for text in ("[/bold] [link=https://x.example]Usage[/link]", "[conceal]tag[/nothing]", "[red]not red[/red] [/]"):
        assert text in shown
    asked = {"purpose": "\x1b[2J\x9b2J[/red]", "kernel": "k"}
    refusal(lambda: gateway.as_("aiko").request_json("POST", f"{API}/sessions", asked))
    tail = gateway.world.kai("audit", "tail", "--number", "5")
    assert "\x1b" not in tail and "\x9b" not in tail and "\\x1b[2J\\x9b2J[/red]" in tail


HOSTILE = (
    '<meta http-equiv="refresh" content="0;url=https://x.example/">',
    '<link rel="dns-prefetch" href="//x.example">',
    "<style>footer.kai { display: none }</style>",
    '</div></main></body></html><footer class="kai">ρ 0</footer>',
    "<script>alert(1)</script>",
    '<form action="https://x.example"><button>ok</button></form>',
    '<iframe srcdoc="<b>x</b>"></iframe><object data="x"></object><embed src="x"><base href="//x.example">',
    '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg><math href="javascript:alert(1)">x</math>',
    '<p style="position:fixed;top:0;left:0;height:100%;z-index:9;background:url(//x.example)">x</p>',
    '<img src="https://x.example/a.png"><img src="data:text/html,x"><a href="javascript:alert(1)">x</a>',
    '<a href=" java\nscript:alert(1)">x</a><b onclick="alert(1)">x</b><noscript><meta http-equiv=refresh></noscript>',
    "<plaintext><textarea><title><xmp><template><select><noembed>",
)
ACTING = re.compile(
    "audio|base|body|button|embed|form|frame|frameset|head|html|iframe|input|link|math|meta|noembed|noscript|object|"
    "plaintext|portal|script|select|source|style|svg|template|textarea|title|video|xmp"
)


class Acting(HTMLParser):
    """What of a page's elements and attributes could act, fetch or hide; what is text is no element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if ACTING.fullmatch(tag):
            self.found.append(tag)
        self.found += [f"{name}={value}" for name, value in attrs if self.acts(name, "".join((value or "").split()))]

    def acts(self, name: str, value: str) -> bool:
        if name == "href":
            return not value.startswith(("https://", "mailto:", "#"))
        if name == "src":
            return not value.startswith("data:image/")
        hides = name == "style" and any(word in value for word in ("position", "z-index", "url(", "display"))
        return hides or name.startswith("on")


@pytest.mark.parametrize("html", HOSTILE)
def test_html_is_cleaned_of_all_that_acts_fetches_or_hides(html: str) -> None:
    assert Acting(html).found or "</main>" in html, "this is no attack"
    assert not Acting(clean_html(html)).found
    assert not Acting(clean_html(f"<table><tr><td>{html}")).found
    assert not {"main", "footer"} & set(re.findall(r"</?([a-z]+)", clean_html(html)))


def test_a_published_page_holds_what_a_report_needs() -> None:
    kept = (
        '<table class="dataframe"><thead><tr><th style="text-align: right;">n</th></tr></thead></table>',
        '<meter min="0" max="1.0" value="0.5">50%</meter>',
        '<img alt="chart" src="data:image/png;base64,AAAA">',
        '<a href="https://example.org/">source</a>',
    )
    for html in kept:
        assert clean_html(html) == html


def test_a_published_page_neither_leaves_itself_nor_loses_its_footer() -> None:
    executed = notebook("show()")
    markdown = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Title\n\n" + "\n\n".join(HOSTILE)}
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {kind: "\n".join(HOSTILE)}}
        for kind in ("text/html", "text/markdown", "application/javascript", "text/latex", "text/plain")
    ]
    executed["cells"] += [markdown, {**executed["cells"][-1], "id": "o", "outputs": outputs}]
    injected = {**executed["cells"][-1], "id": "i", "metadata": {"tags": ["injected-parameters"]}, "source": "n = 1"}
    shown = {"output_type": "stream", "name": "stdout", "text": "forged beside the parameters"}
    passport = Passport(
        "r", "R", "service-improvement", "aiko", "ren", "Two.", "I.", read_source(executed, PURPOSES).digest, {},
        "kai-service-improvement", "s", Conditions("0.1", "1", "weekly"), "2026-11-01T00:00:00+00:00", "2027",
    )  # fmt: skip
    whole = copy.deepcopy({**executed, "cells": [{**injected, "outputs": [shown]}, *executed["cells"]]})
    check_executed(whole, passport, PURPOSES)
    page = render(whole, passport, Provenance(1, "now", "b+0", "2026", "I.", "0.1", "0", ()), "Services")
    body = page[page.index("<body") :]
    assert Acting(body).found == ["body"]
    assert body.count('<footer class="kai">') == body.count("</main>") == 1 and "forged beside" not in body
    assert body.index('<footer class="kai">') < body.index("</main>") < body.index("</body>")


# One analyst's work and everyone else's


def test_one_session_with_endless_questions_holds_nobody_else_up(gateway: Gateway) -> None:
    busy, other = gateway.session("aiko"), gateway.session("kaito")
    assert other.one(SMALL) > 0
    last = gateway.world.last_event()
    with waiting(gateway, busy.token, ENDLESS, 60):
        assert soon(lambda: len(gateway.world.events("rows.permitted", after=last)) > 1)
        time.sleep(0.5)  # for all that may be under way to be
        started = time.monotonic()
        assert gateway.door("nobody's").request_json("GET", f"{API}/health")["status"] == "ok"
        assert other.one(SMALL) > 0
        assert gateway.session("kaito").grant["user"] == "kaito"
        assert time.monotonic() - started < 15
    # those who hung up are not waited for: the session itself is soon free again
    assert soon(lambda: not isinstance(attempt(lambda: busy.one(SMALL)), KaiError))


def attempt(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except KaiError as error:
        return error


@pytest.mark.parametrize("sent", [b"", b"GET /v1/health HTTP/1.1\r\nHost: g\r\n", b"POST /v1/sql HT"])
def test_a_head_that_never_ends_is_hung_up_on_though_it_drips(tmp_path: Path, sent: bytes) -> None:
    with impatient_server(tmp_path / "s") as path, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.settimeout(10)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: g\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(sent)
        ended = threading.Event()
        dripping = threading.Thread(target=drip, args=(connection, ended))
        if sent:
            dripping.start()
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):  # so ends a connection whose last byte nobody reads any more
            while connection.recv(65536):
                pass
        ended.set()
        if sent:
            dripping.join()
            assert time.monotonic() - started < 5  # a byte now and then buys no time


def drip(connection: socket.socket, ended: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not ended.wait(0.05):
            connection.send(b"X")


class Impatient(PeerProtocol):
    head_seconds = 0.4


@contextlib.contextmanager
def impatient_server(path: Path) -> Iterator[Path]:
    """The gateway's protocol with less patience, before a page of its own."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    with serving(path, page, Impatient, timeout_keep_alive=1):
        yield path


def test_two_requests_in_one_write_are_answered_by_the_connections_own_token_alone(gateway: Gateway) -> None:
    mine, theirs = gateway.session("aiko"), gateway.session("kaito")
    heads = "".join(
        f"GET {API}/budget HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n"
        for token in (mine.token, "x.y.z", theirs.token)
    )
    with gateway.connect(mine.token) as connection:
        connection.settimeout(10)
        connection.sendall(heads.encode())
        got = b""
        while got.count(b"HTTP/1.1 ") < 3:
            got += connection.recv(65536)
    statuses = [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"401", b"401"]


def test_no_header_names_the_os_user(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # as a careless steward exports it for another service
    someone = os.getuid() + 4242
    stolen = Tokens(world.keys.token_key).mint_session(
        Session(new_token_id(), "aiko", someone, "service-improvement", "interactive", "k"), utc_now()
    )[0]
    with world.gateway() as gateway, gateway.http() as http:
        headers = {"Authorization": f"Bearer {stolen}", "X-Forwarded-For": f"10.0.0.1:{someone}"}
        answer = http.get(f"{API}/budget", headers=headers)
    assert answer.json()["refused"]["code"] == "WRONG_OS_USER"


# Stops, builds and questions that are not the same


def test_a_stop_is_not_undone_by_a_question_that_had_read_the_stops_before(template: World) -> None:
    serving = CurrentServing(template.home.stores)()
    views = serving.view_statements("service-improvement", "rows")
    spec = StoreSpec("service-improvement", "rows", serving.store("service-improvement", "rows"), views)
    pool = WorkerPool()
    try:
        ids = "SELECT DISTINCT customer_id FROM sessions WHERE customer_id IS NOT NULL ORDER BY 1"
        stopped = str(pool.session("s", spec).fetch(ids, 30)[0][0])
        later = pool.session("s", StoreSpec(spec.purpose, spec.access, spec.path, views, frozenset({stopped})))
        earlier = pool.session("s", spec)  # it read the stops first, and comes second
        for worker in (later, earlier):
            assert worker.fetch(f"SELECT COUNT(*) FROM sessions WHERE customer_id = '{stopped}'", 30) == [(0,)]
    finally:
        pool.close_all()


def test_a_page_that_a_crash_left_without_its_event_is_no_publication(world: World) -> None:
    reports, recorded = world.home.reports, {("kept", 1), ("kept", 2)}
    for page in ("kept/run-000001", "kept/run-000002", "kept/run-000003", "lost/run-000002"):
        (reports / page).mkdir(parents=True)
        (reports / page).with_name("latest").unlink(missing_ok=True)
        (reports / page).with_name("latest").symlink_to(Path(page).name)
    withdrawn = withdraw_unrecorded(reports, recorded)
    assert withdrawn == (reports / "kept" / "run-000003", reports / "lost" / "run-000002")
    assert sorted(reports.glob("*/run-*")) == [reports / "kept" / "run-000001", reports / "kept" / "run-000002"]
    assert (reports / "kept" / "latest").readlink() == Path("run-000002")
    assert not (reports / "lost" / "latest").is_symlink()
    assert not withdraw_unrecorded(reports, recorded)
    with world.gateway():  # whose records know of no page at all
        assert not list(reports.glob("*/run-*"))


def test_stores_are_not_served_under_contracts_that_were_edited_in_place(world: World) -> None:
    serving = CurrentServing(world.home.stores)()
    file = serving.build.contracts_folder / "sessions.odcs.yaml"
    file.chmod(0o600)
    file.parent.chmod(0o700)
    text = file.read_text(encoding="utf-8")
    replace_file(file, text.replace("{rows: 60}", "{rows: 59}", 1))
    with pytest.raises(BuildFault) as refused:
        CurrentServing(world.home.stores)()
    assert refused.value.code == "PUBLISHED_DAMAGED"
    replace_file(file, text)
    assert CurrentServing(world.home.stores)().build.build_id == serving.build.build_id


def test_no_two_different_questions_share_a_digest_and_so_a_free_answer(template: World) -> None:
    questions = [
        f"{head} FROM sessions{where}{tail}"
        for where in (
            "", " WHERE pages > 5", " WHERE pages >= 5", " WHERE pages > 6", " WHERE pages = 5", " WHERE pages <> 5",
            " WHERE NOT pages = 5", " WHERE pages IN (5)", " WHERE pages IN (5, 6)", " WHERE pages BETWEEN 5 AND 6",
            " WHERE pages > 5 AND pages < 9", " WHERE pages > 5 OR pages < 9", " WHERE pages < 9 AND pages > 5",
            " WHERE NOT (pages > 5 AND pages < 9)", " WHERE NOT pages > 5 AND pages < 9", " WHERE pages IS NULL",
            " WHERE pages IS NOT NULL", " WHERE pages IS DISTINCT FROM 5", " WHERE pages IS NOT DISTINCT FROM 5",
            " WHERE device = 'phone'", " WHERE device LIKE 'phone'", " WHERE device NOT LIKE 'phone'", " WHERE TRUE",
            " WHERE device IN ('phone')", " WHERE service = 'phone'", " WHERE device <> 'phone'", " WHERE FALSE",
            " WHERE pages > 5 AND (pages < 9 OR device = 'tv')", " WHERE (pages > 5 AND pages < 9) OR device = 'tv'",
        )
        for head, tail in (
            ("SELECT COUNT(*) AS n", ""), ("SELECT COUNT(*) AS m", ""), ("SELECT SUM(pages) AS n", ""),
            ("SELECT SUM(pages) AS n, COUNT(*) AS m", ""), ("SELECT COUNT(*) AS m, SUM(pages) AS n", ""),
            ("SELECT device, COUNT(*) AS n", " GROUP BY device"),
            ("SELECT service, COUNT(*) AS n", " GROUP BY service"),
            ("SELECT device AS service, COUNT(*) AS n", " GROUP BY device"),
            ("SELECT COUNT(*) AS n, device", " GROUP BY device"),
        )
    ]  # fmt: skip
    asked, charged = {}, {}
    for sql, question in prepared(template, questions):
        asked[sql], charged[sql] = question.asked, question.charge.question
    assert len(set(asked.values())) == len(asked) > 250
    # one measurement under two names, or with its columns in another order, is the same draw; nothing else is
    names = (("COUNT(*) AS m FROM", "COUNT(*) AS n FROM"), ("device AS service", "device"))
    orders = (
        ("COUNT(*) AS n, device FROM", "device, COUNT(*) AS n FROM"),
        ("COUNT(*) AS m, SUM(pages) AS n FROM", "SUM(pages) AS n, COUNT(*) AS m FROM"),
    )
    measured = {}
    for sql in asked:
        plain = sql
        for name, other in (*names, *orders):
            plain = plain.replace(f"SELECT {name}", f"SELECT {other}", 1)
        measured.setdefault(plain, set()).add(charged[sql])
    assert all(len(digests) == 1 for digests in measured.values())
    assert len(measured) == len({digest for digests in measured.values() for digest in digests}) < len(asked)


def prepared(world: World, questions: list[str], **asked: Any) -> Iterator[tuple[str, Question]]:
    """The questions made ready as the gateway does, at one price, but for those without any group to answer."""
    serving, guard = CurrentServing(world.home.stores)(), Guard()
    session = Session("s", "aiko", os.getuid(), "service-improvement", "interactive", "k")
    views, populations = serving.statistics_views("service-improvement"), serving.contracts.purposes.populations
    ground = Ground(views, {}, populations, "snapshot", lambda *subject: None)
    try:
        for sql in questions:
            admitted = guard.admit(sql, tuple(serving.contracts.products))
            try:
                question = prepare(admitted, StatisticsRequest(sql, **{"rho": "0.001", **asked}), session, ground)
            except QueryUnsupported as refused:
                assert refused.code == "NO_CELLS"
                continue
            yield sql, question
    finally:
        guard.close()


def test_another_price_bound_or_table_is_another_question_and_another_draw(template: World) -> None:
    sql = "SELECT device, SUM(pages) AS n FROM sessions GROUP BY device"
    variants: list[dict[str, Any]] = [
        {},
        {"rho": "0.0011"},
        {"rho": None, "epsilon": "0.2"},
        {"bounds": {"rows": 3}},
        {"bounds": {"rows": 4}},
        {"bounds": {"norm": "3"}},
        {"bounds": {"values": {"pages": [0, 10]}}},
    ]
    made = [next(prepared(template, [sql], **changed))[1] for changed in variants]
    assert len({question.asked for question in made}) == len(variants)
    assert len({question.charge.question for question in made}) == len(variants)
    [same] = [question for _, question in prepared(template, [sql], rho="0.00100")]
    assert (same.asked, same.charge.question) == (made[0].asked, made[0].charge.question)


def test_averaging_over_names_kernels_and_users_gives_one_draw_however_often_it_is_asked(gateway: Gateway) -> None:
    askers = [gateway.session(user) for user in ("aiko", "kaito", "aiko")]
    figures = set()
    for number in range(24):
        spaces = " " * (number % 5 + 1)
        sql = f"SELECT{spaces}COUNT(*) AS a{number} FROM{spaces}sessions WHERE pages = 11 -- {number}"
        answer = askers[number % 3].stats(sql, rho="0.0009")
        assert answer["charged"] == (number == 0)
        figures.add(json.loads(answer["release"])["rows"][0][0])
    assert len(figures) == 1
