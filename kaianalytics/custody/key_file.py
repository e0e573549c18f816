"""The one file that the custodian's keys are kept in: private, whole, and replaced at one stroke.

Rules:
    1. The file is 0600 and this OS user's; a looser one is refused, for it may have been read.
    2. It is written aside, synced, then put in place: by a link where there must be none, by a rename where it takes
       the place of another. However the writer ends, the file is the old one or the new one.
    3. What a writer that was killed left aside is removed before the next is written.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from kaianalytics.errors import HomeFault

NAME = "custodian.json"
RULE = "the custodian's keys are made once, and only the custodian can read them"
Mark = tuple[int, int]


def read_private(file: Path) -> tuple[bytes, Mark]:
    """The file's content, and by what it is known again; HomeFault KEYS_ABSENT or KEYS_NOT_PRIVATE."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise HomeFault("KEYS_ABSENT", "This home has no keys.", rule=RULE, hint="make them with `kai init`") from None
    except OSError:
        raise _not_private() from None
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise _not_private()
        return stream.read(1 << 20), (facts.st_ino, facts.st_mtime_ns)


def is_same(file: Path, mark: Mark) -> bool:
    """Whether the file is still the one that was read."""
    try:
        facts = file.lstat()
    except OSError:
        return False
    return (facts.st_ino, facts.st_mtime_ns) == mark


def write_first(file: Path, text: str) -> None:
    """Write the file where there is none; HomeFault KEYS_EXIST where there is one."""
    aside = _written_aside(file, text)
    try:
        os.link(aside, file)
    except FileExistsError:
        raise HomeFault("KEYS_EXIST", "This home has its keys already.", rule=RULE, hint="go on with them") from None
    finally:
        aside.unlink()
    _sync_folder(file.parent)


def replace(file: Path, text: str) -> None:
    """Write the file in the place of the one that is there."""
    _written_aside(file, text).replace(file)
    _sync_folder(file.parent)


def _written_aside(file: Path, text: str) -> Path:
    for left_behind in file.parent.glob(f"{file.name}.*"):
        left_behind.unlink()
    aside = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return aside


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_private() -> HomeFault:
    return HomeFault(
        "KEYS_NOT_PRIVATE",
        "The keys' file is a link, another user's, or open to other OS users.",
        rule=RULE,
        hint="find out who could read it; if someone could, the keys are spent: close it with `chmod 600`, then "
        "`kai keys rotate`",
    )
