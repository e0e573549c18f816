"""A refusal says where it stands in the asker's own text, and the asker's side shows the line with a mark below it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.plan_kit import VIEW

from kaianalytics.client.pointing import WIDTH, pointed, pointing_into
from kaianalytics.errors import GuardRefused, KaiError, QueryFailed, QueryUnsupported
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.guard.allowed import STATISTICS_FUNCTIONS
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.protocol import refusal_from_json, refusal_to_json


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.close()


def at(text: str) -> tuple[str, tuple[int, int]]:
    """A text without its mark ⟨, and where that stands."""
    before = text[: text.index("⟨")]
    return text.replace("⟨", ""), (before.count("\n") + 1, len(before) - before.rfind("\n"))


@pytest.mark.parametrize(
    "marked",
    [
        "SELECT 1, ⟨random() FROM sessions",
        "SELECT a\nFROM ⟨other",
        "SELECT 'あ', \"い\",\n  count(*) FROM sessions WHERE a IN (SELECT b FROM sessions, ⟨main.sessions)",
        "SELECT CAST(a AS ⟨GEOMETRY) FROM sessions",
        "WITH ⟨sessions AS (SELECT 1) SELECT * FROM sessions",
        "-- sessions\nWITH a AS (SELECT 1), ⟨\"Sessions\" AS (SELECT 'sessions') SELECT * FROM a",
        "WITH RECURSIVE ⟨sessions AS (SELECT 1 UNION ALL SELECT 2) SELECT * FROM sessions",
        "SELECT a FROM sessions AS s JOIN ⟨range(3) AS sessions ON true",
        "SELECT a FROM sessions ⟨TABLESAMPLE 10%",
        "SELECT a FROM sessions\n\n WHERE ⟨pg_sleep(5) = 1 AND b = 2",
        "SELECT a FROM ⟨FROM sessions",
        "SELECT a⟨\x01 FROM sessions",
    ],
)
def test_a_refusal_of_the_guard_points_at_the_part(guard: Guard, marked: str) -> None:
    sql, place = at(marked)
    with pytest.raises(GuardRefused) as refused:
        guard.admit(sql, ("sessions",))
    assert refused.value.place is not None, refused.value
    if "TABLESAMPLE" not in sql:  # of a sample the tree says the table's place
        assert refused.value.place == place, refused.value


@pytest.mark.parametrize("sql", ["", "SELECT 1; SELECT 2", "DROP TABLE sessions", "SELECT " + "(" * 99 + ")" * 99])
def test_a_refusal_of_the_whole_points_nowhere(guard: Guard, sql: str) -> None:
    with pytest.raises(GuardRefused) as refused:
        guard.admit(sql, ("sessions",))
    assert refused.value.place is None


@pytest.mark.parametrize(
    "marked",
    [
        "SELECT COUNT(*) AS n,\n ⟨min(spent) AS m FROM visits",
        "SELECT COUNT(*) AS n FROM visits WHERE ⟨nowhere = 1",
        "SELECT COUNT(*) AS n FROM visits WHERE spent > 1 AND\n  ⟨customer = 'x'",
        "SELECT customer, COUNT(*) AS n FROM visits GROUP BY ⟨customer",
        "SELECT COUNT(*) AS n FROM ⟨elsewhere",
        "SELECT sum(spent) FILTER (WHERE ⟨row_number() OVER () > 1) AS s FROM visits",
        "SELECT ⟨*, COUNT(*) FROM visits",
        "SELECT COUNT(*) AS n FROM visits HAVING ⟨spent > 3",
        "SELECT COUNT(*) AS n FROM visits ORDER BY ⟨7",
        "SELECT COUNT(*) AS n FROM visits WHERE spent > (⟨SELECT 1)",
    ],
)
def test_a_refusal_of_a_statistic_points_at_the_part(guard: Guard, marked: str) -> None:
    sql, place = at(marked)
    tree = guard.admit(sql, ("visits", "elsewhere"), STATISTICS_FUNCTIONS).tree
    with pytest.raises(QueryUnsupported) as refused:
        lower(tree, {"visits": VIEW})
    refused.value.locate(sql)
    line, column = refused.value.place or (0, 0)
    assert (line, abs(column - place[1]) <= 1) == (place[0], True), (refused.value, place)


def test_the_place_and_the_reference_go_over_the_wire_and_into_what_is_shown() -> None:
    error = QueryFailed("BIND_ERROR", "No view has it.", hint="look")
    error.byte, error.reference = 9, "3f2a9c1d"
    error.locate("SELECT\n  devise")
    told = refusal_from_json(refusal_to_json(error), 422)
    assert (told.place, told.reference) == ((2, 3), "3f2a9c1d")
    assert str(told) == "line 2, column 3: No view has it. [BIND_ERROR]\nWhat to do: look\nReference: 3f2a9c1d"
    with pytest.raises(KaiError) as shown, pointing_into("SELECT\n  devise"):
        raise told
    assert str(shown.value).splitlines()[1:3] == ["      devise", "      ^"]


@pytest.mark.parametrize("place", [None, "1", [1], [0, 1], [1, True], [1, 2, 3], ["1", "2"], {"line": 1}])
def test_a_place_that_is_none_is_not_shown(place: object) -> None:
    told = refusal_from_json({"refused": {"code": "X", "message": "no", "place": place}}, 422)
    assert told.place is None and str(told) == "no [X]"


def test_the_mark_stands_below_its_letter() -> None:
    assert pointed("SELECT 'あ', x", 1, 13) == "    SELECT 'あ', x\n                 ^"
    assert pointed("a\n\tb\x1b", 2, 2) == "     b�\n     ^"
    shown, mark = pointed("x" * 300 + "y" + "z" * 300, 1, 301).split("\n")
    assert shown[len(mark) - 1] == "y" and len(shown) == WIDTH + 4
    assert pointed("a", 1, 2).endswith("\n     ^")
    assert pointed("a", 2, 1) == pointed("a", 1, 3) == ""
