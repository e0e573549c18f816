"""What is understood of a row: every construct of WHERE, in its many spellings, with literals of the right type."""

from __future__ import annotations

import pytest
from support.reading_kit import asked, refused, shown

from kaianalytics.privacy.expressions.operations import MAX_DEPTH


def where(condition: str) -> str:
    return shown(asked(f"SELECT count(*) FROM orders WHERE {condition}").where)


@pytest.mark.parametrize(
    ("condition", "read"),
    [
        # comparisons
        ("channel = 'web'", "(= channel 'web')"),
        ("'web' <> Channel", "(<> channel 'web')"),
        ("5 < quantity", "(> quantity 5)"),
        ("5 >= quantity", "(<= quantity 5)"),
        ("quantity == -1_000", "(= quantity -1000)"),
        ("quantity <= change", "(<= quantity change)"),
        ("channel IS DISTINCT FROM 'web'", "(is distinct from channel 'web')"),
        ("channel IS NOT DISTINCT FROM NULL", "(is not distinct from channel NULL)"),
        ("amount >= 2", "(>= amount 2)"),
        ("amount <= 1.5e1", "(<= amount 15)"),
        ("quantity > 2.5", "(> quantity 2.5)"),
        ("quantity > 2.0", "(> quantity 2)"),
        ("day = '2026-01-01'", "(= day 2026-01-01)"),
        ("day < DATE '2026-01-01'", "(< day 2026-01-01)"),
        ("day < CAST('2026-01-01' AS date)", "(< day 2026-01-01)"),
        ("day < TIMESTAMP '2026-01-01 00:00:00'", "(< day 2026-01-01)"),
        ("day < TIMESTAMP '2026-01-01 10:00:00'", "(< day 2026-01-01 10:00:00)"),
        ("ordered_at < '2026-01-01'", "(< ordered_at 2026-01-01 00:00:00)"),
        ("ordered_at < DATE '2026-01-01'", "(< ordered_at 2026-01-01 00:00:00)"),
        ("ordered_at < TIMESTAMP '2026-01-01 10:20:30.5'", "(< ordered_at 2026-01-01 10:20:30.500000)"),
        ("ordered_at < '2026-01-01T10:20'::TIMESTAMP", "(< ordered_at 2026-01-01 10:20:00)"),
        ("ordered_at > day", "(> ordered_at day)"),
        # logic
        ("gift", "gift"),
        ("gift = false", "(= gift False)"),
        ("gift IS TRUE", "(is not distinct from gift True)"),
        ("gift IS NOT FALSE", "(is distinct from gift False)"),
        ("true", "True"),
        ("1 = 1", "True"),
        ("NOT gift AND (amount > 5 OR city = 'Y')", "(and (not gift) (or (> amount 5) (= city 'Y')))"),
        ("channel IN ('web', 'store')", "(in channel 'web' 'store')"),
        ("quantity NOT IN (1, 2)", "(not (in quantity 1 2))"),
        ("day IN ('2026-01-01')", "(in day 2026-01-01)"),
        ("quantity BETWEEN 1 AND 5", "(and (>= quantity 1) (<= quantity 5))"),
        ("amount NOT BETWEEN 1 AND 5", "(not (and (>= amount 1) (<= amount 5)))"),
        ("city IS NULL", "(is_null city)"),
        ("city IS NOT NULL", "(not (is_null city))"),
        ("city LIKE 'Y%'", "(like city 'Y%')"),
        ("city NOT ILIKE '%o_'", "(not (ilike city '%o_'))"),
        # choices
        ("CASE WHEN gift THEN 1 ELSE 2 END = 1", "(= (case gift 1 2) 1)"),
        ("CASE quantity WHEN 1 THEN 'one' END = 'one'", "(= (case (= quantity 1) 'one' NULL) 'one')"),
        ("CASE WHEN gift THEN day ELSE '2026-01-01' END = day", "(= (case gift day 2026-01-01) day)"),
        ("if(gift, amount, 0) > 5", "(> (case gift amount 0) 5)"),
        ("coalesce(city, 'none') = 'none'", "(= (coalesce city 'none') 'none')"),
        ("ifnull(raw, 0) > 5", "(> (coalesce raw 0) 5)"),
        ("nullif(quantity, 0) > 5", "(> (nullif quantity 0) 5)"),
        ("least(amount, 5) < greatest(raw, quantity)", "(< (least amount 5) (greatest raw quantity))"),
        # numbers
        ("amount + quantity * 2 > 5", "(> (+ amount (* quantity 2)) 5)"),
        ("-quantity > -5", "(> (negate quantity) -5)"),
        ("+quantity > 5", "(> quantity 5)"),
        ("amount / 3 > 1", "(> (/ amount 3) 1)"),
        ("quantity // 3 > 1", "(> (// quantity 3) 1)"),
        ("quantity % 3 = mod(change, 2)", "(= (% quantity 3) (% change 2))"),
        ("abs(change) > @change", "(> (abs change) (abs change))"),
        ("floor(amount) = ceil(amount)", "(= (floor amount) (ceil amount))"),
        ("round(amount) = round(amount, 1)", "(= (round amount) (round amount 1))"),
        ("sqrt(raw) > ln(raw) + exp(raw)", "(> (sqrt raw) (+ (ln raw) (exp raw)))"),
        ("pow(raw, 2) > raw ** 2", "(> (power raw 2) (power raw 2))"),
        ("width_bucket(amount, 0, 10.5, 5) = 1", "(= (width_bucket amount 0 10.5 5) 1)"),
        # texts
        ("lower(city) = upper(city)", "(= (lower city) (upper city))"),
        ("length(city) > 5", "(> (length city) 5)"),
        ("left(city, 2) = right(city, -2)", "(= (left city 2) (right city -2))"),
        ("substr(city, 2) = substring(city FROM 1 FOR 2)", "(= (substr city 2) (substr city 1 2))"),
        ("trim(city) = ''", "(= (trim city) '')"),
        ("starts_with(city, 'Y') OR city ^@ 'Z'", "(or (starts_with city 'Y') (starts_with city 'Z'))"),
        ("ends_with(city, 'a') AND contains(city, 'b')", "(and (ends_with city 'a') (contains city 'b'))"),
        ("city || '-' || channel = 'a'", "(= (|| (|| city '-') channel) 'a')"),
        ("concat(city, '-', channel) = 'a'", "(= (concat city '-' channel) 'a')"),
        # dates
        ("date_trunc('MONTH', day) = '2026-01-01'", "(= (date_trunc 'month' day) 2026-01-01)"),
        ("year(day) = 2026 AND month(day) = 1", "(and (= (date_part 'year' day) 2026) (= (date_part 'month' day) 1))"),
        ("extract(dow FROM ordered_at) = 0", "(= (date_part 'dayofweek' ordered_at) 0)"),
        ("date_part('doy', day) = 1", "(= (date_part 'dayofyear' day) 1)"),
        ("date_diff('days', day, sent) > 3", "(> (date_diff 'day' day sent) 3)"),
        ("datediff('day', '2026-01-01', sent) > 3", "(> (date_diff 'day' 2026-01-01 sent) 3)"),
        ("sent - day > 3", "(> (date_diff 'day' day sent) 3)"),
        ("day + 7 > sent", "(> (date_add day 0 7 0) sent)"),
        ("day - 7 > sent", "(> (date_add day 0 -7 0) sent)"),
        ("day + INTERVAL 1 MONTH > sent", "(> (date_add day 1 0 0) sent)"),
        ("day - INTERVAL '2' YEARS > sent", "(> (date_add day -24 0 0) sent)"),
        ("day + INTERVAL '1 week 2 days' > sent", "(> (date_add day 0 9 0) sent)"),
        ("ordered_at - INTERVAL 90 MINUTES > day", "(> (date_add ordered_at 0 0 -5400000000) day)"),
        # casts
        ("CAST(quantity AS DOUBLE) > 5", "(> (to_number quantity) 5)"),
        ("TRY_CAST(gift AS INTEGER) = 1", "(= (to_integer gift) 1)"),
        ("CAST(floor(raw) AS BIGINT) = 1", "(= (to_integer (floor raw)) 1)"),
        ("quantity::VARCHAR = '5'", "(= (to_text quantity) '5')"),
        ("ordered_at::DATE = day", "(= (to_date ordered_at) day)"),
        ("day::TIMESTAMP = ordered_at", "(= (to_timestamp day) ordered_at)"),
        # constants are calculated here, exactly
        ("amount BETWEEN .06 - 0.01 AND .06 + 0.01", "(and (>= amount 0.05) (<= amount 0.07))"),
        ("day >= DATE '1998-12-01' - INTERVAL '90' DAY", "(>= day 1998-09-02)"),
        ("amount > 2 * 3 + 1", "(> amount 7)"),
        ("amount > sqrt(16)", "(> amount 4.0)"),
        ("quantity > 7 // 2", "(> quantity 3)"),
        ("city = lower('ABC')", "(= city 'abc')"),
        # names
        ("orders.city = 'Y'", "(= city 'Y')"),
        ('"A b" = $$Y$$', "(= A b 'Y')"),
    ],
)
def test_what_is_understood_of_a_row(condition: str, read: str) -> None:
    assert where(condition) == read


@pytest.mark.parametrize(
    "condition",
    [
        "quantity = 'five'",
        "quantity = true",
        "gift = 1",
        "channel = 5",
        "channel IN ('web', 5)",
        "day = 'yesterday'",
        "day = '2026-02-30'",
        "day = '2026-1-1'",
        "day = '２０２６-01-01'",
        "day IN ('2026-01-01', '1')",
        "ordered_at = '2026-01-01 10:20:30+09'",
        "ordered_at = 'infinity'",
        "length(city) = 'a'",
        "city",
        "quantity",
    ],
)
def test_a_literal_of_another_type_is_refused(condition: str) -> None:
    assert refused(f"SELECT count(*) FROM orders WHERE {condition}").code == "FILTER_TYPE"


@pytest.mark.parametrize(
    "condition",
    [
        "quantity + 'a' > 5",
        "city + 1 > 5",
        "amount // 2 > 1",
        "amount % 'a' > 1",
        "gift + 1 > 0",
        "city > amount",
        "gift = quantity",
        "day > quantity",
        "lower(quantity) = 'a'",
        "abs(city) > 1",
        "round(amount, quantity) > 1",
        "round(amount, -1) > 1",
        "round(amount, 99) > 1",
        "left(city, quantity) = 'a'",
        "left(city, -99999999999) = 'a'",
        "substr(city, 99999) = 'a'",
        "trim(city, 'a') = 'a'",
        "city LIKE channel",
        "width_bucket(amount, 10, 0, 5) = 1",
        "width_bucket(amount, 0, 10, quantity) = 1",
        "width_bucket(amount, 0, 10, 0) = 1",
        "width_bucket(amount, 0, 10, 99999999) = 1",
        "width_bucket(amount, -1e308, 1e308, 5) = 1",
        "date_trunc('hour', day) = day",
        "date_trunc('century', day) = day",
        "date_trunc(city, day) = day",
        "date_part('epoch', day) = 1",
        "date_diff('day', city, day) = 1",
        "ordered_at - ordered_at > 3",
        "day + INTERVAL 9999999 MONTH > sent",
        "city + INTERVAL 1 DAY = sent",
        "CAST(amount AS INTEGER) = 1",
        "CAST(city AS DOUBLE) = 1",
        "CAST(raw AS VARCHAR) = '1'",
        "CAST(city AS DATE) = day",
        "coalesce(city, gift) = 'a'",
        "CASE WHEN city THEN 1 ELSE 2 END = 1",
        "nullif(quantity, raw) > 1",
        "NOT city",
        "gift AND city",
    ],
)
def test_operations_take_their_own_types_alone(condition: str) -> None:
    refusal = refused(f"SELECT count(*) FROM orders WHERE {condition}")
    assert refusal.code in ("EXPRESSION_TYPE", "FILTER_TYPE"), refusal.message


def test_depth_is_limited_before_python_is() -> None:
    def nested(levels: int) -> str:
        return "gift = " + "(NOT " * levels + "gift" + ")" * levels

    assert where(nested(MAX_DEPTH - 2)).count("not") == MAX_DEPTH - 2
    for levels in (MAX_DEPTH, 60, 190):
        assert refused(f"SELECT count(*) FROM orders WHERE {nested(levels)}").code == "EXPRESSION_TOO_DEEP"


def test_long_conditions_are_no_deep_ones() -> None:
    many = " OR ".join(f"(quantity = {number} AND amount > {number})" for number in range(1_000))
    assert where(many).count("quantity") == 1_000
    numbers = ", ".join(map(str, range(5_000)))
    assert where(f"quantity IN ({numbers})").count(" ") == 5_001


def test_size_is_limited_where_subqueries_copy_an_expression() -> None:
    doubled = "WITH a0 AS (SELECT quantity AS q FROM orders)"
    for number in range(1, 10):
        doubled += f", a{number} AS (SELECT q + q * q + q * q * q AS q FROM a{number - 1})"
    assert refused(f"{doubled} SELECT count(*) FROM a9 WHERE q > 1").code == "EXPRESSION_TOO_LARGE"
