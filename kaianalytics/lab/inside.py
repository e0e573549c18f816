"""What is put into a kernel so that ordinary work goes on behind the wall; an IPython extension, in part.

1. `!command` runs over pipes. IPython would ask for a terminal of its own, and terminals are not given: through them a
   kernel could write to another one of the same user.
2. A file's mode and times are set by descriptor where they may not be set by path.

None of it protects anything: who takes it out only makes their own work harder.
"""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

_CHUNK = 65536


def load_ipython_extension(shell: Any) -> None:
    """Called by IPython when the kernel is up."""

    def system(command: str) -> None:
        """Run a command of `!`, its output shown as it comes; its exit code is `_exit_code`."""
        if command.rstrip().endswith("&"):
            raise OSError("Background processes not supported.")
        # the frame that called this holds the variables that the command names
        shell.user_ns["_exit_code"] = run_shown(shell.var_expand(command, depth=1))

    shell.system = system


def change_by_descriptor() -> None:
    """Have os.chmod and os.utime go by descriptor where they may not go by path; before a library copies a file."""
    os.chmod = _or_by_descriptor(os.chmod, os.fchmod)
    os.utime = _or_by_descriptor(os.utime, os.utime)


def run_shown(command: str) -> int:
    """Run a shell command and print what it says as it says it; its exit code, negative for a signal."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    with subprocess.Popen(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            while said := os.read(process.stdout.fileno(), _CHUNK):
                sys.stdout.write(decoder.decode(said))
                sys.stdout.flush()
        except KeyboardInterrupt:
            process.terminate()
            raise
    return process.returncode


def _or_by_descriptor(by_path: Callable[..., None], by_descriptor: Callable[..., None]) -> Callable[..., None]:
    @wraps(by_path)
    def changed(path: Any, *arguments: Any, **named: Any) -> None:
        try:
            by_path(path, *arguments, **named)
        except PermissionError:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                by_descriptor(descriptor, *arguments)
            finally:
                os.close(descriptor)

    return changed
