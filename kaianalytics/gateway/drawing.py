"""What a charge bought: the noisy numbers, and the profile that it found where it did, as they are kept in the records.

Laws: nothing here is exact; what is read back is what was written, value by value and type by type, for further answers
are made of it; what can't be read back is a fault, never a guess.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from kaianalytics.errors import RecordsFault
from kaianalytics.privacy.plan import Noisy
from kaianalytics.privacy.unit import KeyValue, Profile, Quantiles


@dataclass(frozen=True)
class Drawn:
    """The noisy numbers of an answer; with bounds that were found from the data, the profile they were found by."""

    noisy: Noisy
    profile: Profile | None = None

    def to_bytes(self) -> bytes:
        """The record of it."""
        cells = [[_written(value) for value in cell] for cell in self.noisy.cells]
        found = None if self.profile is None else profile_text(self.profile)
        written = {"cells": cells, "vectors": self.noisy.vectors, "profile": found}
        return json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, record: bytes) -> Drawn:
        """What `to_bytes` wrote; RecordsFault RELEASE_UNREADABLE for anything else."""
        try:
            read = json.loads(record)
            cells = tuple(tuple(_read(value) for value in cell) for cell in read["cells"])
            vectors = tuple(tuple(vector) for vector in read["vectors"])
            found = None if read["profile"] is None else profile_of(read["profile"])
            return cls(Noisy(cells, vectors), found)
        except (ValueError, KeyError, TypeError, ArithmeticError):
            raise RecordsFault(
                "RELEASE_UNREADABLE",
                "The noisy numbers of a recorded release can't be read.",
                rule="answers are made of what was recorded (law 4)",
                hint="tell the custodian: the records were written by another version, or are damaged",
            ) from None


def profile_text(profile: Profile) -> str:
    """A profile as JSON text, its decimals exact."""
    totals = {column: _points(points) for column, points in sorted(profile.totals.items())}
    norms = {str(measure): _points(points) for measure, points in sorted(profile.norms.items())}
    return json.dumps({"units": profile.units, "rows": _points(profile.rows), "totals": totals, "norms": norms})


def profile_of(text: str) -> Profile:
    """The profile that `profile_text` wrote."""
    read = json.loads(text)
    totals = {column: _quantiles(points) for column, points in read["totals"].items()}
    norms = {int(measure): _quantiles(points) for measure, points in read["norms"].items()}
    return Profile(read["units"], _quantiles(read["rows"]), totals, norms)


def _points(points: Quantiles) -> list[list[str]]:
    return [[f"{share:f}", f"{most:f}"] for share, most in points]


def _quantiles(points: Sequence[Sequence[str]]) -> Quantiles:
    return tuple((Decimal(share), Decimal(most)) for share, most in points)


def _written(value: KeyValue) -> Any:
    """JSON has no dates: one stands in a list of its own, as no other key does."""
    return [value.isoformat()] if isinstance(value, date) else value


def _read(value: Any) -> KeyValue:
    if isinstance(value, list):
        (day,) = value
        return date.fromisoformat(day)
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError("no key is of this type")
