"""Files of a workspace that are too old are removed, before a kernel starts in it and by `kai workspace sweep`.

1. What counts is when a file was made, as the file system keeps it: that time can't be set. A copy is a new file; who
   copies what must go keeps it against the rule, and the rule says so.
2. No link is followed: each file is removed through its own folder's descriptor. Links and empty folders stay.
3. The analyst is told: `REMOVED.txt` says when, why and how many.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

NOTE = "REMOVED.txt"
_WHY = (
    "Files from before {since} were removed from this workspace: the retention of the purpose's rows is over for "
    "them, or a customer has since asked that their data no longer be used. Keep code in notebooks; make data anew.\n"
    "Removed: {count}.\n"
)
_AT_EMPTY_PATH, _AT_SYMLINK_NOFOLLOW, _BTIME = 0x1000, 0x100, 0x800
_AT_BTIME = 80  # in struct statx


def sweep(workspace: Path, since: str) -> int:
    """Remove the workspace's files that were made before `since` (ISO, UTC); how many there were."""
    if not since or not workspace.is_dir() or workspace.is_symlink():
        return 0
    before = datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp()
    removed = sum(1 for folder, name in _old(workspace, before) if _unlinked(folder, name))
    if removed:
        _tell(workspace, since, removed)
    return removed


def _old(workspace: Path, before: float) -> Iterator[tuple[int, str]]:
    for _, _, names, folder in os.fwalk(workspace, follow_symlinks=False):
        for name in names:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(facts.st_mode) and made(folder, name, facts) < before:
                yield folder, name


def _unlinked(folder: int, name: str) -> bool:
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
        return True
    return False


def made(folder: int, name: str, facts: os.stat_result) -> float:
    """When a file was made; where the file system does not know, when its entry last changed."""
    if (told := getattr(facts, "st_birthtime", None)) is not None:
        return float(told)
    found = ctypes.create_string_buffer(256)
    with suppress(AttributeError):  # a C library without the call
        ctypes.CDLL(None).statx(folder, os.fsencode(name), _AT_SYMLINK_NOFOLLOW, _BTIME, found)
    known, seconds = struct.unpack_from("I", found)[0] & _BTIME, struct.unpack_from("q", found, _AT_BTIME)[0]
    return float(seconds) if known else facts.st_ctime


def _tell(workspace: Path, since: str, count: int) -> None:
    text = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n" + _WHY.format(since=since, count=count)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    # a link or a folder of that name is the kernel's, and stays as it is
    with suppress(OSError), os.fdopen(os.open(workspace / NOTE, flags, 0o660), "a", encoding="utf-8") as note:
        note.write(text)
