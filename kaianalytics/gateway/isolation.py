"""The isolation level: what this gateway found when it started, and what is known of each kernel.

Laws:
1. The machine is tested when the gateway starts, by the code that confines kernels (`sandbox.probe`). A kernel's level
   is never above what was found.
2. Of a kernel the platform says at which level it started it and as which OS user. Who connected is the operating
   system's word: `full` takes three OS users, custodian, platform and kernel, none of the kernel's being root.
3. Whoever says nothing, or a word that is no level, has the weakest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaianalytics.protocol import FULL, GUARD_RAILS_ONLY, SANDBOXED, isolation_sentence, weakest
from kaianalytics.sandbox import probe


@dataclass(frozen=True)
class Statement:
    """What a platform says of a kernel that it is about to start."""

    level: str = GUARD_RAILS_ONLY
    kernel_uid: int = -1

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Statement:
        """The statement in a request's body; what is not stated is the weakest."""
        level, uid = body.get("isolation"), body.get("kernel_uid")
        return cls(level if isinstance(level, str) else GUARD_RAILS_ONLY, uid if type(uid) is int else -1)


@dataclass(frozen=True)
class Isolation:
    """The level that this machine was tested to reach with one OS user, and the OS user of the gateway."""

    machine: str
    custodian: int

    @classmethod
    def tested_now(cls) -> Isolation:
        """The machine, tried out."""
        return cls(SANDBOXED if probe.try_out().confined else GUARD_RAILS_ONLY, os.getuid())

    @property
    def sentence(self) -> str:
        """What is said where no kernel is asked of."""
        return isolation_sentence(self.machine)

    def of_kernel(self, stated: Statement, platform: int) -> str:
        """The level of a kernel that the OS user `platform` starts."""
        level = weakest(self.machine, stated.level)
        users = {self.custodian, platform, stated.kernel_uid}
        return FULL if level == SANDBOXED and len(users) == 3 and stated.kernel_uid > 0 else level
