"""Mixed load on a real gateway for a while, with workers and the gateway itself killed at random moments.

    python tests/benchmarks/soak.py [--seconds 3600] [--seed S] [--cores 0.5]

Several sessions of two analysts and three purposes ask for rows, ask statistics and submit notebooks. Meanwhile workers
are killed by SIGKILL, and now and then the gateway, which is started again. What is demanded:

1. No wrong answer. Rows are what plain DuckDB answers on the permitted rows, and their digest is in the chain. A
   statistic that was answered once is answered again with the same release, free.
2. No lost charge. Each question is charged once in the chain, whatever was killed between its charge and its answer;
   what clients were told they paid is in the ledger; the ledger's sum is that of the chain's events.
3. An error is one of those that a kill explains, and nothing else.
4. Nothing is left behind: the chain verifies, and no process, socket or announcement outlives the last gateway.

It paces itself to the share of a processor that is stated. Prints one JSON object; ends with 1 where a demand failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for fuzz and support

import duckdb
import polars as pl
import pyarrow as pa
from fuzz.watching import descendants
from fuzz.world import FuzzWorld, make_world
from support.real_world import Gateway, notebook, soon

from kaianalytics.client.transport import Door
from kaianalytics.errors import KaiError
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.protocol import API

RHO = "0.00001"
SESSIONS = (
    ("aiko", "service-improvement"),
    ("kaito", "service-improvement"),
    ("aiko", "campaign-analysis"),
    ("aiko", "ad-targeting"),
)
# what may be asked as rows under a purpose; each leaves one order of rows
ROWS: Mapping[str, tuple[str, ...]] = {
    "service-improvement": (
        "SELECT device, count(*) AS n, sum(pages) AS p FROM sessions GROUP BY device ORDER BY device",
        "SELECT * FROM sessions ORDER BY session_id",
        "SELECT label, max(score) AS s FROM sessions GROUP BY label ORDER BY label",
        "SELECT s.service, o.category, count(*) AS n FROM sessions s JOIN orders o USING (customer_id) GROUP BY ALL "
        "ORDER BY ALL",
        "SELECT customer_id, row_number() OVER (PARTITION BY plan ORDER BY customer_id) AS r FROM customers ORDER BY 1",
        "SELECT sum(a.seconds * b.pages) AS x FROM sessions a, sessions b, range(40)",
    ),
    "campaign-analysis": (
        "SELECT category, count(*) AS n, sum(amount_yen) AS y FROM orders GROUP BY category ORDER BY category",
        "SELECT campaign, arm, count(*) AS n FROM campaign_contacts GROUP BY ALL ORDER BY ALL",
    ),
}  # fmt: skip
STATISTICS: Mapping[str, str] = {
    "service-improvement": "SELECT COUNT(*) AS n FROM sessions WHERE seconds < {n}",
    "campaign-analysis": "SELECT COUNT(*) AS n FROM campaign_contacts WHERE spend_yen < {n}",
    "ad-targeting": "SELECT COUNT(*) AS n FROM ad_impressions WHERE cost_yen < {n}",
}
KILLED = frozenset(
    [
        "ANSWER_CUT_SHORT",
        "GATEWAY_AWAY",
        "WORKER_KILLED",
        "WORKER_ENDED",
        "WORKER_START",
        "CANCELLED",
        "SESSION_CLOSED",
        "STATISTIC_FAILED",
        "BUSY",
        "TOO_MANY_WORKERS",
    ]
)
Question = tuple[str, str, str]  # user, purpose, text


@dataclass
class Tally:
    """What happened, for every thread."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)  # of the rows that clients hold
    answered: dict[Question, str] = field(default_factory=dict)  # question → release, as it came first
    unsure: set[Question] = field(default_factory=set)  # asked, and what came of it is not known
    charged: Counter[Question] = field(default_factory=Counter)  # as clients were told
    reviews: set[int] = field(default_factory=set)

    def count(self, what: str) -> None:
        """One more of it."""
        with self.lock:
            self.done[what] += 1

    def find(self, what: str) -> None:
        """A demand that failed."""
        with self.lock:
            self.findings.append(what)

    def error(self, doing: str, error: KaiError) -> None:
        """An error; a finding unless a kill explains it."""
        with self.lock:
            self.errors[error.code] += 1
            if error.code not in KILLED:
                self.findings.append(f"{doing}: {type(error).__name__} {error.code} {error.message}")


class Load:
    """The sessions and those who ask in them."""

    def __init__(self, world: FuzzWorld, gateway: Gateway, tally: Tally, seed: int) -> None:
        self.gateway = gateway  # the one that runs now
        self.pause = 0.2
        self.over = threading.Event()
        self._world, self._tally, self._seed = world, tally, seed
        self._tokens = {pair: gateway.session(*pair).token for pair in SESSIONS}
        self._truth = {sql: _truth(world, purpose, sql) for purpose, texts in ROWS.items() for sql in texts}
        self._number = 0

    def start(self) -> list[threading.Thread]:
        """One thread for each session, and one that submits."""
        asking = [threading.Thread(target=self._ask, args=(pair, i)) for i, pair in enumerate(SESSIONS)]
        threads = [*asking, threading.Thread(target=self._submit)]
        for thread in threads:
            thread.start()
        return threads

    def door(self, pair: tuple[str, str]) -> Door:
        """The session's own connections to whichever gateway runs."""
        token = self._tokens[pair]
        return Door(lambda: self.gateway.connect(token), token)

    def _ask(self, pair: tuple[str, str], place: int) -> None:
        chance, door = random.Random(f"{self._seed}/{place}"), self.door(pair)
        while not self.over.wait(chance.uniform(0.5, 1.5) * self.pause):
            way = chance.random()
            try:
                if way < 0.5 and pair[1] in ROWS:
                    self.rows(door, chance.choice(ROWS[pair[1]]))
                elif way < 0.8 or not self._known(pair):
                    self.statistic(door, self._new(pair))
                else:
                    self.statistic(door, chance.choice(self._known(pair)))
            except KaiError as error:
                self._tally.error("asking", error)

    def rows(self, door: Door, sql: str) -> None:
        """Ask rows, and hold them against the truth."""
        arrow = door.request_rows(f"{API}/sql", {"sql": sql}).arrow
        self._tally.count("rows")
        with self._tally.lock:
            self._tally.digests.add(hashlib.sha256(arrow).hexdigest())
        if not pl.read_ipc_stream(arrow).equals(self._truth[sql]):
            self._tally.find(f"wrong rows: {sql}")

    def statistic(self, door: Door, question: Question) -> None:
        """Ask a statistic; a second answer is the first one, and free."""
        tally = self._tally
        with tally.lock:
            before = tally.answered.get(question)
            if before is None:
                tally.unsure.add(question)
        told = door.request_json("POST", f"{API}/statistics", {"sql": question[2], "rho": RHO})
        tally.count("statistics" if before is None else "repeats")
        with tally.lock:
            tally.unsure.discard(question)
            tally.charged[question] += bool(told["charged"])
            tally.answered.setdefault(question, told["release"])
        if before is not None and (told["release"] != before or told["charged"]):
            tally.find(f"asked again, it is another release or charged: {question}")

    def _submit(self) -> None:
        chance, number = random.Random(f"{self._seed}/submitting"), 0
        token = self._world.token_file("aiko").read_text(encoding="ascii").strip()
        door = Door(lambda: self.gateway.connect(token), token)
        while not self.over.wait(chance.uniform(5, 15)):
            number += 1
            body = {"report": f"soak-{number}", "title": "Soak", "cadence": "weekly", "rho_per_run": "0.001",
                    "parameters": {}, "notebook": notebook(f"n = {number}")}  # fmt: skip
            try:
                review = door.request_json("POST", f"{API}/submissions", body)["id"]
                self._tally.count("submissions")
                with self._tally.lock:
                    self._tally.reviews.add(review)
            except KaiError as error:
                self._tally.error("submitting", error)

    def _known(self, pair: tuple[str, str]) -> list[Question]:
        with self._tally.lock:
            return [question for question in self._tally.answered if question[:2] == pair]

    def _new(self, pair: tuple[str, str]) -> Question:
        with self._tally.lock:
            self._number += 1
            return (*pair, STATISTICS[pair[1]].format(n=self._number))


def _truth(world: FuzzWorld, purpose: str, sql: str) -> pl.DataFrame:
    """What plain DuckDB answers on the permitted rows."""
    if purpose == "service-improvement":
        with duckdb.connect(str(world.truth), read_only=True) as plain:
            return pl.read_ipc_stream(_stream(plain, sql))
    with duckdb.connect() as plain:
        plain.execute(f"ATTACH '{world.store(purpose)}' AS store (READ_ONLY)")
        stopped = world.stopped(purpose)
        for view in ("orders", "campaign_contacts"):
            plain.execute(
                f"CREATE TABLE {view} AS SELECT * FROM store.main.{view} "
                "WHERE NOT list_contains(?::VARCHAR[], customer_id)",
                [stopped],
            )
        return pl.read_ipc_stream(_stream(plain, sql))


def _stream(plain: duckdb.DuckDBPyConnection, sql: str) -> bytes:
    table, sink = plain.sql(sql).to_arrow_table(), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


class Chaos:
    """Kills workers, and now and then the gateway, until the time is up; the pace is kept meanwhile."""

    def __init__(self, load: Load, tally: Tally, chance: random.Random, cores: float) -> None:
        self._load, self._tally, self._chance, self._cores = load, tally, chance, cores

    def run(self, seconds: float) -> None:
        """For so long."""
        until = time.monotonic() + seconds
        next_gateway = time.monotonic() + self._chance.uniform(5, 12)
        spent, at = self._processor(), time.monotonic()
        while time.monotonic() < until:
            time.sleep(self._chance.uniform(0.3, 3.0))
            if time.monotonic() > next_gateway:
                self._another_gateway()
                next_gateway = time.monotonic() + self._chance.uniform(15, 90)
                spent, at = self._processor(), time.monotonic()
                continue
            self._kill_a_worker()
            now, then = self._processor(), time.monotonic()
            share, spent, at = (now - spent) / (then - at), now, then
            self._load.pause = min(5.0, max(0.02, self._load.pause * (1.25 if share > self._cores else 0.8)))

    def _kill_a_worker(self) -> None:
        children = sorted(descendants(self._load.gateway.process.pid))
        if children:
            try:
                os.kill(self._chance.choice(children), signal.SIGKILL)
            except ProcessLookupError:
                return
            self._tally.count("workers killed")

    def _another_gateway(self) -> None:
        gateway = self._load.gateway
        workers = descendants(gateway.process.pid)
        if self._chance.random() < 0.6:
            gateway.kill()
            self._tally.count("gateways killed")
        else:
            code = gateway.stop()
            self._tally.count("gateways stopped")
            if code:
                self._tally.find(f"a gateway ended with {code} when it was asked to")
        if not soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers)):
            self._tally.find("a worker outlived its gateway")
        self._load.gateway = gateway.world.start()

    def _processor(self) -> float:
        """Seconds of processor that this process and the gateway's have used."""
        mine = time.process_time()
        pids = [self._load.gateway.process.pid, *descendants(self._load.gateway.process.pid)]
        return mine + sum(map(_seconds_of, pids))


def _seconds_of(pid: int) -> float:
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def settle(load: Load, tally: Tally) -> None:
    """Ask what is not known yet, and a part of the rest again, with nothing killed any more."""
    with tally.lock:
        again = [*tally.unsure, *random.Random(1).sample(sorted(tally.answered), min(300, len(tally.answered)))]
    for question in again:
        for attempt in range(3):  # a worker that was killed just now is told once
            try:
                load.statistic(load.door(question[:2]), question)
                break
            except KaiError as error:
                if attempt == 2 or error.code not in KILLED:
                    tally.find(f"in peace it ends in {error.code}: {question}")
                    break


def demand_charges(world: FuzzWorld, tally: Tally) -> dict[str, Any]:
    """Each question once in the chain and the ledger; nothing that clients were told is missing there."""
    asked = [event.facts() for event in world.events("statistics.asked")]
    paid = Counter(each["asked"] for each in asked if each["outcome"] == "charged")
    if twice := [digest for digest, times in paid.items() if times > 1]:
        tally.find(f"{len(twice)} questions were charged more than once")
    questions = set(tally.answered) | tally.unsure
    if len(paid) != len(questions):
        tally.find(f"{len(questions)} questions were asked, {len(paid)} are charged in the chain")
    told = sum(tally.charged.values())
    if told > len(paid) or max(tally.charged.values(), default=0) > 1:
        tally.find("clients were told of more charges than there are")
    units = sum(each["rho_units"] for each in asked if each["outcome"] == "charged")
    if units != len(questions) * PrivacyLoss.of(RHO).rho_units:
        tally.find("the charges of the chain don't add up to what the questions cost")
    said = world.kai("audit", "verify")
    spent = PrivacyLoss(units).rho.normalize()
    if "In order" not in said or f"{len(paid)} charges" not in said or f"ρ {spent:f}." not in said:
        tally.find(f"the ledger is not what the chain says: {said}, and {len(paid)} charges of ρ {spent:f}")
    recorded = {event.facts()["digest"] for event in world.events("rows.answered")}
    if missing := tally.digests - recorded:
        tally.find(f"{len(missing)} answers of rows that clients hold are not in the chain")
    return {"told": told, "in the chain": len(paid), "rho": f"{spent:f}"}


def soak(world: FuzzWorld, options: argparse.Namespace) -> dict[str, Any]:
    """The summary of one run."""
    tally, chance = Tally(), random.Random(options.seed)
    load = Load(world, world.start(), tally, options.seed)
    threads = load.start()
    started = time.monotonic()
    try:
        Chaos(load, tally, chance, options.cores).run(options.seconds)
        load.over.set()
        for thread in threads:
            thread.join(90)
        settle(load, tally)
        listed = {each["id"] for each in load.gateway.as_("ren").request_json("GET", f"{API}/reviews")["reviews"]}
        if not tally.reviews <= listed:
            tally.find("a submission that was told is not listed")
    finally:
        load.over.set()
        workers = descendants(load.gateway.process.pid)
        load.gateway.end()
    if not soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers)):
        tally.find("a process outlived the last gateway")
    left = [file.name for file in (world.home.socket_path, world.home.gateway_info) if file.exists()]
    if left:
        tally.find(f"left behind: {left}")
    charges = demand_charges(world, tally)
    if world.canaries_of_logs.search((world.root / "gateway.out").read_bytes() + world.home.log.read_bytes()):
        tally.find("a log holds a canary")
    return {
        "seconds": round(time.monotonic() - started),
        "seed": options.seed,
        "done": dict(tally.done),
        "errors that kills explain": dict(tally.errors),
        "questions": len(tally.answered),
        "unsettled": len(tally.unsure),
        "charges": charges,
        "findings": tally.findings,
    }


def main() -> int:
    """Soak, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--cores", type=float, default=0.5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kai-soak-") as folder:
        summary = soak(make_world(Path(folder)), options)
    print(json.dumps(summary, indent=2, ensure_ascii=False))
    return int(bool(summary["findings"]))


if __name__ == "__main__":
    sys.exit(main())
