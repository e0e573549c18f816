"""The custodian's log: codes, kinds and places; never a value, a statement, a token, a path or an engine's message.

Laws:
1. Each request has a reference, a random word. It stands in every line that the log has of the request, in the event of
   its failure, and in what the asker is told of a failure: so the custodian finds the one by the other.
2. Of an exception the log has its kind and the lines of code that it came through: its text may hold data (law 5).
"""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

LOGGERS = ("kaianalytics", "uvicorn.error", "asyncio")
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(reference)s %(message)s"
_reference: ContextVar[str] = ContextVar("reference", default="-")


def begin_request() -> None:
    """Give what follows, in this task and the threads it asks, a reference of its own."""
    _reference.set(secrets.token_hex(4))


def reference() -> str:
    """The reference of the request that is being answered; a dash outside of one."""
    return _reference.get()


def came_through(trace: TracebackType | None) -> str:
    """The modules and lines that an exception came through, innermost first."""
    frames = reversed(traceback.extract_tb(trace))
    return " < ".join(f"{PurePath(frame.filename).stem}:{frame.lineno}" for frame in frames)


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Keep the log in a file of the custodian's alone."""
    handler = RotatingFileHandler(file, maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    file.chmod(0o600)
    handler.setFormatter(WithoutTexts(_FORMAT))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


class WithoutTexts(logging.Formatter):
    """Lines with their reference, and of an exception no text (laws 1 and 2)."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; whatever another handler made of the exception is not taken."""
        record.reference, record.exc_text, record.stack_info = reference(), None, None
        line = super().format(record)
        record.exc_text = None
        return line

    def formatException(self, ei: Any) -> str:
        """The exception's kind and way."""
        kind, _, trace = ei
        return f"{getattr(kind, '__name__', 'nothing')}, at {came_through(trace)}"
