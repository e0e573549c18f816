"""One kernelspec per open purpose, and a server that can start nothing else."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import NoSuchKernel

from kaianalytics.errors import Fault, HomeFault, IdentityRefused, Unreachable
from kaianalytics.lab import environment, folders, kernelspecs
from kaianalytics.lab.server import KaiKernelSpecs
from kaianalytics.lab.start import LabFacts, configuration, lab_command, lab_environment, write_configuration

PURPOSES = [("ad-targeting", "Ad targeting"), ("campaign-analysis", "Campaign analysis")]


def manager(folder: Path) -> KaiKernelSpecs:
    return KaiKernelSpecs(kernel_dirs=[str(folder / "kernels")])


def plant(folder: Path, name: str, provisioner: dict[str, object]) -> None:
    spec = {"argv": ["sh"], "display_name": name, "language": "python", "metadata": {"kernel_provisioner": provisioner}}
    (folder / "kernels" / name).mkdir(parents=True)
    (folder / "kernels" / name / "kernel.json").write_text(json.dumps(spec))


def test_each_open_purpose_has_a_card(tmp_path: Path) -> None:
    kernelspecs.install(PURPOSES, tmp_path)
    specs = manager(tmp_path).get_all_specs()
    assert sorted(specs) == ["kai-ad-targeting", "kai-campaign-analysis"]
    spec = specs["kai-ad-targeting"]["spec"]
    assert spec["display_name"] == "Kai: Ad targeting"
    assert spec["metadata"]["kernel_provisioner"]["config"] == {"purpose": "ad-targeting"}
    assert spec["argv"][:2] == [sys.executable, "-I"] and Path(spec["argv"][2]).is_absolute()


def test_a_purpose_that_closes_loses_its_card_and_other_folders_stay(tmp_path: Path) -> None:
    (tmp_path / "kernels" / "somebody-elses").mkdir(parents=True)
    kernelspecs.install(PURPOSES, tmp_path)
    kernelspecs.install(PURPOSES[:1], tmp_path)
    assert sorted(folder.name for folder in (tmp_path / "kernels").iterdir()) == ["kai-ad-targeting", "somebody-elses"]


@pytest.mark.parametrize("key", ["", "../evil", "Ad Targeting", "ad_targeting", "-a", "a--b", "a/b"])
def test_a_key_that_no_kernel_can_be_named_by_is_a_fault(key: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="lower-case"):
        kernelspecs.install([(key, "Title")], tmp_path)


@pytest.mark.parametrize("name", ["python3", "PYTHON3", "bash", "kai", "kai-unknown", "../kai-ad-targeting", ""])
def test_no_other_kernel_exists_for_the_server(name: str, tmp_path: Path) -> None:
    kernelspecs.install(PURPOSES, tmp_path)
    plant(tmp_path, "bash", {"provisioner_name": "local-provisioner"})
    with pytest.raises(NoSuchKernel):
        manager(tmp_path).get_kernel_spec(name)
    assert "python3" not in manager(tmp_path).find_kernel_specs()
    assert "bash" not in manager(tmp_path).find_kernel_specs()


@pytest.mark.parametrize(
    "provisioner",
    [
        {"provisioner_name": "local-provisioner"},
        {"provisioner_name": "kai-provisioner", "config": {"purpose": "campaign-analysis"}},
        {},
    ],
)
def test_a_kernelspec_under_our_name_that_would_start_otherwise_is_not_known(
    provisioner: dict[str, object], tmp_path: Path
) -> None:
    plant(tmp_path, "kai-ad-targeting", provisioner)
    with pytest.raises(NoSuchKernel):
        manager(tmp_path).get_kernel_spec("kai-ad-targeting")


def test_a_kernels_environment_is_an_allow_list(tmp_path: Path) -> None:
    server = {
        "PATH": "/bin",
        "LC_ALL": "ja_JP.UTF-8",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "KAI_IDENTITY": "secret",
        "KAI_SOCKET": "secret",
        "PYTHONPATH": "secret",
        "LD_PRELOAD": "secret",
        "HOME": "secret",
    }
    made = environment.kernel_environment(server, tmp_path / "workspace", tmp_path / "runtime")
    assert "secret" not in made.values()
    assert made["PATH"] == "/bin" and made["LC_ALL"] == "ja_JP.UTF-8"
    folders = {name: value for name, value in made.items() if name not in ("PATH", "LC_ALL")}
    assert all(value.startswith((f"{tmp_path}/workspace", f"{tmp_path}/runtime")) for value in folders.values())


def test_a_workspace_is_its_owners_alone_and_inside_the_workspaces(tmp_path: Path) -> None:
    server = {environment.WORKSPACES: str(tmp_path)}
    workspace = folders.prepare_workspace(environment.workspace_of(server, "hanako", "ad-targeting"), None)
    assert workspace == tmp_path / "hanako" / "ad-targeting"
    assert workspace.stat().st_mode & 0o777 == 0o700
    for user in ("..", "a/b", "", ".hidden", "x" * 101):
        with pytest.raises(HomeFault):
            environment.workspace_of(server, user, "ad-targeting")


def test_a_server_without_a_gateway_or_an_identity_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="make lab"):
        environment.gateway_socket({})
    with pytest.raises(IdentityRefused, match="kai identity issue"):
        environment.identity_token({environment.IDENTITY: str(tmp_path / "absent")})


def test_the_lab_starts_with_our_kernels_and_without_terminals_or_news(tmp_path: Path) -> None:
    facts = LabFacts(
        tmp_path / "g.sock",
        tmp_path / "id",
        tmp_path / "ws",
        tmp_path / "notebooks",
        tmp_path / "lab",
        port=0,
        browser=False,
    )
    kernelspecs.install(PURPOSES, facts.share)
    write_configuration(facts)
    settings = configuration(facts)
    assert settings["ServerApp"]["terminals_enabled"] is False
    assert settings["ServerApp"]["kernel_spec_manager_class"] == "kaianalytics.lab.server.KaiKernelSpecs"
    assert settings["MultiKernelManager"]["default_kernel_name"] == "kai-ad-targeting"
    assert settings["LabApp"]["news_url"] is None
    config = Path(lab_command(facts)[-1].removeprefix("--config="))
    assert json.loads(config.read_text()) == settings
    made = lab_environment(facts, {"PATH": os.defpath, "JUPYTER_PATH": "/elsewhere"})
    assert made["JUPYTER_PATH"] == str(facts.share)
    assert made[environment.IDENTITY] == str(tmp_path / "id")
