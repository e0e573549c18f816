"""What the custodian's log holds of questions: code, kind, reference; no value of a row and no literal of a statement.

Canaries are real values of the store and words in the statements; the engine's own messages would have quoted them.
"""

from __future__ import annotations

import io
import logging
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
from support.real_world import Gateway

from kaianalytics.errors import KaiError
from kaianalytics.gateway.logbook import begin_request, logging_to, reference

WORD = "canary-of-a-statement"
FAILING = (
    "SELECT CAST(customer_id AS INTEGER) AS n FROM sessions",
    "SELECT pages + CAST(service AS BIGINT) AS n FROM sessions",
    f"SELECT CAST('{WORD}' AS DATE) AS d FROM sessions",
    "SELECT 9223372036854775807 + pages AS n FROM sessions",
    f"SELECT devise FROM sessions WHERE service = '{WORD}'",
    f'SELECT device AS "{WORD}" FROM sessions GROUP BY service',
    f"SELECT random() FROM sessions WHERE service = '{WORD}'",
    f"SELECT * FROM sessions, '{WORD}.parquet'",
    f"SELECT a.customer_id || '{WORD}' AS x FROM sessions AS a, sessions AS b, sessions AS c",
)
ANSWERED = (
    "SELECT * FROM sessions LIMIT 50",
    f"SELECT customer_id, '{WORD}' AS word FROM sessions LIMIT 3",
)
STATISTICS = (
    "SELECT COUNT(*) AS n FROM sessions WHERE service = 'canary-of-a-statement'",
    "SELECT min(pages) AS n FROM sessions WHERE service = 'canary-of-a-statement'",
    "SELECT customer_id, COUNT(*) AS n FROM sessions GROUP BY customer_id",
    "SELECT SUM(CAST(service AS DOUBLE)) AS s FROM sessions WHERE device <> 'canary-of-a-statement'",
)


def logged(gateway: Gateway) -> str:
    """All that the gateway has written: its log, whatever it was rotated to, and what it printed."""
    files = [*gateway.world.home.log.parent.iterdir(), gateway.world.root / "gateway.out"]
    return "".join(file.read_text(encoding="utf-8") for file in files)


def values(gateway: Gateway) -> set[str]:
    """Values of rows that no log may hold: pseudonyms, moments, what customers are called in the sources."""
    with duckdb.connect(str(gateway.world.store("service-improvement")), read_only=True) as plain:
        rows = plain.sql("SELECT customer_id, session_id FROM sessions").fetchall()
    return {str(value) for row in rows for value in row} | gateway.world.secrets()


def test_the_log_holds_neither_values_of_rows_nor_literals_of_statements(gateway: Gateway) -> None:
    asker, told = gateway.session(), []
    for sql in FAILING:
        told.append(asker.refused(sql))
    for sql in ANSWERED:
        asker.rows(sql)
    for sql in STATISTICS:
        with suppress(KaiError):
            asker.stats(sql, "0.0001")
    written = logged(gateway)
    assert WORD not in written
    found = sorted(value for value in values(gateway) if value in written)
    assert not found
    assert {"DATA_ERROR", "BIND_ERROR"} <= {error.code for error in told}
    assert all(error.code in written for error in told if error.reference), "the log is useful all the same"


def test_the_engines_own_messages_would_have_held_both(gateway: Gateway) -> None:
    """Else the test above could never fail."""
    said = []
    with duckdb.connect(str(gateway.world.store("service-improvement")), read_only=True) as plain:
        for sql in FAILING[:3]:
            with pytest.raises(duckdb.Error) as error:
                plain.execute(sql).fetchall()
            said.append(str(error.value))
    assert any(value in said[0] for value in values(gateway)) and WORD in said[2]


def test_the_custodian_finds_by_a_reference_what_the_analyst_was_told_of(gateway: Gateway) -> None:
    first, second = (gateway.session().refused(sql) for sql in FAILING[:2])
    assert len(first.reference) == len(second.reference) == 8 and first.reference != second.reference
    [line] = [line for line in logged(gateway).splitlines() if first.reference in line]
    assert "DATA_ERROR" in line and "ConversionException" in line
    [event] = [e for e in gateway.world.events("rows.refused") if e.facts()["reference"] == first.reference]
    assert (event.facts()["code"], event.facts()["sql"]) == ("DATA_ERROR", FAILING[0])
    assert f"Reference: {first.reference}" in str(first)
    assert gateway.session().refused("SELECT random() FROM sessions").reference == "", "there is no more to say of it"


def test_of_an_exception_the_log_has_the_kind_and_the_way_alone(tmp_path: Path) -> None:
    log, other = logging.getLogger("kaianalytics.a.test"), logging.StreamHandler(io.StringIO())
    logging.getLogger("kaianalytics").addHandler(other)  # as others do, it keeps the whole text at the record
    try:
        with logging_to(tmp_path / "log"):
            begin_request()
            word = reference()
            try:
                raise ValueError(WORD)
            except ValueError:
                log.exception("unexpected")
            logging.getLogger("asyncio").error("left over", exc_info=ValueError(WORD), stack_info=True)
    finally:
        logging.getLogger("kaianalytics").removeHandler(other)
    written = (tmp_path / "log").read_text(encoding="utf-8")
    assert WORD not in written and written.count(word) == 2
    assert "ValueError, at test_custodians_log:" in written
