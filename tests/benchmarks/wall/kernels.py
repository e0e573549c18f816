"""A purpose's kernel beside a plain one: how long each takes until it answers."""

from __future__ import annotations

from pathlib import Path

from asking import Asker
from page import Table, duration
from starting import kernels_ready

from wall.bars import KERNEL_SECONDS, Part, at_most

TIMES = 9


def kernels(work: Path, asker: Asker) -> Part:
    """The table; the gateway must be running."""
    ready = kernels_ready(work / "kernels", asker, TIMES)
    ours, plain = ready["kai"].median, ready["plain"].median
    words = (
        "From the start to the first answer, in turns. A purpose's kernel has by then been granted its session, been "
        "confined, and has told its layers."
    )
    row = (duration(ours), duration(plain), duration(ours - plain), str(TIMES))
    table = Table("Kernels", words, ("a purpose's kernel", "plain ipykernel", "longer by", "n"), [row])
    held = at_most("a kernel is ready so much after a plain one", ours - plain, KERNEL_SECONDS, "see the table")
    return Part([held], [table])
