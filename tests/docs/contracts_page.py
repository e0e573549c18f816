"""The reference page of data contracts, made from the tables that the readers themselves use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kaianalytics.policy.properties import COLUMN_PROPERTIES, PRODUCT_PROPERTIES, STANDARD_FIELDS, Property
from kaianalytics.policy.purpose import POPULATION_FIELDS, PURPOSE_FIELDS

HEAD = """
# Data contracts

Made from the readers' own tables by `tests/docs/reference_pages.py`; a test compares them.

A folder of contracts has one `<product>.odcs.yaml` for each product, of the [Open Data Contract
Standard](https://bitol-io.github.io/open-data-contract-standard/), and the registers `purposes.yaml`,
`privacy_policy.yaml` and `roles.yaml`. `kai contracts check` names every fault with file and line, and nothing is
built from contracts with a fault. What is not written is denied: a column without a rule for a purpose is in neither
of its stores.

Everything about statistics below is a public constant, written by somebody who knows the business, and never read from
the data.
"""
OURS = """
## Properties of a product

Under `customProperties` of the schema object, each as `property` and `value`. Any other `kai.` property is a fault.
"""
COLUMN = """
## Properties of a column

Under `customProperties` of a column.
"""
STANDARD = """
## What is read of the standard

The official package of the standard judges each contract as well, and a field that it does not know is a fault.
"""
PURPOSE = """
## A purpose in purposes.yaml

Every clause of purposes is stated, open or not.
"""
POPULATION = """
## A population in purposes.yaml

All units of one kind, and the one account of privacy loss that they share. ρ and δ are exact decimals, in quotes.
"""
EXAMPLE = """
## Bounds that fit

A bound on `rows` in all is the plainest, and the quickest to run: the build keeps no more rows of one unit, so that
an answer needs to look at nobody. It may be generous where a `profile` is declared, for then each question gets the
bound with the least predicted error, be it much tighter. `groups` and `rowsPerGroup` fit where a unit is by nature in
few groups: three campaigns, each of which contacts a customer once.

```yaml
customProperties:
  - property: kai.privacyUnit
    value: {population: customers, column: customer_id}
  - property: kai.windows
    value: {column: ordered_at, span: month}
  - property: kai.contribution
    value: {rows: 8}
  - property: kai.profile
    value:
      units: 85000
      rows: {"0.75": 1, "0.9": 2, "0.99": 4, "1": 160}
      totals:
        amount_yen: {"0.5": 4600, "0.9": 26000, "0.99": 70000, "1": 1500000}
```

With windows, rows, bound and profile are of one customer in one month. What a purpose sees of the windows' time must
lie in one window: a day lies in one month, and a week may lie in two.
"""


def contracts_page() -> str:
    """The page of the contracts."""
    head = ("property", "its value", "what it means", "needed")
    standard, meaning = ("field", "what is read of it"), ("field", "what it means")
    parts = [
        *(
            HEAD,
            OURS,
            _table(head, _properties(PRODUCT_PROPERTIES)),
            COLUMN,
            _table(head, _properties(COLUMN_PROPERTIES)),
        ),
        *(EXAMPLE, STANDARD, _table(standard, _fields(STANDARD_FIELDS))),
        *(PURPOSE, _table(meaning, _fields(PURPOSE_FIELDS))),
        *(POPULATION, _table(meaning, _fields(POPULATION_FIELDS))),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _properties(known: Mapping[str, Property]) -> Iterable[Sequence[str]]:
    return ((f"`{name}`", each.shape, each.meaning, each.needed) for name, each in known.items())


def _fields(known: Mapping[str, str]) -> Iterable[Sequence[str]]:
    return ((f"`{name}`", meaning) for name, meaning in known.items())


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
