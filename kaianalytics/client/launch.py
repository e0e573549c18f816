"""What kernels are started with: handed over in process, never by an environment, a file or an argument; and what is
said of them to the gateway before they start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaianalytics.errors import Fault
from kaianalytics.protocol import GUARD_RAILS_ONLY, SANDBOXED, SessionGrant
from kaianalytics.sandbox import confine

KERNEL_USER = "KAI_KERNEL_USER"  # the OS user that kernels run as, where that is another one than the server's


@dataclass(frozen=True)
class ReportLaunch:
    """A leased run's session, the gateway's socket, the run's own workspace, and the folder of kernelspecs."""

    grant: SessionGrant
    gateway_socket: Path
    workspace: Path
    kernels: Path

    @property
    def kernel_name(self) -> str:
        """The one kernelspec that serves the run's purpose."""
        return f"kai-{self.grant.purpose}"


@dataclass(frozen=True)
class KernelUser:
    """The OS user and group that a kernel runs as."""

    uid: int
    gid: int


def launched_level() -> str:
    """The level at which kernels are started from here, if they start: the launcher holds to it or ends."""
    return GUARD_RAILS_ONLY if confine.missing() else SANDBOXED


def kernel_user(environ: Mapping[str, str]) -> KernelUser | None:
    """The OS user of kernels, by KAI_KERNEL_USER, a name or `uid:gid`; None where they run as this process does."""
    if not (name := environ.get(KERNEL_USER, "")):
        return None
    if numbers := re.fullmatch(r"(\d+):(\d+)", name):
        return KernelUser(int(numbers[1]), int(numbers[2]))
    import pwd  # not on every system, and asked for on none but Linux

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Fault(
            "KERNEL_USER_UNKNOWN",
            f"{KERNEL_USER} names no OS user of this machine.",
            rule="a kernel never runs as another user than the one that was set up for it",
            hint="see docs/how-to/full-isolation.md",
        ) from None
    return KernelUser(entry.pw_uid, entry.pw_gid)


def kernel_statement(environ: Mapping[str, str]) -> dict[str, Any]:
    """What is said to the gateway of a kernel that is about to start: its level, and its OS user."""
    user = kernel_user(environ)
    return {"isolation": launched_level(), "kernel_uid": user.uid if user else os.getuid()}
