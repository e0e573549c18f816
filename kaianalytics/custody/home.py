"""The custodian's home: one private folder for keys, records, stores, reports and workspaces.

Rules:
    1. The folder belongs to this OS user and is closed to group and others; otherwise it is not opened.
    2. One gateway holds a home at a time; a second is told who holds it, and since when.
    3. A user or a purpose becomes a folder name only if it is a plain word: nothing leads out of the home.
    4. The signed head lies apart from the records folder, so that a restored records folder is noticed (law 8).

    <home>/kai.toml  head.json  keys/  records/  stores/  staging/  reports/  workspaces/<user>/<purpose>/
           identities/  log/  run/{gateway.lock, gateway.json, gateway.sock}
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kaianalytics.errors import HomeFault

SETTINGS = "kai.toml"
_FOLDERS = ("keys", "records", "stores", "staging", "reports", "workspaces", "identities", "log", "run")
_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107  # sun_path less its NUL
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PRIVATE_RULE = "the home is the custodian's alone: owned by this OS user, closed to group and others"


@dataclass(frozen=True)
class Home:
    """An opened home: where everything in the custodian's keeping lies. Made by `create` or `open`."""

    root: Path
    contracts: Path
    sources: Path

    def __post_init__(self) -> None:
        if not (self.root.is_absolute() and self.contracts.is_absolute() and self.sources.is_absolute()):
            raise ValueError("a home knows its folders by absolute paths")

    @classmethod
    def create(cls, root: Path, contracts: Path, sources: Path) -> Home:
        """The home at `root`, made with mode 0700, or its settings brought up to date where it already is one.

        HomeFault HOME_NOT_EMPTY for a folder that holds other things, HOME_NOT_PRIVATE as in `open`.
        """
        root = _absolute(root)
        _claim(root)
        for folder in _FOLDERS:
            _private_folder(root / folder)
        _write_settings(root / SETTINGS, {"contracts": _absolute(contracts), "sources": _absolute(sources)})
        return cls.open(root)

    @classmethod
    def open(cls, root: Path) -> Home:
        """The home at `root`; HomeFault HOME_ABSENT, HOME_NOT_PRIVATE or HOME_SETTINGS."""
        root = _absolute(root)
        if not (root / SETTINGS).is_file():
            raise HomeFault(
                "HOME_ABSENT", "There is no kaianalytics home here.", hint="make one with `kai init`, or name another"
            )
        _demand_private(root)
        settings = _read_settings(root / SETTINGS)
        return cls(root, settings["contracts"], settings["sources"])

    @property
    def keys(self) -> Path:
        """The folder of the custodian's keys."""
        return self.root / "keys"

    @property
    def records(self) -> Path:
        """The SQLite file of ledger, audit chain and reviews."""
        return self.root / "records" / "records.sqlite"

    @property
    def head(self) -> Path:
        """The signed head of the audit chain."""
        return self.root / "head.json"

    @property
    def stores(self) -> Path:
        """The folder of published stores."""
        return self.root / "stores"

    @property
    def staging(self) -> Path:
        """The folder where stores are built aside; the same volume as `stores`, so that publishing is a rename."""
        return self.root / "staging"

    @property
    def reports(self) -> Path:
        """The folder of published reports."""
        return self.root / "reports"

    @property
    def identities(self) -> Path:
        """The folder of issued identity token files."""
        return self.root / "identities"

    @property
    def log(self) -> Path:
        """The custodian's log file."""
        return self.root / "log" / "gateway.log"

    @property
    def gateway_info(self) -> Path:
        """What the running gateway says of itself, as JSON."""
        return self.root / "run" / "gateway.json"

    @property
    def socket_path(self) -> Path:
        """The gateway's Unix socket: in the home, or where that path is too long in a private temporary folder.

        The temporary folder's name depends on the home alone and on TMPDIR, so that the gateway writes the path it
        chose into `gateway_info` for everyone else.
        """
        near = self.root / "run" / "gateway.sock"
        if _fits_a_socket(near):
            return near
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]
        far = Path(tempfile.gettempdir()) / f"kai-{os.getuid()}-{digest}" / "gateway.sock"
        if not _fits_a_socket(far):
            raise HomeFault("SOCKET_PATH", "No path is short enough for the gateway's socket.", hint="shorten TMPDIR")
        _private_folder(far.parent)
        return far

    def workspaces(self, user: str, purpose: str) -> Path:
        """The folder of one user for one purpose, made with mode 0700; HomeFault WORKSPACE_NAME for no plain name."""
        folder = self.root / "workspaces"
        for name in (user, purpose):
            if not _PLAIN_NAME.fullmatch(name):
                raise HomeFault(
                    "WORKSPACE_NAME",
                    "A workspace needs a plain user and purpose.",
                    rule="names are 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
                    hint="use the identity's key and the purpose's key",
                )
            folder = folder / name
            _private_folder(folder)
        return folder

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Holds the home for one gateway; HomeFault HOME_HELD names the process that holds it and since when.

        The kernel lets go of the lock when its process ends, however it ends, so no stale lock can remain.
        """
        descriptor = os.open(self.root / "run" / "gateway.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            _lock_or_refuse(descriptor)
            _overwrite(descriptor, {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")})
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child's copy would otherwise keep it
        finally:
            os.close(descriptor)


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()


def _claim(root: Path) -> None:
    """Makes `root`, or takes an empty folder or an existing home; never a folder that holds other things."""
    try:
        root.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        _claim_existing(root)


def _claim_existing(root: Path) -> None:
    if (root / SETTINGS).is_file():
        _demand_private(root)
    elif root.is_dir() and not any(root.iterdir()):
        _demand_owner(root)
        root.chmod(0o700)
    else:
        raise HomeFault(
            "HOME_NOT_EMPTY",
            "This is not a kaianalytics home, and it is not empty.",
            rule=_PRIVATE_RULE,
            hint="name a folder that does not exist yet",
        )


def _private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    _demand_private(folder)


def _demand_owner(folder: Path) -> os.stat_result:
    facts = folder.lstat()  # lstat: a link that someone else planted is not a folder of ours
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise HomeFault(
            "HOME_NOT_PRIVATE",
            "A folder of the home belongs to another OS user, or is not a folder.",
            rule=_PRIVATE_RULE,
            hint="run as the custodian's OS user",
        )
    return facts


def _demand_private(folder: Path) -> None:
    if _demand_owner(folder).st_mode & 0o077:
        raise HomeFault(
            "HOME_NOT_PRIVATE",
            f"Other OS users can reach into the home's folder {folder.name!r}.",
            rule=_PRIVATE_RULE,
            hint="find out who could read it, then close it with `chmod 700`",
        )


def _write_settings(file: Path, settings: dict[str, Path]) -> None:
    text = "# The home's settings. Written by `kai init`.\n"
    text += "".join(f"{key} = {_toml_string(str(value))}\n" for key, value in settings.items())
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    aside.replace(file)


def _toml_string(value: str) -> str:
    """A TOML basic string: as JSON's, but DEL too must be escaped and nothing else may."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read_settings(file: Path) -> dict[str, Path]:
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise _bad_settings("kai.toml is not TOML.") from None
    if set(settings) != {"contracts", "sources"}:
        raise _bad_settings("kai.toml must hold the settings `contracts` and `sources`, and no others.")
    for key, value in settings.items():
        if not isinstance(value, str) or not Path(value).is_absolute():
            raise _bad_settings(f"kai.toml's setting {key!r} must be an absolute path.")
    return {key: Path(value) for key, value in settings.items()}


def _bad_settings(message: str) -> HomeFault:
    return HomeFault("HOME_SETTINGS", message, hint="write it anew with `kai init`")


def _fits_a_socket(path: Path) -> bool:
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES


def _lock_or_refuse(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HomeFault(
            "HOME_HELD",
            f"Another gateway holds this home: {_holder(descriptor)}.",
            rule="one gateway per home",
            hint="use the one that runs, or stop it first",
        ) from None


def _holder(descriptor: int) -> str:
    try:
        facts = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(facts['pid'])}, since {datetime.fromisoformat(facts['since']).isoformat()}"
    except (ValueError, KeyError, TypeError):
        return "a process that is just starting"


def _overwrite(descriptor: int, facts: dict[str, object]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(facts).encode(), 0)
    os.fsync(descriptor)
