"""`kai gateway`: the custodian's process."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, open_home, socket_path
from kaianalytics.client.launch import launched_level
from kaianalytics.client.transport import GatewayClient
from kaianalytics.errors import Unreachable
from kaianalytics.protocol import API, GUARD_RAILS_ONLY, SANDBOXED, isolation_sentence

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The custodian's process: answers notebooks, keeps the records."
)


@app.command()
@for_people
def serve(
    socket: Annotated[Path | None, typer.Option(help="Where to listen; default: in the home.")] = None,
    group: Annotated[bool, typer.Option(help="Let the group of the socket's folder connect too.")] = False,
) -> None:
    """Serve the home (KAI_HOME, else .kai) until Ctrl-C or SIGTERM."""
    # seconds to import; `wait` and `status` need none of it
    from kaianalytics.gateway.door.server import SOCKET_MODE, SOCKET_MODE_OF_GROUP
    from kaianalytics.gateway.door.server import serve as serve_home

    home = open_home()
    os.umask(0o077)
    confined = launched_level() == SANDBOXED
    said = "Kernels are confined; `kai doctor` tries how far." if confined else isolation_sentence(GUARD_RAILS_ONLY)
    where = socket.absolute() if socket else home.socket_path
    console.print(f"Gateway on {where}. {said}", markup=False, soft_wrap=True)
    serve_home(home, where, SOCKET_MODE_OF_GROUP if group else SOCKET_MODE)


@app.command()
@for_people
def status() -> None:
    """What the running gateway serves."""
    health = GatewayClient(socket_path(), "anyone").request_json("GET", f"{API}/health")
    for name, value in health.items():
        console.print(f"{name}: {value}", markup=False)


@app.command()
@for_people
def wait(seconds: Annotated[float, typer.Option(help="How long to wait at most.")] = 30.0) -> None:
    """Wait until the gateway answers."""
    started = time.monotonic()
    while True:
        try:
            health = GatewayClient(socket_path(), "anyone").request_json("GET", f"{API}/health")
            break
        except Unreachable:
            if time.monotonic() - started > seconds:
                raise
            time.sleep(0.05)
    console.print(f"Ready: snapshot {health['snapshot']}, data as of {health['as_of']}.", markup=False)
