"""What a report's kernel is started with: handed over in process, never by an environment, a file or an argument."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaianalytics.protocol import SessionGrant


@dataclass(frozen=True)
class ReportLaunch:
    """A leased run's session, the gateway's socket, the run's own workspace, and the folder of kernelspecs."""

    grant: SessionGrant
    gateway_socket: Path
    workspace: Path
    kernels: Path

    @property
    def kernel_name(self) -> str:
        """The one kernelspec that serves the run's purpose."""
        return f"kai-{self.grant.purpose}"
