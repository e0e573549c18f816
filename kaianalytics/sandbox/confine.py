"""One function that applies a confinement to this process: the order in which its layers must come.

1. Limits, and the mask of what is written. Whoever started the process has put it into a control group by now.
2. The view of its own, from a forked child: mounts can't be made under Landlock, and take capabilities.
3. Capabilities dropped. 4. Landlock. 5. Seccomp last, which forbids what the others needed.

A SQL worker opens its engine between 4 and 5, for Landlock must come before the engine's threads, and seccomp after
what opening needs: it calls `enter_limits`, `enclose` and `seal` itself.

An essential layer that can't be applied is a ConfinementFault, and the process must end. What the machine doesn't have
(control groups, namespaces) is left out and told: `Held` says what holds.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

from kaianalytics.errors import Fault
from kaianalytics.sandbox import capabilities, landlock, libc, limits, namespaces, seccomp
from kaianalytics.sandbox.confinement import SHARED_MEMORY, Confinement, Layer
from kaianalytics.sandbox.seccomp import Filter

ORPHAN_SECONDS = 1.0  # how soon a program is ended whose starter is gone


@dataclass(frozen=True)
class Held:
    """The layers that this process put on itself and that hold now, and the names of the limits among them."""

    layers: frozenset[Layer]
    bounds: frozenset[str]


class ConfinementFault(Fault):
    """A layer that the wall can't do without could not be applied."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(
            "NOT_CONFINED",
            f"The operating system did not apply the layer `{layer}`.",
            rule="no kernel and no worker starts with less of the wall than it was promised",
            hint="`kai doctor` tries each layer and says what this machine lacks",
        )


def missing() -> str:
    """What this machine lacks of the essential layers, in a sentence; empty where it has them all."""
    if not libc.supported():
        return "Confinement is for Linux on x86-64 and aarch64."
    if (abi := landlock.abi()) < landlock.ABI_NEEDED:
        return f"Landlock is at version {abi}, and {landlock.ABI_NEEDED} is needed (Linux 6.12, with `lsm=landlock`)."
    return ""


def run(confinement: Confinement, program: Callable[[Held], NoReturn], *, keep: frozenset[int]) -> NoReturn:
    """Run `program` under the confinement; this process becomes it, or waits for the child that is it and ends alike.

    `keep` are the descriptors that the program needs beside 0, 1 and 2; a process that only waits closes them.
    """
    bounds = enter_limits(confinement)
    if Layer.NAMESPACES in confinement.layers:
        _run_with_a_view(confinement, bounds, program, keep)
    without = replace(confinement, layers=confinement.layers - {Layer.NAMESPACES})
    program(restrict(without, bounds))


def enter_limits(confinement: Confinement) -> frozenset[str]:
    """Step 1; the names of the bounds that hold."""
    bounds: frozenset[str] = frozenset()
    if Layer.LIMITS in confinement.layers:
        bounds |= limits.apply(confinement.limits)
    os.umask(confinement.umask)
    return bounds


def restrict(confinement: Confinement, bounds: frozenset[str]) -> Held:
    """Steps 3 to 5 on this thread and all that it starts; ConfinementFault where one can't be."""
    enclose(confinement)
    return seal(confinement, bounds)


def enclose(confinement: Confinement) -> None:
    """Steps 3 and 4, on a process of one thread; ConfinementFault where one can't be."""
    os.chdir(confinement.folder)
    if Layer.CAPABILITIES in confinement.layers:
        _demand(Layer.CAPABILITIES, capabilities.drop)
    if Layer.LANDLOCK in confinement.layers:
        _demand(Layer.LANDLOCK, lambda: landlock.restrict(_rights(confinement)))


def seal(confinement: Confinement, bounds: frozenset[str]) -> Held:
    """Step 5, on every thread that runs by now; what holds, or ConfinementFault where it can't be."""
    if Layer.SECCOMP in confinement.layers:
        _demand(Layer.SECCOMP, lambda: seccomp.apply(_filter(confinement)))
    return Held(confinement.layers - {Layer.CGROUPS}, bounds)


def _run_with_a_view(
    confinement: Confinement, bounds: frozenset[str], program: Callable[[Held], NoReturn], keep: frozenset[int]
) -> None:
    """Run it in namespaces and end as it ends; return where this machine does not give them."""
    starter, (reading, writing) = os.getppid(), os.pipe()
    try:
        child = namespaces.fork()
    except OSError:
        _close(frozenset({reading, writing}))
        return
    if child == 0:
        os.close(reading)
        _first_process(confinement, bounds, program, keep, writing)
    os.close(writing)
    with suppress(OSError):  # what only waits has no use for them, and whoever starts kernels of others hands some down
        capabilities.drop()
    with os.fdopen(reading, "rb") as entered:
        if not entered.read(1):  # it ended before it had its view
            os.waitpid(child, 0)
            return
    _close(keep)
    os._exit(_wait(child, starter))


def _first_process(
    confinement: Confinement,
    bounds: frozenset[str],
    program: Callable[[Held], NoReturn],
    keep: frozenset[int],
    entered: int,
) -> NoReturn:
    """The first process of the namespaces: starts the program, collects what its children leave, and ends with it."""
    limits.die_with_parent(0)  # the waiting parent, which is outside
    try:
        namespaces.enter(confinement)
    except OSError:
        os._exit(1)
    os.write(entered, b"+")
    os.close(entered)
    if Layer.LIMITS in confinement.layers and limits.limit_processes(confinement.limits):
        bounds |= {"processes"}
    held = restrict(confinement, bounds)
    child = os.fork()
    if child == 0:
        program(held)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _close(keep)
    while (ended := os.wait())[0] != child:
        pass
    os._exit(_code(ended[1]))


def _wait(child: int, starter: int) -> int:
    """Wait for the child, and end it if whoever started this process is gone; its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt goes to the whole group, and is meant for the program
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if os.getppid() != starter:
            os.kill(child, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, ORPHAN_SECONDS)
    return _code(ended[1])


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _close(descriptors: frozenset[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _demand(layer: Layer, apply: Callable[[], None]) -> None:
    try:
        apply()
    except OSError:
        raise ConfinementFault(layer) from None


def _filter(confinement: Confinement) -> Filter:
    seen = Layer.NAMESPACES not in confinement.layers
    return Filter.KERNEL_IN_SIGHT if confinement.filter is Filter.KERNEL and seen else confinement.filter


def _rights(confinement: Confinement) -> dict[str, int]:
    own_memory = (SHARED_MEMORY,) if confinement.shared_memory and Layer.NAMESPACES in confinement.layers else ()
    return landlock.rights(
        (
            (confinement.run, landlock.RUN),
            (confinement.read, landlock.READ),
            ((*confinement.write, *own_memory), landlock.WRITE),
            (confinement.sockets, landlock.WRITE | landlock.MAKE_SOCK),
            (confinement.devices, landlock.DEVICE),
        )
    )
