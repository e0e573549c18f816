"""Attacks on the wall by way of JupyterLab's own doors: kernels that are not ours, sessions that move, kernelspecs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.fake_gateway import IDENTITY, FakeGateway
from support.real_world import soon

from kaianalytics.lab import kernelspecs
from kaianalytics.lab.start import LabFacts, start_lab

OPEN = ("ad-targeting", "service-improvement")


@dataclass
class Lab:
    """A running Lab, its folder, and the gateway that it is on."""

    http: httpx.Client
    folder: Path
    gateway: FakeGateway

    def ask(self, method: str, path: str, **sent: Any) -> httpx.Response:
        return self.http.request(method, path, **sent)

    def start(self, kernel: str, path: str = "a.ipynb") -> httpx.Response:
        session = {"path": path, "type": "notebook", "name": "", "kernel": {"name": kernel}}
        return self.ask("POST", "api/sessions", json=session)

    def purposes(self) -> list[str]:
        """The purposes of every session that the gateway granted."""
        return list(self.gateway.tokens.values())


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "identity").write_text(IDENTITY)
    (folder / "notebooks").mkdir()
    facts = LabFacts(
        folder / "g", folder / "identity", folder / "workspaces", folder / "notebooks", folder / "jupyter", 0, False
    )
    kernelspecs.install([(purpose, purpose) for purpose in OPEN], facts.share)
    plant(facts.share / "kernels")
    quiet = {**os.environ, "JUPYTER_TOKEN": "a-test", "HOME": str(folder), "MARK": str(folder / "ran")}
    with FakeGateway(folder / "g").serving() as gateway:
        process = start_lab(facts, quiet)
        try:
            runtime = facts.jupyter / "runtime"
            assert soon(lambda: bool(list(runtime.glob("jpserver-*.json"))), 60)
            [said] = runtime.glob("jpserver-*.json")
            address = json.loads(said.read_text())["url"]
            with httpx.Client(base_url=address, timeout=60, headers={"Authorization": "token a-test"}) as client:
                yield Lab(client, folder, gateway)
        finally:
            process.terminate()
            process.wait(30)


def plant(kernels: Path) -> None:
    """Kernelspecs as one who could write them would: without our provisioner, of another purpose, and ours, edited."""
    ran = ["/bin/sh", "-c", "touch $MARK"]
    ours = kernelspecs.kernelspec("ad-targeting", "Ads")
    other = {**ours["metadata"], "kernel_provisioner": {"provisioner_name": "local-provisioner"}}
    planted = {
        "kai-planted": {**ours, "argv": ran, "metadata": {}},
        "kai-local": {**ours, "argv": ran, "metadata": other},
        "kai-lying": ours,  # says another purpose than its name
        "python-of-mine": {**ours, "argv": ran},
    }
    for name, spec in planted.items():
        (kernels / name).mkdir()
        (kernels / name / "kernel.json").write_text(json.dumps(spec))
    edited = {**ours, "argv": ran, "env": {"LD_PRELOAD": "/planted.so", "PYTHONSTARTUP": "/planted.py"}}
    (kernels / "kai-ad-targeting" / "kernel.json").write_text(json.dumps(edited))


@pytest.fixture(autouse=True)
def _no_kernel_stays(lab: Lab) -> Iterator[None]:
    yield
    for session in lab.ask("GET", "api/sessions").json():
        lab.ask("DELETE", f"api/sessions/{session['id']}")
    for kernel in lab.ask("GET", "api/kernels").json():
        lab.ask("DELETE", f"api/kernels/{kernel['id']}")


@pytest.mark.parametrize(
    "name",
    [
        "python3",
        "kai-planted",
        "kai-local",
        "kai-lying",
        "python-of-mine",
        "../kernels/kai-ad-targeting",
        "kai-",
        "KAI-AD-TARGETING",
    ],
)
def test_a_kernel_that_is_not_ours_does_not_start(lab: Lab, name: str) -> None:
    before = lab.purposes()
    assert lab.start(name).status_code >= 400
    assert lab.ask("POST", "api/kernels", json={"name": name}).status_code >= 400
    assert lab.purposes() == before
    assert not (lab.folder / "ran").exists()


def test_what_a_kernelspec_says_of_command_and_environment_is_not_what_runs(lab: Lab) -> None:
    started = lab.start("kai-ad-targeting")
    assert started.status_code == 201 and lab.purposes()[-1] == "ad-targeting"
    assert not (lab.folder / "ran").exists()
    for status in Path("/proc").glob("[0-9]*/environ"):
        try:
            assert b"/planted.so" not in status.read_bytes()
        except (OSError, FileNotFoundError):
            continue


def test_a_session_that_moves_keeps_its_kernel_and_a_new_kernel_has_a_token_of_its_own(lab: Lab) -> None:
    session = lab.start("kai-ad-targeting").json()
    before = lab.purposes()
    moved = lab.ask("PATCH", f"api/sessions/{session['id']}", json={"path": "service_improvement/other.ipynb"}).json()
    assert moved["kernel"]["id"] == session["kernel"]["id"] and lab.purposes() == before
    for name in ("python3", "kai-planted", "kai-lying"):
        patched = lab.ask("PATCH", f"api/sessions/{session['id']}", json={"kernel": {"name": name}})
        assert patched.status_code >= 400 and lab.purposes() == before
    changed = lab.ask("PATCH", f"api/sessions/{session['id']}", json={"kernel": {"name": "kai-service-improvement"}})
    assert changed.status_code == 200
    assert changed.json()["kernel"]["id"] != session["kernel"]["id"]
    assert lab.purposes() == [*before, "service-improvement"]


def test_a_restart_asks_for_a_token_once_more_and_for_the_same_purpose(lab: Lab) -> None:
    kernel = lab.start("kai-ad-targeting").json()["kernel"]["id"]
    before = lab.purposes()
    assert lab.ask("POST", f"api/kernels/{kernel}/restart").status_code == 200
    assert lab.purposes() == [*before, "ad-targeting"]
    assert len(set(lab.gateway.tokens)) == len(lab.purposes())


def test_what_a_notebook_says_of_itself_opens_nothing(lab: Lab) -> None:
    lying = {
        "nbformat": 4, "nbformat_minor": 5, "cells": [],
        "metadata": {"kai": {"purpose": "ad-targeting"}, "kernelspec": {"name": "python3", "display_name": "Python 3"}},
    }  # fmt: skip
    (lab.folder / "notebooks" / "lying.ipynb").write_text(json.dumps(lying))
    assert lab.start("python3", "lying.ipynb").status_code >= 400
    # whatever its metadata says, a notebook's kernel has the token of the kernelspec that was started
    assert lab.start("kai-service-improvement", "lying.ipynb").status_code == 201
    assert lab.purposes()[-1] == "service-improvement"


def test_there_is_no_terminal_and_no_language_server(lab: Lab) -> None:
    for method, path in (("POST", "api/terminals"), ("GET", "api/terminals"), ("GET", "lsp/status")):
        assert lab.ask(method, path).status_code >= 400, path
