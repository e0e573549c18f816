"""The build id, the manifest and the steward's summary as values."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from kaianalytics.warehouse.manifest import BuildInputs, BuildSummary, Manifest, StoredFile, StoredTable, TableSummary

INPUTS = BuildInputs(
    contracts="c", plans="p", sources={"orders": "1", "customers": "2"}, pseudonym_key="k", as_of=date(2026, 11, 1),
    duckdb="2.0.0",
)  # fmt: skip
MANIFEST = Manifest(
    INPUTS,
    datetime(2026, 11, 1, 3, tzinfo=UTC),
    (
        StoredFile(
            "ad-targeting", "rows", "ad-targeting.rows.duckdb", "d", 12,
            {"orders": StoredTable(3, (("order_id", "string"), ("amount", "number")), date(2026, 10, 31))},
        ),
    ),
)  # fmt: skip


def test_the_same_inputs_have_the_same_id_whatever_the_order_they_were_listed_in() -> None:
    assert replace(INPUTS, sources={"customers": "2", "orders": "1"}).build_id == INPUTS.build_id


@pytest.mark.parametrize(
    "change",
    [
        {"contracts": "x"},
        {"plans": "x"},
        {"sources": {"orders": "1", "customers": "x"}},
        {"sources": {"orders": "1"}},
        {"pseudonym_key": "x"},
        {"as_of": date(2026, 11, 2)},
        {"duckdb": "x"},
        {"builder": "x"},
    ],
)
def test_every_input_changes_the_id(change: dict[str, object]) -> None:
    assert replace(INPUTS, **change).build_id != INPUTS.build_id  # type: ignore[arg-type]  # fields of many types


def test_the_time_of_building_changes_no_id() -> None:
    assert replace(MANIFEST, built_at=datetime(2027, 1, 1, tzinfo=UTC)).build_id == MANIFEST.build_id


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_a_manifest_whose_inputs_were_changed_is_none() -> None:
    facts = json.loads(MANIFEST.to_json())
    facts["inputs"]["contracts"] = "tampered"
    with pytest.raises(ValueError):
        Manifest.from_json(json.dumps(facts))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": {}, "stores": []}', '{"inputs": 3}'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Manifest.from_json(text)


def test_a_store_is_found_by_purpose_and_access() -> None:
    assert MANIFEST.store("ad-targeting", "rows") == MANIFEST.stores[0]
    assert MANIFEST.store("ad-targeting", "statistics") is None


def test_a_summary_is_told_anew_with_another_outcome() -> None:
    table = TableSummary("ads", "rows", "orders", 3, {"stopped": 1}, {"note": "dropped by its rule"})
    summary = BuildSummary("1" * 64, date(2026, 11, 1), "published", (table,), {"orders": ("extra",)})
    assert BuildSummary.from_json(summary.to_json(), "unchanged") == replace(summary, outcome="unchanged")
