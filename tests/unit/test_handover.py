"""Gateway sockets over a socket pair: what the kernel asks, what it gets, and how the service ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kaianalytics.client.transport import HandedSockets
from kaianalytics.lab import launcher
from kaianalytics.lab.handover import Handover
from kaianalytics.protocol import binding

BOUND = binding("a token", "a kernel")


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        yield listener


@contextmanager
def handed_over(gateway: Path) -> Iterator[tuple[Handover, socket.socket]]:
    """A running handover with the end that a kernel would inherit."""
    handover = Handover(gateway, BOUND)
    handover.start()
    with socket.socket(fileno=os.dup(handover.kernels_end)) as kernels_end:
        handover.handed_in()
        try:
            yield handover, kernels_end
        finally:
            handover.stop()


def handover_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "kai-handover"]


def test_a_handed_socket_reaches_the_gateway(tmp_path: Path) -> None:
    with (
        listening(tmp_path / "g") as gateway,
        handed_over(tmp_path / "g") as (_, end),
        HandedSockets(end)() as handed,
        gateway.accept()[0] as accepted,
    ):
        handed.sendall(b"hello")
        assert accepted.recv(len(BOUND) + 5, socket.MSG_WAITALL) == BOUND + b"hello"
        assert not os.get_inheritable(handed.fileno())


def test_each_request_gives_another_socket(tmp_path: Path) -> None:
    with listening(tmp_path / "g"), handed_over(tmp_path / "g") as (_, end):
        sockets = HandedSockets(end)
        with sockets() as first, sockets() as second:
            assert first.fileno() != second.fileno()


def test_the_service_keeps_no_copy_of_what_it_hands_over(tmp_path: Path) -> None:
    with listening(tmp_path / "g") as gateway, handed_over(tmp_path / "g") as (_, end):
        HandedSockets(end)().close()
        accepted, _ = gateway.accept()
        with accepted:
            accepted.settimeout(5)
            assert accepted.recv(len(BOUND) + 1, socket.MSG_WAITALL) == BOUND, (
                "a copy that stays open would keep a cancelled query running"
            )


def test_a_gateway_that_is_away_is_told_and_met_again(tmp_path: Path) -> None:
    with handed_over(tmp_path / "g") as (_, end):
        sockets = HandedSockets(end)
        with pytest.raises(ConnectionRefusedError):
            sockets()
        with listening(tmp_path / "g"):
            sockets().close()
        with pytest.raises(ConnectionRefusedError):
            sockets()
        with listening(tmp_path / "g"):
            sockets().close()


def test_anything_but_a_request_ends_the_handover(tmp_path: Path) -> None:
    with listening(tmp_path / "g"), handed_over(tmp_path / "g") as (handover, end):
        end.sendall(b"xx")
        handover._thread.join(5)
        assert not handover._thread.is_alive()
        with pytest.raises(OSError):
            HandedSockets(end)()


def test_a_late_answer_to_an_interrupted_request_is_not_taken_for_the_next(tmp_path: Path) -> None:
    with listening(tmp_path / "old") as old, handed_over(tmp_path / "old") as (handover, end):
        sockets = HandedSockets(end)
        end.sendall(b"?\xff")  # asked, and interrupted before the answer was read
        stale, _ = old.accept()
        handover._gateway_socket = tmp_path / "new"
        with stale, listening(tmp_path / "new") as new, sockets() as handed, new.accept()[0] as accepted:
            handed.sendall(b"hello")
            assert accepted.recv(len(BOUND) + 5, socket.MSG_WAITALL) == BOUND + b"hello"
            stale.settimeout(5)
            assert stale.recv(len(BOUND) + 1, socket.MSG_WAITALL) == BOUND, (
                "the socket that nobody asked for any more stayed open"
            )


def test_the_service_ends_with_the_kernel(tmp_path: Path) -> None:
    with handed_over(tmp_path / "g") as (handover, end):
        end.close()
        handover._thread.join(5)
        assert not handover._thread.is_alive()


def test_stopping_leaves_no_thread_and_may_come_before_the_start(tmp_path: Path) -> None:
    with handed_over(tmp_path / "g"):
        assert handover_threads()
    assert not handover_threads()
    Handover(tmp_path / "g", BOUND).stop()


def test_a_kernel_end_that_was_cut_is_an_os_error(tmp_path: Path) -> None:
    with handed_over(tmp_path / "g") as (handover, end):
        handover.stop()
        with pytest.raises(OSError):
            HandedSockets(end)()


@pytest.mark.parametrize("keep", [{0, 1, 2}, {0, 1, 2, 9}, {0, 1, 2, 3, 9}])
def test_the_launcher_closes_what_was_not_handed_in(keep: set[int]) -> None:
    program = (
        "import importlib.util, os, sys\n"
        "spec = importlib.util.spec_from_file_location('launcher', sys.argv[1])\n"
        "launcher = importlib.util.module_from_spec(spec); spec.loader.exec_module(launcher)\n"
        "for n in range(3, 12): os.dup2(1, n)\n"
        f"launcher.close_all_but({keep!r})\n"
        "def is_open(n):\n"
        "    try: os.fstat(n)\n"
        "    except OSError: return False\n"
        "    return True\n"
        "print({n for n in range(64) if is_open(n)} == " + f"{keep!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(launcher.__file__)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_launcher_takes_one_connection_file_and_nothing_else() -> None:
    for arguments in ([], ["-f"], ["-c", "print(1)"], ["-f", "a", "--extra"]):
        with pytest.raises(SystemExit, match="usage"):
            launcher.main(arguments, {})
