"""How a purpose's kernel starts: the one choke point of JupyterLab, consoles, nbclient and papermill.

Laws:
1. No grant, no kernel. A grant is asked of the gateway at each launch and each restart; a purpose that is missing,
   unknown or not open is the gateway's to refuse, and its sentence is the error that the start fails with.
2. The kernel inherits two descriptors: a pipe with its grant, and its end of the handover. Nothing secret is in its
   environment, its arguments or a file.
3. The command is this package's launcher, whatever the kernelspec's `argv` says.
4. The channels are Unix sockets in a 0700 folder of this kernel, encrypted: TCP ports on the loopback are open to every
   user of the machine, and a publish channel asks its readers for no key.
5. What was opened for a kernel is closed with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Unicode

from kaianalytics.client.connection import HANDOVER_FD, TOKEN_FD
from kaianalytics.client.launch import ReportLaunch
from kaianalytics.client.transport import GatewayClient
from kaianalytics.errors import Fault
from kaianalytics.lab import environment, launcher
from kaianalytics.lab.handover import Handover
from kaianalytics.protocol import API, SessionGrant, SessionRequest

SOCKET_PATH_MAX = 107  # bytes of a Unix socket's path that Linux takes; other systems take 103
_CHANNEL_SUFFIX = "/k-00"


class KaiProvisioner(LocalProvisioner):
    """Starts a local kernel for the one purpose that its kernelspec names."""

    purpose = Unicode("", help="The key of the purpose that this kernel works for.").tag(config=True)

    _runtime: Path | None = None
    _handover: Handover | None = None
    _grant_pipe: int | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Popen's arguments for this launch, which hold a grant that no earlier launch had."""
        report: ReportLaunch | None = kwargs.pop("kai_launch", None)
        server = dict(os.environ)
        grant, socket, workspace = await self._session(report, server, kwargs.pop("env", server))
        self._release()
        self._runtime = self._runtime or _private_folder()
        self._use_private_channels(self._runtime)
        env = environment.kernel_environment(server, environment.prepare_workspace(workspace), self._runtime)
        kwargs = await super().pre_launch(**{**kwargs, "env": env, "transport_encryption": "required"})
        inherited = self._hand_in(grant, socket)
        # not the `env` that came back: the kernelspec may add to that one
        env |= {name: str(descriptor) for name, descriptor in inherited.items()}
        return {
            **kwargs,
            "cmd": self._command(),
            "cwd": str(workspace),
            "env": env,
            "pass_fds": tuple(inherited.values()),
        }

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the process; whether or not it starts, this process keeps nothing that was meant for it."""
        try:
            return await super().launch_kernel(cmd, **kwargs)
        except OSError:
            await self.cleanup()
            raise
        finally:
            self._close_grant_pipe()
            if self._handover:
                self._handover.handed_in()

    async def cleanup(self, restart: bool = False) -> None:
        """Close what was opened for the kernel; a restart keeps the folder of its channels."""
        await super().cleanup(restart=restart)
        self._release()
        if self._runtime and not restart:
            shutil.rmtree(self._runtime, ignore_errors=True)
            self._runtime = None

    async def _session(
        self, report: ReportLaunch | None, server: Mapping[str, str], asked: Mapping[str, str]
    ) -> tuple[SessionGrant, Path, Path]:
        """The grant, the gateway's socket and the workspace of this launch (law 1)."""
        if report:
            if report.grant.purpose != self.purpose:
                raise Fault("PURPOSE_MISMATCH", "The run's purpose is not its kernel's.", hint="lease the run again")
            return report.grant, report.gateway_socket, report.workspace
        socket = environment.gateway_socket(server)
        # in a thread, for the server's event loop serves other people's kernels meanwhile
        grant = await asyncio.to_thread(self._ask_for_grant, socket, server, asked)
        return grant, socket, environment.workspace_of(server, grant.user, grant.purpose)

    def _ask_for_grant(self, socket: Path, server: Mapping[str, str], asked: Mapping[str, str]) -> SessionGrant:
        # Jupyter names the notebook by a path of the server; its name is all that the record needs
        notebook = Path(asked.get("JPY_SESSION_NAME", "")).name
        request = SessionRequest(self.purpose, self.kernel_id, notebook)
        answer = GatewayClient(socket, environment.identity_token(server)).request_json(
            "POST", f"{API}/sessions", asdict(request)
        )
        return SessionGrant(**answer)

    def _use_private_channels(self, runtime: Path) -> None:
        """Make the kernel's manager use sockets in `runtime` (law 4)."""
        manager = self._manager
        manager.transport = "ipc"
        manager.cache_ports = False
        manager.connection_file = str(runtime / "kernel.json")
        manager.ip = str(runtime / "k")

    def _hand_in(self, grant: SessionGrant, socket: Path) -> dict[str, int]:
        """Open what the kernel inherits; the variables that name each descriptor (law 2)."""
        self._grant_pipe, writing = os.pipe()
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:  # far smaller than a pipe holds: this does not wait
            json.dump(asdict(grant), pipe)
        self._handover = Handover(socket)
        self._handover.start()
        return {TOKEN_FD: self._grant_pipe, HANDOVER_FD: self._handover.kernels_end}

    @property
    def _manager(self) -> Any:
        """The kernel manager that started this; its traits have types at run time only."""
        return self.parent

    def _command(self) -> list[str]:
        return [sys.executable, "-I", str(launcher.__file__), "-f", self._manager.connection_file]

    def _release(self) -> None:
        self._close_grant_pipe()
        if self._handover:
            self._handover.stop()
            self._handover = None

    def _close_grant_pipe(self) -> None:
        if self._grant_pipe is not None:
            os.close(self._grant_pipe)
            self._grant_pipe = None


def _private_folder() -> Path:
    """A new 0700 folder whose path leaves room for a socket's name."""
    usual = Path(os.environ.get("XDG_RUNTIME_DIR", "") or tempfile.gettempdir())
    room = SOCKET_PATH_MAX - len(_CHANNEL_SUFFIX) - len("/kai-12345678")
    base = usual if usual.is_dir() and len(os.fsencode(usual)) <= room else Path("/tmp")
    return Path(tempfile.mkdtemp(prefix="kai-", dir=base))
