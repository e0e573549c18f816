"""`kai lab`: JupyterLab with one launcher card per open purpose, as the identity of KAI_IDENTITY."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, gateway, home_folder, identity_file, socket_path
from kaianalytics.client.transport import GatewayClient
from kaianalytics.lab.kernelspecs import install
from kaianalytics.lab.start import LabFacts, start_lab
from kaianalytics.protocol import API


@for_people
def lab(
    notebooks: Annotated[Path, typer.Option(help="What the file browser shows.")] = Path("notebooks"),
    port: Annotated[int, typer.Option(help="0 for a free one.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Open JupyterLab; Ctrl-C ends it."""
    # asked to end by another program too, this must not leave a server and its kernels' sessions behind
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    door = gateway()
    install_kernelspecs(door)
    facts = LabFacts(
        gateway_socket=socket_path().absolute(),
        identity=identity_file(),
        workspaces=workspaces(),
        notebooks=notebooks.absolute(),
        jupyter=jupyter_folder(),
        port=port,
        browser=browser,
    )
    process = start_lab(facts, os.environ)
    try:
        process.wait()
    except KeyboardInterrupt:
        console.print("Stopping JupyterLab.")
    finally:
        process.terminate()
        process.wait(timeout=20)


def install_kernelspecs(door: GatewayClient) -> Path:
    """Write a kernelspec for each purpose that the gateway has open; the share/jupyter folder they are in."""
    purposes = door.request_json("GET", f"{API}/health")["purposes"]
    share = jupyter_folder() / "share"
    install([(key, title) for key, title in purposes], share)
    return share


def jupyter_folder() -> Path:
    """The folder of the Lab's own files: KAI_LAB, else `lab` in the home."""
    return Path(os.environ.get("KAI_LAB", home_folder() / "lab")).absolute()


def workspaces() -> Path:
    """The folder of kernels' workspaces: KAI_WORKSPACES, else in the home."""
    return Path(os.environ.get("KAI_WORKSPACES", home_folder() / "workspaces")).absolute()
