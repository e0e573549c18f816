"""What an analyst may try with SQL: the shipped statements on the owner's names, and probes made of the contracts.

The probes ask, for every view, column, product and kind of person that the contracts name, what must not be answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from kaianalytics.attack import layers as L
from kaianalytics.attack.attempts import Attack, Target, Trial, effect, rows_in
from kaianalytics.attack.canaries import Place
from kaianalytics.attack.corpus import hostile_statements, ordinary_selects
from kaianalytics.attack.sources import NAMES_ANOTHER, OUT, PAST_RETENTION, RAW_KEY, STOPS_LATER
from kaianalytics.attack.world import ATTACKER

_FILES = (
    "read_text('{file}')",
    "read_blob('{file}')",
    "read_csv('{file}', header=false, columns={{'a': 'VARCHAR'}})",
    "'{file}'",
    "read_json('{keys}')",
    "read_text('{keys}')",
    "read_text('/proc/{gateway}/environ')",
    "glob('{home}/**')",
    "sniff_csv('{file}')",
    "read_duckdb('{other}', table_name='{product}')",
    "read_parquet('{sources}/*.parquet', union_by_name=true)",
)
_BASE = (
    "SELECT * FROM store.main.{view}",
    "SELECT * FROM store.{view}",
    "SELECT t.* FROM {view} AS v, store.main.{view} AS t LIMIT 500",
    "SELECT * FROM query('SELECT * FROM store.main.{view}')",
    "SELECT * FROM query_table('store.main.{view}')",
    "WITH t AS (SELECT * FROM store.main.{view}) SELECT * FROM t",
)
NOT_THERE = (*OUT, NAMES_ANOTHER)


def controls(target: Target) -> Iterator[Trial]:
    """What may be seen, asked for: that a canary comes back here shows that the search finds what there is."""
    for view in target.rows:
        yield target.ask_rows(f"SELECT * FROM {view}", L.STORE)


def shipped(target: Target) -> Iterator[Trial]:
    """Every hostile statement, to the rows' door, in a session that others need not go on with."""
    line = target.gateway.session(ATTACKER, target.purpose, "shipped")
    texts = [hostile.sql.replace("\\n", "\n") for hostile in hostile_statements()]
    for sql in target.adapted(texts)[:: target.every]:
        yield target.ask_rows(sql, L.VIEW, line)


def lawful(target: Target) -> Iterator[Trial]:
    """Ordinary questions: what they answer holds no canary either."""
    for sql in target.adapted(ordinary_selects())[:: target.every]:
        yield target.ask_rows(sql, L.STORE)


def absent_columns(target: Target) -> Iterator[Trial]:
    """Every column that the purpose does not see, by its name, in each view."""
    for view in target.rows:
        for column in target.absent(view):
            yield target.ask_rows(f'SELECT "{column.name}" FROM {view}', L.VIEW)
            yield target.ask_rows(f'SELECT max(v."{column.name}") FROM {view} AS v', L.VIEW)
        yield target.ask_rows(f"SELECT COLUMNS('.*') FROM {view}", L.VIEW)


def base_tables(target: Target) -> Iterator[Trial]:
    """Each view's table behind its view."""
    for view in target.rows:
        for sql in _BASE:
            yield target.ask_rows(sql.format(view=view), L.STORE)


def absent_columns_of_tables(target: Target) -> Iterator[Trial]:
    """The columns that the purpose does not see, in the table behind the view."""
    for view in target.rows:
        for column in target.absent(view):
            yield target.ask_rows(f'SELECT "{column.name}" FROM store.main.{view}', L.STORE)


def everybody(target: Target) -> Iterator[Trial]:
    """All that each view shows; and each person who may not be there, by their raw key."""
    for view, table in target.rows.items():
        yield target.ask_rows(f"SELECT * FROM {view}", L.PEOPLE)
        for person in (p for listed in target.world.made.people.values() for p in listed if p.is_out):
            if table.unit:
                yield target.ask_rows(
                    f"SELECT * FROM {view} WHERE CAST({table.unit} AS VARCHAR) = '{person.key}'", L.PEOPLE
                )


def all_rows(target: Target) -> Iterator[Trial]:
    """All that each view shows, in other orders and through what may hold more than is shown."""
    for view in target.rows:
        for tail in ("", " ORDER BY ALL DESC", " UNION ALL SELECT * FROM {view}"):
            yield target.ask_rows(f"SELECT * FROM {view}{tail.format(view=view)}", L.STOPS)


def old_rows(target: Target) -> Iterator[Trial]:
    """All that each view shows: rows past retention are not among it."""
    for view in target.rows:
        yield target.ask_rows(f"SELECT * FROM {view} WHERE true", L.RETENTION)


def raw_keys(target: Target) -> Iterator[Trial]:
    """Every key column."""
    for view, table in target.rows.items():
        for column in (c for c in table.columns if c.rule.action == "pseudonym"):
            yield target.ask_rows(f'SELECT DISTINCT "{column.name}" FROM {view}', L.PSEUDONYMS)


def products_of_others(target: Target) -> Iterator[Trial]:
    """Every product that the purpose has not, and those that it has as statistics alone."""
    for product in target.world.contracts.products:
        if product not in target.rows:
            yield target.ask_rows(f"SELECT * FROM {product}", L.STORE)
            for view in list(target.rows)[:1]:
                yield target.ask_rows(f"SELECT p.* FROM {view} AS v, {product} AS p LIMIT 500", L.STORE)


def errors_on_hidden_rows(target: Target) -> Iterator[Trial]:
    """An error that is raised by a row of who asked to stop, and by no other."""
    for view, table in target.rows.items():
        for column in (c for c in table.columns if c.type == "string" and c.rule.action == "keep"):
            word = target.world.made.planted(Place(STOPS_LATER, view, column.name))
            if not isinstance(word, str):
                continue
            test = f'CASE WHEN "{column.name}" LIKE \'{word[:-2]}%\' THEN CAST("{column.name}" AS INTEGER) = 1 END'
            shown = target.line.rows(f"SELECT 1 FROM {view} WHERE \"{column.name}\" LIKE '{word[:-2]}%' LIMIT 1")
            trial = target.ask_rows(f"SELECT count(*) AS n FROM {view} WHERE {test}", L.SECURE_VIEW)
            told = "DATA_ERROR" in trial.outcome and rows_in(shown) == 0
            yield effect(trial, "an error tells of a hidden row", told)


def words_of_errors(target: Target) -> Iterator[Trial]:
    """The words of such an error."""
    for trial in errors_on_hidden_rows(target):
        yield Trial(trial.what, trial.outcome, trial.stopped_by, trial.found)


def files_by_sql(target: Target) -> Iterator[Trial]:
    """Files of the home, by what the engine reads files with."""
    home = target.world.home
    purposes = [p for p in target.world.contracts.purposes.open if p != target.purpose] or [target.purpose]
    names = {
        "file": home.root / "planted.txt", "keys": home.keys / "custodian.json", "home": home.root,
        "gateway": target.gateway.pid, "sources": home.sources, "product": next(iter(target.statistics), "x"),
        "other": target.world.store(purposes[0], "statistics"),
    }  # fmt: skip
    for view in list(target.rows)[:1]:
        for function in _FILES:
            # beside a view, for a statement that reads none is refused for that
            sql = f"SELECT f.* FROM {function.format(**names)} AS f, (SELECT 1 FROM {view} LIMIT 1) AS v"
            yield target.ask_rows(sql, L.LOCK_DOWN)


def more_rows_than_may_leave(target: Target) -> Iterator[Trial]:
    """One row more than one answer may have."""
    for view in list(target.rows)[:1]:
        most = target.world.contracts.products[view].rows_caps.rows_per_query
        sql = f"SELECT 1 AS x FROM {view}, range({most + 1}) LIMIT {most + 1}"
        trial = target.ask_rows(sql, L.CAPS)
        stopped = replace(trial, stopped_by=L.CAPS) if "RESULT_TOO_LARGE" in trial.outcome else trial
        yield effect(stopped, "more rows left than may", trial.outcome == "answered")


def changes(target: Target) -> Iterator[Trial]:
    """The list of who asked to stop, emptied; then what the views show that they did not show before."""
    line = target.gateway.session(ATTACKER, target.purpose, "changing")
    for view in list(target.rows)[:1]:
        before = target.ask_rows(f"SELECT * FROM {view}", L.STOPS, line)
        yield target.ask_rows(f"DELETE FROM kai_stops /* {view} */", L.SECOND_LOOK, line)
        after = target.ask_rows(f"SELECT * FROM {view}", L.SECOND_LOOK, line)
        yield replace(after, found=after.found - before.found)


def _after(*kinds: str) -> Callable[[Place, Target], bool]:
    return lambda place, target: place.what in kinds


def _absent(place: Place, target: Target) -> bool:
    return target.lacks(place)


def _of_others(place: Place, target: Target) -> bool:
    return bool(place.product) and place.product not in target.rows


ROWS_ATTACKS = (
    Attack("hostile statements as shipped", "rows", (L.GUARD,), shipped),
    Attack("a column that the purpose drops", "rows", (L.STORE, L.VIEW), absent_columns, _absent),
    Attack("the table behind a view", "rows", (L.GUARD,), base_tables, _after(STOPS_LATER)),
    Attack("a dropped column behind a view", "rows", (L.GUARD, L.STORE), absent_columns_of_tables, _absent),
    Attack("people who may not be in the data", "rows", (L.PEOPLE,), everybody, _after(*NOT_THERE)),
    Attack("rows past their retention", "rows", (L.RETENTION,), old_rows, _after(PAST_RETENTION)),
    Attack("who asked to stop since the build", "rows", (L.STOPS,), all_rows, _after(STOPS_LATER)),
    Attack("a raw key", "rows", (L.PSEUDONYMS, L.VERIFICATION), raw_keys, _after(RAW_KEY)),
    Attack("a product of another purpose", "rows", (L.DECISION, L.STORE, L.VIEW), products_of_others, _of_others),
    Attack("an error as a sign of a hidden row", "rows", (L.SECURE_VIEW,), errors_on_hidden_rows),
    Attack("an error's words on a hidden row", "rows", (L.SECURE_VIEW, L.ERROR_WORDS), words_of_errors),
    Attack("a file by what the engine reads files with", "rows", (L.GUARD, L.LOCK_DOWN, L.LANDLOCK), files_by_sql),
    Attack("a change of who asked to stop", "rows", (L.GUARD, L.SECOND_LOOK), changes),
    Attack("more rows than one answer may have", "rows", (L.CAPS,), more_rows_than_may_leave),
    Attack("ordinary questions as shipped", "rows", (), lawful),
)  # fmt: skip
