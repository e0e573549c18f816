"""What the tests of contracts share: copies of the project's own folders of contracts, to edit and to read."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from kaianalytics.custody.contracts import load
from kaianalytics.errors import ContractFault, ContractFaults
from kaianalytics.policy.contract import Contracts

SAMPLE = Path(__file__).parents[2] / "data_contracts"
COMPLETE_JOURNEY = SAMPLE / "complete_journey"


@cache
def sample() -> Contracts:
    """The sample's contracts, read once."""
    return load(SAMPLE)


class Folder:
    """A copy of a folder of contracts that a test may spoil."""

    def __init__(self, path: Path, source: Path = SAMPLE) -> None:
        self.path = path
        path.mkdir()
        for file in source.glob("*.yaml"):
            shutil.copy(file, path / file.name)

    def text(self, file: str) -> str:
        """The file's text."""
        return (self.path / file).read_text(encoding="utf-8")

    def write(self, file: str, text: str) -> None:
        """Replace the file's text."""
        (self.path / file).write_text(text, encoding="utf-8")

    def edit(self, file: str, old: str, new: str) -> int:
        """Replace the first `old` in the file by `new`; returns the line where it stood."""
        text = self.text(file)
        assert old in text, f"{file} holds no {old!r}: the test has nothing to spoil"
        self.write(file, text.replace(old, new, 1))
        return text[: text.index(old)].count("\n") + 1

    def load(self) -> Contracts:
        """The folder's contracts."""
        return load(self.path)

    def faults(self) -> tuple[ContractFault, ...]:
        """Every fault of the folder; none where it loads."""
        try:
            load(self.path)
        except ContractFaults as error:
            return error.faults
        return ()
