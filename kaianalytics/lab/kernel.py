"""The program that a kernel's process becomes: ipykernel, with what this package puts into it.

Run by path as `python -I -B kernel.py -f CONNECTION_FILE`, after the confinement. A notebook finds this package
wherever it lies: in a development install that is a folder whose parent a confined process can't list, so that the
usual search would not find it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "kaianalytics"
EXTENSION = f"{PACKAGE}.lab.inside"


class ThisPackage:
    """Finds this package in the folder that this file is in."""

    folder = Path(__file__).resolve().parent.parent

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The package's own spec; what is in it is then found as usual."""
        if name != PACKAGE:
            return None
        return importlib.util.spec_from_file_location(
            name, cls.folder / "__init__.py", submodule_search_locations=[str(cls.folder)]
        )


def main(arguments: Sequence[str]) -> None:
    """Run the kernel until it is told to end."""
    sys.meta_path.insert(0, ThisPackage)
    from ipykernel.kernelapp import IPKernelApp

    from kaianalytics.lab.inside import change_by_descriptor

    class Kernel(IPKernelApp):
        """ipykernel, which leaves the connection file as the provisioner wrote it: it may be the server's to read."""

        def write_connection_file(self, **_: Any) -> None:
            """Nothing: every channel's name was chosen before."""

    change_by_descriptor()
    Kernel.launch_instance([*arguments, f"--ext={EXTENSION}"])


if __name__ == "__main__":
    main(sys.argv[1:])
