"""The functions, operators, types and collations an analyst's statement may use, by family, each with its reason.

The rule is an allow-list: a name that stands nowhere here is refused, whatever DuckDB thinks of it. A family is here
because its members read their arguments and nothing else: no file, no catalog, no setting, no clock, no random source,
and no text that the engine would run as SQL. Long scalar calls and large results are not the guard's affair: the
pool's deadline and the worker's memory limit end them.

`REFUSED` lists families that people ask for, so that the refusal can say why and what to do instead. It decides
nothing: a name in neither table is refused as well.

`python -m kaianalytics.gateway.guard.allowed` writes the reference page.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from kaianalytics.gateway.guard.grammar import EXPRESSIONS, QUERIES, TABLES, Kind


@dataclass(frozen=True)
class Family:
    """Functions that stand or fall together, and why."""

    title: str
    reason: str
    names: frozenset[str]


def _family(title: str, reason: str, names: str) -> Family:
    return Family(title, reason, frozenset(names.split()))


AGGREGATES = _family(
    "aggregates",
    "fold the rows of the query itself; `reservoir_quantile` is out: it can invalidate a whole instance",
    """any_value approx_count_distinct approx_quantile arbitrary arg_max arg_max_null arg_min arg_min_null argmax argmin
    array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count count_if count_star countif covar_pop covar_samp
    entropy favg first fsum geomean geometric_mean group_concat histogram kahan_sum kurtosis kurtosis_pop last list
    listagg mad max max_by mean median min min_by mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy
    regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy sem skewness stddev stddev_pop stddev_samp
    string_agg sum sumkahan var_pop var_samp variance wavg weighted_avg""",
)
WINDOWS = _family(
    "window functions",
    "look at neighbouring rows of the query itself",
    """cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank rank_dense
    row_number""",
)
OPERATORS = _family(
    "operators",
    "arithmetic, bits, text matching and lists; admitted only where written as operators, never as quoted functions, "
    "which the engine does not type-check as well",
    "+ - * / // % ** ^ || & | << >> ~ @ ~~ !~~ ~~* !~~* ~~~ ^@ && @> <@",
)
CONDITIONALS = _family(
    "conditionals",
    "choose between their arguments (`CASE`, `coalesce`, `ifnull` are syntax)",
    "greatest if least nullif",
)
TEXTS = _family(
    "text",
    "compute on the text they are given; `format`, `printf`, `repeat` and `bar` are out: a few letters of them make "
    "gigabytes",
    """ascii bit_length char_length character_length chr concat concat_ws contains damerau_levenshtein editdist3
    ends_with hamming ilike_escape instr jaccard jaro_similarity jaro_winkler_similarity lcase left left_grapheme length
    length_grapheme levenshtein like_escape lower lpad ltrim md5 mismatches nfc_normalize not_ilike_escape
    not_like_escape octet_length ord overlay position prefix regexp_escape regexp_extract regexp_extract_all
    regexp_full_match regexp_matches regexp_replace regexp_split_to_array replace reverse right right_grapheme rpad
    rtrim sha1 sha256 split split_part starts_with str_split str_split_regex string_split string_split_regex
    string_to_array strip_accents strlen strpos substr substring substring_grapheme suffix translate trim
    ucase unicode upper""",
)
NUMBERS = _family(
    "numbers",
    "arithmetic on their arguments",
    """abs acos acosh asin asinh atan atan2 atanh bit_count cbrt ceil ceiling cos cosh cot degrees even exp factorial
    fdiv floor fmod gamma gcd greatest_common_divisor isfinite isinf isnan lcm least_common_multiple lgamma ln log log10
    log2 mod nextafter pi pow power radians round round_even roundbankers sign signbit sin sinh sqrt tan tanh trunc
    xor""",
)
TIMES = _family(
    "dates and times",
    "take dates and times apart and put them together; `age` is out: with one argument it reads the clock",
    """century date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname
    dayofmonth dayofweek dayofyear days_in_month decade epoch epoch_ms epoch_ns epoch_us hour isodow isoyear julian
    last_day make_date make_time make_timestamp microsecond millennium millisecond minute month monthname nanosecond
    quarter second strftime strptime time_bucket timezone timezone_hour timezone_minute to_centuries to_days to_decades
    to_hours to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp
    to_weeks to_years try_strptime week weekday weekofyear year yearweek""",
)
LISTS = _family(
    "lists, structs and maps",
    "build and read nested values; `list_aggregate` is out: it takes an aggregate's name as text",
    """apply array_append array_apply array_cat array_concat array_contains array_distinct array_extract array_filter
    array_has array_has_all array_has_any array_indexof array_intersect array_length array_position array_prepend
    array_reduce array_reverse array_reverse_sort array_slice array_sort array_to_string array_transform array_unique
    array_zip cardinality element_at filter flatten generate_series len list_any_value list_append list_apply list_avg
    list_bool_and list_bool_or list_cat list_concat list_contains list_count list_distinct list_element list_extract
    list_filter list_first list_has list_has_all list_has_any list_indexof list_intersect list_last list_max list_median
    list_min list_mode list_pack list_position list_prepend list_product list_reduce list_reverse list_reverse_sort
    list_slice list_sort list_stddev_pop list_stddev_samp list_sum list_transform list_unique list_value list_var_pop
    list_var_samp list_where list_zip map map_concat map_contains map_entries map_extract map_extract_value
    map_from_entries map_keys map_values range reduce row struct_concat struct_contains struct_extract struct_extract_at
    struct_insert struct_keys struct_pack struct_values unnest""",
)
TYPE_QUESTIONS = _family("types", "name the type of an expression, which is public", "typeof")

FAMILIES = (AGGREGATES, WINDOWS, OPERATORS, CONDITIONALS, TEXTS, NUMBERS, TIMES, LISTS, TYPE_QUESTIONS)
TABLE_CALLS = _family(
    "table functions",
    "make rows out of their arguments, for calendars and lists",
    "generate_series range unnest",
)

STATISTICS = _family(
    "statistics",
    "admitted for statistics alone, whose engine reads them and never hands them on: DuckDB has no `width_bucket`, and "
    "its `approx_top_k` names values that few units may have",
    "approx_top_k width_bucket",
)

FUNCTIONS: frozenset[str] = frozenset().union(*(family.names for family in FAMILIES))
STATISTICS_FUNCTIONS: frozenset[str] = STATISTICS.names
WINDOW_CALLS: frozenset[str] = AGGREGATES.names | WINDOWS.names

REFUSED = (
    _family(
        "clock and session",
        "an answer rests on a snapshot, not on the clock: write the date out, such as DATE '2026-10-31'",
        """age ago current_catalog current_database current_date current_localtime current_localtimestamp current_query
        current_role current_schema current_schemas current_setting current_time current_timestamp current_user
        get_current_time get_current_timestamp getvariable localtime localtimestamp now session_user today
        transaction_timestamp user version""",
    ),
    _family(
        "chance",
        "an answer must be the same when it is asked again: order by a column, or sample in Polars",
        "gen_random_uuid random reservoir_quantile setseed uuid uuidv4 uuidv7",
    ),
    _family(
        "files, other databases and SQL in text",
        "an analyst's statement reads the views of its purpose and nothing else: see `kai.datasets()`",
        """arrow_scan glob json_execute_serialized_sql json_serialize_sql pandas_scan parquet_metadata parquet_scan
        parquet_schema query query_table read_blob read_csv read_csv_auto read_duckdb read_json read_json_auto
        read_ndjson read_parquet read_text seq_scan sniff_csv""",
    ),
    _family(
        "the engine's own books",
        "storage statistics, catalog and settings show more than the views do: `kai.datasets()` lists what there is",
        """duckdb_columns duckdb_constraints duckdb_databases duckdb_functions duckdb_indexes duckdb_logs duckdb_memory
        duckdb_schemas duckdb_secrets duckdb_settings duckdb_tables duckdb_types duckdb_variables duckdb_views
        pragma_metadata_info pragma_storage_info pragma_table_info stats summary vector_type""",
    ),
    _family(
        "side effects and errors on purpose",
        "a query answers and changes nothing: use CASE and TRY_CAST for unwanted values",
        "assert_true currval error nextval pg_sleep setval sleep_ms write_log",
    ),
    _family(
        "amplifiers",
        "a few letters of them make gigabytes: shape text in Polars",
        "bar format printf repeat",
    ),
)

# Names that DuckDB resolves to a function although they are written like a column.
COLUMNS_THAT_ARE_CALLS = _family(
    "names that are calls",
    "the clock and the session, by SQL's own names for them",
    """current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime
    localtimestamp session_user user""",
).names

TYPES = _family(
    "types",
    "numbers, text, dates, times, and lists and structs of them",
    """array bigint bool boolean char date datetime dec decimal double float float4 float8 hugeint int int1 int16 int2
    int4 int8 integer interval list long map numeric real short signed smallint string struct text time timestamp
    timestamp_ms timestamp_ns timestamp_s timestamp_us timestamptz tinyint ubigint uhugeint uint16 uint32 uint64 uint8
    uinteger usmallint utinyint varchar""",
).names | {"timestamp with time zone"}

COLLATIONS: frozenset[str] = frozenset({"nocase", "noaccent", "nfc", "binary", "ja", "en", "zh", "zh_tw", "de"})


def why_refused(name: str) -> str:
    """What to do instead of a function that is not admitted."""
    for family in REFUSED:
        if name in family.names:
            return family.reason
    return "the admitted functions are listed in docs/reference/guard.md; anything else can be done in Polars"


def reference() -> str:
    """The reference page of the guard, from the tables that the guard itself uses."""
    lines = [
        "# What the guard admits",
        "",
        "<!-- Written by `python -m kaianalytics.gateway.guard.allowed`; a test compares. -->",
        "",
        "One `SELECT` statement over the views of the purpose, judged on DuckDB's own parse tree. What is not listed",
        "on this page is refused. Names are compared without regard to the case of A–Z.",
        "",
        "## Functions",
        "",
        "| family | functions | why |",
        "|---|---|---|",
        *(_row(family) for family in (*FAMILIES, TABLE_CALLS, STATISTICS)),
        "",
        "Functions are called by their plain name: `upper(device)`, not `device.upper()` or `main.upper(device)`.",
        "",
        "## Types a value may be cast to",
        "",
        _names(TYPES),
        "",
        "## Collations",
        "",
        _names(COLLATIONS),
        "",
        "## Parts of a statement",
        "",
        f"Queries: {_names(QUERIES)}",
        "",
        f"Tables: {_names(TABLES)}",
        "",
        f"Expressions: {_names(EXPRESSIONS)}",
        "",
        "Not admitted although part of such a node: " + _names(_unused()),
        "",
        "## Refused by name, and what to do instead",
        "",
        "| family | functions | what to do |",
        "|---|---|---|",
        *(_row(family) for family in REFUSED),
    ]
    return "\n".join(lines) + "\n"


def _row(family: Family) -> str:
    return f"| {family.title} | {_names(family.names)} | {family.reason} |"


def _names(names: frozenset[str] | set[str] | Mapping[str, object]) -> str:
    return " ".join(f"`{name}`".replace("|", "\\|") for name in sorted(names))


def _unused() -> set[str]:
    kinds = {**QUERIES, **TABLES, **EXPRESSIONS}
    return {
        f"{kind}.{name}"
        for kind, fields in kinds.items()
        for name, field in fields.items()
        if field.kind is Kind.UNUSED
    }


if __name__ == "__main__":
    sys.stdout.write(reference())
