"""Questions in a real kernel: planned, asked by `%%kai`, found again in the record, completed as they are typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_gateway import IDENTITY, FakeGateway
from support.kernels import Kernel, manager_for, running, server_environment

from kaianalytics.lab import kernelspecs

CONNECT = "import kaianalytics; kai = kaianalytics.connect()"
QUESTION = "SELECT device, COUNT(*) AS visits FROM sessions GROUP BY device"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> FakeGateway:
    return FakeGateway(tmp_path_factory.mktemp("questions") / "g")


@pytest.fixture(scope="module")
def kernel(gateway: FakeGateway) -> Iterator[Kernel]:
    """A connected kernel of a purpose."""
    folder = gateway.socket_path.parent
    (folder / "identity").write_text(IDENTITY)
    kernelspecs.install([("ad-targeting", "Ad targeting")], folder / "share")
    with (
        server_environment(gateway.socket_path, folder / "identity", Path(folder) / "workspaces"),
        gateway.serving(),
        running(manager_for(folder / "share", "kai-ad-targeting")) as started,
    ):
        assert started.run(CONNECT).error == {}
        yield started


def test_a_question_is_planned_asked_and_found_again(kernel: Kernel, gateway: FakeGateway) -> None:
    said = kernel.run(
        f"plan = kai.cost({QUESTION!r}, accuracy=50)\n"
        f"print(plan.to_polars()['half_width'].to_list(), plan.rho, kai.accuracy({QUESTION!r}, epsilon=0.1).rho)\n"
        f"answer = kai.stats({QUESTION!r}, rho=plan.rho, bounds={{'rows': 20}}, tables={{'own': {{'a': [1]}}}})\n"
        "again = kai.releases(contains='device')[0]\n"
        "print(again.release == answer.release, len(kai.releases(view='x', contains='no')))\n"
        "print(kai.budget(rho=0.001).questions_left)"
    )
    assert said.error == {}
    assert said.printed.splitlines() == ["[50.0] 0.002 0.002", "True 0", "498"]
    asked = {"sql": QUESTION, "rho": "0.002", "bounds": {"rows": 20}, "tables": {"own": {"a": [1]}}}
    assert gateway.asked[:3] == [
        {"sql": QUESTION, "accuracy": "50"}, {"sql": QUESTION, "epsilon": "0.1"}, asked,
    ]  # fmt: skip
    assert gateway.asked[4] == {"view": "x", "contains": "no"}


def test_a_cell_of_sql_is_asked_and_kept(kernel: Kernel) -> None:
    said = kernel.run(f"%%kai rho=0.002 as=visits\n{QUESTION}")
    assert said.error == {} and "12,034 ± 41" in said.shown[0]
    assert kernel.run("print(visits.rollup().to_polars()['visits'].to_list())").printed == "[17052]\n"
    refused = kernel.run(f"%%kai\n{QUESTION}").error
    assert refused["traceback"][0] == "Refused: A question names its price. [PRICE_MISSING]"


def test_a_question_is_completed_as_it_is_typed(kernel: Kernel) -> None:
    for typed in ("%%kai rho=0.002\nSELECT COUNT(*) FROM sess", 'kai.stats("SELECT COUNT(*) FROM sess'):
        reply = kernel.client.complete(typed, len(typed), reply=True, timeout=60)["content"]
        assert reply["matches"] == ["sessions"] and reply["cursor_start"] == len(typed) - len("sess")
