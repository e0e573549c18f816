"""What JupyterLab's file browser shows: the notebooks' folder, and under `workspaces` a person's own, by purpose.

Laws:
1. A file leaves a workspace through one door, `get`: raw files, downloads and previews all end there. The gateway is
   told first, holds size and age against what the purpose allows, and records it; without its word nothing leaves.
2. The server follows no link in a workspace (`beneath`), makes no checkpoints in it, and moves nothing in or out.
3. Files may be uploaded and deleted there. Notebooks are kept in the notebooks' folder, which no kernel can reach.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_server.files.handlers import FilesHandler
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError
from traitlets import default

from kaianalytics.client.launch import kernel_user
from kaianalytics.client.transport import GatewayClient
from kaianalytics.errors import KaiError, Refused
from kaianalytics.lab import beneath, environment, expiry
from kaianalytics.protocol import API

NAME = "workspaces"
READ_MAX = 64 * 1024 * 1024  # of a file that is read at all, before the gateway is asked
_ELSEWHERE = "Notebooks are kept in the notebooks' folder; a workspace holds files."


class KaiContents(AsyncLargeFileManager):
    """Jupyter's own contents, with the workspaces behind their door."""

    _user = ""

    @default("files_handler_class")
    def _through_get(self) -> type:
        """Jupyter's default serves files from the disk, past `get`."""
        return FilesHandler

    @property
    def _jupyters(self) -> Any:
        """Jupyter's own methods, which have types at run time only."""
        return super()

    async def get(
        self, path: str, content: bool = True, type: Any = None, format: Any = None, require_hash: bool = False
    ) -> dict[str, Any]:
        """A file or a folder as Jupyter's model of it."""
        if (parts := _inside(path)) is None:
            model: dict[str, Any] = await self._jupyters.get(path, content, type, format, require_hash)
            return _with_workspaces(model, path) if content else model
        if type == "notebook":
            raise HTTPError(400, _ELSEWHERE)
        return await self._shown(parts, content, format, require_hash)

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Save a file; in a workspace, a whole one."""
        if (parts := _inside(path)) is None:
            saved: dict[str, Any] = await self._jupyters.save(model, path)
            return saved
        if model.get("type") != "file" or len(parts) < 2:
            raise HTTPError(400, _ELSEWHERE)
        if model.get("chunk") is not None:
            raise HTTPError(413, "A file is uploaded to a workspace in one piece, of at most a mebibyte.")
        text = str(model.get("content", ""))
        whole = base64.b64decode(text) if model.get("format") == "base64" else text.encode()
        await self._on_disk(beneath.write, parts, whole, 0o600 if kernel_user(os.environ) is None else 0o660)
        return await self._shown(parts, False, None, False)

    async def delete_file(self, path: str) -> None:
        """Delete a file."""
        if (parts := _inside(path)) is None:
            await self._jupyters.delete_file(path)
        else:
            await self._on_disk(beneath.unlink, parts)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename a file outside of the workspaces."""
        _demand_outside(old_path, new_path)
        await self._jupyters.rename_file(old_path, new_path)

    async def copy(self, from_path: str, to_path: Any = None) -> dict[str, Any]:
        """Copy a file outside of the workspaces."""
        _demand_outside(from_path, str(to_path or ""))
        copied: dict[str, Any] = await self._jupyters.copy(from_path, to_path)
        return copied

    async def dir_exists(self, path: str) -> bool:
        """Whether there is a folder."""
        return (
            await self._is(path, stat.S_ISDIR)
            if _inside(path) is not None
            else bool(await self._jupyters.dir_exists(path))
        )

    async def file_exists(self, path: str) -> bool:
        """Whether there is a file."""
        return (
            await self._is(path, stat.S_ISREG)
            if _inside(path) is not None
            else bool(await self._jupyters.file_exists(path))
        )

    async def is_hidden(self, path: str) -> bool:
        """Whether a path is not to be served."""
        if (parts := _inside(path)) is not None:
            return any(part.startswith(".") for part in parts)
        return bool(await self._jupyters.is_hidden(path))

    async def create_checkpoint(self, path: str) -> Any:
        """A checkpoint of a file outside of the workspaces (law 2)."""
        _demand_outside(path)
        return await self._jupyters.create_checkpoint(path)

    async def list_checkpoints(self, path: str) -> Any:
        """The checkpoints of a file."""
        return [] if _inside(path) is not None else await self._jupyters.list_checkpoints(path)

    async def restore_checkpoint(self, checkpoint_id: str, path: str) -> Any:
        """Restore a file outside of the workspaces."""
        _demand_outside(path)
        return await self._jupyters.restore_checkpoint(checkpoint_id, path)

    async def delete_checkpoint(self, checkpoint_id: str, path: str) -> Any:
        """Delete a checkpoint outside of the workspaces."""
        _demand_outside(path)
        return await self._jupyters.delete_checkpoint(checkpoint_id, path)

    async def _shown(self, parts: list[str], content: bool, wanted: Any, hashed: bool) -> dict[str, Any]:
        facts = await self._on_disk(_facts, parts)
        model = _model(parts, facts)
        if stat.S_ISDIR(facts.st_mode):
            if content:
                listed = await self._on_disk(lambda root, at: list(beneath.entries(root, at)), parts)
                model |= {"content": [_model([*parts, name], entry) for name, entry in listed], "format": "json"}
            return model
        if content or hashed:
            leaving = await self._leaving(parts, facts)
            model |= _content(leaving, wanted) if content else {}
            model |= {"hash": hashlib.sha256(leaving).hexdigest(), "hash_algorithm": "sha256"} if hashed else {}
        return model

    async def _leaving(self, parts: list[str], facts: os.stat_result) -> bytes:
        """The bytes of a file that the gateway lets out (law 1)."""
        if facts.st_size > READ_MAX:
            raise HTTPError(413, "The file is larger than any download may be.")
        whole, made = await self._on_disk(_read, parts)
        name, content = (hashlib.sha256(data).hexdigest() for data in ("/".join(parts).encode(), whole))
        asked = {"purpose": parts[0], "name": name, "content": content, "size": len(whole), "made": made}
        await asyncio.to_thread(_ask, "POST", f"{API}/workspaces/downloads", asked)
        return bytes(whole)

    async def _is(self, path: str, kind: Any) -> bool:
        try:
            return bool(kind((await self._on_disk(_facts, _inside(path) or [])).st_mode))
        except HTTPError:
            return False

    async def _on_disk(self, work: Any, parts: list[str], *more: Any) -> Any:
        """Do something beneath this person's workspaces, in a thread; HTTPError 404 where it can't be."""
        root = await self._root()
        try:
            return await asyncio.to_thread(work, root, parts, *more)
        except (OSError, IndexError):
            raise HTTPError(404, "There is no such file or folder in the workspace.") from None

    async def _root(self) -> Path:
        if not self._user:
            said = await asyncio.to_thread(_ask, "GET", f"{API}/workspaces", None)
            self._user = str(said["user"])
        return environment.workspace_of(os.environ, self._user, "any").parent


def _ask(method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """What the gateway answers this server's person; HTTPError with its sentences where it refuses."""
    try:
        door = GatewayClient(environment.gateway_socket(os.environ), environment.identity_token(os.environ))
        return door.request_json(method, path, body)
    except KaiError as error:
        raise HTTPError(403 if isinstance(error, Refused) else 503, str(error), reason=error.code) from None


def _inside(path: str) -> list[str] | None:
    """The parts of a path beneath the workspaces: purpose, folders, file; None for a path elsewhere."""
    first, *parts = path.strip("/").split("/")
    return parts if first == NAME else None


def _demand_outside(*paths: str) -> None:
    if any(_inside(path) is not None for path in paths):
        raise HTTPError(403, "Between workspaces and notebooks nothing is moved or copied; a kernel works in its own.")


def _facts(root: Path, parts: list[str]) -> os.stat_result:
    if not parts:
        return root.stat()
    with beneath.folder(root, parts[:-1]) as above:
        return os.stat(beneath.plain(parts[-1]), dir_fd=above, follow_symlinks=False)


def _read(root: Path, parts: list[str]) -> tuple[bytes, str]:
    """A file's bytes, and when it was made."""
    with beneath.folder(root, parts[:-1]) as above:
        made = expiry.made(above, parts[-1], os.stat(parts[-1], dir_fd=above, follow_symlinks=False))
    with beneath.file(root, parts) as opened, os.fdopen(os.dup(opened), "rb") as stream:
        return stream.read(READ_MAX + 1), datetime.fromtimestamp(made, UTC).isoformat()


def _model(parts: list[str], facts: os.stat_result) -> dict[str, Any]:
    folder = stat.S_ISDIR(facts.st_mode)
    changed = datetime.fromtimestamp(facts.st_mtime, UTC)
    return {
        "name": parts[-1] if parts else NAME,
        "path": "/".join([NAME, *parts]),
        "type": "directory" if folder else "file",
        "created": changed,
        "last_modified": changed,
        "size": None if folder else facts.st_size,
        "writable": len(parts) > 0,
        "mimetype": None,
        "content": None,
        "format": None,
    }


def _content(whole: bytes, wanted: Any) -> dict[str, Any]:
    if wanted != "base64":
        try:
            return {"content": whole.decode(), "format": "text", "mimetype": "text/plain"}
        except UnicodeDecodeError:
            if wanted == "text":
                raise HTTPError(400, "The file is no text.", reason="bad format") from None
    encoded = base64.encodebytes(whole).decode("ascii")
    return {"content": encoded, "format": "base64", "mimetype": "application/octet-stream"}


def _with_workspaces(model: dict[str, Any], path: str) -> dict[str, Any]:
    """The root's listing, with the folder of the workspaces in it."""
    if path.strip("/") == "" and isinstance(model.get("content"), list):
        entry = {**model, "name": NAME, "path": NAME, "content": None, "format": None, "writable": False}
        model["content"] = [*(one for one in model["content"] if one["name"] != NAME), entry]
    return model
