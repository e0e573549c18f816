"""Kernels with a layer of the wall taken away: a provisioner for tests alone, to see what needs the layer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from traitlets import List

from kaianalytics.client.launch import KernelUser
from kaianalytics.lab import kernelspecs
from kaianalytics.lab.provisioner import KaiProvisioner
from kaianalytics.sandbox.confinement import Confinement

NAME = "kai-for-tests"


class WeakerProvisioner(KaiProvisioner):
    """Our provisioner, whose confinement lacks the layers that its kernelspec names."""

    without = List(help="Names of layers.").tag(config=True)

    def confinement(self, workspace: Path, runtime: Path, user: KernelUser | None) -> Confinement:
        """The real one without some layers."""
        made = super().confinement(workspace, runtime, user)
        return replace(made, layers=made.layers - set(self.without))


def weaker_manager(folder: Path, purpose: str, without: Iterable[str]) -> KernelManager:
    """A manager of a kernel that lacks layers; its kernelspec is written under `folder`."""
    entry = EntryPoint(NAME, f"{__name__}:WeakerProvisioner", "jupyter_client.kernel_provisioners")
    KernelProvisionerFactory.instance(parent=None).provisioners[NAME] = entry
    spec = kernelspecs.kernelspec(purpose, "For a test")
    config = {"purpose": purpose, "without": sorted(without)}
    spec["metadata"]["kernel_provisioner"] = {"provisioner_name": NAME, "config": config}
    name = kernelspecs.spec_name(purpose)
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    specs = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
    return KernelManager(kernel_name=name, kernel_spec_manager=specs)
