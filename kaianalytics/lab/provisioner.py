"""How a purpose's kernel starts: the one choke point of JupyterLab, consoles, nbclient and papermill.

Laws:
1. No grant, no kernel. A grant is asked of the gateway at each launch and each restart; a purpose that is missing,
   unknown or not open is the gateway's to refuse, and its sentence is the error that the start fails with.
2. The kernel inherits pipes and its end of the handover. Nothing secret is in its environment, its arguments or a file,
   and neither the server's terminal nor its log is among its descriptors.
3. The command is this package's launcher, whatever the kernelspec's `argv` says.
4. The channels are Unix sockets in a 0700 folder of this kernel, encrypted: TCP ports on the loopback are open to every
   user of the machine, and a publish channel asks its readers for no key.
5. The kernel is confined as its grant says, or it does not start: the launcher tells which layers hold.
6. What was opened for a kernel is closed with it, its session too: its token opens nothing more, and its workers end.

The walk of one start:

    pre_launch     the gateway grants a session → the workspace is made and swept → the runtime folder → the connection
                   file → pipes: the grant, the confinement, the report; the handover begins to serve
    launch_kernel  a control group; launcher: closes the rest → limits → namespaces → capabilities → Landlock → seccomp
                   → reports → becomes kernel.py; here the report is read, and a kernel with less is ended
    the notebook   reads the grant from its pipe once; asks for sockets; each is bound to its token before it is sent
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Unicode

from kaianalytics.client.connection import HANDOVER_FD, TOKEN_FD
from kaianalytics.client.launch import KernelUser, ReportLaunch, kernel_statement, kernel_user, launched_level
from kaianalytics.client.transport import GatewayClient
from kaianalytics.errors import Fault
from kaianalytics.lab import environment, expiry, folders, launcher
from kaianalytics.lab.handover import Handover, binding_of, close_session
from kaianalytics.lab.pipes import Pipes
from kaianalytics.protocol import API, GUARD_RAILS_ONLY, SessionGrant, SessionRequest
from kaianalytics.sandbox import cgroups
from kaianalytics.sandbox.confine import ConfinementFault
from kaianalytics.sandbox.confinement import ESSENTIAL, Confinement, KernelLimits, Layer, kernel

PACKAGE = Path(__file__).resolve().parent.parent


class KaiProvisioner(LocalProvisioner):
    """Starts a local kernel for the one purpose that its kernelspec names."""

    purpose = Unicode("", help="The key of the purpose that this kernel works for.").tag(config=True)

    _runtime: Path | None = None
    _handover: Handover | None = None
    _pipes: Pipes | None = None
    _confinement: Confinement | None = None
    _group: int | None = None  # the process that made the kernel's control group
    _one_grant = False  # whether a restart uses the grant again
    _session_of: tuple[Path, SessionGrant] | None = None  # the gateway's socket and the grant of this launch

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Popen's arguments for this launch, which hold a grant that no earlier launch had."""
        report: ReportLaunch | None = kwargs.pop("kai_launch", None)
        server = dict(os.environ)
        grant, socket, workspace = await self._session(report, server, kwargs.pop("env", server))
        self._release()
        self._session_of, self._one_grant = (socket, grant), report is not None
        user = kernel_user(server)
        self._runtime = self._runtime or folders.private_folder(user)
        self._use_private_channels(self._runtime)
        folders.prepare_workspace(workspace, user)
        if not report:
            await asyncio.to_thread(self._sweep, workspace, socket, grant, server)
        env = environment.kernel_environment(server, workspace, self._runtime)
        kwargs = await super().pre_launch(**{**kwargs, "env": env, "transport_encryption": "required"})
        folders.give(Path(self._manager.connection_file), user)
        # also where the gateway does not vouch for it
        confined = {grant.isolation, launched_level()} != {GUARD_RAILS_ONLY}
        self._confinement = self.confinement(workspace, self._runtime, user) if confined else None
        inherited = self._hand_in(grant, socket)
        # not the `env` that came back: the kernelspec may add to that one
        env |= {name: str(descriptor) for name, descriptor in inherited.items()}
        return {
            **kwargs,
            "cmd": self._command(),
            "cwd": "/",  # the launcher goes to the workspace itself: before that, no folder of an analyst is searched
            "env": env,
            "pass_fds": tuple(inherited.values()),
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            **folders.start_as(user),
        }

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the process; whether or not it starts, this process keeps nothing that was meant for it."""
        try:
            facts = await super().launch_kernel(cmd, **kwargs)
            self._close_handed_in()
            await asyncio.to_thread(self._confine)
            return facts
        except (OSError, Fault):
            await self.kill()
            await self.wait()
            await self.cleanup()
            raise
        finally:
            self._close_handed_in()

    async def cleanup(self, restart: bool = False) -> None:
        """Close what was opened for the kernel; a restart keeps the folder of its channels."""
        await super().cleanup(restart=restart)
        self._release()
        await self._close_session(restart)
        if self._runtime and not restart:
            folders.remove(self._runtime)
            self._runtime = None

    def confinement(self, workspace: Path, runtime: Path, user: KernelUser | None) -> Confinement:
        """What this kernel may read, write, run and open sockets in; a fault where that holds what it must not see."""
        umask = folders.UMASK if user is None else folders.UMASK_OF_ANOTHER
        made = kernel(workspace, runtime, PACKAGE, KernelLimits.of_this_machine(), umask=umask)
        environment.demand_out_of_sight(os.environ, (*made.run, *made.read))
        return made

    async def _close_session(self, restart: bool) -> None:
        """End the session, unless the same grant starts the next kernel: a run has one for all of its launches."""
        if self._session_of and not (restart and self._one_grant):
            (socket, grant), self._session_of = self._session_of, None
            await asyncio.to_thread(close_session, socket, grant)

    async def _session(
        self, report: ReportLaunch | None, server: Mapping[str, str], asked: Mapping[str, str]
    ) -> tuple[SessionGrant, Path, Path]:
        """The grant, the gateway's socket and the workspace of this launch (law 1)."""
        if report:
            if report.grant.purpose != self.purpose:
                raise Fault("PURPOSE_MISMATCH", "The run's purpose is not its kernel's.", hint="lease the run again")
            return report.grant, report.gateway_socket, Path(os.path.realpath(report.workspace))
        socket = environment.gateway_socket(server)
        # in a thread, for the server's event loop serves other people's kernels meanwhile
        grant = await asyncio.to_thread(self._ask_for_grant, socket, server, asked)
        return grant, socket, environment.workspace_of(server, grant.user, grant.purpose)

    def _ask_for_grant(self, socket: Path, server: Mapping[str, str], asked: Mapping[str, str]) -> SessionGrant:
        # Jupyter names the notebook by a path of the server; its name is all that the record needs
        notebook = Path(asked.get("JPY_SESSION_NAME", "")).name
        request = SessionRequest(self.purpose, self.kernel_id, notebook, **kernel_statement(server))
        answer = GatewayClient(socket, environment.identity_token(server)).request_json(
            "POST", f"{API}/sessions", asdict(request)
        )
        return SessionGrant(**answer)

    def _sweep(self, workspace: Path, socket: Path, grant: SessionGrant, server: Mapping[str, str]) -> None:
        """Remove what may not stay in the workspace, and say so."""
        if removed := expiry.sweep(workspace, grant.files_since):
            told = {"purpose": grant.purpose, "files": removed, "since": grant.files_since}
            door = GatewayClient(socket, environment.identity_token(server))
            door.request_json("POST", f"{API}/workspaces/removals", told)

    def _use_private_channels(self, runtime: Path) -> None:
        """Make the kernel's manager use sockets in `runtime` (law 4)."""
        manager = self._manager
        manager.transport = "ipc"
        manager.cache_ports = False
        manager.connection_file = str(runtime / "kernel.json")
        manager.ip = str(runtime / "k")

    def _hand_in(self, grant: SessionGrant, socket: Path) -> dict[str, int]:
        """Open what the kernel inherits; the variables that name each descriptor (law 2)."""
        self._pipes = Pipes()
        self._handover = Handover(socket, binding_of(grant))
        self._handover.start()
        return {
            TOKEN_FD: self._pipes.give(json.dumps(asdict(grant))),
            launcher.CONFINEMENT_FD: self._pipes.give_later(),
            launcher.REPORT_FD: self._pipes.take(),
            HANDOVER_FD: self._handover.kernels_end,
        }

    def _confine(self) -> None:
        """Give the launcher its confinement; ConfinementFault unless every essential layer of it holds (law 5)."""
        assert self._pipes and self.pid
        given = self._confinement
        if given and Layer.CGROUPS in given.layers:
            self._group = self.pid
            cgroups.place(self.pid, given.memory, given.processes)
        self._pipes.give_now(given.to_json() if given else "")
        said = self._pipes.taken()
        layers = json.loads(said).get("layers", ()) if said else ()
        wanted = given.layers & ESSENTIAL if given else frozenset()
        for layer in sorted(wanted - set(layers)):
            raise ConfinementFault(layer)

    @property
    def _manager(self) -> Any:
        """The kernel manager that started this; its traits have types at run time only."""
        return self.parent

    def _command(self) -> list[str]:
        return [sys.executable, "-I", str(launcher.__file__), "-f", self._manager.connection_file]

    def _close_handed_in(self) -> None:
        if self._pipes:
            self._pipes.close_given()
        if self._handover:
            self._handover.handed_in()

    def _release(self) -> None:
        if self._pipes:
            self._pipes.close()
            self._pipes = None
        if self._handover:
            self._handover.stop()
            self._handover = None
        if self._group:
            cgroups.remove(self._group)
            self._group = None
