"""The SQL that finds units which may be over the bound, and cuts what is over it, as `forms` says and proves.

Laws: what is cut, and how, depends on one unit's own rows alone; a unit that `heavy` does not find is within the bound,
for it is tested by a sum of sizes, which is never less than the norm; choosing among rows or cells goes by a hash of
what they hold, and what a hash can't tell apart is told apart by the contents; rows that hold the same are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.bounding.texts import (
    SAFETY,
    double,
    grouped,
    hashed,
    limited,
    listed,
    shrunk,
    times,
    whole_number,
)
from kaianalytics.privacy.bounding.totals import Totals, named
from kaianalytics.privacy.plan import TOTAL_LIMIT

SQUARED = isqrt(2**63 - 1)  # what is squared fits 64 bits; no part that is kept comes near

_HEAVY_ROWS = "r SEMI JOIN heavy USING (u)"


def heavy(totals: Totals) -> str:
    """The units that may be over the bound, by `u` alone: looking at more of them changes nothing."""
    found = f"SELECT u FROM r{grouped(totals.units)} HAVING {_over(totals)}"
    return f"SELECT DISTINCT u FROM ({found}) AS h" if len(totals.units) > 1 else found


def cut(totals: Totals) -> str:
    """Each cell's totals over the heavy units, each within its bound."""
    match totals.bounding.form.kind:
        case "rows":
            return _cut_rows(totals)
        case "groups":
            return _cut_groups(totals)
        case _:
            return _cut_norm(totals)


def cut_at_once(totals: Totals) -> str:
    """The totals over all units where there is one cell: a unit is one row then, and its norm the size of its part."""
    norm = totals.bounding.form.kind == "norm"
    values = [_clamped(totals, part) if norm else _capped(totals, part) for part in totals.parts]
    source = f"(SELECT {listed(totals.units, named(values))} FROM ({totals.rows.sql}) AS r{grouped(totals.units)}) AS p"
    return _over_units(totals, [f"v{i}" for i in range(len(values))], source)


def _over(totals: Totals) -> str:
    """True of each unit that is over its bound, and of few others."""
    form = totals.bounding.form
    if form.kind != "norm":
        # Within so many rows, a unit has no more of them in any cell, and no more cells.
        enough = [form.rows, form.groups] if totals.bounding.choosing else [form.rows]
        return f"COUNT(*) > {min(bound for bound in enough if bound is not None)}"
    own = [part for part in totals.parts if part.weigher is None]
    every = [_rows_within(totals, part) for part in own if part.kind != "sum" and not totals.filter(part)]
    # With so few rows, a unit is within the bound of any part that as many rows of the largest value keep.
    tests = [_over_norm(totals, part) for part in own if not every or _rows_within(totals, part) < min(every)]
    tests += [f"COUNT(*) > {min(every)}"] if every else []
    return " OR ".join(dict.fromkeys(tests))


def _rows_within(totals: Totals, part: Part) -> int:
    """So many rows keep a unit's part within its norm, whatever they hold."""
    norm = totals.bounding.norms[part.measure]
    return norm**2 // part.scale**2 if part.kind == "units" else norm // part.most


def _over_norm(totals: Totals, part: Part) -> str:
    if part.kind != "sum":
        return f"{totals.count(part)} > {_rows_within(totals, part)}"
    size = times(part.scale, totals.rows.values[part.measure]) + (f" - {part.centre}" if part.centre else "")
    size = f"ABS({size})" if part.least < 0 else size
    return f"SUM({size}){totals.filter(part)} > {totals.bounding.norms[part.measure]}"


# --- rows


def _cut_rows(totals: Totals) -> str:
    units, contents = totals.units, totals.rows.contents
    # Rows that hold the same are numbered, so that they are spread among the others and not taken in a row.
    alike = f"ROW_NUMBER() OVER (PARTITION BY {listed(units, contents)}) AS alike"
    order = listed([hashed([*units, *contents, "alike"])], contents, ["alike"])
    place = f"ROW_NUMBER() OVER (PARTITION BY {listed(units)} ORDER BY {order}) AS place"
    told = f"SELECT *, {alike} FROM {_HEAVY_ROWS}{f' WHERE {totals.test}' if totals.test else ''}"
    ranked = f"SELECT *, {place} FROM ({told}) AS a"
    kept = f"(SELECT * FROM ({ranked}) AS n WHERE place <= {totals.bounding.form.rows}) AS q"
    values = named(totals.of(part) for part in totals.parts)
    return f"SELECT {listed(totals.keys, values)} FROM {kept}{grouped(totals.keys)}"


# --- a norm


def _cut_norm(totals: Totals) -> str:
    units = listed(totals.units)
    owned = [i for i, part in enumerate(totals.parts) if part.weigher is None]
    squares = listed([f"SUM(CAST(v{i} AS HUGEINT) * v{i}) AS n{i}" for i in owned])
    vectors = "p"
    if totals.parts[0].kind == "tree":  # its norm is that of the rows in each cell
        columns = (*totals.units, *totals.cell)
        vectors = f"(SELECT {listed(columns, ['SUM(v0) AS v0'])} FROM p{grouped(columns)}) AS t"
    values = [_in_cell(totals, part) for part in totals.parts]
    source = f"p INNER JOIN (SELECT {units}, {squares} FROM {vectors} GROUP BY {units}) AS m USING ({units})"
    scaled = [_scaled(totals, i) for i in range(len(totals.parts))]
    return _with_parts(totals, values, _over_units(totals, scaled, source))


def _in_cell(totals: Totals, part: Part) -> str:
    """What a unit's rows in one cell add, in steps."""
    if part.kind == "units":
        return f"CASE WHEN {totals.count(part)} > 0 THEN {part.scale} ELSE 0 END"
    if part.kind != "sum":
        return totals.of(part)
    limit = SQUARED if part.weigher is None else TOTAL_LIMIT
    return limited(totals.of(part), -limit, limit)


def _clamped(totals: Totals, part: Part) -> str:
    """A unit's part where there is one cell: between −T and T, or with its weigher's rows where these are over T."""
    norm = totals.bounding.norms[part.measure]
    if part.weigher is None:
        return limited(_in_cell(totals, part) if part.kind == "units" else totals.of(part), -norm, norm)
    count = totals.of(totals.bounding.parts[part.weigher])
    kept = limited(totals.of(part), -TOTAL_LIMIT, TOTAL_LIMIT)
    return f"CASE WHEN {count} <= {norm} THEN {kept} ELSE {shrunk(totals.of(part), norm, count)} END"


def _scaled(totals: Totals, i: int) -> str:
    part = totals.parts[i]
    by = i if part.weigher is None else [other.measure for other in totals.parts].index(part.weigher)
    norm = totals.bounding.norms[part.measure]
    factor = f"({double(norm * SAFETY)} / SQRT(CAST(n{by} AS DOUBLE)))"
    scaled = whole_number(f"TRUNC(v{i} * {factor})")
    return f"CASE WHEN n{by} <= {norm**2} THEN v{i} ELSE {scaled} END"


# --- groups


def _cut_groups(totals: Totals) -> str:
    most = totals.bounding.form.rows or 0
    source, values = _chosen(totals), [f"v{i}" for i in range(len(totals.parts))]
    if totals.item:
        inside = most * totals.parts[0].scale
        values = [f"CASE WHEN n <= {inside} THEN v0 ELSE {shrunk('v0', inside, 'n')} END"]
    capped = [totals.of(part) if part.item else _capped(totals, part) for part in totals.parts]
    return _with_parts(totals, capped, _over_units(totals, values, source))


def _chosen(totals: Totals) -> str:
    """The cells that count of each unit, and beside each of several numbers the rows in all of its cell."""
    columns = []
    if totals.item:
        columns.append(f"SUM(v0) OVER (PARTITION BY {listed(totals.units, totals.cell)}) AS n")
    if totals.bounding.choosing:
        order = listed([hashed([*totals.units, *totals.cell])], totals.cell)
        columns.append(f"DENSE_RANK() OVER (PARTITION BY {listed(totals.units)} ORDER BY {order}) AS place")
    if not columns:
        return "p"
    kept = f" WHERE place <= {totals.bounding.form.groups}" if totals.bounding.choosing else ""
    return f"(SELECT * FROM (SELECT *, {listed(columns)} FROM p) AS n{kept}) AS q"


def _capped(totals: Totals, part: Part) -> str:
    most, total = totals.bounding.form.rows or 0, totals.of(part)
    if part.kind == "units":
        return _in_cell(totals, part)
    if part.kind == "rows":
        return f"LEAST({total}, {most * part.scale})"
    whole = limited(total, most * part.least, most * part.greatest)
    if part.weigher is None:
        return whole
    count = totals.count(totals.bounding.parts[part.weigher])
    return f"CASE WHEN {count} <= {most} THEN {whole} ELSE {shrunk(total, most, count)} END"


# --- over units


def _with_parts(totals: Totals, values: Sequence[str], select: str) -> str:
    """The select over `p`, what each heavy unit adds to each cell."""
    columns = (*totals.units, *totals.keys)
    parts = f"SELECT {listed(columns, named(values))} FROM (SELECT * FROM {_HEAVY_ROWS}) AS q"
    return f"(WITH p AS MATERIALIZED ({parts}{grouped(columns)}{totals.having}) {select})"


def _over_units(totals: Totals, values: Sequence[str], source: str) -> str:
    """The values summed over units; a customer that is several units counts once among distinct ones."""
    keys = totals.keys
    if not (totals.many and any(part.kind == "units" for part in totals.parts)):
        return f"SELECT {listed(keys, named(f'SUM({value})' for value in values))} FROM {source}{grouped(keys)}"
    pairs = zip(totals.parts, values, strict=True)
    most = named(f"{'MAX' if part.kind == 'units' else 'SUM'}({value})" for part, value in pairs)
    customers = f"SELECT {listed(('u', *keys), most)} FROM {source}{grouped(('u', *keys))}"
    again = named(f"SUM(v{i})" for i in range(len(values)))
    return f"SELECT {listed(keys, again)} FROM ({customers}) AS o{grouped(keys)}"
