"""`make fuzz`: the long run. Statements, questions and decoders by chance, against a real gateway process.

    python tests/fuzz/run.py [--statements N] [--seed S] [--from NUMBER] [--seconds T] [--no-decoders]

One statement again: --seed S --from NUMBER --statements 1. The seed is shown first, and with each finding the
statement. Ends with 1 where anything was found. Everything happens in a temporary folder, in memory where there is one.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for fuzz and support

from support.real_world import Gateway

from fuzz import test_fuzzed_questions as plainly
from fuzz.asking import over_the_socket
from fuzz.making import statement
from fuzz.oracle import Finding, Oracle
from fuzz.plain import Plain
from fuzz.questions import Questions
from fuzz.watching import Watch, words_of
from fuzz.world import FuzzWorld, make_world

TESTS = Path(__file__).resolve().parent.parent
STATEMENTS, FINDINGS_MAX, EVERY = 100_000, 20, 1000
QUESTIONS_SHARE = 20  # one question for so many statements
MEMORY = Path("/dev/shm")


def main() -> int:
    """Run until the statements, the time or the patience with findings are at their end."""
    options = _options()
    say(f"seed {options.seed}, {options.statements:,} statements from {options.first:,}")
    place = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="kai-fuzz-", dir=place) as folder:
        found = of_statements(make_world(Path(folder)), options)
    found += of_questions(options)
    if not options.no_decoders:
        found += of_decoders()
    say(f"found: {found}")
    return min(found, 1)


def say(sentence: str) -> None:
    """Tell how it goes."""
    print(sentence, flush=True)


def of_statements(world: FuzzWorld, options: argparse.Namespace) -> int:
    """The findings among statements, and of what they left behind."""
    plain = Plain(world.truth)
    oracle = Oracle(plain, world.canaries)
    found, until = 0, time.monotonic() + options.seconds
    with world.gateway() as gateway:
        ask, before = over_the_socket(gateway), None
        for number in range(options.first, options.first + options.statements):
            oracle.origin = f"again: python tests/fuzz/run.py --seed {options.seed} --from {number} --statements 1"
            try:
                oracle.judge(statement(options.seed, number), ask)
            except Finding as finding:
                found += 1
                say(f"\nFINDING {finding}\n")
            before = before or Watch(gateway.process.pid)
            if number % EVERY == EVERY - 1:
                found += _checked(gateway, before, oracle.counts)
                ask = over_the_socket(gateway)  # another session, another worker
            if time.monotonic() > until or found > FINDINGS_MAX or gateway.process.poll() is not None:
                break
        found += _left_behind(gateway)
    plain.end()
    verified = "In order" in world.kai("audit", "verify")
    quiet = world.canaries_of_logs.search(words_of(world.root)) is None
    _told(oracle.counts)
    for holds, what in ((verified, "the audit chain does not verify"), (quiet, "a log holds a canary")):
        if not holds:
            found += 1
            say(f"FINDING {what}")
    return found


def _checked(gateway: Gateway, before: Watch, counts: Counter[str]) -> int:
    _told(counts)
    if gateway.process.poll() is not None:
        say(f"FINDING the gateway ended: {gateway.said()[-500:]}")
        return 1
    if leaked := before.leaked(workers=counts.total() // EVERY + 2):
        say(f"FINDING it leaks: {leaked}")
        return 1
    return 0


def _left_behind(gateway: Gateway) -> int:
    """One finding where the gateway does not end by itself, or leaves a process."""
    workers = gateway.workers()
    code = gateway.stop() if gateway.process.poll() is None else gateway.process.returncode
    left = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    if code or left:
        say(f"FINDING the gateway ended with {code}, and left {left}")
    return int(bool(code or left))


def _told(counts: Counter[str]) -> None:
    total = max(counts.total(), 1)
    shares = ", ".join(f"{word} {count:,}" for word, count in counts.most_common())
    say(f"{counts.total():>8,}  admitted {1 - counts['refused'] / total:.0%}: {shares}")


def of_questions(options: argparse.Namespace) -> int:
    """The findings among statistical questions, which need no gateway."""
    guard, shop = plainly.Guard(), plainly.plain_shop()
    counts: Counter[str] = Counter()
    found = 0
    for number in range(options.statements // QUESTIONS_SHARE):
        exact = number % 3 > 0
        sql = Questions(Random(f"{options.seed}/{number}")).one(exact=exact)
        try:
            counts[plainly.judged(guard, shop, sql, exact=exact)] += 1
        except Exception as error:  # whatever it is, it is a finding
            found += 1
            say(f"\nFINDING question {number} of seed {options.seed}: {type(error).__name__}: {error}\n{sql}\n")
            if found > FINDINGS_MAX:
                break
    guard.close()
    _told(counts)
    return found


def of_decoders() -> int:
    """One finding where Hypothesis, searching anew, finds anything in a decoder or a property."""
    environment = {**os.environ, "KAI_SEARCH": "1"}
    chapters = [str(TESTS / "fuzz" / "test_decoders.py"), str(TESTS / "property")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *chapters], env=environment, cwd=TESTS.parent, check=False
    )
    return int(done.returncode != 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The long run of the fuzzer.")
    parser.add_argument("--statements", type=int, default=STATEMENTS)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10**9)
    parser.add_argument("--no-decoders", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
