"""What bounding leaves out of a release, in lines: said once for all figures that it holds for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kaianalytics.client.digits import loss_text

BIAS = "Bounding is a bias that no ± counts:"
_FORMS = {
    "rows": "by rows in all",
    "norm": "by length over the groups",
    "groups": "by groups, and rows in each",
    "whole": "the contract's, which cut nothing more",
}


def bounding_lines(
    bounding: Sequence[str], figures: Sequence[str], chosen: Sequence[str] | None = None
) -> tuple[str, ...]:
    """What bounding leaves out, under a heading; of `chosen` figures alone where they are named."""
    lines = once(of_figures(bounding, figures, figures if chosen is None else chosen), figures)
    if len(lines) == 1:
        return (f"{BIAS} {lines[0]}",)
    return (BIAS, *(f"· {line}" for line in lines)) if lines else ()


def of_figures(sentences: Iterable[str], figures: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    """The sentences that are of all figures, or begin with the name of a chosen one."""
    others = [f"{name}: " for name in figures if name not in chosen]
    return tuple(sentence for sentence in sentences if not sentence.startswith(tuple(others)))


def once(sentences: Iterable[str], figures: Sequence[str]) -> list[str]:
    """Sentences that differ only in the name of the figure that they begin with, each once with all the names."""
    said: dict[str, list[str]] = {}
    for sentence in sentences:
        name, colon, rest = sentence.partition(": ")
        if colon and name in figures:
            said.setdefault(rest, []).append(name)
        else:
            said.setdefault(sentence, [])
    return [f"{', '.join(names)}: {sentence}" if names else sentence for sentence, names in said.items()]


def bounds_sentences(bounds: Mapping[str, Any], figures: Sequence[str]) -> Iterator[str]:
    """The bounds that were chosen, whom they cut short, and what choosing them cost and found."""
    told = {name: value for name, value in bounds.items() if value not in (None, "", (), [], {})}
    found = {str(name): told.pop(name) for name in ("found_at_rho", "units_found", "at_most") if name in told}
    form = [_FORMS.get(str(told.pop("form")), "")] if "form" in told else []
    facts = form + [f"{_words(name)} {_fact(value)}" for name, value in told.items() if not _is_sentence(value)]
    if any(facts):
        yield "Bounds chosen: " + ", ".join(fact for fact in facts if fact) + "."
    yield from _found(found)
    for value in told.values():
        if _is_sentence(value):
            yield from once([value] if isinstance(value, str) else value, figures)


def _found(found: Mapping[str, Any]) -> Iterator[str]:
    """What `bounds="private"` found, and at what part of the price."""
    if "found_at_rho" not in found:
        return
    units = f" of about {_fact(found['units_found'])} units" if "units_found" in found else ""
    yield f"Bounds were found from the data{units}, for ρ {loss_text(str(found['found_at_rho']))} of the price."
    shares = found.get("at_most")
    for name, points in shares.items() if isinstance(shares, Mapping) else ():
        if isinstance(points, Mapping):
            upto = ", ".join(f"{share} at most {most}" for share, most in points.items())
            yield f"{name}: of them {upto}."


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
