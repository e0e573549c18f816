"""The wall as an ordinary OS user has it: where the suite is run as root, its chapters on it once more without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.other_users import PROJECT, reachable

from kaianalytics.sandbox import confine

pytestmark = [
    pytest.mark.skipif(bool(confine.missing()), reason=confine.missing()),
    pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as an ordinary user already"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv (util-linux)"),
]
UID = "64123"  # nobody's
CHAPTERS = {
    "the layers": ["tests/integration/test_sandbox.py"],
    "ordinary work": ["tests/integration/test_ordinary_work.py"],
    "the provisioner": ["tests/integration/test_provisioner.py"],
    "attacks from workers": ["tests/attacks/test_worker_attacks.py", "-k", "main or every_thread"],
    "attacks": ["tests/attacks/test_kernel_attacks.py", "-k", "whole or no_namespaces or token or planted or outlives"],
}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_passes_without_root(chapter: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="kai-plain-"))
    os.chown(folder, int(UID), int(UID))
    become = ["setpriv", "--reuid", UID, "--regid", UID, "--clear-groups", "--bounding-set", "-all", "--no-new-privs"]
    run = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        folder / "t",
        *CHAPTERS[chapter],
    ]
    environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder), "USER": "nobody", "LOGNAME": "nobody"}
    try:
        done = subprocess.run(
            reachable([*become, *run]), cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        assert " passed" in done.stdout
    finally:
        shutil.rmtree(folder)
