"""Running things as other OS users, for tests that are run as root: in sight of a Python that they can reach."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def reachable(command: Sequence[str | Path]) -> list[str]:
    """The command in a mount namespace of its own, where every user can reach this Python and this project.

    Root's Python may lie in a folder that is root's alone: that folder is replaced by one with only what is needed.
    """
    needed = {Path(os.path.realpath(path)) for path in (sys.base_prefix, sys.prefix, PROJECT)}
    steps = ["mount --make-rprivate /"]
    for closed in {closed for path in needed if (closed := _closed_above(path))}:
        inside = [path for path in needed if path.is_relative_to(closed)]
        aside = {path: tempfile.mkdtemp(prefix="kai-aside-") for path in inside}
        steps += [f"mount --bind {_q(path)} {_q(place)}" for path, place in aside.items()]
        steps += [f"mount -t tmpfs -o mode=0755 tmpfs {_q(closed)}"]
        for path, place in aside.items():
            steps += [f"mkdir -p {_q(path)}", f"mount --bind {_q(place)} {_q(path)}", f"umount {_q(place)}"]
            steps += [f"rmdir {_q(place)}"]
    script = " && ".join([*steps, 'exec "$@"'])
    return ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, command)]


def _closed_above(path: Path) -> Path | None:
    """The topmost folder above a path that others may not pass."""
    above = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001]
    return above[0] if above else None


def _q(path: object) -> str:
    return shlex.quote(str(path))
