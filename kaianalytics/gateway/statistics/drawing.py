"""What a charge bought: the noisy numbers, and the profile that it found where it did, as they are kept in the records.

Laws: nothing here is exact; what is read back is what was written, value by value and type by type, for further answers
are made of it; what can't be read back is a fault, never a guess.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kaianalytics.errors import RecordsFault
from kaianalytics.privacy.canonical import canonical_text, from_json, to_json
from kaianalytics.privacy.plan import Noisy
from kaianalytics.privacy.unit import Profile

_PLAIN = frozenset({str, int, bool, type(None)})  # keys that JSON has: the rest are days


@dataclass(frozen=True)
class Drawn:
    """The noisy numbers of an answer; with bounds that were found from the data, the profile they were found by.

    `drawn_on` is the digest of the measurement that they were drawn by.
    """

    noisy: Noisy
    drawn_on: str
    profile: Profile | None = None

    def to_bytes(self) -> bytes:
        """The record of it."""
        cells = [[key if type(key) in _PLAIN else to_json(key) for key in cell] for cell in self.noisy.cells]
        written = {
            "cells": cells,
            "vectors": self.noisy.vectors,
            "profile": to_json(self.profile),
            "drawn_on": self.drawn_on,
        }
        return json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, record: bytes) -> Drawn:
        """What `to_bytes` wrote; RecordsFault RELEASE_UNREADABLE for anything else."""
        try:
            read = json.loads(record)
            vectors = tuple(tuple(vector) for vector in read["vectors"])
            found = None if read["profile"] is None else profile_of(read["profile"])
            return cls(Noisy(from_json(read["cells"]), vectors), str(read["drawn_on"]), found)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RecordsFault(
                "RELEASE_UNREADABLE",
                "The noisy numbers of a recorded release can't be read.",
                rule="answers are made of what was recorded (law 4)",
                hint="tell the custodian: the records were written by another version, or are damaged",
            ) from None


def profile_text(profile: Profile) -> str:
    """A profile as text, its decimals exact."""
    return canonical_text(to_json(profile))


def profile_of(read: Any) -> Profile:
    """The profile of JSON values; ValueError for anything else."""
    profile = from_json(read)
    if not isinstance(profile, Profile):
        raise ValueError("this is no profile")
    return profile
