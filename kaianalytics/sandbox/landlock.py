"""Landlock: what this thread and all that it starts may do with files, TCP ports and other processes.

1. Everything is denied that ABI 6 can deny; what is allowed hangs on a path that exists. A path that does not is an
   error: a rule that was silently left out would be found out by the analyst, not by us.
2. Below ABI 6 there are no scopes, so that signals and abstract sockets would go through: nothing is applied.
3. It restricts the calling thread and its children only. So it comes before any library starts threads, and a process
   that has a second thread already is refused: that one would stay free.

It does not restrict: connecting to a Unix socket by its path, UDP, stat, chmod, chown and utime of files outside.
Those are `seccomp`'s and `namespaces`'.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from kaianalytics.sandbox import libc

ABI_NEEDED: Final = 6  # Linux 6.12: scopes

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
MAKE_SOCK, MAKE_FIFO, MAKE_SYM, REFER = 1 << 9, 1 << 10, 1 << 12, 1 << 13
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15

READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
# device nodes are in no set: nobody makes one
WRITE = (
    READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | REFER
)  # fmt: skip
DEVICE = READ_FILE | WRITE_FILE

_EVERY_FILE_RIGHT = (1 << 16) - 1
_EVERY_TCP_RIGHT = 0b11  # bind, connect
_EVERY_SCOPE = 0b11  # abstract Unix sockets, signals
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # of the others, a rule on a file is refused
_CREATE_RULESET_VERSION, _RULE_PATH_BENEATH = 1, 1


def abi() -> int:
    """The version of Landlock that runs here; 0 where there is none."""
    if not libc.supported():
        return 0
    with suppress(OSError):
        return libc.syscall(libc.LANDLOCK_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    return 0


def restrict(rights: Mapping[str, int]) -> None:
    """Allow this thread `rights` beneath each path, and nothing else from here on; OSError where that can't be."""
    if threads() != 1:
        raise PermissionError("other threads would stay free")
    ruleset = _ruleset()
    try:
        for path, right in rights.items():
            _allow(ruleset, path, right)
        libc.no_new_privileges()
        libc.syscall(libc.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def threads() -> int:
    """How many threads this process has."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def rights(groups: Iterable[tuple[Iterable[str], int]]) -> dict[str, int]:
    """Paths with the sum of the rights of every group that they are in."""
    found: dict[str, int] = {}
    for paths, right in groups:
        for path in paths:
            found[path] = found.get(path, 0) | right
    return found


def _ruleset() -> int:
    handled = struct.pack("=QQQ", _EVERY_FILE_RIGHT, _EVERY_TCP_RIGHT, _EVERY_SCOPE)
    descriptor = libc.syscall(libc.LANDLOCK_CREATE_RULESET, handled, len(handled), 0)
    os.set_inheritable(descriptor, False)
    return descriptor


def _allow(ruleset: int, path: str, right: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            right &= _OF_FILES
        rule = struct.pack("=Qi", right, beneath)
        libc.syscall(libc.LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)
