"""The write lock: one writer at a time, over all threads and processes of this machine.

Commit and head are two files; between them stands this lock, so that no one ever sees the one without the other
unless a writer died. The kernel releases it when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kaianalytics.errors import RecordsFault

_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.0005


class WriteLock:
    """A lock on `path`: threads of this process queue for it first, then the one in front meets other processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock; RecordsFault RECORDS_BUSY after 30 s without a turn; RuntimeError inside itself."""
        if self._owner == threading.get_ident():
            raise RuntimeError("a write inside a write would wait for itself")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        if not self._threads.acquire(timeout=_PATIENCE_SECONDS):
            raise _busy()
        self._owner = threading.get_ident()
        try:
            with self._process_lock(deadline):
                yield
        finally:
            self._owner = None
            self._threads.release()

    @contextmanager
    def _process_lock(self, deadline: float) -> Iterator[None]:
        descriptor = self._opened()
        try:
            while not _taken(descriptor):
                if time.monotonic() > deadline:
                    raise _busy()
                time.sleep(_PAUSE_SECONDS)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child's copy would otherwise keep it
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            raise RecordsFault(
                "LOCK_UNAVAILABLE",
                "The records' write lock can't be opened; nothing was written.",
                rule="one writer at a time",
                hint="see that the home is there, and that this OS user may write in it",
            ) from None


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy() -> RecordsFault:
    return RecordsFault(
        "RECORDS_BUSY",
        "The records were held by another writer for too long; nothing was written.",
        rule="one writer at a time",
        hint="see which `kai` command is still running, then try again",
    )
