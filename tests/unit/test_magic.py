"""`%%kai` and completion in a real IPython shell, on a connection that records what it is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from support.release_kit import figure, key, table

from kaianalytics.client import connection, extension
from kaianalytics.client.completion import FUNCTIONS, offers, place_of
from kaianalytics.client.datasets import DatasetList
from kaianalytics.errors import Refused, Unreachable
from kaianalytics.privacy.reading.functions import ANSWERED
from kaianalytics.privacy.reading.functions import FUNCTIONS as FUNCTIONS_OF_A_ROW
from kaianalytics.protocol import Dataset

SESSIONS = Dataset("sessions", "Visits", ("rows", "statistics"), ({"name": "device"}, {"name": "pages"}), "2026-11-01")
CUSTOMERS = Dataset("customers", "Customers", ("statistics",), ({"name": "plan"}, {"name": "prefecture"}), "2026-11-01")
VIEWS = (SESSIONS, CUSTOMERS)
ANSWER = table([key("device"), figure("n")], [("phone", 5)], [None, 2.0])


class Recorded:
    """A connection that keeps every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.gone = False

    def stats(self, sql: str, **asked: Any) -> Any:
        self.calls.append(("stats", sql, asked))
        return ANSWER

    def sql(self, sql: str) -> Any:
        self.calls.append(("sql", sql, {}))
        return pl.DataFrame({"a": [1]})

    def cost(self, sql: str, **asked: Any) -> str:
        self.calls.append(("cost", sql, asked))
        return "a plan"

    def accuracy(self, sql: str, **asked: Any) -> str:
        self.calls.append(("accuracy", sql, asked))
        return "a plan"

    def datasets(self) -> DatasetList:
        self.calls.append(("datasets", "", {}))
        if self.gone:
            raise Unreachable("GATEWAY_AWAY", "gone")
        return DatasetList(VIEWS)


@pytest.fixture
def kai(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()
    monkeypatch.setattr(connection, "_connection", recorded)
    extension._datasets.cache_clear()
    return recorded


@pytest.fixture
def shell(kai: Recorded) -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.Completer.use_jedi = False
    yield made
    InteractiveShell.clear_instance()


@pytest.fixture
def loaded(shell: InteractiveShell) -> InteractiveShell:
    shell.run_line_magic("load_ext", "kaianalytics")
    return shell


def run(shell: InteractiveShell, cell: str) -> tuple[Any, str, Refused | None]:
    """A cell's result, what it printed, and what it was refused with."""
    with capture_output() as said:
        done = shell.run_cell(cell, store_history=True)
    return done.result, said.stdout, done.error_in_exec


def test_a_cell_is_one_question_asked_kept_and_shown(loaded: InteractiveShell, kai: Recorded) -> None:
    result, printed, error = run(loaded, "%%kai rho=0.002 as=visits\nSELECT device, COUNT(*) AS n\nFROM sessions\n")
    assert error is None and result is ANSWER and "5 ± 2" in printed
    assert loaded.user_ns["visits"] is ANSWER
    assert kai.calls == [("stats", "SELECT device, COUNT(*) AS n\nFROM sessions", {"rho": "0.002"})]


def test_a_quiet_cell_is_kept_and_not_shown(loaded: InteractiveShell) -> None:
    result, printed, error = run(loaded, "%%kai rho=0.002 --quiet as=visits\nSELECT 1")
    assert (result, printed, error) == (None, "", None) and loaded.user_ns["visits"] is ANSWER


def test_a_shell_that_connects_knows_the_magic_by_itself(shell: InteractiveShell, kai: Recorded) -> None:
    connection._load_magic()
    connection._load_magic()
    assert run(shell, "%%kai rho=0.002\nSELECT 1")[0] is ANSWER
    assert sum(getattr(one, "matcher_identifier", "") == "kai" for one in shell.Completer.custom_matchers) == 1


@pytest.mark.parametrize(
    ("line", "called"),
    [
        ("epsilon=0.1 bounds=private", ("stats", {"epsilon": "0.1", "bounds": "private"})),
        ('accuracy="5%" size=20000', ("stats", {"accuracy": "5%", "size": "20000"})),
        ("accuracy='5%' size=20000 --plan", ("cost", {"accuracy": "5%", "size": "20000"})),
        ("--plan rho=0.002", ("accuracy", {"rho": "0.002"})),
        ("--rows as=frame", ("sql", {})),
        ("", ("stats", {})),  # no price: kai.stats refuses it, as it always does
    ],
)
def test_options_say_how_it_is_asked(
    loaded: InteractiveShell, kai: Recorded, line: str, called: tuple[str, dict[str, str]]
) -> None:
    run(loaded, f"%%kai {line}\nSELECT 1")
    assert kai.calls == [(called[0], "SELECT 1", called[1])]


def test_tables_are_frames_of_the_notebook_by_their_names(loaded: InteractiveShell, kai: Recorded) -> None:
    frame = pl.DataFrame({"a": [1]})
    loaded.user_ns["segments"] = frame
    run(loaded, "%%kai rho=1 tables=segments\nSELECT 1")
    assert kai.calls[0][2]["tables"] == {"segments": frame}
    assert _code(run(loaded, "%%kai rho=1 tables=regions\nSELECT 1")) == "MAGIC_OPTION"


def test_one_line_asks_as_well_and_alone_it_shows_what_can_be_asked(loaded: InteractiveShell, kai: Recorded) -> None:
    assert run(loaded, "%kai rho=0.002 SELECT COUNT(*) AS n FROM sessions")[0] is ANSWER
    assert kai.calls == [("stats", "SELECT COUNT(*) AS n FROM sessions", {"rho": "0.002"})]
    assert run(loaded, "%kai")[0] is kai


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("%%kai rho=0.002 cheap=yes\nSELECT 1", "MAGIC_OPTION"),
        ("%%kai ro=0.002\nSELECT 1", "MAGIC_OPTION"),
        ("%%kai rho=0.002 rho=0.003\nSELECT 1", "MAGIC_OPTION"),
        ("%%kai --everything\nSELECT 1", "MAGIC_OPTION"),
        ("%%kai rho=0.002 --quiet\nSELECT 1", "MAGIC_OPTION"),
        ("%%kai --rows rho=0.002\nSELECT 1", "MAGIC_OPTION"),
        ("%%kai rho=0.002 SELECT 1\nFROM sessions", "MAGIC_OPTION"),
        ("%%kai rho=0.002 as=1st\nSELECT 1", "MAGIC_OPTION"),
        ("%%kai rho=0.002 as=class\nSELECT 1", "MAGIC_OPTION"),
        ("%%kai rho=0.002\n  \n", "MAGIC_OPTION"),
        ("%kai rho=0.002", "MAGIC_OPTION"),
        ("%%kai rho=0.002\nSELECT COUNT(*) FROM sessions WHERE device = '{device}' AND day = {day}", "MAGIC_TEXT_ONLY"),
    ],
)
def test_what_is_not_understood_is_refused_before_anything_is_asked(
    loaded: InteractiveShell, kai: Recorded, cell: str, code: str
) -> None:
    assert _code(run(loaded, cell)) == code
    assert kai.calls == []


def test_nothing_is_put_into_a_question_and_braces_in_a_text_are_letters(
    loaded: InteractiveShell, kai: Recorded
) -> None:
    loaded.user_ns["device"] = "phone"
    sql = "SELECT COUNT(*) AS n FROM sessions WHERE device LIKE '{device}%' -- {device}"
    run(loaded, f"%%kai rho=0.002\n{sql}")
    run(loaded, "%kai rho=0.002 SELECT '{device}', '$device'")
    assert [call[1] for call in kai.calls] == [sql, "SELECT '{device}', '$device'"]


def _code(ran: tuple[Any, str, Any]) -> str:
    return str(ran[2].code)


# --- completion


def completed(shell: InteractiveShell, code: str) -> list[str]:
    """What the shell offers where `|` stands, as a kernel asks it."""
    cursor = code.index("|")
    with provisionalcompleter():
        return [found.text for found in shell.Completer.completions(code.replace("|", ""), cursor)]


@pytest.mark.parametrize(
    ("code", "offered"),
    [
        ("%%kai rho=0.002\nSELECT COUNT(*) FROM se|", {"sessions"}),
        ("%%kai rho=0.002\nSELECT dev|\nFROM sessions", {"device"}),
        ("%%kai rho=0.002\nSELECT s.pa| FROM sessions AS s", {"pages"}),
        ("%%kai rho=0.002\nSELECT SUM|", {"SUM("}),
        ("%%kai rho=0.002\nselect count(*) from sessions gro|", {"group by", "group by all"}),
        ("%%kai --rows\nSELECT * FROM |", {"sessions"}),  # customers gives statistics alone
        ("%%kai ep|", {"epsilon="}),
        ("%%kai --p|", {"--plan"}),
        ("kai.stats('SELECT COUNT(*) FROM cus|", {"customers"}),
        ('visits = kai.stats(\n    "SELECT device, "\n    "COUNT(*) FROM ses|', {"sessions"}),
        ('kai.stats("""\n  SELECT pre|\n  FROM customers\n""", rho="0.1")', {"prefecture"}),
        ("kai.cost(f'SELECT pla|", {"plan"}),
        ("kai.sql('SELECT * FROM s|", {"sessions"}),
    ],
)
def test_views_columns_and_words_are_offered_where_a_question_is_typed(
    loaded: InteractiveShell, code: str, offered: set[str]
) -> None:
    assert set(completed(loaded, code)) == offered


@pytest.mark.parametrize(
    "code",
    [
        "print('SELECT se|",
        "kai.stats('SELECT 1', rho='0.0|",
        "# kai.stats('SELECT se|",
        "x = 1 + se|",
        "kai.stats('SELECT 1') and 'se|",
        "%%bash\nkai.stats('se|",
    ],
)
def test_nothing_of_ours_is_offered_elsewhere(loaded: InteractiveShell, kai: Recorded, code: str) -> None:
    assert not {"sessions", "SELECT", "SUM("} & set(completed(loaded, code))
    assert place_of(code.replace("|", ""), code.index("|")) is None


def test_the_views_are_asked_once_and_a_gateway_that_is_away_is_only_silent(
    loaded: InteractiveShell, kai: Recorded
) -> None:
    kai.gone = True
    assert completed(loaded, "%%kai rho=1\nSELECT COUNT(*) FROM ses|") == []
    kai.gone = False
    for _ in range(3):
        assert completed(loaded, "%%kai rho=1\nSELECT COUNT(*) FROM ses|") == ["sessions"]
    assert [call[0] for call in kai.calls] == ["datasets", "datasets"]


def test_every_function_that_is_offered_is_one_that_the_engine_answers() -> None:
    names = {re.match(r"\w+", function)[0].lower() for function in FUNCTIONS}  # type: ignore[index]
    assert names - {"coalesce"} <= ANSWERED | set(FUNCTIONS_OF_A_ROW)  # coalesce is an operator of the grammar


def test_after_from_a_view_is_offered_and_before_it_its_columns_come_first() -> None:
    place = place_of("%%kai rho=1\nSELECT ", 19)
    assert place is not None
    fragment, words = offers(place, VIEWS)
    columns, views = ("device", "pages", "plan", "prefecture"), ("sessions", "customers")
    assert fragment == "" and words == {**dict.fromkeys(columns, "column"), **dict.fromkeys(views, "view")}
