"""The first program of a kernel's process: confines it, then becomes the kernel.

Run by path as `python -I launcher.py -f CONNECTION_FILE`, never with `-m`: a module planted in the working folder must
not be found before this program is done. It imports the standard library and this package's sandbox alone.

1. Only descriptors 0, 1, 2 and those that the provisioner handed in stay open.
2. The confinement comes by a pipe. It is applied as it is or the program ends; without one, none was promised, and only
   what every process can do to itself is done: files are its user's alone (umask 077), and a crash leaves no core file.
3. What holds is told over another pipe before the kernel starts, so that nobody has to believe it.
4. The kernel replaces this program, isolated from PYTHON* variables and from the user's site folder, and writes no
   bytecode beside the code that others run.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import NoReturn

from kaianalytics.errors import KaiError
from kaianalytics.sandbox import confine
from kaianalytics.sandbox.confine import Held
from kaianalytics.sandbox.confinement import Confinement, Layer

CONFINEMENT_FD, REPORT_FD = "KAI_CONFINEMENT_FD", "KAI_REPORT_FD"
HANDED_ON = ("KAI_TOKEN_FD", "KAI_HANDOVER_FD")  # variables that each name one descriptor, for the kernel
HANDED_IN = (*HANDED_ON, CONFINEMENT_FD, REPORT_FD)
KERNEL = Path(__file__).with_name("kernel.py")


def main(arguments: Sequence[str], environ: MutableMapping[str, str]) -> None:
    """Confine this process as the module says, and become the kernel of the connection file in `arguments`."""
    connection_file = _connection_file(arguments)
    close_all_but({0, 1, 2} | {int(environ[name]) for name in HANDED_IN if name in environ})
    text, report = _read(environ.pop(CONFINEMENT_FD, "")), environ.pop(REPORT_FD, "")
    try:
        _become(connection_file, text, report, environ)
    except KaiError as fault:
        _tell(report, {"fault": fault.code})
    raise SystemExit(1)


def _become(connection_file: str, text: str, report: str, environ: MutableMapping[str, str]) -> None:
    def kernel(held: Held) -> NoReturn:
        _tell(report, {"layers": sorted(held.layers), "bounds": sorted(held.bounds)})
        if Layer.NAMESPACES in held.layers:
            environ["JPY_PARENT_PID"] = "1"  # the process that ends with whoever started it; ipykernel looks no further
        os.execve(sys.executable, [sys.executable, "-I", "-B", str(KERNEL), "-f", connection_file], dict(environ))

    if text:
        confine.run(Confinement.from_json(text), kernel, keep=_inherited(environ, report))
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel(Held(frozenset(), frozenset()))


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor of this process that is not in `keep`."""
    start = 0
    for descriptor in sorted(keep):
        if start < descriptor:  # an empty range is not asked for: on some Pythons closerange(0, 0) closes everything
            os.closerange(start, descriptor)
        start = descriptor + 1
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # os.closerange is one system call on Linux; without a limit the kernel's own ceiling is meant
    os.closerange(start, min(soft, 1 << 20) if soft != resource.RLIM_INFINITY else 1 << 20)


def _inherited(environ: Mapping[str, str], report: str) -> frozenset[int]:
    """The descriptors of the kernel, which a process that only waits for it does not keep."""
    numbers = (*(environ.get(name, "") for name in HANDED_ON), report)
    return frozenset(int(number) for number in numbers if number)


def _read(descriptor: str) -> str:
    if not descriptor:
        return ""
    with os.fdopen(int(descriptor), encoding="utf-8") as pipe:
        return pipe.read()


def _tell(descriptor: str, facts: Mapping[str, object]) -> None:
    if descriptor:
        with os.fdopen(int(descriptor), "w", encoding="utf-8") as pipe:
            json.dump(facts, pipe)


def _connection_file(arguments: Sequence[str]) -> str:
    if len(arguments) != 2 or arguments[0] != "-f":
        raise SystemExit("usage: launcher.py -f CONNECTION_FILE; kernels are started by the kai provisioner")
    return arguments[1]


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
