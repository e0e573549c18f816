"""JupyterLab on a gateway: the command, the configuration and the environment of one person's server.

The server starts purposes' kernels only, opens no terminals, starts no language servers, asks no one for news or
updates, and reads no configuration but the one that is written here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaianalytics.errors import HomeFault
from kaianalytics.lab import environment
from kaianalytics.lab.kernelspecs import PREFIX

# of every answer of the server; `frame-ancestors` as Jupyter has it, which shows pages of its own in frames
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'; base-uri 'self'",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Access-Control-Allow-Origin": "null",  # else Jupyter allows the origin of whoever brings the token
}
# Lab's settings where a person has chosen no other; a fresh kernel's first completion takes longer than Lab's second
DEFAULTS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/completer-extension:manager": {"providerTimeout": 5000},
}


@dataclass(frozen=True)
class LabFacts:
    """Where things are for one person's server.

    `gateway_socket`, `identity` (the file of the person's token), `workspaces`; `notebooks`, which the file browser
    shows; `jupyter`, a folder of the server's own, whose `share` holds the kernelspecs; `port`, 0 for a free one.
    """

    gateway_socket: Path
    identity: Path
    workspaces: Path
    notebooks: Path
    jupyter: Path
    port: int = 8888
    browser: bool = True

    @property
    def share(self) -> Path:
        """The share/jupyter folder that `kernelspecs.install` writes to."""
        return self.jupyter / "share"


def start_lab(facts: LabFacts, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start JupyterLab and return its process; whoever called ends it."""
    write_configuration(facts)
    return subprocess.Popen(lab_command(facts), env=lab_environment(facts, environ), cwd=facts.notebooks)


def lab_command(facts: LabFacts) -> list[str]:
    """The command that starts the server."""
    return [sys.executable, "-m", "jupyterlab", f"--config={_configuration_file(facts)}"]


def lab_environment(facts: LabFacts, environ: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: the caller's, with the gateway's facts and Jupyter's folders being ours."""
    return {
        **environ,
        environment.SOCKET: str(facts.gateway_socket),
        environment.IDENTITY: str(facts.identity),
        environment.WORKSPACES: str(facts.workspaces),
        "JUPYTER_PATH": str(facts.share),
        "JUPYTER_CONFIG_DIR": str(facts.jupyter / "config"),
        "JUPYTER_DATA_DIR": str(facts.share),
        "JUPYTER_RUNTIME_DIR": str(facts.jupyter / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(facts.jupyter / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(facts.jupyter / "layouts"),
    }


def write_configuration(facts: LabFacts) -> None:
    """Write the server's configuration and Lab's settings; HomeFault where it would show what is not its own."""
    _demand_apart(facts)
    for folder in (facts.jupyter, facts.jupyter / "config", facts.jupyter / "runtime", _settings_folder(facts)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _configuration_file(facts).write_text(json.dumps(configuration(facts), indent=2), encoding="utf-8")
    (_settings_folder(facts) / "overrides.json").write_text(json.dumps(DEFAULTS, indent=2), encoding="utf-8")


def configuration(facts: LabFacts) -> dict[str, Any]:
    """The server's configuration, by class and trait."""
    kernels = sorted(folder.name for folder in (facts.share / "kernels").glob(f"{PREFIX}*"))
    return {
        "ServerApp": {
            "root_dir": str(facts.notebooks),
            "port": facts.port,
            "open_browser": facts.browser,
            # root is asked for by containers; the kernels' confinement does not rest on this user being another
            "allow_root": os.geteuid() == 0,
            "terminals_enabled": False,
            # Jupyter's own defaults, said here because the wall rests on them: a page of another origin changes nothing
            "disable_check_xsrf": False,
            "allow_origin": "",
            "allow_remote_access": False,
            "tornado_settings": {"headers": HEADERS},
            "kernel_spec_manager_class": "kaianalytics.lab.server.KaiKernelSpecs",
            "kernel_manager_class": "kaianalytics.lab.server.KaiKernels",
            "contents_manager_class": "kaianalytics.lab.contents.KaiContents",
            "jpserver_extensions": {"jupyter_server_terminals": False, "jupyter_lsp": False},
        },
        "MultiKernelManager": {"default_kernel_name": kernels[0] if kernels else ""},
        "KernelSpecManager": {"ensure_native_kernel": False},
        "FileContentsManager": {"allow_hidden": False, "delete_to_trash": False},
        "LabApp": {
            "news_url": None,
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "extension_manager": "readonly",
            "app_settings_dir": str(_settings_folder(facts)),
        },
    }


def _demand_apart(facts: LabFacts) -> None:
    """The notebooks' folder is served as it lies: nothing else of ours may lie in it."""
    root = Path(os.path.realpath(facts.notebooks))
    others = (facts.workspaces, facts.identity, facts.jupyter, facts.gateway_socket)
    if any(Path(os.path.realpath(other)).is_relative_to(root) for other in others):
        raise HomeFault(
            "NOTEBOOKS_HOLD_OTHERS",
            "The folder of notebooks holds the home, an identity or the workspaces.",
            rule="a workspace's files leave through one door, and an identity through none",
            hint="name another folder with `kai lab --notebooks`",
        )


def _configuration_file(facts: LabFacts) -> Path:
    return facts.jupyter / "config" / "kai_lab_config.json"


def _settings_folder(facts: LabFacts) -> Path:
    return facts.jupyter / "defaults"
