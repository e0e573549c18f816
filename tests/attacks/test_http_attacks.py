"""Attacks on the gateway's socket by who may write any bytes on it, at any pace, on any number of connections.

The gateway is the real one; where a deadline must pass, its own protocol stands before a page of the test's with less
patience. What h11 alone would let through stands beside what our look at the head refuses.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h11
import pytest
import uvicorn
from support.impatient import serving
from support.raw_http import HEALTH, dripping, head, post, replies, said, until_closed
from support.real_world import Asker, Gateway, soon

from kaianalytics.gateway.door.head import BODY_MAX, HEAD_MAX, HeadRefused, whole_and_plain
from kaianalytics.gateway.door.peer import PER_KERNEL, PER_USER, PeerProtocol
from kaianalytics.gateway.door.pieces import InPieces
from kaianalytics.gateway.door.reading import DEPTH_MAX, MARKS_MAX, QUESTION_MAX, json_value
from kaianalytics.protocol import API

SMALL = "SELECT COUNT(*) AS n FROM sessions"
GET, POST = f"GET {API}/health HTTP/1.1", f"POST {API}/sql HTTP/1.1"
PAGE_BYTES = 64 * 1024 * 1024


def written(first: str, *headers: str, rest: str = "", end: str = "\r\n") -> bytes:
    return end.join([first, "Host: g", *headers, "", rest]).encode("latin-1")


# One way to write a request

CHUNK = "5\r\nhello\r\n0\r\n\r\n"
AFTER = GET + "\r\nHost: smuggled\r\n\r\n"
NOT_PLAIN = {
    "chunked": written(POST, "Transfer-Encoding: chunked", rest=CHUNK),
    "length and chunked": written(POST, "Content-Length: 3", "Transfer-Encoding: chunked", rest=CHUNK + AFTER),
    "chunked and length": written(POST, "Transfer-Encoding: chunked", "Content-Length: 3", rest=CHUNK + AFTER),
    "chunked, spelt otherwise": written(POST, "Transfer-Encoding: xchunked", rest=CHUNK),
    "chunked behind a space": written(POST, "Transfer-Encoding : chunked", rest=CHUNK),
    "chunked behind a tab": written(POST, "Transfer-Encoding:\tchunked", rest=CHUNK),
    "a chunk with an extension": written(POST, "Transfer-Encoding: chunked", rest="5;x=y\r\nhello\r\n0\r\n\r\n"),
    "two lengths that differ": written(POST, "Content-Length: 5", "Content-Length: 0", rest="hello" + AFTER),
    "two lengths that agree": written(POST, "Content-Length: 5", "Content-Length: 5", rest="hello"),
    "two lengths in one": written(POST, "Content-Length: 5, 5", rest="hello"),
    "a length with a sign": written(POST, "Content-Length: +5", rest="hello"),
    "a negative length": written(POST, "Content-Length: -1"),
    "a length in hex": written(POST, "Content-Length: 0x5", rest="hello"),
    "a length with zeros in front": written(POST, "Content-Length: 0005", rest="hello"),
    "a folded header": written(GET, "X-A: 1\r\n folded"),
    "a folded length": written(POST, "Content-Length:\r\n 5", rest="hello"),
    "bare line feeds": written(GET, end="\n") + b"\r\n\r\n",
    "one bare line feed": written(GET, "X-A: 1\nX-B: 2"),
    "a lone carriage return": written(GET, "X-A: 1\rX-B: 2"),
    "a line before the first": b"\r\n" + HEALTH,
    "a NUL in a header": written(GET, "X-A: a\0b"),
    "a NUL in the path": written(f"GET {API}/health\0x HTTP/1.1"),
    "a byte above 127": written(GET, "X-A: \xe9"),
    "HTTP/1.0": written(f"GET {API}/health HTTP/1.0"),
    "HTTP/0.9": f"GET {API}/health\r\n\r\n".encode(),
    "HTTP/1.2": written(f"GET {API}/health HTTP/1.2"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an upgrade to HTTP/2": written(GET, "Connection: Upgrade", "Upgrade: h2c"),
    "an upgrade to a web socket": written(
        GET, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"
    ),
    "an absolute form": written(f"GET http://elsewhere{API}/health HTTP/1.1"),
    "an authority": written("CONNECT g:443 HTTP/1.1"),
    "a star": written("OPTIONS * HTTP/1.1"),
    "TRACE": written(f"TRACE {API}/health HTTP/1.1"),
    "PUT": written(f"PUT {API}/reviews/1 HTTP/1.1"),
    "HEAD": written(f"HEAD {API}/health HTTP/1.1"),
    "a DELETE with a body": written(f"DELETE {API}/sessions HTTP/1.1", "Content-Length: 5", rest="hello"),
    "a method in small letters": written(f"get {API}/health HTTP/1.1"),
    "a method by a header": written(GET, "X-HTTP-Method-Override: POST", "x-http-method-override: POST"),
    "an encoded slash": written(f"GET {API}%2fhealth HTTP/1.1"),
    "an encoded way up": written(f"GET {API}/%2e%2e/keys HTTP/1.1"),
    "an encoding of an encoding": written(f"GET {API}/%252e%252e/keys HTTP/1.1"),
    "an overlong encoding": written(f"GET {API}/%c0%ae%c0%ae/keys HTTP/1.1"),
    "a backslash": written(f"GET {API}\\health HTTP/1.1"),
    "a semicolon in the path": written(f"GET {API}/health;x HTTP/1.1"),
    "a space in the path": written(f"GET {API}/health x HTTP/1.1"),
    "a tab for a space": written(f"GET\t{API}/health\tHTTP/1.1"),
    "a fragment": written(f"GET {API}/health#x HTTP/1.1"),
    "a header without a colon": written(GET, "X-A"),
    "a header without a name": written(GET, ": 1"),
    "a name with a space": written(GET, "X A: 1"),
    "a name with an underscore": written(GET, "Content_Length: 5"),
    "two tokens": written(GET, "Authorization: Bearer a", "Authorization: Bearer b"),
    "two hosts": written(GET, "host: h"),
    "a GET with a body": written(GET, "Content-Length: 5", rest="hello"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "a second binding": b"KAI-BIND " + b"a" * 64 + b" " + b"b" * 64 + b"\n" + b"KAI-BIND x\r\n\r\n",
}
TOO_LARGE = {
    "a long path": (400, written(f"GET {API}/{'a' * 300} HTTP/1.1")),
    "many headers": (431, written(GET, *(f"X-{number}: 1" for number in range(40)))),
    "a long header": (431, written(GET, f"X-A: {'a' * 9000}")),
    "a long head": (431, written(GET, *(f"X-{number}: {'a' * 3000}" for number in range(9)))),
    "a head that does not end": (431, b"GET " + b"a" * HEAD_MAX),
    "a head of a megabyte at once": (431, written(GET, *(f"X-{number}: {'a' * 3000}" for number in range(350)))),
    "a length past all reason": (413, written(POST, f"Content-Length: {BODY_MAX + 1}", rest="{}")),
    "a length of a mebibyte of digits": (431, written(POST, f"Content-Length: {'9' * 2**20}")),
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_another_reader_might_read_otherwise_is_not_read(gateway: Gateway, name: str) -> None:
    found = said(gateway, NOT_PLAIN[name] + AFTER.encode())
    assert [(reply.status, reply.code) for reply in found] == [(400, "NOT_PLAIN_HTTP")]


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_is_too_large_is_refused_before_it_is_parsed(gateway: Gateway, name: str) -> None:
    status, sent = TOO_LARGE[name]
    [reply] = said(gateway, sent)
    assert reply.status == status and reply.headers["connection"] == "close"


def test_the_parser_alone_would_have_read_many_of_them() -> None:
    """The look at the head is needed: without it these are requests, some of them another than was written."""

    def parsed(sent: bytes) -> bool:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(sent)
        with contextlib.suppress(h11.RemoteProtocolError):
            return isinstance(connection.next_event(), h11.Request)
        return False

    taken = {name for name, sent in NOT_PLAIN.items() if parsed(sent)}
    assert taken > {
        "length and chunked", "two lengths that agree", "a folded header", "bare line feeds", "HTTP/1.0",
        "an absolute form", "an encoded slash", "an upgrade to HTTP/2", "TRACE", "two tokens", "a GET with a body",
    }  # fmt: skip
    assert parsed(TOO_LARGE["a head of a megabyte at once"][1])


@pytest.mark.parametrize("cut", [1, 20, len(HEALTH) - 1])
def test_a_head_is_whole_or_it_is_awaited_wherever_it_is_cut(cut: int) -> None:
    assert not whole_and_plain(HEALTH[:cut])
    assert whole_and_plain(HEALTH) and whole_and_plain(HEALTH + NOT_PLAIN["HTTP/1.0"])
    with pytest.raises(HeadRefused):
        whole_and_plain(NOT_PLAIN["HTTP/1.0"] + HEALTH)


@pytest.mark.parametrize(
    "path", ["/../health", "//health", "/health/", "/./health", "/sql/../health", "/health/x", "/."]
)
def test_a_path_is_what_it_says_and_leads_nowhere_else(gateway: Gateway, path: str) -> None:
    with gateway.connect("") as connection:
        connection.settimeout(10)
        connection.sendall(head("GET", path))
        [reply] = replies(connection, 1)
    assert (reply.status, reply.code) == (404, "NO_SUCH_DOOR")
    assert "location" not in reply.headers


# Bodies


def test_a_length_that_lies_makes_no_second_request(gateway: Gateway) -> None:
    asker = gateway.session()
    body = json.dumps({"sql": SMALL}).encode()
    hidden = head("GET", "/budget", asker.token)
    short = head("POST", "/sql", asker.token, length=len(body)) + body + b"garbage" + hidden
    assert [reply.status for reply in said(gateway, short, asker.token)] == [200, 400]
    swallowed = head("POST", "/sql", asker.token, length=len(body + hidden)) + body + hidden
    with gateway.connect(asker.token) as connection:
        connection.settimeout(10)
        connection.sendall(swallowed)
        assert [reply.code for reply in replies(connection, 1)] == ["NOT_JSON"]


def test_a_body_is_not_waited_for_where_its_sender_is_refused(gateway: Gateway) -> None:
    asker = gateway.session()
    for sent, code in (
        (head("POST", "/sql", "x.y.z", length=BODY_MAX), "TOKEN_INVALID"),
        (head("POST", "/submissions", asker.token, length=BODY_MAX), "TOKEN_INVALID"),
        (head("POST", "/nowhere", asker.token, length=1000), "NO_SUCH_DOOR"),
        (head("POST", "/sql", asker.token, length=QUESTION_MAX + 1), "TOO_LARGE"),
        (head("POST", "/statistics", asker.token, length=QUESTION_MAX + 1), "TOO_LARGE"),
    ):
        started = time.monotonic()
        [reply] = said(gateway, sent, asker.token)
        assert reply.code == code
        assert time.monotonic() - started < 8, "it was waited for"  # a body has ten seconds
    assert asker.one(SMALL) > 0


def test_a_client_that_asks_before_it_sends_is_told(gateway: Gateway) -> None:
    asker = gateway.session()
    body = json.dumps({"sql": SMALL}).encode()
    with gateway.connect(asker.token) as connection:
        connection.settimeout(10)
        connection.sendall(head("POST", "/sql", asker.token, "Expect: 100-continue", length=len(body)))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert replies(connection, 1)[0].status == 200
    [refused] = said(gateway, head("POST", "/sql", "x", "Expect: 100-continue", length=len(body)))
    assert refused.status == 401  # and was never told to go on


@pytest.mark.parametrize("path", ["/sql", "/statistics", "/statistics/plan"])
def test_what_is_arrow_or_a_pickle_is_no_request(gateway: Gateway, path: str) -> None:
    asker = gateway.session()
    answered = asker.door.request_rows(f"{API}/sql", {"sql": SMALL}).arrow
    with gateway.connect(asker.token) as connection:
        connection.settimeout(10)
        for body in (answered, answered[:-9], b"ARROW1\0\0" + answered, b"\x80\x04\x95\x00.", b"\xff\xff\xff\xff" * 99):
            connection.sendall(post(path, asker.token, body))
            assert replies(connection, 1)[0].code == "NOT_JSON"


def test_json_is_shallow_and_small_before_it_is_parsed() -> None:
    deep = DEPTH_MAX
    assert json_value(b"[" * deep + b"]" * deep) is not None
    assert json_value(b"[" * (deep + 1) + b"]" * (deep + 1)) is None
    assert json_value(b'{"a":' * (deep + 1) + b"1" + b"}" * (deep + 1)) is None
    assert json_value(b"[" * 1_000_000) is None
    assert json_value(b"[" + b"[]," * MARKS_MAX + b"1]") is None
    in_a_text = json.dumps({"sql": "[" * 500 + '\\"' + "{" * 500 + '"'}).encode()
    assert json_value(in_a_text) == json.loads(in_a_text)
    assert json_value(b'{"a": "\\"' + b"[" * 500 + b'"}') == {"a": '"' + "[" * 500}
    assert json_value(b'"' + b"\\" * 999_999) is None  # a text that does not end is looked at once
    assert json_value(b'{"a": ' + b"9" * 5000 + b"}") is None


# One request, one answer, one asker


def test_each_of_many_interleaved_clients_gets_its_own_answers(gateway: Gateway) -> None:
    askers = [gateway.session(("aiko", "kaito")[number % 2]) for number in range(16)]
    together = threading.Barrier(len(askers))

    def mine(number: int) -> list[tuple[str, Any]]:
        asker, found = askers[number], []
        with gateway.connect(asker.token) as connection:
            connection.settimeout(60)
            together.wait()
            for turn in range(4):
                price = f"0.0{number + 1:02}{turn + 1}"
                asked = [head("GET", f"/budget?rho={price}{copy}", asker.token) for copy in (1, 2, 3)]
                sql = f"SELECT {number} AS me, {turn} AS turn, COUNT(*) AS n FROM sessions"
                connection.sendall(b"".join([*asked, post("/sql", asker.token, {"sql": sql})]))
                *budgets, rows = replies(connection, 4)
                found += [
                    (f"{price}{copy}", json.loads(b.body)["price"]) for copy, b in zip((1, 2, 3), budgets, strict=True)
                ]
                told = asker_rows(rows.body)
                found.append((f"{number} {turn}", f"{told['me'][0]} {told['turn'][0]}"))
        return found

    with ThreadPoolExecutor(len(askers)) as threads:
        for found in threads.map(mine, range(len(askers))):
            assert len(found) == 16 and [asked for asked, _ in found] == [answered for _, answered in found]


def asker_rows(arrow: bytes) -> dict[str, list[Any]]:
    import pyarrow.ipc

    with pyarrow.ipc.open_stream(arrow) as stream:
        told: dict[str, list[Any]] = stream.read_all().to_pydict()
    return told


# Slow clients, and many


def test_many_slow_clients_hold_nobody_up(gateway: Gateway) -> None:
    slow, other = gateway.session("aiko"), gateway.session("kaito")
    assert other.one(SMALL) > 0
    begun = [
        b"",
        b"KAI-B",
        HEALTH[:20],
        HEALTH + HEALTH[:5],
        post("/sql", slow.token, {"sql": SMALL})[:-3],
        HEALTH * 40,
    ]
    with contextlib.ExitStack() as open_ones:
        for number in range(60):
            bound = number % 2 == 0 and number < 2 * (PER_KERNEL - 2)
            connection = open_ones.enter_context(gateway.connect(slow.token if bound else ""))
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.send(begun[number % len(begun)])
        started = time.monotonic()
        for _ in range(5):
            assert other.one(SMALL) > 0
            assert gateway.as_("ren").request_json("GET", f"{API}/reviews") is not None
        assert time.monotonic() - started < 10


def test_a_kernel_has_so_many_connections_and_takes_none_of_anothers(gateway: Gateway) -> None:
    greedy, other = gateway.session("aiko"), gateway.session("aiko")
    with contextlib.ExitStack() as open_ones:
        for _ in range(PER_KERNEL):
            connection = open_ones.enter_context(gateway.connect(greedy.token))
            connection.settimeout(10)
            connection.sendall(HEALTH)
            assert replies(connection, 1)[0].status == 200
        with gateway.connect(greedy.token) as one_more:
            one_more.settimeout(10)
            [reply] = until_closed(one_more)
            assert (reply.status, reply.code) == (503, "TOO_MANY_CONNECTIONS")
        assert other.one(SMALL) > 0
    assert soon(lambda: answered(greedy))


def answered(asker: Asker) -> bool:
    with contextlib.suppress(Exception):
        return bool(asker.one(SMALL) > 0)
    return False


def test_an_os_user_has_so_many_connections_and_kernels_go_on(gateway: Gateway) -> None:
    kernel = gateway.session("kaito")
    with contextlib.ExitStack() as open_ones:
        turned_away = 0
        for _ in range(PER_USER + 8):
            connection = open_ones.enter_context(gateway.connect(""))
            connection.settimeout(10)
            with contextlib.suppress(ConnectionError):
                connection.sendall(HEALTH)
            turned_away += [reply.status for reply in replies(connection, 1)] == [503]
        assert turned_away >= 8
        assert kernel.one(SMALL) > 0


class Impatient(PeerProtocol):
    answer_seconds = 0.4


@contextlib.contextmanager
def impatient(path: Path) -> Iterator[uvicorn.Server]:
    """The gateway's protocol with less patience, before a large page of its own that is sent in pieces."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await InPieces(bytes(PAGE_BYTES), "application/octet-stream", {}, sent.set)(scope, receive, send)

    sent = threading.Event()
    with serving(path, page, Impatient) as server:
        yield server
        assert sent.wait(10)  # whoever waited for their turn has it


@pytest.mark.parametrize("reads", ["nothing", "a byte now and then"])
def test_an_answer_that_nobody_reads_is_not_kept(tmp_path: Path, reads: str) -> None:
    with impatient(tmp_path / "s") as server, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "s"))
        connection.settimeout(10)
        connection.sendall(HEALTH)
        assert soon(lambda: bool(server.server_state.connections))
        until = time.monotonic() + 10
        with contextlib.suppress(ConnectionError):
            while server.server_state.connections and time.monotonic() < until:
                if reads != "nothing":
                    connection.recv(1)
                time.sleep(0.05)
        assert not server.server_state.connections
        assert not server.server_state.tasks


def test_an_answer_that_is_read_comes_whole(tmp_path: Path) -> None:
    with impatient(tmp_path / "s") as server, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "s"))
        connection.settimeout(10)
        for _ in range(2):
            connection.sendall(HEALTH)
            got = 0
            while got < PAGE_BYTES:
                got += len(connection.recv(1 << 20))
        time.sleep(1)  # twice what an answer may take: its clock stopped with it
        assert len(server.server_state.connections) == 1


def test_bytes_that_drip_into_a_refused_body_hold_no_connection(gateway: Gateway) -> None:
    with gateway.connect("") as connection:
        connection.settimeout(10)
        connection.sendall(head("POST", "/sql", "x", length=BODY_MAX))
        with dripping(connection):
            assert [reply.code for reply in until_closed(connection)] == ["TOKEN_INVALID"]


# What every answer tells a browser


def test_every_answer_carries_the_headers_of_what_is_no_page(gateway: Gateway) -> None:
    asker = gateway.session()
    for sent in (
        HEALTH,
        head("GET", "/nowhere"),
        head("POST", "/health"),
        head("GET", "/budget", "x"),
        head("GET", "/budget", asker.token),
        post("/sql", asker.token, {"sql": SMALL}),
        post("/sql", asker.token, {"sql": "SELECT '<img src=x onerror=alert(1)>' FROM nowhere"}),
        NOT_PLAIN["HTTP/1.0"],
    ):
        with gateway.connect(asker.token) as connection:
            connection.settimeout(10)
            connection.sendall(sent)
            [reply] = replies(connection, 1)
        assert "default-src 'none'" in reply.headers["content-security-policy"], sent
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        named = ("x-content-type-options", "referrer-policy", "cache-control", "x-frame-options")
        assert [reply.headers[name] for name in named] == ["nosniff", "no-referrer", "no-store", "DENY"]
        assert reply.headers["content-type"].startswith("application/")
        assert "server" not in reply.headers and "access-control-allow-origin" not in reply.headers
