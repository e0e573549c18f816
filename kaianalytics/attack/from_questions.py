"""What an analyst may try with statistics: single values, exact figures, many draws, more than is left, and time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal

from kaianalytics.attack import layers as L
from kaianalytics.attack.attempts import Attack, Target, Trial, effect
from kaianalytics.attack.canaries import Place
from kaianalytics.attack.corpus import hostile_statements
from kaianalytics.attack.world import ATTACKER
from kaianalytics.protocol import API

_DEAREST = Decimal(9)  # of one question
_ONE_VALUE = (
    "min({c})",
    "max({c})",
    "any_value({c})",
    "list({c})",
    "string_agg({c}, ',')",
    "mode({c})",
    "arg_max({c}, {c})",
)


def shipped_as_statistics(target: Target) -> Iterator[Trial]:
    """The same, to the door of statistics."""
    for sql in target.adapted([hostile.sql for hostile in hostile_statements()])[:: max(4, target.every)]:
        yield target.ask_statistics(sql, L.PROOF)


def one_persons_values(target: Target) -> Iterator[Trial]:
    """Values themselves, asked of the statistics' door: rows, extremes, lists, groups that nobody declared."""
    for view, table in target.statistics.items():
        yield target.ask_statistics(f"SELECT * FROM {view}", L.PROOF)
        for column in table.columns:
            name = f'"{column.name}"'
            yield target.ask_statistics(f"SELECT {name} FROM {view}", L.PROOF)
            if target.every == 1 or column.type == "string":
                yield target.ask_statistics(f"SELECT {name}, count(*) AS n FROM {view} GROUP BY {name}", L.NOISE)
        for form in _ONE_VALUE[:: 1 if target.every == 1 else 3]:
            for column in table.columns[-2:]:
                yield target.ask_statistics(
                    f"SELECT {form.format(c=chr(34) + column.name + chr(34))} AS x FROM {view}", L.PROOF
                )


def absent_in_statistics(target: Target) -> Iterator[Trial]:
    """Columns that the purpose does not see, and products that it has not, in statistics."""
    for view in target.statistics:
        for column in target.absent(view):
            yield target.ask_statistics(f'SELECT "{column.name}", count(*) AS n FROM {view} GROUP BY ALL', L.PROOF)
    for product in target.world.contracts.products:
        if product not in target.statistics:
            yield target.ask_statistics(f"SELECT count(*) AS n FROM {product}", L.DECISION)


def parts_that_add_up(target: Target) -> Iterator[Trial]:
    """A whole and its two parts: did they add up, each would be exact, and a difference of two would be one person."""
    for view, column, value in _divided(target):
        wheres = ("", f" WHERE {column} = {value}", f" WHERE {column} <> {value}")
        trials, figures = [], []
        for where in wheres:
            sql = f"SELECT count(*) AS n FROM {view}{where}"
            reply = target.line.statistics(sql)
            trials.append(target.judged(sql, reply, sql, L.NOISE, statistics=True))
            figures += figures_of(reply.json)
        exact = len(figures) == 3 and figures[0] == figures[1] + figures[2]
        yield from trials[:-1]
        yield effect(trials[-1], "the parts add up: they are exact", exact)


def repetitions(target: Target) -> Iterator[Trial]:
    """One question in several spellings, kernels and sessions: further draws could be averaged."""
    for view, column, value in _divided(target)[:1]:
        lines = [target.line, target.gateway.session(ATTACKER, target.purpose, "second"), target.victims_line]
        figures = []
        for number, line in enumerate(lines * 2):
            sql = f"SELECT{' ' * (number + 1)}count(*) AS n{number} FROM {view} WHERE {column} <> {value} -- {number}"
            reply = line.statistics(sql, "0.0002")
            figures += figures_of(reply.json)
            trial = target.judged(sql, reply, sql, L.ONE_DRAW, statistics=True)
            yield effect(trial, "another draw of the same figure", len(set(figures)) > 1)


def more_than_is_left(target: Target) -> Iterator[Trial]:
    """Questions that together cost more than what is left of the tightest allowance."""
    for view, column, value in _divided(target)[:1]:
        lines = target.line.ask("GET", f"{API}/budget").json.get("lines", [])
        binding = (line for line in lines if not line["name"].startswith("window"))  # of another view, perhaps
        left = min((Decimal(line["remaining"]) for line in binding), default=Decimal(0))
        price, had = min(left + Decimal("0.1"), _DEAREST), Decimal(0)
        for number in range(int(left / price) + 2):
            sql = f"SELECT count(*) AS n{number} FROM {view} WHERE {column} = {value}"
            reply = target.line.statistics(sql, str(price))
            had += price if figures_of(reply.json) else 0
            trial = target.judged(sql, reply, sql, L.LEDGER, statistics=True)
            yield effect(trial, "answers at more than was left", had > left)


def in_no_time(target: Target) -> Iterator[Trial]:
    """The time that a figure takes, which tells of its rows, unless none comes before its bucket ends."""
    for view, column, value in _divided(target)[:1]:
        population = target.statistics[view].population or ""
        bucket = fastest = float(target.world.contracts.purposes.populations[population].time_bucket)
        for number in range(4):
            sql = f"SELECT count(*) AS t{number} FROM {view} WHERE {column} = {value}"
            began = time.monotonic()
            reply = target.line.statistics(sql, f"0.000{number + 4}")
            fastest = min(fastest, time.monotonic() - began) if figures_of(reply.json) else fastest
            trial = target.judged(sql, reply, sql, L.BUCKETS, statistics=True)
            yield effect(trial, "a figure came before its bucket's end", fastest < bucket)


def comments_of_others(target: Target) -> Iterator[Trial]:
    """What another analyst wrote beside a question, in the repeated answer and in the list of earlier ones."""
    for view, column, value in _divided(target)[:1]:
        sql = f"SELECT count(*) AS n FROM {view} WHERE {column} = {value}"
        word = target.world.canaries.word(Place("a comment beside another's question"))
        target.victims_line.statistics(f"{sql} -- {word}", "0.0003")
        yield target.judged(
            "the same question", target.line.statistics(sql, "0.0003"), sql, L.COMMENTS, statistics=True
        )
        listed = target.line.ask("GET", f"{API}/releases")
        yield target.judged("GET /v1/releases", listed, "", L.COMMENTS, statistics=True)


def figures_of(answer: dict[str, object]) -> list[float]:
    """The figures of a statistics answer."""
    try:
        rows = json.loads(str(answer["release"]))["rows"]
    except (KeyError, ValueError):
        return []
    return [float(value) for row in rows for value in row if isinstance(value, int | float)]


def _divided(target: Target) -> list[tuple[str, str, str]]:
    """Views that a question can divide in two: a required column, and one of its values as SQL."""
    found = []
    for view, table in target.statistics.items():
        contract = target.world.contracts.products[view]
        for column in table.columns:
            values = contract.column(column.source).enum
            if table.windows is None and values and not column.nullable and column.rule.action == "keep":
                quoted = values[0] if column.type == "integer" else f"'{values[0]}'"
                found.append((view, f'"{column.name}"', quoted))
                break
    return found


STATISTICS_ATTACKS = (
    Attack("hostile statements as shipped", "statistics", (L.GUARD, L.PROOF), shipped_as_statistics),
    Attack("one person's values", "statistics", (L.PROOF,), one_persons_values),
    Attack("a column or product of others", "statistics", (L.PROOF, L.STORE, L.VIEW), absent_in_statistics),
    Attack("the difference of two exact figures", "statistics", (L.NOISE,), parts_that_add_up),
    Attack("an average of many draws", "statistics", (L.ONE_DRAW,), repetitions),
    Attack("more than is left", "statistics", (L.LEDGER,), more_than_is_left),
    Attack("how long a figure takes", "statistics", (L.BUCKETS,), in_no_time),
    Attack("what others wrote beside their questions", "statistics", (L.COMMENTS,), comments_of_others),
)  # fmt: skip
