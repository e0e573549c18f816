"""Attacks from inside a kernel: the whole table in real kernels, with the wall, and with each of its layers taken away.

What goes through is foretold exactly: an attack goes through where none of the layers that hold against it is there. So
a layer that nothing needs, an attack that could never work, and a hole are all the same thing: a test that fails.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.confinements import weaker_manager
from support.kernels import Kernel, running, server_environment
from support.real_world import Gateway, running_processes

import kaianalytics
from kaianalytics.attack.from_kernels import ASK, ATTACKS, PRELUDE, TOKEN_ATTACKS, Attack
from kaianalytics.lab import kernelspecs, launcher
from kaianalytics.protocol import binding
from kaianalytics.sandbox import confine, libc
from kaianalytics.sandbox.confinement import KernelLimits, Layer
from kaianalytics.sandbox.syscalls import NUMBERS

pytestmark = pytest.mark.skipif(bool(confine.missing()), reason=confine.missing())

SECRET = "canary-of-another-purpose"
WORD = "kai-attack-canary"
ROOT = os.geteuid() == 0
# the wall, and the wall as each machine or fault could leave it; Landlock and seccomp are what there is without a view
WALLS: dict[str, frozenset[Layer]] = {
    "the whole wall": frozenset(),
    "no namespaces, as on a machine that gives none": frozenset({Layer.NAMESPACES}),
    "no Landlock": frozenset({Layer.LANDLOCK}),
    "no Landlock and no namespaces": frozenset({Layer.LANDLOCK, Layer.NAMESPACES}),
    "no seccomp": frozenset({Layer.SECCOMP}),
    "no seccomp and no namespaces": frozenset({Layer.SECCOMP, Layer.NAMESPACES}),
    "capabilities kept": frozenset({Layer.CAPABILITIES}),
    "no limits": frozenset({Layer.LIMITS}),
    "no limits and no control groups": frozenset({Layer.LIMITS, Layer.CGROUPS}),
    "no wall at all": frozenset(Layer),
}


@dataclass
class Outside:
    """The world around the attacking kernel, and the facts that the attacker is taken to know."""

    folder: Path
    gateway: Gateway
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def outside(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("outside")
    with ExitStack() as open_:
        open_.enter_context(server_environment(gateway.socket, gateway.world.token_file("aiko"), folder / "workspaces"))
        # as on a machine without namespaces: it has no more than its own layers, and the attacker's are what is tried
        victim = open_.enter_context(running(weaker_manager(folder / "victims", "ad-targeting", [Layer.NAMESPACES])))
        said = victim.run(f"import kaianalytics; kaianalytics.connect(); open('other.txt', 'w').write({SECRET!r})")
        assert said.error == {}
        facts = {**files(folder, gateway, victim), **open_.enter_context(listeners(folder))}
        yield Outside(folder, gateway, facts)


def files(folder: Path, gateway: Gateway, victim: Kernel) -> dict[str, Any]:
    """Paths and processes; what is to be read holds the secret."""
    home, runtime = gateway.world.home, Path(victim.manager.ip).parent
    other = folder / "workspaces" / "aiko" / "ad-targeting"
    kernelspecs.install([("service-improvement", "Services")], folder / "share")
    made = {name: folder / name for name in ("outside_file", "outside_scratch", "outside_deletable", "outside_move")}
    made |= {"notebook": folder / "a.ipynb", "checkpoint": other / ".ipynb_checkpoints" / "a-checkpoint.ipynb"}
    made |= {"history": other / ".ipython" / "planted-history.sqlite"}
    for path in made.values():
        path.parent.mkdir(exist_ok=True)
        path.write_text(SECRET)
    opened = (folder / "outside_file").open()  # kept open by this process while the module runs
    return {
        **{name: str(path) for name, path in made.items()},
        "secret": SECRET, "word": WORD, "outside": str(folder), "other_file": str(other / "other.txt"),
        "home": str(home.root), "keys": str(home.keys / "custodian.json"), "records": str(home.records),
        "log": str(home.log), "store": str(gateway.world.store("ad-targeting")),
        "identity": str(gateway.world.token_file("aiko")), "socket": str(gateway.socket),
        "package": str(Path(kaianalytics.__file__).parent), "launcher": str(launcher.__file__),
        "packages": str(Path(pytest.__file__).parent.parent), "kernels": str(folder / "share" / "kernels"),
        "kernelspec": str(folder / "share" / "kernels" / "kai-service-improvement" / "kernel.json"),
        "open_file": f"/proc/{os.getpid()}/fd/{opened.fileno()}", "me": os.getpid(),
        "gateway": gateway.process.pid, "victim": program_of(victim), "channel": f"{victim.manager.ip}-1",
        "connection": str(runtime / "kernel.json"), "file_size": KernelLimits.of_this_machine().file_size,
        "memory": KernelLimits.of_this_machine().memory, "processes": KernelLimits.of_this_machine().processes,
        "_keep": opened,
    }  # fmt: skip


@contextmanager
def listeners(folder: Path) -> Iterator[dict[str, Any]]:
    """What listens, and what lies in memory: sockets of several kinds, a terminal, shared memory."""
    libc_ = ctypes.CDLL(None)
    libc_.shmat.restype = ctypes.c_void_p
    shared = libc_.shmget(0, 4096, 0o1600)
    ctypes.memmove(libc_.shmat(shared, None, 0), SECRET.encode(), len(SECRET))
    left = Path("/dev/shm", WORD)
    left.write_text(SECRET)
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
            left.unlink()
            os.close(ours)
            os.close(theirs)


def program_of(kernel: Kernel) -> int:
    """The process that runs the notebook's code, which the launcher's waiting processes started."""
    parents = running_processes()
    pid = kernel.pid
    while children := [child for child, parent in parents.items() if parent == pid]:
        pid = max(children)
    return pid


@pytest.fixture(scope="module", params=WALLS)
def behind(request: pytest.FixtureRequest, outside: Outside) -> Iterator[tuple[frozenset[Layer], Kernel]]:
    """A kernel behind one of the walls, that knows all."""
    without = WALLS[request.param]
    manager = weaker_manager(outside.folder / "attackers", "service-improvement", without)
    with running(manager) as kernel:
        know(kernel, {**outside.facts, "own_channel": f"{manager.ip}-1"})
        yield without, kernel


def know(kernel: Kernel, facts: Mapping[str, Any]) -> None:
    """Tell the attacker everything."""
    numbers = {name: number[libc.MACHINES.index(libc.MACHINE)] for name, number in NUMBERS.items()}
    told = {name: value for name, value in facts.items() if not name.startswith("_")}
    # in a folder of its own, for an earlier attacker worked in the same workspace
    place = "import os, tempfile; os.chdir(tempfile.mkdtemp(dir='.'))"
    said = kernel.run(f"{place}\n{PRELUDE}\nN, W = {numbers!r}, json.loads({json.dumps(told)!r})\nprint('ready')")
    assert said.printed == "ready\n", said.error


def goes_through(kernel: Kernel, code: str) -> bool:
    """Whether an attack ends with something in its hands."""
    body = "\n".join("    " + line for line in code.split("\n"))
    attempt = f"def attack():\n{body}\nsignal.alarm(20)\ntry: got = attack()\n"
    attempt += "except BaseException as e: got = None; why = repr(e)\nfinally: signal.alarm(0)\n"
    said = kernel.run(f"why = 'nothing'\n{attempt}print('WENT THROUGH' if got else 'STOPPED', why)")
    assert re.match("WENT THROUGH|STOPPED", said.printed), (code, said)
    return said.printed.startswith("WENT")


def can_be_made(attack: Attack, without: frozenset[Layer]) -> bool:
    return (ROOT or not attack.as_root) and (attack.naked or without < frozenset(Layer))


def test_what_goes_through_is_what_no_layer_holds_against(behind: tuple[frozenset[Layer], Kernel]) -> None:
    without, kernel = behind
    made = [attack for attack in ATTACKS if can_be_made(attack, without)]
    through = {attack.name for attack in made if goes_through(kernel, attack.code)}
    foretold = {attack.name for attack in made if attack.stopped_by <= without}
    optional = {attack.name for attack in made if attack.optional}
    assert (sorted(through - foretold), sorted(foretold - through - optional)) == ([], [])
    assert kernel.run("print(6*7)").printed == "42\n", "the kernel did not outlive its attacks"


def test_every_layer_is_needed_by_an_attack_and_the_whole_wall_lets_none_through() -> None:
    assert all(attack.holds for attack in ATTACKS)
    # with walls that lack little: each of these attacks would be stopped by each layer that holds against it
    partial = [without for without in WALLS.values() if len(without) <= 2]
    broken = [attack for without in partial for attack in ATTACKS if attack.stopped_by <= without]
    assert {layer for attack in broken for layer in attack.stopped_by} == set(Layer)
    assert len(ATTACKS) + len(TOKEN_ATTACKS) >= 60


# What the gateway stops


@pytest.fixture(scope="module")
def thief(outside: Outside) -> Iterator[Kernel]:
    """A confined kernel with every token that it is not to have, and its own."""
    gateway = outside.gateway
    manager = weaker_manager(outside.folder / "thieves", "service-improvement", [])
    other = gateway.session("aiko", "ad-targeting")
    facts = {
        **outside.facts,
        "other_token": other.token,
        "other_binding": binding(other.token, other.grant["kernel"]).decode(),
        "kaitos_token": gateway.session("kaito").token,
        "identity_token": gateway.world.token_file("kaito").read_text().strip(),
    }
    with running(manager) as kernel:
        earlier = kernel.run(f"{ASK}\nprint(own)").printed.strip()
        kernel.restart()
        know(kernel, {**facts, "earlier_token": earlier})
        assert kernel.run(f"{ASK}\nassert own != W['earlier_token']; print('up')").printed == "up\n"
        yield kernel


@pytest.mark.parametrize("name", TOKEN_ATTACKS)
def test_a_token_is_good_on_its_own_connections_alone(thief: Kernel, name: str) -> None:
    assert not goes_through(thief, TOKEN_ATTACKS[name])


def test_the_stolen_tokens_are_good_where_they_belong(thief: Kernel, outside: Outside) -> None:
    """What was stolen was worth something: each token opens its door on a connection of its own."""
    for user in ("kaito", "aiko"):
        assert outside.gateway.session(user).one("SELECT COUNT(*) AS n FROM sessions") > 0
    assert goes_through(thief, "return ask('POST', 'sql', own, b'{\"sql\": \"SELECT COUNT(*) AS n FROM sessions\"}')")
    assert outside.gateway.as_("kaito").request_json("GET", "/v1/reviews") is not None


def test_without_the_binding_a_stolen_token_is_good(tmp_path: Path) -> None:
    """The layer that stops the theft, taken away: a gateway that does not look at what a connection is bound to."""
    from support.fake_gateway import IDENTITY, FakeGateway

    (tmp_path / "identity").write_text(IDENTITY)
    through = {}
    for binds in (True, False):
        fake = FakeGateway(tmp_path / "g", binds=binds)
        with (
            server_environment(tmp_path / "g", tmp_path / "identity", tmp_path / "workspaces"),
            fake.serving(),
            running(weaker_manager(tmp_path / "kernels", "service-improvement", [])) as kernel,
        ):
            know(kernel, {"other_token": fake.grant("ad-targeting").token})
            kernel.run(ASK)
            through[binds] = goes_through(kernel, TOKEN_ATTACKS[next(iter(TOKEN_ATTACKS))])
    assert through == {True: False, False: True}


# What is planted for later


def test_nothing_that_is_planted_in_the_workspace_runs_before_the_wall(outside: Outside) -> None:
    planted = "open('/proc/self/status').read(); open(__file__ + '.ran', 'w').write(open('/proc/self/status').read())\n"
    manager = weaker_manager(outside.folder / "planters", "service-improvement", [])
    with running(manager) as kernel:
        names = ("ctypes", "json", "sitecustomize", "usercustomize", "ipykernel", "kaianalytics", "resource")
        for name in names:
            kernel.run(f"open('{name}.py', 'w').write({planted!r})")
        startup = ".ipython/profile_default/startup/00-planted.py"
        kernel.run(f"open({startup!r}, 'w').write({planted!r})")
        kernel.restart()
        ran = "open(glob.glob('.ipython/**/*.ran', recursive=True)[0]).read()"
        said = kernel.run(f"import glob; print(sorted(glob.glob('*.ran')), {ran})")
        assert said.printed.startswith("[] "), "a planted module ran instead of one of ours"
        # a start-up file is the analyst's own, and runs behind the wall
        assert "Seccomp:\t2" in said.printed and "NoNewPrivs:\t1" in said.printed
        for planter in (*(f"{name}.py" for name in names), startup):
            kernel.run(f"import os; os.unlink({planter!r})")


def test_no_program_of_the_server_reads_what_can_run_code() -> None:
    """A pickle of a kernel is read by kernels alone: nothing of the package unpickles, evaluates or marshals."""
    package = Path(kaianalytics.__file__).parent
    words = re.compile(r"^\s*(import|from) (pickle|marshal|shelve|dill|cloudpickle|joblib)\b|\b(eval|exec)\(", re.M)
    found = [path.name for path in package.rglob("*.py") if words.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_nothing_outlives_its_kernel(outside: Outside) -> None:
    manager = weaker_manager(outside.folder / "leavers", "service-improvement", [])
    before = set(running_processes())
    with running(manager) as kernel:
        kernel.run(
            "import subprocess, sys, os\n"
            "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
            f"        os.execv(sys.executable, [sys.executable, '-I', '-c', 'import time; time.sleep(600) # {WORD}'])\n"
            "    os._exit(0)"
        )
        assert set(running_processes()) - before
        runtime = Path(manager.ip).parent
    named = subprocess.run(["ps", "-eo", "args="], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert WORD not in named and not runtime.exists()
