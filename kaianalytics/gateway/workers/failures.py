"""What an analyst is told when the engine fails: a code, a sentence and a hint made from public facts only (law 5).

The engine's own message may quote a value, a hidden row's or the analyst's: it never leaves the worker. What decides
is the name of the error's class alone, the most specific that this table knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from kaianalytics.errors import KaiError, QueryFailed, WorkerFault

# What ends a statistic's read and says nothing of the rows it read.
SAYS_NOTHING = frozenset({"BUSY", "CANCELLED", "SESSION_CLOSED", "TOO_MANY_WORKERS", "WORKER_START"})
RULE = "errors never carry data (DESIGN law 5): the engine's own message stays in the worker"


@dataclass(frozen=True)
class Failure:
    """Why there is no answer. `kind` is the engine's class of error, for the custodian's log."""

    code: str
    message: str
    hint: str
    kind: str = ""
    ends_worker: bool = False

    def to_json(self) -> dict[str, Any]:
        """The failure as a status frame carries it."""
        return {"ok": False, **asdict(self)}

    @classmethod
    def from_json(cls, status: Mapping[str, Any]) -> Failure:
        """The failure that `to_json` wrote."""
        return cls(**{name: value for name, value in status.items() if name != "ok"})

    def error(self) -> KaiError:
        """The exception for it: a fault where the worker ended, a refusal where the session's worker lives on."""
        kind = WorkerFault if self.ends_worker else QueryFailed
        return kind(self.code, self.message, rule=RULE, hint=self.hint)


_DATA = Failure(
    "DATA_ERROR",
    "The query raised an error on some value: a cast, a division, an overflow or an argument out of range.",
    "use TRY_CAST for casts, NULLIF for divisors, and a wider type for sums and products",
)
_NAMES = Failure(
    "BIND_ERROR",
    "A column, a function's arguments or a type in the statement does not fit the views.",
    "kai.datasets() lists the columns with their types; check spelling, aliases and GROUP BY",
)
_MEMORY = Failure(
    "OUT_OF_MEMORY",
    "The query needs more memory than a session may use.",
    "aggregate before joining or sorting, choose fewer columns, or filter earlier",
    ends_worker=True,
)
_ENGINE = Failure(
    "ENGINE_FAULT",
    "The engine stopped on this query; the next one starts afresh.",
    "write the statement in a plainer way; the custodian's log names the kind of error",
    ends_worker=True,
)
_UNSUPPORTED = Failure(
    "NOT_SUPPORTED", "The engine can't do this.", "write the statement in another way, or do this step in Polars"
)
_SYNTAX = Failure("SYNTAX", "The statement can't be parsed.", "check the SQL")
_PERMISSION = Failure(
    "NOT_PERMITTED", "The worker is locked: it reads its views and nothing else.", "kai.datasets() lists the views"
)

_BY_CLASS: Mapping[str, Failure] = MappingProxyType(
    {
        "ConversionException": _DATA,
        "OutOfRangeException": _DATA,
        "InvalidInputException": _DATA,
        "DataError": _DATA,
        "BinderException": _NAMES,
        "CatalogException": _NAMES,
        "TypeMismatchException": _NAMES,
        "InvalidTypeException": _NAMES,
        "ParserException": _SYNTAX,
        "SyntaxException": _SYNTAX,
        "PermissionException": _PERMISSION,
        "NotImplementedException": _UNSUPPORTED,
        "NotSupportedError": _UNSUPPORTED,
        "OutOfMemoryException": _MEMORY,
        "MemoryError": _MEMORY,
    }
)


def failure_of(classes: Sequence[str]) -> Failure:
    """The failure for an error, given the names of its class and of what that derives from, most specific first.

    An error that the table does not know leaves the engine in doubt, so the worker ends.
    """
    known = next((_BY_CLASS[name] for name in classes if name in _BY_CLASS), _ENGINE)
    return replace(known, kind=classes[0] if classes else "")


def result_too_large(rows_max: int, bytes_max: int) -> Failure:
    """The failure of a result past the request's bounds."""
    return Failure(
        "RESULT_TOO_LARGE",
        f"The result has more than {rows_max:,} rows or {bytes_max:,} bytes.",
        "aggregate in SQL, choose fewer columns, or add a filter or LIMIT",
    )


def unexpected_statement() -> Failure:
    """The failure of a text that is not one SELECT, which no guard should have let through."""
    return Failure("NOT_A_SELECT", "A worker runs one SELECT statement at a time.", "send one SELECT")


def of_statistics(error: KaiError) -> KaiError:
    """The failure of a statistic's read as an analyst is told it: one code for whatever the rows may have decided.

    Whether it was memory, time, size or a value would be a fact about the rows, for which nothing was charged.
    """
    if error.code in SAYS_NOTHING:
        return error
    return WorkerFault(
        "STATISTIC_FAILED",
        "The statistic could not be computed within what a session may use.",
        rule="of statistics, a failure tells nothing of the rows; the charge stands, and pays for one more try (law 4)",
        hint="ask for fewer groups, columns or joins at once; the custodian's log names the kind of error",
    )
