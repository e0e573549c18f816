"""One kernelspec per open purpose: a launcher card for each, and no card for anything else.

The purpose stands in the kernelspec, not in a field of the notebook that can be edited; `argv` is for people to read,
for the provisioner starts its own launcher whatever it says.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kaianalytics.errors import Fault
from kaianalytics.lab import launcher

PREFIX = "kai-"
PROVISIONER = "kai-provisioner"
_PURPOSE_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def install(purposes: Iterable[tuple[str, str]], folder: Path) -> tuple[Path, ...]:
    """Write a kernelspec for each (key, title) under `folder`/kernels and remove those of other purposes.

    `folder` is a share/jupyter folder as JUPYTER_PATH names them. Returns the kernelspecs' folders.
    """
    wanted = {spec_name(key): kernelspec(key, title) for key, title in purposes}
    kernels = folder / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    for stale in kernels.glob(f"{PREFIX}*"):
        if stale.name not in wanted:
            shutil.rmtree(stale)
    return tuple(_write(kernels / name, spec) for name, spec in wanted.items())


def spec_name(purpose: str) -> str:
    """The name of the kernelspec that serves a purpose; a fault if no kernel can have that name."""
    if not _PURPOSE_KEY.fullmatch(purpose):
        raise Fault(
            "PURPOSE_KEY_UNFIT",
            "A purpose's key is lower-case words and numbers joined by hyphens.",
            hint="mend the key in purposes.yaml",
        )
    return PREFIX + purpose


def kernelspec(purpose: str, title: str) -> dict[str, Any]:
    """The content of one purpose's kernel.json."""
    return {
        "argv": [sys.executable, "-I", str(launcher.__file__), "-f", "{connection_file}"],
        "display_name": f"Kai: {title}",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {
            "kernel_provisioner": {"provisioner_name": PROVISIONER, "config": {"purpose": purpose}},
            "supported_encryption": "curve",
        },
    }


def _write(folder: Path, spec: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    aside = folder / ".kernel.json"
    aside.write_text(json.dumps(spec, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(folder / "kernel.json")  # a server that lists kernels meanwhile sees a whole file
    return folder
