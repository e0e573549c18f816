"""SELECT statements by chance over the views of a purpose, about half of which the guard must refuse.

The same seed gives the same statements. Most are what an analyst could have written; into the others something that is
forbidden is put: a name, a call, a table, a clause, another statement, in any place of the grammar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from fuzz.values import COMMON, WRONG_KIND, WRONG_SHARE, Column, Values, refused_calls

FORBIDDEN_SHARE = 0.42  # of statements that get something forbidden; some of it lands where it is harmless
FORBIDDEN_TABLES = (
    "store.main.{v}", "store.{v}", "main.{v}", "memory.main.{v}", "kai_stops", "inquiries", "consents", "duckdb_tables",
    "duckdb_views", "information_schema.tables", "pg_catalog.pg_class", "sqlite_master", "'customers.parquet'",
    "'/etc/passwd'", "read_csv('/etc/passwd')", "read_text('/proc/self/environ')", "duckdb_settings()", "glob('/*')",
    "query('SELECT * FROM kai_stops')", "query_table('kai_stops')", "pragma_storage_info('{v}')", "summary('{v}')",
    "duckdb_secrets()", "read_duckdb('x.duckdb')", "(DESCRIBE {v})", "(SUMMARIZE {v})", "(SHOW TABLES)",
    "{v} TABLESAMPLE 10%", "{v} AT (VERSION => 1)", "json_execute_serialized_sql('{{}}')", "campaign_contacts",
    "(PIVOT {v} ON customer_id USING count(*))", "{v} UNPIVOT (x FOR y IN (customer_id))", "(FROM kai_stops)",
)  # fmt: skip
FORBIDDEN_VALUES = (
    "(SELECT max(unit) FROM kai_stops)", "(SELECT count(*) FROM store.main.sessions)", "stats({e})", "error({e})",
    "current_setting('threads')", "random()", "now()", "current_user", "getvariable('v')", "nextval('s')", "?", "$1",
    "main.upper({e})", "({e})::blob", "({e})::json", "json_serialize_sql('SELECT 1')", "vector_type({e})", "uuid()",
    "list_aggregate([1], 'reservoir_quantile')", "repeat('x', 100000000)", "printf('%d', 1)", "sleep_ms(1)",
    "list_transform([1], x -> x)", "\"+\"(1, 2)", "\"||\"({e}, 'x')", "(SELECT content FROM read_text('/etc/passwd'))",
    "reservoir_quantile({e}, 0.5)", "rowid", "sessions.rowid", "current_query()", "pg_get_viewdef(1)", "B'101'",
)  # fmt: skip
FORBIDDEN_WHOLE = (
    "EXPLAIN {s}", "EXPLAIN ANALYZE {s}", "{s}; SELECT 1", "SET threads = 1; {s}", "CREATE TABLE t AS {s}",
    "COPY ({s}) TO '/tmp/x'", "PREPARE p AS {s}", "CREATE VIEW v AS {s}", "INSERT INTO kai_stops {s}",
    "PIVOT ({s}) ON 1",
    "DESCRIBE {s}", "SUMMARIZE {s}", "PRAGMA database_list", "ATTACH ':memory:' AS m", "CALL pragma_version()",
    "WITH d AS (DELETE FROM kai_stops RETURNING *) {s}", "CREATE MACRO f(x) AS ({s})", "{s} INTO t",
    "EXECUTE p", "DELETE FROM kai_stops", "SELECT * FROM query($${s}$$)", "{s} USING SAMPLE 3", "UNPIVOT ({s}) ON 1",
)  # fmt: skip
_COMMENTS = ("/* ; DROP VIEW sessions */", "-- '\n", "/* /* nested */ */", "\n\t", "/**/", "  ", "-- ;\n")
_JOINS = (
    "JOIN {t} ON {on}", "LEFT JOIN {t} ON {on}", "RIGHT JOIN {t} ON {on}", "FULL OUTER JOIN {t} ON {on}",
    "CROSS JOIN {t}",
    ", {t}", "SEMI JOIN {t} ON {on}", "ANTI JOIN {t} ON {on}", "JOIN {t} USING (customer_id)",
    "LEFT JOIN {t} USING (customer_id)", "NATURAL JOIN {t}", "INNER JOIN {t} ON {on} AND {c}", "POSITIONAL JOIN {t}",
    "ASOF JOIN {t} ON {on} AND {l} >= {r}", "LEFT JOIN LATERAL {sub} AS {a} ON true", ", LATERAL {sub} AS {a}",
)  # fmt: skip
_MADE_UP = (
    ("range(5)", "whole"), ("generate_series(1, 7, 2)", "whole"), ("unnest(['a', 'b', NULL])", "text"),
    ("generate_series(DATE '2026-01-01', DATE '2026-01-03', INTERVAL 1 DAY)", "time"), ("unnest([1.5, 2.5])", "number"),
    ("range((SELECT count(*) FROM orders) % 7)", "whole"),
)  # fmt: skip
_SEMI = ("SEMI JOIN", "ANTI JOIN")


@dataclass(frozen=True)
class Statement:
    """One statement: `ordered` where its ORDER BY leaves one order possible, `forbidden` where it must be refused."""

    sql: str
    ordered: bool = False
    forbidden: bool = False


@dataclass(frozen=True)
class _Table:
    text: str
    columns: tuple[Column, ...]


class Statements:
    """Statements over views with typed columns, by one source of chance."""

    def __init__(self, chance: Random, views: Mapping[str, Mapping[str, str]]) -> None:
        self._chance = chance
        self._views = views
        self._values = Values(chance, self._column_query, self._wild)
        self._common: list[tuple[str, tuple[tuple[str, str], ...]]] = []  # common tables in scope, with their columns
        self._forbid = False
        self._put: list[str] = []  # what is forbidden and was put somewhere
        self._names = 0

    def one(self) -> Statement:
        """The next statement."""
        self._names, self._common, self._values.scope, self._put = 0, [], [], []
        forbidden = self._chance.random() < FORBIDDEN_SHARE
        self._forbid = forbidden and self._chance.random() < 0.75
        self._values.wrong = WRONG_KIND if self._chance.random() < WRONG_SHARE else 0.0
        ordered = self._chance.random() < 0.15
        sql = self._query(3)
        if ordered:
            sql = f"SELECT * FROM ({sql}) AS q ORDER BY ALL"
        told = any(put in sql for put in self._put)  # some of it was dropped again
        if forbidden and (not self._forbid or self._chance.random() < 0.15):
            sql, told = self._pick(FORBIDDEN_WHOLE).replace("{s}", sql), True
        return Statement(self._dressed(sql), ordered, told)

    def _dressed(self, sql: str) -> str:
        """With comments, blanks and a semicolon where they may stand."""
        if self._chance.random() < 0.12:
            words = sql.split(" ")
            words.insert(self._chance.randrange(len(words)), self._pick(_COMMENTS))
            sql = " ".join(words)
        return sql + self._pick(("", "", "", "", ";", " -- end", "\n;"))

    def _query(self, depth: int, kind: str = "") -> str:
        """A query; of one column of `kind` where one is named."""
        way = self._chance.random()
        if depth <= 0 or way < 0.62:
            return self._select(depth, kind)
        if way < 0.74:
            return self._with(depth, kind)
        if way < 0.86:
            return self._set_operation(depth, kind)
        if way < 0.92:
            return self._values_list(depth, kind)
        return self._recursive(depth, kind)

    def _column_query(self, kind: str, depth: int) -> str:
        """A query of one column, for a place that takes a value or a column."""
        if self._chance.random() < 0.6 or depth <= 0:
            table = self._view()
            with self._values.alone(*table.columns):
                figure = f"{self._pick(('max', 'min', 'count'))}({self._values.of(kind, 0)})"
            with self._values.within(*table.columns):
                where = f" WHERE {self._values.of('truth', 1)}" if self._chance.random() < 0.5 else ""
            return f"SELECT {figure} FROM {table.text}{where}"
        return self._query(min(depth - 1, 1), kind)

    def _with(self, depth: int, kind: str) -> str:
        name, known = self._name("c"), len(self._common)
        how = self._pick(("AS", "AS", "AS MATERIALIZED", "AS NOT MATERIALIZED"))
        inner, columns = self._named_columns(depth - 1)
        if self._forbid and self._chance.random() < 0.15:
            name = self._pick(("sessions", "kai_stops", "duckdb_tables", "ORDERS"))
            self._noted(f"WITH {name} {how} (")
        self._common.append((name, columns))
        outer = self._query(depth - 1, kind)
        del self._common[known:]
        return f"WITH {name} {how} ({inner}) {outer}"

    def _named_columns(self, depth: int) -> tuple[str, tuple[tuple[str, str], ...]]:
        kinds = [self._pick(COMMON) for _ in range(self._chance.randint(1, 3))]
        names = [f"{kind[0]}{place}" for place, kind in enumerate(kinds)]
        table = self._view()
        with self._values.within(*table.columns):
            items = [f"{self._values.of(kind, depth)} AS {name}" for name, kind in zip(names, kinds, strict=True)]
            where = f" WHERE {self._values.of('truth', 1)}" if self._chance.random() < 0.4 else ""
            return f"SELECT {', '.join(items)} FROM {table.text}{where}", tuple(zip(names, kinds, strict=True))

    def _recursive(self, depth: int, kind: str) -> str:
        name, known = self._name("r"), len(self._common)
        union = self._pick(("UNION ALL", "UNION"))
        start, step = self._pick(("1", "0", "-3")), self._pick(("i + 1", "i + 2", "i * 2 + 4"))
        self._common.append((name, (("i", "whole"),)))
        outer = self._query(depth - 1, kind)
        del self._common[known:]
        return (
            f"WITH RECURSIVE {name}(i) AS (SELECT {start} {union} SELECT {step} FROM {name} WHERE i < "
            f"{self._chance.randint(1, 9)}) {outer}"
        )

    def _set_operation(self, depth: int, kind: str) -> str:
        kinds = [kind] if kind else [self._pick(COMMON) for _ in range(self._chance.randint(1, 3))]
        operation = self._pick(
            ("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "UNION ALL BY NAME", "INTERSECT ALL")
        )
        one, two = (self._plain(kinds, depth - 1) for _ in range(2))
        tail = self._pick(("", "", " ORDER BY ALL", " ORDER BY 1 DESC NULLS LAST"))
        return f"{one} {operation} {two}{tail}"

    def _plain(self, kinds: list[str], depth: int) -> str:
        table = self._table(0)
        with self._values.within(*table.columns):
            return f"SELECT {', '.join(self._values.of(kind, min(depth, 1)) for kind in kinds)} FROM {table.text}"

    def _values_list(self, depth: int, kind: str) -> str:
        kinds = [kind] if kind else [self._pick(COMMON) for _ in range(self._chance.randint(1, 3))]
        rows = [f"({', '.join(self._values.of(one, 1) for one in kinds)})" for _ in range(self._chance.randint(1, 3))]
        values = f"VALUES {', '.join(rows)}"
        if kind or self._chance.random() < 0.3:
            return values
        names = ", ".join(f"v{place}" for place in range(len(kinds)))
        return f"SELECT * FROM ({values}) AS {self._name('v')}({names})"

    def _select(self, depth: int, kind: str) -> str:
        table = self._joined(depth) if self._chance.random() < 0.4 and depth > 0 else self._table(depth)
        outer, self._values.scope = self._values.scope, list(table.columns)
        if kind == "" or self._chance.random() < 0.4:
            self._values.scope = outer[-3:] * (self._chance.random() < 0.3) + self._values.scope
        try:
            return self._select_from(table, depth, kind)
        finally:
            self._values.scope = outer

    def _select_from(self, table: _Table, depth: int, kind: str) -> str:
        values, way = self._values, self._chance.random()
        where = f" WHERE {values.of('truth', min(depth, 2))}" if self._chance.random() < 0.45 else ""
        if way < 0.33:
            body = self._grouped(table, where, depth, kind)
        elif way < 0.48:
            items = [values.summary(kind or "any", depth) for _ in range(1 if kind else self._chance.randint(1, 3))]
            body = f"SELECT {self._aliased(items)} FROM {table.text}{where}"
        else:
            body = self._projected(table, where, depth, kind)
        return body + self._limited()

    def _projected(self, table: _Table, where: str, depth: int, kind: str) -> str:
        values, way = self._values, self._chance.random()
        if not kind and way < 0.15 and table.columns:
            excluded = table.columns[0].written.partition(".")[2] or "x"
            star = self._pick(
                (
                    "*",
                    "*",
                    f"* EXCLUDE ({excluded})",
                    "COLUMNS('^.*[a-z0-9]$')",
                    "* LIKE 'p%'",
                    "COLUMNS(*)::TEXT",
                    f"* REPLACE (1 AS {excluded})",
                    "COLUMNS(lambda c: c LIKE '%d')",
                    f"* RENAME ({excluded} AS z)",
                )
            )
            return f"SELECT {star} FROM {table.text}{where}"
        make: Callable[[str, int], str] = values.window if way < 0.35 else values.of
        items = [make(kind or self._pick(COMMON), depth) for _ in range(1 if kind else self._chance.randint(1, 4))]
        distinct = self._pick(("", "", "", "DISTINCT "))
        qualify = (
            f" QUALIFY row_number() OVER (ORDER BY {values.unique()}) <= 3" if self._chance.random() < 0.05 else ""
        )
        if self._chance.random() < 0.06:
            return f"FROM {table.text} SELECT {distinct}{self._aliased(items)}{where}{qualify}"
        return f"SELECT {distinct}{self._aliased(items)} FROM {table.text}{where}{qualify}"

    def _grouped(self, table: _Table, where: str, depth: int, kind: str) -> str:
        values = self._values
        keys = [values.of("any", 1) for _ in range(self._chance.randint(1, 2))]
        figures = [values.summary(kind or "any", depth) for _ in range(1 if kind else self._chance.randint(1, 3))]
        group = self._pick(
            (
                "ALL",
                ", ".join(map(str, range(1, len(keys) + 1))),
                f"ROLLUP ({', '.join(keys)})",
                ", ".join(keys),
                f"CUBE ({keys[0]})",
                f"GROUPING SETS (({', '.join(keys)}), ())",
            )
        )
        having = f" HAVING {values.summary('truth', 1)}" if self._chance.random() < 0.25 else ""
        items = figures if kind else keys + figures
        if kind and group not in (", ".join(keys), "ALL"):
            group = ", ".join(keys)
        if kind and group == "ALL":
            return f"SELECT {self._aliased(items)} FROM {table.text}{where}{having}"
        return f"SELECT {self._aliased(items)} FROM {table.text}{where} GROUP BY {group}{having}"

    def _aliased(self, items: list[str]) -> str:
        named = [
            f"{item} AS {self._alias(place)}" if self._chance.random() < 0.4 else item
            for place, item in enumerate(items)
        ]
        return ", ".join(named)

    def _alias(self, place: int) -> str:
        return self._pick(
            (f"x{place}", f"x{place}", f'"a b{place}"', f"件数{place}", f'"kai_stops{place}"', f'"Ü""{place}"')
        )

    def _limited(self) -> str:
        way = self._chance.random()
        if way < 0.14:
            return f" ORDER BY ALL LIMIT {self._pick(('3', '10', '1 OFFSET 2', '(SELECT 2)', '10%', '0'))}"
        if way < 0.16:
            return " LIMIT 5"
        return self._pick(("", "", "", "", " ORDER BY ALL", " ORDER BY 1", " ORDER BY ALL DESC NULLS FIRST"))

    def _joined(self, depth: int) -> _Table:
        left = self._table(depth - 1)
        text, columns = left.text, left.columns
        for _ in range(1 if self._chance.random() < 0.75 else 2):
            right = self._table(depth - 1)
            join = self._pick(_JOINS)
            if right.columns and columns:
                if "customer_id" in join and not all(_has_customers(side) for side in (columns, right.columns)):
                    join = "CROSS JOIN {t}"
                same = [(a, b) for a in columns for b in right.columns if a.kind == b.kind and (a.unique or b.unique)]
                one, two = self._pick(same or [(columns[0], right.columns[0])])
                times = [[c.written for c in side if c.kind in ("day", "time")] for side in (columns, right.columns)]
                filled = {"{on}": f"{one.written} = {two.written}", "{t}": right.text, "{a}": self._name("l")}
                filled |= {"{l}": (times[0] or ["1"])[0], "{r}": (times[1] or ["1"])[0]}
                with self._values.within(*columns):
                    filled |= {"{sub}": f"({self._column_query('whole', 1)})"} if "{sub}" in join else {}
                    filled |= {"{c}": self._values.of("truth", 1)} if "{c}" in join else {}
                for mark, put in filled.items():
                    join = join.replace(mark, put)
                text = f"{text}{'' if join.startswith(',') else ' '}{join}"
                if "{t}" not in join and right.text in join and not join.startswith(_SEMI):
                    columns += right.columns
        return _Table(text, columns)

    def _table(self, depth: int) -> _Table:
        way = self._chance.random()
        if self._common and way < 0.5:
            name, columns = self._pick(self._common)
            alias = self._name("t")
            return self._aliased_table(f"{name} AS {alias}", alias, columns)
        if depth > 0 and way < 0.65:
            inner, columns = self._named_columns(depth - 1)
            alias = self._name("s")
            return self._aliased_table(f"({inner}) AS {alias}", alias, columns)
        if way < 0.72:
            return self._made_up()
        return self._view()

    def _made_up(self) -> _Table:
        alias = self._name("g")
        text, kind = self._pick(_MADE_UP)
        return _Table(f"{text} AS {alias}(n)", (Column(f"{alias}.n", kind, True),))

    def _view(self) -> _Table:
        view = self._pick(tuple(self._views))
        if self._forbid and self._chance.random() < 0.12:
            return _Table(self._noted(self._pick(FORBIDDEN_TABLES).replace("{v}", view)), ())
        alias = self._name(view[0])
        written = self._values.cased(view)
        if self._forbid and self._chance.random() < 0.03:
            alias = self._pick(("sessions", "ORDERS")) if view == "customers" else "customers"
            self._noted(f"{written} AS {alias}")
        return self._aliased_table(f"{written} AS {alias}", alias, tuple(self._views[view].items()))

    def _aliased_table(self, text: str, alias: str, columns: tuple[tuple[str, str], ...]) -> _Table:
        made = [Column(f"{alias}.{name}", kind, name.endswith("_id") or len(columns) < 4) for name, kind in columns]
        return _Table(text, tuple(made))

    def _wild(self, expression: str) -> str:
        """The expression, or where something forbidden is due, that in its place or around it."""
        if not self._forbid or self._chance.random() > 0.04:
            return expression
        if self._chance.random() < 0.4:
            return self._noted(f"{self._pick(refused_calls())}({expression})")
        put = self._pick(FORBIDDEN_VALUES).replace("{e}", expression)
        return put if "rowid" in put else self._noted(put)  # a view has none: the engine says so

    def _noted(self, put: str) -> str:
        self._put.append(put)
        return put

    def _name(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"

    def _pick(self, among):  # type: ignore[no-untyped-def]  # one of what it is given
        return self._chance.choice(among)


def _has_customers(columns: tuple[Column, ...]) -> bool:
    return any(column.written.endswith(".customer_id") for column in columns)
