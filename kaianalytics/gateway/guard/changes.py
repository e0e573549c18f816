"""What an installed engine has that the reviewed one had not, and the reverse: the first half of an upgrade.

Two files stand beside this. `reviewed.toml` is judged by people, name by name. `listed.toml` is written by
`kai engine list` and judged as a whole when it changes: the engine's keywords, settings and own views, and the parts of
the parse trees that the statements shipped with the product give. A part that no shipped statement gives is not known;
the guard refuses it as well, for it admits only what `grammar.py` writes out.
"""

from __future__ import annotations

import shlex
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaianalytics.errors import Fault, GuardRefused
from kaianalytics.gateway.guard.allowed import fold
from kaianalytics.gateway.guard.engine import Engine, NotParsed
from kaianalytics.gateway.guard.reviewed import Reviewed
from kaianalytics.gateway.guard.size import check_text

FILE = Path(__file__).with_name("listed.toml")
LISTED = ("keywords", "settings", "views", "tree")
_BUILT_IN_COLLATIONS = frozenset({"binary"})  # admitted, and not listed by the engine

Lists = Mapping[str, frozenset[str]]


@dataclass(frozen=True, order=True)
class Change:
    """One thing that the installed engine has and the reviewed one had not, or the reverse."""

    sort: str
    name: str
    new: bool


def changes(engine: Engine, reviewed: Reviewed, listed: Lists, statements: Iterable[str]) -> list[Change]:
    """Everything that differs between the installed engine and the two files, in order."""
    functions = frozenset(f"{name} ({kind})" for name, kind in engine.functions())
    known = frozenset(f"{name} ({kind})" for name, kind in reviewed.functions)
    found = [
        *_between("version", frozenset({engine.version}), frozenset({f"v{reviewed.engine}"})),
        *_between("function", functions, known),
        *_between("type", engine.listed("types"), reviewed.type_names),
        *_between("collation", engine.listed("collations"), reviewed.collations - _BUILT_IN_COLLATIONS),
    ]
    now = lists_of(engine, statements)
    return sorted([*found, *(change for sort in LISTED for change in _between(sort, now[sort], listed[sort]))])


def _between(sort: str, now: frozenset[str], then: frozenset[str]) -> Iterator[Change]:
    yield from (Change(sort, name, True) for name in now - then)
    yield from (Change(sort, name, False) for name in then - now)


def lists_of(engine: Engine, statements: Iterable[str]) -> dict[str, frozenset[str]]:
    """What the installed engine gives for each list of `listed.toml`."""
    return {
        **{sort: engine.listed(sort) for sort in ("keywords", "settings", "views")},
        "tree": frozenset(part for sql in statements for part in _parts(engine, sql)),
    }


def _parts(engine: Engine, sql: str) -> Iterator[str]:
    """The parts of a statement's tree: `KIND/type` and `KIND.field` of each node; nothing where it is given no tree."""
    try:
        check_text(sql)
        document = engine.document(sql)
    except (GuardRefused, NotParsed, RecursionError):
        return
    stack: list[tuple[str, Any]] = [("document", document)]
    while stack:
        under, value = stack.pop()
        if isinstance(value, list):
            stack += [(under, item) for item in value]
        elif isinstance(value, dict) and value.get("error") is not True:
            word = value.get("type") if isinstance(value.get("type"), str) else ""
            kind = value.get("class") or word or under
            yield f"{kind}/{word}"
            yield from (f"{kind}.{field}" for field in value)
            stack += [(field, child) for field, child in value.items()]


def read_lists(text: str) -> dict[str, frozenset[str]]:
    """The lists of a `listed.toml`."""
    try:
        told = tomllib.loads(text)
        return {sort: frozenset(shlex.split(told[sort])) for sort in LISTED}
    except (AttributeError, KeyError, ValueError) as error:
        raise Fault(
            "ENGINE_LISTS",
            "The lists of the reviewed engine can't be read.",
            rule="an engine is compared with what was written down of the reviewed one",
            hint="write them anew with `kai engine list`",
        ) from error


def written_lists(lists: Lists) -> str:
    """The lists as `listed.toml` holds them."""
    head = "# Written by `kai engine list`: what the reviewed engine has besides functions and types.\n"
    return "\n".join([head, *(f"{sort} = '''\n{_wrapped(lists[sort])}'''\n" for sort in LISTED)])


def _wrapped(names: frozenset[str]) -> str:
    ordered = " ".join(sorted(names, key=lambda name: (fold(name), name)))
    if set(shlex.split(ordered)) != names:
        raise ValueError("a name holds a blank or a quote: listed.toml needs another shape")
    return textwrap.fill(ordered, 118, break_long_words=False, break_on_hyphens=False)
