"""The audit chain: every write with its event or not at all, and every later change found by the walk."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from support.records_kit import CHARGE, NOON, charge, declare, event, make_home, population, spent, tamper

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import BudgetRefused, RecordsFault
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import audit, ledger, releases, stops
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.caps import PURPOSE, raise_cap
from kaianalytics.records.database import Records
from kaianalytics.records.tables import caps, charges, revocations


@pytest.fixture
def custody(tmp_path: Path) -> tuple[Home, Keys]:
    return make_home(tmp_path)


@pytest.fixture
def records(custody: tuple[Home, Keys]) -> Iterator[Records]:
    opened = Records.of(*custody)
    declare(opened, population())
    yield opened
    opened.close()


def fault_of(records: Records) -> RecordsFault:
    with pytest.raises(RecordsFault) as fault:
        records.verify()
    return fault.value


# One transaction


def test_events_are_numbered_chained_and_keep_what_they_were_given(records: Records) -> None:
    tokyo = datetime(2026, 11, 2, 21, tzinfo=timezone(timedelta(hours=9)))
    assert (
        records.append(AuditEvent(tokyo, "aiko", "query.refused", "sessions", {"code": "FUNCTION", "名": [1, True]}))
        == 2
    )
    with records.reading() as view:
        first, second = audit.events(view)
        assert audit.tip(view) == second == audit.event(view, 2)
        assert list(audit.events(view, kind="query.refused")) == list(audit.events(view, after=1)) == [second]
        assert list(audit.events(view, subject="nothing")) == []
    assert (second.at, second.prev_hash) == ("2026-11-02T12:00:00.000000Z", first.hash)
    assert second.facts() == {"code": "FUNCTION", "名": [1, True]}
    assert first.follows(audit.GENESIS) and second.follows(first.link) and not second.follows(audit.GENESIS)


def test_a_charge_stands_in_its_own_event(records: Records) -> None:
    charge_id = charge(records)
    with records.reading() as view:
        last = audit.tip(view)
    assert last is not None
    change, product = last.facts()["changes"]
    assert (product["table"], product["key"]) == ("charge_products", [charge_id, "sessions"])
    assert (change["table"], change["key"], change["insert"]["rho_units"]) == ("charges", [charge_id], 10**11)


def test_an_exception_leaves_neither_row_nor_event(records: Records) -> None:
    with pytest.raises(ZeroDivisionError), records.writing(event()) as tx:
        ledger.charge(tx, CHARGE)
        raise ZeroDivisionError
    assert spent(records) == PrivacyLoss(0)
    assert records.verify().events == 1
    assert charge(records) == 1


def test_a_refusal_inside_undoes_what_came_before_it(records: Records) -> None:
    with pytest.raises(BudgetRefused), records.writing(event()) as tx:
        ledger.charge(tx, CHARGE)
        ledger.charge(tx, ledger.Charge("customers", "none", "aiko", "p", "q", "s", PrivacyLoss(1)))
    assert records.verify().charges == 0


def test_notes_are_added_before_the_commit_and_never_changed(records: Records) -> None:
    with records.writing(event(known=1)) as tx:
        tx.event.note(rows=12)
        for wrong in ({"known": 2}, {"rows": 13}, {"changes": []}):
            with pytest.raises(ValueError):
                tx.event.note(**wrong)
    with records.reading() as view:
        last = audit.tip(view)
    assert last is not None and last.facts() == {"known": 1, "rows": 12}


@pytest.mark.parametrize("value", [0.1, float("nan"), b"bytes", {1: "a"}, {"a": [{"b": 0.5}]}, {1}, "\ud800", NOON])
def test_a_body_without_an_exact_form_is_no_event(value: Any) -> None:
    with pytest.raises(ValueError):
        event(fact=value)


@pytest.mark.parametrize(
    "wrong",
    [{"at": datetime(2026, 11, 2)}, {"actor": ""}, {"kind": ""}, {"subject": "s" * 201}, {"body": {"changes": 1}}],
)
def test_an_event_that_is_none_can_not_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        AuditEvent(**{"at": NOON, "actor": "aiko", "kind": "test", **wrong})


def test_canonical_text_does_not_depend_on_order() -> None:
    assert (
        audit.canonical({"b": 1, "a": [None, "é"]})
        == audit.canonical({"a": [None, "é"], "b": 1})
        == '{"a":[null,"é"],"b":1}'
    )
    assert audit.utc(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


def test_a_write_inside_a_write_is_a_mistake_not_a_wait(records: Records) -> None:
    with pytest.raises(RuntimeError), records.writing(event()), records.writing(event()):
        pass
    assert records.append(event()) == 2


def test_a_reader_sees_one_moment_and_holds_up_no_writer(records: Records) -> None:
    with records.reading() as view:
        before = audit.tip(view)
        writer = threading.Thread(target=lambda: records.append(event()))
        writer.start()
        writer.join(20)
        assert not writer.is_alive()
        assert audit.tip(view) == before
    with records.reading() as view:
        assert audit.tip(view) != before


def test_a_home_that_vanished_is_a_fault_without_its_path(records: Records, custody: tuple[Home, Keys]) -> None:
    root = custody[0].root
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(RecordsFault) as fault:
        records.append(event())
    assert fault.value.code == "LOCK_UNAVAILABLE" and str(root) not in str(fault.value)


# Its file


def test_the_files_are_private(records: Records, custody: tuple[Home, Keys]) -> None:
    home, _ = custody
    files = [*home.records.parent.iterdir(), home.head, home.head.with_suffix(".lock")]
    assert len(files) >= 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_that_others_can_read_is_not_opened(records: Records, custody: tuple[Home, Keys]) -> None:
    records.close()
    custody[0].records.chmod(0o644)
    with pytest.raises(RecordsFault) as fault:
        Records.of(*custody)
    assert fault.value.code == "RECORDS_NOT_PRIVATE"


def test_records_of_another_version_are_not_opened(records: Records, custody: tuple[Home, Keys]) -> None:
    tamper(custody[0], "UPDATE schema_versions SET version = 1")
    with pytest.raises(RecordsFault) as fault:
        Records.of(*custody)
    assert fault.value.code == "RECORDS_VERSION"


def test_a_broken_file_is_a_fault_without_the_engines_words(custody: tuple[Home, Keys]) -> None:
    home, _ = custody
    home.records.write_bytes(b"not a database, but long enough to be mistaken for one" * 100)
    home.records.chmod(0o600)
    with pytest.raises(RecordsFault) as fault:
        Records.of(*custody)
    assert fault.value.code == "RECORDS_UNAVAILABLE"
    assert "sqlite" not in str(fault.value).lower() and str(home.root) not in str(fault.value)


def test_every_commit_is_synced(records: Records) -> None:
    with records.reading() as view:
        pragmas = [view.rows(text(f"PRAGMA {name}"))[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert pragmas == ["wal", 2, 1]


# Tampering


@pytest.fixture
def lived(records: Records) -> Records:
    """Records with a few charges, a release and a stop: events 2 to 6."""
    charge(records, 1)
    charge(records, 2)
    with records.writing(event()) as tx:
        releases.record(tx, 1, b"[[1]]")
        releases.record_answer(tx, 1, "asked", "SELECT", b'{"rows": [[1]]}')
    with records.writing(event()) as tx:
        stops.record(tx, stops.Stop("ad-targeting", "customers", {"ad-targeting": "ab" * 16}))
    records.append(event())
    return records


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("UPDATE charges SET rho_units = 1 WHERE id = 2", 3),
        ("UPDATE charges SET analyst = 'emi' WHERE id = 1", 4),
        ("UPDATE charges SET state = 'charged' WHERE id = 1", 4),
        ("UPDATE charges SET seq = 4 WHERE id = 2", 3),
        ("DELETE FROM charges WHERE id = 2", 3),
        ("UPDATE caps SET rho_units = 1000000000000000 WHERE kind = 'purpose'", 1),
        ("DELETE FROM caps WHERE kind = 'account'", 1),
        ("UPDATE releases SET noisy = x'7b7d'", 4),
        ("UPDATE answers SET payload = x'7b7d'", 4),
        ("DELETE FROM answers", 4),
        ("UPDATE charge_products SET product = 'orders' WHERE charge_id = 2", 3),
        ("DELETE FROM releases", 4),
        ("UPDATE stops SET pseudonyms = '{}'", 5),
        ("INSERT INTO revocations VALUES ('t', '', '', 6)", 6),
        ("INSERT INTO accounts VALUES ('ghosts', '', 2)", 2),
    ],
)
def test_a_changed_row_is_found_and_its_event_is_named(
    lived: Records, custody: tuple[Home, Keys], statement: str, sequence: int
) -> None:
    assert lived.verify().events == 6
    tamper(custody[0], statement)
    fault = fault_of(lived)
    assert (fault.code, f"event {sequence}." in fault.message) == ("RECORDS_CHANGED", True), fault.message


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("UPDATE audit_events SET actor = 'emi' WHERE seq = 3", 3),
        ("UPDATE audit_events SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 2", 2),
        ("UPDATE audit_events SET body = replace(body, '100000000000', '1') WHERE seq = 2", 2),
        ("UPDATE audit_events SET prev_hash = hash WHERE seq = 4", 4),
        ("DELETE FROM audit_events WHERE seq = 5", 5),
    ],
)
def test_a_changed_event_breaks_the_chain_at_its_number(
    lived: Records, custody: tuple[Home, Keys], statement: str, sequence: int
) -> None:
    tamper(custody[0], statement)
    fault = fault_of(lived)
    assert (fault.code, f"event {sequence}." in fault.message) == ("CHAIN_BROKEN", True), fault.message


def test_a_changed_last_event_stops_the_next_write(lived: Records, custody: tuple[Home, Keys]) -> None:
    tamper(custody[0], "UPDATE audit_events SET actor = 'emi' WHERE seq = 6")
    for attempt in (lambda: lived.append(event()), lambda: Records.of(*custody), lived.verify):
        with pytest.raises(RecordsFault) as fault:
            attempt()
        assert fault.value.code == "LEDGER_REPLACED"


def test_a_whole_chain_rewritten_without_the_key_is_noticed(lived: Records, custody: tuple[Home, Keys]) -> None:
    with lived.reading() as view:
        events = list(audit.events(view))
    before = audit.GENESIS
    for old in events:
        forged = audit.EventDraft(AuditEvent(NOON, "mallory", old.kind)).sealed(before)
        tamper(
            custody[0],
            "UPDATE audit_events SET at = ?, actor = ?, subject = ?, body = ?, prev_hash = ?, hash = ? WHERE seq = ?",
            *(forged.at, forged.actor, forged.subject, forged.body, forged.prev_hash, forged.hash, forged.sequence),
        )
        before = forged.link
    with pytest.raises(RecordsFault) as fault:
        Records.of(*custody)
    assert fault.value.code == "LEDGER_REPLACED"


def test_a_charge_function_that_skips_the_caps_is_caught_by_the_walk(records: Records) -> None:
    values = {"population": "customers", "purpose": "ad-targeting", "analyst": "aiko", "product": "p", "approval": ""}
    loss = {"rho_units": 4 * 10**12, "delta_units": 0}
    with records.writing(event()) as tx:
        tx.insert(charges, at=tx.at, state="charged", report="", question="q", snapshot="s", **values, **loss)
    fault = fault_of(records)
    assert (fault.code, "event 2 " in fault.message.lower()) == ("LEDGER_OVER_CAP", True)


@pytest.mark.parametrize("key", [("customers", "purpose", "ad-targeting"), ("customers", "account", "")])
def test_a_cap_changed_without_a_steward_is_caught_by_the_walk(records: Records, key: tuple[str, str, str]) -> None:
    named = dict(zip(("population", "kind", "key"), key, strict=True))
    with records.writing(event()) as tx:
        tx.update(caps, named, {}, rho_units=10**15)
    assert fault_of(records).code == "CAP_UNSIGNED"


def test_a_planted_row_is_found_even_after_a_lawful_change(records: Records, custody: tuple[Home, Keys]) -> None:
    tamper(custody[0], "INSERT INTO revocations VALUES ('planted', '', '', 1)")
    with records.writing(event()) as tx:
        assert tx.update(revocations, {"token_id": "planted"}, {}, expires_at="")
    fault = fault_of(records)
    assert (fault.code, "event 2." in fault.message) == ("RECORDS_CHANGED", True)


def test_a_stewards_act_is_good_for_its_own_event_alone(records: Records) -> None:
    key = ("customers", PURPOSE, "ad-targeting")
    with records.writing(event()) as tx:
        raise_cap(tx, key, PrivacyLoss.of("7"), steward="sora", reason="autumn")
    assert records.verify().events == 2
    with records.reading() as view:
        last = audit.tip(view)
    assert last is not None
    with records.writing(event(act=last.facts()["act"], signature=last.facts()["signature"])) as tx:
        tx.update(
            caps, dict(zip(("population", "kind", "key"), key, strict=True)), {}, rho_units=7 * 10**12, delta_units=0
        )
    assert fault_of(records).code == "CAP_UNSIGNED"


def test_the_chain_can_be_checked_by_anyone_from_its_own_text(lived: Records) -> None:
    with lived.reading() as view:
        rows = list(audit.walk(view))
    before = "0" * 64
    for row in rows:
        parts = {"seq": row.sequence, "at": row.at, "actor": row.actor, "kind": row.kind, "subject": row.subject}
        text = json.dumps(
            {**parts, "body": row.body, "prev": before}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        before = hashlib.sha256(text.encode()).hexdigest()
        assert before == row.hash
