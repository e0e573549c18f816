"""`kai ask`: one question from a real kernel of a purpose, without opening JupyterLab."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from jupyter_client.manager import start_new_kernel

from kaianalytics.cli.lab import install_kernelspecs, workspaces
from kaianalytics.cli.terminal import console, for_people, gateway, identity_file, socket_path
from kaianalytics.errors import Refused
from kaianalytics.lab import environment
from kaianalytics.lab.kernelspecs import spec_name
from kaianalytics.protocol import API

SECONDS = 120


@for_people
def ask(
    question: Annotated[str, typer.Argument(help="One SELECT.")],
    purpose: Annotated[str, typer.Option(help="The purpose that the kernel is for.")],
    rho: Annotated[str, typer.Option(help="Ask for statistics, at this price; without any price, for rows.")] = "",
    epsilon: Annotated[str, typer.Option(help="Or at this ε, converted at the contract's δ.")] = "",
    accuracy: Annotated[str, typer.Option(help="Or at what this half-width at 95% costs; 5% is of --size.")] = "",
    size: Annotated[str, typer.Option(help="The size that an accuracy is for.")] = "",
    bounds: Annotated[str, typer.Option(help="`private`: find the bounds from the data, at a part of the price.")] = "",
) -> None:
    """Start a kernel of a purpose, ask one question in it, and show what the notebook would show."""
    door = gateway()
    share = install_kernelspecs(door)
    if not (share / "kernels" / spec_name(purpose)).is_dir():
        # no kernel can be for it: the gateway says why
        door.request_json("POST", f"{API}/sessions", {"purpose": purpose, "kernel": "ask"})
    os.environ |= {
        environment.SOCKET: str(socket_path().absolute()),
        environment.IDENTITY: str(identity_file()),
        environment.WORKSPACES: str(workspaces()),
        "JUPYTER_PATH": str(share),
    }
    priced = {"rho": rho, "epsilon": epsilon, "accuracy": accuracy, "size": size, "bounds": bounds}
    named = "".join(f", {name}={value!r}" for name, value in priced.items() if value)
    call = f"kai.stats({question!r}{named})" if named else f"kai.sql({question!r})"
    if not _run(spec_name(purpose), f"import kaianalytics\nkai = kaianalytics.connect()\n{call}"):
        raise typer.Exit(1)


def _run(kernel: str, code: str) -> bool:
    """Whether the code ran to its end; what it shows is printed as it comes."""
    manager, client = start_new_kernel(kernel_name=kernel, startup_timeout=60)
    try:
        reply = client.execute_interactive(code, timeout=SECONDS, output_hook=_show)
    except TimeoutError:
        raise Refused("SLOW", f"No answer within {SECONDS} seconds.", hint="ask for less at a time") from None
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return bool(reply["content"]["status"] == "ok")


def _show(message: dict[str, Any]) -> None:
    content = message["content"]
    if message["msg_type"] == "stream":
        console.print(content["text"], end="", markup=False)
    elif message["msg_type"] in ("execute_result", "display_data"):
        console.print(content["data"].get("text/plain", ""), markup=False)
    elif message["msg_type"] == "error":
        for line in content["traceback"]:
            console.print(line, markup=False, highlight=False)
