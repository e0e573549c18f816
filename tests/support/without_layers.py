"""A gateway of a copied world with something else in a layer's place, in this process; for tests alone.

Each substitution stands for a layer that is not there, or that failed: nothing in the product can be told to be so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import jwt
import pytest
import uvicorn
from sqlglot import exp
from support.weaker_workers import OF_WORKERS, Weaker

from kaianalytics.attack import layers as L
from kaianalytics.attack.running import Gateway
from kaianalytics.attack.world import World
from kaianalytics.custody.home import Home
from kaianalytics.gateway import custodian, enforcement, serving, tokens
from kaianalytics.gateway.door import app, head, identity, peer, reading
from kaianalytics.gateway.guard.admission import Admitted, Guard
from kaianalytics.gateway.guard.allowed import STATISTICS_FUNCTIONS
from kaianalytics.gateway.isolation import Isolation
from kaianalytics.gateway.statistics import question
from kaianalytics.gateway.workers.pool import WorkerPool
from kaianalytics.gateway.workers.process import WorkerLimits
from kaianalytics.policy.contract import Access, Basis, ColumnRule, Contracts
from kaianalytics.policy.secure_views import ViewSql
from kaianalytics.policy.verdict import Permit
from kaianalytics.policy.views import ColumnPlan, StorePlan, TablePlan, store_plan
from kaianalytics.privacy.measuring import measurement
from kaianalytics.records import ledger, releases, stops
from kaianalytics.sandbox.confinement import Layer
from kaianalytics.warehouse import builder, ordering, standing, tables
from kaianalytics.warehouse.pseudonyms import RAW

OF_THE_BUILD = frozenset({L.STORE, L.PEOPLE, L.RETENTION, L.PSEUDONYMS, L.VERIFICATION})
Patch = tuple[Any, str, Any]
_ENGINE = duckdb.connect()


@contextmanager
def replaced(patches: Iterator[Patch]) -> Iterator[None]:
    """Each attribute with something else in its place, until the block ends."""
    with pytest.MonkeyPatch.context() as patching:
        for owner, name, other in patches:
            patching.setattr(owner, name, other)
        yield


def built(root: Path, contracts: Path, as_of: Any, without: Collection[str]) -> World:
    """A world whose builder lacks layers."""
    world = World.create(root, contracts, as_of, seed=11)
    with replaced(of_the_build(set(without))):
        world.build()
    return world


def copied(world: World, root: Path) -> World:
    """The same world in another folder, which nobody has served."""
    shutil.copytree(world.home.root.parent, root, symlinks=True)
    return replace(world, home=Home.create(root / "home", root / "contracts", root / "sources"))


@contextmanager
def weaker_gateway(world: World, without: Collection[str]) -> Iterator[Gateway]:
    """The world's gateway in this process, without layers, from ready until it is gone."""
    lacks = set(without)
    quiet = Isolation("guard rails only", os.getuid())
    with ExitStack() as open_:
        open_.enter_context(replaced(of_the_gateway(lacks)))
        open_.enter_context(replaced(iter([(custodian.Isolation, "tested_now", classmethod(lambda cls: quiet))])))
        if lacks & OF_WORKERS:
            weaker = lambda: WorkerPool(starting=Weaker(lacks))  # noqa: E731
            open_.enter_context(replaced(iter([(custodian, "WorkerPool", weaker)])))
        rooms = open_.enter_context(custodian.open_custodian(world.home))
        listener = open_.enter_context(socket.socket(socket.AF_UNIX))
        world.home.socket_path.unlink(missing_ok=True)
        listener.bind(str(world.home.socket_path))
        listener.listen(64)
        open_.enter_context(logging_to(world.home.log))
        config = uvicorn.Config(
            app.build_app(rooms), http=peer.PeerProtocol, ws="none", lifespan="off", log_config=None
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield Gateway(world, world.home.socket_path, os.getpid())
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """The custodian's log, as the gateway keeps it."""
    logger, handler = logging.getLogger("kaianalytics"), logging.FileHandler(file)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def of_the_build(lacks: set[str]) -> Iterator[Patch]:
    """What stands in the place of the builder's layers."""
    if L.STORE in lacks:
        yield ordering, "store_plan", all_columns
    if L.PEOPLE in lacks:
        yield standing, "_reason", lambda question: exp.cast(exp.null(), "VARCHAR")
    if L.RETENTION in lacks:
        of_rows = tables.row_reason
        yield tables, "row_reason", lambda r: of_rows(replace(r, plan=replace(r.plan, retention=None)))
    if L.PSEUDONYMS in lacks:
        yield tables, "named_rows", raw_keys(tables.named_rows)
    if L.VERIFICATION in lacks:
        yield builder, "verify", lambda con, file, expected: None


def of_the_gateway(lacks: set[str]) -> Iterator[Patch]:
    """What stands in the place of the gateway's and the workers' layers."""
    yield from _of_questions(lacks)
    yield from _of_statistics(lacks)
    yield from _of_the_door(lacks)


def _of_questions(lacks: set[str]) -> Iterator[Patch]:
    if L.GUARD in lacks:
        yield Guard, "admit", admits_everything
    if L.DECISION in lacks:
        for room in (enforcement, identity):
            yield room, "decide", lambda *asked: Permit((), ())
    if L.VIEW in lacks:
        yield serving.Serving, "plans", property(plans_of_all_there_is)
    if L.STOPS in lacks:
        yield stops, "pending", lambda view, purpose: ()
    if L.SECURE_VIEW in lacks:
        real = serving.views_sql
        yield (
            serving,
            "views_sql",
            lambda plan: tuple(type(v)(*(s.replace("SECURE VIEW", "VIEW") for s in v)) for v in real(plan)),
        )
    if L.LANDLOCK in lacks:
        confined = WorkerLimits.confined_to
        yield WorkerLimits, "confined_to", lambda self, store: _without_landlock(confined(self, store))
    if L.CAPS in lacks:
        yield enforcement, "one_answer", lambda caps: (10**12, 10**12)
        yield enforcement.row_uses, "take", lambda tx, use, amount: None


def _of_statistics(lacks: set[str]) -> Iterator[Patch]:
    if L.PROOF in lacks:
        yield enforcement.Enforcement, "answer_statistics", answers_as_it_is
    if L.NOISE in lacks:
        yield measurement, "_side_by_side", lambda drawing, pieces: list(pieces)
    if L.ONE_DRAW in lacks:
        yield releases, "find_answer", lambda view, charge, asked: None
        yield releases, "find_release", lambda view, charge: None
    if L.LEDGER in lacks:
        yield ledger.Limit, "covers", lambda self, loss: True
    if L.COMMENTS in lacks:
        yield question, "without_comments", lambda sql: sql
    if L.BUCKETS in lacks:
        yield enforcement.Buckets, "_wait", lambda self, began, step, gone: None


def _of_the_door(lacks: set[str]) -> Iterator[Patch]:
    if lacks & {L.SIGNATURE, L.AUDIENCE, L.EXPIRY}:
        yield tokens.Tokens, "_read", reading_tokens(lacks)
    if L.REVOCATION in lacks:
        yield identity.revocations, "is_revoked", lambda view, token: False
    if L.OS_USER in lacks:
        held = identity.Doorkeeper._held
        yield identity.Doorkeeper, "_held", lambda self, bearer, uid: held(self, bearer, bearer.uid)
    if L.BINDING in lacks:
        yield identity, "demand_bound", lambda bound, token, kernel: None
        yield identity, "demand_unbound", lambda bound: None
    if L.OWN_REVIEWS in lacks:
        handler = identity.Doorkeeper.handler
        yield identity.Doorkeeper, "handler", lambda self, caller, role=None: _reviewing(handler(self, caller, role))
    if L.REQUEST_SIZE in lacks:
        yield head, "BODY_MAX", 1 << 40
        yield app, "json_body", lambda request, at_most=0: reading.json_body(request, 1 << 40)


def all_columns(contracts: Contracts, purpose: str, access: Access) -> StorePlan:
    """A plan that keeps what is dropped, and as rows has every product, but for direct identifiers and keys."""
    plan = store_plan(contracts, purpose, access)
    products = contracts.products if access == "rows" else plan.tables
    return replace(plan, tables={name: _whole(contracts, plan, name) for name in products})


def _whole(contracts: Contracts, plan: StorePlan, name: str) -> TablePlan:
    product = contracts.products[name]
    table = plan.tables.get(name) or TablePlan(
        name, product.title, (), Basis("notified"), product.population, product.unit, product.retention, None
    )
    planned = {column.name for column in table.columns}
    unit = product.column(product.unit) if product.unit else None
    more = [
        ColumnPlan(c.name, c.name, ColumnRule("keep"), c.type, c.type, nullable=True)
        for c in product.columns
        if c.name not in planned and c.classification not in ("key", "direct-identifier")
    ]
    if unit and unit.name not in planned:
        more.append(ColumnPlan(unit.name, unit.name, ColumnRule("pseudonym"), unit.type, "string", True, unit.key))
    return replace(table, columns=(*table.columns, *more))


def plans_of_all_there_is(self: serving.Serving) -> Mapping[tuple[str, Access], StorePlan]:
    """Views that show whatever the stores hold."""
    return {
        (purpose, access): _held(all_columns(self.contracts, purpose, access), self)
        for purpose in self.open_purposes
        for access in serving.ACCESS_LEVELS
    }


def _held(plan: StorePlan, at: serving.Serving) -> StorePlan:
    stored = at.build.manifest.store(plan.purpose, plan.access)
    there = {name: {column for column, _ in table.columns} for name, table in stored.tables.items()} if stored else {}
    held = {
        name: replace(table, columns=tuple(c for c in table.columns if c.name in there[name]))
        for name, table in plan.tables.items()
        if name in there
    }
    return replace(plan, tables=held)


def raw_keys(named_rows: Callable[[Any], exp.Select]) -> Callable[[Any], exp.Select]:
    """Rows whose keys, but for their unit's, stand as they are in the source."""

    def raw(recipe: Any) -> exp.Select:
        rows = named_rows(recipe)
        if recipe.plan.statistics is None:
            for place, column in enumerate(recipe.pseudonymous):
                shown = next(each for each in rows.expressions if each.alias == column.name)
                if column.source != recipe.plan.unit:
                    shown.set("this", exp.column(RAW, table=f"k{place}", quoted=True))
        return rows

    return raw


def admits_everything(self: Guard, sql: str, views: Collection[str], functions: Collection[str] = ()) -> Admitted:
    """Whatever it is: its views are the names that stand in it somewhere."""
    named = tuple(sorted(view for view in views if re.search(rf"\b{re.escape(view)}\b", sql)))
    with _ENGINE.cursor() as engine:
        ((text,),) = engine.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    tree: dict[str, Any] = json.loads(text)
    return Admitted(sql, tree if "statements" in tree else {"statements": [{"node": {}}]}, named)


def answers_as_it_is(self: Any, session: Any, asked: Any, gone: Any = None) -> dict[str, Any]:
    """What the statistics worker answers to the analyst's own text."""
    now = self._context.serving()
    admitted = self._admit(now, asked.sql, (), STATISTICS_FUNCTIONS)
    self._permit(now, session, "statistics", admitted)
    worker, _ = self._worker(now, session, "statistics")
    return json.loads(json.dumps({"as it is": worker.fetch(asked.sql, 30)}, default=str))


def reading_tokens(lacks: set[str]) -> Callable[..., dict[str, Any]]:
    """Tokens read with less care."""
    real = tokens.Tokens._read

    def read(self: Any, audience: str, token: str, types: Any) -> dict[str, Any]:
        checks = {
            "verify_signature": L.SIGNATURE not in lacks,
            "verify_aud": L.AUDIENCE not in lacks,
            "verify_exp": L.EXPIRY not in lacks,
            "require": tokens.REQUIRED,
        }
        try:
            return jwt.decode(token, self._key, algorithms=[tokens.ALGORITHM], audience=audience, options=checks)
        except jwt.PyJWTError:
            return real(self, audience, token, types)

    return read


def _plain_view(made: ViewSql) -> ViewSql:
    return ViewSql(*(statement.replace("SECURE VIEW", "VIEW") for statement in made))


def _without_landlock(confinement: Any) -> Any:
    return replace(confinement, layers=confinement.layers - {Layer.LANDLOCK})


def _reviewing(handler: Any) -> Any:
    return replace(handler, roles=handler.roles | {"reviewer"})
