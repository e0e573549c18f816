"""A real JupyterLab as `start_lab` starts it: purposes' kernels and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.fake_gateway import IDENTITY, FakeGateway
from tornado.websocket import websocket_connect

from kaianalytics.lab import kernelspecs
from kaianalytics.lab.start import LabFacts, start_lab


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "identity").write_text(IDENTITY)
    (folder / "notebooks").mkdir()
    facts = LabFacts(
        folder / "g",
        folder / "identity",
        folder / "workspaces",
        folder / "notebooks",
        folder / "jupyter",
        port=0,
        browser=False,
    )
    kernelspecs.install([("ad-targeting", "Ad targeting"), ("third-party", "Third party")], facts.share)
    quiet = {**os.environ, "JUPYTER_TOKEN": "a-test", "HOME": str(folder)}
    with FakeGateway(folder / "g").serving():
        process = start_lab(facts, quiet)
        try:
            with httpx.Client(base_url=_address(facts.jupyter / "runtime"), timeout=60) as client:
                client.headers["Authorization"] = "token a-test"
                yield client
        finally:
            process.terminate()
            process.wait(30)


def _address(runtime: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for facts in runtime.glob("jpserver-*.json"):
            return str(json.loads(facts.read_text())["url"])
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not start")


async def _first_print(channels: str) -> str:
    """What the kernel behind a browser's web socket prints first, when asked for its purpose."""
    code = "import kaianalytics; print('for', kaianalytics.connect().purpose)"
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    header = {
        "msg_id": "1",
        "msg_type": "execute_request",
        "username": "",
        "session": "a",
        "version": "5.3",
        "date": "",
    }
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    browser = await websocket_connect(channels)
    await browser.write_message(json.dumps(request))
    while (heard := await asyncio.wait_for(browser.read_message(), 30)) is not None:
        message = json.loads(heard)
        if message["msg_type"] in ("stream", "error"):
            browser.close()
            return str(message["content"].get("text", message["content"]))
    raise AssertionError("the kernel hung up")


def test_the_launcher_offers_the_purposes_alone(server: httpx.Client) -> None:
    listed = server.get("api/kernelspecs").json()
    assert sorted(listed["kernelspecs"]) == ["kai-ad-targeting", "kai-third-party"]
    assert listed["default"] == "kai-ad-targeting"


def test_an_unbound_kernel_does_not_start_by_its_name(server: httpx.Client) -> None:
    assert server.post("api/kernels", json={"name": "python3"}).status_code >= 400
    session = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    assert server.post("api/sessions", json=session).status_code == 501
    assert server.get("api/kernels").json() == []


def test_a_purposes_kernel_starts_and_a_closed_purpose_says_why_not(server: httpx.Client) -> None:
    session = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "kai-ad-targeting"}}
    started = server.post("api/sessions", json=session)
    assert started.status_code == 201
    channels = server.base_url.join(f"api/kernels/{started.json()['kernel']['id']}/channels?token=a-test")
    assert asyncio.run(_first_print(str(channels).replace("http", "ws", 1))) == "for ad-targeting\n"
    server.delete(f"api/sessions/{started.json()['id']}").raise_for_status()
    refused = server.post("api/sessions", json={**session, "path": "b.ipynb", "kernel": {"name": "kai-third-party"}})
    assert "is not open to the sandbox. [PURPOSE_NOT_OPEN]" in refused.json()["message"]


def test_a_page_of_another_origin_changes_nothing_with_a_persons_cookie(server: httpx.Client) -> None:
    """A form elsewhere sends the cookie along; what it can't know is the token beside it, `_xsrf`."""
    session = {"path": "x.ipynb", "type": "notebook", "name": "", "kernel": {"name": "kai-ad-targeting"}}
    changes = (
        ("POST", "api/sessions", session),
        ("POST", "api/kernels", {"name": "kai-ad-targeting"}),
        ("PUT", "api/contents/planted.txt", {"type": "file", "format": "text", "content": "x"}),
        ("POST", "api/contents", {"type": "file", "ext": ".txt"}),
        ("PATCH", "api/contents/a.ipynb", {"path": "b.ipynb"}),
        ("POST", "api/shutdown", {}),
    )
    # as a browser that has logged in: it brings a cookie, and no token
    with httpx.Client(base_url=server.base_url, timeout=60, follow_redirects=True) as with_cookie:
        with_cookie.get("lab?token=a-test").raise_for_status()
        xsrf = with_cookie.cookies["_xsrf"]
        for method, path, body in changes:
            for headers in ({}, {"X-XSRFToken": "guessed"}, {"Content-Type": "text/plain"}):
                answer = with_cookie.request(method, path, json=body, headers=headers)
                assert answer.status_code == 403, (method, path, headers)
            elsewhere = {"X-XSRFToken": xsrf, "Origin": "https://evil.example"}
            assert with_cookie.request(method, path, json=body, headers=elsewhere).status_code in (403, 404)
        known = {"X-XSRFToken": xsrf}
        made = with_cookie.put("api/contents/mine.txt", json=changes[2][2], headers=known)
        assert made.status_code == 201  # the same request, from Lab itself
        assert with_cookie.delete("api/contents/mine.txt").status_code == 403
        assert with_cookie.delete("api/contents/mine.txt", headers=known).status_code == 204
    assert server.get("api/kernels").json() == []


def test_another_hosts_name_is_not_this_servers(server: httpx.Client) -> None:
    assert server.get("api/contents", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("path", ["lab", "api/contents", "api/kernelspecs", "files/nothing", "login", "static/nothing"])
def test_every_answer_of_the_server_says_who_may_frame_and_read_it(server: httpx.Client, path: str) -> None:
    said = server.get(path, headers={"Origin": "https://evil.example"}).headers
    assert "frame-ancestors 'self'" in said["content-security-policy"]
    assert said["x-content-type-options"] == "nosniff"
    assert said["referrer-policy"] == "same-origin"
    assert said.get("access-control-allow-origin", "null") == "null"


def test_there_are_no_terminals_and_no_news(server: httpx.Client) -> None:
    assert server.post("api/terminals").status_code == 404
    page = server.get("lab").text
    assert '"news": {"disabled": true}' in page
    assert server.get("lab/api/update").json().get("notification") is None
