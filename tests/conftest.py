"""What every chapter of the tests shares: the support folder on the path, and no silent skips in CI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
for size in ("COLUMNS", "LINES"):  # of a terminal that nobody looks at: tables are as wide as a test says
    os.environ.pop(size, None)
pytest_plugins = ["support.real_world", "support.waiting"]

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember each skip with its reason."""
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where KAI_NO_SKIPS is set, a skipped test fails the run: nothing that CI should have is absent."""
    if os.environ.get("KAI_NO_SKIPS") and _skipped:
        print(f"\n{len(_skipped)} skipped under KAI_NO_SKIPS: {', '.join(_skipped)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# The ordinary run searches where it searched before, so that the main branch passes for all or for none. What chance
# finds is found by the long run (`make fuzz`), and a finding becomes an example of the ordinary one.
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("search" if os.environ.get("KAI_SEARCH") else "same")
