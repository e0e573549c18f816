"""What could be tried from inside a SQL worker whose engine was taken over, and the layers that each stop it alone.

1. An attack is a function that is run in the worker's process, whose code could be anything by then; it goes through if
   it ends without an error and does not answer False. Or it is a statement, run on the worker's own connection as if no
   guard had read it; it goes through if it is answered.
2. `holds` names every layer that stops it by itself. So which attacks go through where layers are missing is known
   beforehand, exactly: those whose layers are all missing.
3. An attack leaves the world as it was, also where it goes through. What it is after is real, and holds the secret.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kaianalytics.sandbox import libc
from kaianalytics.sandbox.confinement import Layer
from kaianalytics.sandbox.syscalls import NUMBERS

LOCK = "engine lock"  # the engine's own settings, beside the operating system's layers
LIMITS, CAPABILITIES, LANDLOCK, SECCOMP = Layer.LIMITS, Layer.CAPABILITIES, Layer.LANDLOCK, Layer.SECCOMP
WRITING = (LIMITS, LANDLOCK, SECCOMP)
_PRIVILEGES = (CAPABILITIES, LANDLOCK, SECCOMP)
LAYERS: frozenset[str] = frozenset({LOCK, LIMITS, CAPABILITIES, LANDLOCK, SECCOMP})
_VERSION_3, _SIZE = 0x20080522, 4096
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602


@dataclass(frozen=True)
class Facts:
    """All that the attacker could be after, which it is taken to know."""

    secret: str
    file: str  # holds the secret, as do the files `table-<n>.csv` beside it
    scratch: str
    folder: str
    store: str
    other_store: str
    process: int  # has the secret in memory, at `address`
    address: int
    listener: str
    port: int
    word: str  # what an abstract socket listens on
    memory: int  # more bytes than a worker may have
    open_files: int  # more than it may have open


@dataclass(frozen=True)
class Attack:
    """One attack: a name, what is tried, and the layers of which each stops it."""

    name: str
    tried: Callable[[Facts], object] | str
    holds: tuple[str, ...]
    as_root: bool = False  # only root could ever do it
    optional: bool = False  # what it asks for is not on each system
    by_capabilities: bool = False  # it reaches into a process that has some where all is run as root, and needs as many

    @property
    def stopped_by(self) -> frozenset[str]:
        """The layers that each stop it here."""
        more = {CAPABILITIES} if self.by_capabilities and os.geteuid() == 0 else set()
        return frozenset({*self.holds, *more})


def _call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    number = NUMBERS[name][libc.MACHINES.index(libc.MACHINE)]
    if number is None:
        raise OSError(f"there is no {name} here")
    return libc.syscall(number, *arguments)


def _opened(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> None:
    """A call that gives a descriptor."""
    os.close(_call(name, *arguments))


def _ended(pid: int) -> None:
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


# Files


def _read(path: str, facts: Facts) -> bool:
    return facts.secret in Path(path).read_text(encoding="utf-8", errors="replace")


def _read_without_rights_first(facts: Facts) -> bool:
    descriptor = os.open(facts.file, os.O_PATH)
    try:
        return _read(f"/proc/self/fd/{descriptor}", facts)
    finally:
        os.close(descriptor)


def _append(facts: Facts) -> bool:
    with Path(facts.scratch).open("a", encoding="utf-8") as file:
        return bool(file.write("x"))


def _made(make: Callable[[Path], object], take_away: Callable[[Path], object] = Path.unlink) -> Callable[[Facts], None]:
    """Makes something in the folder, and takes it away again."""

    def attempt(facts: Facts) -> None:
        place = Path(facts.folder, f"made-{os.getpid()}")
        make(place)
        take_away(place)

    return attempt


def _on_the_stores_descriptor(work: Callable[[int], object]) -> Callable[[Facts], None]:
    def attempt(facts: Facts) -> None:
        descriptor = os.open(facts.store, os.O_RDONLY)
        try:
            work(descriptor)
        finally:
            os.close(descriptor)

    return attempt


def _keep_the_mode(descriptor: int) -> None:
    os.fchmod(descriptor, os.fstat(descriptor).st_mode & 0o777)


def _set_flags(descriptor: int) -> None:
    flags = ctypes.create_string_buffer(8)
    _call("ioctl", descriptor, _GET_FLAGS, flags)
    _call("ioctl", descriptor, _SET_FLAGS, flags)


def _delete_and_put_back(facts: Facts) -> None:
    Path(facts.scratch).unlink()
    os.close(os.open(facts.scratch, os.O_CREAT | os.O_RDONLY, 0o600))


def _move_and_put_back(facts: Facts) -> None:
    Path(facts.scratch).rename(facts.scratch + ".moved")
    Path(facts.scratch + ".moved").rename(facts.scratch)


FILES = (
    Attack("read a file of the custodian", lambda f: _read(f.file, f), (LANDLOCK,)),
    Attack("read another purpose's store", lambda f: Path(f.other_store).read_bytes(), (LANDLOCK,)),
    Attack("list the folder of the stores", lambda f: list(Path(f.folder).iterdir()), (LANDLOCK,)),
    Attack("read through /proc/self/root", lambda f: _read(f"/proc/self/root{f.file}", f), (LANDLOCK,)),
    Attack("read by a descriptor that was opened without rights", _read_without_rights_first, (LANDLOCK,)),
    Attack("read the list of accounts", lambda _: Path("/etc/passwd").read_text(encoding="utf-8"), (LANDLOCK,)),
    Attack("read what processes there are", lambda _: list(Path("/proc").iterdir()), (LANDLOCK,)),
    Attack("write into a file", _append, WRITING),
    Attack("open the own store for writing", lambda f: Path(f.store).open("r+b").close(), (LANDLOCK, SECCOMP)),
    Attack("empty a file", lambda f: os.truncate(f.scratch, 0), (LANDLOCK, SECCOMP)),
    Attack("make a file", _made(Path.touch), (LANDLOCK, SECCOMP)),
    Attack("make a folder", _made(Path.mkdir, Path.rmdir), (LANDLOCK, SECCOMP)),
    Attack("make a link", _made(lambda place: place.symlink_to("/")), (LANDLOCK, SECCOMP)),
    Attack("make a pipe with a name", _made(os.mkfifo), (LANDLOCK, SECCOMP)),
    Attack("delete a file", _delete_and_put_back, (LANDLOCK, SECCOMP)),
    Attack("move a file", _move_and_put_back, (LANDLOCK, SECCOMP)),
    Attack("change the mode of a file", lambda f: Path(f.scratch).chmod(0o600), (SECCOMP,)),
    Attack("change the mode of the own store by its descriptor", _on_the_stores_descriptor(_keep_the_mode), (SECCOMP,)),
    Attack("change the times of a file", lambda f: os.utime(f.scratch), (SECCOMP,)),
    Attack("mark a file", lambda f: os.setxattr(f.scratch, "user.mark", b"x"), (SECCOMP,), optional=True),
    Attack("change the flags of the own store", _on_the_stores_descriptor(_set_flags), (SECCOMP,), optional=True),
    Attack("make a file in memory", lambda f: _opened("memfd_create", f.word.encode(), 0), (SECCOMP,)),
)

# Processes


def _run_a_program(_: Facts) -> bool:
    program = "/bin/true"
    return os.waitpid(os.posix_spawn(program, [program], {}), 0)[1] == 0


def _fork_by_its_number(_: Facts) -> None:
    # holds the interpreter's lock, as a child without other threads must
    number = libc.number((56, 220))
    _ended(_forked(ctypes.PyDLL(None).syscall(number, signal.SIGCHLD, 0, 0, 0, 0)))


def _forked(pid: int) -> int:
    if pid < 0:
        raise OSError("no process was started")
    return pid


def _signal_by_a_descriptor(facts: Facts) -> None:
    descriptor = os.pidfd_open(facts.process)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGCONT)
    finally:
        os.close(descriptor)


def _read_memory(facts: Facts) -> bool:
    size = len(facts.secret)
    found = ctypes.create_string_buffer(size)
    here, there = struct.pack("QQ", ctypes.addressof(found), size), struct.pack("QQ", facts.address, size)
    return _call("process_vm_readv", facts.process, here, 1, there, 1, 0) == size and facts.secret.encode() in found.raw


def _take_a_descriptor(facts: Facts) -> None:
    descriptor = os.pidfd_open(facts.process)
    try:
        _opened("pidfd_getfd", descriptor, 0, 0)
    finally:
        os.close(descriptor)


def _slow_down(facts: Facts) -> None:
    os.setpriority(os.PRIO_PROCESS, facts.process, os.getpriority(os.PRIO_PROCESS, facts.process))


def _limit(facts: Facts) -> None:
    kind = resource.RLIMIT_CPU
    resource.prlimit(facts.process, kind, resource.prlimit(facts.process, kind))


def _move_to_a_processor(facts: Facts) -> None:
    os.sched_setaffinity(facts.process, os.sched_getaffinity(facts.process))


def _capabilities(_: Facts) -> bool:
    header, data = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0), 8), ctypes.create_string_buffer(24)
    if ctypes.CDLL(None).capget(header, data) != 0:
        raise OSError("capabilities can't be asked for")
    return any(data.raw)


PROCESSES = (
    Attack("start a process", lambda _: _ended(os.fork()), (SECCOMP,)),
    Attack("start a process by the call's number", _fork_by_its_number, (SECCOMP,)),
    Attack("run a program", _run_a_program, (LANDLOCK, SECCOMP)),
    Attack("signal the gateway", lambda f: os.kill(f.process, signal.SIGCONT), (LANDLOCK,)),
    Attack("signal the gateway by a descriptor", _signal_by_a_descriptor, (LANDLOCK,)),
    Attack(
        "read the gateway's environment",
        lambda f: Path(f"/proc/{f.process}/environ").read_bytes(),
        (LANDLOCK,),
        by_capabilities=True,
    ),
    Attack("read the gateway's memory", _read_memory, (LANDLOCK, SECCOMP), optional=True, by_capabilities=True),
    Attack(
        "take a descriptor of the gateway", _take_a_descriptor, (LANDLOCK, SECCOMP), optional=True, by_capabilities=True
    ),
    Attack("slow the gateway down", _slow_down, (SECCOMP,), by_capabilities=True),
    Attack("limit the gateway", _limit, (SECCOMP,)),
    Attack("move the gateway to one processor", _move_to_a_processor, (SECCOMP,), by_capabilities=True),
    Attack("outlive the gateway", lambda _: libc.prctl(1, 0) == 0, (SECCOMP,)),
    Attack("hold capabilities", _capabilities, (CAPABILITIES,), as_root=True),
    Attack("join other groups", lambda _: os.setgroups(os.getgroups()), (CAPABILITIES,), as_root=True),
    # optional, for whoever starts all this may have given them up already
    Attack("gain privileges by a program", lambda _: libc.prctl(39) == 0, _PRIVILEGES, optional=True),
)

# Sockets


def _connected(family: int, address: Callable[[Facts], str | tuple[str, int]]) -> Callable[[Facts], None]:
    def attempt(facts: Facts) -> None:
        with socket.socket(family) as trying:
            trying.settimeout(10)
            trying.connect(address(facts))

    return attempt


def _socket(family: int, kind: int) -> Callable[[Facts], None]:
    return lambda _: socket.socket(family, kind).close()


def _pair(_: Facts) -> None:
    for end in socket.socketpair():
        end.close()


def _listen(_: Facts) -> None:
    with closing(socket.socket()) as trying:
        trying.bind(("127.0.0.1", 0))
        trying.listen()


def _over_datagrams(facts: Facts) -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as trying:
        return trying.sendto(facts.secret.encode(), ("127.0.0.1", facts.port))


SOCKETS = (
    Attack("connect to the gateway's socket", _connected(socket.AF_UNIX, lambda f: f.listener), (SECCOMP,)),
    Attack("connect to an abstract socket", _connected(socket.AF_UNIX, lambda f: "\0" + f.word), (LANDLOCK, SECCOMP)),
    Attack("connect to a port", _connected(socket.AF_INET, lambda f: ("127.0.0.1", f.port)), (LANDLOCK, SECCOMP)),
    Attack("listen on a port", _listen, (LANDLOCK, SECCOMP)),
    Attack("send a datagram", _over_datagrams, (SECCOMP,)),
    Attack("open a socket", _socket(socket.AF_INET, socket.SOCK_STREAM), (SECCOMP,)),
    Attack("open a netlink socket", _socket(16, socket.SOCK_RAW), (SECCOMP,)),
    Attack("open a pair of sockets", _pair, (SECCOMP,)),
    Attack(
        "connect past the filter by io_uring",
        lambda _: _opened("io_uring_setup", 4, ctypes.create_string_buffer(120)),
        (SECCOMP,),
        optional=True,
    ),
)

# What a machine shares


def _shared_memory(_: Facts) -> None:
    ctypes.CDLL(None).shmctl(_call("shmget", 0, _SIZE, 0o1600), 0, None)


def _take_memory(facts: Facts) -> None:
    mmap.mmap(-1, facts.memory, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def _open_files(facts: Facts) -> None:
    opened: list[int] = []
    try:
        while len(opened) < facts.open_files:
            opened.append(os.dup(0))
    finally:
        for descriptor in opened:
            os.close(descriptor)


RESOURCES = (
    Attack("make shared memory", _shared_memory, (SECCOMP,)),
    Attack("ask for a keyring", lambda _: _call("keyctl", 0, -3, 1) > 0, (SECCOMP,), optional=True),
    Attack("hold a page fault of the system's kernel", lambda _: _opened("userfaultfd", 1), (SECCOMP,), optional=True),
    Attack("take memory without end", _take_memory, (LIMITS,)),
    Attack("open files without end", _open_files, (LIMITS,)),
    Attack("have a core file written", lambda _: resource.getrlimit(resource.RLIMIT_CORE)[1] != 0, (LIMITS,)),
    Attack("compute without end", lambda _: resource.getrlimit(resource.RLIMIT_CPU)[1] == -1, (LIMITS,)),
)

# The engine, asked without a guard. {file}, {folder}, {store} and {other_store} are those of the facts.

STATEMENTS = (
    Attack("SQL: read the own store as bytes", "SELECT count(content) FROM read_blob('{store}')", (LOCK,)),
    Attack("SQL: attach the own store again", "ATTACH '{store}' AS again (READ_ONLY); DETACH again", (LOCK,)),
    Attack("SQL: read a file of the custodian", "SELECT content FROM read_text('{file}')", (LOCK, LANDLOCK)),
    Attack("SQL: read a list of files on every thread", "FROM read_csv('{folder}/table-*.csv')", (LOCK, LANDLOCK)),
    Attack(
        "SQL: read one large file on every thread",
        "SELECT count(*) FROM read_csv('{folder}/table-0.csv', buffer_size=65536, max_line_size=1000, parallel=true)",
        (LOCK, LANDLOCK),
    ),
    Attack("SQL: attach another store", "ATTACH '{other_store}' AS other (READ_ONLY); DETACH other", (LOCK, LANDLOCK)),
    Attack("SQL: name a file as a table", "SELECT count(*) FROM '{folder}/table-0.csv'", (LOCK, LANDLOCK)),
    Attack("SQL: write a file", "COPY (SELECT 1) TO '{folder}/copied.csv'", (LOCK, *WRITING)),
    Attack("SQL: make a database", "ATTACH '{folder}/made.duckdb' AS made; DETACH made", (LOCK, *WRITING)),
    Attack("SQL: take more memory", "SET memory_limit='64GB'", (LOCK,)),
    Attack("SQL: take more threads", "SET threads=64", (LOCK,)),
    Attack("SQL: spill to a folder", "SET temp_directory='{folder}'", (LOCK,)),
    Attack("SQL: allow extensions by themselves", "SET autoinstall_known_extensions=true", (LOCK,)),
)

CALLS = (*FILES, *PROCESSES, *SOCKETS, *RESOURCES)
ATTACKS = (*CALLS, *STATEMENTS)
