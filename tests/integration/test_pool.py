"""The pool with real worker processes: deadlines, deaths, stops, sessions apart, and nothing left behind."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from support.worker_kit import view_over

from kaianalytics.errors import KaiError, QueryFailed, WorkerFault
from kaianalytics.gateway.workers.channel import Frame, FrameKind
from kaianalytics.gateway.workers.pool import SessionWorker, WorkerPool
from kaianalytics.gateway.workers.process import MIB, StoreSpec, WorkerLimits, WorkerProcess, _holds
from kaianalytics.gateway.workers.starting import KILLED, Cold, Warm
from kaianalytics.sandbox import confine
from kaianalytics.sandbox.confinement import Confinement

VIEW = view_over("sessions", "customer_id", "customer_id", "note", "pages")
ENDLESS = "SELECT sum(sqrt(a.range + b.range)) FROM range(2000000) AS a, range(2000000) AS b"
# one scalar call of many seconds, in which the engine heeds no interrupt, and of little memory
ONE_LONG_CALL = "SELECT levenshtein(repeat('ab', 60000), repeat('ba', 60000))"
# more of them, which take memory too; each runs for seconds
LONG_CALLS = (
    ONE_LONG_CALL,
    "SELECT len(regexp_extract_all(repeat('ab', 20000000), 'a'))",
    "SELECT length(lpad('x', 1900000000, 'ab'))",
    "SELECT len(flatten([list_sort(range(30000000)), range(30000000)]))",
)
linux_only = pytest.mark.skipif(bool(confine.missing()), reason=confine.missing())
SECRET = "canary-7f3a"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> StoreSpec:
    path = tmp_path_factory.mktemp("store") / "rows.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            f"CREATE TABLE sessions AS SELECT 'C' || i % 5 AS customer_id, '{SECRET}' AS note, i::BIGINT AS pages"
            " FROM range(1000) AS t(i)"
        )
    return StoreSpec("ad-targeting", "rows", path, (VIEW,))


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerPool]:
    pool = WorkerPool(WorkerLimits(memory_mib=256, threads=1))
    yield pool
    pool.close_all()


@pytest.fixture(scope="module")
def worker(shared: WorkerPool, spec: StoreSpec) -> SessionWorker:
    return shared.session("session", spec)


def code_of(ask: Callable[[], object]) -> str:
    with pytest.raises(KaiError) as caught:
        ask()
    assert SECRET not in str(caught.value)
    return caught.value.code


def is_running(pid: int) -> bool:
    """Whether a process runs: a zombie does not, once the last of its threads has ended."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return facts[0] not in "ZX" or int(facts[17]) > 1
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)
    return holds()


def wait_until_busy(worker: SessionWorker) -> None:
    assert wait_until(lambda: worker.pid is not None and worker._busy.locked())
    time.sleep(0.7)  # past the start, inside the query


def test_an_answer_is_an_arrow_stream_with_its_digest_and_its_rows(worker: SessionWorker) -> None:
    answer = worker.run("SELECT customer_id, pages FROM sessions ORDER BY pages", 20)
    table = pa.ipc.open_stream(b"".join(answer)).read_all()
    assert table.num_rows == answer.outcome.rows == 1000
    assert table.column("pages").to_pylist() == list(range(1000))
    assert len(answer.outcome.digest) == 64
    assert answer.schema == (("customer_id", "string"), ("pages", "int64"))
    again = worker.run("SELECT customer_id, pages FROM sessions ORDER BY pages", 20)
    assert b"".join(again)
    assert again.outcome.digest == answer.outcome.digest


def test_fetch_gives_python_values_and_whole_decimals_as_integers(worker: SessionWorker) -> None:
    row = worker.fetch(
        "SELECT sum(pages), count(*), DATE '2026-11-01', NULL, 'x', sum(pages::DECIMAL(9, 2)) FROM sessions", 20
    )
    assert row[0][:2] == (499_500, 1000)
    assert type(row[0][0]) is int
    assert [str(cell) for cell in row[0][2:]] == ["2026-11-01", "None", "x", "499500.00"]
    assert worker.fetch("SELECT pages FROM sessions WHERE false", 20) == []
    days = "SELECT * FROM (VALUES (DATE '0001-01-01'), (NULL), (DATE '9999-12-31')) AS t(day)"
    assert worker.fetch(days, 20) == [(date.min,), (None,), (date.max,)]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT note::INTEGER FROM sessions", "DATA_ERROR"),
        ("SELECT 9223372036854775807 + pages FROM sessions", "DATA_ERROR"),
        ("SELECT error(note) FROM sessions", "DATA_ERROR"),
        ("SELECT strptime(note, '%Y') FROM sessions", "DATA_ERROR"),
        ("SELECT nope FROM sessions", "BIND_ERROR"),
        ("SELECT * FROM nowhere", "BIND_ERROR"),
        ("SELEC 1", "SYNTAX"),
        ("SELECT 1; SELECT 2", "NOT_A_SELECT"),
        ("SET threads=4", "NOT_A_SELECT"),
        ("DELETE FROM kai_stops", "NOT_A_SELECT"),
        ("SELECT * FROM read_text('/etc/passwd')", "NOT_PERMITTED"),
    ],
)
def test_a_failed_query_is_a_code_and_the_worker_lives_on(worker: SessionWorker, sql: str, code: str) -> None:
    worker.fetch("SELECT 1", 20)
    before = worker.pid
    assert code_of(lambda: worker.fetch(sql, 20)) == code
    assert worker.pid == before


def test_a_result_that_is_too_large_is_refused_before_its_first_byte(worker: SessionWorker) -> None:
    with pytest.raises(QueryFailed) as caught:
        worker.run("FROM range(100000)", 20, rows_max=99_999)
    assert caught.value.code == "RESULT_TOO_LARGE"
    assert code_of(lambda: worker.run("FROM range(100000)", 20, bytes_max=1000)) == "RESULT_TOO_LARGE"
    assert worker.fetch("SELECT 1", 20) == [(1,)]


def test_the_log_names_the_class_of_error_and_nothing_of_the_data(
    worker: SessionWorker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        code_of(lambda: worker.fetch("SELECT note::INTEGER FROM sessions", 20))
    assert "ConversionException" in caplog.text
    assert SECRET not in caplog.text
    assert "note" not in caplog.text


@pytest.mark.parametrize("sql", [ENDLESS, ONE_LONG_CALL])
def test_past_its_deadline_a_query_is_killed_and_the_next_one_works(
    shared: WorkerPool, spec: StoreSpec, sql: str
) -> None:
    slow = shared.session("slow", spec)
    slow.fetch("SELECT 1", 20)
    before, started = slow.pid, time.monotonic()
    assert code_of(lambda: slow.fetch(sql, 0.5)) == "DEADLINE"
    assert time.monotonic() - started < 3
    assert slow.fetch("SELECT count(*) FROM sessions", 20) == [(1000,)]
    assert before is not None
    assert slow.pid != before
    assert not is_running(before)
    shared.close("slow")


def test_a_query_past_its_memory_is_told_so_and_the_next_one_works(shared: WorkerPool, spec: StoreSpec) -> None:
    hungry = shared.session("hungry", spec)
    sql = "SELECT list(a.range) FROM range(30000) AS a, range(30000) AS b GROUP BY b.range"
    assert code_of(lambda: hungry.fetch(sql, 60)) in {"OUT_OF_MEMORY", "WORKER_ENDED"}
    assert hungry.fetch("SELECT 1", 20) == [(1,)]
    shared.close("hungry")


def test_a_killed_worker_is_told_so_and_the_next_query_works(shared: WorkerPool, spec: StoreSpec) -> None:
    victim = shared.session("victim", spec)
    codes: list[str] = []
    asking = threading.Thread(target=lambda: codes.append(code_of(lambda: victim.fetch(ENDLESS, 30))))
    asking.start()
    wait_until_busy(victim)
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    asking.join()
    assert codes == ["WORKER_KILLED"]
    assert victim.fetch("SELECT 1", 20) == [(1,)]
    os.kill(victim.pid, signal.SIGKILL)  # killed while idle, no query is lost at all
    time.sleep(0.2)
    assert victim.fetch("SELECT 2", 20) == [(2,)]
    shared.close("victim")


def test_cancelling_one_session_ends_its_query_and_no_other_sessions(shared: WorkerPool, spec: StoreSpec) -> None:
    running, other = shared.session("running", spec), shared.session("other", spec)
    other.fetch("SELECT 1", 20)
    other_pid, codes = other.pid, []
    asking = threading.Thread(target=lambda: codes.append(code_of(lambda: running.fetch(ENDLESS, 30))))
    asking.start()
    wait_until_busy(running)
    assert other.fetch("SELECT 3", 20) == [(3,)]  # sessions do not wait for each other
    assert shared.cancel("other") is False
    assert shared.cancel("running") is True
    asking.join()
    assert codes == ["CANCELLED"]
    assert other.pid == other_pid
    assert running.fetch("SELECT 1", 20) == [(1,)]
    for session in ("running", "other"):
        shared.close(session)


def test_the_queries_of_one_session_wait_their_turn_and_no_longer_than_their_deadline(worker: SessionWorker) -> None:
    first = worker.run("FROM range(500000)", 20)
    assert code_of(lambda: worker.fetch("SELECT 1", 0.2)) == "BUSY"
    assert b"".join(first)
    assert worker.fetch("SELECT 1", 20) == [(1,)]


def test_an_answer_nobody_reads_gives_its_session_back(worker: SessionWorker) -> None:
    answer = worker.run("FROM range(500000)", 20)
    next(answer)
    with pytest.raises(RuntimeError):
        _ = answer.outcome
    del answer
    assert worker.fetch("SELECT 1", 20) == [(1,)]
    with worker.run("FROM range(500000)", 20):
        pass
    assert worker.fetch("SELECT 1", 20) == [(1,)]


def test_a_stop_reaches_running_workers_of_its_purpose_and_fresh_ones(shared: WorkerPool, spec: StoreSpec) -> None:
    here = shared.session("here", spec)
    there = shared.session("there", replace(spec, purpose="campaign-analysis"))
    question = "SELECT count(DISTINCT customer_id) FROM sessions"
    assert here.fetch(question, 20) == there.fetch(question, 20) == [(5,)]
    before = here.pid
    shared.update_stops("ad-targeting", ["C1", "C2"])
    assert here.fetch(question, 20) == [(3,)]
    assert here.pid == before
    assert there.fetch(question, 20) == [(5,)]
    assert here.pid is not None
    os.kill(here.pid, signal.SIGKILL)
    assert wait_until(lambda: not is_running(before or 0))
    assert here.fetch(question, 20) == [(3,)]
    for session in ("here", "there"):
        shared.close(session)


def test_a_stop_between_two_statements_of_one_question_holds_for_the_second(
    shared: WorkerPool, spec: StoreSpec
) -> None:
    asker = shared.session("two-statements", replace(spec, purpose="halfway"))
    question = "SELECT count(DISTINCT customer_id) FROM sessions"
    assert asker.fetch(question, 20) == [(5,)]
    shared.update_stops("halfway", ["C3"])
    assert asker.fetch(question, 20) == [(4,)]
    shared.close("two-statements")


class Interrupted(SessionWorker):
    """A session that is told of a stop at the worst moment: its process is ready, and nothing is sent yet."""

    pool: WorkerPool
    stopped: list[str]

    def _ready(self, until: float) -> WorkerProcess:
        process = super()._ready(until)
        if self.stopped:
            self.pool.update_stops(self.spec.purpose, [self.stopped.pop()])
        return process


def test_a_stop_that_arrives_while_a_query_is_being_sent_holds_for_it(shared: WorkerPool, spec: StoreSpec) -> None:
    spec = replace(spec, purpose="interrupted")
    shared.session("interrupted", spec)
    asker = Interrupted(spec, shared.limits, shared._start)
    asker.pool, asker.stopped = shared, ["C0", "C1", "C2"]
    shared._workers["interrupted", "rows"] = asker  # it stands where the pool keeps its own
    assert asker.fetch("SELECT DISTINCT customer_id FROM sessions ORDER BY ALL", 20) == [("C3",), ("C4",)]
    shared.close("interrupted")


def test_what_one_asker_knows_of_stops_holds_for_all_and_is_not_taken_back(
    shared: WorkerPool, spec: StoreSpec, tmp_path: Path
) -> None:
    spec = replace(spec, purpose="stopping")
    question = "SELECT count(DISTINCT customer_id) FROM sessions"
    early = shared.session("early", spec)
    assert early.fetch(question, 20) == [(5,)]
    shared.session("knowing", replace(spec, stops=frozenset({"C1"})))
    assert early.fetch(question, 20) == [(4,)]
    assert shared.session("early", spec).fetch(question, 20) == [(4,)]  # read before the stop, asked after it
    newer = tmp_path / "newer.duckdb"
    newer.write_bytes(spec.path.read_bytes())
    assert shared.session("early", replace(spec, path=newer)).fetch(question, 20) == [(4,)]
    for session in ("early", "knowing"):
        shared.close(session)


def test_many_askers_and_a_growing_list_of_stops(shared: WorkerPool, spec: StoreSpec) -> None:
    """Whoever asks after a stop was told never sees its unit, whatever the other sessions are doing."""
    spec = replace(spec, purpose="racing")
    told: list[str] = []
    wrong: list[object] = []

    def ask(session: str) -> None:
        while len(told) < 5:
            known = set(told)
            seen = {
                row[0] for row in shared.session(session, spec).fetch("SELECT DISTINCT customer_id FROM sessions", 20)
            }
            if known & seen:
                wrong.append((known, seen))

    askers = [threading.Thread(target=ask, args=(f"racing-{number}",)) for number in range(3)]
    for asker in askers:
        asker.start()
    for unit in ("C0", "C1", "C2", "C3", "C4"):
        time.sleep(0.3)
        shared.update_stops("racing", [unit])
        told.append(unit)
    for asker in askers:
        asker.join()
    assert wrong == []
    assert shared.session("racing-0", spec).fetch("SELECT count(*) FROM sessions", 20) == [(0,)]
    for number in range(3):
        shared.close(f"racing-{number}")


def test_stops_that_can_not_be_made_to_hold_end_the_worker_and_answer_nothing(
    shared: WorkerPool, spec: StoreSpec
) -> None:
    asker = shared.session("no-pseudonym", replace(spec, purpose="no-pseudonym"))
    assert asker.fetch("SELECT 1", 20) == [(1,)]
    shared.update_stops("no-pseudonym", ["not a pseudonym"])
    assert code_of(lambda: asker.fetch("SELECT 1", 20)) == "WORKER_ENDED"
    assert code_of(lambda: asker.fetch("SELECT 1", 20)) == "WORKER_START"
    shared.close("no-pseudonym")


def test_another_store_for_a_session_ends_the_earlier_worker(
    shared: WorkerPool, spec: StoreSpec, tmp_path: Path
) -> None:
    old = shared.session("moving", spec)
    old.fetch("SELECT 1", 20)
    pid = old.pid
    assert shared.session("moving", replace(spec, stops=frozenset({"C1"}))) is old
    newer = tmp_path / "newer.duckdb"
    newer.write_bytes(spec.path.read_bytes())
    new = shared.session("moving", replace(spec, path=newer))
    assert new is not old
    assert pid is not None
    assert not is_running(pid)
    assert code_of(lambda: old.fetch("SELECT 1", 20)) == "SESSION_CLOSED"
    assert new.fetch("SELECT 1", 20) == [(1,)]
    shared.close("moving")


def test_a_store_that_is_missing_or_does_not_fit_is_a_fault_without_a_path(
    shared: WorkerPool, spec: StoreSpec, tmp_path: Path
) -> None:
    for broken in (replace(spec, path=tmp_path / "none.duckdb"), replace(spec, views=(VIEW, view_over("gone", "x")))):
        lost = shared.session("lost", broken)
        with pytest.raises(WorkerFault) as caught:
            lost.fetch("SELECT 1", 20)
        assert caught.value.code == "WORKER_START"
        assert str(broken.path) not in str(caught.value)
    shared.close("lost")


def test_a_worker_inherits_nothing_and_is_limited(
    worker: SessionWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker.fetch("SELECT 1", 20) == [(1,)]
    process = Path(f"/proc/{worker.pid}")
    environment = (process / "environ").read_bytes().split(b"\0")
    assert {item.split(b"=")[0] for item in environment if item} == {
        b"JE_ARROW_MALLOC_CONF", b"LANG", b"OPENBLAS_NUM_THREADS", b"PATH", b"TZ",
    }  # fmt: skip
    targets = {str(descriptor.readlink()) for descriptor in (process / "fd").iterdir()}
    assert {target.split(":")[0].rsplit("/", 1)[-1] for target in targets} == {"socket", "null", "rows.duckdb"}
    limits = {line[:26].strip(): line[26:].split()[1] for line in (process / "limits").read_text().splitlines()[1:]}
    assert limits["Max core file size"] == limits["Max file size"] == "0"
    assert int(limits["Max address space"]) < 4 << 30
    assert limits["Max open files"] == "64"


def test_idle_workers_end_and_the_longest_idle_makes_room(spec: StoreSpec) -> None:
    pool = WorkerPool(WorkerLimits(memory_mib=256, threads=1, idle_seconds=2.0, workers_max=2))
    try:
        one, two, three = (pool.session(name, spec) for name in ("one", "two", "three"))
        for worker in (one, two, three):
            worker.fetch("SELECT 1", 20)
        assert (one.pid is None, two.pid is None, three.pid is None) == (True, False, False)
        with two.run("FROM range(500000)", 20), three.run("FROM range(500000)", 20):
            assert code_of(lambda: one.fetch("SELECT 1", 20)) == "TOO_MANY_WORKERS"
        assert one.fetch("SELECT 1", 20) == [(1,)]
        assert wait_until(lambda: one.pid is None)
        assert wait_until(lambda: not pool._workers)  # a kernel that was killed could not close its session
        again = pool.session("one", spec)
        assert again is not one and again.fetch("SELECT 1", 20) == [(1,)]
    finally:
        pool.close_all()


def test_workers_outlive_the_thread_that_asked_first(shared: WorkerPool, spec: StoreSpec) -> None:
    worker = shared.session("handed-on", spec)
    first = threading.Thread(target=lambda: worker.fetch("SELECT 1", 20))
    first.start()
    first.join()
    pid = worker.pid
    time.sleep(0.3)
    assert worker.fetch("SELECT 1", 20) == [(1,)]
    assert worker.pid == pid
    shared.close("handed-on")


def test_closing_leaves_no_process_and_no_open_file(spec: StoreSpec) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    pool = WorkerPool(WorkerLimits(memory_mib=256, threads=1))
    pids = []
    for name in ("one", "two"):
        worker = pool.session(name, spec)
        worker.fetch("SELECT 1", 20)
        pids.append(worker.pid)
        with suppress(KaiError):
            worker.fetch(ENDLESS, 0.2)
        worker.fetch("SELECT 1", 20)
        pids.append(worker.pid)
    pool.close_all()
    assert not any(is_running(pid) for pid in pids if pid)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@linux_only
def test_every_thread_of_a_worker_at_work_is_confined(spec: StoreSpec) -> None:
    pool = WorkerPool(WorkerLimits(memory_mib=256, threads=4))
    try:
        worker = pool.session("threads", spec)
        worker.fetch("SELECT count(*) FROM sessions", 20)
        asking = threading.Thread(target=lambda: code_of(lambda: worker.fetch(ENDLESS, 30)))
        asking.start()
        wait_until_busy(worker)
        threads = list(Path(f"/proc/{worker.pid}/task").iterdir())
        wanted = {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0" * 16, "CapPrm": "0" * 16}
        for thread in threads:
            lines = dict(line.split(":", 1) for line in (thread / "status").read_text().splitlines())
            assert {name: lines[name].strip() for name in wanted} == wanted
        assert len(threads) > 4
        assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"
        pool.cancel("threads")
        asking.join()
    finally:
        pool.close_all()


class Elsewhere(WorkerLimits):
    """Limits of a worker that is to read a folder which is not there: Landlock can't be applied as it was promised."""

    def confined_to(self, store: Path) -> Confinement:
        made = super().confined_to(store)
        return replace(made, read=(*made.read, "/nowhere/at/all"))


@linux_only
def test_a_worker_that_can_not_be_confined_as_promised_does_not_start(spec: StoreSpec) -> None:
    pool = WorkerPool(Elsewhere(memory_mib=256, threads=1))
    try:
        assert code_of(lambda: pool.session("free", spec).fetch("SELECT 1", 20)) == "WORKER_START"
    finally:
        pool.close_all()


def test_a_worker_that_tells_fewer_layers_than_it_was_given_answers_nothing(spec: StoreSpec) -> None:
    confinement = WorkerLimits().confined_to(spec.path)
    told = sorted(confinement.layers)
    assert _holds(Frame(FrameKind.READY, json.dumps({"layers": told}).encode()), confinement)
    for fewer in (told[1:], told[:-1], [], None, "limits"):
        assert not _holds(Frame(FrameKind.READY, json.dumps({"layers": fewer}).encode()), confinement)


@linux_only
def test_on_a_machine_without_landlock_a_worker_has_its_limits_and_the_engines_lock(
    spec: StoreSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The level that answers carry there is `guard rails only`: the same sentence decides on both."""
    monkeypatch.setattr(confine, "missing", lambda: "There is no Landlock.")
    pool = WorkerPool(WorkerLimits(memory_mib=256, threads=1))
    try:
        worker = pool.session("old", spec)
        assert worker.fetch("SELECT count(*) FROM sessions", 20) == [(1000,)]
        assert "Seccomp:\t0" in Path(f"/proc/{worker.pid}/status").read_text()
        assert "Max address space         unlimited" not in Path(f"/proc/{worker.pid}/limits").read_text()
    finally:
        pool.close_all()


def parent_of(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@linux_only
def test_the_warm_process_holds_no_store_no_capability_and_one_thread(shared: WorkerPool, spec: StoreSpec) -> None:
    workers = [shared.session(f"born-{number}", spec) for number in range(3)]
    for worker in workers:
        worker.fetch("SELECT 1", 20)
    [warm] = {parent_of(worker.pid) for worker in workers}
    assert parent_of(warm) == os.getpid()
    facts = Path(f"/proc/{warm}/status").read_text()
    assert "Threads:\t1\n" in facts and "CapEff:\t0000000000000000\n" in facts
    opened = {str(descriptor.readlink()).split(":")[0] for descriptor in Path(f"/proc/{warm}/fd").iterdir()}
    assert opened == {"socket", "/dev/null", "pipe", "anon_inode"}  # of workers: their ends, and they themselves
    for worker in workers:
        assert os.getsid(worker.pid or 0) == worker.pid
        shared.close(f"born-{workers.index(worker)}")


@linux_only
def test_without_the_warm_process_its_workers_end_and_the_next_query_starts_another(
    shared: WorkerPool, spec: StoreSpec
) -> None:
    idle, busy = shared.session("orphan", spec), shared.session("busy-orphan", spec)
    idle.fetch("SELECT 1", 20)
    codes: list[str] = []
    asking = threading.Thread(target=lambda: codes.append(code_of(lambda: busy.fetch(ENDLESS, 30))))
    asking.start()
    wait_until_busy(busy)
    pids, warm = (idle.pid or 0, busy.pid or 0), parent_of(idle.pid)
    os.kill(warm, signal.SIGKILL)
    asking.join()
    assert codes == ["WORKER_KILLED"]
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))
    assert idle.fetch("SELECT 2", 20) == busy.fetch("SELECT 2", 20) == [(2,)]
    assert parent_of(idle.pid) == parent_of(busy.pid) != warm
    for session in ("orphan", "busy-orphan"):
        shared.close(session)


SECOND_THREAD = """
import socket, threading, time
from kaianalytics.gateway.workers import warm
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
warm.serve(socket.socket(fileno=0))
"""


@linux_only
def test_with_a_second_thread_nothing_is_forked() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen([sys.executable, "-c", SECOND_THREAD], stdin=theirs) as warm:
        theirs.close()
        socket.send_fds(ours, [b"+"], [0, 1])
        assert ours.recv(8) == b""
        assert warm.wait() == 0


@pytest.mark.parametrize("kind", [Cold, pytest.param(Warm, marks=linux_only)])
def test_both_ways_to_start_a_worker_answer_alike_and_tell_its_end(
    kind: type[Cold] | type[Warm], spec: StoreSpec
) -> None:
    starter, limits = kind(), WorkerLimits(memory_mib=256, threads=1)
    try:
        processes = [WorkerProcess(starter) for _ in range(3)]
        for process in processes:
            process.open(spec, limits)
        assert processes[0].ask({"op": "stops", "units": []}, time.monotonic() + 20)["ok"] is True
        left, killed, _ = (process._process for process in processes)
        processes[0]._channel.close()
        os.kill(killed.pid, signal.SIGKILL)
        assert (left.wait(), killed.wait(), killed.wait()) == (0, KILLED, KILLED)
        assert [process.is_alive for process in processes] == [False, False, True]
        left.kill()  # of one that is gone, it is nobody's any more
        left.close()
        left.kill()
        processes[2].kill()
        assert not is_running(processes[2].pid)
    finally:
        starter.close()
    processes[1].kill()


@pytest.mark.parametrize("sql", LONG_CALLS[1:])
def test_no_long_call_outlives_its_deadline_or_takes_more_than_its_memory(
    shared: WorkerPool, spec: StoreSpec, sql: str
) -> None:
    hungry = shared.session("long-call", spec)
    hungry.fetch("SELECT 1", 20)
    highest, pid = 0, hungry.pid or 0
    codes: list[str] = []
    asking = threading.Thread(target=lambda: codes.append(code_of(lambda: hungry.fetch(sql, 1.5))))
    asking.start()
    while asking.is_alive():
        with suppress(OSError):
            facts = Path(f"/proc/{pid}/status").read_text()
            highest = max([highest, *(int(line.split()[1]) for line in facts.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.02)
    assert codes[0] in {"DEADLINE", "OUT_OF_MEMORY", "WORKER_ENDED"}
    assert highest * 1024 < 3 * shared.limits.memory_mib * MIB
    assert hungry.fetch("SELECT 1", 20) == [(1,)]
    shared.close("long-call")


def test_one_sessions_runaway_queries_stop_no_other_session(shared: WorkerPool, spec: StoreSpec) -> None:
    spec = replace(spec, purpose="side-by-side")  # one without the stops of other tests
    calm, hungry = shared.session("calm", spec), [shared.session(f"hungry-{number}", spec) for number in range(2)]
    assert calm.fetch("SELECT 1", 20) == [(1,)]
    before, codes = calm.pid, list[str]()

    def rage(worker: SessionWorker) -> None:
        for sql in (*LONG_CALLS, "SELECT list(a.range) FROM range(30000) AS a, range(30000) AS b GROUP BY b.range"):
            codes.append(code_of(lambda sql=sql: worker.fetch(sql, 0.7)))

    raging = [threading.Thread(target=rage, args=(worker,)) for worker in hungry]
    for each in raging:
        each.start()
    answered = 0
    while any(each.is_alive() for each in raging):
        assert calm.fetch("SELECT count(*), max(pages) FROM sessions", 20) == [(1000, 999)]
        answered += 1
    assert answered > 10 and calm.pid == before
    assert len(codes) == 10 and set(codes) <= {"DEADLINE", "OUT_OF_MEMORY", "WORKER_ENDED"}
    for session in ("calm", "hungry-0", "hungry-1"):
        shared.close(session)


@linux_only
def test_a_worker_that_has_used_up_its_processor_time_ends(spec: StoreSpec) -> None:
    pool = WorkerPool(WorkerLimits(memory_mib=256, threads=1, processor_seconds=1))
    try:
        worker = pool.session("tireless", spec)
        assert code_of(lambda: worker.fetch(ENDLESS, 60)) == "WORKER_ENDED"
        assert worker.fetch("SELECT 1", 20) == [(1,)]
    finally:
        pool.close_all()


def test_two_hundred_sessions_leave_no_process_no_file_and_no_thread_behind(
    shared: WorkerPool, spec: StoreSpec
) -> None:
    shared.session("first", spec).fetch("SELECT 1", 20)
    shared.close("first")

    def held() -> tuple[int, int, int]:
        here = Path(f"/proc/{os.getpid()}")
        children = [pid for pid in Path("/proc").glob("[0-9]*") if is_ours(int(pid.name))]
        return len(list((here / "fd").iterdir())), len(list((here / "task").iterdir())), len(children)

    before = held()
    for number in range(200):
        assert shared.session(f"short-{number}", spec).fetch("SELECT 1", 20) == [(1,)]
        shared.close(f"short-{number}")
    assert wait_until(lambda: held() <= before)
    assert shared._workers.keys().isdisjoint({(f"short-{number}", "rows") for number in range(200)})


def is_ours(pid: int) -> bool:
    """Whether a process descends from this one."""
    with suppress(OSError, ValueError):
        while pid > 1:
            pid = parent_of(pid)
            if pid == os.getpid():
                return True
    return False


GATEWAY = """
import sys, threading
from pathlib import Path
from kaianalytics.gateway.workers.pool import WorkerPool
from kaianalytics.gateway.workers.process import StoreSpec, WorkerLimits
from kaianalytics.policy.secure_views import ViewSql
pool = WorkerPool(WorkerLimits(memory_mib=256, threads=1))
idle, busy = (pool.session(n, StoreSpec("p", "rows", Path(sys.argv[1]), (ViewSql(*sys.argv[2:5]),))) for n in "ab")
for worker in (idle, busy):
    worker.fetch("SELECT 1", 20)
print(idle.pid, busy.pid, flush=True)
busy.fetch(sys.argv[5], 60)
"""


def test_no_worker_outlives_a_killed_gateway(spec: StoreSpec) -> None:
    command = [sys.executable, "-c", GATEWAY, str(spec.path), *VIEW, ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        pids = [int(pid) for pid in gateway.stdout.readline().split()]
        pids += {parent_of(pid) for pid in pids} - {gateway.pid}  # the process that they were forked from
        assert len(pids) >= 2
        assert all(is_running(pid) for pid in pids)
        time.sleep(0.3)  # the second one is inside its endless query
        gateway.kill()
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))
