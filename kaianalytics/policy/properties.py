"""Every property of ours that a data contract can state, and what is read of the standard's own fields.

The readers know exactly these `kai.` properties, any other is a fault, and the reference page is made of these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaianalytics.policy.leaving import (
    ANSWERS_PER_DAY,
    BYTES_PER_QUERY,
    DOWNLOAD_BYTES,
    DOWNLOAD_BYTES_MOST,
    MIB,
    ROWS_PER_QUERY,
)


@dataclass(frozen=True)
class Property:
    """What one property is: its value as YAML, what it means, and when it must be there."""

    shape: str
    meaning: str
    needed: str = ""


PRODUCT_PROPERTIES: Mapping[str, Property] = {
    "kai.privacyUnit": Property(
        "`{population: customers, column: customer_id}`",
        "Whose presence is hidden: all rows of one value of the column. The column is a key that becomes a "
        "pseudonym, and refers to the population's own key. A product without it is about nobody: public columns "
        "alone.",
        "of a product about people",
    ),
    "kai.purposes": Property(
        "`{ad-targeting: {basis: notified, access: [rows, statistics]}}`",
        "Which purposes may use the product, on which basis (`notified` or `prior-consent(choice)`), and as what."
        " A purpose that is not listed has nothing of it. `statistics` of a product about nobody means that it "
        "can be joined.",
    ),
    "kai.contribution": Property(
        "`{rows: 40}`, `{groups: 4, rowsPerGroup: 2}`, or all three",
        "How much one unit may add to one answer; with windows, one unit in one window. `rows`: so many rows in "
        "all, and no more are stored for statistics, chosen by a hash of what each row holds. `groups` and "
        "`rowsPerGroup`: so many rows in each of so many cells. Where both are stated, both hold.",
        "for statistics of people",
    ),
    "kai.profile": Property(
        '`{units: 50000, rows: {"0.5": 3, "0.9": 9, "1": 40}, totals: {spend: {"0.5": 20, "1": 900}}}`',
        "What is known in public of how rows and values spread over units: the share of units that have at most "
        "so many rows, or whose values add up, without their signs, to at most so much. The last share is 1. It "
        "decides which bounds are chosen and nothing of what they guarantee: a wrong one costs accuracy. With "
        "windows it is of one unit in one window. Never take it from the data themselves, unless by a paid "
        "release.",
    ),
    "kai.windows": Property(
        "`{column: shown_at, span: month, arrived: received_at}`",
        "Budgets that live with windows of time (`week`, `month`, `quarter`, `year`): the unit is one customer in"
        " one window. `column` is the time of the event, which never changes, with a declared range; a row that "
        "`arrived`, where that is stated, in a later window belongs to that one. The population has a "
        "`window_cap`.",
    ),
    "kai.preAggregates": Property(
        "`[{name: clicks_by_topic, keys: [topic], sums: [clicked]}]`",
        "Tables per unit and cell that are built with the store, under the contract's own bounds: a question on "
        "exactly these keys, with filters on them alone, reads the small table. Keys have declared values, sums "
        "have bounds. A name stands once in a folder, and in no product with windows.",
    ),
    "kai.rowsCaps": Property(
        "`{rowsPerQuery: 100000, bytesPerQuery: 33554432, rowsPerDay: 400000, bytesPerDay: 134217728}`, or some",
        "How much leaves as rows: with one answer, and in one day (UTC) to one analyst for one purpose. A query that "
        "reads several products has the least of their caps, and counts against the day of each. Where a contract says "
        f"nothing, one answer has at most {ROWS_PER_QUERY:,} rows and {BYTES_PER_QUERY // MIB:,} MiB, and a day "
        f"{ANSWERS_PER_DAY} times what one answer may have. An answer that the day has no room for does not leave.",
    ),
    "kai.downloadBytes": Property(
        "`1048576`",
        "How large a file may leave a workspace by Lab's file browser, in bytes; 0: none may. A workspace is a "
        "purpose's, and what is in a file nobody can tell: the least over all products of the purpose holds. Where a "
        f"contract says nothing it is {DOWNLOAD_BYTES // MIB} MiB; at most {DOWNLOAD_BYTES_MOST // MIB} MiB.",
    ),
    "kai.appiStatus": Property(
        "`personal-information`",
        "What the product is under the Act on the Protection of Personal Information: `personal-information`, "
        "`pseudonymously-processed`, `anonymously-processed`, `person-related` or `not-personal`.",
        "always",
    ),
    "kai.jointUse": Property(
        "`[kai-corporation, kai-media]`",
        "The companies of the joint use (clause 5) that may use the product.",
        "of a product about people",
    ),
    "kai.countries": Property(
        "`[JP, TW]`",
        "The countries from which the product may be used (clause 9.1).",
        "of a product about people",
    ),
}

COLUMN_PROPERTIES: Mapping[str, Property] = {
    "kai.purposeRules": Property(
        "`{ad-targeting: keep, service-improvement: {generalise: month}}`",
        "What each purpose sees of the column: `keep`, `pseudonym`, `mask`, `drop`, or a generalisation. A "
        "purpose that is not listed does not have the column.",
    ),
    "kai.keyDomain": Property(
        "`customer`",
        "Which keys mean the same: the same value of one domain is the same pseudonym in every product of one purpose.",
        "of a column classified `key`",
    ),
}

# The standard's fields that decide something here; the others are for people and for other tools.
STANDARD_FIELDS: Mapping[str, str] = {
    "apiVersion, kind, id, name, version": "What the file is, and of which product and version, for people.",
    "servers": "One: `format` (`parquet`, `csv`, `duckdb`) and `path` inside the sources folder; `file.duckdb#table`.",
    "slaProperties: retention": "`value` days, counted from the column in `element`: older rows are in no store.",
    "roles: firstLevelApprovers": "Whom to ask for more, by their names in roles.yaml.",
    "schema": "One object: its `name` is the view's, and the file's.",
    "properties: logicalType": "`string`, `integer`, `number`, `boolean`, `date` or `timestamp`.",
    "properties: required": "Whether a value is always there; else a missing value is a group of its own.",
    "properties: primaryKey": "No two rows agree in it, which the build verifies: a join along it multiplies nothing. "
    "Where several columns are the key together, none is unique.",
    "properties: classification": "`public`, `personal`, `quasi-identifier`, `direct-identifier`, `key`, `free-text` or"
    " `special-category`; it says which rules are allowed.",
    "properties: logicalTypeOptions": "`minimum`, `maximum` and `multipleOf`: the range that values are clamped to when"
    " they are added up, and the step they are counted in; of a date, the range of its groups.",
    "properties: enum": "Every value of a text or a whole number: the groups that an answer has, empty ones too.",
    "properties: relationships": "`[{to: product.column}]`: along them statistics may be joined.",
}
