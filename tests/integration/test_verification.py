"""The verification catches what a faulty builder, contract or source lets into a store: each fault is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from support import small_world
from support.small_world import KEEP, World, column, key, names

from kaianalytics.errors import BuildFault
from kaianalytics.warehouse.builder import build
from kaianalytics.warehouse.published import current
from kaianalytics.warehouse.verification import StoreExpectation, looks_like_contact, verify
from kaianalytics.warehouse.workshop import Room, Workshop, opened_workshop


@dataclass
class Bench:
    """A written store that is not verified yet, and what it is expected to be."""

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
        assert caught.value.code == "VERIFICATION"
        return caught.value.message


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The `rows` store of `ads`, as the builder's own parts write it."""
    order = World.create(tmp_path).order()
    plans = order.by_purpose["ads"]
    plan = next(plan for plan in plans if plan.access == "rows")
    with opened_workshop(
        order.products, order.purposes, order.sources, order.as_of, order.pseudonym_key, tmp_path / "spill", Room()
    ) as shop:
        shop.open_sources(order.plans)
        recipes = {p: r for (access, p), r in shop.recipes("ads", plans).items() if access == "rows"}
        rows = {product: shop.count(recipe)[None] for product, recipe in recipes.items()}
        shop.write_store(tmp_path / "store.duckdb", recipes, lambda product: None)
        yield Bench(shop, tmp_path / "store.duckdb", shop.expectation(plan, recipes, rows))


def test_a_store_as_planned_passes(bench: Bench) -> None:
    verify(bench.shop.con, bench.file, bench.expected)


def test_a_file_that_others_can_read(bench: Bench) -> None:
    bench.file.chmod(0o640)
    assert "open to other OS users" in bench.findings()


SHAPES = {
    "a raw id column slipped in": "ALTER TABLE people ADD COLUMN customer VARCHAR DEFAULT 'P-000001'",
    "a column of the source kept by mistake": "ALTER TABLE people ADD COLUMN mail VARCHAR",
    "a column gone": "ALTER TABLE people DROP COLUMN country",
    "another type": "ALTER TABLE visits ALTER paid TYPE VARCHAR",
    "a finer time than planned": 'ALTER TABLE visits ALTER "at" TYPE TIMESTAMP',
    "a table too many": "CREATE TABLE choices AS SELECT 1 AS one",
    "a table gone": "DROP TABLE places",
    "a table in another schema": "CREATE SCHEMA s; CREATE TABLE s.extra AS SELECT 1 AS one",
    "a view": "CREATE VIEW extra AS SELECT 1 AS one",
    "an index": "CREATE INDEX extra ON people (person)",
    "a sequence": "CREATE SEQUENCE extra",
}


@pytest.mark.parametrize("fault", SHAPES)
def test_another_shape_than_the_plans(bench: Bench, fault: str) -> None:
    bench.tamper(SHAPES[fault])
    assert "other columns than its plan" in bench.findings() or "it holds" in bench.findings()


def test_an_extra_row_of_an_excluded_person(bench: Bench) -> None:
    (excluded,) = names("ads", "person", ["P-000003"])
    bench.tamper(f"UPDATE people SET person = '{excluded}' WHERE rowid = 0")  # as many rows as planned
    assert "column `person` of `people` holds pseudonyms that are not permitted there" in bench.findings()


def test_a_row_too_many_or_too_few(bench: Bench) -> None:
    bench.tamper("INSERT INTO people SELECT * FROM people LIMIT 1")
    assert "`people` has other rows than were counted for it" in bench.findings()
    bench.tamper("DELETE FROM people WHERE rowid < 2")
    assert "`people` has other rows than were counted for it" in bench.findings()


def test_a_person_permitted_by_another_basis(bench: Bench) -> None:
    (permitted_elsewhere,) = names("ads", "person", ["P-000001"])  # notified, but no consent to profiling
    bench.tamper(f"UPDATE profiles SET person = '{permitted_elsewhere}'")
    assert "column `person` of `profiles`" in bench.findings()


@pytest.mark.parametrize("planted", ["P-000001", "", "0" * 31 + "G"])
def test_a_raw_key_in_a_key_column(bench: Bench, planted: str) -> None:
    bench.tamper(f"UPDATE visits SET visit = '{planted}' WHERE rowid = 0")
    assert "column `visit` of `visits` holds what is no pseudonym" in bench.findings()


def test_a_pseudonym_of_another_purpose(bench: Bench) -> None:
    (foreign,) = names("surveys", "person", ["P-000001"])
    bench.tamper(f"UPDATE visits SET invited = '{foreign}' WHERE rowid = 0")
    assert "column `invited` of `visits` holds pseudonyms that are not permitted there" in bench.findings()


def test_a_unit_that_is_not_named(bench: Bench) -> None:
    bench.tamper("UPDATE visits SET person = NULL WHERE rowid = 0")
    assert "column `person` of `visits` is missing values that the plan promises" in bench.findings()


@pytest.mark.parametrize(
    "planted",
    [
        "write to someone@elsewhere.net",
        "tel 03-1234-5678",
        "０９０－１２３４－５６７８",
        "〒150-0002",
        "１５０‐０００２",
    ],
)
def test_contact_data_in_a_kept_text(bench: Bench, planted: str) -> None:
    bench.tamper(f"UPDATE visits SET page = '{planted}' WHERE rowid = 0")
    found = bench.findings()
    assert "column `page` of `visits` holds what looks like a mail address" in found and planted not in found


@pytest.mark.parametrize("planted", ["Ishikawa Ren", "Sato Yui", "see P-000007, please", "ishikawa@example.org"])
def test_a_direct_identifier_or_a_raw_key_in_a_kept_text(bench: Bench, planted: str) -> None:
    bench.tamper(f"UPDATE visits SET page = '{planted}' WHERE rowid = 0")
    found = bench.findings()
    assert "column `page` of `visits` holds a direct identifier or a raw key" in found and planted not in found


def test_a_file_that_is_damaged(bench: Bench) -> None:
    content = bytearray(bench.file.read_bytes())
    content[12288:] = b"\xff" * (len(content) - 12288)
    bench.file.write_bytes(content)
    with pytest.raises((BuildFault, duckdb.Error)):
        verify(bench.shop.con, bench.file, bench.expected)


def test_every_finding_is_told_at_once(bench: Bench) -> None:
    bench.tamper("UPDATE visits SET visit = 'raw'", "UPDATE people SET country = 'a@b.example'")
    assert "`visit`" in (found := bench.findings()) and "`country`" in found


# --- through the whole builder: nothing is published ------------------------------------------------------------------


def with_page(page: str) -> Callable[[World], None]:
    def harm(world: World) -> None:
        world.write("visits", [*small_world.visits(), {**small_world.visit("V-mail", "P-000001"), "page": page}])

    return harm


def names_in_another_product(world: World) -> None:
    world.change("profiles", columns=(key("person", "person"), column("score", rule=KEEP)))
    world.write("profiles", [{"person": "P-000014", "score": "P-000002"}], score=pa.string())


@pytest.mark.parametrize(
    "harm", [with_page("mail me: a.person@mail.example"), with_page("会員P-000003"), names_in_another_product]
)
def test_a_source_that_carries_identifiers_publishes_nothing(tmp_path: Path, harm: Callable[[World], Any]) -> None:
    world = World.create(tmp_path)
    before = build(world.order()).build_id
    harm(world)
    with pytest.raises(BuildFault) as caught:
        build(world.order())
    assert caught.value.code == "VERIFICATION"
    assert current(world.stores).build_id == before
    assert [path.name for path in world.stores.iterdir() if path.is_dir()] == [before]


def test_a_declared_value_is_public_whatever_it_looks_like(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    with_page("0120-000-000")(world)
    with pytest.raises(BuildFault):
        build(world.order())
    declared = tuple(
        column("page", enum=("home", "shop", "0120-000-000"), rule=KEEP) if c.name == "page" else c
        for c in world.contracts["visits"].columns
    )
    world.change("visits", columns=declared)
    assert build(world.order()).outcome == "published"


def test_a_mask_is_not_searched_for_names(tmp_path: Path) -> None:
    data = small_world.rows()
    data["people"][0]["name"] = "***"
    assert build(World.create(tmp_path, data).order()).outcome == "published"


# --- what looks like contact data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "a@b.co", "a.b+c@mail.example.jp", "call 090-1234-5678 now", "09012345678", "+81 90 1234 5678", "+886-9-1234-5678",
    "(03)1234-5678", "０３ー１２３４ー５６７８", "〒１００－０００１", "Tokyo 100-0001",
])  # fmt: skip
def test_what_looks_like_contact_data(text: str) -> None:
    assert looks_like_contact(text)


@pytest.mark.parametrize("text", [
    "", "autumn-coupon", "20 to 29", "2026-10-31", "2026-10-31 12:30:00", "100-124K", "Under 15K", "東京都",
    "1,000 and over", "0.5 to under 10.25", "v1.2.3", "0123", "12345678901234567890", "Type A", "@home",
])  # fmt: skip
def test_what_does_not(text: str) -> None:
    assert not looks_like_contact(text)
