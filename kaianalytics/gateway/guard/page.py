"""The reference page of the guard, from the tables that the guard itself uses.

`python -m kaianalytics.gateway.guard.page` writes it to standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from kaianalytics.gateway.guard.grammar import EXPRESSIONS, QUERIES, TABLES, Kind
from kaianalytics.gateway.guard.reviewed import Decision, Family, reviewed
from kaianalytics.gateway.guard.size import MAX_BRACKETS, MAX_BYTES, MAX_GROUPINGS, MAX_WEIGHT, MAX_WORDS

_HEAD = """
# What the guard admits

<!-- Written by `python -m kaianalytics.gateway.guard.page`; a test compares. -->

One `SELECT` statement over the views of the purpose, judged on DuckDB's own parse tree. What is not admitted on this
page is refused. Names are compared without regard to the case of A–Z.

It is made from `kaianalytics/gateway/guard/reviewed.toml`, where each of the {functions} functions and {types} types of
DuckDB {engine} stands in a family with a decision and a reason. The guard starts with no other version. For an upgrade,
install the new version and run

```console
kai engine check
```

It shows what is new, gone or changed in functions, types, collations, keywords, settings, the engine's own views and
the parts of its parse trees, judges every statement that ships with the product anew, hostile and ordinary, and says
what to do. It ends with 1 while anything differs, and until then the gateway does not start on that version.
"""


def reference() -> str:
    """The page."""
    known = reviewed()
    head = _HEAD.strip().format(
        functions=len({name for name, _ in known.functions}), types=len(known.type_names), engine=known.engine
    )
    admitted = [family for family in known.families if family.decision is not Decision.REFUSED]
    refused = [family for family in known.families if family.decision is Decision.REFUSED]
    lines = [
        *head.split("\n"),
        "",
        "## Functions",
        "",
        "| family | functions | why they are admitted |",
        "|---|---|---|",
        *(f"| {family.title} | {_names(family.all_names)} | {family.reason} |" for family in admitted),
        "",
        "Functions are called by their plain name: `upper(device)`, not `device.upper()` or `main.upper(device)`.",
        "",
        "## Types a value may be cast to",
        "",
        "| family | types | |",
        "|---|---|---|",
        *(
            f"| {family.title} | {_names(family.names)} | {family.decision}: {family.reason} |"
            for family in known.types
        ),
        "",
        "## Collations",
        "",
        f"They {known.collations_reason}: {_names(known.collations)}",
        "",
        "## Parts of a statement",
        "",
        f"Queries: {_names(QUERIES)}",
        "",
        f"Tables: {_names(TABLES)}",
        "",
        f"Expressions: {_names(EXPRESSIONS)}",
        "",
        "Not admitted although part of such a node: " + _names(_unused()),
        "",
        "## Size",
        "",
        f"At most {MAX_BYTES // 1024} KiB, {MAX_WORDS:,} words, {MAX_BRACKETS} brackets one inside another and "
        f"{MAX_GROUPINGS:,} grouping sets. What DuckDB's parser copies counts as often as it would be copied, up to "
        f"{MAX_WEIGHT:,} words: the operand of `CASE x WHEN …` for each WHEN, a named window for each `OVER w`.",
        "",
        "## Functions that are refused",
        "",
        "| family | functions | why | what to do instead |",
        "|---|---|---|---|",
        *map(_refused_row, refused),
    ]
    return "\n".join(lines) + "\n"


def _refused_row(family: Family) -> str:
    return f"| {family.title} | {_names(family.all_names)} | {family.reason} | {family.instead} |"


def _names(names: Iterable[str] | Mapping[str, object]) -> str:
    return " ".join(f"`{name}`".replace("|", "\\|") for name in sorted(names))


def _unused() -> set[str]:
    kinds = {**QUERIES, **TABLES, **EXPRESSIONS}
    return {
        f"{kind}.{name}"
        for kind, fields in kinds.items()
        for name, field in fields.items()
        if field.kind is Kind.UNUSED
    }


if __name__ == "__main__":
    sys.stdout.write(reference())
