"""The signed head: what a crash explains is repaired, anything else starts nothing; charges survive `kill -9`."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.records_kit import CHARGE, COST, SPANNING, charge, declare, event, limits, make_home, population, spent

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import RecordsFault
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.records import audit, caps, ledger, releases
from kaianalytics.records.database import Records

ASKER = Path(__file__).parents[1] / "support" / "asker.py"
ROOT = Path(__file__).parents[2]

Custody = tuple[Home, Keys]


@pytest.fixture
def custody(tmp_path: Path) -> Custody:
    made = make_home(tmp_path)
    records = Records.of(*made)
    declare(records, population(window="100000"))
    records.close()
    return made


def asker(home: Home, *work: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ASKER), str(home.root), "asker", *work]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})


def refused_start(custody: Custody) -> str:
    with pytest.raises(RecordsFault) as fault:
        Records.of(*custody)
    assert "law 8" in fault.value.rule and fault.value.hint
    return fault.value.code


def events(custody: Custody, count: int) -> None:
    records = Records.of(*custody)
    for _ in range(count):
        records.append(event())
    records.close()


def copy_of_records(home: Home) -> dict[str, bytes]:
    """The records as a backup has them: every file of their folder."""
    return {file.name: file.read_bytes() for file in home.records.parent.iterdir()}


def restore_records(home: Home, backup: dict[str, bytes]) -> None:
    shutil.rmtree(home.records.parent)
    home.records.parent.mkdir(mode=0o700)
    for name, content in backup.items():
        (home.records.parent / name).write_bytes(content)
        (home.records.parent / name).chmod(0o600)


# What head and chain say of each other


def test_a_head_that_agrees_starts_and_repairs_nothing(custody: Custody) -> None:
    events(custody, 3)
    records = Records.of(*custody)
    assert records.repaired is None
    assert records.verify().events == 4
    assert json.loads(custody[0].head.read_bytes())["sequence"] == 4


def test_an_older_ledger_restored_in_place_is_noticed(custody: Custody) -> None:
    home, _ = custody
    backup = copy_of_records(home)
    records = Records.of(*custody)
    charge(records)
    records.close()
    restore_records(home, backup)
    assert refused_start(custody) == "LEDGER_ROLLED_BACK"


def test_records_that_are_gone_are_noticed(custody: Custody) -> None:
    restore_records(custody[0], {})
    assert refused_start(custody) == "LEDGER_ROLLED_BACK"


def test_ledger_and_head_restored_together_are_not_noticed(custody: Custody) -> None:
    """The stated limit of law 8: until the head is anchored outside, a charge can be undone by restoring both."""
    home, _ = custody
    backup, head = copy_of_records(home), home.head.read_bytes()
    records = Records.of(*custody)
    charge(records)
    records.close()
    restore_records(home, backup)
    home.head.write_bytes(head)
    assert spent(Records.of(*custody)) == PrivacyLoss(0)


def test_another_history_of_the_same_length_is_noticed(custody: Custody) -> None:
    home, _ = custody
    backup, head = copy_of_records(home), home.head.read_bytes()
    events(custody, 1)
    other = copy_of_records(home)
    restore_records(home, backup)
    home.head.write_bytes(head)
    records = Records.of(*custody)
    charge(records)
    records.close()
    restore_records(home, other)
    assert refused_start(custody) == "LEDGER_REPLACED"


def test_another_history_that_is_one_longer_is_not_mistaken_for_a_crash(custody: Custody) -> None:
    home, _ = custody
    backup, head = copy_of_records(home), home.head.read_bytes()
    events(custody, 2)
    longer = copy_of_records(home)
    restore_records(home, backup)
    home.head.write_bytes(head)
    records = Records.of(*custody)
    charge(records)
    records.close()
    restore_records(home, longer)
    assert refused_start(custody) == "LEDGER_REPLACED"


@pytest.mark.parametrize(("behind", "code"), [(1, None), (2, "HEAD_BEHIND"), (5, "HEAD_BEHIND")])
def test_a_head_behind_by_one_is_repaired_and_by_more_is_a_fault(
    custody: Custody, behind: int, code: str | None
) -> None:
    events(custody, 3)
    old = custody[0].head.read_bytes()
    events(custody, behind)
    custody[0].head.write_bytes(old)
    if code:
        assert refused_start(custody) == code
        return
    records = Records.of(*custody)
    assert records.repaired == 5
    records.append(event())
    with records.reading() as view:
        last = audit.tip(view)
    assert last is not None and last.facts() == {"head_repaired": 5}
    assert Records.of(*custody).repaired is None


def test_a_missing_head_is_a_fault_unless_nothing_was_ever_written(custody: Custody, tmp_path: Path) -> None:
    custody[0].head.unlink()
    assert refused_start(custody) == "HEAD_ABSENT"
    fresh = make_home(tmp_path / "fresh")
    Records.of(*fresh).close()
    assert json.loads(fresh[0].head.read_bytes())["sequence"] == 0


def test_the_very_first_commit_survives_a_crash_before_its_head(tmp_path: Path) -> None:
    fresh = make_home(tmp_path)
    Records.of(*fresh).close()
    genesis = fresh[0].head.read_bytes()
    events(fresh, 1)
    fresh[0].head.write_bytes(genesis)
    assert Records.of(*fresh).repaired == 1


@pytest.mark.parametrize(
    "forge",
    [
        lambda head: {**head, "sequence": head["sequence"] - 1},
        lambda head: {**head, "hash": "0" * 64},
        lambda head: {**head, "signature": "00" * 64},
        lambda head: {**head, "signature": "no hex"},
        lambda head: {**head, "sequence": "1"},
        lambda head: {name: head[name] for name in ("sequence", "hash")},
        lambda head: [],
    ],
)
def test_a_head_that_was_not_signed_so_is_a_fault(custody: Custody, forge: object) -> None:
    assert callable(forge)
    head = json.loads(custody[0].head.read_bytes())
    custody[0].head.write_text(json.dumps(forge(head)))
    assert refused_start(custody) == "HEAD_FORGED"


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe"])
def test_a_torn_head_is_a_fault(custody: Custody, text: bytes) -> None:
    custody[0].head.write_bytes(text)
    assert refused_start(custody) == "HEAD_FORGED"


def test_another_keys_head_is_a_fault(custody: Custody, tmp_path: Path) -> None:
    other = make_home(tmp_path / "other")
    Records.of(*other).close()
    custody[0].head.write_bytes(other[0].head.read_bytes())
    assert refused_start(custody) == "HEAD_FORGED"


def test_a_head_that_was_half_written_beside_does_no_harm(custody: Custody) -> None:
    beside = custody[0].head.with_name("head.json.new")
    beside.write_bytes(b'{"sequ')
    records = Records.of(*custody)
    records.append(event())
    assert records.verify().events == 2
    assert not beside.exists()


# kill -9


@pytest.mark.parametrize(
    ("step", "charged", "released", "repaired"),
    [
        ("charge written", False, False, None),
        ("charge committed", True, False, 2),
        ("head advanced", True, False, None),
        ("noise written", True, False, None),
        ("release written", True, False, None),
        ("release committed", True, True, 3),
        ("release sent", True, True, None),
    ],
)
def test_killed_between_any_two_steps_a_charge_is_never_lost(
    custody: Custody, step: str, charged: bool, released: bool, repaired: int | None
) -> None:
    with asker(custody[0], "die", step) as child:
        assert child.wait(30) == -signal.SIGKILL
    records = Records.of(*custody)
    assert records.repaired == repaired
    assert spent(records) == (SPANNING.loss if charged else PrivacyLoss(0))
    bound = limits(records, windows=SPANNING.windows)
    assert {bound[window].spent for window in SPANNING.windows} == {SPANNING.window_loss if charged else PrivacyLoss(0)}
    with records.reading() as view:
        assert (ledger.redeemable(view, SPANNING) is not None) == (charged and not released)
        noise, sent = releases.find_release(view, SPANNING), releases.find_answer(view, SPANNING, "asked")
    assert (noise is not None) == (sent is not None) == released
    assert noise is None or noise.noisy == b"[[1]]"
    assert sent is None or sent.payload == b'{"rows":[]}'
    assert records.verify().charges == charged
    for expected in (released or not charged, True):  # what was never released is redeemed, and only once
        with records.writing(event()) as tx:
            assert (ledger.redeem(tx, SPANNING) is None) == expected
    charge(records, 1)
    assert records.verify().charges == charged + 1


def test_a_surviving_process_repairs_what_a_killed_one_left(custody: Custody) -> None:
    survivor = Records.of(*custody)
    with asker(custody[0], "die", "charge committed") as child:
        assert child.wait(30) == -signal.SIGKILL
    charge(survivor, 1)
    assert survivor.repaired == 2
    with survivor.reading() as view:
        last = audit.tip(view)
    assert last is not None and last.facts()["head_repaired"] == 2
    assert survivor.verify().charges == 2


def test_killed_at_random_no_acknowledged_charge_is_lost(custody: Custody) -> None:
    records = Records.of(*custody)
    for kind, key in ((caps.ACCOUNT, ""), (caps.PURPOSE, "ad-targeting"), (caps.ANALYST, "aiko")):
        with records.writing(event()) as tx:
            caps.raise_cap(tx, ("customers", kind, key), PrivacyLoss.of("100000"), steward="sora", reason="test")
    records.close()
    chance, acknowledged = random.Random(8), 0
    for kills in range(1, 7):
        with asker(custody[0], "loop") as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            time.sleep(chance.uniform(0.01, 0.08))
            child.kill()
            acknowledged += (first + child.stdout.read()).count(b"\n")
        records = Records.of(*custody)
        assert acknowledged <= records.verify().charges <= acknowledged + kills
        records.close()
    assert acknowledged > 6


def test_a_full_volume_at_the_head_keeps_the_charge(custody: Custody) -> None:
    """The head can't be replaced: the caller gets a fault, the charge stays, and the next write repairs."""
    home, _ = custody
    records = Records.of(*custody)
    beside = home.head.with_name("head.json.new")
    beside.mkdir()
    with pytest.raises(RecordsFault) as fault:
        charge(records)
    assert fault.value.code == "HEAD_NOT_WRITTEN"
    beside.rmdir()
    assert spent(records) == COST
    charge(records, 1)
    assert (records.repaired, records.verify().charges) == (2, 2)
    with records.reading() as view:
        assert ledger.redeemable(view, replace(CHARGE, question="q0")) == 1
