"""Reports by papermill with our engine: what runs, what is refused, and what the gateway is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_gateway import IDENTITY, FakeGateway

from kaianalytics.client.launch import kernel_statement
from kaianalytics.client.transport import GatewayClient
from kaianalytics.errors import IdentityRefused, PolicyRefused, Refused
from kaianalytics.lab import kernelspecs
from kaianalytics.reports import engine
from kaianalytics.reports.runner import ReportSpec, read_notebook, run_report

CONNECT = "import kaianalytics\nkai = kaianalytics.connect()"


def notebook(*cells: str, purpose: str = "ad-targeting", kernel: str = "kai-ad-targeting") -> dict[str, Any]:
    """A notebook of format 4 whose first cell names the parameters `weeks` and `service`."""
    sources = ('weeks = 4\nservice = "news"', *cells)
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kai": {"purpose": purpose},
            "kernelspec": {"name": kernel, "display_name": "Kai: Ad targeting", "language": "python"},
        },
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": [] if number else ["parameters"]},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, source in enumerate(sources)
        ],
    }


def text(source: dict[str, Any]) -> bytes:
    return json.dumps(source).encode()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGateway]:
    with FakeGateway(tmp_path_factory.mktemp("gateway") / "g").serving() as serving:
        yield serving


@pytest.fixture
def spec(tmp_path: Path) -> ReportSpec:
    kernelspecs.install([("ad-targeting", "Ad targeting")], tmp_path / "share")
    return ReportSpec("weekly-reach", tmp_path / "share", cell_seconds=30)


@pytest.fixture
def client(gateway: FakeGateway) -> GatewayClient:
    return GatewayClient(gateway.socket_path, IDENTITY)


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def printed(executed: Any) -> str:
    return "".join(
        "".join(output["text"])
        for cell in executed["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    )


def test_a_report_runs_to_its_end_and_holds_no_token(
    gateway: FakeGateway, client: GatewayClient, spec: ReportSpec, workdir: Path
) -> None:
    source = notebook(CONNECT, "print(weeks, service, kai.stats('SELECT 1', rho='0.002').release.rows[0][1])")
    result = run_report(client, spec, text(source), {"weeks": 8, "service": 'it\'s "shop"\n'}, workdir)
    assert not result.failed
    assert printed(result.executed) == '8 it\'s "shop"\n 12034\n'
    finished = gateway.finished[-1]
    assert finished["run"] == result.run and finished["failed"] is False
    assert finished["notebook"] == result.executed
    sent = json.dumps(finished)
    assert not [token for token in (IDENTITY, *gateway.tokens) if token in sent]
    assert str(workdir) not in sent, "a path of this machine is in the notebook"
    assert gateway.leases[-1] == {
        "report": "weekly-reach",
        "notebook": source,
        "parameters": {"weeks": 8, "service": 'it\'s "shop"\n'},
        **kernel_statement(os.environ),
    }
    kept = [cell for cell in result.executed["cells"] if "injected-parameters" not in cell["metadata"]["tags"]]
    assert ["".join(cell["source"]) for cell in kept] == [cell["source"] for cell in source["cells"]]
    assert list(workdir.iterdir()) == []


def test_a_refusal_fails_the_run_and_is_told_by_its_code(
    gateway: FakeGateway, client: GatewayClient, spec: ReportSpec, workdir: Path
) -> None:
    source = notebook(CONNECT, "kai.stats('SELECT 1', rho='2')", "print('not reached')")
    result = run_report(client, spec, text(source), {}, workdir)
    assert (result.failed_code, "ask for less" in result.failed_sentence) == ("BUDGET_SPENT", True)
    assert printed(result.executed) == ""
    assert gateway.finished[-1] == {
        "run": result.run,
        "failed": True,
        "notebook": None,
        "code": "BUDGET_SPENT",
    } | kernel_statement({})


def test_an_error_of_the_notebook_is_told_by_its_place_alone(
    gateway: FakeGateway, client: GatewayClient, spec: ReportSpec, workdir: Path
) -> None:
    result = run_report(client, spec, text(notebook("raise ValueError('Hanako Sato [SECRET]')")), {}, workdir)
    assert result.failed_code == "CELL_FAILED"
    assert result.failed_sentence == "Cell 2 of the notebook failed."
    assert "Sato" not in json.dumps(gateway.finished[-1])


def test_a_cell_that_does_not_end_and_a_kernel_that_dies_fail_the_run(
    gateway: FakeGateway, client: GatewayClient, spec: ReportSpec, workdir: Path
) -> None:
    short = ReportSpec(spec.name, spec.kernels, cell_seconds=1)
    assert (
        run_report(client, short, text(notebook("import time; time.sleep(60)")), {}, workdir).failed_code
        == "CELL_TIMEOUT"
    )
    dead = run_report(client, spec, text(notebook("import os; os._exit(1)")), {}, workdir)
    assert dead.failed_code == "KERNEL_ENDED"
    assert gateway.finished[-1]["failed"] is True


@pytest.mark.parametrize(
    ("purpose", "kernel"),
    [
        ("ad-targeting", "kai-service-improvement"),
        ("ad-targeting", "python3"),
        ("service-improvement", "kai-ad-targeting"),
    ],
)
def test_a_tag_a_kernel_and_a_lease_that_disagree_are_refused_and_the_run_is_finished(
    purpose: str, kernel: str, gateway: FakeGateway, client: GatewayClient, spec: ReportSpec, workdir: Path
) -> None:
    with pytest.raises(PolicyRefused) as refused:
        run_report(client, spec, text(notebook(CONNECT, purpose=purpose, kernel=kernel)), {}, workdir)
    assert refused.value.code == "PURPOSE_MISMATCH"
    assert gateway.finished[-1]["failed"] is True and gateway.finished[-1]["code"] == "PURPOSE_MISMATCH"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"x=1;print('INJECTED');y": 1}, "PARAMETER_UNKNOWN"),
        ({"month": 1}, "PARAMETER_UNKNOWN"),
        ({"weeks": [1, 2]}, "PARAMETER_NOT_SCALAR"),
        ({"weeks": float("nan")}, "PARAMETER_NOT_SCALAR"),
    ],
)
def test_parameters_that_the_notebook_does_not_name_are_refused_before_the_lease(
    parameters: dict[str, Any], code: str, gateway: FakeGateway, client: GatewayClient, spec: ReportSpec, workdir: Path
) -> None:
    leased = len(gateway.leases)
    with pytest.raises(Refused) as refused:
        run_report(client, spec, text(notebook(CONNECT)), parameters, workdir)
    assert refused.value.code == code
    assert len(gateway.leases) == leased
    assert list(workdir.iterdir()) == []


def test_the_output_of_a_run_is_no_source(client: GatewayClient, spec: ReportSpec, workdir: Path) -> None:
    source = notebook(CONNECT)
    source["cells"][1]["metadata"]["tags"] = ["injected-parameters"]
    with pytest.raises(Refused) as refused:
        run_report(client, spec, text(source), {}, workdir)
    assert refused.value.code == "INJECTED_CELL"


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"nbformat": 3, "cells": []}', b'{"nbformat": 4}'])
def test_what_is_no_notebook_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        read_notebook(content)


def test_a_runner_that_the_gateway_does_not_know_gets_no_lease(
    gateway: FakeGateway, spec: ReportSpec, workdir: Path
) -> None:
    with pytest.raises(IdentityRefused):
        run_report(GatewayClient(gateway.socket_path, "forged"), spec, text(notebook(CONNECT)), {}, workdir)


def test_the_engine_runs_nothing_without_a_lease(tmp_path: Path) -> None:
    before = tmp_path / "source.ipynb"
    before.write_bytes(text(notebook("open('ran', 'w')")))
    with pytest.raises(Refused, match="kai report run"):
        engine.execute_notebook(before, tmp_path / "out.ipynb", engine_name="kai", progress_bar=False)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("first", ["kaianalytics.reports.engine", "papermill", "kaianalytics.reports.runner"])
def test_the_engine_is_there_whatever_is_imported_first(first: str) -> None:
    program = (
        f"import {first}, kaianalytics.reports.engine as e\nprint(e.papermill_engines.get_engine('kai') is e.KaiEngine)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
