"""Resource limits in a process of their own: they hold, and what can't be set is told."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from kaianalytics.sandbox.limits import ResourceLimits

PROGRAM = """
import os, sys
from kaianalytics.sandbox import limits
held = limits.apply(limits.ResourceLimits(address_space=1 << 30, open_files=32))
print(sorted(held))
for name, attempt in {
    "memory": lambda: bytearray(2 << 30),
    "file": lambda: os.write(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), b"x"),
    "files": lambda: [os.open("/dev/null", os.O_RDONLY) for _ in range(64)],
}.items():
    try:
        attempt()
    except (MemoryError, OSError, ValueError):
        continue
    print("not held:", name)
"""


def test_limits_hold_in_the_process_that_applied_them(tmp_path: object) -> None:
    command = [sys.executable, "-c", PROGRAM, f"{tmp_path}/written"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if sys.platform == "linux":
        assert told == "['address space', 'core', 'file size', 'open files']\n"
    assert "not held" not in told


def test_who_has_computed_for_as_long_as_it_may_is_ended() -> None:
    program = """if True:
        from kaianalytics.sandbox import limits
        assert "processor time" in limits.apply(limits.ResourceLimits(1 << 40, processor_seconds=1))
        while True: pass
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGXCPU


def test_a_process_whose_parent_is_another_ends_at_once() -> None:
    program = "from kaianalytics.sandbox import limits; limits.die_with_parent(1 << 22); print('still here')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout == "") is (sys.platform == "linux")


@pytest.mark.parametrize("wrong", [{"address_space": 0}, {"address_space": 1, "open_files": 0}])
def test_a_limit_is_a_positive_number(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        ResourceLimits(**wrong)
