"""One fuzzed home for the chapter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuzz.plain import Plain
from fuzz.world import FuzzWorld, make_world


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> FuzzWorld:
    """The home, which tests serve one at a time."""
    return make_world(tmp_path_factory.mktemp("fuzzed"))


@pytest.fixture(scope="module")
def plain(fuzzed: FuzzWorld) -> Iterator[Plain]:
    """Plain DuckDB on the permitted rows."""
    process = Plain(fuzzed.truth)
    yield process
    process.end()
