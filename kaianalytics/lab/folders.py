"""A kernel's folders: its workspace and the folder of its channels, and whose they are.

1. Each is its owner's alone (0700, files 0600) where server and kernel are one OS user.
2. Where they are two, the folder is the kernel's, and its group is the server's, which nobody else is in: the kernel
   writes with umask 007 into folders that hand their group down, so that the server can read what it serves.
3. The server never follows a link to reach either.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from kaianalytics.client.launch import KernelUser
from kaianalytics.errors import HomeFault

SOCKET_PATH_MAX = 107  # bytes of a Unix socket's path that Linux takes; other systems take 103
UMASK, UMASK_OF_ANOTHER = 0o077, 0o007
_CHANNEL_SUFFIX = "/k-00"
_OPEN_TO_PASS = 0o711  # a folder above a workspace: others may go through, and see nothing


def prepare_workspace(workspace: Path, user: KernelUser | None) -> Path:
    """Make the workspace and the folders in it that its environment names; the workspace."""
    if user is not None:
        for above in reversed(workspace.parents[:2]):
            above.mkdir(mode=_OPEN_TO_PASS, parents=True, exist_ok=True)
            above.chmod(_OPEN_TO_PASS)
    for folder in (workspace, workspace / ".tmp", workspace / ".ipython"):
        _make(folder, user)
    return workspace


def private_folder(user: KernelUser | None) -> Path:
    """A new folder of a kernel's own whose path leaves room for a socket's name."""
    usual = Path(os.environ.get("XDG_RUNTIME_DIR", "") or tempfile.gettempdir())
    room = SOCKET_PATH_MAX - len(_CHANNEL_SUFFIX) - len("/kai-12345678")
    base = usual if usual.is_dir() and len(os.fsencode(usual)) <= room else Path("/tmp")
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="kai-", dir=base)))
    give(folder, user)
    return folder


def give(path: Path, user: KernelUser | None) -> None:
    """Make a file or folder of this server the kernel's, its group being the server's (law 2)."""
    if user is not None and path.lstat().st_uid != user.uid:  # after a restart it is the kernel's already
        # the mode first: what is another's can't be changed
        path.chmod(0o2770 if path.is_dir() else 0o660)
        os.chown(path, user.uid, os.getgid(), follow_symlinks=False)


def start_as(user: KernelUser | None) -> dict[str, Any]:
    """Popen's arguments that start a program as the kernel's user."""
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}


def remove(folder: Path) -> None:
    """Remove a kernel's folder with what is in it."""
    with suppress(OSError):  # in a folder that all may write to, only its owner can remove it
        os.chown(folder, os.getuid(), -1, follow_symlinks=False)
    shutil.rmtree(folder, ignore_errors=True)


def _make(folder: Path, user: KernelUser | None) -> None:
    if folder.is_symlink():
        raise HomeFault(
            "WORKSPACE_LINK",
            "A folder of the workspace is a link.",
            rule="a server never follows a link that a kernel may have made",
            hint="remove the link in the workspace",
        )
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        give(folder, user)
