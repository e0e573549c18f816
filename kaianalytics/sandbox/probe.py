"""What holds on this machine just now: a process is confined by the very code that confines kernels, and then tries.

1. A child is confined as a kernel is, around a folder of its own, and tries what must not work; another as a SQL worker
   is. Each trial says whether it went through; what it was after is real: a file, a process, a listening socket.
2. Only trials that were stopped count. A machine without an essential layer is not tried: it is not confined.
3. Nothing stays: the folder, the socket and the child are gone when the answer is there.

`python -I probe.py` is the child; `try_out` starts it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from kaianalytics.sandbox import capabilities, cgroups, confine, libc
from kaianalytics.sandbox.confine import Held
from kaianalytics.sandbox.confinement import EVERY_LAYER, GIB, Confinement, KernelLimits, Layer, kernel, worker
from kaianalytics.sandbox.limits import ResourceLimits
from kaianalytics.sandbox.syscalls import NUMBERS

SECONDS = 30.0
_CANARY = "canary"
_PACKAGE = Path(__file__).resolve().parent.parent
_AS_KERNEL, _AS_WORKER = "kernel", "worker"


@dataclass(frozen=True)
class Trial:
    """One thing that a confined process must not be able to do, and whether it was stopped."""

    name: str
    stopped: bool


@dataclass(frozen=True)
class Findings:
    """What was found: what the machine lacks, the layers and bounds that hold, and the trials."""

    lacks: str
    layers: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()

    @property
    def confined(self) -> bool:
        """Whether kernels and workers on this machine are confined: trials were made, and each was stopped."""
        return not self.lacks and bool(self.trials) and all(trial.stopped for trial in self.trials)


@dataclass(frozen=True)
class Outside:
    """What lies outside of the confinement, to be reached for."""

    folder: str
    process: int

    @property
    def file(self) -> str:
        """A file that this user may read and write."""
        return f"{self.folder}/{_CANARY}"

    @property
    def socket(self) -> str:
        """A socket that something listens on."""
        return f"{self.folder}/s"


def try_out(layers: frozenset[Layer] = EVERY_LAYER, user: tuple[int, int] | None = None) -> Findings:
    """Confine a child with `layers` and have it try, as the OS user (uid, gid) where one is given; what came of it."""
    if lacks := confine.missing():
        return Findings(lacks)
    with tempfile.TemporaryDirectory(prefix="kai-probe-") as temporary:
        folder = Path(os.path.realpath(temporary))
        folder.chmod(0o711)  # the child comes through, and sees nothing
        for name in ("workspace", "runtime", "outside"):
            (folder / name).mkdir(mode=0o700)
        outside = Outside(str(folder / "outside"), os.getpid())
        Path(outside.file).write_text(_CANARY, encoding="ascii")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(outside.socket)
            listener.listen()
            try:
                with _given(user, folder / "workspace", folder / "runtime"):
                    found = _ask(_AS_KERNEL, _kernel(folder, layers), outside, user)
                    also = _ask(_AS_WORKER, _worker(folder, layers), outside, user)
                    return replace(found, lacks=found.lacks or also.lacks, trials=found.trials + also.trials)
            except OSError:
                return Findings("No process of the kernels' OS user could be started with this Python.")


@contextmanager
def _given(user: tuple[int, int] | None, *folders: Path) -> Iterator[None]:
    """The folders as the user's, and afterwards this process's again, that they can be removed."""
    try:
        for folder in folders:
            os.chown(folder, *(user or (-1, -1)))
        yield
    finally:
        for folder in folders:
            os.chown(folder, os.getuid() if user else -1, -1)
            for made in folder.iterdir():
                os.chown(made, os.getuid() if user else -1, -1, follow_symlinks=False)


def _kernel(folder: Path, layers: frozenset[Layer]) -> Confinement:
    made = kernel(folder / "workspace", folder / "runtime", _PACKAGE, KernelLimits.of_this_machine())
    return replace(made, layers=layers)


def _worker(folder: Path, layers: frozenset[Layer]) -> Confinement:
    made = worker(folder / "store", _PACKAGE, ResourceLimits(GIB))
    return replace(made, layers=made.layers & layers)


def _ask(trials: str, made: Confinement, outside: Outside, user: tuple[int, int] | None) -> Findings:
    order = {"trials": trials, "confinement": made.to_json(), "outside": asdict(outside)}
    as_user: dict[str, Any] = {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}
    child = subprocess.Popen(
        [sys.executable, "-I", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
        **as_user,
    )
    with child:
        counted = cgroups.place(child.pid, made.memory, made.processes) if Layer.CGROUPS in made.layers else frozenset()
        try:
            said, _ = child.communicate(json.dumps(order), SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            said = ""
    cgroups.remove(child.pid)
    return _findings(said, counted)


def _findings(said: str, counted: frozenset[str]) -> Findings:
    try:
        facts = json.loads(said)
        trials = tuple(Trial(str(name), bool(stopped)) for name, stopped in facts["trials"])
        layers = (*facts["layers"], *((Layer.CGROUPS.value,) if counted else ()))
        return Findings("", layers, (*facts["bounds"], *sorted(counted)), trials)
    except (ValueError, KeyError, TypeError):
        return Findings("The confinement could not be applied to a process here.")


def main() -> None:
    """Read the order from standard input, be confined, try, and print what came of it."""
    order = json.loads(sys.stdin.read())
    outside = Outside(**order["outside"])

    def tried(held: Held) -> NoReturn:
        trials = [(name, _stopped(attempt, outside)) for name, attempt in TRIALS_AS[order["trials"]]]
        said = {"layers": sorted(held.layers), "bounds": sorted(held.bounds), "trials": trials}
        os.write(1, json.dumps(said).encode())
        os._exit(0)

    confine.run(Confinement.from_json(order["confinement"]), tried, keep=frozenset())


def _stopped(attempt: Callable[[Outside], object], outside: Outside) -> bool:
    """Whether the attempt came to nothing: an error, or nothing that is worth anything."""
    try:
        return not attempt(outside)
    except (OSError, ValueError):
        return True


def _read_a_file(outside: Outside) -> bool:
    return _CANARY in Path(outside.file).read_text(encoding="ascii")


def _write_a_file(outside: Outside) -> bool:
    return Path(outside.folder, "written").write_text("x", encoding="ascii") > 0


def _change_a_mode(outside: Outside) -> bool:
    Path(outside.file).chmod(0o644)
    return True


def _read_anothers_environment(outside: Outside) -> bool:
    # the process outside has started this one, so it has an environment
    return bool(Path(f"/proc/{outside.process}/environ").read_bytes())


def _signal_another(outside: Outside) -> bool:
    os.kill(outside.process, 0)
    return True


def _start_a_process(_: Outside) -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _connect_by_path(outside: Outside) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
        trying.connect(outside.socket)
    return True


def _open_a_socket(family: int, kind: int) -> Callable[[Outside], bool]:
    def attempt(_: Outside) -> bool:
        socket.socket(family, kind).close()
        return True

    return attempt


def _pair_of_datagrams(_: Outside) -> bool:
    for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        end.close()
    return True


def _call(name: str, *arguments: int) -> Callable[[Outside], bool]:
    """One system call, whose arguments would make it work where it is allowed."""

    def attempt(_: Outside) -> bool:
        numbers = NUMBERS[name]
        call = numbers[libc.MACHINES.index(libc.MACHINE)]
        return call is not None and libc.syscall(call, *arguments) >= 0

    return attempt


TRIALS: tuple[tuple[str, Callable[[Outside], object]], ...] = (
    ("read a file of this user outside of the workspace", _read_a_file),
    ("list a folder of this user outside of the workspace", lambda outside: list(Path(outside.folder).iterdir())),
    ("write a file outside of the workspace", _write_a_file),
    ("change the mode of a file outside of the workspace", _change_a_mode),
    ("read the environment of another process", _read_anothers_environment),
    ("send a signal to another process", _signal_another),
    ("connect to a Unix socket by its path", _connect_by_path),
    ("open an internet socket", _open_a_socket(socket.AF_INET, socket.SOCK_STREAM)),
    ("open a netlink socket", _open_a_socket(16, socket.SOCK_RAW)),
    ("open a datagram socket pair", _pair_of_datagrams),
    ("trace a process", _call("ptrace", 0)),
    ("make a user namespace", _call("unshare", 0x10000000)),
    ("attach shared memory without a file", _call("shmget", 0, 4096, 0o1600)),
    ("open a keyring", _call("keyctl", 0, -3, 1)),
    ("hold a capability", lambda _: capabilities.held()),
)

WORKER_TRIALS: tuple[tuple[str, Callable[[Outside], object]], ...] = (
    ("a SQL worker: read a file of this user", _read_a_file),
    ("a SQL worker: list a folder of this user", lambda outside: list(Path(outside.folder).iterdir())),
    ("a SQL worker: write a file", _write_a_file),
    ("a SQL worker: change the mode of a file", _change_a_mode),
    ("a SQL worker: send a signal to another process", _signal_another),
    ("a SQL worker: start a process", _start_a_process),
    ("a SQL worker: open a socket", _open_a_socket(socket.AF_UNIX, socket.SOCK_STREAM)),
    ("a SQL worker: connect to a Unix socket by its path", _connect_by_path),
)
TRIALS_AS = {_AS_KERNEL: TRIALS, _AS_WORKER: WORKER_TRIALS}


if __name__ == "__main__":
    main()
