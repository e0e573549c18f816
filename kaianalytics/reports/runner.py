"""One run of one report, from the lease to the gateway's answer.

The runner holds no data and decides nothing: the gateway leases a run only if its approval stands, and publishes only
what it checks itself. In order:
1. look at the notebook and its parameters;   2. lease;   3. execute in a folder of the run's own;   4. finish.
A run that was leased is always finished, as failed if anything went wrong: failed runs keep their charge and are never
published.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaianalytics.client.launch import ReportLaunch, kernel_statement
from kaianalytics.client.transport import GatewayClient
from kaianalytics.errors import KaiError
from kaianalytics.protocol import API, RunGrant
from kaianalytics.reports import engine
from kaianalytics.reports.description import read_notebook


@dataclass(frozen=True)
class ReportSpec:
    """What to run: the report's name, the share/jupyter folder of kernelspecs, and the seconds each cell may take."""

    name: str
    kernels: Path
    cell_seconds: int | None = 600


@dataclass(frozen=True)
class RunResult:
    """How a run ended: its number, the gateway's answer, the executed notebook; code and sentence of a failure."""

    run: int
    publication: Mapping[str, Any]
    executed: Mapping[str, Any]
    failed_code: str = ""
    failed_sentence: str = ""

    @property
    def failed(self) -> bool:
        """Whether the run did not reach its end; then nothing was published."""
        return bool(self.failed_code)


def run_report(
    gateway: GatewayClient, spec: ReportSpec, notebook: bytes, parameters: Mapping[str, Any], workdir: Path
) -> RunResult:
    """Run the report once; `workdir` takes a temporary folder for the run, which is gone afterwards.

    Raises the gateway's refusal where it grants no lease, Refused where the notebook or its parameters can't be run.
    """
    source = read_notebook(notebook)
    with tempfile.TemporaryDirectory(prefix="run-", dir=workdir) as temporary:
        folder = Path(temporary)
        engine.check_parameters(source, parameters, folder)
        asked = {
            "report": spec.name,
            "notebook": source,
            "parameters": dict(parameters),
            **kernel_statement(os.environ),
        }
        lease = RunGrant.from_json(gateway.request_json("POST", f"{API}/runs", asked))
        launch = ReportLaunch(lease.session, gateway.socket_path, folder / "workspace", spec.kernels)
        return _run(gateway, spec, lease.run, source, parameters, launch, folder)


def _run(
    gateway: GatewayClient,
    spec: ReportSpec,
    run: int,
    source: Mapping[str, Any],
    parameters: Mapping[str, Any],
    launch: ReportLaunch,
    folder: Path,
) -> RunResult:
    try:
        execution = engine.execute(source, parameters, launch, folder, cell_seconds=spec.cell_seconds)
    except BaseException as error:
        # whatever ended it, even an interrupt: the gateway must not wait for this run
        code = error.code if isinstance(error, KaiError) else "RUN_BROKE_OFF"
        _finish(gateway, run, {"notebook": None, "failed": True, "code": code})
        raise
    notebook = None if execution.failed else execution.notebook
    body = {"notebook": notebook, "failed": execution.failed, "code": execution.failed_code}
    return RunResult(
        run, _finish(gateway, run, body), execution.notebook, execution.failed_code, execution.failed_sentence
    )


def _finish(gateway: GatewayClient, run: int, body: Mapping[str, Any]) -> dict[str, Any]:
    stated = kernel_statement(os.environ)
    return gateway.request_json("POST", f"{API}/runs/{run}/finish", {**body, **stated})
