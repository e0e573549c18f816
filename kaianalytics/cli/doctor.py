"""`kai doctor`: the isolation level that this machine and set-up reach just now, tested; how to raise it."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import typer

from kaianalytics.cli.terminal import console, for_people, home_folder, table
from kaianalytics.client.launch import KERNEL_USER, kernel_user
from kaianalytics.protocol import FULL, GUARD_RAILS_ONLY, SANDBOXED, isolation_sentence
from kaianalytics.sandbox import landlock, probe
from kaianalytics.sandbox.confinement import Layer
from kaianalytics.sandbox.probe import Findings

_FULL_PAGE = "docs/how-to/full-isolation.md"
_WITHOUT = {
    Layer.NAMESPACES: "user namespaces are off, or /proc is shown in part: kernels see the names of other processes, "
    "can ask whether a file of this user exists, and have no shared memory (see kernel.unprivileged_userns_clone, "
    "user.max_user_namespaces and AppArmor's restriction)",
    Layer.CGROUPS: "no control groups can be made here: memory is bounded for each process alone (run the platform as "
    "a systemd service with Delegate=yes)",
}


@for_people
def doctor() -> None:
    """Try out what a kernel could do on this machine, and say the isolation level and how to raise it."""
    user = kernel_user(os.environ)
    findings = probe.try_out(user=(user.uid, user.gid) if user else None)
    if findings.trials:
        rows = [(trial.name, "stopped" if trial.stopped else "WENT THROUGH") for trial in findings.trials]
        console.print(table(("tried just now, by a confined process", ""), rows))
        console.print(f"Layers: {', '.join(sorted(findings.layers))}. Bounds: {', '.join(sorted(findings.bounds))}.")
    level = level_of(findings)
    console.print(f"Landlock: version {landlock.abi()}. Python: {sys.version.split()[0]}. {users()}", soft_wrap=True)
    console.print(isolation_sentence(level), soft_wrap=True)
    for sentence in how_to_raise(level, findings):
        console.print(f"- {sentence}", markup=False, soft_wrap=True)
    if level == GUARD_RAILS_ONLY and findings.trials:
        raise typer.Exit(1)  # it should be confined, and is not


def level_of(findings: Findings) -> str:
    """The level of kernels that are started from here."""
    if not findings.confined:
        return GUARD_RAILS_ONLY
    user, custodian = kernel_user(os.environ), custodian_uid()
    apart = user is not None and len({user.uid, os.getuid(), custodian}) == 3 and user.uid != 0
    return FULL if apart else SANDBOXED


def how_to_raise(level: str, findings: Findings) -> list[str]:
    """What lacks, and what would raise the level."""
    said = [findings.lacks] if findings.lacks else []
    said += [f"went through: {trial.name}" for trial in findings.trials if not trial.stopped]
    if findings.confined:
        said += [text for layer, text in _WITHOUT.items() if layer not in findings.layers]
    if level == SANDBOXED:
        said.append(f"custodian, platform and kernels as three OS users would make it `full`: {_FULL_PAGE}")
    return said


def custodian_uid() -> int:
    """The OS user that owns the gateway's socket, where one is named, or the home; this one where neither is seen."""
    named = os.environ.get("KAI_SOCKET", "")  # a platform has it, and a home that lies about is not its custodian's
    for place in (Path(named) if named else None, home_folder()):
        try:
            if place is not None:
                return place.stat().st_uid
        except OSError:
            continue
    return os.getuid()


def users() -> str:
    """Who is who."""
    kernels = kernel_user(os.environ)
    named = {"custodian": custodian_uid(), "platform": os.getuid(), "kernels": kernels.uid if kernels else os.getuid()}
    return "OS users: " + ", ".join(f"{role} {_name(uid)}" for role, uid in named.items()) + f" ({KERNEL_USER})."


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
