"""What a kernel's process gets of the world: an environment by allow-list, and one workspace.

Laws:
1. A variable of the server reaches the kernel only if it is named here. The identity's file, the gateway's socket and
   every secret that someone exported are not.
2. A workspace belongs to one user and one purpose, and everything that programs write by habit (HOME, caches, history,
   temporary files) is inside it. What was made for one purpose does not lie in the folder of another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from kaianalytics.errors import HomeFault, IdentityRefused, Unreachable

PASSED_ON = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV", "CONDA_PREFIX", "TERM"})
PASSED_ON_PREFIX = "LC_"

SOCKET, IDENTITY, WORKSPACES = "KAI_SOCKET", "KAI_IDENTITY", "KAI_WORKSPACES"  # of the server, never of a kernel

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


def kernel_environment(server: Mapping[str, str], workspace: Path, runtime: Path) -> dict[str, str]:
    """The whole environment of a kernel that works in `workspace`, its sockets being in `runtime`."""
    passed = {name: value for name, value in server.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIX)}
    inside = {
        "HOME": workspace,
        "IPYTHONDIR": workspace / ".ipython",
        "JUPYTER_CONFIG_DIR": workspace / ".jupyter",
        "JUPYTER_DATA_DIR": workspace / ".local/share/jupyter",
        "JOBLIB_TEMP_FOLDER": workspace / ".tmp",
        "MPLCONFIGDIR": workspace / ".config/matplotlib",
        "TMPDIR": workspace / ".tmp",
        "XDG_CACHE_HOME": workspace / ".cache",
        "XDG_CONFIG_HOME": workspace / ".config",
        "XDG_DATA_HOME": workspace / ".local/share",
        "XDG_STATE_HOME": workspace / ".local/state",
        "JUPYTER_RUNTIME_DIR": runtime,
        "XDG_RUNTIME_DIR": runtime,
    }
    return {**passed, **{name: str(folder) for name, folder in inside.items()}}


def workspace_of(server: Mapping[str, str], user: str, purpose: str) -> Path:
    """The folder of one user for one purpose."""
    for name in (user, purpose):
        if not _SAFE_NAME.fullmatch(name):
            raise HomeFault("NAME_UNFIT", "A user or purpose has a name that no folder can have.", hint="rename it")
    # the real path: a kernel sees its workspace by the name that it was bound under
    return Path(os.path.realpath(_setting(server, WORKSPACES))) / user / purpose


def demand_out_of_sight(server: Mapping[str, str], seen: Iterable[str]) -> None:
    """HomeFault where a folder that kernels may read holds the gateway's socket, the identity or the workspaces."""
    kept = [Path(os.path.realpath(server[name])) for name in (SOCKET, IDENTITY, WORKSPACES) if server.get(name)]
    if any(path.is_relative_to(folder) for path in kept for folder in seen):
        raise HomeFault(
            "HOME_IN_SIGHT",
            "The home, the identity or the workspaces lie in a folder that every kernel may read.",
            rule="a kernel reads programs and its own workspace, and nothing of the home",
            hint="move them out of the Python environment and out of /usr",
        )


def gateway_socket(server: Mapping[str, str]) -> Path:
    """Where the gateway listens."""
    return Path(_setting(server, SOCKET))


def identity_token(server: Mapping[str, str]) -> str:
    """The token of the person whose server this is, read from its file at each use."""
    try:
        return Path(_setting(server, IDENTITY)).read_text(encoding="utf-8").strip()
    except OSError:
        raise IdentityRefused(
            "IDENTITY_MISSING",
            "This Jupyter server holds no identity that can be read.",
            hint="ask the custodian for `kai identity issue`, then start the server with `make lab`",
        ) from None


def _setting(server: Mapping[str, str], name: str) -> str:
    if value := server.get(name):
        return value
    raise Unreachable(
        "NO_GATEWAY_NAMED",
        f"This Jupyter server was started without {name}: it does not know its gateway.",
        hint="start it with `make lab`",
    )
