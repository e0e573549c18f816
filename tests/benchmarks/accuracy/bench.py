"""The accuracy benchmark: one workload, answered by us and by the peers under the same totals, and scored.

python tests/benchmarks/run.py --only accuracy            writes docs/reference/accuracy.md
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from page import Table

from accuracy import shares
from accuracy.bounds import Bound, best
from accuracy.contributions import Contributions, contributions
from accuracy.environments import environment
from accuracy.job import Answers, opened, run_job
from accuracy.ours import Ours
from accuracy.report import OURS, PEERS, Round, tables
from accuracy.scoring import Score, scored
from accuracy.workload import DELTA, PURCHASES, RETAIL, SAMPLE, Workload

ROOT = Path(__file__).resolve().parents[3]
RETAIL_FILE = ROOT.parent / "shared" / "data" / "online_retail" / "online_retail.parquet"
CUSTOMERS = 20_000  # of the sample warehouse
EPSILONS = ("1", "5")
TIMES = 12
_RUNNERS = {PEERS[0]: ("smartnoise", shares.smartnoise), PEERS[1]: ("opendp", shares.opendp)}


@dataclass(frozen=True)
class Asked:
    """The workload on its data: what each customer adds, and a folder with the tables as files."""

    workload: Workload
    given: tuple[Contributions, ...]
    folder: Path
    sources: Mapping[str, Path]


def accuracy(work: Path, epsilons: Sequence[str] = EPSILONS, times: int = TIMES, every: int = 1) -> list[Table]:
    """All tables of the page; `every` asks only each so-manieth question, as a trial."""
    asked = _asked(work, every)
    with ThreadPoolExecutor(max_workers=2) as two:
        peers = {(peer, e): two.submit(_peer, asked, peer, e, times) for e in epsilons for peer in PEERS}
        told = {key: future.result() for key, future in peers.items()}
    ours = Ours(asked.workload, asked.sources)
    rounds = [_round(asked, e, {peer: told[peer, e] for peer in PEERS}, ours, times) for e in epsilons]
    return tables(rounds, _words(asked, times))


def _asked(work: Path, every: int) -> Asked:
    work.mkdir(parents=True, exist_ok=True)
    sample = work / "sample"
    generate = [str(ROOT / "pipelines" / "sample_warehouse.py"), "--customers", str(CUSTOMERS), "--out", str(sample)]
    subprocess.run([sys.executable, *generate], check=True, stdout=subprocess.DEVNULL)
    questions = (*(RETAIL if RETAIL_FILE.exists() else ()), *SAMPLE)
    workload = Workload(questions[::every])
    sources = {table.name: sample / f"{table.name}.parquet" for table in workload.tables}
    sources |= {name: RETAIL_FILE for name in sources if name == PURCHASES.name}
    with opened(workload, sources, work) as connection:
        given = tuple(contributions(connection, question) for question in workload.questions)
    return Asked(workload, given, work, sources)


def _peer(asked: Asked, peer: str, epsilon: str, times: int) -> Answers | str:
    """What the peer answered, each question under its best bound; or why it is absent."""
    name, share = _RUNNERS[peer]
    place = environment(name)
    if place.python is None:
        return place.absent
    engine = share(asked.workload, epsilon)
    bounds = [best(engine, given) for given in asked.given]
    try:
        return run_job(place.python, place.script, asked.folder, asked.workload, bounds, epsilon, times)
    except (RuntimeError, subprocess.TimeoutExpired) as failure:
        return str(failure).strip().rsplit("\n", maxsplit=1)[-1][:200]


def _round(asked: Asked, epsilon: str, peers: Mapping[str, Answers | str], ours: Ours, times: int) -> Round:
    columns: dict[str, Answers] = {peer: said for peer, said in peers.items() if isinstance(said, Answers)}
    told: list[Bound] = [best(shares.ours(asked.workload, epsilon), given) for given in asked.given]
    loss = shares.loss_of_each(asked.workload, epsilon)
    columns |= dict(zip(OURS, ours.answers(loss, told, times), strict=True))
    return Round(
        epsilon,
        tuple(_scores(asked, columns)),
        {column: answers.settings for column, answers in columns.items()},
        {peer: said for peer, said in peers.items() if isinstance(said, str)},
    )


def _scores(asked: Asked, columns: Mapping[str, Answers]) -> list[Score]:
    return [
        scored(given.question, given.truth, {column: answers.draws[at] for column, answers in columns.items()})
        for at, given in enumerate(asked.given)
    ]


def _words(asked: Asked, times: int) -> str:
    where = "online retail (purchases of known customers) and the sample warehouse"
    if not RETAIL_FILE.exists():
        where = "the sample warehouse alone, for the online retail file is not here"
    return (
        f"{len(asked.workload.questions)} questions with {asked.workload.answers} answers on {where} of {CUSTOMERS:,} "
        f"customers, {times} draws of each, all questions together within one (ε, δ = {DELTA}). All know the same keys "
        "and the same range of each value, and the data keep to it. **Told bounds**: for each question the bound with "
        "the least expected error on this very data, which nobody could know: so are both peers asked, each in its own "
        "forms, and so are we. **A profile**: we are told nothing but round figures of how rows and values spread over "
        "customers, as a contract may declare them. **Private bounds**: we are told nothing but a limit that no "
        "customer reaches, and find bounds from the data at a part of each question's price. A ratio below 1 is a "
        "smaller error of ours."
    )
