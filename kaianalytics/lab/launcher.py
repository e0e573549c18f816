"""The first program of a kernel's process: makes the process fit to run an analyst's code, then becomes ipykernel.

Run by path as `python -I launcher.py -f CONNECTION_FILE`, never with `-m`: a module planted in the working folder must
not be found before this program is done. It imports the standard library alone.

1. Only descriptors 0, 1, 2 and those that the provisioner handed in stay open.
2. What the kernel writes is its user's alone (umask 077), and a crash leaves no core file with what was in memory.
3. ipykernel replaces this program, isolated from PYTHON* variables and from the user's site folder, and writes no
   bytecode beside the code that others run.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping, Sequence

HANDED_IN = ("KAI_TOKEN_FD", "KAI_HANDOVER_FD")  # variables that each name one descriptor


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Confine this process as the module says, and become the kernel of the connection file in `arguments`."""
    connection_file = _connection_file(arguments)
    close_all_but({0, 1, 2} | {int(environ[name]) for name in HANDED_IN if name in environ})
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(sys.executable, [sys.executable, "-I", "-B", "-m", "ipykernel_launcher", "-f", connection_file])


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


def _connection_file(arguments: Sequence[str]) -> str:
    if len(arguments) != 2 or arguments[0] != "-f":
        raise SystemExit("usage: launcher.py -f CONNECTION_FILE; kernels are started by the kai provisioner")
    return arguments[1]


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
