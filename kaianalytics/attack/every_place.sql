-- Every place of a statement, and what must not stand there: each forbidden thing in each place is refused with its
-- code, and the fine thing in the same place is admitted. The views are sessions, orders and customers.
-- Lines are `place SORT | statement with {}`, `forbidden SORT CODE | text` and `fine SORT | text`.

fine expression | (SELECT 1 FROM sessions)
forbidden expression UNKNOWN_VIEW | (SELECT max(unit) FROM kai_stops)
forbidden expression UNKNOWN_VIEW | (SELECT 1 FROM duckdb_settings)
forbidden expression UNKNOWN_VIEW | (SELECT 1 FROM 'sessions.parquet')
forbidden expression UNKNOWN_VIEW | (SELECT (SELECT max(k.unit) FROM kai_stops AS k WHERE k.unit = s.device) FROM sessions AS s)
forbidden expression UNKNOWN_VIEW | (SELECT l.unit FROM sessions AS s, LATERAL (SELECT unit FROM kai_stops) AS l)
forbidden expression QUALIFIED_NAME | (SELECT count(*) FROM store.main.customers)
forbidden expression QUALIFIED_NAME | (SELECT count(*) FROM information_schema.tables)
forbidden expression FUNCTION_NOT_ADMITTED | (SELECT 1 FROM duckdb_tables())
forbidden expression FUNCTION_NOT_ADMITTED | (SELECT 1 FROM query('SELECT 1'))
forbidden expression FUNCTION_NOT_ADMITTED | getvariable('v')
forbidden expression FUNCTION_NOT_ADMITTED | error('x')
forbidden expression FUNCTION_NOT_ADMITTED | current_setting('threads')
forbidden expression NOT_ADMITTED | (SELECT 1 FROM (SHOW TABLES) AS t)
forbidden expression NOT_ADMITTED | (SELECT 1 FROM (SUMMARIZE sessions) AS t)
forbidden expression NOT_ADMITTED | (WITH d AS (DELETE FROM kai_stops RETURNING unit) SELECT unit FROM d)
forbidden expression NAME_TAKEN | (WITH orders AS (SELECT 1) SELECT 1 FROM orders)

-- expressions: the list of a SELECT, calls, operators
place expression | SELECT {}
place expression | SELECT {} AS x FROM sessions
place expression | SELECT x: {}
place expression | SELECT upper({})
place expression | SELECT concat_ws(',', device, {}) FROM sessions
place expression | SELECT coalesce(NULL, {})
place expression | SELECT ifnull({}, 1)
place expression | SELECT nullif(1, {})
place expression | SELECT if({} = 1, 1, 2)
place expression | SELECT greatest(1, {})
place expression | SELECT switch(1, {}, 3)
place expression | SELECT 1 + {}
place expression | SELECT -{}
place expression | SELECT {} || 'x'
place expression | SELECT 2 ** {}
place expression | SELECT {} IS NULL
place expression | SELECT {} IS NOT DISTINCT FROM 1
place expression | SELECT NOT ({} = 1)
place expression | SELECT true AND ({} = 1)
place expression | SELECT false OR ({} = 1)
place expression | SELECT {} < 1
place expression | SELECT {} BETWEEN 0 AND 2
place expression | SELECT 1 BETWEEN {} AND 2
place expression | SELECT 1 NOT BETWEEN 0 AND {}
place expression | SELECT {} IN (1, 2)
place expression | SELECT 1 IN (2, {})
place expression | SELECT 1 NOT IN ({}, 2)
place expression | SELECT 1 = ANY ([{}])
place expression | SELECT 1 = ANY (SELECT {} FROM sessions)
place expression | SELECT {} > ALL (SELECT pages FROM sessions)
place expression | SELECT EXISTS (SELECT {})
place expression | SELECT ARRAY (SELECT {} FROM sessions)
place expression | SELECT (1, {}) = (1, 2)
place expression | SELECT 'a' LIKE {}
place expression | SELECT 'a' LIKE 'b' ESCAPE {}
place expression | SELECT 'a' SIMILAR TO {}
place expression | SELECT 'a' GLOB {}
place expression | SELECT CASE WHEN {} = 1 THEN 1 END
place expression | SELECT CASE WHEN true THEN {} END
place expression | SELECT CASE WHEN true THEN 1 ELSE {} END
place expression | SELECT CASE {} WHEN 1 THEN 1 END
place expression | SELECT CASE 1 WHEN {} THEN 1 END
place expression | SELECT CAST({} AS varchar)
place expression | SELECT TRY_CAST({} AS integer)
place expression | SELECT ({})::decimal(9, 2)
place expression | SELECT TRY({})
place expression | SELECT {} COLLATE nocase
place expression | SELECT extract(year FROM make_date({}, 1, 1))
place expression | SELECT substring('abc' FROM {} FOR 2)
place expression | SELECT position({} IN 'abc')
place expression | SELECT trim(BOTH {} FROM 'abc')
place expression | SELECT overlay('abc' PLACING {} FROM 1)
place expression | SELECT started_at AT TIME ZONE {} FROM sessions
place expression | SELECT started_at + INTERVAL ({}) DAY FROM sessions
place expression | SELECT (((({}))))

-- expressions: nested values, lambdas, stars
place expression | SELECT [1, {}]
place expression | SELECT ({}, 1)
place expression | SELECT row(1, {})
place expression | SELECT {{'a': {}}}
place expression | SELECT {{'a': {{'b': [{}]}}}}
place expression | SELECT struct_pack(a := {})
place expression | SELECT map {{'a': {}}}
place expression | SELECT map {{{}: 1}}
place expression | SELECT [1, 2][{}]
place expression | SELECT [1, 2][{}:2]
place expression | SELECT [1, 2][1:{}]
place expression | SELECT [1, 2, 3][1:3:{}]
place expression | SELECT list_transform([1], lambda x: x + {})
place expression | SELECT list_transform([{}], lambda x: x)
place expression | SELECT list_filter([1], lambda x, i: i = {})
place expression | SELECT list_reduce([1], lambda a, b: a + b, {})
place expression | SELECT list_transform([1], lambda x: list_transform([2], lambda y: {}))
place expression | SELECT [{} FOR x IN [1]]
place expression | SELECT [x FOR x IN [{}]]
place expression | SELECT [x FOR x IN [1] IF x = {}]
place expression | SELECT unnest([{}])
place expression | SELECT unnest([[1]], recursive := {})
place expression | SELECT * REPLACE ({} AS pages) FROM sessions
place expression | SELECT sessions.* REPLACE (pages + {} AS pages) FROM sessions
place expression | SELECT COLUMNS([{}]) FROM sessions
place expression | SELECT COLUMNS(lambda c: c = {}) FROM sessions
place expression | SELECT COLUMNS(* EXCLUDE (pages) REPLACE ({} AS device)) FROM sessions
place expression | SELECT coalesce(*COLUMNS([{}])) FROM sessions
place expression | SELECT * LIKE {} FROM sessions

-- expressions: aggregates and windows
place expression | SELECT sum({}) FROM sessions
place expression | SELECT count(DISTINCT {}) FROM sessions
place expression | SELECT string_agg(device, {}) FROM sessions
place expression | SELECT sum(pages) FILTER (WHERE {} = 1) FROM sessions
place expression | SELECT list(pages ORDER BY {}) FROM sessions
place expression | SELECT list(pages ORDER BY pages, {} DESC NULLS FIRST) FROM sessions
place expression | SELECT quantile_cont(pages, {}) FROM sessions
place expression | SELECT percentile_cont({}) WITHIN GROUP (ORDER BY pages) FROM sessions
place expression | SELECT mode() WITHIN GROUP (ORDER BY {}) FROM sessions
place expression | SELECT max(pages, {}) FROM sessions
place expression | SELECT arg_max(pages, {}) FROM sessions
place expression | SELECT grouping({}) FROM sessions GROUP BY ROLLUP (device)
place expression | SELECT sum({}) OVER () FROM sessions
place expression | SELECT sum(pages) OVER (PARTITION BY {}) FROM sessions
place expression | SELECT sum(pages) OVER (ORDER BY pages, {}) FROM sessions
place expression | SELECT sum(pages) OVER (ROWS BETWEEN {} PRECEDING AND CURRENT ROW) FROM sessions
place expression | SELECT sum(pages) OVER (ROWS BETWEEN CURRENT ROW AND {} FOLLOWING) FROM sessions
place expression | SELECT sum(pages) OVER (ORDER BY pages RANGE BETWEEN {} PRECEDING AND 1 FOLLOWING) FROM sessions
place expression | SELECT sum(pages) OVER (ORDER BY pages GROUPS {} PRECEDING) FROM sessions
place expression | SELECT sum(pages) FILTER (WHERE {} = 1) OVER () FROM sessions
place expression | SELECT list(pages ORDER BY {}) OVER () FROM sessions
place expression | SELECT first_value({} IGNORE NULLS) OVER () FROM sessions
place expression | SELECT lag(pages, {}) OVER () FROM sessions
place expression | SELECT lead(pages, 1, {}) OVER () FROM sessions
place expression | SELECT nth_value(pages, {}) OVER () FROM sessions
place expression | SELECT ntile({}) OVER () FROM sessions
place expression | SELECT sum(pages) OVER w FROM sessions WINDOW w AS (PARTITION BY {})
place expression | SELECT sum(pages) OVER w FROM sessions WINDOW w AS (ORDER BY {} DESC)

-- expressions: clauses
place expression | SELECT 1 FROM sessions WHERE {} = 1
place expression | FROM sessions WHERE pages > {}
place expression | FROM sessions SELECT {}
place expression | SELECT 1 FROM sessions GROUP BY {}
place expression | SELECT 1 FROM sessions GROUP BY ROLLUP (device, {})
place expression | SELECT 1 FROM sessions GROUP BY CUBE ({})
place expression | SELECT 1 FROM sessions GROUP BY GROUPING SETS ((device), ({}))
place expression | SELECT 1 FROM sessions HAVING {} = 1
place expression | SELECT 1 FROM sessions QUALIFY {} = 1
place expression | SELECT 1 FROM sessions ORDER BY {}
place expression | SELECT 1 FROM sessions ORDER BY pages, {} DESC NULLS LAST
place expression | SELECT DISTINCT ON ({}) device FROM sessions
place expression | SELECT 1 FROM sessions LIMIT {}
place expression | SELECT 1 FROM sessions LIMIT ({}) %
place expression | SELECT 1 FROM sessions LIMIT 1 OFFSET {}
place expression | SELECT 1 FROM sessions OFFSET {}
place expression | SELECT 1 FROM sessions FETCH FIRST ({}) ROWS ONLY
place expression | SELECT 1 UNION SELECT 2 ORDER BY {}
place expression | SELECT 1 UNION ALL SELECT 2 LIMIT {}
place expression | VALUES (1), ({})
place expression | SELECT * FROM (VALUES (1, {})) AS t(a, b)
place expression | SELECT * FROM sessions JOIN orders ON sessions.customer_id = orders.customer_id AND {} = 1
place expression | SELECT * FROM sessions LEFT JOIN orders ON {} = orders.quantity
place expression | SELECT * FROM sessions SEMI JOIN orders ON {} = 1
place expression | SELECT * FROM sessions s ASOF JOIN orders o ON s.customer_id = o.customer_id AND s.pages >= o.quantity + {}
place expression | SELECT * FROM range({})
place expression | SELECT * FROM generate_series(1, {}, 2)
place expression | SELECT * FROM unnest([{}]) AS t(x)
place expression | SELECT * FROM sessions, range({}) AS r(i)
place expression | SELECT * FROM sessions, LATERAL (SELECT pages + {}) AS l
place expression | WITH a AS (SELECT {}) SELECT 1
place expression | WITH a AS MATERIALIZED (SELECT 1 WHERE {} = 1) FROM a
place expression | WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT x + {} FROM a WHERE x < 3) FROM a
place expression | WITH RECURSIVE a AS (SELECT {} AS x UNION SELECT x FROM a) FROM a
place expression | SELECT (WITH a AS (SELECT {} AS x) SELECT x FROM a)

-- tables
fine table | sessions
forbidden table UNKNOWN_VIEW | kai_stops
forbidden table UNKNOWN_VIEW | "KAI_STOPS"
forbidden table UNKNOWN_VIEW | '/etc/passwd'
forbidden table UNKNOWN_VIEW | "sessions.csv"
forbidden table UNKNOWN_VIEW | (SELECT * FROM duckdb_columns)
forbidden table UNKNOWN_VIEW | (FROM kai_stops)
forbidden table UNKNOWN_VIEW | (WITH a AS (FROM kai_stops) FROM a)
forbidden table UNKNOWN_VIEW | (VALUES ((SELECT max(unit) FROM kai_stops)))
forbidden table QUALIFIED_NAME | store.main.sessions
forbidden table QUALIFIED_NAME | memory.main.kai_stops
forbidden table QUALIFIED_NAME | pg_catalog.pg_class
forbidden table QUALIFIED_NAME | a.b.c.d.e
forbidden table FUNCTION_NOT_ADMITTED | read_text('/etc/passwd')
forbidden table FUNCTION_NOT_ADMITTED | duckdb_columns()
forbidden table FUNCTION_NOT_ADMITTED | pragma_storage_info('sessions')
forbidden table FUNCTION_NOT_ADMITTED | query_table('kai_stops')
forbidden table FUNCTION_NOT_ADMITTED | json_execute_serialized_sql('{}')
forbidden table FUNCTION_NOT_ADMITTED | summary((FROM sessions))
forbidden table NOT_ADMITTED | (DESCRIBE sessions)
forbidden table NOT_ADMITTED | (SUMMARIZE SELECT * FROM sessions)
forbidden table NOT_ADMITTED | (SHOW DATABASES)
forbidden table NOT_ADMITTED | (FROM sessions TABLESAMPLE 10%)
forbidden table NOT_ADMITTED | (FROM sessions PIVOT (count(*) FOR device IN ('phone')))
forbidden table NOT_ADMITTED | (WITH d AS (INSERT INTO kai_stops VALUES ('x') RETURNING *) FROM d)
place table | FROM {}
place table | SELECT * FROM {} AS t
place table | SELECT 1 FROM orders, {} AS t
place table | SELECT 1 FROM {} AS t JOIN orders ON true
place table | SELECT 1 FROM orders LEFT JOIN {} AS t ON true
place table | SELECT 1 FROM orders NATURAL JOIN {} AS t
place table | SELECT 1 FROM orders CROSS JOIN {} AS t
place table | SELECT 1 FROM orders SEMI JOIN {} AS t ON true
place table | SELECT 1 FROM orders ANTI JOIN {} AS t ON true
place table | SELECT 1 FROM orders ASOF JOIN {} AS t ON orders.ordered_at >= t.started_at
place table | SELECT 1 FROM orders, LATERAL (SELECT * FROM {} AS t) AS l
place table | SELECT 1 FROM (orders JOIN {} AS t ON true)
place table | SELECT 1 FROM (SELECT * FROM (SELECT * FROM {} AS t))
place table | SELECT 1 UNION SELECT 1 FROM {} AS t
place table | SELECT 1 FROM orders EXCEPT ALL SELECT 1 FROM {} AS t
place table | SELECT 1 UNION ALL BY NAME SELECT 1 FROM {} AS t
place table | WITH a AS (SELECT * FROM {} AS t) SELECT 1
place table | WITH a AS (SELECT 1), b AS (SELECT * FROM {} AS t) FROM a
place table | WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT 1 FROM a, {} AS t) FROM a
place table | SELECT (SELECT count(*) FROM {} AS t)
place table | SELECT EXISTS (FROM {} AS t)
place table | SELECT 1 WHERE 1 IN (SELECT 1 FROM {} AS t)
place table | SELECT list_transform([1], lambda x: (SELECT count(*) FROM {} AS t))
place table | SELECT sum(1) FILTER (WHERE EXISTS (FROM {} AS t)) OVER () FROM orders
place table | SELECT 1 FROM orders LIMIT (SELECT count(*) FROM {} AS t)
place table | SELECT * FROM range((SELECT count(*) FROM {} AS t))

-- types
fine type | bigint
forbidden type TYPE_NOT_ADMITTED | blob
forbidden type TYPE_NOT_ADMITTED | json
forbidden type TYPE_NOT_ADMITTED | variant
forbidden type TYPE_NOT_ADMITTED | uuid
forbidden type TYPE_NOT_ADMITTED | bit
forbidden type TYPE_NOT_ADMITTED | geometry
forbidden type TYPE_NOT_ADMITTED | time with time zone
forbidden type TYPE_NOT_ADMITTED | enum('a', 'b')
forbidden type TYPE_NOT_ADMITTED | union(a int, b varchar)
forbidden type TYPE_NOT_ADMITTED | kai_stops
forbidden type TYPE_NOT_ADMITTED | "my type"
forbidden type QUALIFIED_NAME | main.integer
forbidden type QUALIFIED_NAME | store.main.mood
place type | SELECT CAST(pages AS {}) FROM sessions
place type | SELECT TRY_CAST(pages AS {}) FROM sessions
place type | SELECT pages::{} FROM sessions
place type | SELECT [pages]::{}[] FROM sessions
place type | SELECT [[pages]]::{}[3][] FROM sessions
place type | SELECT {{'a': pages}}::struct(a {}) FROM sessions
place type | SELECT {{'a': {{'b': 1}}}}::struct(a struct(b {})) FROM sessions
place type | SELECT map {{'a': 1}}::map(varchar, {}) FROM sessions
place type | SELECT list_transform([1], lambda x: x::{})
place type | SELECT sum(pages::{}) OVER (ORDER BY pages::{}) FROM sessions
place type | SELECT 1 FROM sessions WHERE pages::{} IS NULL
place type | SELECT 1 FROM sessions LIMIT 1::{}
place type | SELECT * FROM range(1::{})
