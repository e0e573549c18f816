"""Seccomp: which system calls are refused to this process and all that it starts, whatever Landlock would say.

1. Calls of another architecture than the machine's end the process: the numbers would mean other calls.
2. Calls that are newer than our table are answered ENOSYS: what nobody looked at is not there.
3. A process connects nowhere. Its sockets are Unix streams alone: over a datagram one could be sent to any path. Other
   families are answered EOPNOTSUPP, for EAFNOSUPPORT aborts libzmq.
4. Nothing that reaches into other processes, the kernel, mounts, namespaces, keyrings or shared memory without a file.
5. Without a view of its own (`namespaces`), a process also changes no file's mode, owner, times or attributes by path
   and watches none: Landlock does not ask for those, and all of the user's files are in sight. By descriptor it may.
   Nor does it change the limits, priority or processors of any other process.
6. A SQL worker starts nothing, opens no socket, opens no file for writing, and changes no file's attributes, by path
   or by descriptor. Of a device or a descriptor it asks only what sockets and files need, and it dies with its parent.

The program is classic BPF, written here by hand: a list of blocks that each answer one call, and a last word, allow.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from errno import EACCES, ENOSYS, EOPNOTSUPP, EPERM

from kaianalytics.sandbox import libc
from kaianalytics.sandbox.syscalls import LAST_KNOWN, NUMBERS

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


class Filter(StrEnum):
    """Whom a filter is for."""

    KERNEL = "kernel"  # an analyst's kernel that has a view of its own
    KERNEL_IN_SIGHT = "kernel in sight"  # one that sees the user's other files
    WORKER = "worker"  # a SQL worker


# What is refused, by why.
INTO_OTHERS = (
    "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd perf_event_open "
    "userfaultfd"
)
INTO_THE_SYSTEM = (
    "acct add_key adjtimex bpf clock_adjtime clock_settime delete_module fanotify_init fanotify_mark finit_module "
    "init_module ioperm iopl kexec_file_load kexec_load keyctl lookup_dcookie modify_ldt name_to_handle_at "
    "open_by_handle_at quotactl quotactl_fd reboot request_key setdomainname sethostname settimeofday swapoff swapon "
    "syslog vhangup"
)
INTO_MOUNTS = (
    "chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root setns "
    "umount2 unshare"
)
SHARED_WITHOUT_A_FILE = (
    "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget "
    "semop semtimedop shmat shmctl shmdt shmget"
)
PAST_THE_FILTER = "clone3 io_uring_enter io_uring_register io_uring_setup"  # their arguments can't be seen
BY_PATH = (
    "chmod chown fchmodat fchmodat2 fchownat file_setattr futimesat lchown lremovexattr lsetxattr removexattr "
    "removexattrat setxattr setxattrat utime utimes inotify_add_watch"
)
ONE_OF_OTHERS = "prlimit64 sched_setaffinity sched_setattr sched_setparam migrate_pages move_pages"
BY_DESCRIPTOR = "fchmod fchown fremovexattr fsetxattr"
STARTING = "execve execveat fork vfork"
OPENING = (
    "accept accept4 bind creat link linkat listen mkdir mkdirat mknod mknodat openat2 rename renameat renameat2 rmdir "
    "memfd_create memfd_secret socket socketpair symlink symlinkat truncate unlink unlinkat utimensat"
)

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000

_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF
_CLONE_NEW = 0x7E020000 | 0x80  # user, pid, net, uts, ipc, cgroup, mount and time namespaces
_CLONE_THREAD = 0x00010000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_TCGETS, _FIONBIO, _FIONCLEX, _FIOCLEX = 0x5401, 0x5421, 0x5450, 0x5451
_SET_DEATH_SIGNAL = 1  # of prctl
_IOPRIO_PROCESS = 1
_ANY_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE
_OPEN = {"open": 1, "openat": 2}  # and which of their arguments says what for
_SET_MODE_FILTER, _ALL_THREADS = 1, 1


@dataclass(frozen=True)
class Rule:
    """One call, and the instructions that decide it; they fall through where it is allowed."""

    call: str
    body: tuple[Instruction, ...]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def apply(kind: Filter) -> None:
    """Put the filter on every thread of this process, for good; OSError where that can't be."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program(kind, libc.MACHINE))
    held = _Program(len(code) // 8, code)
    libc.no_new_privileges()
    # a thread that could not be included is answered with its id
    if thread := libc.seccomp(_SET_MODE_FILTER, _ALL_THREADS, ctypes.addressof(held)):
        raise PermissionError(f"thread {thread} could not be confined")


def program(kind: Filter, machine: str) -> list[Instruction]:
    """The filter's instructions for a machine of `libc.MACHINES`."""
    column = libc.MACHINES.index(machine)
    made: list[Instruction] = [
        (_LOAD, 0, 0, _AT_ARCH),
        (_EQUAL, 1, 0, _ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_ABOVE, 0, 1, LAST_KNOWN),
        (_RETURN, 0, 0, _ERROR | ENOSYS),  # x32's calls too: they begin at 0x40000000
    ]
    for rule in rules(kind):
        number = NUMBERS[rule.call][column]
        if number is not None:
            made += _block(number, rule.body)
    return [*made, (_RETURN, 0, 0, _ALLOW)]


def rules(kind: Filter) -> list[Rule]:
    """What a filter decides, call by call."""
    made = [
        rule
        for calls in (INTO_OTHERS, INTO_THE_SYSTEM, INTO_MOUNTS, SHARED_WITHOUT_A_FILE)
        for rule in _refused(calls, EPERM)
    ]
    made += [*_refused(PAST_THE_FILTER, ENOSYS), *_refused("connect", EACCES)]
    made += [Rule("personality", (*_low(0), (_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, 0xFFFFFFFF), _error(EPERM)))]
    if kind is Filter.WORKER:
        return [*made, *_of_workers(), *_of_others()]
    made += [Rule("ioctl", (*_low(1), *_if_equal(_TIOCSTI, EPERM), *_if_equal(_TIOCLINUX, EPERM)))]
    made += [Rule("clone", (*_low(0), *_if_any(_CLONE_NEW, EPERM)))]
    made += [Rule(call, _unless_unix_stream()) for call in ("socket", "socketpair")]
    if kind is Filter.KERNEL_IN_SIGHT:
        made += [*_of_others(), Rule("utimensat", _unless_zero(1))]
    return made


def _of_workers() -> list[Rule]:
    """Law 6."""
    made = [*_refused(STARTING, EPERM), *_refused(OPENING, EPERM), *_refused(BY_DESCRIPTOR, EPERM)]
    made += [Rule("clone", (*_low(0), (_ANY_BIT, 1, 0, _CLONE_THREAD), _error(EPERM)))]
    made += [Rule(call, (*_low(place), *_if_any(_ANY_WRITING, EPERM))) for call, place in _OPEN.items()]
    made += [Rule("ioctl", _unless_low(1, _TCGETS, _FIONBIO, _FIONCLEX, _FIOCLEX))]
    made += [Rule("prctl", (*_low(0), *_if_equal(_SET_DEATH_SIGNAL, EPERM)))]
    return made


def _of_others() -> list[Rule]:
    """Law 5."""
    made = [*_refused(BY_PATH, EPERM)]
    made += [Rule(call, _unless_zero(0)) for call in ONE_OF_OTHERS.split()]  # 0 is this process
    # libzmq asks for the usual policy of each of its threads, and aborts without it
    made += [Rule("sched_setscheduler", _unless_zero(1))]
    made += [Rule("setpriority", (*_unless_low(0, 0), *_unless_zero(1)))]
    made += [Rule("ioprio_set", (*_unless_low(0, _IOPRIO_PROCESS), *_unless_zero(1)))]
    return made


def _refused(calls: str, error: int) -> list[Rule]:
    return [Rule(call, (_error(error),)) for call in calls.split()]


def _block(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    """The body, entered for this call alone; what falls out of it goes on with the call's number again."""
    again = [] if body[-1][0] == _RETURN and len(body) == 1 else [(_LOAD, 0, 0, _AT_NUMBER)]
    return [(_EQUAL, 0, len(body) + len(again), number), *body, *again]


def _low(argument: int) -> list[Instruction]:
    """The low half of an argument: both machines are little-endian."""
    return [(_LOAD, 0, 0, _AT_ARGUMENTS + 8 * argument)]


def _high(argument: int) -> list[Instruction]:
    return [(_LOAD, 0, 0, _AT_ARGUMENTS + 8 * argument + 4)]


def _error(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERROR | number)


def _if_equal(value: int, error: int) -> list[Instruction]:
    return [(_EQUAL, 0, 1, value), _error(error)]


def _if_any(bits: int, error: int) -> list[Instruction]:
    return [(_ANY_BIT, 0, 1, bits), _error(error)]


def _unless_unix_stream() -> tuple[Instruction, ...]:
    return (
        *_low(0),
        (_EQUAL, 1, 0, _AF_UNIX),
        _error(EOPNOTSUPP),
        *_low(1),
        (_AND, 0, 0, _SOCK_TYPE),
        (_EQUAL, 1, 0, _SOCK_STREAM),
        _error(EOPNOTSUPP),
    )


def _unless_zero(argument: int) -> tuple[Instruction, ...]:
    return (*_unless_low(argument, 0), *_high(argument), (_EQUAL, 1, 0, 0), _error(EPERM))


def _unless_low(argument: int, *values: int) -> tuple[Instruction, ...]:
    last = len(values) - 1
    return (
        *_low(argument),
        *((_EQUAL, 1 + last - place, 0, value) for place, value in enumerate(values)),
        _error(EPERM),
    )
