"""The accuracy benchmark: one workload, answered by us and by the peers under the same totals, and scored.

python tests/benchmarks/run.py --only accuracy            writes docs/reference/accuracy.md
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from page import Table

from accuracy import shares
from accuracy.bounds import Bound, Engine, best
from accuracy.contributions import Contributions, contributions
from accuracy.environments import Environment, environment
from accuracy.job import Answers, opened, run_job
from accuracy.made_up import made_up
from accuracy.ours import Ours
from accuracy.report import KNOWING, OURS, PEERS, PRIVATE, Round, column, tables
from accuracy.scoring import Score, scored
from accuracy.workload import DELTA, PURCHASES, RETAIL, SAMPLE, Workload

ROOT = Path(__file__).resolve().parents[3]
RETAIL_FILE = ROOT.parent / "shared" / "data" / "online_retail" / "online_retail.parquet"
CUSTOMERS = 20_000  # of the sample warehouse
EPSILONS = ("1", "5")
TIMES = 12
Share = Callable[[Workload, str], Engine]
_RUNNERS: Mapping[str, tuple[str, Share]] = {
    PEERS[0]: ("smartnoise", shares.smartnoise),
    PEERS[1]: ("opendp", shares.opendp),
}


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
    places = {peer: environment(name) for peer, (name, _) in _RUNNERS.items()}
    with ThreadPoolExecutor(max_workers=2) as two:
        jobs = {
            (epsilon, column(peer, knows)): two.submit(
                _peer, asked, places[peer], _RUNNERS[peer][1], knows, epsilon, times
            )
            for epsilon in epsilons
            for peer in PEERS
            for knows in KNOWING
        }
    said = {key: job.result() for key, job in jobs.items()}
    engine = Ours(asked.workload, asked.sources)
    return tables([_round(asked, epsilon, said, engine, times) for epsilon in epsilons], _words(asked, times))


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


def _bounds(asked: Asked, engine: Engine, knows: str) -> list[Bound]:
    """For each question the bound that is best for who knows the data, or the profile alone."""
    if knows == KNOWING[0]:
        return [best(engine, given) for given in asked.given]
    # in how many cells a customer is, a profile doesn't tell
    return [best(engine, made_up(question), dropping=False) for question in asked.workload.questions]


def _peer(asked: Asked, place: Environment, share: Share, knows: str, epsilon: str, times: int) -> Answers | str:
    """What a peer answered; or why it is absent."""
    if place.python is None:
        return place.absent
    bounds = _bounds(asked, share(asked.workload, epsilon), knows)
    folder = asked.folder / f"{place.script.stem}-{knows}-{epsilon}"
    try:
        return run_job(place.python, place.script, folder, asked.workload, bounds, epsilon, times)
    except (RuntimeError, subprocess.TimeoutExpired) as failure:
        return str(failure).strip().rsplit("\n", maxsplit=1)[-1][:200]


def _round(
    asked: Asked, epsilon: str, said: Mapping[tuple[str, str], Answers | str], engine: Ours, times: int
) -> Round:
    loss = shares.loss_of_each(asked.workload, epsilon)
    told = _bounds(asked, shares.ours(asked.workload, epsilon), KNOWING[0])
    columns: dict[str, Answers | str] = {name: answers for (at, name), answers in said.items() if at == epsilon}
    columns[column(OURS, KNOWING[0])] = engine.told(told, loss, times)
    columns[column(OURS, KNOWING[1])] = engine.profiled(loss, times)
    columns[column(OURS, PRIVATE)] = engine.private(loss, times)
    present = {name: answers for name, answers in columns.items() if isinstance(answers, Answers)}
    return Round(
        epsilon,
        tuple(_scores(asked, present)),
        {name: answers.settings for name, answers in present.items()},
        {name: answers for name, answers in columns.items() if isinstance(answers, str)},
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
        "and the same range of each value, and the data keep to it. What they know beyond: in **hindsight**, for each "
        "question the bound with the least expected error on this very data, which nobody could know, each engine in "
        "its own forms; a **profile**, round figures of how rows and values spread over customers, by which our engine "
        "chooses, and for the peers it is done by hand, on customers made up from it; **private**: nothing but a limit "
        "that no customer reaches, and bounds are found from the data at a part of each question's price, for which "
        "the peers have no way. A ratio below 1 is a smaller error of ours."
    )
