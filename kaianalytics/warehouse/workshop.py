"""The builder's scratch database: raw sources, standings and pseudonyms, in memory and in one spill folder, then gone.

Laws:
    1. Nothing of it outlives the build: it lives in memory, and what does not fit there spills into the build's own
       folder, which is removed however the build ends.
    2. A store is attached only while its tables are written, each from the result of its plan's expressions, or copied
       from the store of this build that holds the result of the very same ones; each store is verified by itself.
    3. DuckDB's own words stay here: what fails is told by product, as a fault of its source or of the room it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
from sqlglot import exp

from kaianalytics.errors import BuildFault, SourceFault
from kaianalytics.policy.contract import DataContract
from kaianalytics.policy.purpose import Population, Purposes
from kaianalytics.policy.rules import MASK, keys_after
from kaianalytics.policy.views import ColumnPlan, StorePlan, TablePlan
from kaianalytics.privacy.bounding.pre_aggregates import pre_aggregate_sql
from kaianalytics.warehouse.expressions import cast, is_given, is_null, named, table, text
from kaianalytics.warehouse.numbering import count_units, numbered_table, stored_rows
from kaianalytics.warehouse.pseudonyms import NAME, RAW, Pseudonymiser, demand_distinct, write_pseudonyms
from kaianalytics.warehouse.sources import Source, Sources
from kaianalytics.warehouse.standing import REASON, UNIT, Question, standing, standing_products
from kaianalytics.warehouse.tables import Recipe, count_reasons, named_rows, store_table, values_used
from kaianalytics.warehouse.verification import StoreExpectation, TableExpectation

_STORE, _EARLIER = "store", "earlier"
PAST_ROWS = "past the bound on rows"


@dataclass(frozen=True)
class Room:
    """How much of the machine a build may take."""

    memory: str = "2GB"
    threads: int = 2


@dataclass
class Workshop:
    """One build's scratch database, and what stands in it so far."""

    con: duckdb.DuckDBPyConnection
    products: Mapping[str, DataContract]
    purposes: Purposes
    sources: Sources
    as_of: date
    pseudonym_key: Callable[[str], bytes] = field(repr=False)
    _standings: set[str] = field(default_factory=set)
    _written: dict[str, Path] = field(default_factory=dict)  # SELECT of a table → the first store that holds it

    def open_sources(self, plans: tuple[StorePlan, ...]) -> dict[str, Source]:
        """Every source that the plans need: their products, and those that decide who may be in them."""
        planned = [plan_table for plan in plans for plan_table in plan.tables.values()]
        needed = {plan_table.product for plan_table in planned}
        for plan_table in planned:
            if plan_table.population is not None:
                needed.update(standing_products(self.purposes.populations[plan_table.population]))
        return {product: self.sources.open(self.products[product]) for product in sorted(needed)}

    def recipes(self, purpose: str, plans: tuple[StorePlan, ...]) -> dict[tuple[str, str], Recipe]:
        """The recipe of each table of one purpose's stores, by access and product; makes what they are joined with."""
        standings = {
            (plan.access, product): self._standing(plan_table, purpose)
            for plan in plans
            for product, plan_table in plan.tables.items()
        }
        names = {c.key: f"pseudonyms {purpose} {c.key}" for plan in plans for c in _pseudonymous(plan) if c.key}
        recipes: dict[tuple[str, str], Recipe] = {
            (plan.access, product): Recipe(
                plan=plan_table,
                source=self.sources.opened[product].view,
                as_of=self.as_of,
                standing=standings[plan.access, product],
                unit_domain=self._unit_domain(plan_table),
                pseudonyms=names,
            )
            for plan in plans
            for product, plan_table in plan.tables.items()
        }
        for domain, name in names.items():
            values = self._values(domain, tuple(recipes.values()))
            key = self.pseudonym_key(purpose)
            with told_by("the key columns"):
                write_pseudonyms(self.con, values, Pseudonymiser(key, domain), name)
                demand_distinct(self.con, name, domain)
        return recipes

    def count(self, recipe: Recipe) -> dict[str | None, int]:
        """How many rows there are for each reason of being left out; None counts those that are stored."""
        with told_by(f"`{recipe.plan.product}`"):
            counted = {reason: int(rows) for reason, rows in self.con.execute(text(count_reasons(recipe))).fetchall()}
            if recipe.plan.rows_bound is not None:
                total = exp.Coalesce(this=exp.Sum(this=stored_rows(recipe.plan)), expressions=[exp.Literal.number(0)])
                select = exp.select(total).from_(count_units(recipe).subquery("units"))
                [(stored,)] = self.con.execute(text(select)).fetchall()
                counted[PAST_ROWS], counted[None] = counted.get(None, 0) - int(stored), int(stored)
            return {reason: rows for reason, rows in counted.items() if rows or reason is None}

    def write_store(self, file: Path, recipes: Mapping[str, Recipe], tell: Callable[[str], None]) -> None:
        """Write one store's tables into a new file of mode 0600; `tell` hears each product as it begins."""
        self.con.execute(f"ATTACH {text(exp.Literal.string(str(file)))} AS {_STORE}")
        try:
            file.chmod(0o600)
            for product, recipe in recipes.items():
                tell(product)
                with told_by(f"`{product}`"):
                    self._write_table(file, product, recipe)
                    self._write_pre_aggregates(recipe.plan)
        finally:
            self.con.execute(f"DETACH {_STORE}")

    def _write_table(self, file: Path, product: str, recipe: Recipe) -> None:
        """The table of one recipe; made of an earlier store's where that holds the very same rows.

        The two stores of a purpose often hold the same rows, and joining and sorting are most of a build's work.
        """
        target = text(table(product, catalog=_STORE))
        select = text(store_table(recipe))
        earlier = None if recipe.plan.windows else self._written.get(select)
        if not recipe.plan.numbered:
            self._written.setdefault(select, file)
        with self._attached(earlier):
            kept = table(product, catalog=_EARLIER)
            if recipe.plan.numbered:
                select = text(numbered_table(recipe, kept if earlier else named_rows(recipe).subquery("rows")))
            elif earlier:
                select = text(exp.select("*").from_(kept))
            self.con.execute(f"CREATE TABLE {target} AS {select}")

    def _write_pre_aggregates(self, plan: TablePlan) -> None:
        """The pre-aggregates of a stored table, by the engine's own SQL, which reads the table by its bare name."""
        if plan.statistics is None or not plan.statistics.pre_aggregates:
            return
        self.con.execute(f"USE {_STORE}.main")
        try:
            for pre in plan.statistics.pre_aggregates:
                select = pre_aggregate_sql(plan.statistics, pre)
                self.con.execute(f"CREATE TABLE {text(table(pre.table, catalog=_STORE))} AS {select}")
        finally:
            self.con.execute("USE memory.main")

    @contextmanager
    def _attached(self, earlier: Path | None) -> Iterator[None]:
        if earlier is None:
            yield
            return
        self.con.execute(f"ATTACH {text(exp.Literal.string(str(earlier)))} AS {_EARLIER} (READ_ONLY)")
        try:
            yield
        finally:
            self.con.execute(f"DETACH {_EARLIER}")

    def expectation(self, plan: StorePlan, recipes: Mapping[str, Recipe], rows: Mapping[str, int]) -> StoreExpectation:
        """What the verification holds the plan's store against."""
        tables = {
            product: TableExpectation(
                *(recipe.plan, rows[product], _permitted(recipe), self._declared(recipe.plan)),
                count_units(recipe) if recipe.plan.numbered else None,
            )
            for product, recipe in recipes.items()
        }
        return StoreExpectation(plan, tables, self._classified("direct-identifier"), self._classified("key"))

    def _standing(self, plan_table: TablePlan, purpose: str) -> str | None:
        if plan_table.population is None:
            return None
        population = self.purposes.populations[plan_table.population]
        everything = frozenset(self.purposes.purposes)
        question = Question(population, purpose, plan_table.basis, self.as_of, everything)
        if question.table not in self._standings:
            with told_by(f"`{population.product}`"):
                self.con.execute(
                    f"CREATE TABLE {text(table(question.table))} AS {text(standing(question, self.sources))}"
                )
            self._standings.add(question.table)
        return question.table

    def _unit_domain(self, plan_table: TablePlan) -> str | None:
        if plan_table.population is None:
            return None
        population: Population = self.purposes.populations[plan_table.population]
        return self.products[population.product].column(population.key).key

    def _values(self, domain: str, recipes: tuple[Recipe, ...]) -> exp.Select:
        """The distinct values that need a pseudonym: units whose basis holds, or the keys of rows that are used."""
        units = {recipe.standing for recipe in recipes if recipe.standing and recipe.unit_domain == domain}
        selects: list[exp.Query] = [
            exp.select(named(UNIT).as_(RAW)).from_(table(name)).where(is_null(named(REASON))) for name in sorted(units)
        ]
        if not units:
            selects = [values_used(r, column) for r in recipes for column in r.pseudonymous if column.key == domain]
        united = selects[0]
        for select in selects[1:]:
            united = exp.union(united, select)
        return exp.select(named(RAW)).distinct().from_(united.subquery("needed"))

    def _declared(self, plan_table: TablePlan) -> dict[str, frozenset[str]]:
        contract = self.products[plan_table.product]
        declared = {}
        for column in plan_table.columns:
            known = keys_after(contract.column(column.source), column.rule) if column.rule.action != "pseudonym" else ()
            declared[column.name] = frozenset(key for key in known if isinstance(key, str)) | {MASK}
        return declared

    def _classified(self, classification: str) -> tuple[exp.Select, ...]:
        return tuple(
            exp.select(cast(named(column.name), "VARCHAR"))
            .from_(table(source.view))
            .where(is_given(named(column.name)))
            for source in self.sources.opened.values()
            for column in source.contract.columns
            if column.classification == classification
        )


@contextmanager
def opened_workshop(
    products: Mapping[str, DataContract],
    purposes: Purposes,
    sources: Path,
    as_of: date,
    pseudonym_key: Callable[[str], bytes],
    spill: Path,
    room: Room,
) -> Iterator[Workshop]:
    """A scratch database that is gone when its block ends."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": room.threads,
        "memory_limit": room.memory,
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
    }
    with duckdb.connect(":memory:", config=config) as con:
        yield Workshop(con, products, purposes, Sources(con, sources), as_of, pseudonym_key)


@contextmanager
def told_by(what: str) -> Iterator[None]:
    """Turns the engine's errors into faults that name `what` and carry none of its words (law 3)."""
    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError):
        raise BuildFault(
            "BUILD_ROOM",
            f"The build ran out of memory or disk at {what}.",
            hint="give it more with `kai build --memory`, or free space where the home lies",
        ) from None
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise  # our own SQL is wrong, which no source can cause: a defect, to be seen as it is
    except duckdb.Error:
        raise SourceFault(
            "SOURCE_UNREADABLE",
            f"The source of {what} can't be read to its end: it is damaged, or holds values its type can't.",
            rule="a source is as its data contract says, or nothing is built",
            hint="write the source anew, then build again",
        ) from None


def _pseudonymous(plan: StorePlan) -> Iterator[ColumnPlan]:
    for plan_table in plan.tables.values():
        yield from (column for column in plan_table.columns if column.rule.action == "pseudonym")


def _permitted(recipe: Recipe) -> dict[str, exp.Select]:
    """For each key column the pseudonyms it may hold: a unit's only where the table's own basis holds for it."""
    permitted = {}
    for column in recipe.pseudonymous:
        select = exp.select(named(NAME, "permitted")).from_(table(recipe.pseudonyms[str(column.key)], "permitted"))
        if column.key == recipe.unit_domain and recipe.standing:
            same = named(RAW, "permitted").eq(named(UNIT, "standing"))
            select = select.join(table(recipe.standing, "standing"), on=same).where(is_null(named(REASON, "standing")))
        permitted[column.name] = select
    return permitted
