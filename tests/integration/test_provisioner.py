"""Real kernels by our provisioner, on a gateway over a real socket."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fake_gateway import IDENTITY, SNAPSHOT, FakeGateway
from support.kernels import Kernel, manager_for, running, server_environment

import kaianalytics
from kaianalytics.client import connection
from kaianalytics.client.launch import launched_level
from kaianalytics.client.transport import Door, GatewayClient
from kaianalytics.errors import Fault, HomeFault, IdentityRefused, PolicyRefused, Refused, Unreachable
from kaianalytics.lab import kernelspecs
from kaianalytics.lab.provisioner import KaiProvisioner
from kaianalytics.protocol import isolation_sentence


@dataclass
class Lab:
    """A folder with everything a server has, and the gateway it is on."""

    folder: Path
    gateway: FakeGateway

    @property
    def share(self) -> Path:
        return self.folder / "share"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "identity").write_text(IDENTITY + "\n")
    kernelspecs.install([("ad-targeting", "Ad targeting")], folder / "share")
    with server_environment(folder / "g", folder / "identity", folder / "workspaces"):
        yield Lab(folder, FakeGateway(folder / "g"))


@pytest.fixture
def quiet_lab(tmp_path: Path) -> Iterator[Lab]:
    """Another lab, whose gateway does not run until a test says so."""
    (tmp_path / "identity").write_text(IDENTITY)
    kernelspecs.install([("ad-targeting", "Ad targeting"), ("third-party", "Third party")], tmp_path / "share")
    with server_environment(tmp_path / "g", tmp_path / "identity", tmp_path / "workspaces"):
        yield Lab(tmp_path, FakeGateway(tmp_path / "g"))


@pytest.fixture(scope="module")
def kernel(lab: Lab) -> Iterator[Kernel]:
    """One kernel for the tests that leave it as it was."""
    with lab.gateway.serving(), running(manager_for(lab.share, "kai-ad-targeting")) as started:
        said = started.run("import kaianalytics; kai = kaianalytics.connect(); print(repr(kai))")
        assert said.error == {}
        first, *_, snapshot, isolation = said.printed.splitlines()
        assert first == "kaianalytics for ad-targeting, as hanako"
        assert (snapshot, isolation) == (f"Snapshot: {SNAPSHOT}", isolation_sentence(launched_level()))
        yield started


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text().replace("\0", "\n")


def test_a_kernel_sees_its_allow_list_and_no_token(kernel: Kernel, lab: Lab) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc on this system")
    inside = kernel.run("import os; print(dict(os.environ))").printed + environment_of(kernel.pid)
    arguments = Path(f"/proc/{kernel.pid}/cmdline").read_text()
    assert "hunter2" not in inside, "a secret of the server reached the kernel"
    for name in ("KAI_IDENTITY", "KAI_SOCKET", "KAI_WORKSPACES", str(lab.gateway.socket_path)):
        assert name not in inside + arguments
    for token in (IDENTITY, *lab.gateway.tokens):
        assert token not in inside + arguments
    assert "KAI_TOKEN_FD" not in kernel.run("import os; print(sorted(os.environ))").printed


def test_a_kernel_works_in_its_users_workspace_for_its_purpose(kernel: Kernel, lab: Lab) -> None:
    workspace = lab.folder / "workspaces" / "hanako" / "ad-targeting"
    said = kernel.run(
        "import os, tempfile; print(os.getcwd(), os.path.expanduser('~'), tempfile.gettempdir(), os.umask(0o077))"
    )
    assert said.printed.split() == [str(workspace), str(workspace), str(workspace / ".tmp"), str(0o077)]


def test_a_kernels_channels_are_private_and_encrypted(kernel: Kernel) -> None:
    facts = kernel.manager.get_connection_info()
    assert facts["transport"] == "ipc" and facts["curve_publickey"]
    assert Path(facts["ip"]).parent.stat().st_mode & 0o777 == 0o700


def test_a_planted_module_in_the_workspace_does_not_start_instead_of_the_kernel(kernel: Kernel, lab: Lab) -> None:
    planted = lab.folder / "workspaces" / "hanako" / "ad-targeting" / "ipykernel_launcher.py"
    planted.write_text("raise SystemExit('planted')")
    try:
        kernel.restart()
        assert kernel.run("import kaianalytics; kai = kaianalytics.connect(); print('up')").printed == "up\n"
    finally:
        planted.unlink()


def test_rows_statistics_datasets_and_budget_reach_the_notebook(kernel: Kernel) -> None:
    said = kernel.run(
        "frame = kai.sql('SELECT service, pages FROM sessions')\n"
        "print(frame['service'].to_list(), kai.last.rows, kai.last.snapshot)\n"
        "print(kai.sql('nothing').shape)\n"
        "release = kai.stats('SELECT device, COUNT(*) FROM sessions GROUP BY device', rho=0.002)\n"
        "print(release.to_polars()['visits_pm'].to_list(), release.release.rho, kai.purpose, kai.user)\n"
        "print(kai.datasets()['sessions'].title, kai.budget().to_polars().height, kai is kaianalytics.connect())"
    )
    assert said.error == {}
    assert said.printed.splitlines() == [
        f"['news', 'shop'] 2 {SNAPSHOT}",
        "(0, 3)",
        "[40.2, 40.2, 40.2] 0.002 ad-targeting hanako",
        "Visits 2 True",
    ]


def test_a_refusal_is_three_sentences_in_the_notebook(kernel: Kernel) -> None:
    said = kernel.run("kai.sql('SELECT * FROM raw_customers')")
    assert said.error["traceback"] == [
        "Refused: There is no view `raw_customers`. [VIEW_UNKNOWN]",
        "Rule: deny by default",
        "What to do: see kai.datasets()",
    ]
    assert kernel.run("kai.stats('SELECT 1', rho='2')").error["ename"] == "BudgetRefused"
    assert kernel.run("kaianalytics.connect(purpose='service-improvement')").error["ename"] == "PolicyRefused"
    assert kernel.run("kaianalytics.connect(purpose='ad-targeting') is kai").shown == ["True"]


def test_an_interrupt_cancels_the_query_and_the_next_call_works(kernel: Kernel, lab: Lab) -> None:
    gateway = lab.gateway
    gateway.started_slow.clear()
    gateway.cancelled.clear()

    def interrupt() -> None:
        assert gateway.started_slow.wait(30)
        kernel.manager.interrupt_kernel()

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    said = kernel.run("kai.sql('slow')")
    interrupting.join(30)
    assert said.error["ename"] == "KeyboardInterrupt"
    assert gateway.cancelled.wait(10), "the gateway did not notice that its client hung up"
    assert kernel.run("print(kai.sql('SELECT 1').height)").printed == "2\n"


def test_a_restart_takes_a_fresh_token(kernel: Kernel, lab: Lab) -> None:
    before, closed = set(lab.gateway.tokens), len(lab.gateway.closed)
    kernel.restart()
    assert len(set(lab.gateway.tokens) - before) == 1
    [ended] = lab.gateway.closed[closed:]
    assert ended in before, "the new kernel's session was closed"
    said = kernel.run("import kaianalytics; kai = kaianalytics.connect(); print(kai.sql('SELECT 1').height)")
    assert said.printed == "2\n"


def test_a_gateway_that_restarts_is_met_again_and_nothing_outlives_the_kernel(quiet_lab: Lab) -> None:
    gateway, manager = quiet_lab.gateway, manager_for(quiet_lab.share, "kai-ad-targeting")
    threads = set(threading.enumerate())
    with ExitStack() as kernels_life:
        with gateway.serving():
            kernel = kernels_life.enter_context(running(manager))
        said = kernel.run("import kaianalytics; kai = kaianalytics.connect(); kai.sql('SELECT 1')")
        assert said.error["ename"] == "Unreachable" and "kai gateway serve" in said.error["evalue"]
        with gateway.serving():
            assert kernel.run("print(kai.sql('SELECT 1').height)").printed == "2\n"
        folder = Path(manager.ip).parent
        assert folder.exists()
    assert not folder.exists()
    assert "kai-handover" not in {thread.name for thread in set(threading.enumerate()) - threads}


def test_a_session_ends_with_its_kernel(quiet_lab: Lab) -> None:
    with quiet_lab.gateway.serving():
        with running(manager_for(quiet_lab.share, "kai-ad-targeting")):
            assert quiet_lab.gateway.closed == []
        assert quiet_lab.gateway.closed == list(quiet_lab.gateway.tokens)


def test_the_handover_ends_with_a_kernel_that_is_killed(quiet_lab: Lab) -> None:
    threads = set(threading.enumerate())
    with quiet_lab.gateway.serving(), running(manager_for(quiet_lab.share, "kai-ad-targeting")) as kernel:
        handover = next(thread for thread in set(threading.enumerate()) - threads if thread.name == "kai-handover")
        os.kill(kernel.pid, signal.SIGKILL)
        handover.join(10)
        assert not handover.is_alive(), "this process kept a copy of the kernel's end"


def test_a_purpose_that_is_not_open_is_the_error_that_the_start_fails_with(quiet_lab: Lab) -> None:
    with quiet_lab.gateway.serving(), pytest.raises(PolicyRefused) as refused:
        manager_for(quiet_lab.share, "kai-third-party").start_kernel()
    assert refused.value.code == "PURPOSE_NOT_OPEN"
    assert "choose one of" in str(refused.value)
    assert quiet_lab.gateway.tokens == {}


@pytest.mark.parametrize("name", ["KAI_IDENTITY", "KAI_SOCKET", "KAI_WORKSPACES"])
def test_no_kernel_is_confined_where_its_programs_lie_around_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    provisioner = KaiProvisioner()
    assert provisioner.confinement(tmp_path, tmp_path, None).write == (str(tmp_path),)
    monkeypatch.setenv(name, str(Path(kaianalytics.__file__).parent / "of-the-home"))
    with pytest.raises(HomeFault, match="HOME_IN_SIGHT"):
        provisioner.confinement(tmp_path, tmp_path, None)


def test_no_kernel_starts_without_its_gateway(quiet_lab: Lab) -> None:
    with pytest.raises(Unreachable, match="kai gateway serve"):
        manager_for(quiet_lab.share, "kai-ad-targeting").start_kernel()


def test_no_kernel_starts_for_an_identity_that_the_gateway_does_not_know(quiet_lab: Lab) -> None:
    (quiet_lab.folder / "identity").write_text("forged")
    with quiet_lab.gateway.serving(), pytest.raises(IdentityRefused):
        manager_for(quiet_lab.share, "kai-ad-targeting").start_kernel()


def test_outside_a_purposes_kernel_there_is_nothing_to_connect_to() -> None:
    assert connection._connection is None
    with pytest.raises(Refused) as refused:
        kaianalytics.connect()
    assert refused.value.code == "NO_SANDBOX_KERNEL"
    assert "make lab" in refused.value.hint


def test_descriptors_that_are_no_grant_are_refused_and_forgotten() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"not a grant")
    os.close(writing)
    environ = {"KAI_TOKEN_FD": str(reading), "KAI_HANDOVER_FD": "900", "LANG": "C"}
    with pytest.raises(Refused):
        connection.open_connection(environ)
    assert environ == {"LANG": "C"}
    with pytest.raises(OSError):
        os.fstat(reading)


def test_a_client_tells_a_refusal_from_a_gateway_that_makes_no_sense(lab: Lab) -> None:
    with lab.gateway.serving() as gateway:
        client = GatewayClient(gateway.socket_path, "forged")
        with pytest.raises(IdentityRefused):
            client.request_json("POST", "/v1/sessions", {"purpose": "ad-targeting", "kernel": "k"})
        with pytest.raises(Fault, match="status 404"):
            client.request_json("GET", "/v1/nowhere")


def test_an_answer_that_is_cut_short_is_a_fault_and_is_not_asked_again() -> None:
    asked = []

    def half_answers() -> socket.socket:
        ours, theirs = socket.socketpair()
        asked.append(theirs)
        theirs.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        theirs.shutdown(socket.SHUT_WR)
        return ours

    with pytest.raises(Unreachable) as cut:
        Door(half_answers, "token").request_json("POST", "/v1/statistics", {})
    for theirs in asked:
        theirs.close()
    assert (cut.value.code, len(asked)) == ("ANSWER_CUT_SHORT", 1)
