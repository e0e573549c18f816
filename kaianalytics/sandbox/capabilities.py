"""Capabilities given up: a confined process has none, and no program that it executes gets any.

As root with capabilities and a readable /proc, other processes' memory was readable despite Landlock.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from kaianalytics.sandbox import libc

_VERSION_3 = 0x20080522
_CLEAR_ALL = 4
_LAST_KNOWN = 40  # CAP_CHECKPOINT_RESTORE; the kernel says below which one is its last


def drop() -> None:
    """Give up every capability of this process, for good; OSError where one is still held."""
    libc.no_new_privileges()
    libc.prctl(libc.PR_CAP_AMBIENT, _CLEAR_ALL)
    for capability in range(_last() + 1):
        # only who may set capabilities can empty the bounding set; without it, no new privileges are gained by exec
        try:
            libc.prctl(libc.PR_CAPBSET_DROP, capability)
        except PermissionError:
            break
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0), 8)
    libc.capset(header, ctypes.create_string_buffer(24))
    if held() != 0:
        raise PermissionError(f"capabilities are still held: {held():x}")


def held() -> int:
    """The capabilities that this process has in any set that it could use or pass on, as bits."""
    with Path(f"/proc/{os.getpid()}/status").open(encoding="ascii") as status:
        sets = (line.split() for line in status if line.startswith(("CapInh", "CapPrm", "CapEff", "CapAmb")))
        found = 0
        for _, bits in sets:
            found |= int(bits, 16)
    return found


def _last() -> int:
    try:
        return int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    except OSError:
        return _LAST_KNOWN
