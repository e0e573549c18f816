"""The suite: a copy of the owner's world, every attack on it, and what came of each.

1. the copy is made, its stores are built, its gateway runs, and an attacker has a session for each purpose
2. what may be seen is asked for: a canary that is seen there shows that the search finds what there is
3. every attack is tried; all that comes back is searched for every canary
4. what lies about afterwards is searched: the custodian's log, and the attacker's workspace
5. the copy is removed
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from kaianalytics.attack import from_workers, in_kernels, in_workers
from kaianalytics.attack.attempts import Attack, Target, Trial, effect
from kaianalytics.attack.from_analysts import ROWS_ATTACKS, controls
from kaianalytics.attack.from_outside import LOG_ATTACKS, OUTSIDE_ATTACKS
from kaianalytics.attack.from_questions import STATISTICS_ATTACKS
from kaianalytics.attack.running import gateway_process
from kaianalytics.attack.world import World
from kaianalytics.gateway.workers.process import StoreSpec, WorkerLimits
from kaianalytics.policy.secure_views import views_sql
from kaianalytics.policy.views import store_plan
from kaianalytics.sandbox import confine

Tell = Callable[[str], None]
_LOCKED_OUT = frozenset(f"refused: TOKEN_{why}" for why in ("REVOKED", "EXPIRED", "INVALID")) | {"ended: 0"}
_QUICK_STEP = 16  # of the shipped statements, every so many


@dataclass(frozen=True)
class Result:
    """One attack on one purpose: its tries."""

    attack: str
    door: str
    purpose: str
    holds: tuple[str, ...]
    trials: tuple[Trial, ...]
    through: tuple[Trial, ...]

    @property
    def stopped_by(self) -> dict[str, int]:
        """How many tries each layer stopped."""
        return dict(Counter(trial.stopped_by for trial in self.trials if trial not in self.through).most_common())


@dataclass
class Outcome:
    """What came of all of it."""

    results: list[Result] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)  # by purpose: canaries that may be seen, and were
    controlled: set[str] = field(default_factory=set)  # purposes that have some
    notes: list[str] = field(default_factory=list)

    @property
    def through(self) -> list[tuple[Result, Trial]]:
        """Each try that went through."""
        return [(result, trial) for result in self.results for trial in result.through]

    @property
    def blind(self) -> list[str]:
        """Purposes whose canaries were not seen where they may be: the search can't be trusted there."""
        return sorted(purpose for purpose in self.controlled if not self.seen[purpose])

    @property
    def locked_out(self) -> list[tuple[Result, Trial]]:
        """Each question that was refused for its token, which was good: what it would have answered is not known."""
        asked = (result for result in self.results if result.door in ("rows", "statistics"))
        return [(result, trial) for result in asked for trial in result.trials if trial.outcome in _LOCKED_OUT]

    @property
    def unforeseen(self) -> list[tuple[Result, Trial]]:
        """Each try at which the gateway failed in a way that it does not know: none of them should."""
        return [(r, trial) for r in self.results for trial in r.trials if "INTERNAL" in trial.outcome]

    @property
    def tries(self) -> int:
        """How many tries there were."""
        return sum(len(result.trials) for result in self.results)


@dataclass(frozen=True)
class Order:
    """What is to be attacked: contracts, the day; and where wanted own sources, one purpose alone, all in brief."""

    contracts: Path
    as_of: date
    sources: Path | None = None
    purpose: str = ""
    quick: bool = False
    kernels: bool = True
    seed: int = 0


def run(order: Order, tell: Tell = lambda step: None) -> Outcome:
    """Every attack on a copy of the world of those contracts."""
    outcome = Outcome()
    with private_folder() as folder:
        tell("a copy of the world")
        world = World.create(folder, order.contracts, order.as_of, seed=order.seed, sources=order.sources)
        world.build()
        with gateway_process(world) as gateway:
            purposes = [p for p in world.contracts.purposes.open if order.purpose in ("", p)]
            targets = [Target(gateway, purpose, _QUICK_STEP if order.quick else 1) for purpose in purposes]
            for target in targets:
                _control(outcome, target, tell)
            with ThreadPoolExecutor(max(1, len(targets))) as threads:  # a purpose each: figures come in buckets of time
                for results in threads.map(lambda target: _all(target, target is targets[0], tell), targets):
                    outcome.results += results
            for target in [target for target in targets if target.rows][:1]:
                outcome.results += _workers(outcome, target, folder / "workers", tell)
            if targets and order.kernels:
                outcome.results += _kernels(outcome, targets[0], folder / "kernels", tell)
            for target in targets[:1]:
                outcome.results += [tried(attack, target) for attack in LOG_ATTACKS]
    return outcome


def _all(target: Target, first: bool, tell: Tell) -> list[Result]:
    results = []
    for attack in attacks_on(target, first=first):
        tell(f"{target.purpose}: {attack.name}")
        results.append(tried(attack, target))
    return results


def attacks_on(target: Target, *, first: bool) -> Iterator[Attack]:
    """The attacks that one purpose can be tried with; those that have nothing to do with a purpose on the first."""
    yield from ROWS_ATTACKS if target.rows else ()
    yield from STATISTICS_ATTACKS if target.statistics else ()
    yield from OUTSIDE_ATTACKS if first else ()


def tried(attack: Attack, target: Target) -> Result:
    """One attack with what came of it: whatever may not be seen counts, whatever the attack was after."""
    trials = tuple(attack.tries(target))
    through = tuple(trial for trial in trials if trial.effect or trial.found)
    return Result(attack.name, attack.door, target.purpose, attack.holds, trials, through)


def _control(outcome: Outcome, target: Target, tell: Tell) -> None:
    tell(f"{target.purpose}: what may be seen")
    if any(
        column.rule.action == "keep" and column.type != "boolean" for t in target.rows.values() for column in t.columns
    ):
        outcome.controlled.add(target.purpose)
    trials = tuple(controls(target))
    outcome.seen[target.purpose] += sum(len(trial.seen) for trial in trials)


def _workers(outcome: Outcome, target: Target, folder: Path, tell: Tell) -> Iterator[Result]:
    """Attacks from inside a worker whose engine was taken over, on a store of the copy."""
    if lacks := confine.missing():
        outcome.notes.append(f"Workers were not attacked from inside: they are not confined on this machine. {lacks}")
        return
    tell("a worker is started")
    folder.mkdir()
    contracts, limits = target.world.contracts, WorkerLimits()
    views = views_sql(store_plan(contracts, target.purpose, "rows"))
    spec = StoreSpec(target.purpose, "rows", target.world.store(target.purpose), views)
    other = next((purpose for purpose in contracts.purposes.open if purpose != target.purpose), target.purpose)
    with (
        in_workers.surroundings(folder, spec.path, target.world.store(other, "statistics"), limits) as facts,
        in_workers.victim(spec, limits, (), facts) as worker,
    ):
        for attack in from_workers.ATTACKS:
            if os.geteuid() == 0 or not attack.as_root:
                tell(f"worker: {attack.name}")
                came = worker.lets_through(attack, in_workers.MAIN), ""
                yield _inside(target, attack.name, "worker", tuple(sorted(attack.stopped_by)), came)


def _kernels(outcome: Outcome, target: Target, folder: Path, tell: Tell) -> Iterator[Result]:
    if lacks := confine.missing():
        outcome.notes.append(f"Kernels were not attacked: they are not confined on this machine. {lacks}")
        return
    tell("kernels: two are started")
    folder.mkdir()
    with in_kernels.attacked(target.gateway, target.purpose, folder) as kernel:
        for family, attacks in in_kernels.FAMILIES.items():
            for attack in attacks:
                if in_kernels.can_be_made(attack) and not (target.every > 1 and attack.name == in_kernels.HEAVY):
                    tell(f"kernel: {attack.name}")
                    holds = tuple(sorted(attack.stopped_by))
                    came = in_kernels.goes_through(kernel, attack.code)
                    yield _inside(target, attack.name, f"kernel: {family}", holds, came)
        for name, code in in_kernels.token_attacks(target).items():
            tell(f"kernel: {name}")
            came = in_kernels.goes_through(kernel, code)
            yield _inside(target, name, "kernel: tokens", in_kernels.token_layers(name), came)
        tell("kernel: all that can be read")
        canaries = target.world.canaries
        found = canaries.found(in_kernels.everything_readable(kernel, canaries.mark), kernel.told)
    found -= {place for place in found if target.world.may_be_seen(place, target.purpose)}
    trial = Trial("every file and process that can be read", "searched", "namespaces or landlock", found)
    through = (trial,) if found else ()
    yield Result("a canary in all that can be read", "kernel: files", target.purpose, (), (trial,), through)


def _inside(target: Target, name: str, door: str, holds: tuple[str, ...], came: tuple[bool, str]) -> Result:
    got, why = came
    trial = effect(Trial(name, "done" if got else f"stopped: {why}"[:100], " or ".join(holds)), "it was done", got)
    return Result(name, door, target.purpose, holds, (trial,), (trial,) if got else ())


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder of this process alone, gone when its block ends; its path is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="kai-attack-") as folder:
        yield Path(os.path.realpath(folder))
