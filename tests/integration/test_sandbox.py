"""The layers of the sandbox by themselves, applied to real processes; and the whole, tried out as `kai doctor` does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import kaianalytics
from kaianalytics.sandbox import cgroups, confine, libc, probe, seccomp
from kaianalytics.sandbox.confinement import EVERY_LAYER, Confinement, KernelLimits, Layer, kernel, worker
from kaianalytics.sandbox.limits import ResourceLimits
from kaianalytics.sandbox.probe import TRIALS, WORKER_TRIALS
from kaianalytics.sandbox.seccomp import Filter
from kaianalytics.sandbox.syscalls import LAST_KNOWN, NUMBERS

linux_only = pytest.mark.skipif(bool(confine.missing()), reason=confine.missing())
PACKAGE = Path(kaianalytics.__file__).parent


def said_by(program: str, *arguments: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(program), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_confinement_survives_its_journey_to_the_launcher(tmp_path: Path) -> None:
    made = kernel(tmp_path, tmp_path, PACKAGE, KernelLimits.of_this_machine())
    assert Confinement.from_json(made.to_json()) == made
    assert made.layers == EVERY_LAYER
    for broken in ("", "{}", json.dumps({**json.loads(made.to_json()), "more": 1})):
        with pytest.raises((ValueError, KeyError, TypeError)):
            Confinement.from_json(broken)


@pytest.mark.parametrize("path", ["relative", "/a/../b", ""])
def test_a_confinement_names_absolute_paths(path: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        Confinement(ResourceLimits(1), Filter.KERNEL, read=(path,))


def test_nothing_secret_and_no_home_is_in_a_kernels_confinement(tmp_path: Path) -> None:
    made = kernel(tmp_path / "w", tmp_path / "r", PACKAGE, KernelLimits.of_this_machine())
    home = str(Path.home())
    assert not [path for path in made.paths if path in ("/", home, "/etc", "/dev", "/tmp", "/var", "/run", "/home")]
    assert not [path for path in made.paths if "shadow" in path or path.startswith("/dev/shm")]


@linux_only
def test_what_a_kernel_must_not_do_is_stopped_on_this_machine() -> None:
    found = probe.try_out()
    assert (found.lacks, found.confined) == ("", True)
    assert {trial.name for trial in found.trials} == {name for name, _ in (*TRIALS, *WORKER_TRIALS)}


@linux_only
@pytest.mark.parametrize(
    ("without", "through"),
    [
        ({Layer.SECCOMP}, "open an internet socket"),
        ({Layer.SECCOMP}, "trace a process"),
        ({Layer.CAPABILITIES}, "hold a capability"),
        ({Layer.NAMESPACES, Layer.LANDLOCK}, "read a file of this user outside of the workspace"),
        ({Layer.NAMESPACES, Layer.LANDLOCK}, "send a signal to another process"),
        ({Layer.NAMESPACES, Layer.SECCOMP}, "connect to a Unix socket by its path"),
        ({Layer.NAMESPACES, Layer.SECCOMP}, "change the mode of a file outside of the workspace"),
        ({Layer.LANDLOCK}, "a SQL worker: read a file of this user"),
        ({Layer.LANDLOCK}, "a SQL worker: send a signal to another process"),
        ({Layer.SECCOMP}, "a SQL worker: start a process"),
        ({Layer.SECCOMP}, "a SQL worker: change the mode of a file"),
    ],
)
def test_a_trial_goes_through_where_what_stops_it_is_taken_away(without: set[Layer], through: str) -> None:
    found = probe.try_out(EVERY_LAYER - without)
    if through == "hold a capability" and os.geteuid() != 0 and "namespaces" not in found.layers:
        pytest.skip("an ordinary user has none to keep")
    assert through in [trial.name for trial in found.trials if not trial.stopped]
    assert not found.confined


@linux_only
def test_without_namespaces_the_machine_still_confines() -> None:
    found = probe.try_out(EVERY_LAYER - {Layer.NAMESPACES})
    assert found.confined and "namespaces" not in found.layers


@linux_only
@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare (util-linux)")
@pytest.mark.parametrize(
    "machine",
    ["echo 0 > /proc/sys/user/max_user_namespaces", "mount -t tmpfs tmpfs /proc/bus"],
    ids=["user namespaces are switched off", "a container shows a part of /proc"],
)
def test_a_machine_that_gives_no_namespaces_confines_without_and_says_so(machine: str) -> None:
    program = "from kaianalytics.sandbox import probe; f = probe.try_out(); print(f.confined, 'namespaces' in f.layers)"
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{machine} && exec "$@"', "sh"]
    ran = subprocess.run([*inside, sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    if "unshare failed" in ran.stderr:
        pytest.skip("this machine gives no namespaces at all")
    assert ran.stdout == "True False\n", ran.stderr


def test_no_findings_are_no_confinement() -> None:
    assert not probe.Findings("").confined
    assert not probe.Findings("", trials=(probe.Trial("x", False),)).confined
    assert not probe.Findings("it lacks", trials=(probe.Trial("x", True),)).confined


def left_over() -> set[Path]:
    """Control groups of kernels whose process is gone."""
    groups = [group for group in cgroups.ROOT.rglob("kai-[0-9]*") if group.is_dir()]
    return {group for group in groups if not Path("/proc", group.name.removeprefix("kai-")).exists()}


@linux_only
def test_trying_out_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = left_over()
    probe.try_out()
    assert list(tmp_path.iterdir()) == []
    assert left_over() <= before


@linux_only
def test_a_path_that_is_not_there_is_no_confinement(tmp_path: Path) -> None:
    said = said_by(
        """
        import sys
        from kaianalytics.sandbox import confine
        from kaianalytics.sandbox.confinement import Confinement, Layer
        from kaianalytics.sandbox.limits import ResourceLimits
        from kaianalytics.sandbox.seccomp import Filter
        from kaianalytics.errors import Fault
        layers = frozenset({Layer.LANDLOCK})
        made = Confinement(ResourceLimits(1 << 40), Filter.KERNEL, read=(sys.argv[1],), layers=layers)
        try:
            confine.restrict(made, frozenset())
        except Fault as fault:
            print(fault.code, "landlock" in fault.message)
        """,
        str(tmp_path / "absent"),
    )
    assert said == "NOT_CONFINED True\n"


# The filter's program, run here over every call by a small reading of BPF


def decide(
    kind: Filter, machine: str, call: int, arguments: tuple[int, ...] = (0,) * 6, arch: int | None = None
) -> int:
    """What a filter answers a call: the word that it returns."""
    program = seccomp.program(kind, machine)
    data = call.to_bytes(4, "little") + (arch or seccomp._ARCH[machine]).to_bytes(4, "little") + bytes(8)
    data += b"".join((argument & (2**64 - 1)).to_bytes(8, "little") for argument in arguments)
    place, word = 0, 0
    while True:
        code, yes, no, operand = program[place]
        place += 1
        if code == seccomp._LOAD:
            word = int.from_bytes(data[operand : operand + 4], "little")
        elif code == seccomp._AND:
            word &= operand
        elif code == seccomp._RETURN:
            return operand
        else:
            tests = {seccomp._EQUAL: word == operand, seccomp._ABOVE: word > operand, seccomp._ANY_BIT: word & operand}
            place += yes if tests[code] else no


@pytest.mark.parametrize("machine", libc.MACHINES)
@pytest.mark.parametrize("kind", Filter)
def test_a_filter_refuses_what_its_rules_name_and_nothing_else(kind: Filter, machine: str) -> None:
    column = libc.MACHINES.index(machine)
    ruled = {rule.call: rule for rule in seccomp.rules(kind)}
    assert set(ruled) <= set(NUMBERS)
    always = {name for name, rule in ruled.items() if len(rule.body) == 1}
    numbers = {NUMBERS[name][column] for name in ruled} - {None}
    for call in range(LAST_KNOWN + 1):
        allowed = decide(kind, machine, call) == seccomp._ALLOW
        if call in {NUMBERS[name][column] for name in always}:
            assert not allowed, call
        elif call not in numbers:
            assert allowed, call


@pytest.mark.parametrize("machine", libc.MACHINES)
def test_other_architectures_end_and_unknown_calls_are_not_there(machine: str) -> None:
    assert decide(Filter.KERNEL, machine, 1, arch=0x40000003) == seccomp._KILL
    for call in (LAST_KNOWN + 1, 0x40000000 + 39, 2**31):
        assert decide(Filter.KERNEL, machine, call) == seccomp._ERROR | 38


@pytest.mark.parametrize("machine", libc.MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments", "allowed"),
    [
        ("socket", (1, 1, 0), True), ("socket", (1, 1 | 0o2000000 | 0o4000, 0), True), ("socket", (1, 2, 0), False),
        ("socket", (1, 5, 0), False), ("socket", (2, 1, 0), False), ("socket", (10, 1, 0), False),
        ("socketpair", (1, 1, 0), True), ("socketpair", (1, 2, 0), False), ("socket", (2**32 + 1, 1, 0), True),
        ("clone", (0x003D0F00,), True), ("clone", (0x11,), True), ("clone", (0x10000011,), False),
        ("ioctl", (0, 0x5413), True), ("ioctl", (0, 0x5412), False), ("ioctl", (0, 2**32 + 0x5412), False),
        ("personality", (0xFFFFFFFF,), True), ("personality", (0x0040000,), False), ("connect", (3,), False),
    ],
)  # fmt: skip
def test_arguments_decide_where_a_call_is_needed(
    machine: str, call: str, arguments: tuple[int, ...], allowed: bool
) -> None:
    number = NUMBERS[call][libc.MACHINES.index(machine)]
    assert number is not None
    answer = decide(Filter.KERNEL, machine, number, (*arguments, 0, 0, 0, 0, 0, 0)[:6])
    assert (answer == seccomp._ALLOW) is allowed


@pytest.mark.parametrize("machine", libc.MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments", "allowed"),
    [
        ("openat", (0, 0, 0), True), ("openat", (0, 0, 0o2000000), True), ("openat", (0, 0, 1), False),
        ("openat", (0, 0, 2), False), ("openat", (0, 0, 0o100), False), ("clone", (0x003D0F00,), True),
        ("clone", (0x11,), False), ("ioctl", (0, 0x5421), True), ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x40086602), False), ("ioctl", (0, 0x5412), False), ("prctl", (15,), True),
        ("prctl", (1,), False), ("prlimit64", (0,), True), ("prlimit64", (77,), False),
        ("setpriority", (0, 0), True), ("setpriority", (0, 77), False), ("setpriority", (1, 0), False),
    ],
)  # fmt: skip
def test_arguments_decide_for_a_worker_too(machine: str, call: str, arguments: tuple[int, ...], allowed: bool) -> None:
    number = NUMBERS[call][libc.MACHINES.index(machine)]
    assert number is not None
    answer = decide(Filter.WORKER, machine, number, (*arguments, 0, 0, 0, 0, 0, 0)[:6])
    assert (answer == seccomp._ALLOW) is allowed


def test_a_workers_confinement_names_its_one_store_and_nothing_to_write_or_run(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    (tmp_path / "other").touch()
    made = worker(tmp_path / "store", PACKAGE, ResourceLimits(1))
    assert not (made.run or made.write or made.sockets or made.devices)
    assert [path for path in made.read if Path(path).is_relative_to(tmp_path)] == [str(tmp_path / "store")]
    assert not [path for path in made.read if path in ("/", "/usr", "/etc", "/proc", "/dev", str(Path.home()))]
    assert Confinement.from_json(made.to_json()) == made


@linux_only
def test_landlock_is_refused_where_a_thread_would_stay_free_of_it() -> None:
    said = said_by(
        """
        import threading, time
        from kaianalytics.errors import Fault
        from kaianalytics.sandbox import confine
        from kaianalytics.sandbox.confinement import Confinement, Layer
        from kaianalytics.sandbox.limits import ResourceLimits
        from kaianalytics.sandbox.seccomp import Filter
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        made = Confinement(ResourceLimits(1 << 40), Filter.WORKER, layers=frozenset({Layer.LANDLOCK}))
        try:
            confine.enclose(made)
        except Fault as fault:
            print(fault.code, "landlock" in fault.message)
        """
    )
    assert said == "NOT_CONFINED True\n"


@linux_only
def test_a_workers_filter_holds_for_every_thread_of_it(tmp_path: Path) -> None:
    said = said_by(
        """
        import os, socket, sys, threading, time
        from kaianalytics.sandbox import seccomp
        from kaianalytics.sandbox.seccomp import Filter
        filtered, tried = threading.Event(), []
        def attempt():
            filtered.wait()
            for what in (lambda: os.fork(), lambda: socket.socket(), lambda: open(sys.argv[1], "w"),
                         lambda: os.execv("/bin/true", ["true"]), lambda: os.mkdir(sys.argv[1] + "d")):
                try:
                    what()
                    tried.append(what)
                except OSError:
                    pass
            open("/proc/self/status").close()
        threads = [threading.Thread(target=attempt) for _ in range(4)]
        for thread in threads: thread.start()
        seccomp.apply(Filter.WORKER)
        filtered.set()
        for thread in threads: thread.join()
        later = threading.Thread(target=attempt); later.start(); later.join()
        print(len(tried))
        """,
        str(tmp_path / "x"),
    )
    assert said == "0\n"


@linux_only
def test_a_program_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """A starter that is killed leaves no confined process behind, though nobody tells it to end."""
    (tmp_path / "w").mkdir()
    (tmp_path / "r").mkdir()
    program = """
        import os, sys, time
        from pathlib import Path
        from kaianalytics.sandbox import confine
        from kaianalytics.sandbox.confinement import KernelLimits, kernel
        made = kernel(Path(sys.argv[1], "w"), Path(sys.argv[1], "r"), Path(sys.argv[2]), KernelLimits.of_this_machine())
        def sleeping(held):
            os.write(1, b"up")
            os.execv("/bin/sleep", ["sleep", "120.25"])
        if os.fork() == 0:
            confine.run(made, sleeping, keep=frozenset())
        time.sleep(60)
    """
    starter = subprocess.Popen(
        [sys.executable, "-I", "-c", textwrap.dedent(program), str(tmp_path), str(PACKAGE)], stdout=subprocess.PIPE
    )
    assert starter.stdout is not None and starter.stdout.read(2) == b"up"
    starter.kill()
    starter.wait()
    # the pipe ends when the last of its writers is gone
    assert starter.stdout.read() == b""
    starter.stdout.close()
    assert (
        "sleep 120.25" not in subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    )
