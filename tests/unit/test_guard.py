"""The guard's laws one by one, on its own parts: the corpus of whole statements is in tests/attacks."""

from __future__ import annotations

import copy
import random
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from kaianalytics.errors import Fault, GuardRefused
from kaianalytics.gateway.guard import allowed, page, reviewed
from kaianalytics.gateway.guard.admission import Guard, check_version, judged
from kaianalytics.gateway.guard.allowed import fold
from kaianalytics.gateway.guard.engine import Engine
from kaianalytics.gateway.guard.grammar import EXPRESSIONS, QUERIES, TABLES
from kaianalytics.gateway.guard.reviewed import Decision
from kaianalytics.gateway.guard.size import BLANKS, MAX_BYTES, _words, weight
from kaianalytics.gateway.guard.walk import Walk

ROOT = Path(__file__).parents[2]
VIEWS = ("sessions", "orders", "customers")
RICH = (
    "WITH a AS (SELECT device, pages FROM sessions WHERE pages BETWEEN 1 AND 9 AND device LIKE 'p%'), "
    "RECURSIVE_ AS (SELECT 1 AS i) "
    "SELECT DISTINCT ON (device) device, CASE WHEN pages > 2 THEN 'x' ELSE upper(device) END AS c, "
    "sum(pages) FILTER (WHERE pages > 0) OVER (PARTITION BY device ORDER BY pages "
    "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING), "
    "list_transform([pages], lambda x: x + 1), pages::decimal(9, 2), (SELECT max(quantity) FROM orders), "
    "* EXCLUDE (pages) REPLACE (lower(device) AS device), coalesce(device, 'none') COLLATE nocase "
    "FROM a JOIN orders USING (customer_id), LATERAL (SELECT a.pages + 1 AS q) AS l, range(3) AS r(i), "
    "(VALUES (1)) AS v(w) "
    "WHERE device IN (SELECT device FROM sessions) AND NOT EXISTS (SELECT 1 FROM customers) "
    "GROUP BY ROLLUP (device) HAVING count(*) > 1 QUALIFY row_number() OVER () = 1 "
    "UNION ALL SELECT 1, 2, 3, 4, 5, 6, 7, 8 FROM sessions ORDER BY 1 LIMIT 3 OFFSET (SELECT 1)"
)


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


def refusal(guard: Guard, sql: str) -> GuardRefused:
    with pytest.raises(GuardRefused) as caught:
        guard.admit(sql, VIEWS)
    return caught.value


def walk(tree: Any) -> None:
    Walk(VIEWS, frozenset(), "").visit_all(tree)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Every object of a tree with its path."""
    if isinstance(value, dict):
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def replaced(tree: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of the tree with another value at a path."""
    tree = copy.deepcopy(tree)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = new
    return tree


def test_an_admitted_statement_carries_its_text_its_tree_and_its_views_by_their_own_names(guard: Guard) -> None:
    sql = "SELECT * FROM SESSIONS JOIN Orders USING (customer_id) JOIN sessions AS again USING (customer_id)"
    admitted = guard.admit(sql, VIEWS)
    assert admitted.sql == sql
    assert admitted.views == ("orders", "sessions")
    assert admitted.tree["statements"][0]["node"]["type"] == "SELECT_NODE"


def test_a_common_table_is_no_view(guard: Guard) -> None:
    assert guard.admit("WITH a AS (SELECT 1 AS x) SELECT x FROM a", VIEWS).views == ()


def test_with_no_views_every_table_is_refused(guard: Guard) -> None:
    with pytest.raises(GuardRefused) as caught:
        guard.admit("SELECT * FROM sessions", ())
    assert caught.value.code == "UNKNOWN_VIEW"


def test_another_duckdb_starts_nothing() -> None:
    check_version("v2.0.0")
    for other in ("v2.0.1", "v1.4.0", "v2.0.0-dev1", ""):
        with pytest.raises(Fault) as caught:
            check_version(other)
        assert caught.value.code == "ENGINE_VERSION"


def test_a_refusal_says_where_in_the_analysts_own_text(guard: Guard) -> None:
    assert refusal(guard, "SELECT 'あ',\n       random()").place == (2, 8)
    assert refusal(guard, "SELECT 'あ'\n  FROM WHERE x").place == (2, 8)


def test_a_refusal_never_repeats_the_engines_own_words(guard: Guard) -> None:
    for sql in ("SELEC 1", "DROP TABLE x", "SELECT 1 FROM nowhere_to_be_found", "SELECT CAST(1 AS sometype)"):
        text = str(refusal(guard, sql))
        assert not any(
            word in text.lower() for word in ("syntax error at", "did you mean", "serialize", "catalog error")
        )


def test_an_unknown_view_is_answered_with_a_near_one_and_where_to_look(guard: Guard) -> None:
    lists = "`kai.datasets()` lists the views of this purpose"
    assert refusal(guard, "SELECT * FROM session").hint == f"perhaps `sessions`; {lists}"
    assert refusal(guard, "SELECT * FROM weather").hint == lists


def test_a_long_name_is_quoted_short_and_on_one_line(guard: Guard) -> None:
    message = refusal(guard, f'SELECT "{"x" * 5000}\n\n{"y" * 5000}"(1)').message
    assert len(message) < 200
    assert "\n" not in message


def test_every_node_of_a_rich_statement_is_judged_wherever_it_stands(guard: Guard) -> None:
    """A hostile subquery in place of any expression, and a strange table in place of any table, is refused."""
    tree = guard.admit(RICH, VIEWS).tree
    hostile = guard.admit("SELECT (SELECT 1 FROM sessions)", VIEWS).tree["statements"][0]["node"]["select_list"][0]
    table = hostile["subquery"]["node"]["from_table"]
    table |= {"table_name": "kai_stops", "qualified_name": {"path": ["kai_stops"]}}
    seen = 0
    for path, node in list(places(tree)):
        if node.get("class") in EXPRESSIONS or node.get("type") in TABLES:
            seen += 1
            with pytest.raises(GuardRefused):
                walk(replaced(tree, path, hostile if "class" in node else table))
    assert seen > 80


def test_an_unknown_an_absent_and_a_misshapen_field_of_any_node_refuses(guard: Guard) -> None:
    tree = guard.admit(RICH, VIEWS).tree
    walk(tree)
    kinds: set[str] = set()
    for path, node in list(places(tree)):
        kind = str(node.get("class") or node.get("type") or sorted(node))
        if not path or kind in kinds:
            continue
        kinds.add(kind)
        field = sorted(node)[-1]
        wrong = [
            {**node, "brand_new": None},
            {k: v for k, v in node.items() if k != field},
            {**node, field: 3.5},
            None,
            7,
        ]
        for value in wrong:
            if value is None and path[-1] not in ("map", "node"):
                continue  # null is what many fields may be
            with pytest.raises((GuardRefused, KeyError, TypeError, AttributeError)):
                walk(replaced(tree, path, value))
    assert len(kinds) > 30


def test_a_tree_that_is_not_as_foreseen_is_refused_not_raised() -> None:
    strange = [{}, {"error": False}, {"error": False, "statements": [{}]}, {"error": False, "statements": [7]}]
    deep: dict[str, Any] = {"error": False, "statements": [{"node": {"type": "SELECT_NODE"}, "named_param_map": []}]}
    for tree in [*strange, deep]:
        with pytest.raises(GuardRefused):
            judged(EngineThatSays(tree), "SELECT 1", VIEWS)


class EngineThatSays(Engine):
    """An engine whose parser answers with a given document."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__()
        self._given = document

    def document(self, sql: str) -> Any:
        return self._given


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 1 --" + "x" * MAX_BYTES, "TOO_LONG"),
        ("SELECT '" + "あ" * (MAX_BYTES // 3) + "'", "TOO_LONG"),
        ("SELECT " + "1," * 5000 + "1", "TOO_LARGE"),
        ("SELECT " + "(" * 500 + "1" + ")" * 500, "TOO_DEEP"),
        ("SELECT * FROM " + "(" * 7_000, "TOO_DEEP"),
        ("SELECT " + "[" * 70 + "1" + "]" * 70, "TOO_DEEP"),
        ("SELECT 1" + "+1" * 300, "TOO_DEEP"),
        ("SELECT 1" + "+1" * 900, "TOO_DEEP"),
        ("SELECT * FROM sessions" + " JOIN orders ON true" * 400, "TOO_DEEP"),
        ("SELECT " + "NOT " * 2000 + "true", "SYNTAX"),
        ("SELECT 1 FROM sessions GROUP BY CUBE (" + ",".join(f"c{i}" for i in range(20)) + ")", "TOO_LARGE"),
        ("SELECT '\ud800'", "NOT_TEXT"),
    ],
)
def test_what_is_too_long_too_large_or_too_deep_is_refused(guard: Guard, sql: str, code: str) -> None:
    assert refusal(guard, sql).code == code


def nested(depth: int, form: str) -> str:
    text = "1"
    for _ in range(depth):
        text = form.replace("{}", text)
    return text


WINDOW_OF_MANY = " FROM sessions WINDOW w AS (ORDER BY " + ", ".join(["pages"] * 300) + ")"
BOMBS = (
    "SELECT " + nested(40, "CASE {} WHEN 1 THEN 2 WHEN 3 THEN 4 END"),
    "SELECT " + nested(40, "CASE\u3000{}\u2003WHEN\u00a01 THEN 2\u200bWHEN\ufeff3 THEN 4 END"),
    "SELECT " + nested(40, "CASE -- when\n {} /* end */ WHEN 1 THEN 'end' WHEN 3 THEN $$ end $$ END"),
    "SELECT " + nested(20, "CASE (SELECT {} AS end WHERE s.end) WHEN 1 THEN 1. WHEN 2 THEN 3 END"),
    "SELECT " + nested(20, "CASE (E'it\\'s end' || {}) WHEN 1 THEN 2 WHEN 3 THEN 4. END"),
    "SELECT CASE [" + ", ".join(["1"] * 1500) + "] " + "WHEN 1 THEN 1 " * 1000 + "END",
    "SELECT " + ", ".join(["sum(1) OVER w"] * 300) + WINDOW_OF_MANY,
    "SELECT " + ", ".join(['sum(1) OVER "w"'] * 300) + WINDOW_OF_MANY.replace(" w ", ' "w" '),
    "SELECT " + nested(9, "CASE sum({}) OVER w WHEN 1 THEN 2 WHEN 3 THEN 4 END") + WINDOW_OF_MANY,
    "SELECT 1 FROM sessions GROUP BY ROLLUP (" + ", ".join(f"c{i}" for i in range(2600)) + ")",
    "SELECT 1 FROM sessions GROUP BY CUBE (a, b, c, d, e, f), ROLLUP (g, h, i, j, k, l, m), CUBE (n, o, p, q)",
    " UNION ALL ".join(["SELECT 1 GROUP BY CUBE (a, b, c, d, e, f, g, h)"] * 100),
)


@pytest.mark.parametrize("sql", BOMBS, ids=lambda sql: f"{sql[:40]} … {len(sql)}")
def test_what_a_parser_would_make_gigabytes_of_is_never_parsed(sql: str) -> None:
    with pytest.raises(GuardRefused) as caught:
        judged(NoParser(), sql, VIEWS)
    assert caught.value.code == "TOO_LARGE"


class NoParser(Engine):
    """An engine that must not be asked for a tree."""

    def document(self, sql: str) -> Any:
        raise AssertionError("it was parsed")


def test_a_tree_has_as_many_nodes_as_its_text_weighs_and_no_more() -> None:
    """The weight can't be fooled by texts, comments, names and blanks that look like CASE, WHEN, END and OVER."""
    chance, engine, times = random.Random(20261124), Engine(), []
    for _ in range(600):
        sql = f"SELECT {grown(chance, 5)} FROM sessions AS a WINDOW w AS (PARTITION BY a.case, {grown(chance, 1)})"
        weighed = weight(_words(sql))
        document = engine.document(sql)
        if document["error"] is False:  # else it is none: a window within a window, say
            times.append(sum(1 for _ in places(document)) / weighed)
    assert len(times) > 300 and 1 < max(times) < 3


def grown(chance: random.Random, depth: int) -> str:
    """An expression in whose words the weight may err."""
    if depth == 0:
        return chance.choice(["1", "1.", "a.end", "$end", "'case when'", "$$end$$", "e'it\\'s end'", '"end"', "a.when"])
    part = [grown(chance, depth - 1 - chance.randrange(2) * (depth > 1)) for _ in range(2)]
    blank = chance.choice([" ", "\u3000", "\u200b", " /* end */ ", " -- case\n", "\n", "\u00a0"])
    whens = f"WHEN{blank}1 THEN {part[1]} " * chance.randrange(1, 4)
    return chance.choice(
        [
            f"CASE{blank}{part[0]}{blank}{whens}END",
            f"CASE{blank}WHEN true{blank}THEN {part[0]} ELSE {part[1]} END",
            f"(SELECT {part[0]} AS end, 1 AS case FROM orders AS a WINDOW w AS (ORDER BY a.end) LIMIT 1)",
            f"(sum(1) OVER{blank}w)",
            f"[{part[0]}, {part[1]}]",
            f"upper({part[0]})",
        ]
    )


def test_the_blanks_of_the_weight_are_those_of_the_parser() -> None:
    engine = Engine()
    odd = [chr(c) for c in range(0x80, 0x10000) if unicodedata.category(chr(c)) in ("Zs", "Zl", "Zp", "Cf", "Cc")]
    taken = [blank for blank in odd if aliases(engine.document(f"SELECT 1{blank}AS{blank}a")) == ["a"]]
    assert taken == sorted(BLANKS) and "\u3000" in taken


def aliases(document: Any) -> list[str]:
    return [one["alias"] for one in document["statements"][0]["node"]["select_list"]] if not document["error"] else []


def test_ordinary_cases_windows_and_cubes_weigh_little(guard: Guard) -> None:
    for sql in (
        "SELECT CASE upper(trim(device)) " + "WHEN 'A' THEN 'b' " * 300 + "END FROM sessions",
        "SELECT " + nested(8, "CASE WHEN pages > 1 THEN 1 ELSE {} END") + " FROM sessions",
        "SELECT " + nested(4, "CASE {} WHEN 1 THEN 2 WHEN 3 THEN 4 ELSE 5 END") + " FROM sessions",
        "SELECT " + ", ".join(["sum(pages) OVER w"] * 60) + " FROM sessions WINDOW w AS (PARTITION BY device)",
        "SELECT 1 FROM sessions GROUP BY CUBE (device, service, referred, pages, seconds)",
        "SELECT 1 AS end, 2 AS case, 3 AS when, pages AS cube FROM sessions",
    ):
        guard.admit(sql, VIEWS)


def test_brackets_inside_texts_and_comments_do_not_count(guard: Guard) -> None:
    guard.admit(f"SELECT '{'(' * 500}' /* {'[' * 500} */ -- {'{' * 500}", VIEWS)


def test_names_fold_ascii_letters_only() -> None:
    assert fold("SESSIONS") == "sessions"
    assert fold("\u212a") == "\u212a"  # the Kelvin sign, which str.lower() makes a k
    assert "\u212a".lower() == "k"


def test_many_threads_share_one_guard(guard: Guard) -> None:
    wrong: list[str] = []

    def ask(number: int) -> None:
        for turn in range(10):
            name = VIEWS[(number + turn) % 3]
            if guard.admit(f"SELECT count(*) FROM {name}", VIEWS).views != (name,):
                wrong.append(name)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def listed() -> list[tuple[str, str, str | None, str | None]]:
    """Every function of the installed engine: name, kind, stability, and what it stands for if it is a macro."""
    with duckdb.connect() as connection:
        return connection.execute(
            "SELECT function_name, function_type, stability, macro_definition FROM duckdb_functions()"
        ).fetchall()


def test_every_function_of_the_engine_was_reviewed_and_every_reviewed_one_is_there() -> None:
    live = {(name, kind) for name, kind, _, _ in listed()}
    known = reviewed.reviewed().functions
    assert live - known == set()
    assert known - live == set()
    assert len(live) > 1000


def test_a_name_that_the_engine_does_not_list_is_marked_so() -> None:
    names = {name for name, _, _, _ in listed()}
    assert reviewed.reviewed().names(*Decision, kinds=("unlisted",)).isdisjoint(names)


def test_every_type_of_the_engine_was_reviewed_and_every_reviewed_one_is_there() -> None:
    with duckdb.connect() as connection:
        live = {name for (name,) in connection.execute("SELECT DISTINCT type_name FROM duckdb_types()").fetchall()}
    assert live == reviewed.reviewed().type_names


def test_an_admitted_function_reads_nothing_but_its_arguments() -> None:
    """DuckDB calls a function consistent if equal arguments give equal results: no clock, no chance, no state."""
    unsteady = {allowed.fold(name) for name, kind, how, _ in listed() if kind == "scalar" and how != "CONSISTENT"}
    assert {"random", "now", "error", "stats"} <= unsteady
    assert not (allowed.FUNCTIONS | allowed.STATISTICS_FUNCTIONS) & unsteady


def test_an_admitted_macro_stands_for_admitted_functions(guard: Guard) -> None:
    """Save that of a list's aggregates, which names the aggregate in a text that nobody but DuckDB wrote."""
    engine = Engine()
    bodies = {name: body for name, kind, _, body in listed() if kind == "macro" and name in allowed.FUNCTIONS}
    strange = {
        name: called
        for name, body in bodies.items()
        if (called := calls(engine.document(f"SELECT {body}")) - allowed.FUNCTIONS - {"list_aggr"})
    }
    assert strange == {}
    assert "list_sum" in bodies and calls(engine.document("SELECT pg_sleep(upper(1))")) == {"pg_sleep", "upper"}


def calls(document: Any) -> set[str]:
    return {node["function_name"] for _, node in places(document) if "function_name" in node}


def test_a_function_goes_where_its_kind_goes() -> None:
    assert {"row_number", "lag"} <= allowed.WINDOW_CALLS - allowed.FUNCTIONS
    assert {"sum", "list"} <= allowed.WINDOW_CALLS & allowed.FUNCTIONS
    assert {"upper", "range"} <= allowed.FUNCTIONS - allowed.WINDOW_CALLS
    assert {"generate_series", "range", "unnest"} == allowed.TABLE_CALLS
    assert "histogram" in allowed.FUNCTIONS  # the aggregate; the table macro of that name is refused


def test_a_window_function_without_over_is_refused_with_how_to_write_it(guard: Guard) -> None:
    assert refusal(guard, "SELECT lag(pages) FROM sessions").hint.endswith("`lag(…) OVER (ORDER BY …)`")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("combine_aggr decimal_average", "combine_aggr combine_aggr decimal_average"),  # twice in one family
        ("combine_aggr decimal_average", "combine_aggr sum decimal_average"),  # in two
        ('decision = "refused"', 'decision = "perhaps"'),
        ("reason = ", "reasons = "),
        ("engine = ", "motor = "),
        ('instead = "write the operator"', ""),
        ("scalar = ", "scalars = "),
        ("array list map row struct", "array list map row struct bigint"),
        ("[[family]]", "[[family"),
    ],
)
def test_a_table_that_is_not_whole_is_no_table(old: str, new: str) -> None:
    text = reviewed.FILE.read_text(encoding="utf-8")
    assert old in text and reviewed.read(text) == reviewed.reviewed()
    with pytest.raises(Fault) as caught:
        reviewed.read(text.replace(old, new, 1))
    assert caught.value.code == "ENGINE_TABLE"


def test_the_functions_of_statistics_are_admitted_at_that_door_alone(guard: Guard) -> None:
    sql = "SELECT width_bucket(pages, 0, 10, 5), approx_top_k(device, 3) FROM sessions GROUP BY 1"
    assert guard.admit(sql, VIEWS, allowed.STATISTICS_FUNCTIONS).views == ("sessions",)
    assert refusal(guard, sql).code == "FUNCTION_NOT_ADMITTED"
    assert not allowed.STATISTICS_FUNCTIONS & (allowed.FUNCTIONS | allowed.WINDOW_CALLS)


def test_every_bare_name_that_duckdb_takes_for_a_call_is_refused_as_a_column() -> None:
    with duckdb.connect() as connection:
        names = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() UNION SELECT keyword_name FROM duckdb_keywords()"
        ).fetchall()
        calls = {name for (name,) in names if binds(connection, f'SELECT "{name}"')}
    assert {"current_user", "current_date", "user"} <= calls
    assert calls <= allowed.COLUMNS_THAT_ARE_CALLS


def binds(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    try:
        connection.execute(sql)
    except duckdb.Error:
        return False
    return True


def test_the_grammar_names_no_node_that_writes() -> None:
    assert not {
        kind for kind in (*QUERIES, *TABLES, *EXPRESSIONS) if any(w in kind for w in ("INSERT", "DELETE", "COPY"))
    }


def test_the_reference_page_is_what_the_tables_say() -> None:
    text = (ROOT / "docs" / "reference" / "guard.md").read_text(encoding="utf-8")
    assert text == page.reference(), "run: python -m kaianalytics.gateway.guard.page > docs/reference/guard.md"


def test_the_names_that_the_engine_calls_without_brackets_are_exactly_the_listed_ones() -> None:
    con = duckdb.connect()
    names = reviewed.reviewed().names(*Decision)
    called = {name for name in names if name.isidentifier() and _binds_as_a_column(con, name)}
    assert called == allowed.COLUMNS_THAT_ARE_CALLS


def test_a_column_may_have_the_name_of_a_function_that_needs_brackets() -> None:
    assert Guard().admit("SELECT age, count(*) FROM customers GROUP BY age", {"customers"}).views == ("customers",)


def _binds_as_a_column(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    try:
        con.execute(f"SELECT {name} FROM (SELECT 1 AS one)").fetchall()
    except (duckdb.BinderException, duckdb.ParserException):
        return False
    except duckdb.Error:
        return True  # it was called, and then failed
    return True
