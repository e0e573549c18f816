"""The peers' environments: each peer's own, made once by pip from its pins, in the user's cache and never in ours.

A peer that can't be installed is absent, with the reason; the benchmark goes on without it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_SECONDS = 600


@dataclass(frozen=True)
class Environment:
    """A peer's interpreter and runner, or why there is none."""

    script: Path
    python: Path | None
    absent: str = ""


def environment(peer: str, pinned_in: Path = _HERE) -> Environment:
    """That of `peer`: made now, if it isn't there from an earlier run with the same pins."""
    pins = pinned_in / f"requirements-{peer}.txt"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = _cache() / f"{peer}-{digest}"
    python = folder / "bin" / "python"
    script = _HERE / f"peer_{peer}.py"
    if not (folder / "ready").exists():
        reason = _made(folder, python, pins)
        if reason:
            return Environment(script, None, reason)
        (folder / "ready").touch()
    return Environment(script, python)


def _made(folder: Path, python: Path, pins: Path) -> str:
    """Make the environment; why not, if it can't be made."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--requirement", str(pins)]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], pip):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as failure:
            return type(failure).__name__
        if ran.returncode != 0:
            return ran.stderr.strip().rsplit("\n", maxsplit=1)[-1][:200] or f"{command[1]} ended with {ran.returncode}"
    return ""


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "kaianalytics-bench"
