"""A real kernel of one purpose, started by our provisioner, for tests that talk to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from kaianalytics.attack.in_kernels import READY_SECONDS, started
from kaianalytics.lab import environment
from kaianalytics.lab.server import KaiKernelSpecs


@dataclass
class Said:
    """What a cell printed, the text of what it showed, and the error it ended in."""

    printed: str = ""
    shown: list[str] = field(default_factory=list)
    error: dict[str, Any] = field(default_factory=dict)


@dataclass
class Kernel:
    """A running kernel and a client of it."""

    manager: KernelManager
    client: BlockingKernelClient

    def run(self, code: str, on_print: Callable[[str], object] = lambda text: None) -> Said:
        """Run a cell to its end; `on_print` is told each text that it prints."""
        said = Said()

        def hear(message: dict[str, Any]) -> None:
            _hear(said, message)
            if message["msg_type"] == "stream":
                on_print(message["content"]["text"])

        try:
            self.client.execute_interactive(code, output_hook=hear, timeout=READY_SECONDS, allow_stdin=False)
        except TimeoutError:
            assert self.manager.is_alive(), f"the kernel ended while it ran: {code}"
            raise
        return said

    def restart(self) -> None:
        """Restart the kernel and wait for it."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(READY_SECONDS)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        return int(self.manager.provisioner.pid)


@contextmanager
def server_environment(socket: Path, identity: Path, workspaces: Path) -> Iterator[None]:
    """This process's environment as that of a server on a gateway, with a secret that no kernel may see."""
    ours = {
        environment.SOCKET: str(socket),
        environment.IDENTITY: str(identity),
        environment.WORKSPACES: str(workspaces),
        "PLANTED_SECRET": "hunter2-in-the-server",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def manager_for(share: Path, kernel: str) -> KernelManager:
    """A manager that knows the kernelspecs under `share` alone."""
    return KernelManager(kernel_name=kernel, kernel_spec_manager=KaiKernelSpecs(kernel_dirs=[str(share / "kernels")]))


@contextmanager
def running(manager: KernelManager) -> Iterator[Kernel]:
    """The kernel of `manager`, from ready until it is gone."""
    with started(manager) as client:
        yield Kernel(manager, client)


def _hear(said: Said, message: dict[str, Any]) -> None:
    content = message["content"]
    if message["msg_type"] == "stream":
        said.printed += content["text"]
    elif message["msg_type"] in ("execute_result", "display_data"):
        said.shown.append(content["data"].get("text/plain", ""))
    elif message["msg_type"] == "error":
        said.error = content
