"""Keys rotated by command: what was signed still verifies, what is new carries the new id, and a crash spoils neither.

The walk is a custodian's: a report approved, a release certified and a stop taken before, the keys rotated, the gateway
started again, the stores built anew.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.real_world import AS_OF, Asker, Gateway, World, notebook, refusal, running_processes

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import KINDS, Keys
from kaianalytics.errors import HomeFault, RecordsFault
from kaianalytics.gateway.rotation import rotate
from kaianalytics.gateway.tokens import utc_now
from kaianalytics.protocol import API
from kaianalytics.records import audit
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.warehouse.pseudonyms import Pseudonymiser

COUNT = "SELECT COUNT(*) AS n FROM sessions"
PURPOSE = "service-improvement"
SOURCE = notebook("kai.datasets()")
ROTATOR = Path(__file__).parents[1] / "support" / "rotator.py"


@dataclass(frozen=True)
class Before:
    """What stood before anything was rotated."""

    world: World
    keys: Keys
    release: Path
    stopped: str  # a customer who was stopped before, and one who will be after
    later: str


def submit(gateway: Gateway, report: str) -> None:
    """A report that ren has approved."""
    body = {"report": report, "title": "T", "notebook": SOURCE, "parameters": {}, "cadence": "weekly"}
    review = gateway.as_("aiko").request_json("POST", f"{API}/submissions", body | {"rho_per_run": "0.001"})["id"]
    approve = {"action": "approve", "note": ""}
    gateway.as_("ren").request_json("POST", f"{API}/reviews/{review}/decision", approve)


def lease(gateway: Gateway, report: str) -> dict[str, Any]:
    body = {"report": report, "notebook": SOURCE, "parameters": {}}
    return gateway.as_("runner").request_json("POST", f"{API}/runs", body)


def released(asker: Asker, file: Path, sql: str = COUNT) -> dict[str, Any]:
    """A release, written into a file as an analyst hands it on."""
    answer = asker.stats(sql, "0.001")
    file.write_text(answer["release"], encoding="utf-8")
    return answer


def signer(release: Path) -> str:
    return str(json.loads(release.read_text())["certificate"]["signature"]["key"])


@pytest.fixture(scope="module")
def before(template: World, tmp_path_factory: pytest.TempPathFactory) -> Before:
    """A home with a past, each of whose keys is then rotated by command."""
    world = template.copy(tmp_path_factory.mktemp("rotated"))
    keys, release = world.keys, world.root / "release.json"
    with world.gateway() as gateway:
        submit(gateway, "standing")
        released(session := gateway.session(), release)
        stopped, later, *_ = people_in(world, keys, session)
        assert "HOME_HELD" in world.kai("keys", "rotate", "signing", expect=2)
    world.kai("stop", stopped)
    for kind in KINDS:
        said = world.kai("keys", "rotate", kind)
        assert Keys.load(world.home).id_of(kind) in said and keys.id_of(kind) not in said
    again = World(world.root)
    for user in ("aiko", "ren", "runner"):
        again.issue(user)
    return Before(again, keys, release, stopped, later)


@pytest.fixture(scope="module")
def after(before: Before) -> Iterator[Gateway]:
    """The gateway on the rotated keys."""
    with before.world.gateway() as running:
        yield running


def test_each_kind_has_another_key_and_the_list_shows_ids_and_ages_alone(before: Before) -> None:
    listed = before.world.kai("keys", "list")
    for kind in KINDS:
        assert before.world.keys.id_of(kind) in listed
        assert (before.keys.id_of(kind) in listed) == (kind != "tokens")
    assert listed.count("in use") == 3 and "0 days" in listed
    text = (before.world.home.keys / "custodian.json").read_text()
    secrets = [found["key"] for found in (*(json.loads(text)[kind] for kind in KINDS), *json.loads(text)["retired"])]
    assert len(secrets) == 5
    assert not any(secret[:16] in listed for secret in secrets)


def test_what_was_signed_before_verifies_and_what_is_new_carries_the_new_id(before: Before, after: Gateway) -> None:
    world, fresh = before.world, before.world.root / "fresh.json"
    assert "In order" in world.kai("audit", "verify")
    assert signer(before.release) == before.keys.public_key_id
    assert "holds" in world.kai("release", "verify", before.release)
    old = world.kai("keys", "public", before.keys.public_key_id[:8]).strip()
    assert old == before.keys.public_key.hex()
    assert lease(after, "standing")["run"] > 0  # approved under the earlier key
    assert released(after.session(), fresh, f"{COUNT} WHERE pages > 3")["charged"]
    submit(after, "later")
    assert lease(after, "later")["run"] > 0
    assert signer(fresh) == world.keys.public_key_id != before.keys.public_key_id
    assert "holds" in world.kai("release", "verify", fresh)
    assert "signature" in world.kai("release", "verify", fresh, "--key", old, expect=1)


def test_a_rotation_is_in_the_chain_by_ids(before: Before) -> None:
    begun = {event.sequence: event.facts() for event in before.world.events("keys.rotating")}
    ended = [event.facts() for event in before.world.events("keys.rotated")]
    assert [facts["kind"] for facts in begun.values()] == list(KINDS)
    assert [(facts["old"], facts["new"]) for facts in begun.values()] == [
        (before.keys.id_of(kind), before.world.keys.id_of(kind)) for kind in KINDS
    ]
    assert [facts["begun"] for facts in ended] == list(begun)


def test_tokens_of_before_are_void(before: Before, after: Gateway) -> None:
    old = after.door(before.world.token_file("sora").read_text().strip())  # who was issued no new one
    assert refusal(lambda: old.request_json("GET", f"{API}/reviews")).code == "TOKEN_INVALID"


def test_the_next_build_has_other_pseudonyms_and_stops_reach_everyone_in_it(before: Before, after: Gateway) -> None:
    world, session = before.world, after.session()
    published = world.store(PURPOSE).parent.name
    people = (before.stopped, before.later)
    world.kai("stop", before.later)  # after the rotation, while the build of before is still served
    served = names_in(session)
    assert not {name_of(before.keys, person) for person in people} & served
    answer = session.stats(COUNT, "0.001")
    assert "Stops taken under an earlier key reach this build too" in world.kai("build", "--as-of", AS_OF)
    assert world.store(PURPOSE).parent.name != published
    fresh = names_in(session)
    assert len(fresh) == len(served) and not fresh & served
    assert not {name_of(world.keys, person) for person in people} & fresh
    again = session.stats(COUNT, "0.001")
    assert again["charged"] and again["release"] != answer["release"]  # no free repeat on another build
    assert "Nothing to do" in world.kai("build", "--as-of", AS_OF)
    assert "In order" in world.kai("audit", "verify")


def names_in(session: Asker) -> set[str]:
    return set(session.rows("SELECT DISTINCT customer_id FROM sessions WHERE customer_id IS NOT NULL")["customer_id"])


def name_of(keys: Keys, person: str) -> str:
    return Pseudonymiser(keys.pseudonym_key(PURPOSE), "customer").name(person)


def people_in(world: World, keys: Keys, session: Asker) -> list[str]:
    """The customers in the store, by their keys in the source."""
    ids: list[str] = pc.unique(pq.read_table(world.sources / "sessions.parquet")["customer_id"].drop_null()).to_pylist()
    there, names = names_in(session), Pseudonymiser(keys.pseudonym_key(PURPOSE), "customer").names(ids)
    return [person for person, name in zip(ids, names, strict=True) if name in there]


# Killed between any two steps


STEPS = ("begun", "written aside", "replaced", "headed")


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_a_step_the_old_key_works_or_the_new_one_does(step: str, tmp_path: Path) -> None:
    home = Home.create(tmp_path / "home", tmp_path / "contracts", tmp_path / "sources")
    before = Keys.create(home)
    records = Records.of(home, before)
    records.append(AuditEvent(utc_now(), "custodian", "something.before"))
    for kind in KINDS:
        old = Keys.load(home)
        killed(home, kind, step)
        now = Keys.load(home)
        assert (now.id_of(kind) != old.id_of(kind)) == (step in ("replaced", "headed"))
        records = Records.of(home, now)
        records.append(AuditEvent(utc_now(), "custodian", "something.after"))
        assert records.verify().events > 0
        rotated = rotated_again(home, kind)
        assert rotated.id_of(kind) != now.id_of(kind)
        told = [event for event in all_events(home, rotated) if event[0] == "keys.rotated" and event[1] == kind]
        assert len(told) == (2 if step in ("replaced", "headed") else 1)  # one that was cut short is settled
        assert [file.name for file in home.keys.iterdir()] == ["custodian.json"]


def killed(home: Home, kind: str, step: str) -> None:
    """A rotation that is killed after a step."""
    environment = {**os.environ, "PYTHONPATH": f"{ROTATOR.parents[2]}{os.pathsep}{ROTATOR.parents[1]}"}
    done = subprocess.run([sys.executable, ROTATOR, home.root, kind, step], env=environment, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, f"it lived past {step!r}"


def rotated_again(home: Home, kind: Any) -> Keys:
    return rotate(home, kind, utc_now())


def all_events(home: Home, keys: Keys) -> list[tuple[str, str]]:
    records = Records.of(home, keys)
    with records.reading() as view:
        found = [(event.kind, event.subject) for event in audit.events(view)]
    records.close()
    return found


def test_who_loaded_the_keys_before_writes_nothing_after(tmp_path: Path) -> None:
    """Else a head that the old key signed would stand over events that it may not sign, and nothing would start."""
    home = Home.create(tmp_path / "home", tmp_path / "contracts", tmp_path / "sources")
    late = Records.of(home, Keys.create(home))
    late.append(AuditEvent(utc_now(), "custodian", "something.before"))
    for kind in KINDS:
        rotated_again(home, kind)
        with pytest.raises((HomeFault, RecordsFault)):
            late.append(AuditEvent(utc_now(), "custodian", "something.late"))
    assert Records.of(home, Keys.load(home)).verify().events == 7


def test_records_and_head_of_before_a_rotation_put_back_together_are_noticed(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "home", tmp_path / "contracts", tmp_path / "sources")
    keys = Keys.create(home)
    records = Records.of(home, keys)
    records.append(AuditEvent(utc_now(), "custodian", "something.before"))
    records.close()
    kept = home.records.read_bytes(), home.head.read_bytes()
    rotated_again(home, "signing")
    for path in home.records.parent.glob("*"):
        path.unlink()
    home.records.write_bytes(kept[0])
    home.records.chmod(0o600)
    home.head.write_bytes(kept[1])
    with pytest.raises(RecordsFault) as fault:
        Records.of(home, Keys.load(home))
    assert fault.value.code == "HEAD_FORGED"


# Never where they can be read


def spellings(secret: bytes) -> set[bytes]:
    """A secret as it may have been written down."""
    hexed = secret.hex()
    plain, urls = base64.b64encode(secret).rstrip(b"="), base64.urlsafe_b64encode(secret).rstrip(b"=")
    return {secret, hexed.encode(), hexed.upper().encode(), plain, urls, repr(secret)[2:-1].encode()}


def every_secret(home: Home, keys: Keys) -> set[bytes]:
    """Every secret of a home, the derived ones too, of now and before."""
    kept = json.loads((home.keys / "custodian.json").read_text())
    raw = {bytes.fromhex(kept[kind]["key"]) for kind in KINDS}
    raw |= {bytes.fromhex(old["key"]) for old in kept["retired"] if old["kind"] == "pseudonyms"}
    for purpose in ("service-improvement", "ad-targeting", "campaign-analysis"):
        raw |= {keys.pseudonym_key(purpose), *keys.earlier_pseudonym_keys(purpose)}
    return {spelling for secret in raw for spelling in spellings(secret)}


def places(world: World, gateway: Gateway) -> Iterator[tuple[str, bytes]]:
    """All that a home, its folders and its processes show beside the file of keys."""
    for file in world.root.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.parent != world.home.keys:
            yield str(file.relative_to(world.root)), file.read_bytes()
    for pid in (gateway.process.pid, *descendants(gateway.process.pid)):
        for name in ("environ", "cmdline"):
            yield f"{name} of {pid}", Path(f"/proc/{pid}/{name}").read_bytes()


def found_in(secrets: set[bytes], shown: Iterator[tuple[str, bytes]]) -> list[str]:
    return [name for name, content in shown if any(secret in content for secret in secrets)]


def test_no_key_is_in_a_log_an_environment_an_argument_a_record_or_a_store(before: Before, after: Gateway) -> None:
    world, session = before.world, after.session()
    secrets = every_secret(world.home, world.keys)
    assert len(secrets) > 40
    session.stats(f"{COUNT} WHERE pages > 9", "0.001")
    session.refused("SELECT nothing FROM nowhere")
    assert names_in(session)
    assert found_in(secrets, places(world, after)) == []
    planted = world.home.log.with_name("planted.log")
    for spelling in spellings(world.keys.token_key):
        planted.write_bytes(b"a line with " + spelling + b" in it")
        assert found_in(secrets, places(world, after)) == ["home/log/planted.log"]
    planted.unlink()


def test_keys_that_others_may_read_start_nothing(world: World) -> None:
    (world.home.keys / "custodian.json").chmod(0o640)
    for command in (("gateway", "serve"), ("keys", "rotate", "signing")):
        assert "KEYS_NOT_PRIVATE" in world.kai(*command, expect=2)
    assert not world.home.socket_path.exists()


def test_the_gateway_and_its_workers_have_no_socket_of_the_internet(after: Gateway) -> None:
    assert names_in(after.session())
    pids = [after.process.pid, *descendants(after.process.pid)]
    assert len(pids) > 1
    assert internet_sockets(pids) == set()
    assert "No such option" in after.world.kai("gateway", "serve", "--host", "127.0.0.1", expect=2)


def descendants(parent: int) -> Iterator[int]:
    for pid, of in running_processes().items():
        if of == parent:
            yield pid
            yield from descendants(pid)


def internet_sockets(pids: list[int]) -> set[str]:
    """The sockets of these processes that any table of the internet protocols lists."""
    listed = {
        fields[9]
        for table in Path("/proc/net").glob("[tu][cd]p*")
        for fields in (line.split() for line in table.read_text().splitlines()[1:])
        if len(fields) > 9
    }
    held: set[str] = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # the listing's own
                held.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    return listed & held


def test_a_socket_of_the_internet_would_be_seen() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert internet_sockets([os.getpid()])
