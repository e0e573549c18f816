"""The system calls that Python has no function for: each raises OSError, none is retried.

Linux on x86-64 and aarch64. On another system `supported` is False and nothing here is called.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

MACHINES = ("x86_64", "aarch64")
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())

# (x86-64, aarch64); the calls of Landlock and the newer ones of mounts have one number everywhere
_CLONE, _CAPSET, _SECCOMP, _PIVOT_ROOT = (56, 220), (126, 91), (317, 277), (155, 41)
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF, MOUNT_SETATTR = 444, 445, 446, 442

PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT = 38, 24, 47
_SIGCHLD = 17

_libc = ctypes.CDLL(None, use_errno=True)
# holds the interpreter's lock while it calls: in a cloned child there is no other thread to give it back
_holding = ctypes.PyDLL(None, use_errno=True)


def supported() -> bool:
    """Whether this is a system whose calls are known here."""
    return sys.platform == "linux" and MACHINE in MACHINES and sys.maxsize > 2**32


def number(of: tuple[int, int]) -> int:
    """This machine's number of a call."""
    return of[MACHINES.index(MACHINE)]


def syscall(call: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """One system call by its number."""
    return _checked(int(_libc.syscall(ctypes.c_long(call), *map(_argument, arguments))))


def prctl(option: int, *arguments: int) -> int:
    """prctl(2), its unused arguments zero as it demands."""
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(int(_libc.prctl(ctypes.c_int(option), *padded)))


def no_new_privileges() -> None:
    """From here on no program that is executed gains anything: what seccomp and Landlock ask for first."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    texts = [os.fsencode(text) if text else None for text in (source, target, kind)]
    _checked(int(_libc.mount(*texts, ctypes.c_ulong(flags), os.fsencode(data) if data else None)))


def detach(target: str) -> None:
    """umount2(2) with MNT_DETACH."""
    _checked(int(_libc.umount2(os.fsencode(target), 2)))


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    syscall(number(_PIVOT_ROOT), os.fsencode(new), os.fsencode(old))


def seccomp(operation: int, flags: int, program: int) -> int:
    """seccomp(2), `program` being an address."""
    return syscall(number(_SECCOMP), operation, flags, program)


def capset(header: ctypes.Array[ctypes.c_char], data: ctypes.Array[ctypes.c_char]) -> None:
    """capset(2)."""
    syscall(number(_CAPSET), header, data)


def fork_into(namespaces: int) -> int:
    """Fork a child that is the first process of new namespaces; as os.fork, 0 in the child.

    Only for a process with one thread: a second one's locks would stay held in the child.
    """
    arguments = [ctypes.c_long(value) for value in (number(_CLONE), namespaces | _SIGCHLD, 0, 0, 0, 0)]
    pid = int(_holding.syscall(*arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    return _checked(pid)


def _argument(value: int | bytes | ctypes.Array[ctypes.c_char] | None) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int) -> int:
    if result == -1:
        number_of_error = ctypes.get_errno()
        raise OSError(number_of_error, os.strerror(number_of_error))
    return result
