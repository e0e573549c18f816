-- Statements that the guard must admit and a worker must answer as plain DuckDB does: one per line.
-- Row order is compared only where the statement orders; the others are compared as sets of rows.

-- columns and rows
SELECT * FROM sessions
FROM sessions
TABLE sessions
FROM sessions SELECT device, pages
FROM sessions SELECT device WHERE pages > 3
select DEVICE, Pages from SESSIONS
SELECT s.device, s.pages FROM sessions AS s
SELECT sessions.device FROM sessions
SELECT device AS "どの端末", pages AS p FROM sessions
SELECT d: device, p: pages FROM sessions
SELECT DISTINCT device FROM sessions
SELECT DISTINCT ON (device) device, session_id FROM sessions ORDER BY device, session_id
SELECT * EXCLUDE (referred) FROM sessions
SELECT * REPLACE (pages * 2 AS pages) FROM sessions
SELECT * RENAME (pages AS p) FROM sessions
SELECT s.* EXCLUDE (s.pages) FROM sessions s
SELECT COLUMNS('^p') FROM sessions
SELECT COLUMNS(lambda c: c LIKE 's%') FROM sessions
SELECT COLUMNS([c FOR c IN (*) IF c LIKE 'p%']) FROM sessions
SELECT * LIKE 'p%' FROM sessions
SELECT max(COLUMNS(['pages', 'seconds'])) FROM sessions
SELECT coalesce(*COLUMNS(['pages', 'seconds'])) FROM sessions
SELECT session_id FROM sessions ORDER BY session_id LIMIT 3
SELECT session_id FROM sessions ORDER BY session_id LIMIT 3 OFFSET 2
SELECT session_id FROM sessions ORDER BY ALL LIMIT 10%
SELECT session_id FROM sessions ORDER BY pages DESC NULLS LAST, session_id ASC NULLS FIRST
SELECT session_id FROM sessions ORDER BY session_id OFFSET 5
SELECT session_id FROM sessions ORDER BY session_id LIMIT (SELECT 2)
SELECT device, count(*) AS sessions FROM sessions GROUP BY device
SELECT 1
SELECT 1;
SELECT 1 -- and a comment
/* before */ SELECT 1 AS x, 'it''s' AS y
SELECT 'SELECT * FROM kai_stops; DROP TABLE x' AS text
SELECT 1 AS kai_stops, 2 AS "duckdb_tables"
SELECT '日本語' AS 語, '(((((' AS brackets
VALUES (1, 'a'), (2, 'b')

SELECT #2 FROM (SELECT session_id, pages FROM sessions) AS t

-- filters
SELECT session_id FROM sessions WHERE device = 'phone'
SELECT session_id FROM sessions WHERE device IN ('phone', 'tablet')
SELECT session_id FROM sessions WHERE device NOT IN ('phone', 'tablet')
SELECT session_id FROM sessions WHERE device <> 'phone' AND pages > 3 OR seconds < 10
SELECT session_id FROM sessions WHERE NOT (device = 'phone' OR pages IS NULL)
SELECT session_id FROM sessions WHERE customer_id IS NULL
SELECT session_id FROM sessions WHERE customer_id IS NOT NULL
SELECT session_id FROM sessions WHERE customer_id IS DISTINCT FROM 'C1'
SELECT session_id FROM sessions WHERE customer_id IS NOT DISTINCT FROM 'C1'
SELECT session_id FROM sessions WHERE pages BETWEEN 2 AND 5
SELECT session_id FROM sessions WHERE pages NOT BETWEEN 2 AND 5
SELECT session_id FROM sessions WHERE device LIKE 'ph%'
SELECT session_id FROM sessions WHERE device NOT LIKE 'ph%'
SELECT session_id FROM sessions WHERE device ILIKE 'PH%'
SELECT session_id FROM sessions WHERE device NOT ILIKE 'PH%'
SELECT session_id FROM sessions WHERE device LIKE 'p!%' ESCAPE '!'
SELECT session_id FROM sessions WHERE device NOT LIKE 'p!%' ESCAPE '!'
SELECT session_id FROM sessions WHERE device SIMILAR TO 'ph.*'
SELECT session_id FROM sessions WHERE device GLOB 'ph*'
SELECT session_id FROM sessions WHERE device ~ 'phone'
SELECT session_id FROM sessions WHERE device ^@ 'ph'
SELECT session_id FROM sessions WHERE regexp_matches(device, '^t')
SELECT session_id FROM sessions WHERE referred IS TRUE
SELECT session_id FROM sessions WHERE referred IS NOT TRUE
SELECT session_id FROM sessions WHERE referred
SELECT session_id FROM sessions WHERE started_at >= TIMESTAMP '2026-01-05 00:00:00'
SELECT session_id FROM sessions WHERE started_at::date = DATE '2026-01-05'
SELECT session_id FROM sessions WHERE started_at > '2026-01-05'
SELECT session_id FROM sessions WHERE (device, service) IN (('phone', 'news'))
SELECT session_id FROM sessions WHERE (device, service) = ('phone', 'news')
SELECT session_id FROM sessions WHERE device = ANY (['phone', 'tablet'])
SELECT session_id FROM sessions WHERE device COLLATE NOCASE = 'PHONE'

-- aggregates
SELECT count(*) FROM sessions
SELECT count() FROM sessions
SELECT count(*), count(customer_id), count(DISTINCT customer_id) FROM sessions
SELECT sum(pages), avg(pages), min(pages), max(pages), median(pages) FROM sessions
SELECT device, sum(pages) FROM sessions GROUP BY device
SELECT device, sum(pages) FROM sessions GROUP BY 1
SELECT device, service, sum(pages) FROM sessions GROUP BY ALL
SELECT device, sum(pages) AS p FROM sessions GROUP BY device HAVING p > 20
SELECT device, sum(pages) FILTER (WHERE service = 'news') AS news FROM sessions GROUP BY device
SELECT device, service, sum(pages) FROM sessions GROUP BY ROLLUP (device, service)
SELECT device, service, sum(pages) FROM sessions GROUP BY CUBE (device, service)
SELECT device, service, sum(pages), grouping(device) FROM sessions GROUP BY GROUPING SETS ((device), (service), ())
SELECT device, grouping_id(device, service) AS g, count(*) FROM sessions GROUP BY GROUPING SETS ((device, service), (device))
SELECT string_agg(device, ',' ORDER BY session_id) FROM sessions
SELECT list(pages ORDER BY session_id DESC NULLS LAST) FROM sessions
SELECT array_agg(DISTINCT device ORDER BY device) FROM sessions
SELECT quantile_cont(pages, [0.25, 0.5, 0.75]) FROM sessions
SELECT quantile_disc(pages, 0.5) FROM sessions
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FROM sessions
SELECT mode() WITHIN GROUP (ORDER BY device) FROM sessions
SELECT stddev(pages), stddev_pop(pages), var_samp(pages), variance(pages) FROM sessions
SELECT corr(pages, seconds), covar_pop(pages, seconds), regr_slope(pages, seconds) FROM sessions
SELECT arg_max(session_id, seconds), max_by(session_id, seconds), arg_min(session_id, seconds) FROM sessions
SELECT bool_and(pages > 0), bool_or(pages > 8), bit_and(pages), bit_or(pages) FROM sessions
SELECT count_if(pages > 3), approx_count_distinct(device) FROM sessions
SELECT histogram(device) FROM sessions
SELECT kurtosis(pages), skewness(pages), entropy(pages), mad(pages) FROM sessions
SELECT product(1.0 + pages / 100) FROM sessions
SELECT max(pages, 3) FROM sessions
SELECT sum(pages) * 1.0 / count(*) AS share FROM sessions
SELECT geomean(pages) > 0 FROM sessions

-- expressions
SELECT CASE WHEN pages > 5 THEN 'many' WHEN pages > 2 THEN 'some' ELSE 'few' END AS depth, count(*) FROM sessions GROUP BY 1
SELECT CASE device WHEN 'phone' THEN 1 ELSE 0 END FROM sessions
SELECT if(pages > 3, 'a', 'b') FROM sessions
SELECT coalesce(customer_id, 'none'), ifnull(customer_id, 'none'), nullif(device, 'phone') FROM sessions
SELECT greatest(pages, 3), least(pages, 3) FROM sessions
SELECT pages + 1, pages - 1, pages * 2, pages / 2, pages // 2, pages % 2, -pages, +pages, pages ** 2, pages ^ 2 FROM sessions
SELECT pages & 1, pages | 1, pages << 1, pages >> 1, ~pages, @(-pages) FROM sessions
SELECT device || '/' || service FROM sessions
SELECT pages::varchar, pages::double, pages::decimal(9, 2), CAST(pages AS bigint), TRY_CAST(device AS integer) FROM sessions
SELECT '2026-01-05'::date, '12:30'::time, '2026-01-05 12:00'::timestamp, '3'::tinyint, 'true'::bool
SELECT [1, 2]::bigint[], {'a': 1}::struct(a bigint), '5'::hugeint, '1.5'::float4, 'x'::text
SELECT 1.5, 1e3, 0x1f, 1_000, -1, NULL, true, false, 'x', e'a\nb'
SELECT 99999999999999999999999999999999999999999
SELECT upper(device), lower(device), length(device), reverse(device), substr(device, 1, 2), left(device, 2) FROM sessions
SELECT substring(device FROM 1 FOR 2), position('o' IN device), trim(BOTH 'p' FROM device), overlay('abcdef' PLACING 'x' FROM 2 FOR 3) FROM sessions
SELECT replace(device, 'p', 'P'), lpad(device, 10, '.'), rpad(device, 10, '.'), split_part(device, 'o', 1) FROM sessions
SELECT regexp_extract(device, '(p.)', 1), regexp_replace(device, 'o', '0'), regexp_split_to_array(device, 'o') FROM sessions
SELECT concat(device, service), concat_ws('-', device, service), starts_with(device, 'p'), contains(device, 'one') FROM sessions
SELECT levenshtein(device, service), jaro_winkler_similarity(device, service), md5(device) FROM sessions
SELECT translate(device, 'p', 'q'), strip_accents('é'), nfc_normalize(device), ascii(device), chr(65), unicode('あ') FROM sessions
SELECT round(seconds / 60.0, 1), floor(1.5), ceil(1.5), abs(-1), sign(-2), trunc(1.9), sqrt(4), ln(2), log10(100), exp(1), pi() FROM sessions
SELECT 5!, factorial(4), gcd(4, 6), lcm(4, 6), mod(5, 3), pow(2, 3), isnan(1.0), isfinite(1.0)
SELECT sin(1), cos(1), tan(1), atan2(1, 2), degrees(1), radians(1)
SELECT fdiv(5, 2), fmod(5, 3)

-- dates
SELECT date_trunc('week', started_at) AS week, count(*) FROM sessions GROUP BY 1 ORDER BY 1
SELECT extract(year FROM started_at), extract('month' FROM started_at), date_part('dow', started_at) FROM sessions
SELECT year(started_at), month(started_at), day(started_at), hour(started_at), week(started_at), quarter(started_at) FROM sessions
SELECT dayname(started_at), monthname(started_at), isodow(started_at), dayofyear(started_at), last_day(started_at) FROM sessions
SELECT strftime(started_at, '%Y-%m'), strptime('2026-01-05', '%Y-%m-%d'), try_strptime('x', '%Y') FROM sessions
SELECT started_at + INTERVAL 1 DAY, started_at - INTERVAL '2 hours', started_at + INTERVAL (pages) MINUTE FROM sessions
SELECT started_at + to_days(1), started_at + INTERVAL '1' MONTH, started_at + INTERVAL 3 WEEKS FROM sessions
SELECT date_diff('day', DATE '2026-01-01', started_at::date), date_add(DATE '2026-01-01', INTERVAL 1 DAY), date_sub('month', DATE '2026-01-01', DATE '2026-03-01') FROM sessions
SELECT time_bucket(INTERVAL '7 days', started_at), epoch(started_at), epoch_ms(started_at), make_date(2026, 1, 5) FROM sessions
SELECT started_at AT TIME ZONE 'Asia/Tokyo' > TIMESTAMPTZ '2026-01-01 00:00:00+00' FROM sessions
SELECT DATE '2026-01-05', TIME '10:00', TIMESTAMP '2026-01-05 10:00:00', INTERVAL '1 day'
SELECT max(started_at) - min(started_at) FROM sessions
SELECT datediff('hour', min(started_at), max(started_at)), datetrunc('month', min(started_at)) FROM sessions

-- lists, structs, maps
SELECT [1, 2, 3][1], [1, 2, 3][2:3], [1, 2, 3][-1], [1, 2, 3, 4][1:4:2], [1, 2, 3][:]
SELECT list_transform([1, 2, 3], lambda x: x + 1), list_filter([1, 2, 3], lambda x: x > 1), list_reduce([1, 2, 3], lambda a, b: a + b)
SELECT list_transform([1, 2, 3], lambda x, i: x * i)
SELECT [x + 1 FOR x IN [1, 2, 3] IF x > 1]
SELECT list_sum([1, 2]), list_avg([1, 2]), list_min([1, 2]), list_max([1, 2]), list_median([1, 2, 3]), list_count([1, NULL])
SELECT list_sort([3, 1, 2]), list_reverse_sort([3, 1, 2]), list_reverse([1, 2]), list_distinct([1]), list_contains([1, 2], 2), list_position([1, 2], 2)
SELECT list_concat([1], [2]), list_append([1], 2), list_prepend(0, [1]), [1] || [2], flatten([[1], [2]]), list_zip([1], [2])
SELECT [1, 2] && [2], [1, 2] @> [1], [1] <@ [1, 2], list_has_any([1], [1]), list_has_all([1, 2], [1])
SELECT array_to_string(['a', 'b'], ','), len([1, 2]), array_length([1, 2]), string_split('a,b', ',')
SELECT {'a': 1, 'b': 'x'}, {'a': 1}.a, struct_pack(a := 1, b := 2), row(1, 2), (1, 2), struct_extract({'a': 1}, 'a')
SELECT map {'a': 1}, map(['a'], [1]), map {'a': 1}['a'], map_keys(map {'a': 1}), map_values(map {'a': 1}), cardinality(map {'a': 1})
SELECT unnest([1, 2, 3]) AS x
SELECT unnest(string_split(device, 'o')) AS part FROM sessions
SELECT s FROM sessions AS s
SELECT 2 IN [1, 2]
SELECT range(3), generate_series(1, 3)
SELECT ARRAY (SELECT pages FROM sessions ORDER BY session_id)
SELECT typeof(pages) FROM sessions

-- windows
SELECT session_id, row_number() OVER (ORDER BY session_id) AS n FROM sessions
SELECT session_id, rank() OVER (PARTITION BY device ORDER BY pages DESC) AS r, dense_rank() OVER (ORDER BY pages) AS d FROM sessions
SELECT session_id, sum(pages) OVER (ORDER BY session_id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS moving FROM sessions
SELECT session_id, avg(pages) OVER (ORDER BY started_at RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW) AS week FROM sessions
SELECT session_id, count(*) OVER (ORDER BY pages GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS near FROM sessions
SELECT session_id, sum(pages) OVER (PARTITION BY device ORDER BY session_id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW) AS others FROM sessions
SELECT session_id, sum(pages) OVER (ORDER BY pages ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES) AS e FROM sessions
SELECT session_id, lag(pages) OVER w AS before, lead(pages, 2, 0) OVER w AS after FROM sessions WINDOW w AS (ORDER BY session_id)
SELECT session_id, first_value(pages) OVER w AS f, last_value(pages) OVER w AS l, nth_value(pages, 2) OVER w AS n FROM sessions WINDOW w AS (PARTITION BY device ORDER BY session_id)
SELECT session_id, ntile(3) OVER (ORDER BY session_id) AS t, percent_rank() OVER (ORDER BY session_id) AS p, cume_dist() OVER (ORDER BY session_id) AS c FROM sessions
SELECT session_id, first_value(customer_id IGNORE NULLS) OVER (ORDER BY session_id) AS f FROM sessions
SELECT session_id, sum(pages) FILTER (WHERE referred) OVER (PARTITION BY device) AS r FROM sessions
SELECT session_id, count(DISTINCT device) OVER () AS d FROM sessions
SELECT session_id, device FROM sessions QUALIFY row_number() OVER (PARTITION BY device ORDER BY session_id) = 1
SELECT device, sum(pages) AS p, sum(sum(pages)) OVER () AS total FROM sessions GROUP BY device
SELECT session_id, sum(pages) OVER (ORDER BY session_id ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS forward FROM sessions
SELECT session_id, list(pages ORDER BY pages) OVER (PARTITION BY device) AS l FROM sessions

-- joins
SELECT s.session_id, o.order_id FROM sessions s JOIN orders o ON s.customer_id = o.customer_id
SELECT session_id, order_id FROM sessions JOIN orders USING (customer_id)
SELECT session_id, order_id FROM sessions LEFT JOIN orders USING (customer_id)
SELECT session_id, order_id FROM sessions RIGHT JOIN orders USING (customer_id)
SELECT session_id, order_id FROM sessions FULL OUTER JOIN orders USING (customer_id)
SELECT session_id, order_id FROM sessions CROSS JOIN orders
SELECT session_id, order_id FROM sessions, orders WHERE sessions.customer_id = orders.customer_id
SELECT session_id, order_id FROM sessions NATURAL JOIN (SELECT customer_id, order_id FROM orders) AS o
SELECT session_id FROM sessions SEMI JOIN orders USING (customer_id)
SELECT session_id FROM sessions ANTI JOIN orders USING (customer_id)
SELECT s.session_id, o.order_id FROM sessions s ASOF JOIN orders o ON s.customer_id = o.customer_id AND s.started_at >= o.ordered_at
SELECT s.session_id, o.order_id FROM sessions s ASOF LEFT JOIN orders o ON s.customer_id = o.customer_id AND s.started_at >= o.ordered_at
SELECT a.session_id, b.session_id AS other FROM sessions a JOIN sessions b ON a.device = b.device AND a.session_id < b.session_id
SELECT s.session_id, o.n FROM sessions s, LATERAL (SELECT count(*) AS n FROM orders WHERE orders.customer_id = s.customer_id) AS o
SELECT s.session_id, o.amount_yen FROM sessions s LEFT JOIN LATERAL (SELECT amount_yen FROM orders WHERE customer_id = s.customer_id ORDER BY order_id LIMIT 1) AS o ON true
SELECT * FROM (sessions JOIN orders USING (customer_id)) AS both_of_them
SELECT c.plan, count(*) FROM customers c JOIN sessions s USING (customer_id) LEFT JOIN orders o USING (customer_id) GROUP BY ALL

-- subqueries and common tables
SELECT session_id FROM sessions WHERE customer_id IN (SELECT customer_id FROM orders)
SELECT session_id FROM sessions WHERE customer_id NOT IN (SELECT customer_id FROM orders)
SELECT session_id FROM sessions s WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = s.customer_id)
SELECT session_id FROM sessions s WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = s.customer_id)
SELECT session_id FROM sessions WHERE pages > (SELECT avg(pages) FROM sessions)
SELECT session_id FROM sessions WHERE pages >= ALL (SELECT pages FROM sessions)
SELECT session_id FROM sessions WHERE pages < ANY (SELECT quantity FROM orders)
SELECT session_id, (SELECT count(*) FROM orders o WHERE o.customer_id = s.customer_id) AS orders_of FROM sessions s
SELECT * FROM (SELECT device, count(*) AS n FROM sessions GROUP BY device) AS t WHERE n > 1
SELECT t.a FROM (VALUES (1, 2), (3, 4)) AS t(a, b)
WITH a AS (SELECT device, count(*) AS n FROM sessions GROUP BY device) SELECT * FROM a WHERE n > 1
WITH a(x, y) AS (SELECT device, pages FROM sessions), b AS (FROM a WHERE y > 2) SELECT x, sum(y) FROM b GROUP BY x
WITH a AS MATERIALIZED (SELECT pages FROM sessions) SELECT sum(pages) FROM a
WITH a AS NOT MATERIALIZED (SELECT pages FROM sessions) SELECT sum(pages) FROM a
WITH a AS (SELECT 1 AS x) SELECT (WITH b AS (SELECT x + 1 AS y FROM a) SELECT y FROM b) AS z
WITH a AS (SELECT 1 AS x), b AS (WITH c AS (FROM a) FROM c) SELECT * FROM b
WITH a AS (SELECT pages FROM sessions) SELECT pages FROM a UNION ALL SELECT quantity FROM orders
WITH "Ünïcode" AS (SELECT 1 AS x) SELECT * FROM "Ünïcode"
WITH 集計 AS (SELECT device, count(*) AS 件数 FROM sessions GROUP BY 1) SELECT 件数 FROM 集計
WITH A AS (SELECT 1 AS x) SELECT * FROM a
WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n
WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n
WITH weeks AS (SELECT unnest(generate_series(DATE '2026-01-05', DATE '2026-01-26', INTERVAL 7 DAYS)) AS w) SELECT w, count(session_id) AS n FROM weeks LEFT JOIN sessions ON date_trunc('week', started_at) = w GROUP BY w ORDER BY w

-- set operations
SELECT device FROM sessions UNION SELECT category FROM orders
SELECT device FROM sessions UNION ALL SELECT category FROM orders
SELECT customer_id FROM sessions INTERSECT SELECT customer_id FROM orders
SELECT customer_id FROM sessions EXCEPT SELECT customer_id FROM orders
SELECT customer_id FROM sessions EXCEPT ALL SELECT customer_id FROM orders
SELECT 1 AS a UNION ALL BY NAME SELECT 2 AS b
SELECT 1 AS a UNION BY NAME SELECT 2 AS a
(SELECT 1 AS a UNION SELECT 2) INTERSECT SELECT 2 ORDER BY a LIMIT 1
SELECT 1 AS a UNION SELECT 2 UNION SELECT 3 ORDER BY a DESC

-- rows out of nothing
SELECT * FROM range(3)
SELECT * FROM range(3) AS t(i)
SELECT i FROM generate_series(1, 5, 2) AS t(i)
SELECT * FROM generate_series(DATE '2026-01-01', DATE '2026-01-07', INTERVAL 1 DAY) AS t(day)
SELECT * FROM unnest([1, 2, 3]) AS t(x)
SELECT * FROM range(2) WITH ORDINALITY
SELECT s.session_id, r.i FROM sessions s, range(s.pages) AS r(i)
SELECT * FROM range((SELECT count(*) FROM sessions))

-- as analysts write them, and what the reviewed table admits besides
SELECT session_id FROM sessions ORDER BY session_id FETCH FIRST 3 ROWS ONLY
SELECT unnest([1, 2]) AS x, count(*) FROM sessions GROUP BY unnest([1, 2])
SELECT 1::int64, 1::int32, 1::int128, 1::uint128, 'x'::nvarchar, true::logical, 1::integral, {'a': 1}::row(a bigint)
SELECT device COLLATE nocase.noaccent = 'PHONE' FROM sessions
SELECT device FROM sessions ORDER BY device COLLATE ja, session_id
SELECT switch(pages, map {1: 'one'}) FROM sessions
SELECT hash('x') = hash('x'), md5_number('x'), md5_number_lower('x'), md5_number_upper('x')
SELECT hex('abc'), bin(5), to_base(255, 16), to_hex(255), to_binary(5), hex(255)
SELECT format_bytes(1234567), formatReadableSize(1234567), formatReadableDecimalSize(1234567), parse_formatted_bytes('1 KiB')
SELECT url_encode('a b/ö'), url_decode('a%20b'), parse_path('/a/b.html'), parse_filename('/a/b.html'), parse_dirname('/a/b'), parse_dirpath('/a/b'), path_join('a', 'b')
SELECT list_bit_and([1, 3]), list_bit_or([1, 2]), list_bit_xor([1, 3]), list_entropy([1, 1]), list_kurtosis([1, 2, 3, 9]), list_kurtosis_pop([1, 2, 3, 9]), list_mad([1, 5]), list_sem([1, 2]), list_skewness([1, 2, 9]), list_string_agg(['a', 'b']), list_approx_count_distinct([1, 2]), list_histogram([1, 1])
SELECT list_grade_up([3, 1, 2]), grade_up([3, 1]), array_grade_up([3, 1]), list_select([5, 6], [2, 1]), array_select([5, 6], [2]), array_where([1, 2], [true, false])
SELECT array_pop_back([1, 2]), array_pop_front([1, 2]), array_push_back([1], 2), array_push_front([1], 0), array_value(1, 2), generate_subscripts([4, 5], 1)
SELECT map_contains_entry(map {'a': 1}, 'a', 1), map_contains_value(map {'a': 1}, 1), struct_update({'a': 1}, a := 2), struct_position(row(4, 5), 5), struct_indexof(row(4, 5), 5), struct_has(row(4, 5), 5)
SELECT list_cosine_similarity([1.0, 2], [2.0, 1]), list_distance([0.0], [3.0]), list_inner_product([1.0, 2], [3.0, 4]), list_dot_product([1.0], [2.0]), list_negative_inner_product([1.0], [2.0]), list_cosine_distance([1.0], [2.0]), list_negative_dot_product([1.0], [2.0])
SELECT array_distance([1, 2]::float[2], [3, 4]::float[2]), array_cosine_similarity([1, 2]::float[2], [3, 4]::float[2]), array_inner_product([1, 2]::float[2], [3, 4]::float[2]), array_cross_product([1, 2, 3]::float[3], [3, 4, 5]::float[3])
SELECT equi_width_bins(min(pages), max(pages), 4, true) FROM sessions
SELECT histogram(pages, [2, 4, 8]), histogram_exact(pages, [1, 2]) FROM sessions
SELECT histogram(pages, equi_width_bins(0, 10, 5, true)) FROM sessions
SELECT lttb(seconds, pages, 3) IS NOT NULL FROM sessions
SELECT arg_max_nulls_last(session_id, pages), arg_min_nulls_last(session_id, pages) IS NOT NULL FROM sessions
SELECT binom(5, 2), era(DATE '2026-01-01'), make_timestamp_ms(0), make_timestamp_ns(0), make_timestamptz(2026, 1, 1, 0, 0, 0) IS NOT NULL, normalized_interval(INTERVAL '40 days')
SELECT regexp_split_to_table('a,b', ',')
SELECT array_to_string_comma_default([1, 2], ',')
SELECT device, list(DISTINCT service ORDER BY service) FROM sessions GROUP BY device ORDER BY device
SELECT date_part(['year', 'month'], started_at) FROM sessions
SELECT strftime('%Y-%m-%d', started_at) FROM sessions
SELECT started_at::date AS day, count(*) AS n, count(DISTINCT customer_id) AS c FROM sessions GROUP BY day ORDER BY day
SELECT device, n, n / sum(n) OVER () AS share FROM (SELECT device, count(*) AS n FROM sessions GROUP BY device)
SELECT session_id, pages, avg(pages) OVER (PARTITION BY device ORDER BY started_at ROWS 3 PRECEDING) AS a FROM sessions
SELECT s.*, o.amount_yen FROM sessions s JOIN orders o ON s.customer_id = o.customer_id WHERE o.amount_yen > 100 ORDER BY s.session_id, o.order_id
SELECT s.* EXCLUDE (customer_id), o.* EXCLUDE (customer_id) FROM sessions s JOIN orders o USING (customer_id)
SELECT count(*) FILTER (device = 'phone') AS phones FROM sessions
SELECT sum(CASE WHEN device = 'phone' THEN 1 ELSE 0 END) / count(*)::double FROM sessions
SELECT COUNT(*) AS "セッション数" FROM sessions WHERE device = 'phone'
SELECT * FROM sessions WHERE started_at BETWEEN DATE '2026-01-01' AND DATE '2026-02-01' ORDER BY session_id
SELECT * FROM sessions WHERE started_at >= '2026-01-01'::timestamp + INTERVAL 1 MONTH
SELECT * FROM sessions WHERE customer_id IN (SELECT customer_id FROM orders GROUP BY customer_id HAVING count(*) > 1)
WITH first AS (SELECT customer_id, min(started_at) AS t FROM sessions GROUP BY 1) SELECT date_trunc('month', t) AS m, count(*) FROM first GROUP BY m ORDER BY m
WITH cohort AS (SELECT customer_id, date_trunc('week', min(started_at)) AS w FROM sessions GROUP BY 1) SELECT w, date_diff('week', w, date_trunc('week', started_at)) AS age, count(DISTINCT customer_id) FROM sessions JOIN cohort USING (customer_id) GROUP BY ALL
SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY started_at) AS nth FROM sessions
SELECT customer_id, started_at, started_at - lag(started_at) OVER (PARTITION BY customer_id ORDER BY started_at) AS gap FROM sessions
SELECT session_id, sum(new) OVER (PARTITION BY customer_id ORDER BY started_at) AS visit FROM (SELECT *, CASE WHEN started_at - lag(started_at) OVER (PARTITION BY customer_id ORDER BY started_at) > INTERVAL '30 minutes' THEN 1 ELSE 0 END AS new FROM sessions)
SELECT device, quantile_cont(seconds, 0.5) AS median, quantile_cont(seconds, 0.9) AS p90 FROM sessions GROUP BY device ORDER BY device
SELECT width FROM (SELECT pages AS width FROM sessions)
SELECT approx_quantile(seconds, 0.5) > 0 FROM sessions
SELECT mode(device), first(device ORDER BY session_id), last(device ORDER BY session_id), any_value(device) IS NOT NULL FROM sessions
SELECT string_agg(DISTINCT device, ', ' ORDER BY device) FROM sessions
SELECT regexp_extract(device, '(?P<a>p)(?P<b>h)', ['a', 'b']) FROM sessions
SELECT device ~* 'PHONE' FROM sessions
SELECT device NOT SIMILAR TO 'x.*' FROM sessions
SELECT device !~ 'x' FROM sessions
SELECT 5 IN (SELECT pages FROM sessions)
SELECT (SELECT list(pages ORDER BY session_id) FROM sessions)[1:3]
SELECT pages FROM sessions ORDER BY 1 DESC LIMIT 5
SELECT device, service, count(*) FROM sessions GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
SELECT coalesce(customer_id, '-') AS who, max(started_at) FROM sessions GROUP BY who ORDER BY ALL
SELECT DISTINCT device, service FROM sessions ORDER BY device, service
SELECT try_cast('x' AS date), try_cast('2026-01-01' AS date)
SELECT TRY(1 // 0), TRY(CAST('x' AS integer))
SELECT age FROM (SELECT 3 AS age)
SELECT list_transform(list_zip([1, 2], ['a', 'b']), lambda p: p[1])
SELECT list_reduce([1, 2, 3], lambda a, b: a * b, 10)
SELECT struct_extract(s, 'device') FROM sessions AS s
SELECT s.device FROM (SELECT sessions AS s FROM sessions)
SELECT unnest({'a': 1, 'b': 2})
SELECT unnest([{'a': 1}, {'a': 2}], recursive := true)
SELECT t.x.a FROM (SELECT {'a': 1} AS x) AS t
SELECT map_from_entries([('a', 1)]), map_extract(map {'a': 1}, 'a'), element_at(map {'a': 1}, 'a')
SELECT greatest(1, 2, NULL), least('a', 'b')
SELECT 10 % 3, -7 // 2, 7.5 % 2, 1e10::bigint
SELECT INTERVAL 1 DAY + INTERVAL '2:30', to_minutes(90), INTERVAL (3) HOURS
SELECT current_week FROM (SELECT 1 AS current_week)
SELECT strptime('2026/01/05', ['%Y-%m-%d', '%Y/%m/%d'])
SELECT date '2026-01-05' + 3, date '2026-01-05' - date '2026-01-01'
SELECT make_date(2026, 1, 5), make_time(1, 2, 3), make_timestamp(2026, 1, 5, 1, 2, 3)
SELECT epoch_ms(started_at), to_timestamp(0) AT TIME ZONE 'UTC', isoyear(started_at), yearweek(started_at), weekday(started_at) FROM sessions
SELECT extract(epoch FROM started_at), extract(isodow FROM started_at), date_trunc('quarter', started_at) FROM sessions
SELECT count(*) FROM (SELECT 1 FROM sessions LIMIT 3)
SELECT * FROM (FROM sessions ORDER BY session_id LIMIT 3) ORDER BY session_id
SELECT count(*) FROM sessions, orders
SELECT a.x, b.y FROM (VALUES (1), (2)) AS a(x) JOIN (VALUES (1, 'p')) AS b(x, y) ON a.x = b.x
SELECT * FROM (SELECT device, pages FROM sessions) AS t(d, p) WHERE p > 3
SELECT grouping(device, service) AS g, device, service, count(*) FROM sessions GROUP BY ROLLUP (device, service)
SELECT session_id FROM sessions WHERE lower(device) LIKE '%hon%' AND length(service) BETWEEN 3 AND 5
SELECT bit_count(5), 5 & 3, 5 | 3, xor(5, 3), 1 << 3
SELECT round(123.456, 1), round(123.456, -1), round_even(2.5, 0), ceil(1.2), trunc(1.7)
SELECT isnan('nan'::double), isinf('inf'::double), 0.1 + 0.2, 1 / 3
SELECT 'abc'[1], 'abc'[1:2], 'abc'[-1]
SELECT 'a' || 1 || NULL, concat('a', 1, NULL)
SELECT ascii('a'), chr(97), unicode('あ'), ord('a'), strlen('あ'), length('あ'), length_grapheme('が')
SELECT list_value(1, 2), list_pack(1, 2), array_cat([1], [2]), list_intersect([1, 2], [2]), array_unique([1, 1]), list_unique([1, 1])
SELECT len(list_filter([1, 2, 3], lambda x: x % 2 = 1))
SELECT pages AS p, p * 2 AS q FROM sessions
SELECT pages AS p FROM sessions WHERE p > 3
SELECT sum(pages) AS total FROM sessions HAVING total > 1
SELECT max_by(session_id, pages), min_by(session_id, pages), max(pages, 2), min(pages, 2), arg_max(session_id, pages, 2) IS NOT NULL FROM sessions
SELECT * FROM sessions WHERE (device, pages) IN (SELECT device, max(pages) FROM sessions GROUP BY device)
SELECT x FROM range(5) AS t(x) WHERE x NOT IN (1, 2) EXCEPT SELECT 3
SELECT nullif(trim(' a '), ''), ltrim('xxa', 'x'), rtrim('axx', 'x'), trim('xax', 'x')
SELECT regexp_matches('abc', 'B', 'i'), regexp_extract_all('a1b2', '\d'), regexp_full_match('abc', 'a.*'), regexp_escape('a.b')
SELECT left('abc', -1), right('abc', 2), substring('abcdef', 2, 3), 'abc'.upper()
SELECT percent_rank() OVER (ORDER BY pages), cume_dist() OVER (ORDER BY pages), ntile(4) OVER (ORDER BY session_id) FROM sessions
SELECT seconds, fill(pages) OVER (ORDER BY seconds) AS f FROM sessions
SELECT sum(pages) OVER (PARTITION BY device ORDER BY session_id) AS s, count(*) OVER (PARTITION BY device) AS n FROM sessions QUALIFY n > 3
SELECT unpivoted.* FROM (SELECT unnest([{'k': 'pages', 'v': pages}, {'k': 'seconds', 'v': seconds}], recursive := true) FROM sessions) AS unpivoted
SELECT session_id, rank() OVER (PARTITION BY device ORDER BY pages DESC, session_id) AS r FROM sessions QUALIFY r <= 2
SELECT date_trunc('week', started_at)::date AS week, device, count(*) AS n FROM sessions GROUP BY ALL ORDER BY ALL
SELECT * FROM sessions ANTI JOIN orders ON sessions.customer_id = orders.customer_id
SELECT s.session_id, o.order_id FROM sessions s INNER JOIN orders o ON o.customer_id = s.customer_id AND o.ordered_at BETWEEN s.started_at AND s.started_at + INTERVAL 7 DAYS
