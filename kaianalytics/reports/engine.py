"""papermill, as reports are run: our engine, the look at a notebook's parameters, and one execution.

Laws:
1. Without a leased run nothing is executed. The lease comes in process: it is in no environment, file or argument.
2. The notebook's purpose tag, its kernelspec and the lease name one purpose.
3. Only parameters that the notebook's own `parameters` cell names are injected, and only JSON scalars: papermill
   writes a parameter's name into the source as it is, so that a name may be code. The output of a run is no source.
4. A cell that fails ends the run. What failed is told by a code and, for a refusal, by its sentence, which is for the
   report's author; the text of any other exception may hold data and is not repeated (law 5 of the design).

papermill is imported here and nowhere else. The engine is registered by name when this module is imported, and not by
an entry point: papermill loads those while it is itself half imported, and its own command line has no lease to give.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient  # type: ignore[import-untyped]  # papermill ships no types
from papermill.engines import NBClientEngine, papermill_engines  # type: ignore[import-untyped]  # as above
from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]  # as above
from papermill.execute import execute_notebook  # type: ignore[import-untyped]  # as above
from papermill.inspection import inspect_notebook  # type: ignore[import-untyped]  # as above
from papermill.log import logger  # type: ignore[import-untyped]  # as above

from kaianalytics import errors
from kaianalytics.client.launch import ReportLaunch
from kaianalytics.errors import Fault, KaiError, PolicyRefused, Refused

ENGINE = "kai"
INJECTED_TAG = "injected-parameters"
_CODE_IN_MESSAGE = re.compile(r"\[([A-Z][A-Z0-9_]*)\]$")  # as KaiError.__str__ ends its first line


@dataclass(frozen=True)
class Execution:
    """What a run came to: the executed notebook, and where it failed, a code with a sentence."""

    notebook: Mapping[str, Any]
    failed_code: str = ""
    failed_sentence: str = ""

    @property
    def failed(self) -> bool:
        """Whether the run did not reach its end."""
        return bool(self.failed_code)


class KaiEngine(NBClientEngine):  # type: ignore[misc]  # papermill ships no types, so its class counts as Any
    """Runs a notebook in the kernel of its lease's purpose, started by our provisioner."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        launch: ReportLaunch | None = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **_: Any,
    ) -> None:
        """Execute every cell under `launch`; timeouts are in seconds, the execution's being each cell's."""
        if launch is None:
            raise Refused(
                "NO_LEASE",
                "A report runs under a lease of the gateway.",
                rule="an approval is verified at every run",
                hint="use `kai report run`",
            )
        check_purpose(nb_man.nb, launch.grant.purpose)
        manager = _kernel_manager(launch)
        client = PapermillNotebookClient(
            nb_man,
            km=manager,
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            timeout=execution_timeout,
            log=logger,
        )
        # env={}: what a kernel gets of this process's environment is the provisioner's allow-list alone
        client.execute(kai_launch=launch, env={}, cleanup_kc=True)


papermill_engines.register(ENGINE, KaiEngine)


def check_purpose(notebook: Mapping[str, Any], purpose: str) -> None:
    """Return if the notebook's purpose tag and kernelspec are the purpose's; else PolicyRefused."""
    metadata = notebook.get("metadata", {})
    tagged = metadata.get("kai", {}).get("purpose", "")
    kernel = metadata.get("kernelspec", {}).get("name", "")
    if (tagged, kernel) != (purpose, f"kai-{purpose}"):
        raise PolicyRefused(
            "PURPOSE_MISMATCH",
            f"The run is leased for `{purpose}`, but the notebook is tagged `{tagged}` with the kernel `{kernel}`.",
            rule="the purpose tag, the kernel and the lease agree",
            hint=f"choose the kernel `kai-{purpose}`, set the tag `kai.purpose`, and submit the notebook again",
        )


def check_parameters(notebook: Mapping[str, Any], parameters: Mapping[str, Any], folder: Path) -> None:
    """Return if `parameters` may be injected (law 3); else Refused. `folder` takes a working copy of the notebook."""
    tags = (cell.get("metadata", {}).get("tags", []) for cell in notebook["cells"])
    if any(INJECTED_TAG in cell_tags for cell_tags in tags):
        raise Refused(
            "INJECTED_CELL",
            f"The source holds a cell tagged `{INJECTED_TAG}`: it is the output of a run.",
            rule="what was approved is what runs",
            hint="run the source notebook",
        )
    named = _named_parameters(notebook, folder) if parameters else {}
    for name, value in parameters.items():
        if name not in named or not name.isidentifier() or keyword.iskeyword(name):
            raise Refused(
                "PARAMETER_UNKNOWN",
                "A parameter is given that the notebook's `parameters` cell does not name.",
                hint="it names: " + (", ".join(sorted(named)) or "none"),
            )
        if not _is_json_scalar(value):
            raise Refused(
                "PARAMETER_NOT_SCALAR",
                f"The parameter `{name}` is not a text, a number, true, false or null.",
                hint="give one value to each parameter",
            )


def execute(
    source: Mapping[str, Any],
    parameters: Mapping[str, Any],
    launch: ReportLaunch,
    folder: Path,
    *,
    cell_seconds: int | None = None,
) -> Execution:
    """Run the notebook with `parameters` under `launch`; `folder` takes papermill's input and output."""
    check_purpose(source, launch.grant.purpose)
    before, after = folder / "source.ipynb", folder / "executed.ipynb"
    _write(source, before)
    try:
        execute_notebook(
            before,
            after,
            parameters=dict(parameters),
            engine_name=ENGINE,
            kernel_name=launch.kernel_name,
            language="python",
            progress_bar=False,
            launch=launch,
            execution_timeout=cell_seconds,
        )
    except PapermillExecutionError as error:
        return Execution(_executed(after), *_failure(error))
    except CellTimeoutError:
        return Execution(_executed(after), "CELL_TIMEOUT", "A cell did not end in the time that a run gives it.")
    except DeadKernelError:
        return Execution(_executed(after), "KERNEL_ENDED", "The kernel ended before the notebook did.")
    return Execution(_executed(after))


def _kernel_manager(launch: ReportLaunch) -> AsyncKernelManager:
    # the kernels of this machine's Jupyter are no concern of a report: only the folder that it was given counts
    specs = KernelSpecManager(kernel_dirs=[str(launch.kernels / "kernels")], ensure_native_kernel=False)
    return AsyncKernelManager(kernel_name=launch.kernel_name, kernel_spec_manager=specs)


def _named_parameters(notebook: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    copy = folder / "inspected.ipynb"
    _write(notebook, copy)
    try:
        return dict(inspect_notebook(copy))
    except ValueError:  # it names no language to read the cell by
        raise Fault("NOT_A_NOTEBOOK", "The notebook names no kernel.", hint="save it from a purpose's kernel") from None
    finally:
        copy.unlink()


def _write(notebook: Mapping[str, Any], path: Path) -> None:
    """The notebook with Python as its language, which papermill needs and a hand-written notebook may not say."""
    metadata = dict(notebook["metadata"])
    metadata["kernelspec"] = {"language": "python", **metadata.get("kernelspec", {})}
    path.write_text(json.dumps({**notebook, "metadata": metadata}), encoding="utf-8")


def _executed(path: Path) -> dict[str, Any]:
    """What papermill wrote, without where it lay on this machine."""
    notebook: dict[str, Any] = json.loads(path.read_bytes())
    for name in ("input_path", "output_path"):
        notebook["metadata"].get("papermill", {}).pop(name, None)
    return notebook


def _failure(error: Any) -> tuple[str, str]:
    """The code and sentence of a cell's failure (law 4)."""
    kind = getattr(errors, str(error.ename), None)
    first_line, _, _ = str(error.evalue).partition("\n")
    if isinstance(kind, type) and issubclass(kind, KaiError) and (found := _CODE_IN_MESSAGE.search(first_line)):
        return found[1], str(error.evalue)
    return "CELL_FAILED", f"Cell {error.cell_index + 1} of the notebook failed."


def _is_json_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
