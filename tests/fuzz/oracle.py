"""The oracle: of one statement, whether it was refused or answered right, and nothing that is forbidden was seen.

1. No canary: neither in an answer's bytes nor in any word of a refusal.
2. What is forbidden and was put into a statement on purpose is refused before a worker has it; and a refusal has a
   code, a rule and a sentence, and is no fault of the gateway.
3. An answer says what plain DuckDB says on the permitted rows alone. Where plain DuckDB's own answers differ with the
   order of its rows, the statement leaves it open (a LIMIT without an order, `first`, a sum of floats): then only the
   columns are compared, and the number of rows where that is the same in every order.
4. A statement that fails here fails there, in some order of the rows; one that fails there is not answered here.
5. What ends for want of memory, time or room says nothing of the rows, and is counted.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from fuzz.comparing import same
from fuzz.plain import ORDERS, Plain, Truth
from fuzz.statements import Statement
from kaianalytics.errors import Fault, GuardRefused, KaiError

FAILED = frozenset({"DATA_ERROR", "BIND_ERROR", "NOT_SUPPORTED", "SYNTAX", "ENGINE_FAULT"})
# what a statement may end in for want of something, or because its asker gave it up
RESOURCES = frozenset(
    {"OUT_OF_MEMORY", "DEADLINE", "RESULT_TOO_LARGE", "WORKER_ENDED", "WORKER_KILLED", "CANCELLED", "GATEWAY_SILENT"}
)
BEFORE_THE_WORKER = frozenset({"NO_VIEW", "NOT_FOR_PURPOSE", "NO_ACCESS", "NOT_AS_ROWS", "NOT_JSON"})

UNRULED = frozenset({"NO_VIEW", "NOT_JSON"})

Ask = Callable[[str], bytes]  # the Arrow stream that answers a statement; a KaiError where there is none


class Finding(AssertionError):
    """What the oracle found, with the statement and how to make it again."""


@dataclass
class Oracle:
    """Judges statements, and counts what came of them."""

    plain: Plain
    canaries: re.Pattern[bytes]
    origin: str = ""
    counts: Counter[str] = field(default_factory=Counter)

    def judge(self, statement: Statement, ask: Ask) -> str:
        """What came of one statement; a Finding where that may not be."""
        try:
            answer = ask(statement.sql)
        except KaiError as error:
            outcome = self._of_error(statement, error)
        else:
            outcome = self._of_answer(statement, answer)
        if statement.forbidden and outcome != "refused":
            raise self._finding(statement, f"admitted, and it must not be: {outcome}")
        self.counts[outcome] += 1
        return outcome

    def _of_answer(self, statement: Statement, answer: bytes) -> str:
        self._demand_no_canary(statement, answer)
        ours = pa.ipc.open_stream(io.BytesIO(answer)).read_all()
        truth = self.plain.answer(statement.sql)
        if truth.table is not None and same(ours, truth.table, ordered=statement.ordered):
            return "right"
        truths = [truth, *(self.plain.answer(statement.sql, order) for order in range(1, ORDERS))]
        told = [one.table for one in truths if one.table is not None]
        if any(same(ours, one, ordered=statement.ordered) for one in told):
            return "right in some order"
        if any(one.cut_off for one in truths):
            return "not compared"
        if not told:
            raise self._finding(statement, f"answered, where plain DuckDB fails: {truth.error[:1]}")
        if len(told) == len(truths) and all(same(one, told[0]) for one in told):
            raise self._finding(statement, f"answered {_shown(ours)}; plain DuckDB answers {_shown(told[0])}")
        if all(one.schema.types != ours.schema.types for one in told):
            raise self._finding(statement, f"answered columns {ours.schema.types}, plain DuckDB {told[0].schema.types}")
        counts = {one.num_rows for one in told}
        if len(told) == len(truths) and len(counts) == 1 and ours.num_rows not in counts:
            raise self._finding(statement, f"answered {ours.num_rows} rows, plain DuckDB {counts} in any order")
        return "left open"

    def _of_error(self, statement: Statement, error: KaiError) -> str:
        words = " ".join([error.code, error.message, error.rule, error.hint])
        self._demand_no_canary(statement, words.encode())
        if isinstance(error, GuardRefused) or error.code in BEFORE_THE_WORKER or _is_guards(error):
            if not (error.code and error.message and error.rule) and error.code not in UNRULED:
                raise self._finding(statement, f"a refusal without code or sentence: {words}")
            return "refused"
        if error.code in RESOURCES:
            return "out of resources"
        if error.code not in FAILED:
            raise self._finding(statement, f"ended in {type(error).__name__} {error.code}")
        truths = (self.plain.answer(statement.sql, order) for order in range(ORDERS))
        for truth in truths:
            if truth.error:
                return "fails as it does plainly"
            if truth.cut_off:
                return "not compared"
        raise self._finding(statement, f"failed with {error.code}, where plain DuckDB answers")

    def _demand_no_canary(self, statement: Statement, said: bytes) -> None:
        if found := self.canaries.search(said):
            if found[0] in statement.sql.encode():
                return  # the analyst's own word, said back
            raise self._finding(statement, f"a canary was seen: {found[0].decode(errors='replace')}")

    def _finding(self, statement: Statement, what: str) -> Finding:
        return Finding(f"{what}\n{self.origin}\n{statement.sql}")


def _is_guards(error: KaiError) -> bool:
    """Over the wire every refusal is of one class: the guard's are told by their rule."""
    return not isinstance(error, Fault) and "the guard admits" in error.rule


def _shown(table: pa.Table) -> str:
    return f"{table.num_rows} rows of {table.schema.types}: {str(table.slice(0, 3).to_pydict())[:300]}"


__all__ = ["Finding", "Oracle", "Truth"]
