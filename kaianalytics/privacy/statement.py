"""The SQL of a bounded question: what the engine runs so that no unit adds more than its bound to the exact figures.

Laws, kept by construction: a unit's part is a function of its own rows; per unit, what is over the bound is cut as
`forms` says and proves; rows outside the declared keys use up nothing of a unit's bound, but for those that the store
itself numbers; only whole numbers are added up, so that no order of rows changes a digit.

Two shapes. `direct`: rows are grouped by cell and no more. `per unit`: units that may be over the bound are found first
(`heavy`: by a sum of sizes, which is never less than the norm); the rows of all others are grouped by cell as they are,
and only the heavy units' rows are grouped by unit and cut. Which units are looked at changes nothing in the result.

Declared keys are tested after grouping, where there are few rows left to test; the test hangs on COUNT(*) so that the
engine can't move it back before the grouping, where it was measured to cost as much as all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt

from kaianalytics.privacy.forms import Bounding
from kaianalytics.privacy.counting import Part
from kaianalytics.privacy.plan import TOTAL_LIMIT, Cell, Statement
from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.rows import Rows, double, literal, rows_of
from kaianalytics.privacy.unit import KeyValue
from kaianalytics.privacy.windows import WindowsRead

SAFETY = 1 - 2.0**-40  # more than what rounding can add: see `forms`
SQUARED = isqrt(2**63 - 1)  # what is squared fits 64 bits; no part of a vector that is kept comes near


def statements_of(
    query: StatisticsQuery, bounding: Bounding, cells: tuple[Cell, ...] | None, read: WindowsRead | None, first: int = 0
) -> tuple[Statement, ...]:
    """The statements that count all parts: those with one number per cell together, led by part `first`, others alone."""
    keys = [_values_of(query, cells, place) for place in range(len(query.keys))]
    plain = sorted((part for part in bounding.parts if not part.item), key=lambda part: part.measure != first)
    together = [tuple(plain)] if plain else []
    alone = [(part,) for part in bounding.parts if part.item]
    writers = [_Writer(query, bounding, parts, keys, read) for parts in (*together, *alone)]
    return tuple(Statement(w.sql(), tuple(part.measure for part in w.parts), w.parts[0].item) for w in writers)


def _values_of(query: StatisticsQuery, cells: tuple[Cell, ...] | None, place: int) -> Sequence[KeyValue] | None:
    """The values that a key can take, in public; None where nobody knows."""
    return query.keys[place].domain if cells is None else tuple(dict.fromkeys(cell[place] for cell in cells))


def limited(value: str, low: int, high: int) -> str:
    """A whole number between two, which every number of any size can be made."""
    return f"CAST(GREATEST(LEAST({value}, {high}), {low}) AS BIGINT)"


def domain_test(query: StatisticsQuery, keys: Sequence[Sequence[KeyValue] | None]) -> str:
    """Whether a cell's keys are among the declared ones; empty where there is nothing to test."""
    tests = [_among(query, place, values) for place, values in enumerate(keys) if values is not None]
    return " AND ".join(tests)


def _among(query: StatisticsQuery, place: int, values: Sequence[KeyValue]) -> str:
    kind = query.keys[place].expression.type
    listed = ", ".join(literal(value, kind) for value in values if value is not None)
    tests = [f"k{place} IN ({listed})"] if listed else []
    tests += [f"k{place} IS NULL"] if None in values else []
    return f"({' OR '.join(tests)})"


@dataclass(frozen=True)
class _Writer:
    """Writes one statement for some parts: all with one number per cell, or one with several."""

    query: StatisticsQuery
    bounding: Bounding
    parts: tuple[Part, ...]
    domains: Sequence[Sequence[KeyValue] | None]
    read: WindowsRead | None

    def sql(self) -> str:
        """The statement."""
        source = self._numbered(rows_of(self.query, self.parts, self.read, self._rank))
        if self.bounding.way == "direct":
            return self._totals(f"({source.sql}) AS r", source, final=True)
        # One table is quicker read thrice than kept; a join is not.
        kept = "MATERIALIZED" if self.query.source.joins else "NOT MATERIALIZED"
        tables = [f"r AS {kept} ({source.sql})", f"heavy AS MATERIALIZED ({self._heavy(source)})"]
        tables += [f"p AS MATERIALIZED ({self._parts(source)})"] if self.bounding.form.kind != "rows" else []
        light = self._totals("(SELECT * FROM r ANTI JOIN heavy USING (u)) AS l", source)
        cut = {"rows": self._cut_rows, "norm": self._cut_norm, "groups": self._cut_groups}[self.bounding.form.kind]
        both = f"({light} UNION ALL {cut(source)}) AS b"
        return f"WITH {', '.join(tables)} {self._summed(both, source)}"

    # --- names

    @property
    def _rank(self) -> int | None:
        return self.bounding.form.rows if self.bounding.rank else None

    @property
    def _domain(self) -> str:
        test = domain_test(self.query, self.domains)
        return f" HAVING CASE WHEN COUNT(*) > 0 THEN {test} END" if test else ""

    def _numbered(self, rows: Rows) -> Rows:
        """The rows; where a cell has several numbers, only rows that count, with the place `item` of their number."""
        (part, *_) = self.parts
        if not part.item:
            return rows
        value, condition = rows.values[part.measure], rows.conditions.get(part.measure)
        columns, joined, tests = (*rows.units, *rows.keys, f"{value} AS item"), "", [f"{value} IS NOT NULL"]
        if part.kind == "top":
            columns, tests = (*rows.units, *rows.keys, "item"), []
            joined = f" INNER JOIN {self._places(part)} AS d(value, item) ON {value} IS NOT DISTINCT FROM value"
        tests += [condition] if condition else []
        where = f" WHERE {' AND '.join(tests)}" if tests else ""
        sql = f"SELECT {', '.join(columns)} FROM ({rows.sql}) AS i{joined}{where}"
        return Rows(sql, (*rows.keys, "item"), rows.units, {}, {})

    def _places(self, part: Part) -> str:
        measure = self.query.measures[part.measure]
        assert measure.expression is not None  # a top counts the values of one
        kind = measure.expression.type
        return f"(VALUES {', '.join(f'({literal(value, kind)}, {i})' for i, value in enumerate(measure.domain))})"

    # --- totals of rows

    def _totals(self, source: str, rows: Rows, *, final: bool = False) -> str:
        """Each cell's totals over rows as they are."""
        totals = [self._total(part, rows) for part in self.parts]
        if final:
            totals = [limited(total, -TOTAL_LIMIT, TOTAL_LIMIT) for total in totals]
        return f"SELECT {_columns(rows.keys, self._named(totals))} FROM {source}{_grouped(rows.keys)}{self._domain}"

    def _total(self, part: Part, rows: Rows) -> str:
        """A part of a group of rows, in steps."""
        where = _filter(rows, part)
        match part.kind:
            case "sum":
                x = rows.values[part.measure]
                total = _times(part.scale, f"COALESCE(SUM({x}){where}, 0)")
                return f"{total} - {part.centre} * COUNT({x}){where}" if part.centre else total
            case "units":
                return _times(part.scale, f"COUNT(DISTINCT u){where}")
            case _:
                return _times(part.scale, f"COUNT(*){where}")

    def _summed(self, source: str, rows: Rows) -> str:
        totals = [limited(f"COALESCE(SUM(v{i}), 0)", -TOTAL_LIMIT, TOTAL_LIMIT) for i in range(len(self.parts))]
        return f"SELECT {_columns(rows.keys, self._named(totals))} FROM {source}{_grouped(rows.keys)}"

    def _named(self, values: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"{value} AS v{i}" for i, value in enumerate(values))

    # --- units that may be over the bound

    def _heavy(self, rows: Rows) -> str:
        over = " OR ".join(dict.fromkeys(self._over(part, rows) for part in self.parts if self._decides(part)))
        found = f"SELECT u FROM r GROUP BY {', '.join(rows.units)} HAVING {over}"
        return f"SELECT DISTINCT u FROM ({found}) AS h" if len(rows.units) > 1 else found

    def _decides(self, part: Part) -> bool:
        return self.bounding.form.kind != "norm" or part.weigher is None

    def _over(self, part: Part, rows: Rows) -> str:
        """True of each unit whose part is over its bound, and false of most others."""
        form = self.bounding.form
        if form.kind != "norm":
            enough = [form.rows or 0, form.groups or 0] if self.bounding.choosing else [form.rows or 0]
            return f"COUNT(*) > {min(enough)}"
        norm, where = self.bounding.norms[part.measure], _filter(rows, part)
        if part.kind == "units":
            return f"COUNT(*){where} > {norm**2 // part.scale**2}"
        if part.kind != "sum":
            return f"COUNT(*){where} > {norm // part.scale}"
        size = _times(part.scale, rows.values[part.measure])
        return f"SUM(ABS({size}{f' - {part.centre}' if part.centre else ''})){where} > {norm}"

    def _parts(self, rows: Rows) -> str:
        """What each heavy unit adds to each cell."""
        parts = self._named(self._part(part, rows) for part in self.parts)
        grouped = (*rows.units, *rows.keys)
        source = "(SELECT * FROM r SEMI JOIN heavy USING (u)) AS q"
        return f"SELECT {_columns(grouped, parts)} FROM {source}{_grouped(grouped)}{self._domain}"

    def _part(self, part: Part, rows: Rows) -> str:
        rows_in_cell, total = f"COUNT(*){_filter(rows, part)}", self._total(part, rows)
        if part.kind == "units":
            return f"CASE WHEN {rows_in_cell} > 0 THEN {part.scale} ELSE 0 END"
        if self.bounding.form.kind == "groups" and not part.item:
            return self._capped(part, rows, total)
        if part.kind != "sum":
            return total
        limit = SQUARED if part.weigher is None else TOTAL_LIMIT
        return limited(total, -limit, limit)

    # --- what is cut, by form

    def _cut_rows(self, rows: Rows) -> str:
        order = ", ".join((_hash((*rows.units, *rows.contents)), *rows.contents))
        place = f"ROW_NUMBER() OVER (PARTITION BY {', '.join(rows.units)} ORDER BY {order}) AS place"
        test = domain_test(self.query, self.domains)
        ranked = f"SELECT *, {place} FROM r SEMI JOIN heavy USING (u){f' WHERE {test}' if test else ''}"
        kept = f"(SELECT * FROM ({ranked}) AS n WHERE place <= {self.bounding.form.rows}) AS q"
        totals = self._named(self._total(part, rows) for part in self.parts)
        return f"SELECT {_columns(rows.keys, totals)} FROM {kept}{_grouped(rows.keys)}"

    def _cut_norm(self, rows: Rows) -> str:
        units, over = ", ".join(rows.units), "p"
        owned = [i for i, part in enumerate(self.parts) if part.weigher is None]
        if self.parts[0].kind == "tree":
            over = f"(SELECT {units}, {_columns(rows.keys[:-1], ('SUM(v0) AS v0',))} FROM p"
            over += f"{_grouped((*rows.units, *rows.keys[:-1]))}) AS t"
        norms = ", ".join(f"SUM(CAST(v{i} AS HUGEINT) * v{i}) AS n{i}" for i in owned)
        source = f"p INNER JOIN (SELECT {units}, {norms} FROM {over} GROUP BY {units}) AS m USING ({units})"
        return self._over_units(rows, [self._scaled(i) for i in range(len(self.parts))], source)

    def _scaled(self, i: int) -> str:
        part = self.parts[i]
        by = i if part.weigher is None else [other.measure for other in self.parts].index(part.weigher)
        norm = self.bounding.norms[part.measure]
        factor = f"({double(norm * SAFETY)} / SQRT(CAST(n{by} AS DOUBLE)))"
        return f"CASE WHEN n{by} <= {norm**2} THEN v{i} ELSE CAST(TRUNC(v{i} * {factor}) AS BIGINT) END"

    def _cut_groups(self, rows: Rows) -> str:
        item, form = self.parts[0].item, self.bounding.form
        keys = rows.keys[:-1] if item else rows.keys
        columns = [f"SUM(v0) OVER (PARTITION BY {', '.join((*rows.units, *keys))}) AS n"] if item else []
        if self.bounding.choosing:
            order = ", ".join((_hash((*rows.units, *keys)), *keys))
            columns.append(f"DENSE_RANK() OVER (PARTITION BY {', '.join(rows.units)} ORDER BY {order}) AS place")
        chosen = f" WHERE place <= {form.groups}" if self.bounding.choosing else ""
        source = f"(SELECT * FROM (SELECT {', '.join(('*', *columns))} FROM p) AS n{chosen}) AS q" if columns else "p"
        values = [f"v{i}" for i in range(len(self.parts))]
        if item:
            most = (form.rows or 0) * self.parts[0].scale
            values = [f"CASE WHEN n <= {most} THEN v0 ELSE {_shrunk('v0', most, 'n')} END"]
        return self._over_units(rows, values, source)

    def _capped(self, part: Part, rows: Rows, total: str) -> str:
        most = self.bounding.form.rows or 0
        if part.kind != "sum":
            return f"LEAST({total}, {most * part.scale})"
        if part.weigher is None:
            return limited(total, most * part.least, most * part.greatest)
        count = f"COUNT(*){_filter(rows, self.bounding.parts[part.weigher])}"
        whole = limited(total, most * part.least, most * part.greatest)
        return f"CASE WHEN {count} <= {most} THEN {whole} ELSE {_shrunk(total, most, count)} END"

    def _over_units(self, rows: Rows, values: Sequence[str], source: str) -> str:
        """The values summed over units; a customer that is several units counts once among distinct ones."""
        named, keys = self._named(f"SUM({value})" for value in values), rows.keys
        if not (self.read and self.read.many and any(part.kind == "units" for part in self.parts)):
            return f"SELECT {_columns(keys, named)} FROM {source}{_grouped(keys)}"
        most = [f"{'MAX' if p.kind == 'units' else 'SUM'}({v})" for p, v in zip(self.parts, values, strict=True)]
        customers = f"SELECT {_columns(('u', *keys), self._named(most))} FROM {source}{_grouped(('u', *keys))}"
        again = self._named(f"SUM(v{i})" for i in range(len(values)))
        return f"SELECT {_columns(keys, again)} FROM ({customers}) AS o{_grouped(keys)}"


# --- texts


def _filter(rows: Rows, part: Part) -> str:
    condition = rows.conditions.get(part.measure)
    return f" FILTER (WHERE {condition})" if condition else ""


def _times(scale: int, value: str) -> str:
    return value if scale == 1 else f"{scale} * {value}"


def _shrunk(value: str, most: int, count: str) -> str:
    factor = f"({double(most * SAFETY)} / {count})"
    return f"CAST(TRUNC(CAST({value} AS DOUBLE) * {factor}) AS BIGINT)"


def _columns(*lists: Sequence[str]) -> str:
    return ", ".join(column for columns in lists for column in columns)


def _grouped(columns: Sequence[str]) -> str:
    return f" GROUP BY {', '.join(columns)}" if columns else ""


def _hash(columns: Sequence[str]) -> str:
    """A fixed, evenly spread order, from what one unit's own rows hold."""
    parts = [f"COALESCE('=' || CAST({column} AS VARCHAR), '')" for column in columns]
    text = " || '|' || ".join(parts)
    return f"MD5({text})"
