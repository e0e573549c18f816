"""The sentences under a release: what its figures say and don't say, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kaianalytics.client.cells import is_below_zero
from kaianalytics.client.digits import TOO_FEW, loss_text, number_of
from kaianalytics.client.shown import isolation_sentence

if TYPE_CHECKING:
    from kaianalytics.client.release import ReleaseTable

_BY_RANK = "A value by rank is chosen with noise: of values that are about as frequent, another may be the true one."
_NEGATIVE = "Figures below zero are few or none, and noise. `.clamped()` shows zero, but its sums come out too high."
_BIAS = "Bounding is a bias that no ± counts:"
_FORMS = {
    "rows": "by rows in all",
    "norm": "by length over the groups",
    "groups": "by groups, and rows in each",
    "whole": "the contract's, which cut nothing more",
}
_CLAMPED = "Figures below zero are shown as 0: their sums come out too high."
_TOO_FEW = f"“{TOO_FEW}”: what the figure rests on is no larger than its noise, so that a number would mislead."


def about(table: ReleaseTable) -> tuple[str, ...]:
    """What the figures say and don't say."""
    return tuple(_about(table))


def origin(table: ReleaseTable) -> tuple[str, ...]:
    """What the release cost and rests on."""
    release = table.release
    recorded = f", recorded {recorded_text(table.recorded)}" if table.recorded else ""
    return (
        _cost(table),
        *windows_sentences(release.windows, release.rho),
        *_lost(table.lost),
        f"Purpose {release.purpose}. Snapshot {release.snapshot}{recorded}.",
        isolation_sentence(release.isolation),
    )


def recorded_text(at: str) -> str:
    """A moment as it is shown: day and minute."""
    return at[:16].replace("T", " ") + (" UTC" if at else "")


def loss_sentence(rho: str, epsilon: str, epsilon_delta: str, delta: str, how: str = "") -> str:
    """One loss in the ways that people know it; `how` it was charged stands after the ρ."""
    known_as = f" (ε {loss_text(epsilon)} at δ {loss_text(epsilon_delta)})" if epsilon else ""
    more = f", and δ {loss_text(delta)} for groups that are not declared" if number_of(delta) else ""
    return f"ρ {loss_text(rho)}{how}{known_as}{more}"


def windows_sentences(windows: Sequence[str], rho: str) -> Iterator[str]:
    """The windows that were read, and what a unit loses that is in several of them."""
    if not windows:
        return
    all_of_them, in_a_year = len(windows), most_in_a_year(windows)
    span = windows[0] if all_of_them == 1 else f"{min(windows)} … {max(windows)}"
    yield f"{_counted(all_of_them, 'window')} read: {span}. The loss above is that of one unit in one window."
    if all_of_them > 1:
        year, every = (loss_text(number**2 * Decimal(rho)) for number in (in_a_year, all_of_them))
        within = "within one year" if in_a_year == all_of_them else f"and ρ {year} within any one year"
        yield f"A unit that is in all {all_of_them}: ρ {every} ({all_of_them}² · ρ), {within}."


def most_in_a_year(windows: Sequence[str]) -> int:
    """How many of the windows, by their first days, begin within one year, whichever twelve months are the fullest."""
    days = sorted(date.fromisoformat(window[:10]) for window in windows)
    return max(sum(0 <= (other - day).days < 365 for other in days) for day in days)


def bounding_lines(
    bounding: Sequence[str], figures: Sequence[str], chosen: Sequence[str] | None = None
) -> tuple[str, ...]:
    """What bounding leaves out, under a heading; what holds for several figures is said once.

    The engine's sentences are of all figures, or begin with the name of one; those of `chosen` are told, all unless
    named.
    """
    said: dict[str, list[str]] = {}
    for sentence in bounding:
        name, colon, rest = sentence.partition(": ")
        if not colon or name not in figures:
            said.setdefault(sentence, [])
        elif chosen is None or name in chosen:
            said.setdefault(rest, []).append(name)
    lines = tuple(f"{', '.join(names)}: {sentence}" if names else sentence for sentence, names in said.items())
    return (f"{_BIAS} {lines[0]}",) if len(lines) == 1 else (_BIAS, *(f"· {line}" for line in lines)) if lines else ()


def bounds_sentences(bounds: Mapping[str, Any]) -> Iterator[str]:
    """The bounds that were chosen, and what choosing them cost and found."""
    told = {name: value for name, value in bounds.items() if value not in (None, "", (), [], {})}
    form = [_FORMS.get(str(told.pop("form")), "")] if "form" in told else []
    facts = form + [f"{_words(name)} {_fact(value)}" for name, value in told.items() if not _is_sentence(value)]
    if any(facts):
        yield "Bounds chosen: " + ", ".join(fact for fact in facts if fact) + "."
    for value in told.values():
        if _is_sentence(value):
            yield from [value] if isinstance(value, str) else value


def _about(table: ReleaseTable) -> Iterator[str]:
    release, roles = table.release, {column.role for column in table.figures}
    if roles - {"top"}:
        at = f"{release.confidence:.0%}"
        yield f"± is privacy noise at {at}; it counts neither sampling nor what bounding leaves out."
    if "top" in roles:
        yield _BY_RANK
    yield from bounding_lines(release.bounding, [figure.name for figure in table.figures])
    yield from bounds_sentences(release.bounds)
    yield from release.notes
    figures = [(c, row[n]) for n, c in enumerate(release.columns) if c.role != "key" for row in release.rows]
    if any(is_below_zero(column, value) for column, value in figures):
        yield _CLAMPED if table.clamp else _NEGATIVE
    if any(column.role != "top" and number_of(value) is None for column, value in figures):
        yield _TOO_FEW
    yield from table.derived


def _cost(table: ReleaseTable) -> str:
    release = table.release
    how = " charged" if table.charged else ", from the record: not charged"
    cost = loss_sentence(release.rho, release.epsilon, release.epsilon_delta, release.delta, how)
    left = ", ".join(f"{name} {loss_text(amount)}" for name, amount in table.remaining.items())
    return f"Release {release.release_id}: {cost}." + (f" Left: ρ {left}." if left else "")


def _lost(lost: Mapping[str, str]) -> Iterator[str]:
    if lost:
        yield (
            "One unit has lost so far: " + ", ".join(f"{where} ρ {loss_text(rho)}" for where, rho in lost.items()) + "."
        )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _is_sentence(value: Any) -> bool:
    lines = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(line, str) and line.rstrip().endswith(".") for line in lines)


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{_words(name)} {_fact(inner)}" for name, inner in value.items()) + ")"
    if isinstance(value, list | tuple):
        return (" … " if len(value) == 2 else ", ").join(_fact(inner) for inner in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
