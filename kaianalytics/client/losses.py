"""Privacy loss in sentences: what was charged, what one unit lost, what is left.

Law: of twelve digits four are shown, what is lost rounded up and what is left rounded down. The exact numbers are in
the release and the budget themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal

from kaianalytics.client.digits import left_text, loss_text, number_of


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
    counted = "1 window" if all_of_them == 1 else f"{all_of_them:,} windows"
    yield f"{counted} read: {span}. The loss above is that of one unit in one window."
    if all_of_them > 1:
        year, every = (loss_text(number**2 * Decimal(rho)) for number in (in_a_year, all_of_them))
        within = "within one year" if in_a_year == all_of_them else f"and ρ {year} within any one year"
        yield f"A unit that is in all {all_of_them}: ρ {every} ({all_of_them}² · ρ), {within}."


def most_in_a_year(windows: Sequence[str]) -> int:
    """How many of the windows, by their first days, begin within one year, whichever twelve months are the fullest."""
    days = sorted(date.fromisoformat(window[:10]) for window in windows)
    return max(sum(0 <= (other - day).days < 365 for other in days) for day in days)


def lost_sentences(lost: Mapping[str, str]) -> Iterator[str]:
    """What one unit has lost so far, by window and by year."""
    if lost:
        so_far = ", ".join(f"{where} ρ {loss_text(rho)}" for where, rho in lost.items())
        yield f"One unit has lost so far: {so_far}."


def left_sentence(remaining: Mapping[str, str]) -> str:
    """What is left of each allowance; nothing where that is not known."""
    left = ", ".join(f"{name} {left_text(amount)}" for name, amount in remaining.items())
    return f" Left: ρ {left}." if left else ""
