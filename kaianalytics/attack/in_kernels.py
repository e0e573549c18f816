"""Real kernels for the attacks of `from_kernels`: started by the platform's own provisioner, and told everything.

The world around them is real: a victim's kernel with its channels, files that hold canaries, listening sockets, a
terminal, shared memory. The attacker's kernel is told every path, process and token that it could be after.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from kaianalytics.attack import layers as L
from kaianalytics.attack.attempts import Target
from kaianalytics.attack.canaries import Place
from kaianalytics.attack.from_kernels import (
    ASK,
    FILES,
    MEMORY_WITHOUT_FILES,
    PRELUDE,
    PROCESSES,
    RESOURCES,
    SOCKETS,
    TOKEN_ATTACKS,
    Attack,
)  # fmt: skip
from kaianalytics.attack.running import Gateway
from kaianalytics.attack.world import ATTACKER, VICTIM
from kaianalytics.custody.home import Home
from kaianalytics.errors import Fault
from kaianalytics.lab import environment, kernelspecs, launcher
from kaianalytics.lab.server import KaiKernelSpecs
from kaianalytics.sandbox import libc
from kaianalytics.sandbox.confinement import KernelLimits
from kaianalytics.sandbox.syscalls import NUMBERS

READY_SECONDS = 60
WORD = "kai-attack-word"
PACKAGE = Path(launcher.__file__).parents[1]
ELSEWHERE = Place("another kernel's files, memory and sockets")
FAMILIES: Mapping[str, tuple[Attack, ...]] = {
    "files": FILES, "processes": PROCESSES, "sockets": SOCKETS, "memory": MEMORY_WITHOUT_FILES, "resources": RESOURCES,
}  # fmt: skip
HEAVY = "fork without end"  # takes seconds, and all processes that a kernel may have
# whatever can be read is read, but for programs; the mark is written backwards, or the search would find itself
_SEARCH = """
import re
mark, found = re.compile({mark!r}[::-1].encode() + b'[a-z]{{8}}', re.I), set()
skipped = ('/proc', '/sys', '/usr', '/lib', '/lib64', '/bin', '/sbin', '/dev', sys.prefix, sys.base_prefix)
for top, folders, names in os.walk('/'):
    folders[:] = [f for f in folders if os.path.join(top, f) not in skipped]
    for name in names[:2000]:
        try: found |= set(mark.findall(open(os.path.join(top, name), 'rb').read(1 << 22)))
        except OSError: pass
for path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'):
    try: found |= set(mark.findall(open(path, 'rb').read()))
    except OSError: pass
print([word.decode() for word in found])
"""


@dataclass(frozen=True)
class Around:
    """What there is around a kernel: the custodian's home, a store of it, somebody's token, the gateway's socket and
    process.
    """

    home: Home
    store: Path
    identity: Path
    socket: Path
    gateway: int


@dataclass
class Said:
    """What a cell printed, and the error it ended in."""

    printed: str = ""
    error: dict[str, Any] = field(default_factory=dict)
    everything: str = ""


@dataclass
class Kernel:
    """A running kernel and a client of it."""

    manager: KernelManager
    client: BlockingKernelClient
    told: str = ""  # what the attacker was told, secrets among it

    def run(self, code: str) -> Said:
        """Run a cell to its end."""
        said = Said()

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            said.everything += json.dumps(content, default=str)
            if message["msg_type"] == "stream":
                said.printed += content["text"]
            elif message["msg_type"] == "error":
                said.error = content

        self.client.execute_interactive(code, output_hook=hear, timeout=READY_SECONDS, allow_stdin=False)
        return said

    @property
    def program(self) -> int:
        """The process that runs the notebook's code, which the launcher's waiting processes started."""
        parents = running_processes()
        pid = self.pid
        while children := [child for child, parent in parents.items() if parent == pid]:
            pid = max(children)
        return pid

    @property
    def pid(self) -> int:
        """The kernel's first process."""
        provisioner: Any = self.manager.provisioner
        return int(provisioner.pid)

    def restart(self) -> None:
        """Restart the kernel and wait for it."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(READY_SECONDS)


@contextmanager
def running(manager: KernelManager) -> Iterator[Kernel]:
    """The kernel of `manager`, from ready until it is gone."""
    with started(manager) as client:
        yield Kernel(manager, client)


@contextmanager
def started(manager: KernelManager) -> Iterator[BlockingKernelClient]:
    """A client of the kernel of `manager`, from ready until it is gone."""
    manager.start_kernel()
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(READY_SECONDS)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@contextmanager
def platform(gateway: Gateway, user: str, workspaces: Path) -> Iterator[None]:
    """This process as a person's platform on that gateway; put back afterwards."""
    ours = {
        environment.SOCKET: str(gateway.socket),
        environment.IDENTITY: str(gateway.world.token_file(user)),
        environment.WORKSPACES: str(workspaces),
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def manager_of(share: Path, purpose: str) -> KernelManager:
    """A manager of that purpose's kernels, whose kernelspec is written beneath `share`."""
    kernelspecs.install([(purpose, "Attacked")], share)
    specs = KaiKernelSpecs(kernel_dirs=[str(share / "kernels")])
    return KernelManager(kernel_name=kernelspecs.spec_name(purpose), kernel_spec_manager=specs)


@contextmanager
def attacked(gateway: Gateway, purpose: str, folder: Path) -> Iterator[Kernel]:
    """The attacker's kernel with everything told, and a victim's beside it."""
    other = next((key for key in gateway.world.contracts.purposes.open if key != purpose), purpose)
    workspaces = folder / "workspaces"
    secret = gateway.world.canaries.word(ELSEWHERE)
    with ExitStack() as open_:
        with platform(gateway, VICTIM, workspaces):
            victim = open_.enter_context(running(manager_of(folder / "victims", other)))
        if victim.run(f"open('other.txt', 'w').write({secret!r})").error:
            raise Fault("NO_KERNEL", "The victim's kernel did not start its work.")
        world = gateway.world
        around = Around(world.home, world.store(other), world.token_file(VICTIM), gateway.socket, gateway.pid)
        facts = files(folder, around, victim, secret, workspaces / VICTIM / other)
        facts |= open_.enter_context(listeners(folder, secret))
        with platform(gateway, ATTACKER, workspaces):
            attacker = open_.enter_context(running(manager_of(folder / "attackers", purpose)))
            earlier = attacker.run(f"{ASK}\nprint(own)").printed.strip()
            attacker.restart()
            told = {**facts, **tokens(gateway, other), "earlier_token": earlier}
            know(attacker, {**told, "own_channel": f"{attacker.manager.ip}-1"})
            yield attacker


def tokens(gateway: Gateway, other: str) -> dict[str, Any]:
    """Every token that the attacker is not to have."""
    line = gateway.session(ATTACKER, other, "others")
    return {
        "other_token": line.token,
        "other_binding": line.bound.decode(),
        "kaitos_token": gateway.session(VICTIM, other, "victims").token,
        "identity_token": gateway.world.token_file(VICTIM).read_text(encoding="ascii").strip(),
    }


def files(folder: Path, around: Around, victim: Kernel, secret: str, others: Path) -> dict[str, Any]:
    """Paths and processes; what is to be read holds the secret. `others` is the victim's workspace."""
    home, runtime, limits = around.home, Path(victim.manager.ip).parent, KernelLimits.of_this_machine()
    made = {name: folder / name for name in ("outside_file", "outside_scratch", "outside_deletable", "outside_move")}
    made |= {"notebook": folder / "a.ipynb", "checkpoint": others / ".ipynb_checkpoints" / "a-checkpoint.ipynb"}
    made |= {"history": others / ".ipython" / "planted-history.sqlite"}
    for path in made.values():
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(secret, encoding="ascii")
    opened = (folder / "outside_file").open(encoding="ascii")  # kept open by this process as long as the facts are
    specs = Path(victim.manager.kernel_spec_manager.kernel_dirs[0])
    return {
        **{name: str(path) for name, path in made.items()},
        "secret": secret, "word": WORD, "outside": str(folder), "other_file": str(others / "other.txt"),
        "home": str(home.root), "keys": str(home.keys / "custodian.json"), "records": str(home.records),
        "log": str(home.log), "store": str(around.store), "identity": str(around.identity),
        "socket": str(around.socket), "package": str(PACKAGE), "launcher": str(launcher.__file__),
        "packages": sysconfig.get_paths()["purelib"], "kernels": str(specs),
        "kernelspec": str(next(specs.glob("*/kernel.json"))),
        "open_file": f"/proc/{os.getpid()}/fd/{opened.fileno()}", "me": os.getpid(), "gateway": around.gateway,
        "victim": victim.program, "channel": f"{victim.manager.ip}-1", "connection": str(runtime / "kernel.json"),
        "file_size": limits.file_size, "memory": limits.memory, "processes": limits.processes, "_keep": opened,
    }  # fmt: skip


@contextmanager
def listeners(folder: Path, secret: str) -> Iterator[dict[str, Any]]:
    """What listens, and what lies in memory: sockets of several kinds, a terminal, shared memory."""
    libc_ = ctypes.CDLL(None)
    libc_.shmat.restype = ctypes.c_void_p
    shared = libc_.shmget(0, 4096, 0o1600)
    ctypes.memmove(libc_.shmat(shared, None, 0), secret.encode(), len(secret))
    left = Path("/dev/shm", WORD)
    left.write_text(secret, encoding="ascii")
    ours, theirs = os.openpty()
    with (
        socket.create_server(("127.0.0.1", 0)) as port,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        abstract.bind("\0" + WORD)
        abstract.listen()
        datagrams.bind(str(folder / "d"))
        try:
            yield {
                "port": port.getsockname()[1], "datagrams": str(folder / "d"), "terminal": os.ttyname(theirs),
                "shared": shared,
            }  # fmt: skip
        finally:
            libc_.shmctl(shared, 0, None)
            with suppress(FileNotFoundError):
                left.unlink()
            os.close(ours)
            os.close(theirs)


def know(kernel: Kernel, facts: Mapping[str, Any]) -> None:
    """Tell the attacker everything."""
    numbers = {name: number[libc.MACHINES.index(libc.MACHINE)] for name, number in NUMBERS.items()}
    told = {name: value for name, value in facts.items() if not name.startswith("_")}
    # in a folder of its own, for an earlier attacker worked in the same workspace
    place = "import os, tempfile; os.chdir(tempfile.mkdtemp(dir='.'))"
    kernel.told = json.dumps(told)
    said = kernel.run(f"{place}\n{PRELUDE}\nN, W = {numbers!r}, json.loads({json.dumps(told)!r})\nprint('ready')")
    if said.printed != "ready\n":
        raise Fault("NO_KERNEL", "The attacker's kernel could not be told what to attack.")


def goes_through(kernel: Kernel, code: str) -> tuple[bool, str]:
    """Whether an attack ends with something in its hands; and in a word what stopped it."""
    body = "\n".join("    " + line for line in code.split("\n"))
    attempt = f"def attack():\n{body}\nsignal.alarm(20)\ntry: got = attack()\n"
    attempt += "except BaseException as e: got = None; why = repr(e)\nfinally: signal.alarm(0)\n"
    said = kernel.run(f"why = 'nothing'\n{attempt}print('WENT THROUGH' if got else 'STOPPED', why)")
    if not re.match("WENT THROUGH|STOPPED", said.printed):
        raise Fault("NO_KERNEL", "The attacker's kernel ended during an attack.")
    return said.printed.startswith("WENT"), said.printed.partition(" ")[2].strip()


def everything_readable(kernel: Kernel, mark: str) -> str:
    """The canaries in all that the kernel can read, its own connections, history and workspace among it."""
    return kernel.run(_SEARCH.format(mark=mark[::-1])).printed


def can_be_made(attack: Attack) -> bool:
    """Whether this OS user can make it."""
    return os.geteuid() == 0 or not attack.as_root


def token_attacks(target: Target) -> dict[str, str]:
    """The attacks on tokens, on the owner's names."""
    contracts = target.world.contracts
    other = next((p for p in contracts.purposes.open if p != target.purpose), target.purpose)
    product = next((p for p in contracts.products if p not in target.rows), "nothing")
    changes = {"campaign_contacts": product, "campaign-analysis": other, "ad-targeting": other}
    adapted = {}
    for name, code in TOKEN_ATTACKS.items():
        for ours, theirs in changes.items():
            code = code.replace(ours, theirs)
        adapted[name] = code
    return adapted


def token_layers(name: str) -> tuple[str, ...]:
    """The layers of which each stops an attack on tokens."""
    return (L.SIGNATURE, L.BINDING) if "forge" in name or "change" in name else (L.BINDING,)


def running_processes() -> dict[int, int]:
    """Every process that runs, with its parent."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return {int(pid): int(parent) for pid, parent, state, *_ in rows if not state.startswith("Z")}
