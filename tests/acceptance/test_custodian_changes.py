"""What the custodian changes while the gateway runs: contracts, sources, stores, the register, a customer's stop."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.real_world import AS_OF, Asker, Gateway, World, notebook, refusal, replace_file

from kaianalytics.protocol import API
from kaianalytics.warehouse import published
from kaianalytics.warehouse.pseudonyms import Pseudonymiser

COUNT = "SELECT COUNT(*) AS n FROM sessions"
PURPOSE = "service-improvement"


@pytest.fixture(scope="module")
def changing(template: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose world these tests change; each puts its contracts and sources back."""
    with template.copy(tmp_path_factory.mktemp("changing")).gateway() as running:
        yield running


@pytest.fixture
def session(changing: Gateway) -> Iterator[Asker]:
    """A session that was open before the change, and answers when the test is over."""
    asker = changing.session()
    assert asker.one(COUNT) > 0
    yield asker
    assert asker.one(COUNT) > 0


def build_id(world: World) -> str:
    """The build that is published."""
    return published.current(world.home.stores).build_id


def snapshot(gateway: Gateway) -> str:
    """The snapshot that answers are made on now."""
    return str(gateway.door("anyone").request_json("GET", f"{API}/health")["snapshot"])


def test_every_fault_of_the_contracts_is_told_with_its_line_and_the_old_stores_are_served(
    changing: Gateway, session: Asker
) -> None:
    world, before, count = changing.world, snapshot(changing), session.one(COUNT)
    undo = [
        world.edit("orders.odcs.yaml", "value: {rows: 8}", "value: {rows: 0}"),
        world.edit("sessions.odcs.yaml", "classification: free-text", "classification: harmless"),
        world.edit("purposes.yaml", 'account: {rho: "1.2"', 'account: {rho: "unlimited"'),
    ]
    checked, built = world.type("contracts", "check", world.contracts), world.type("build", "--as-of", AS_OF)
    for put_back in undo:
        put_back()
    assert (checked.code, built.code) == (1, 2)
    for said in (checked.said, built.said):
        for file in ("orders.odcs.yaml", "sessions.odcs.yaml", "purposes.yaml"):
            assert re.search(rf"{re.escape(file)}:[1-9]\d*", said), f"{file} is not in: {said}"
    assert snapshot(changing) == before
    assert session.one(COUNT) == count


@pytest.mark.parametrize(
    ("fault", "code"),
    [("missing", "SOURCE_MISSING"), ("truncated", "SOURCE_UNREADABLE"), ("another schema", "SOURCE_CHANGED")],
)
def test_a_source_that_is_not_as_promised_is_named_and_nothing_is_published(
    changing: Gateway, session: Asker, fault: str, code: str
) -> None:
    world, before, count = changing.world, build_id(changing.world), session.one(COUNT)
    source, kept = world.sources / "orders.parquet", world.root / "orders.kept"
    shutil.copy(source, kept)
    if fault == "missing":
        source.unlink()
    elif fault == "truncated":
        source.write_bytes(kept.read_bytes()[:-1000])
    else:
        table = pq.read_table(source)
        pq.write_table(table.rename_columns([name.replace("amount", "sum") for name in table.column_names]), source)
    built = world.type("build", "--as-of", AS_OF)
    kept.replace(source)
    assert (built.code, code in built.said, "orders" in built.said) == (2, True, True)
    assert str(world.root) not in built.said
    assert build_id(world) == before
    assert not any(world.home.staging.iterdir())
    assert session.one(COUNT) == count


def test_a_new_build_is_picked_up_by_running_sessions_and_voids_approvals_on_what_changed(
    changing: Gateway, session: Asker
) -> None:
    world, before, count = changing.world, snapshot(changing), session.one(COUNT)
    source = notebook("1 + 1")
    asked = {"report": "slice", "title": "T", "notebook": source, "parameters": {}, "cadence": "weekly"}
    review = changing.as_("aiko").request_json("POST", f"{API}/submissions", asked | {"rho_per_run": "0.001"})["id"]
    changing.as_("ren").request_json("POST", f"{API}/reviews/{review}/decision", {"action": "approve", "note": ""})
    run = {"report": "slice", "notebook": source, "parameters": {}}
    assert changing.as_("runner").request_json("POST", f"{API}/runs", run)["run"] > 0
    first = session.stats(COUNT)
    put_back = world.edit("sessions.odcs.yaml", "value: {rows: 60}", "value: {rows: 59}")
    assert snapshot(changing) == before  # an edit changes nothing until it is built
    world.kai("build", "--as-of", AS_OF)
    assert snapshot(changing) != before
    assert session.one(COUNT) == count
    again = session.stats(COUNT)
    assert again["charged"] and again["release"] != first["release"]
    refused = refusal(lambda: changing.as_("runner").request_json("POST", f"{API}/runs", run))
    assert (refused.code, "contracts" in refused.message) == ("PASSPORT_VOID", True)
    assert world.events("run.refused")[-1].facts()["code"] == "PASSPORT_VOID"
    put_back()
    world.kai("build", "--as-of", AS_OF)
    assert snapshot(changing) == before
    assert not session.stats(COUNT)["charged"]  # the same inputs are the same build: what was released is repeated


def test_a_stop_takes_effect_at_the_next_question_of_running_sessions(changing: Gateway, session: Asker) -> None:
    world, epoch = changing.world, int(snapshot(changing).partition("+")[2])
    person, pseudonym = somebody_in(session, world)
    own = session.one(f"SELECT COUNT(*) AS n FROM sessions WHERE customer_id = '{pseudonym}'")
    before, released = session.one(COUNT), session.stats(COUNT)
    assert own > 0
    said = world.kai("stop", person)
    assert session.one(COUNT) == before - own
    assert session.one(f"SELECT COUNT(*) AS n FROM sessions WHERE customer_id = '{pseudonym}'") == 0
    assert changing.session().one(COUNT) == before - own
    assert snapshot(changing).partition("+")[2] == str(epoch + 1)
    after = session.stats(COUNT)
    assert after["charged"] and after["release"] != released["release"]  # no answer from before the stop
    chain = "\n".join(event.body + event.subject for event in world.events())
    assert person not in chain
    [recorded] = world.events("stop.recorded")
    assert pseudonym not in recorded.body + recorded.subject
    assert person not in said + changing.said()
    world.kai("audit", "verify")


def test_a_stop_for_one_purpose_leaves_the_others(changing: Gateway, session: Asker) -> None:
    world = changing.world
    person, _ = somebody_in(session, world)
    elsewhere = changing.session("aiko", "ad-targeting")
    both = (session.one(COUNT), elsewhere.one("SELECT COUNT(*) AS n FROM ad_impressions"))
    world.kai("stop", person, "--scope", PURPOSE)
    assert session.one(COUNT) < both[0]
    assert elsewhere.one("SELECT COUNT(*) AS n FROM ad_impressions") == both[1]
    assert "SCOPE" in world.kai("stop", person, "--scope", "everything", expect=1)
    assert "POPULATION_UNKNOWN" in world.kai("stop", person, "--population", "pets", expect=1)


def somebody_in(session: Asker, world: World) -> tuple[str, str]:
    """A customer who has sessions in the store, by source key and by pseudonym."""
    there = set(session.rows("SELECT DISTINCT customer_id FROM sessions")["customer_id"])
    ids = pc.unique(pq.read_table(world.sources / "sessions.parquet")["customer_id"].drop_null()).to_pylist()
    named = dict(zip(Pseudonymiser(world.keys.pseudonym_key(PURPOSE), "customer").names(ids), ids, strict=True))
    pseudonym = min(there & set(named))
    return named[pseudonym], pseudonym


GRANT = """  - identity: aiko
    purpose: service-improvement
    from: 2026-01-01
    to: 2027-12-31
"""
APPOINTMENT = "roles: [analyst]\n    appointed: 2026-01-01\n    expires: 2027-12-31"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (GRANT, GRANT.replace("2027-12-31", "2026-01-31"), "NO_EXPLORATION_GRANT"),
        (GRANT, GRANT.replace("aiko", "kaito"), "NO_EXPLORATION_GRANT"),
        (APPOINTMENT, APPOINTMENT.replace("2027-12-31", "2026-01-31"), "NOT_APPOINTED"),
        ("  aiko:\n    name: Aiko", "  mallory:\n    name: Aiko", None),
        ("roles: [analyst]", "roles: [reviewer]", None),
        ("identities:\n", "identities: [\n", "REGISTER_FAULTY"),
    ],
    ids=["grant ended", "grant withdrawn", "appointment ended", "not registered", "no analyst", "broken"],
)
def test_the_register_counts_as_it_stands_at_every_door(
    changing: Gateway, session: Asker, old: str, new: str, code: str | None
) -> None:
    doors = {
        "rows": lambda: session.rows(COUNT),
        "statistics": lambda: session.stats(COUNT, "0.0001"),
        "datasets": lambda: session.door.request_json("GET", f"{API}/datasets"),
        "budget": lambda: session.door.request_json("GET", f"{API}/budget"),
        "another session": lambda: changing.session(),
    }
    put_back = changing.world.edit("roles.yaml", old, new)
    before = changing.world.last_event()
    try:
        refusals = {name: refusal(ask) for name, ask in doors.items()}
    finally:
        put_back()
    if code:
        assert {name: refused.code for name, refused in refusals.items()} == dict.fromkeys(doors, code)
    recorded = [event for event in changing.world.events(after=before) if event.kind.endswith((".refused", ".failed"))]
    assert len(recorded) == len(doors)


def test_without_a_register_nobody_has_a_role(changing: Gateway, session: Asker) -> None:
    register = changing.world.contracts / "roles.yaml"
    text = register.read_text(encoding="utf-8")
    register.unlink()
    try:
        refused = session.refused(COUNT)
    finally:
        replace_file(register, text)
    assert refused.code == "REGISTER_FAULTY"
    assert str(changing.world.root) not in str(refused)
