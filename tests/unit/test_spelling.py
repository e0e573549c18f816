"""Which column no view has, told from the statement's own tree."""

from __future__ import annotations

import pytest

from kaianalytics.errors import QueryFailed
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.guard.spelling import naming_unknown_columns, unknown_columns

COLUMNS = ("customer_id", "device", "pages", "started_at")
GUARD = Guard()


def tree(sql: str) -> object:
    return GUARD.admit(sql, ("sessions",)).tree


@pytest.mark.parametrize(
    ("sql", "unknown"),
    [
        ("SELECT devise FROM sessions", ("devise",)),
        ("SELECT s.devise, DEVICE FROM sessions AS s WHERE Pagez > 1", ("devise", "Pagez")),
        ("SELECT device AS d FROM sessions ORDER BY d", ()),
        ("SELECT count(*) AS n FROM sessions GROUP BY device HAVING n > 1", ()),
        ("WITH a(x, y) AS (SELECT device, pages FROM sessions) SELECT x, y FROM a", ()),
        ("SELECT list_transform([pages], lambda q: q + 1) FROM sessions", ()),
        ("SELECT t FROM (SELECT pages AS p FROM sessions) AS t(p)", ()),
        ("SELECT sessions FROM sessions", ()),
        ("SELECT r.i FROM range(3) AS r(i)", ()),
    ],
)
def test_only_names_that_nothing_gives_are_unknown(sql: str, unknown: tuple[str, ...]) -> None:
    assert tuple(unknown_columns(tree(sql), COLUMNS)) == unknown  # type: ignore[arg-type]


def failure(code: str) -> QueryFailed:
    return QueryFailed(code, "The statement does not fit.", rule="a rule", hint="check it")


def test_a_failure_to_bind_names_the_column_and_what_is_near_it() -> None:
    with pytest.raises(QueryFailed) as told, naming_unknown_columns(tree("SELECT devise FROM sessions"), COLUMNS):  # type: ignore[arg-type]
        raise failure("BIND_ERROR")
    assert (told.value.code, told.value.rule) == ("BIND_ERROR", "a rule")
    assert told.value.message == "No view of the statement has a column `devise`."
    assert told.value.hint.startswith("perhaps `device`; ")
    assert told.value.byte == len("SELECT ")


@pytest.mark.parametrize(
    ("sql", "code"),
    [("SELECT device + pages FROM sessions", "BIND_ERROR"), ("SELECT devise FROM sessions", "DATA_ERROR")],
)
def test_any_other_failure_goes_its_way(sql: str, code: str) -> None:
    with pytest.raises(QueryFailed) as told, naming_unknown_columns(tree(sql), COLUMNS):  # type: ignore[arg-type]
        raise failure(code)
    assert told.value.message == "The statement does not fit."
