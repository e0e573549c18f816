"""The builder, from files to published stores: what is in them, what is not, and what a source at fault does."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support import small_world
from support.small_world import AS_OF, CANARY, CONSENTING, EXCLUDED, NOW, PEOPLE, World, names, read

from kaianalytics.errors import BuildFault, SourceFault
from kaianalytics.gateway.workers.worker import open_store, set_stops
from kaianalytics.policy.contract import Basis
from kaianalytics.policy.secure_views import views_sql
from kaianalytics.warehouse.builder import build
from kaianalytics.warehouse.manifest import BuildSummary, TableSummary
from kaianalytics.warehouse.published import current, prune
from kaianalytics.warehouse.sources import read_schema

ADS = [unit for unit, *_, why in PEOPLE if why is None]
SURVEYS = [unit for unit, *_ in PEOPLE if unit not in {f"P-0000{n}" for n in ("07", "08", "09", "11", "12")}]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, BuildSummary]:
    """One built world that the reading tests share."""
    world = World.create(tmp_path_factory.mktemp("world"))
    return world, build(world.order())


def store(world: World, purpose: str = "ads", access: Any = "rows") -> Path:
    return current(world.stores).store_path(purpose, access)


def table(summary: BuildSummary, product: str, purpose: str = "ads") -> TableSummary:
    return next(t for t in summary.tables if (t.purpose, t.access, t.product) == (purpose, "rows", product))


# --- what is in a store -----------------------------------------------------------------------------------------------


def test_a_store_holds_exactly_the_units_whose_basis_holds(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    for purpose, units in (("ads", ADS), ("surveys", SURVEYS)):
        held = {name for (name,) in read(store(world, purpose), "SELECT person FROM people")}
        assert held == names(purpose, "person", units)
        numbers = {number for (number,) in read(store(world, purpose, "statistics"), "SELECT kai_unit FROM people")}
        assert numbers == {int(name[:16], 16) for name in held}


def test_prior_consent_needs_a_grant(built: tuple[World, BuildSummary]) -> None:
    world, summary = built
    assert read(store(world), "SELECT person FROM profiles") == [
        (name,) for name in names("ads", "person", [*CONSENTING])
    ]
    assert table(summary, "profiles").left_out["no consent"] == len(ADS) - len(CONSENTING)


def test_every_row_is_what_the_rules_make_of_its_source(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    visits = [v for v in small_world.visits() if v["person"] in ADS and v["visit"] not in ("V-too-old1", "V-with-007")]
    assert sorted(read(store(world), "SELECT * FROM visits"), key=str) == sorted(map(as_stored, visits), key=str)


def as_stored(visit: dict[str, Any]) -> tuple[Any, ...]:
    """The reference: the world's rules in plain Python."""
    (name,), (person,) = names("ads", "visit", [visit["visit"]]), names("ads", "person", [visit["person"]])
    invited = next(iter(names("ads", "person", [visit["invited"]]))) if visit["invited"] else None
    day, minutes = visit["at"].date(), visit["minutes"]
    band = None if minutes is None else "under 10" if minutes < 10 else "10 to 19" if minutes < 20 else "20 and over"
    return (name, person, invited, day - timedelta(days=day.weekday()), band, visit["paid"], "shi", visit["page"])


def test_masks_and_decades(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    assert set(read(store(world), "SELECT name, born FROM people")) == {
        ("***", date(1970, 1, 1)),
        ("***", date(1980, 1, 1)),
    }


def test_a_public_table_is_copied_whole(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    assert read(store(world), "FROM places ORDER BY size") == [("kept-in-public", 20), ("hall", 300)]


def test_two_purposes_share_no_pseudonym(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    ads, surveys = (
        {value for row in read(store(world, p), "SELECT visit, person FROM visits") for value in row}
        for p in ("ads", "surveys")
    )
    assert ads and surveys and not ads & surveys


def test_rows_lie_in_the_order_of_their_unit_and_not_of_the_source(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    person = [name for (name,) in read(store(world), "SELECT person FROM visits ORDER BY rowid")]
    assert person == sorted(person)
    visits = read(store(world), "SELECT visit FROM visits ORDER BY rowid")
    raw = {next(iter(names("ads", "visit", [v["visit"]]))): place for place, v in enumerate(small_world.visits())}
    places = [raw[name] for (name,) in visits]
    assert any(later < earlier for earlier, later in pairwise(places) if abs(later - earlier) == 1)


def test_both_stores_of_a_purpose_hold_the_same_rows(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    for purpose in ("ads", "surveys"):
        rows, statistics = (
            read(
                store(world, purpose, access),
                f'SELECT {unit}, "at", paid::DOUBLE, area, page FROM visits ORDER BY ALL',
            )
            for access, unit in (("rows", "('0x' || left(person, 16))::UBIGINT"), ("statistics", "kai_unit"))
        )
        assert rows and rows == statistics


def test_the_steward_is_told_what_was_left_out_and_why(built: tuple[World, BuildSummary]) -> None:
    _, summary = built
    visits = table(summary, "visits")
    assert visits.kept == 3 * len(ADS) + 1
    assert visits.left_out == {
        "no unit": 1, "unknown unit": 1, "retention": 1, "names another person": 1,
        "opted out": 12, "residence": 6, "stopped": 9,
    }  # fmt: skip
    assert table(summary, "people").columns_left_out == {"mail": "dropped by its rule", "notes": "dropped by its rule"}


@pytest.mark.parametrize("access", ["rows", "statistics"])
def test_a_worker_can_make_its_views_over_the_store(built: tuple[World, BuildSummary], access: str) -> None:
    world, _ = built
    plan = next(plan for plan in world.order().plans if (plan.purpose, plan.access) == ("ads", access))
    start = {"store": str(store(world, access=access)), "stops": [], "memory_limit": "256MiB", "threads": 1}
    worker = open_store({**start, "views": (views := views_sql(plan))})
    held = "SELECT count(*) FROM people"
    assert worker.execute(held).fetchone() == (len(ADS),)
    set_stops(worker, views, list(names("ads", "person", ["P-000001"])))
    assert worker.execute(held).fetchone() == (len(ADS) - 1,)
    shown = {name for (name, *_) in worker.execute("DESCRIBE visits").fetchall()}
    assert shown >= {"visit", "person", "page"}
    assert ({"kai_unit", "kai_rank"} <= shown) == (access == "statistics")
    worker.close()


# --- what is not ------------------------------------------------------------------------------------------------------


def test_nothing_raw_is_in_the_bytes_of_any_store(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    forbidden = [CANARY, "V-000-", "V-nobody", "@example.org", *(name for _, name, *_ in PEOPLE), "P-00000", "P-999999"]
    for store_file in world.stores.rglob("*.duckdb"):
        content = store_file.read_bytes()
        assert b"kept-in-public" in content  # the control: what is kept can be found in this way
        assert [word for word in forbidden if word.encode() in content] == []


def test_an_excluded_persons_values_are_in_no_store(tmp_path: Path) -> None:
    data = small_world.rows()
    for profile in data["visits"]:
        profile["paid"] = Decimal("77777.77") if profile["person"] in EXCLUDED else Decimal("0.50")
    world = World.create(tmp_path, data)
    build(world.order())
    assert read(store(world), "SELECT DISTINCT paid FROM visits") == [(Decimal("0.50"),)]


def test_a_column_without_a_rule_is_absent(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    columns = {name for (name,) in read(store(world), "SELECT column_name FROM duckdb_columns() WHERE NOT internal")}
    assert "mail" not in columns and "notes" not in columns and "person" in columns
    products = {name for (name,) in read(store(world, "surveys"), "SELECT table_name FROM duckdb_tables()")}
    assert products == {"people", "visits", "places"}  # no profiles, and never the choices and stops themselves


def test_everything_is_the_custodians_alone_and_nothing_is_left_in_staging(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    for path in world.stores.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert list((world.root / "staging").iterdir()) == []


# --- the same inputs, and others --------------------------------------------------------------------------------------


def test_the_same_inputs_are_not_built_twice(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    first = build(world.order())
    written = store(world).stat().st_mtime_ns
    again = build(world.order(built_at=datetime(2027, 1, 1, tzinfo=UTC)))
    assert (again.build_id, again.outcome) == (first.build_id, "unchanged")
    assert (again.tables, store(world).stat().st_mtime_ns) == (first.tables, written)


def test_a_damaged_store_is_built_anew(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    first = build(world.order())
    file = store(world)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    again = build(world.order())
    assert (again.build_id, again.outcome) == (first.build_id, "published")
    assert len(read(store(world), "FROM people")) == len(ADS)
    assert list((tmp_path / "staging").iterdir()) == []


def test_inputs_built_before_are_made_current_again(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    first = build(world.order())
    second = build(world.order(as_of=date(2026, 11, 2)))
    assert first.build_id != second.build_id == current(world.stores).build_id
    assert build(world.order()).outcome == "made current again"
    assert current(world.stores).build_id == first.build_id


def test_a_changed_source_key_or_contract_is_another_build(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    ids = {build(world.order()).build_id, build(world.order(pseudonym_key_id="others")).build_id}
    world.write("places", [{"place": "annex", "size": 1}])
    ids.add(build(world.order()).build_id)
    (world.contract_files / "people.odcs.yaml").write_text("title: people, again\n")
    ids.add(build(world.order()).build_id)
    world.change("profiles", purposes={})
    ids.add(build(world.order()).build_id)
    assert len(ids) == 5


def test_pruning_keeps_the_current_build_and_the_one_before(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    days = [date(2026, 11, day) for day in (1, 2, 3)]
    ids = [build(world.order(as_of=day, built_at=NOW + timedelta(days=day.day))).build_id for day in days]
    assert prune(world.stores, keep=2) == (ids[0],)
    assert {path.name for path in world.stores.iterdir() if path.is_dir()} == {ids[1], ids[2]}
    assert build(world.order(as_of=days[1])).outcome == "made current again"
    assert prune(world.stores, keep=1) == (ids[2],)
    assert current(world.stores).build_id == ids[1]


def test_csv_and_duckdb_sources_make_the_same_rows_as_parquet(
    tmp_path: Path, built: tuple[World, BuildSummary]
) -> None:
    reference, _ = built
    world = World.create(tmp_path)
    world.change("visits", source="visits.csv", format="csv")
    world.change("people", source="crm.duckdb#people", format="duckdb")
    world.change("choices", source="crm.duckdb#choices", format="duckdb")
    for product in ("visits", "people", "choices"):
        world.write(product, small_world.rows()[product])
    summary = build(world.order())
    for product in ("people", "visits", "profiles"):
        sql = f"SELECT * FROM {product} ORDER BY ALL"
        assert read(store(world), sql) == read(store(reference), sql)
    assert table(summary, "visits").left_out["opted out"] == 12


def test_the_published_contracts_are_those_of_the_build(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    build(world.order())
    (world.contract_files / "people.odcs.yaml").write_text("title: changed later\n")
    kept = current(world.stores).contracts_folder / "people.odcs.yaml"
    assert kept.read_text() == "title: people\n"


# --- choices and stops, read towards leaving out ----------------------------------------------------------------------


def choice(person: str, state: str, at: datetime | None, key: str = "ads") -> dict[str, Any]:
    return {"person": person, "choice": key, "state": state, "at": at}


@pytest.mark.parametrize(
    ("choices", "basis", "kept"),
    [
        ([], Basis("notified"), True),
        ([("refused", datetime(2026, 1, 1))], Basis("notified"), False),
        ([("refused", datetime(2026, 1, 1)), ("granted", datetime(2026, 1, 2))], Basis("notified"), True),
        ([("refused", None), ("granted", datetime(2026, 1, 2))], Basis("notified"), False),
        ([("refused", datetime(2026, 1, 1)), ("granted", None)], Basis("notified"), False),
        ([("refused", datetime(2026, 1, 1)), ("granted", datetime(2026, 12, 1))], Basis("notified"), False),
        ([("granted", datetime(2026, 1, 1)), ("refused", datetime(2026, 12, 1))], Basis("notified"), False),
        ([("refused", datetime(2026, 1, 1)), ("granted", datetime(2026, 11, 1, 23))], Basis("notified"), True),
        ([], Basis("prior-consent", "ads"), False),
        ([("granted", datetime(2026, 1, 1))], Basis("prior-consent", "ads"), True),
        (
            [("granted", datetime(2026, 1, 1)), ("withdrawn", datetime(2026, 1, 1))],
            Basis("prior-consent", "ads"),
            False,
        ),
    ],
)
def test_the_latest_choice_holds_and_doubt_leaves_out(
    tmp_path: Path, choices: list[tuple[str, datetime | None]], basis: Basis, kept: bool
) -> None:
    data = small_world.rows()
    data["choices"] = [choice("P-000001", state, at) for state, at in choices]
    world = World.create(tmp_path, data)
    rule = world.contracts["profiles"].purposes["ads"]
    world.change("profiles", purposes={"ads": type(rule)("ads", basis, rule.access)})
    build(world.order())
    (name,) = names("ads", "person", ["P-000001"])
    assert (read(store(world), f"SELECT count(*) FROM profiles WHERE person = '{name}'") == [(1,)]) is kept


def test_a_person_listed_twice_with_two_residences_is_out(tmp_path: Path) -> None:
    data = small_world.rows()
    data["people"].append({**data["people"][0], "country": "DE"})
    world = World.create(tmp_path, data)
    build(world.order())
    held = {name for (name,) in read(store(world), "SELECT person FROM people")}
    assert held == names("ads", "person", ADS[1:])


def test_a_stop_without_a_scope_counts_for_every_purpose(tmp_path: Path) -> None:
    data = small_world.rows()
    data["stops"].append({"person": "P-000001", "scope": None, "at": None})
    world = World.create(tmp_path, data)
    build(world.order())
    for purpose in ("ads", "surveys"):
        held = {name for (name,) in read(store(world, purpose), "SELECT person FROM people")}
        assert not held & names(purpose, "person", ["P-000001"])


# --- sources at fault: named, nothing published, the old stores still served ------------------------------------------


def truncate(world: World) -> None:
    file = world.sources / "visits.parquet"
    file.write_bytes(file.read_bytes()[:-20])


def rename_column(world: World) -> None:
    listed = small_world.rows()["visits"]
    world.write("visits", listed)
    with duckdb.connect() as con:
        file = world.sources / "visits.parquet"
        con.execute(f"COPY (SELECT * RENAME (area AS region) FROM '{file}') TO '{file}.new' (FORMAT parquet)")
        Path(f"{file}.new").replace(file)


def other_type(world: World) -> None:
    with duckdb.connect() as con:
        file = world.sources / "visits.parquet"
        con.execute(
            f"COPY (SELECT * REPLACE (minutes::VARCHAR AS minutes) FROM '{file}') TO '{file}.new' (FORMAT parquet)"
        )
        Path(f"{file}.new").replace(file)


def missing_values(world: World) -> None:
    world.write("visits", [{**small_world.visits()[0], "at": None}])


FAULTS = {
    "missing": (lambda world: (world.sources / "visits.parquet").unlink(), "SOURCE_MISSING", "visits"),
    "truncated": (truncate, "SOURCE_UNREADABLE", "visits"),
    "not Parquet": (lambda w: (w.sources / "choices.parquet").write_text("<html>"), "SOURCE_UNREADABLE", "choices"),
    "empty": (lambda w: (w.sources / "stops.parquet").write_bytes(b""), "SOURCE_UNREADABLE", "stops"),
    "column gone": (rename_column, "SOURCE_CHANGED", "column `area` is missing"),
    "other type": (other_type, "SOURCE_CHANGED", "column `minutes` is VARCHAR, and the contract says integer"),
    "values gone": (missing_values, "SOURCE_CHANGED", "column `at` is required"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_at_fault_is_named_and_the_old_stores_stay(tmp_path: Path, fault: str) -> None:
    world = World.create(tmp_path)
    before = build(world.order()).build_id
    harm, code, named = FAULTS[fault]
    harm(world)
    with pytest.raises(SourceFault) as caught:
        build(world.order())
    assert caught.value.code == code and named in caught.value.message
    assert str(tmp_path) not in str(caught.value) and CANARY not in str(caught.value)
    assert current(world.stores).build_id == before and len(read(store(world), "FROM people")) == len(ADS)
    assert list((tmp_path / "staging").iterdir()) == []


def test_damage_in_the_middle_of_a_source_is_its_fault(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    world.write("places", [{"place": f"place {n}", "size": n % 300} for n in range(20_000)])
    file = world.sources / "places.parquet"
    content = bytearray(file.read_bytes())
    content[200 : len(content) // 2] = b"\xff" * (len(content) // 2 - 200)
    file.write_bytes(content)
    with pytest.raises(SourceFault) as caught:
        build(world.order())
    assert caught.value.code == "SOURCE_UNREADABLE" and "places" in caught.value.message
    assert not (world.stores / "current.json").exists()


def test_a_csv_value_of_another_type_is_named_without_the_value(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    world.change("visits", source="visits.csv", format="csv")
    world.write("visits", [{**small_world.visits()[0], "minutes": "a secret word"}])
    with pytest.raises(SourceFault) as caught:
        build(world.order())
    assert "column `minutes` has values that are no integer" in caught.value.message
    assert "secret" not in str(caught.value)


def test_a_source_outside_the_folder_is_refused(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    (tmp_path / "elsewhere.parquet").write_bytes((world.sources / "places.parquet").read_bytes())
    world.change("places", source="../elsewhere.parquet")
    with pytest.raises(SourceFault) as caught:
        build(world.order())
    assert caught.value.code == "SOURCE_PLACE"


def test_a_source_that_changes_while_it_is_read_publishes_nothing(tmp_path: Path) -> None:
    world = World.create(tmp_path)

    def change(step: str, done: int, total: int) -> None:
        if done == 1:
            world.write("people", small_world.rows()["people"][:3])

    with pytest.raises(SourceFault):
        build(world.order(), change)
    assert not (world.stores / "current.json").exists()


def test_columns_that_no_contract_knows_are_left_out_and_told(tmp_path: Path) -> None:
    data = small_world.rows()
    data["places"] = [{**place, "owner": CANARY} for place in data["places"]]
    world = World.create(tmp_path, data)
    assert build(world.order()).ignored == {"places": ("owner",)}
    assert CANARY.encode() not in store(world).read_bytes()


def test_contracts_that_change_during_the_build_publish_nothing(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    with pytest.raises(BuildFault) as caught:
        build(world.order(contracts_digest="of other contracts"))
    assert caught.value.code == "CONTRACTS_CHANGED" and not (world.stores / "current.json").exists()


# --- one build at a time, and what is published -----------------------------------------------------------------------


def test_a_second_build_at_the_same_time_is_refused(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    build(world.order())
    descriptor = os.open(world.stores / ".building", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(BuildFault) as caught:
            build(world.order(as_of=AS_OF + timedelta(days=1)))
    finally:
        os.close(descriptor)
    assert caught.value.code == "BUILD_RUNNING"


def test_what_an_interrupted_build_left_is_removed(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    left = tmp_path / "staging" / "build-1" / "spill"
    left.mkdir(parents=True)
    (left / "raw").write_text(CANARY)
    build(world.order())
    assert not left.exists()


def test_a_build_that_does_not_fit_says_so(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    room = type(world.order().room)(memory="1MB", threads=1)
    with pytest.raises((BuildFault, SourceFault)):
        build(world.order(room=room))
    assert not (world.stores / "current.json").exists()


@pytest.mark.parametrize(
    "content", ["", "{}", '{"build_id": 3}', '{"build_id": "../../etc"}', '{"build_id": "%s"}' % ("0" * 64)]
)
def test_a_damaged_pointer_is_a_fault_and_not_an_empty_house(tmp_path: Path, content: str) -> None:
    with pytest.raises(BuildFault) as caught:
        current(tmp_path)
    assert caught.value.code == "NOTHING_PUBLISHED"
    (tmp_path / "current.json").write_text(content)
    with pytest.raises(BuildFault) as caught:
        current(tmp_path)
    assert caught.value.code == "PUBLISHED_DAMAGED"


def test_a_store_that_the_manifest_does_not_know_is_absent(built: tuple[World, BuildSummary]) -> None:
    world, _ = built
    with pytest.raises(BuildFault) as caught:
        current(world.stores).store_path("care", "rows")
    assert caught.value.code == "STORE_ABSENT"


def test_the_manifest_says_what_was_read_and_made(built: tuple[World, BuildSummary]) -> None:
    world, summary = built
    manifest = current(world.stores).manifest
    assert manifest.build_id == summary.build_id and manifest.inputs.as_of == AS_OF
    assert set(manifest.inputs.sources) == {"people", "visits", "profiles", "places", "choices", "stops"}
    rows = manifest.store("ads", "rows")
    assert rows is not None and rows.tables["people"].rows == len(ADS)
    assert small_world.pseudonym_key("ads").hex() not in json.dumps(manifest.to_json())


def test_a_schema_is_read_for_drafting(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    found = {c.name: (c.type, c.logical) for c in read_schema(world.sources / "visits.parquet")}
    assert found["paid"] == ("DECIMAL(9,2)", "number") and found["at"] == ("TIMESTAMP", "timestamp")
    (tmp_path / "some.csv").write_text("id,when\n1,2026-01-01\n")
    assert [(c.name, c.logical) for c in read_schema(tmp_path / "some.csv")] == [("id", "integer"), ("when", "date")]
    with duckdb.connect(str(tmp_path / "some.duckdb")) as con:
        con.execute("CREATE TABLE t (id VARCHAR NOT NULL, note VARCHAR)")
    assert [c.nullable for c in read_schema(f"{tmp_path}/some.duckdb#t")] == [False, True]
    with pytest.raises(SourceFault):
        read_schema(tmp_path / "none.parquet")
