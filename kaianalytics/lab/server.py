"""What our Jupyter server can start: the purposes' kernels and nothing else.

A list of allowed kernelspecs filters only what is shown; `POST /api/kernels` with another name would still start one.
So this manager knows no other names at all: each of its doors ends at `_find_spec_directory` or `find_kernel_specs`.
"""

from __future__ import annotations

from collections.abc import Awaitable

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import KernelManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from kaianalytics.lab.kernelspecs import PREFIX, PROVISIONER


class KaiKernelSpecs(KernelSpecManager):
    """The kernelspecs that start by our provisioner, under their own names."""

    def find_kernel_specs(self) -> dict[str, str]:
        """The purposes' kernelspecs by name."""
        self.ensure_native_kernel = False
        return {name: folder for name, folder in super().find_kernel_specs().items() if name.startswith(PREFIX)}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """One purpose's kernelspec; NoSuchKernel for any other name and for a kernelspec that would start otherwise."""
        if not kernel_name.startswith(PREFIX):
            raise NoSuchKernel(kernel_name)
        spec = super().get_kernel_spec(kernel_name)
        purpose = kernel_name.removeprefix(PREFIX)
        expected = {"provisioner_name": PROVISIONER, "config": {"purpose": purpose}}
        if spec.metadata.get("kernel_provisioner") != expected:
            raise NoSuchKernel(kernel_name)
        return spec


class KaiKernels(AsyncMappingKernelManager):
    """The server's kernels, of which a refused one is forgotten."""

    async def _add_kernel_when_ready(
        self, kernel_id: str, km: KernelManager, kernel_awaitable: Awaitable[object]
    ) -> None:
        """Jupyter's own, which keeps a kernel that did not start as pending: then the server can't end any more."""
        await super()._add_kernel_when_ready(kernel_id, km, kernel_awaitable)
        self._pending_kernels.pop(kernel_id, None)
