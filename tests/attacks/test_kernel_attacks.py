"""Attacks from inside a kernel: the whole table in real kernels, with the wall, and with each of its layers taken away.

What goes through is foretold exactly: an attack goes through where none of the layers that hold against it is there. So
a layer that nothing needs, an attack that could never work, and a hole are all the same thing: a test that fails.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.confinements import weaker_manager
from support.kernels import server_environment
from support.real_world import Gateway, running_processes

import kaianalytics
from kaianalytics.attack.from_kernels import ASK, ATTACKS, TOKEN_ATTACKS, Attack
from kaianalytics.attack.in_kernels import WORD, Around, Kernel, files, goes_through, know, listeners, running
from kaianalytics.protocol import binding
from kaianalytics.sandbox import confine
from kaianalytics.sandbox.confinement import Layer

pytestmark = pytest.mark.skipif(bool(confine.missing()), reason=confine.missing())

SECRET = "canary-of-another-purpose"
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
        world = gateway.world
        around = Around(
            world.home, world.store("ad-targeting"), world.token_file("aiko"), gateway.socket, gateway.process.pid
        )
        others = folder / "workspaces" / "aiko" / "ad-targeting"
        facts = {**files(folder, around, victim, SECRET, others), **open_.enter_context(listeners(folder, SECRET))}
        yield Outside(folder, gateway, facts)


@pytest.fixture(scope="module", params=WALLS)
def behind(request: pytest.FixtureRequest, outside: Outside) -> Iterator[tuple[frozenset[Layer], Kernel]]:
    """A kernel behind one of the walls, that knows all."""
    without = WALLS[request.param]
    manager = weaker_manager(outside.folder / "attackers", "service-improvement", without)
    with running(manager) as kernel:
        know(kernel, {**outside.facts, "own_channel": f"{manager.ip}-1"})
        yield without, kernel


def can_be_made(attack: Attack, without: frozenset[Layer]) -> bool:
    return (ROOT or not attack.as_root) and (attack.naked or without < frozenset(Layer))


def test_what_goes_through_is_what_no_layer_holds_against(behind: tuple[frozenset[Layer], Kernel]) -> None:
    without, kernel = behind
    made = [attack for attack in ATTACKS if can_be_made(attack, without)]
    through = {attack.name for attack in made if goes_through(kernel, attack.code)[0]}
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
    assert not goes_through(thief, TOKEN_ATTACKS[name])[0]


def test_the_stolen_tokens_are_good_where_they_belong(thief: Kernel, outside: Outside) -> None:
    """What was stolen was worth something: each token opens its door on a connection of its own."""
    for user in ("kaito", "aiko"):
        assert outside.gateway.session(user).one("SELECT COUNT(*) AS n FROM sessions") > 0
    own = "return ask('POST', 'sql', own, b'{\"sql\": \"SELECT COUNT(*) AS n FROM sessions\"}')"
    assert goes_through(thief, own)[0]
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
            through[binds], _ = goes_through(kernel, TOKEN_ATTACKS[next(iter(TOKEN_ATTACKS))])
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
