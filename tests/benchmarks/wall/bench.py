"""The wall, measured: each sentence that it is held to, through the real gateway, beside the plain tool.

python tests/benchmarks/wall/bench.py [PART …] [--sessions N]      prints them; `make bench` writes the page

aggregates   TPC-H Q1, Q3, Q6 on a `rows` contract          sessions   opened a second; small questions of many
many-rows    ten million rows of five columns               kernels    ready beside a plain kernel
leaks        thousands of sessions opened and closed
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

if __name__ == "__main__":
    _BENCHMARKS = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS.parent)]

from asking import Asker
from children import gateway
from page import Table

from wall.bars import Part, summary
from wall.kernels import kernels
from wall.leaks import SESSIONS, leaks
from wall.rows import aggregates, many_rows
from wall.sessions import sessions
from wall.world import NotMade, sample_home, tpch_home

HEAD = """# The wall, measured

<!-- Written by `make bench` (tests/benchmarks/run.py). Run it again instead of editing. -->

What the wall costs and what it leaves behind, through the real way: gateway process, socket, client. What is compared
was measured in turns in the same run; a bar is what the wall is held to, and what misses it is said.
"""


class Bench:
    """Two worlds, each made when it is first asked for: the sample's with many users, and TPC-H."""

    def __init__(self, work: Path, leaking: int = SESSIONS) -> None:
        self._work = work
        self._leaking = leaking

    @cached_property
    def sample(self) -> list[Asker]:
        """The sample's analysts."""
        return sample_home(self._work)

    @cached_property
    def tpch(self) -> Asker:
        """The analyst of TPC-H; NotMade where its generator is absent."""
        return tpch_home(self._work)

    def aggregates(self) -> Part:
        """Row-level aggregates."""
        with gateway(self.tpch.home):
            return aggregates(self.tpch)

    def many_rows(self) -> Part:
        """Ten million rows."""
        with gateway(self.tpch.home):
            return many_rows(self.tpch)

    def sessions(self) -> Part:
        """Sessions, and small questions."""
        with gateway(self.sample[0].home):
            return sessions(self.sample)

    def kernels(self) -> Part:
        """Kernels."""
        with gateway(self.sample[0].home):
            return kernels(self._work, self.sample[0])

    def leaks(self) -> Part:
        """What sessions leave."""
        home, temporary = self.sample[0].home, self._work / "temporary"
        temporary.mkdir()
        with gateway(home, TMPDIR=str(temporary)):
            pid = int(json.loads(home.gateway_info.read_text(encoding="utf-8"))["pid"])
            return leaks(self.sample, pid, temporary, self._leaking)


PARTS = ("aggregates", "many-rows", "sessions", "kernels", "leaks")


def wall(work: Path, names: Sequence[str] = PARTS, leaking: int = SESSIONS) -> list[Table]:
    """The bars first, then every part's own tables."""
    bench = Bench(work, leaking)
    parts = [_measured(name, getattr(bench, name.replace("-", "_"))) for name in names]
    return [summary(parts), *(table for part in parts for table in part.tables)]


def _measured(name: str, measure: Callable[[], Part]) -> Part:
    print(f"the wall: {name} …", file=sys.stderr, flush=True)
    try:
        return measure()
    except NotMade as reason:
        return Part(absent=f"{name}, for {reason}")


def main() -> None:
    """Measure what is named, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="how many the leaks are looked for in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kai-bench-") as folder:
        for table in partial(wall, Path(folder), options.parts or PARTS)(options.sessions):
            print(table.text())


if __name__ == "__main__":
    main()
