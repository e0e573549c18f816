"""Files beneath a folder that a kernel writes to, opened by a server that is not confined: no link is ever followed.

A kernel can plant a link wherever it may write. Each part of a path is opened from the folder before it, and one that
is a link, or anything but a folder or a plain file, is not there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe that nobody writes to does not hold us


@contextmanager
def folder(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """A descriptor of the folder `parts` beneath `root`; OSError where it is not there."""
    opened = os.open(root, _FOLDER)
    try:
        for part in parts:
            below = os.open(plain(part), _FOLDER, dir_fd=opened)
            os.close(opened)
            opened = below
        yield opened
    finally:
        os.close(opened)


@contextmanager
def file(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """A descriptor of the plain file `parts` beneath `root`, for reading; OSError where it is not there."""
    with folder(root, parts[:-1]) as above:
        opened = os.open(plain(parts[-1]), _FILE, dir_fd=above)
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise FileNotFoundError(parts[-1])
            yield opened
        finally:
            os.close(opened)


def write(root: Path, parts: Sequence[str], content: bytes, mode: int) -> None:
    """Write a whole file: aside, then in its place; a link in its place is replaced, not followed."""
    with folder(root, parts[:-1]) as above:
        name = plain(parts[-1])
        aside = f".{os.urandom(8).hex()}.new"
        opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=above)
        with os.fdopen(opened, "wb") as stream:
            os.fchmod(opened, mode)
            stream.write(content)
        os.replace(aside, name, src_dir_fd=above, dst_dir_fd=above)


def unlink(root: Path, parts: Sequence[str]) -> None:
    """Remove one file or link."""
    with folder(root, parts[:-1]) as above:
        os.unlink(plain(parts[-1]), dir_fd=above)


def entries(root: Path, parts: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    """The plain files and folders in a folder that are not hidden, by name."""
    with folder(root, parts) as opened:
        # by the descriptor, which a path could not stand for
        for name in sorted(os.listdir(opened)):  # noqa: PTH208
            facts = os.stat(name, dir_fd=opened, follow_symlinks=False)
            if not name.startswith(".") and (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
                yield name, facts


def plain(part: str) -> str:
    """A name that is one, and not hidden; FileNotFoundError for any other."""
    if part in ("", ".", "..") or "/" in part or "\0" in part or part.startswith("."):
        raise FileNotFoundError(part)
    return part
