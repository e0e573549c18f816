"""What came of the suite, as a page, as JSON, and as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from kaianalytics.attack.attempts import Trial
from kaianalytics.attack.suite import Outcome, Result

_EACH = "each attack of this kind from inside"
_STYLE = """
body { font: 15px/1.5 system-ui; margin: 2em auto; max-width: 72em }
td, th { padding: .25em .8em; text-align: left; vertical-align: top }
tr:nth-child(even) { background: #f4f4f4 } .through { background: #fdd !important }
summary { cursor: pointer } code { font-size: 13px }
"""


def rows(outcome: Outcome) -> Iterator[tuple[str, str, str, str]]:
    """Door, attack, tries, and what stopped them or what went through; purposes together, and kernels' by families."""
    gathered: dict[tuple[str, str], list[Result]] = {}
    for result in outcome.results:
        family = result.door.startswith(("kernel", "worker")) and not result.through
        name = _EACH if family else result.attack
        gathered.setdefault((result.door, name), []).append(result)
    for (door, name), results in gathered.items():
        trials = tuple(trial for result in results for trial in result.trials)
        through = tuple(trial for result in results for trial in result.through)
        told = verdict(Result(name, door, "", (), trials, through))
        yield door, name, str(len(trials)), _layers_of(results) if name == _EACH else told


def _layers_of(results: list[Result]) -> str:
    """The layers that stopped attacks of which several stop most."""
    return "of each, any one of: " + ", ".join(sorted({layer for result in results for layer in result.holds}))


def verdict(result: Result) -> str:
    """In a line: what stopped it, or what went through."""
    if result.through:
        first = result.through[0]
        what = first.effect or ", ".join(sorted(map(str, first.found)))
        return f"WENT THROUGH, {len(result.through)} of {len(result.trials)}: {what}"
    return ", ".join(f"{layer} {count}" for layer, count in result.stopped_by.items() if layer) or "nothing to be found"


def to_json(outcome: Outcome, facts: dict[str, Any]) -> str:
    """All of it."""
    listed = [
        {
            "purpose": result.purpose, "door": result.door, "attack": result.attack, "stopped_by": result.stopped_by,
            "any_one_stops_it": list(result.holds), "tries": [_trial(trial) for trial in result.trials],
        }
        for result in outcome.results
    ]  # fmt: skip
    whole = {**facts, "seen_where_it_may_be": dict(outcome.seen), "notes": outcome.notes, "attacks": listed}
    return json.dumps(whole, indent=1, ensure_ascii=False)


def to_html(outcome: Outcome, facts: dict[str, Any]) -> str:
    """All of it, as a page without scripts."""
    said = "".join(f"<p>{escape(f'{name}: {value}')}</p>" for name, value in facts.items())
    notes = "".join(f"<p>{escape(note)}</p>" for note in outcome.notes)
    body = "".join(_row(result) for result in outcome.results)
    head = "<tr><th>purpose<th>door<th>attack<th>tried<th>stopped by</tr>"
    page = f"<!doctype html><meta charset=utf-8><title>kai attack</title><style>{_STYLE}</style><h1>kai attack</h1>"
    return f"{page}{said}{notes}<table>{head}{body}</table>"


def _row(result: Result) -> str:
    tried = "".join(f"<li><code>{escape(trial.what)}</code> {escape(_outcome(trial))}" for trial in result.trials)
    cells = (result.purpose, result.door, result.attack)
    shown = "".join(f"<td>{escape(cell)}" for cell in cells)
    details = f"<details><summary>{len(result.trials)}</summary><ul>{tried}</ul></details>"
    kind = " class=through" if result.through else ""
    return f"<tr{kind}>{shown}<td>{details}<td>{escape(verdict(result))}</tr>"


def _outcome(trial: Trial) -> str:
    found = ", ".join(sorted(map(str, trial.found)))
    return f"{trial.outcome}{' · ' + trial.effect if trial.effect else ''}{' · FOUND ' + found if found else ''}"


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "what": trial.what, "outcome": trial.outcome, "stopped_by": trial.stopped_by, "effect": trial.effect,
        "found": sorted(map(str, trial.found)),
    }  # fmt: skip
