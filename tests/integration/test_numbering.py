"""Statistics stores number units and rows: by each unit's own rows alone, within the bound, in the windows they say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from support import small_world
from support.small_world import KEEP, PEOPLE, World, column, names, visit

from kaianalytics.errors import BuildFault
from kaianalytics.policy.contract import ColumnRule, WindowRule
from kaianalytics.privacy.unit import ContributionBounds
from kaianalytics.warehouse.builder import build
from kaianalytics.warehouse.pseudonyms import demand_distinct
from kaianalytics.warehouse.published import current
from kaianalytics.warehouse.verification import StoreExpectation, verify
from kaianalytics.warehouse.workshop import PAST_ROWS, Room, Workshop, opened_workshop

ADS = [unit for unit, *_, why in PEOPLE if why is None]
CONTENT = 'kai_unit, visit, invited, "at", minutes, paid, area, page'


def many_visits(turns: int = 9) -> list[dict[str, Any]]:
    """As many visits of each person in the months of one autumn."""
    return [
        visit(f"V-{place:03d}-{turn}", unit, month=9 + turn % 2, day=1 + place, minutes=turn, invited="P-000002")
        for place, (unit, *_) in enumerate(PEOPLE)
        for turn in range(turns)
    ]


def of_two_years() -> list[dict[str, Any]]:
    """The same, every other one a year later."""
    visits = many_visits()
    return [{**each, "at": each["at"].replace(year=2026 + turn % 2)} for turn, each in enumerate(visits)]


def world_of(root: Path, visits: Sequence[dict[str, Any]] | None = None, **facts: Any) -> World:
    """A world with these visits, whose contract is changed by `facts`."""
    world = World.create(root)
    world.change("visits", **facts)
    world.write("visits", list(visits or many_visits()))
    return world


def stored(world: World, sql: str) -> list[tuple[Any, ...]]:
    """What the statistics store of `ads` answers once it is built."""
    build(world.order())
    return small_world.read(current(world.stores).store_path("ads", "statistics"), sql)


def numbers(purpose: str, domain: str, values: Sequence[str]) -> set[int]:
    return {int(name[:16], 16) for name in names(purpose, domain, values)}


# --- what is stored ---------------------------------------------------------------------------------------------------


def test_keys_are_the_first_64_bits_of_their_pseudonyms(tmp_path: Path) -> None:
    rows = stored(world_of(tmp_path), "SELECT kai_unit, visit, invited FROM visits")
    assert {unit for unit, _, _ in rows} == numbers("ads", "person", ADS)
    mine = [each["visit"] for each in many_visits() if each["person"] in ADS]
    assert {key for _, key, _ in rows} == numbers("ads", "visit", mine)
    assert {invited for _, _, invited in rows} == numbers("ads", "person", ["P-000002"])


def test_ranks_are_the_order_of_a_hash_of_what_each_row_holds(tmp_path: Path) -> None:
    """Reckoned again in Python: each unit's rows, sorted by the engine's hash of their stored content."""
    rows = stored(world_of(tmp_path), f"SELECT kai_unit, kai_rank, hash({CONTENT}) FROM visits ORDER BY rowid")
    assert [unit for unit, _, _ in rows] == sorted(unit for unit, _, _ in rows)
    by_unit = defaultdict(list)
    for unit, rank, hashed in rows:
        by_unit[unit].append((hashed, rank))
    assert len(by_unit) == len(ADS)
    for ranked in by_unit.values():
        assert [rank for _, rank in sorted(ranked)] == list(range(1, 10)) == [rank for _, rank in ranked]


def test_the_hash_is_a_fair_choice_and_not_the_order_of_a_value(tmp_path: Path) -> None:
    world = world_of(tmp_path, columns=with_minutes_kept())
    first = stored(world, "SELECT minutes FROM visits WHERE kai_rank = 1")
    assert len(first) == len(ADS) and len(set(first)) > 2


def with_minutes_kept() -> tuple[Any, ...]:
    visits = small_world.products()["visits"].columns
    return tuple(column("minutes", "integer", rule=KEEP) if c.name == "minutes" else c for c in visits)


def test_no_units_rank_follows_from_another_units_rows(tmp_path: Path) -> None:
    """Neighbouring sources: everyone's visits, and the visits of each of two people alone."""
    everyone = by_unit(stored(world_of(tmp_path / "all"), f"SELECT {CONTENT}, kai_rank FROM visits ORDER BY ALL"))
    for person in ("P-000001", "P-000014"):
        alone = [each for each in many_visits() if each["person"] == person]
        rows = by_unit(
            stored(world_of(tmp_path / person, alone), f"SELECT {CONTENT}, kai_rank FROM visits ORDER BY ALL")
        )
        ((unit, mine),) = rows.items()
        assert everyone[unit] == mine and len(mine) == 9


def by_unit(rows: Sequence[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


@pytest.mark.parametrize("bounds", [ContributionBounds(rows=4), ContributionBounds(2, 3, rows=4)])
def test_a_bound_on_rows_keeps_the_first_ranks_and_tells_the_steward(
    tmp_path: Path, bounds: ContributionBounds
) -> None:
    everything = stored(world_of(tmp_path / "all"), f"SELECT {CONTENT}, kai_rank FROM visits ORDER BY ALL")
    world = world_of(tmp_path / "bounded", contribution=bounds)
    kept = stored(world, f"SELECT {CONTENT}, kai_rank FROM visits ORDER BY ALL")
    assert kept == [row for row in everything if row[-1] <= 4] and len(kept) == 4 * len(ADS)
    summary = build(world.order())
    told = {each.access: each for each in summary.tables if (each.purpose, each.product) == ("ads", "visits")}
    assert told["statistics"].left_out[PAST_ROWS] == 5 * len(ADS) and told["statistics"].kept == 4 * len(ADS)
    assert PAST_ROWS not in told["rows"].left_out and told["rows"].kept == 9 * len(ADS)


def test_rows_that_are_the_same_row_twice_are_numbered_both(tmp_path: Path) -> None:
    twice = [visit("V-twice", "P-000001"), visit("V-twice", "P-000001"), visit("V-once", "P-000001")]
    facts = {"columns": tuple(replace(c, primary_key=False) for c in small_world.products()["visits"].columns)}
    assert stored(world_of(tmp_path, twice, **facts), "SELECT kai_rank FROM visits ORDER BY 1") == [(1,), (2,), (3,)]


def test_the_same_sources_make_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    one, two = world_of(tmp_path / "one"), world_of(tmp_path / "two", list(reversed(many_visits())))
    sql = f"SELECT {CONTENT}, kai_rank FROM visits ORDER BY rowid"
    assert stored(one, sql) == stored(two, sql)  # another order of the source is another build, of the same rows


def test_the_same_inputs_are_the_same_build_with_the_same_content(tmp_path: Path) -> None:
    one, two = (world_of(tmp_path / name) for name in ("one", "two"))
    assert build(one.order()).build_id == build(two.order()).build_id
    for product in ("visits", "people", "places", "profiles"):
        assert stored(one, f"FROM {product}") == stored(two, f"FROM {product}") != []


# --- windows ----------------------------------------------------------------------------------------------------------

LATE = (
    ("V-in-time", datetime(2026, 9, 30, 23, 59), datetime(2026, 9, 30, 23, 59), date(2026, 9, 1)),
    ("V-same-month", datetime(2026, 9, 2), datetime(2026, 9, 28), date(2026, 9, 1)),
    ("V-late", datetime(2026, 9, 30, 23, 59), datetime(2026, 10, 1), date(2026, 10, 1)),
    ("V-early", datetime(2026, 10, 1), datetime(2026, 9, 30), date(2026, 10, 1)),  # it came before it happened
)


def windowed(span: Any = "month", arrived: str | None = None) -> dict[str, Any]:
    """Visits with windows by their time, which is seen by the day."""
    columns = []
    for each in small_world.products()["visits"].columns:
        by_day = ColumnRule("generalise", "day")
        columns.append(replace(each, rules={"ads": by_day, "surveys": by_day}) if each.name == "at" else each)
    came = column("came", "timestamp", required=True)
    facts = {"minimum": "2026-07-01", "maximum": "2026-12-31"}
    columns = [replace(each, **facts) if each.name in ("at", "came") else each for each in (*columns, came)]
    return {"columns": tuple(columns), "windows": WindowRule("at", span, arrived)}


def late_visits() -> list[dict[str, Any]]:
    return [{**visit(name, "P-000001"), "at": at, "came": came} for name, at, came, _ in LATE]


def world_with_arrivals(root: Path, **facts: Any) -> World:
    world = World.create(root)
    world.change("visits", **{**windowed(), **facts})
    return world


def written(world: World, visits: list[dict[str, Any]]) -> World:
    world.write("visits", visits, came=pa.timestamp("us"))
    return world


@pytest.mark.parametrize("arrived", [None, "came"])
def test_a_row_lies_in_the_window_of_its_event_or_of_its_later_arrival(tmp_path: Path, arrived: str | None) -> None:
    world = written(world_with_arrivals(tmp_path, windows=WindowRule("at", "month", arrived)), late_visits())
    found = dict(stored(world, "SELECT visit, kai_window FROM visits"))
    for name, at, _, late in LATE:
        (key,) = numbers("ads", "visit", [name])
        assert found[key] == (late if arrived else at.date().replace(day=1)), name


@pytest.mark.parametrize(
    ("span", "first"),
    [
        ("week", date(2026, 9, 28)),
        ("month", date(2026, 9, 1)),
        ("quarter", date(2026, 7, 1)),
        ("year", date(2026, 1, 1)),
    ],
)
def test_windows_of_every_span_begin_on_their_first_day(tmp_path: Path, span: Any, first: date) -> None:
    world = written(world_with_arrivals(tmp_path, windows=WindowRule("at", span)), late_visits()[:1])
    assert stored(world, "SELECT kai_window FROM visits") == [(first,)]


def test_rows_are_ranked_and_bounded_within_each_window(tmp_path: Path) -> None:
    visits = [{**each, "came": each["at"]} for each in many_visits()]
    world = written(world_with_arrivals(tmp_path, contribution=ContributionBounds(rows=3)), visits)
    ranks = stored(world, "SELECT kai_unit, kai_window, list(kai_rank ORDER BY rowid) FROM visits GROUP BY ALL")
    assert len(ranks) == 2 * len(ADS) and all(listed == [1, 2, 3] for *_, listed in ranks)
    lying = stored(world, "SELECT kai_unit, kai_window, kai_rank FROM visits ORDER BY rowid")
    assert lying == sorted(lying)


def test_rows_lie_by_the_year_of_their_first_date_and_then_by_unit(tmp_path: Path) -> None:
    rows = stored(
        world_of(tmp_path, of_two_years()), 'SELECT year("at"), kai_unit, kai_rank FROM visits ORDER BY rowid'
    )
    assert {year for year, *_ in rows} == {2026, 2027} and rows == sorted(rows)


def test_numbers_are_stored_as_doubles(tmp_path: Path) -> None:
    assert stored(world_of(tmp_path), "SELECT DISTINCT typeof(paid) FROM visits") == [("DOUBLE",)]


def test_the_day_of_the_build_moves_no_window(tmp_path: Path) -> None:
    world = written(world_with_arrivals(tmp_path), late_visits())
    sql = "SELECT visit, kai_window, kai_rank FROM visits ORDER BY ALL"
    before = stored(world, sql)
    build(world.order(as_of=date(2026, 11, 20)))
    assert before == small_world.read(current(world.stores).store_path("ads", "statistics"), sql)


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_primary_key_that_stands_twice_publishes_nothing(tmp_path: Path) -> None:
    data = small_world.rows()
    data["places"].append({"place": "hall", "size": 7})
    world = World.create(tmp_path, data)
    with pytest.raises(BuildFault, match="`places` has a primary key, `place`, that stands in two rows"):
        build(world.order())
    assert not (world.stores / "current.json").exists()


def test_a_key_of_several_columns_makes_none_of_them_unique(tmp_path: Path) -> None:
    data = small_world.rows()
    data["places"].append({"place": "hall", "size": 7})
    world = World.create(tmp_path, data)
    world.change("places", columns=tuple(replace(c, primary_key=True) for c in world.contracts["places"].columns))
    assert build(world.order()).outcome == "published"


def test_two_pseudonyms_with_one_number_publish_nothing() -> None:
    with duckdb.connect() as con:
        con.execute('CREATE TABLE "pseudonyms of people" (raw VARCHAR, pseudonym VARCHAR)')
        con.execute(f"INSERT INTO \"pseudonyms of people\" VALUES ('a', '{'0' * 32}'), ('b', '{'1' * 32}')")
        demand_distinct(con, "pseudonyms of people", "person")
        con.execute(f"INSERT INTO \"pseudonyms of people\" VALUES ('c', '{'1' * 16}{'2' * 16}')")
        with pytest.raises(BuildFault) as caught:
            demand_distinct(con, "pseudonyms of people", "person")
    assert caught.value.code == "PSEUDONYMS_MEET"


@dataclass
class Bench:
    """A written statistics store that is not verified yet, and what it is expected to be."""

    shop: Workshop
    file: Path
    expected: StoreExpectation

    def tamper(self, *statements: str) -> None:
        with duckdb.connect(str(self.file)) as con:
            for statement in statements:
                con.execute(statement)
        self.file.chmod(0o600)

    def findings(self) -> str:
        with pytest.raises(BuildFault) as caught:
            verify(self.shop.con, self.file, self.expected)
        return caught.value.message


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The statistics store of `ads`, with windows and a bound on rows, as the builder's own parts write it."""
    visits = [{**each, "came": each["at"]} for each in of_two_years()]
    world = written(world_with_arrivals(tmp_path, contribution=ContributionBounds(rows=3)), visits)
    order = world.order()
    plans = order.by_purpose["ads"]
    plan = next(plan for plan in plans if plan.access == "statistics")
    with opened_workshop(
        order.products, order.purposes, order.sources, order.as_of, order.pseudonym_key, tmp_path / "spill", Room()
    ) as shop:
        shop.open_sources(order.plans)
        recipes = {p: r for (access, p), r in shop.recipes("ads", plans).items() if access == "statistics"}
        rows = {product: shop.count(recipe)[None] for product, recipe in recipes.items()}
        shop.write_store(tmp_path / "store.duckdb", recipes, lambda product: None)
        yield Bench(shop, tmp_path / "store.duckdb", shop.expectation(plan, recipes, rows))


def test_a_statistics_store_as_planned_passes(bench: Bench) -> None:
    verify(bench.shop.con, bench.file, bench.expected)


ANEW = 'CREATE OR REPLACE TABLE visits AS SELECT * {} FROM visits ORDER BY year("at"), kai_unit, kai_window, kai_rank'
RANK = "REPLACE (row_number() OVER ({})::INTEGER AS kai_rank)"
FAULTS = {
    "ranks across units": (ANEW.format(RANK.format("ORDER BY kai_unit, kai_window")), "ranks that are not those"),
    "ranks across windows": (
        ANEW.format(RANK.format("PARTITION BY kai_unit ORDER BY kai_window, kai_rank")), "ranks that are not those",
    ),
    "ranks in the order of a value": (
        ANEW.format(RANK.format("PARTITION BY kai_unit, kai_window ORDER BY visit")), "ranks that are not those",
    ),
    "a rank past the bound": ("UPDATE visits SET kai_rank = 4 WHERE kai_rank = 3", "ranks that are not those"),
    "a rank from nought": ("UPDATE visits SET kai_rank = kai_rank - 1", "ranks that are not those"),
    "a rank that is missing": ("UPDATE visits SET kai_rank = NULL WHERE rowid = 3", "ranks that are not those"),
    "the window of the build's day": (
        "UPDATE visits SET kai_window = DATE '2026-11-01'", "than the sources' times say",
    ),
    "windows exchanged": (
        "UPDATE visits SET kai_window = make_date(2026, 19 - month(kai_window), 1)", "windows that are none",
    ),
    "a window in the middle of a month": (
        "UPDATE visits SET kai_window = kai_window + 1", "than the sources' times say",
    ),
    "a unit's rows given to another": (
        "UPDATE visits SET kai_unit = (SELECT max(kai_unit) FROM visits)"
        " WHERE kai_unit = (SELECT min(kai_unit) FROM visits)",
        "other units than were counted",
    ),
    "a unit that is not permitted": (
        f"UPDATE visits SET kai_unit = {min(numbers('ads', 'person', ['P-000003']))}"
        " WHERE kai_unit = (SELECT min(kai_unit) FROM visits)",
        "column `person` of `visits` holds pseudonyms that are not permitted",
    ),
    "a unit that is missing": (
        "UPDATE visits SET kai_unit = NULL WHERE rowid = 0", "column `person` of `visits` is missing values",
    ),
    "a key that is not permitted": (
        "UPDATE visits SET visit = 7 WHERE rowid = 0", "column `visit` of `visits` holds pseudonyms",
    ),
    "the source's order": (
        "CREATE OR REPLACE TABLE visits AS FROM visits ORDER BY visit", "does not lie in the order of its units",
    ),
    "the order of years broken": (
        "CREATE OR REPLACE TABLE visits AS FROM visits ORDER BY year(\"at\") DESC, kai_unit, kai_rank",
        "does not lie in the order of its units",
    ),
    "a pseudonym beside its number": (
        "ALTER TABLE visits ADD COLUMN person VARCHAR", "`visits` has other columns than its plan",
    ),
    "a pseudonym as text": ("ALTER TABLE visits ALTER visit TYPE VARCHAR", "`visits` has other columns than its plan"),
    "no ranks": ("ALTER TABLE visits DROP COLUMN kai_rank", "`visits` has other columns than its plan"),
    "a primary key twice": (
        "UPDATE visits SET visit = (SELECT max(visit) FROM visits) WHERE rowid = 0", "stands in two rows",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_numbers_is_found(bench: Bench, fault: str) -> None:
    statement, finding = FAULTS[fault]
    bench.tamper(statement)
    assert finding in bench.findings()
