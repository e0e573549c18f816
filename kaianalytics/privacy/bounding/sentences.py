"""What bounding leaves out, in sentences for people: made from the contract and the statement, never from data."""

from __future__ import annotations

from decimal import Decimal

from kaianalytics.privacy.bounding.counting import Part, name_of
from kaianalytics.privacy.bounding.forms import Bounding
from kaianalytics.privacy.bounding.windows import WindowsRead, windowed
from kaianalytics.privacy.query import StatisticsQuery


def plan_sentences(query: StatisticsQuery, bounding: Bounding, read: WindowsRead | None) -> tuple[str, ...]:
    """What holds for all figures of the answer."""
    view, unit = query.source.view, query.source.privacy_unit.column
    missing = unit not in view.columns or view.columns[unit].nullable
    sentences = [f"Rows without {unit} are left out."] if missing else []
    if read is not None:
        span = next(relation.view.windows.span for relation in query.source.relations if relation.view.windows)
        late = f"a row that arrived after its {span} counts in the one it arrived in"
        sentences.append(f"One {unit} in one {span} is one unit; {late}.")
        if len(windowed(query.source)) > 1:
            sentences.append(f"Rows are joined within one {span}.")
    return (*sentences, *_form_sentences(query, bounding))


def _form_sentences(query: StatisticsQuery, bounding: Bounding) -> tuple[str, ...]:
    unit, form, contract = query.source.privacy_unit.column, bounding.form, query.source.view.contribution
    if bounding.way == "stored" and contract is not None:
        limits = [f"{contract.rows} rows in all"] if contract.rows else []
        limits += [f"{contract.groups} groups, {contract.rows_per_group} rows in each"] if contract.groups else []
        return (f"Each {unit} counts with at most {' and '.join(limits)}; further ones are left out, by a fixed hash.",)
    if form.rows is not None and form.kind != "groups":
        count = "1 row" if form.rows == 1 else f"{form.rows:,} rows"
        of = "in the store" if bounding.way == "direct" else "that the filter leaves"
        return (f"At most {count} of each {unit} {of} count; further ones are left out, by a fixed hash.",)
    if bounding.choosing:
        of = "" if bounding.cells is None else f" of the {bounding.cells:,}"
        return (
            f"Each {unit} counts in at most {form.groups:,}{of} groups; further ones are left out, by a fixed hash.",
        )
    return ()


def vector_sentence(query: StatisticsQuery, bounding: Bounding, part: Part) -> str:
    """What is cut from one figure: its values, and its part per unit."""
    name, cuts = name_of(query, part.measure), [*_values(query, part), *_amount(query, bounding, part)]
    return f"{name}: {'; '.join(cuts)}." if cuts else ""


def _values(query: StatisticsQuery, part: Part) -> list[str]:
    bounds = query.measures[part.measure].bounds
    if bounds is None:
        return []
    fine = f" in steps of {plain(part.grid)}" if part.kind == "sum" else ""
    return [f"values are limited to {plain(bounds.lower)} … {plain(bounds.upper)}{fine}, missing ones are left out"]


def _amount(query: StatisticsQuery, bounding: Bounding, part: Part) -> list[str]:
    unit, form = query.source.privacy_unit.column, bounding.form
    if form.kind == "norm" and part.weigher is not None:
        return [f"scaled down with the rows of each {unit}"]
    if form.kind == "norm":
        bound, over = plain(amount(bounding, part)), "" if bounding.cells == 1 else " as a vector over the groups"
        what = {"sum": "", "units": " group" if bound == "1" else " groups"}.get(
            part.kind, " row" if bound == "1" else " rows"
        )
        return [f"each {unit} adds at most {bound}{what}{over}; who would add more is scaled down"]
    if form.kind == "groups" and part.kind != "units":
        count = "1 row" if form.rows == 1 else f"{form.rows:,} rows"
        return [f"each {unit} adds at most what {count} can to each group"]
    return []


def amount(bounding: Bounding, part: Part) -> Decimal:
    """The norm that one unit's part may have, in the figure's own units."""
    return bounding.norms[part.measure] * part.step


def plain(number: Decimal) -> str:
    """A number without an exponent or needless zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
