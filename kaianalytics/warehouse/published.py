"""The stores that are served: one current build, published by replacing one small file.

    stores/<build id>/{<purpose>.<access>.duckdb, manifest.json, summary.json, contracts/}
    stores/current.json     names the build that is served

Laws:
    1. A reader sees the old build or the new one, whole: a finished folder is moved in by a rename, and only then is
       `current.json` replaced.
    2. What is named but damaged is not served: the manifest's id, the files and their sizes must agree.
    3. A build keeps the contracts it was made under, so that stores are never served under other ones.
    4. Older builds stay until `prune`, for sessions that still read them; the current one is never pruned.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kaianalytics.errors import BuildFault
from kaianalytics.policy.contract import Access
from kaianalytics.warehouse.manifest import BUILD_ID, Manifest

CURRENT, MANIFEST, SUMMARY, CONTRACTS = "current.json", "manifest.json", "summary.json", "contracts"


@dataclass(frozen=True)
class PublishedBuild:
    """A published build: its id, its manifest and where its parts lie."""

    folder: Path
    manifest: Manifest

    @property
    def build_id(self) -> str:
        """The digest of the build's inputs."""
        return self.manifest.build_id

    @property
    def contracts_folder(self) -> Path:
        """The contracts that the stores were built under."""
        return self.folder / CONTRACTS

    def store_path(self, purpose: str, access: Access) -> Path:
        """The store's file; BuildFault STORE_ABSENT where the build has none of that purpose and access."""
        store = self.manifest.store(purpose, access)
        if store is None:
            raise BuildFault(
                "STORE_ABSENT",
                f"The published build has no {access} store for `{purpose}`.",
                rule="stores are built for open purposes alone",
                hint="build again after the contracts opened the purpose",
            )
        return self.folder / store.file


def current(stores_folder: Path) -> PublishedBuild:
    """The build that is served now; BuildFault NOTHING_PUBLISHED, or PUBLISHED_DAMAGED where it is not whole."""
    try:
        build_id = json.loads((stores_folder / CURRENT).read_text(encoding="utf-8"))["build_id"]
    except FileNotFoundError:
        raise BuildFault(
            "NOTHING_PUBLISHED", "No stores have been published yet.", hint="build them with `kai build`"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damaged() from None
    build = published(stores_folder, build_id) if isinstance(build_id, str) else None
    if build is None:
        raise _damaged()
    return build


def published(stores_folder: Path, build_id: str) -> PublishedBuild | None:
    """The build of that id, or None where it is absent or not whole (law 2)."""
    if not BUILD_ID.fullmatch(build_id):
        return None
    folder = stores_folder / build_id
    try:
        manifest = Manifest.from_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sizes = all(_size(folder / store.file) == store.bytes for store in manifest.stores)
    whole = manifest.build_id == build_id and sizes and (folder / CONTRACTS).is_dir()
    return PublishedBuild(folder, manifest) if whole else None


def intact(build: PublishedBuild) -> bool:
    """Whether every store's file is byte for byte what the manifest says; reads them all."""
    return all(file_digest(build.folder / store.file) == store.sha256 for store in build.manifest.stores)


def publish(finished: Path, stores_folder: Path, build_id: str) -> None:
    """Move a finished folder among the stores and make it the current build (law 1).

    `finished` lies on the same volume. A damaged folder of the same id is put aside, to where `finished` was.
    """
    target = stores_folder / build_id
    sync_tree(finished)
    if target.exists():
        target.rename(finished.with_name(f"{finished.name}.damaged"))
    finished.rename(target)
    _sync(stores_folder)
    make_current(stores_folder, build_id)


def make_current(stores_folder: Path, build_id: str) -> None:
    """Name the build that is served from now on: one atomic replacement."""
    aside = stores_folder / f"{CURRENT}.{os.getpid()}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({"build_id": build_id}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(stores_folder / CURRENT)
    _sync(stores_folder)


def prune(stores_folder: Path, keep: int = 2) -> tuple[str, ...]:
    """Remove all but the current build and the latest others, `keep` builds together; returns the ids removed."""
    if keep < 1:
        raise ValueError("at least the current build is kept")
    serving = current(stores_folder).build_id
    others = [path for path in stores_folder.iterdir() if BUILD_ID.fullmatch(path.name) and path.name != serving]
    others.sort(key=_built_at, reverse=True)
    removed = others[keep - 1 :]
    for folder in removed:
        shutil.rmtree(folder)
    return tuple(folder.name for folder in removed)


def file_digest(file: Path) -> str:
    """SHA-256 of a file's bytes; empty where there is no such file."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def sync_tree(folder: Path) -> None:
    """Bring a folder's files and names to the disk, so that a rename never publishes what a crash can take away."""
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else -1


def _built_at(folder: Path) -> datetime:
    """When the build was made; a folder without a readable manifest counts as the oldest."""
    try:
        return Manifest.from_json((folder / MANIFEST).read_text(encoding="utf-8")).built_at
    except (OSError, ValueError):
        return datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def _damaged() -> BuildFault:
    return BuildFault(
        "PUBLISHED_DAMAGED",
        "The published build is not whole.",
        rule="a build is served only if its files are those of its manifest",
        hint="build again with `kai build`",
    )
