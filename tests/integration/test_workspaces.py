"""Workspaces: what of one leaves by Lab, what has to go, and what no other purpose's kernel and no link gets at."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.kernels import manager_for, running, server_environment
from support.real_world import Gateway, World, refusal, soon

from kaianalytics.custody.keys import Keys
from kaianalytics.errors import HomeFault, KaiError
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.custodian import CurrentRoles
from kaianalytics.gateway.isolation import Isolation
from kaianalytics.gateway.serving import CurrentServing
from kaianalytics.gateway.tokens import Identity, utc_now
from kaianalytics.gateway.workspaces import Workspaces
from kaianalytics.lab import beneath, expiry, kernelspecs
from kaianalytics.lab.start import LabFacts, start_lab
from kaianalytics.policy.leaving import DOWNLOAD_BYTES
from kaianalytics.protocol import API, GUARD_RAILS_ONLY
from kaianalytics.records.database import Records

PURPOSE = "service-improvement"


@dataclass
class Served:
    """A running Lab of aiko's, and her workspace of one purpose."""

    http: httpx.Client
    workspace: Path
    notebooks: Path
    gateway: Gateway
    facts: LabFacts

    def ask(self, method: str, path: str, **sent: Any) -> httpx.Response:
        return self.http.request(method, path, **sent)

    def downloads(self) -> list[dict[str, Any]]:
        return [event.facts() for event in self.gateway.world.events("workspace.downloaded")]


@pytest.fixture(scope="module")
def lab(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    workspace = folder / "workspaces" / "aiko" / PURPOSE
    workspace.mkdir(parents=True)
    facts = LabFacts(
        gateway.socket, gateway.world.token_file("aiko"), folder / "workspaces", folder / "notebooks",
        folder / "jupyter", port=0, browser=False,
    )  # fmt: skip
    kernelspecs.install([(PURPOSE, "Services"), ("ad-targeting", "Ads")], facts.share)
    with serving(facts) as http:
        yield Served(http, workspace, folder / "notebooks", gateway, facts)


@contextmanager
def serving(facts: LabFacts) -> Iterator[httpx.Client]:
    quiet = {**os.environ, "JUPYTER_TOKEN": "a-test", "HOME": str(facts.jupyter.parent)}
    process = start_lab(facts, quiet)
    try:
        runtime = facts.jupyter / "runtime"
        assert soon(lambda: bool(list(runtime.glob("jpserver-*.json"))), 60)
        [said] = runtime.glob("jpserver-*.json")
        address = json.loads(said.read_text())["url"]
        with httpx.Client(base_url=address, timeout=60, follow_redirects=True) as client:
            client.headers["Authorization"] = "token a-test"
            yield client
    finally:
        process.terminate()
        process.wait(30)


# The one door


def test_a_small_file_leaves_once_it_is_recorded(lab: Served) -> None:
    (lab.workspace / "small.csv").write_text("a,b\n1,2\n")
    before = len(lab.downloads())
    answer = lab.ask("GET", f"files/workspaces/{PURPOSE}/small.csv?download=1")
    assert (answer.status_code, answer.text) == (200, "a,b\n1,2\n")
    [event] = lab.downloads()[before:]
    assert event == {
        "name": hashlib.sha256(f"{PURPOSE}/small.csv".encode()).hexdigest(),
        "content": hashlib.sha256(b"a,b\n1,2\n").hexdigest(),
        "size": 8,
    }


@pytest.mark.parametrize(
    "door", ["files/{}?download=1", "files/{}", "api/contents/{}", "api/contents/{}?format=base64"]
)
def test_every_way_out_of_a_workspace_is_the_one_door(lab: Served, door: str) -> None:
    (lab.workspace / "large.bin").write_bytes(b"x" * (DOWNLOAD_BYTES + 1))
    (lab.workspace / "fits.bin").write_bytes(b"x" * DOWNLOAD_BYTES)
    before = len(lab.downloads())
    refused = lab.ask("GET", door.format(f"workspaces/{PURPOSE}/large.bin"))
    assert refused.status_code == 403 and "x" * 100 not in refused.text
    assert len(lab.downloads()) == before
    assert lab.ask("GET", door.format(f"workspaces/{PURPOSE}/fits.bin")).status_code == 200
    assert len(lab.downloads()) == before + 1
    assert lab.gateway.world.events("request.refused")[-1].facts()["code"] == "DOWNLOAD_TOO_LARGE"


def test_a_listing_and_metadata_record_nothing_and_hold_no_content(lab: Served) -> None:
    (lab.workspace / "listed.txt").write_text("secret-content")
    (lab.workspace / ".hidden").write_text("x")
    before = len(lab.downloads())
    listed = lab.ask("GET", f"api/contents/workspaces/{PURPOSE}").json()
    assert "listed.txt" in [entry["name"] for entry in listed["content"]]
    assert ".hidden" not in [entry["name"] for entry in listed["content"]]
    facts = lab.ask("GET", f"api/contents/workspaces/{PURPOSE}/listed.txt?content=0")
    assert facts.json()["size"] == 14 and "secret-content" not in listed["name"] + facts.text
    assert "workspaces" in [entry["name"] for entry in lab.ask("GET", "api/contents").json()["content"]]
    assert len(lab.downloads()) == before


def test_without_the_gateways_word_nothing_leaves(lab: Served) -> None:
    (lab.workspace / "small.csv").write_text("a,b\n")
    identity = lab.facts.identity
    kept = identity.read_text()
    identity.write_text("forged")
    try:
        assert lab.ask("GET", f"files/workspaces/{PURPOSE}/small.csv").status_code == 403
    finally:
        identity.write_text(kept)


def test_a_file_is_uploaded_whole_and_deleted_and_nothing_is_moved_out(lab: Served) -> None:
    path = f"api/contents/workspaces/{PURPOSE}/up.csv"
    model = {"type": "file", "format": "text", "content": "a\n1\n"}
    assert lab.ask("PUT", path, json=model).status_code in (200, 201)
    assert (lab.workspace / "up.csv").read_text() == "a\n1\n"
    assert (lab.workspace / "up.csv").stat().st_mode & 0o777 == 0o600
    for method, target, body in (
        ("PATCH", path, {"path": "up.csv"}),
        ("POST", "api/contents/", {"copy_from": f"workspaces/{PURPOSE}/up.csv"}),
        ("POST", f"{path}/checkpoints", None),
        ("PUT", f"api/contents/workspaces/{PURPOSE}/n.ipynb", {"type": "notebook", "content": {}}),
    ):
        assert lab.ask(method, target, json=body).status_code in (400, 403), target
    assert not (lab.notebooks / "up.csv").exists() and not list(lab.workspace.rglob("*checkpoint*"))
    assert lab.ask("DELETE", path).status_code == 204
    assert not (lab.workspace / "up.csv").exists()


# Links and ways round


@pytest.fixture
def planted(lab: Served) -> Iterator[Path]:
    """Links that a kernel could have planted; each leads to a file that the server may read."""
    secret = lab.notebooks.parent / "secret.txt"
    secret.write_text("what no link may reach")
    made = {
        "link.txt": secret, "folder": secret.parent, ".ipynb_checkpoints": secret.parent, "self": lab.workspace,
    }  # fmt: skip
    for name, target in made.items():
        (lab.workspace / name).symlink_to(target)
    os.mkfifo(lab.workspace / "pipe")
    yield secret
    for name in (*made, "pipe"):
        (lab.workspace / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    "path",
    [
        "link.txt", "folder/secret.txt", ".ipynb_checkpoints/secret.txt", "self/link.txt", "pipe", "../../secret.txt",
        "..%2f..%2fsecret.txt", "folder", "%2e%2e/%2e%2e/secret.txt", "link.txt/", "./link.txt",
    ],
)  # fmt: skip
@pytest.mark.parametrize("door", ["files/", "api/contents/", "nbconvert/html/"])
def test_no_link_and_no_path_leads_out_of_a_workspace(lab: Served, planted: Path, door: str, path: str) -> None:
    answer = lab.ask("GET", f"{door}workspaces/{PURPOSE}/{path}")
    assert answer.status_code >= 400 and "no link may reach" not in answer.text


def test_what_is_written_through_lab_replaces_a_link_and_does_not_follow_it(lab: Served, planted: Path) -> None:
    model = {"type": "file", "format": "text", "content": "mine"}
    lab.ask("PUT", f"api/contents/workspaces/{PURPOSE}/link.txt", json=model)
    lab.ask("PUT", f"api/contents/workspaces/{PURPOSE}/folder/secret.txt", json=model)
    lab.ask("DELETE", f"api/contents/workspaces/{PURPOSE}/folder/secret.txt")
    assert planted.read_text() == "what no link may reach"


def test_a_person_is_shown_their_own_workspaces_alone(lab: Served) -> None:
    others = lab.workspace.parent.parent / "kaito" / PURPOSE
    others.mkdir(parents=True, exist_ok=True)
    (others / "kaitos.txt").write_text("kaito's")
    shown = lab.ask("GET", "api/contents/workspaces").json()
    assert [entry["name"] for entry in shown["content"]] == [PURPOSE]
    for path in (f"workspaces/kaito/{PURPOSE}/kaitos.txt", f"workspaces/../kaito/{PURPOSE}/kaitos.txt"):
        assert "kaito's" not in lab.ask("GET", f"files/{path}").text


def test_a_purpose_that_is_no_longer_ones_own_lets_no_file_out(lab: Served) -> None:
    other = lab.workspace.parent / "third-party"
    other.mkdir(exist_ok=True)
    (other / "old.csv").write_text("old")
    try:
        answer = lab.ask("GET", f"files/workspaces/{other.name}/old.csv")
        assert answer.status_code == 403 and answer.text != "old"
    finally:
        (other / "old.csv").unlink()
        other.rmdir()


@pytest.mark.parametrize("inside", ["workspaces", "identity", "jupyter", "gateway_socket"])
def test_lab_does_not_start_where_notebooks_hold_what_is_not_theirs(tmp_path: Path, inside: str) -> None:
    places = {name: tmp_path / name for name in ("gateway_socket", "identity", "workspaces", "jupyter")}
    places[inside] = tmp_path / "notebooks" / inside
    facts = LabFacts(**places, notebooks=tmp_path / "notebooks")
    with pytest.raises(HomeFault) as refused:
        start_lab(facts, {})
    assert refused.value.code == "NOTEBOOKS_HOLD_OTHERS"


# What has to go


def test_files_from_before_a_stop_go_at_the_next_kernels_start_and_are_recorded(world: World, tmp_path: Path) -> None:
    share, workspaces = tmp_path / "share", tmp_path / "workspaces"
    kernelspecs.install([(PURPOSE, "Services"), ("ad-targeting", "Ads")], share)
    with (
        world.gateway() as gateway,
        server_environment(gateway.socket, world.token_file("aiko"), workspaces),
    ):
        mine, others = workspaces / "aiko" / PURPOSE, workspaces / "aiko" / "ad-targeting"
        for workspace in (mine, others):
            (workspace / "deep").mkdir(parents=True)
            (workspace / "deep" / "rows.csv").write_text("rows")
        outside = tmp_path / "outside.txt"
        outside.write_text("not in a workspace")
        (mine / "link").symlink_to(outside)
        with running(manager_for(share, f"kai-{PURPOSE}")) as kernel:
            assert kernel.run("print(open('deep/rows.csv').read())").printed == "rows\n", "nothing was to go yet"
        os.utime(mine / "deep" / "rows.csv", (4e9, 4e9))  # a time that an analyst sets counts for nothing
        world.kai("stop", "C-000001", "--scope", PURPOSE)
        (mine / "later.csv").write_text("made after the stop")
        with running(manager_for(share, f"kai-{PURPOSE}")) as kernel:
            kernel.run("pass")
        assert not (mine / "deep" / "rows.csv").exists() and (mine / "link").is_symlink() and outside.exists()
        assert (others / "deep" / "rows.csv").exists(), "the stop was for another purpose"
        assert "Removed: " in (mine / expiry.NOTE).read_text()
        [event] = world.events("workspace.swept")
        assert (event.subject, event.actor) == (PURPOSE, "aiko") and event.facts()["files"] >= 1


def test_the_shortest_retention_of_a_purposes_rows_is_how_long_files_stay(gateway: Gateway) -> None:
    rules = gateway.as_("aiko").request_json("GET", f"{API}/workspaces")
    assert rules["user"] == "aiko"
    largest = {purpose: rule["download_bytes"] for purpose, rule in rules["purposes"].items()}
    assert largest == {PURPOSE: DOWNLOAD_BYTES, "campaign-analysis": DOWNLOAD_BYTES, "ad-targeting": 262144}
    since = {purpose: rule["files_since"] for purpose, rule in rules["purposes"].items()}
    assert since[PURPOSE] < "2026-11", "rows are kept for a while"
    assert all(time == "" or time.endswith("Z") for time in since.values())


def test_the_sweep_removes_by_when_a_file_was_made_and_follows_no_link(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "w", tmp_path / "outside"
    (workspace / "a").mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").write_text("x")
    (workspace / "old").write_text("x")
    (workspace / "a" / "old").write_text("x")
    (workspace / "a" / "out").symlink_to(outside)
    os.utime(workspace / "old", (4e9, 4e9))
    assert expiry.sweep(workspace, "") == expiry.sweep(workspace, "2001-01-01T00:00:00.000000Z") == 0
    assert expiry.sweep(workspace, "2999-01-01T00:00:00.000000Z") == 2
    assert sorted(path.name for path in workspace.rglob("*")) == [expiry.NOTE, "a", "out"]
    assert (outside / "kept").exists()
    (tmp_path / "linked").symlink_to(outside)
    assert expiry.sweep(tmp_path / "linked", "2999-01-01T00:00:00.000000Z") == 0


def test_typed_commands_list_and_sweep(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = world.root / "home" / "workspaces" / "aiko" / PURPOSE
    workspace.mkdir(parents=True)
    (workspace / "rows.csv").write_text("rows")
    with world.gateway():
        assert PURPOSE in world.kai("workspace", "list", identity="aiko")
        world.kai("stop", "C-000001")
        assert f"{PURPOSE}: 1 removed." in world.kai("workspace", "sweep", identity="aiko")
    assert [path.name for path in workspace.iterdir()] == [expiry.NOTE]


def test_a_download_that_says_nothing_of_itself_is_refused(gateway: Gateway) -> None:
    def tell(user: str, body: dict[str, Any]) -> dict[str, Any]:
        return gateway.as_(user).request_json("POST", f"{API}/workspaces/downloads", body)

    digest = "0" * 64
    good = {"purpose": PURPOSE, "name": digest, "content": digest, "size": 1, "made": now()}
    wrong = ("", "soon", "2026-11-25", "9999-12-31T23:59:59-23:00", 5, None)
    changes = [{"size": -1}, {"size": True}, {"size": "1"}, {"name": "rows.csv"}, {"content": ""}]
    for change in [*changes, *({"made": made} for made in wrong)]:
        body = {**good, **change}
        code = refusal(
            lambda body=body: gateway.as_("aiko").request_json("POST", f"{API}/workspaces/downloads", body)
        ).code
        assert code in ("SIZE", "DIGEST", "MADE")
    refused = refusal(lambda: gateway.as_("mio").request_json("POST", f"{API}/workspaces/downloads", good))
    assert refused.code and gateway.as_("aiko").request_json("POST", f"{API}/workspaces/downloads", good) == {
        "granted": True
    }


def now(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def test_what_has_to_go_does_not_leave_before_it_is_removed(world: World) -> None:
    digest = "0" * 64

    def code(made: str, purpose: str = PURPOSE) -> str:
        body = {"purpose": purpose, "name": digest, "content": digest, "size": 1, "made": made}
        try:
            gateway.as_("aiko").request_json("POST", f"{API}/workspaces/downloads", body)
        except KaiError as refused:
            return refused.code
        return ""

    with world.gateway() as gateway:
        assert [code(now(days=days)) for days in (0, 30, 4000)] == ["", "", "FILE_EXPIRED"], "retention reaches a file"
        world.kai("stop", "C-000001", "--scope", PURPOSE)
        assert code(now(minutes=5)) == "FILE_EXPIRED", "and a stop request does"
        assert code(now(minutes=5), "ad-targeting") == "", "which was for another purpose"
        assert code(now(seconds=-60)) == ""
    assert [event.subject for event in world.events("workspace.downloaded")] == [PURPOSE] * 2 + [
        "ad-targeting",
        PURPOSE,
    ]


def test_files_past_the_retention_of_rows_are_removed(world: World, tmp_path: Path) -> None:
    """From the contracts to the file: the custodian's clock stands two years ahead, for a file's time can't be set."""
    home, workspace = world.home, tmp_path / "workspace"
    workspace.mkdir()
    keys = Keys.load(home)
    with closing(Records.of(home, keys)) as records:

        def since(ahead: int) -> str:
            def clock() -> datetime:
                return utc_now() + timedelta(days=ahead)

            isolation = Isolation(GUARD_RAILS_ONLY, os.getuid())
            context = Context(home, keys, records, CurrentServing(home.stores), CurrentRoles(home), clock, isolation)
            caller = Identity("token", "aiko", os.getuid())
            return str(Workspaces(context).rules(caller)["purposes"][PURPOSE]["files_since"])

        (workspace / "rows.csv").write_text("rows")
        tables = CurrentServing(home.stores)().contracts.products["sessions"]
        kept = tables.retention.days if tables.retention else 0
        assert expiry.sweep(workspace, since(kept - 1)) == 0
        assert expiry.sweep(workspace, since(kept + 1)) == 1
        assert [path.name for path in workspace.iterdir()] == [expiry.NOTE]


# Beneath


@pytest.mark.parametrize("part", ["", ".", "..", ".hidden", "a/b", "a\0b"])
def test_a_part_of_a_path_is_a_plain_name(tmp_path: Path, part: str) -> None:
    (tmp_path / ".hidden").write_text("x")
    with pytest.raises(OSError), beneath.file(tmp_path, [part]):
        pass
    with pytest.raises(OSError):
        beneath.write(tmp_path, [part], b"", 0o600)


def test_doctor_is_typed_and_says_the_level(tmp_path: Path) -> None:
    kai = Path(sys.executable).parent / "kai"
    done = subprocess.run([kai, "doctor"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "Isolation: " in done.stdout and "Landlock: version" in done.stdout
