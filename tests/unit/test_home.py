"""The custodian's home: private or not opened, held by one gateway, and nothing leads out of it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kaianalytics.custody.home import Home
from kaianalytics.errors import HomeFault


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", tmp_path / "contracts", tmp_path / "sources")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_folder_of_a_new_home_is_closed_to_others(home: Home) -> None:
    folders = [home.root, *(path for path in home.root.iterdir() if path.is_dir())]
    assert len(folders) == 10
    assert {mode(folder) for folder in folders} == {0o700}
    assert mode(home.root / "kai.toml") == 0o600


def test_an_opened_home_knows_what_it_was_created_with(home: Home, tmp_path: Path) -> None:
    opened = Home.open(home.root)
    assert opened == home
    assert (opened.contracts, opened.sources) == (tmp_path / "contracts", tmp_path / "sources")


def test_creating_again_updates_the_settings_and_keeps_what_is_there(home: Home, tmp_path: Path) -> None:
    (home.stores / "kept").touch()
    again = Home.create(home.root, tmp_path / "other", tmp_path / "sources")
    assert Home.open(home.root).contracts == tmp_path / "other" == again.contracts
    assert (home.stores / "kept").exists()


@pytest.mark.parametrize("name", ['a "quoted" name', "back\\slash", "née 顧客 🗾", "tab\there", "del\x7f"])
def test_settings_survive_any_folder_name(tmp_path: Path, name: str) -> None:
    Home.create(tmp_path / "home", tmp_path / name, tmp_path / "sources")
    assert Home.open(tmp_path / "home").contracts == tmp_path / name


def test_relative_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Home.create(Path("home"), Path("contracts"), Path("sources"))
    monkeypatch.chdir("/")
    assert Home.open(tmp_path / "home").sources == tmp_path / "sources"


def test_an_absent_home_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(HomeFault) as fault:
        Home.open(tmp_path / "nowhere")
    assert fault.value.code == "HOME_ABSENT"
    assert "kai init" in fault.value.hint
    assert str(tmp_path) not in str(fault.value)


def test_a_folder_with_other_things_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "letters").touch()
    with pytest.raises(HomeFault) as fault:
        Home.create(tmp_path, tmp_path / "contracts", tmp_path / "sources")
    assert fault.value.code == "HOME_NOT_EMPTY"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letters"]


def test_an_empty_folder_is_taken_and_closed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    Home.create(tmp_path / "home", tmp_path, tmp_path)
    assert mode(tmp_path / "home") == 0o700


@pytest.mark.parametrize("loose", [0o750, 0o705, 0o701, 0o720])
def test_a_home_that_others_can_reach_into_is_not_opened(home: Home, loose: int) -> None:
    home.root.chmod(loose)
    for attempt in (lambda: Home.open(home.root), lambda: Home.create(home.root, home.contracts, home.sources)):
        with pytest.raises(HomeFault) as fault:
            attempt()
        assert fault.value.code == "HOME_NOT_PRIVATE"


@pytest.mark.parametrize(
    "text",
    ["contracts = ", 'contracts = "/c"', 'contracts = "c"\nsources = "/s"', 'contracts = "/c"\nsources = 1', "\xff"],
)
def test_settings_that_are_not_settings_are_a_fault(home: Home, text: str) -> None:
    (home.root / "kai.toml").write_text(text, encoding="latin-1")
    with pytest.raises(HomeFault) as fault:
        Home.open(home.root)
    assert fault.value.code == "HOME_SETTINGS"


def test_a_workspace_is_a_private_folder_per_user_and_purpose(home: Home) -> None:
    folder = home.workspaces("aiko", "ad-targeting")
    assert folder == home.root / "workspaces" / "aiko" / "ad-targeting" == home.workspaces("aiko", "ad-targeting")
    assert mode(folder) == mode(folder.parent) == 0o700


@pytest.mark.parametrize("name", ["", "..", ".", "../keys", "a/b", "/etc", "-rf", "Aiko", "a\n", "a" * 65, ".hidden"])
def test_no_name_leads_out_of_the_workspaces(home: Home, name: str) -> None:
    for user, purpose in ((name, "ad-targeting"), ("aiko", name)):
        with pytest.raises(HomeFault) as fault:
            home.workspaces(user, purpose)
        assert fault.value.code == "WORKSPACE_NAME"


def test_a_planted_link_is_not_a_workspace(home: Home, tmp_path: Path) -> None:
    (home.root / "workspaces" / "aiko").symlink_to(tmp_path)
    with pytest.raises(HomeFault):
        home.workspaces("aiko", "ad-targeting")


def test_a_short_home_keeps_its_socket_itself(tmp_path: Path) -> None:
    home = Home(Path("/h"), tmp_path, tmp_path)
    assert home.socket_path == Path("/h/run/gateway.sock")


def test_a_long_home_has_its_socket_in_a_private_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="kai-test-") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)  # the documented way to choose the temporary folder
        home, other = (Home(Path(folder) / (name * 30), Path(folder), Path(folder)) for name in ("long", "else"))
        path = home.socket_path
        assert len(os.fsencode(path)) <= 107
        assert mode(path.parent) == 0o700
        assert path == home.socket_path != other.socket_path
        path.parent.chmod(0o755)
        with pytest.raises(HomeFault):
            _ = home.socket_path


def test_the_longest_path_that_fits_is_used(tmp_path: Path) -> None:
    rest = len("/run/gateway.sock")
    limit = 103 if sys.platform == "darwin" else 107
    fits, too_long = (Home(Path("/" + "h" * (size - rest - 1)), tmp_path, tmp_path) for size in (limit, limit + 1))
    assert fits.socket_path.parent.parent == fits.root
    assert too_long.socket_path.parent.name.startswith(f"kai-{os.getuid()}-")
    too_long.socket_path.parent.rmdir()


def test_a_second_holder_is_told_who_holds_the_home(home: Home) -> None:
    with home.hold(), pytest.raises(HomeFault) as fault, Home.open(home.root).hold():
        pass
    assert fault.value.code == "HOME_HELD"
    assert f"process {os.getpid()}, since 20" in fault.value.message
    with home.hold():
        pass


def test_a_killed_holder_leaves_no_stale_lock(home: Home) -> None:
    script = (
        "import sys, time; from pathlib import Path; from kaianalytics.custody.home import Home\n"
        "with Home.open(Path(sys.argv[1])).hold(): print('held', flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(home.root)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(HomeFault) as fault, home.hold():
            pass
        assert f"process {holder.pid}," in fault.value.message
        holder.send_signal(signal.SIGKILL)
    with home.hold():
        pass
