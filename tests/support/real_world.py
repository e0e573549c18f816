"""The real thing, small: sources, contracts, a built home, and the gateway as a process of its own on its socket.

One world is made for all tests and never served; each user takes a copy, so that a test may damage what it likes.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpcore
import httpx
import jwt
import polars as pl
import pyarrow.parquet as pq
import pytest
from support.warm_kai import WARM_KAI

from kaianalytics.client.transport import Door, _Sockets, connect_to
from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import KaiError
from kaianalytics.gateway.tokens import Tokens, new_token_id, utc_now
from kaianalytics.lab.handover import connect_bound
from kaianalytics.protocol import API, binding
from kaianalytics.records import audit
from kaianalytics.records.audit import StoredEvent
from kaianalytics.records.database import Records
from kaianalytics.warehouse import published

PROJECT = Path(__file__).parents[2]
PYTHON = Path(sys.executable)
AS_OF = "2026-11-01"
READY_SECONDS = 60.0

# aiko, ren, sora and runner are the project's own; these two are analysts as aiko is, the second without any grant
MORE_PEOPLE = """
  kaito:
    name: Kaito
    company: kai-media
    roles: [analyst]
    appointed: 2026-01-01
    expires: 2027-12-31
    acknowledged: 2026-01-05
  mio:
    name: Mio
    company: kai-media
    roles: [analyst]
    appointed: 2026-01-01
    expires: 2027-12-31
    acknowledged: 2026-01-05
"""
KAITOS_GRANT = """
  - identity: kaito
    purpose: service-improvement
    from: 2026-01-01
    to: 2027-12-31
    reason: A second pair of eyes on usage
    granted_by: sora
"""


@dataclass(frozen=True)
class Typed:
    """What one typed command came to."""

    code: int
    said: str


@dataclass(frozen=True)
class World:
    """A folder that holds a custodian's home, the contracts and the sources it names, and what tests write."""

    root: Path

    @property
    def contracts(self) -> Path:
        """The working contracts."""
        return self.root / "contracts"

    @property
    def sources(self) -> Path:
        """The sources that the contracts name."""
        return self.root / "sources"

    @property
    def home(self) -> Home:
        """The custodian's home."""
        return Home.open(self.root / "home")

    @cached_property
    def keys(self) -> Keys:
        """The custodian's keys."""
        return Keys.load(self.home)

    def copy(self, root: Path) -> World:
        """The same world in another folder; nothing may be serving this one."""
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        other = World(root)
        Home.create(root / "home", other.contracts, other.sources)
        return other

    def kai(self, *arguments: str | Path, identity: str = "", expect: int = 0) -> str:
        """What a `kai` command says; it must end with the exit code `expect`."""
        typed = self.type(*arguments, identity=identity)
        assert typed.code == expect, f"kai {arguments} ended with {typed.code}: {typed.said}"
        return typed.said

    def type(self, *arguments: str | Path, identity: str = "") -> Typed:
        """One `kai` command, typed as a person would."""
        environment = {**os.environ, "KAI_HOME": str(self.root / "home"), "COLUMNS": "200"}
        environment |= {"KAI_IDENTITY": str(self.token_file(identity))} if identity else {}
        return Typed(*WARM_KAI.run([*map(str, arguments)], environment))

    def token_file(self, user: str) -> Path:
        """The file of a person's identity token."""
        return self.root / "home" / "identities" / f"{user}.token"

    def issue(self, user: str) -> None:
        """Write the person's token file as `kai identity issue` does."""
        token = Tokens(self.keys.token_key).mint_identity(user, os.getuid(), utc_now(), timedelta(days=1))
        self.token_file(user).write_text(token, encoding="ascii")

    def edit(self, file: str, old: str, new: str) -> Callable[[], None]:
        """Replace the first `old` in a contract by `new`; the answer puts the file back."""
        path = self.contracts / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} holds no {old!r}: there is nothing to change"
        replace_file(path, text.replace(old, new, 1))
        return lambda: replace_file(path, text)

    def events(self, kind: str = "", *, after: int = 0) -> list[StoredEvent]:
        """The audit events, of one kind where named, beside a running gateway too."""
        records = Records.of(self.home, self.keys)
        try:
            with records.reading() as view:
                return list(audit.events(view, kind=kind, after=after))
        finally:
            records.close()

    def last_event(self) -> int:
        """The number of the chain's last event."""
        return max((event.sequence for event in self.events()), default=0)

    def store(self, purpose: str, access: Any = "rows") -> Path:
        """The store's file, in the published build."""
        return published.current(self.home.stores).store_path(purpose, access)

    def secrets(self) -> set[str]:
        """What identifies customers in the sources: ids, names, addresses, telephone numbers, of the first hundred."""
        columns = ["customer_id", "family_name", "given_name", "email", "telephone", "address"]
        table = pq.read_table(self.sources / "customers.parquet", columns=columns).slice(0, 100)
        found = {str(value) for name in columns for value in table.column(name).to_pylist() if value}
        return {text for text in found if len(text) > 3}

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        """The gateway process of this home, ready; ended by its handle."""
        gateway = self.start()
        try:
            yield gateway
        finally:
            gateway.end()

    def start(self) -> Gateway:
        """The gateway process of this home, ready; whoever starts it ends it."""
        environment = {**os.environ, "KAI_HOME": str(self.root / "home")}
        with (self.root / "gateway.out").open("ab") as out:
            process = subprocess.Popen(
                [PYTHON.parent / "kai", "gateway", "serve"], env=environment, stdout=out, stderr=subprocess.STDOUT
            )
        gateway = Gateway(self, process)
        try:
            gateway.wait_until_ready()
        except BaseException:
            gateway.end()
            raise
        return gateway


class Gateway:
    """A running gateway process, and the ways to it."""

    def __init__(self, world: World, process: subprocess.Popen[bytes]) -> None:
        self.world = world
        self.process = process
        self.socket = world.home.socket_path

    def wait_until_ready(self) -> None:
        """Return once it answers."""
        until = time.monotonic() + READY_SECONDS
        while True:
            assert self.process.poll() is None, f"the gateway did not start: {self.said()}"
            try:
                self.door("nobody's").request_json("GET", f"{API}/health")
                return
            except KaiError:
                assert time.monotonic() < until, "the gateway was not ready in time"
                time.sleep(0.02)

    def door(self, token: str) -> Door:
        """The gateway as the bearer of a token sees it: on a purpose token's own connections, or on any."""
        return Door(lambda: self.connect(token), token)

    def connect(self, token: str) -> socket.socket:
        """A connection as the token's bearer has them: bound to a purpose token, else as it comes."""
        kernel = _kernel_of(token)
        return connect_to(self.socket) if kernel is None else connect_bound(self.socket, binding(token, kernel))

    def as_(self, user: str) -> Door:
        """The gateway as a person with an identity token sees it."""
        return self.door(self.world.token_file(user).read_text(encoding="ascii").strip())

    def session(self, user: str = "aiko", purpose: str = "service-improvement") -> Asker:
        """A kernel's session."""
        grant = self.as_(user).request_json("POST", f"{API}/sessions", {"purpose": purpose, "kernel": new_token_id()})
        token = grant["token"]
        # as a kernel's: deadlines are the gateway's
        return Asker(token, Door(lambda: self.connect(token), token, timeout=None), grant)

    def http(self, token: str = "") -> httpx.Client:
        """Bare HTTP on the socket, its connections being the token's."""
        transport = httpx.HTTPTransport()
        transport._pool = httpcore.ConnectionPool(network_backend=_Sockets(lambda: self.connect(token)))
        return httpx.Client(transport=transport, base_url="http://gateway", timeout=30)

    def workers(self) -> list[int]:
        """The workers that run: what the gateway's warm process has forked."""
        parents = running_processes()
        return [pid for pid, parent in parents.items() if parents.get(parent) == self.process.pid]

    def said(self) -> str:
        """What the process printed and logged."""
        texts = [self.world.root / "gateway.out", self.world.home.log]
        return "".join(text.read_text(encoding="utf-8") for text in texts if text.exists())

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def end(self) -> None:
        """See that it is gone."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass(frozen=True)
class Asker:
    """One session, asking."""

    token: str
    door: Door
    grant: Mapping[str, Any]

    def rows(self, sql: str) -> pl.DataFrame:
        """The rows of a question."""
        return pl.read_ipc_stream(io.BytesIO(self.door.request_rows(f"{API}/sql", {"sql": sql}).arrow))

    def one(self, sql: str) -> Any:
        """The only figure of a question."""
        return self.rows(sql).item()

    def stats(self, sql: str, rho: str = "0.001") -> dict[str, Any]:
        """The answer to a statistics question, as it came."""
        return self.door.request_json("POST", f"{API}/statistics", {"sql": sql, "rho": rho})

    def refused(self, sql: str, rho: str = "") -> KaiError:
        """The refusal or fault that answers a question; of rows, or at a price of statistics."""
        return refusal(lambda: self.stats(sql, rho) if rho else self.rows(sql))


def _kernel_of(token: str) -> str | None:
    """The kernel of a purpose token; None for anything else."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return None
    return str(claims["kernel"]) if claims.get("aud") == "kai-purpose" else None


def refusal(ask: Callable[[], object]) -> KaiError:
    """The refusal or fault that asking ends in."""
    with pytest.raises(KaiError) as caught:
        ask()
    return caught.value


def replace_file(path: Path, text: str) -> None:
    """Write a file as an editor does: aside, then in its place."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def running_processes() -> dict[int, int]:
    """Every process that runs, with its parent; a zombie counts while a thread of it is still ending."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return {int(pid): int(parent) for pid, parent, state, *_ in rows if not state.startswith("Z") or "l" in state}


def soon(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it comes to hold in time."""
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.03)
    return holds()


def notebook(*cells: str, purpose: str = "service-improvement", parameters: str = "") -> dict[str, Any]:
    """A notebook of format 4; its first cell connects, and a `parameters` cell stands before it where given."""
    connect = f"import kaianalytics\nkai = kaianalytics.connect(purpose={purpose!r})"
    sources = [("parameters", parameters)] if parameters else []
    sources += [("", source) for source in (connect, *cells)]
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kai": {"purpose": purpose},
            "kernelspec": {"name": f"kai-{purpose}", "display_name": purpose, "language": "python"},
        },
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": [tag] if tag else []},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, (tag, source) in enumerate(sources)
        ],
    }


def describe(folder: Path, report: str, source: Mapping[str, Any], rho: str = "0.002", **parameters: Any) -> Path:
    """The description of a report, with its notebook beside it."""
    (folder / f"{report}.ipynb").write_text(json.dumps(source), encoding="utf-8")
    fields = {
        "report": report,
        "title": f"The report {report}",
        "notebook": f"{report}.ipynb",
        "cadence": "weekly",
        "rho_per_run": rho,
        "parameters": parameters,
    }
    file = folder / f"{report}.yaml"
    file.write_text(json.dumps(fields), encoding="utf-8")  # JSON is YAML
    return file


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world as it was built, which nobody serves."""
    world = World(tmp_path_factory.mktemp("world"))
    world.contracts.mkdir()
    for file in (PROJECT / "data_contracts").glob("*.yaml"):
        shutil.copy(file, world.contracts / file.name)
    world.edit("purposes.yaml", 'time_bucket: "0.25"', 'time_bucket: "0.05"')  # for tests ask many questions
    world.edit("roles.yaml", "\ngrants:\n", f"{MORE_PEOPLE}\ngrants:\n")
    clause = 'clause: "3.4"\n'
    world.edit("purposes.yaml", clause, f"{clause}    releases_of: [service-improvement]\n")
    with (world.contracts / "roles.yaml").open("a", encoding="utf-8") as register:
        register.write(KAITOS_GRANT.lstrip("\n"))
    sample = PROJECT / "pipelines" / "sample_warehouse.py"
    command = [PYTHON, sample, "--customers", "2000", "--out", world.sources]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    world.kai("init", "--contracts", world.contracts, "--sources", world.sources)
    world.kai("build", "--as-of", AS_OF)
    for user in ("aiko", "ren", "sora", "runner", "kaito", "mio"):
        world.issue(user)
    return world


@pytest.fixture(scope="session")
def gateway(template: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for the tests that leave it as they find it."""
    with template.copy(tmp_path_factory.mktemp("served")).gateway() as running:
        yield running


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A world of the test's own."""
    return template.copy(tmp_path)
