"""Passports: bound to content, and void on one difference."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kaianalytics.errors import ReviewRefused
from kaianalytics.policy.purpose import Purpose, Purposes
from kaianalytics.review.passport import Conditions, Passport, Run, read_source

PURPOSES = Purposes("1", {"ad-targeting": Purpose("ad-targeting", "Ad targeting", "3.4", True)}, {})
NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "metadata": {"kai": {"purpose": "ad-targeting"}, "kernelspec": {"name": "kai-ad-targeting", "display_name": "x"}},
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": "# Reach"},
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "source": "weeks = 4",
            "outputs": [],
            "execution_count": None,
        },
    ],
}
SOURCE = read_source(NOTEBOOK, PURPOSES)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
PASSPORT = Passport(
    report="audience-reach",
    title="Reach",
    purpose="ad-targeting",
    author="aiko",
    reviewer="ren",
    separation="",
    isolation="",
    notebook_digest=SOURCE.digest,
    parameters={"weeks": 4},
    kernelspec="kai-ad-targeting",
    slice_digest="slice",
    conditions=Conditions("0.004", "0.208", "weekly"),
    approved_at=NOW.isoformat(),
    expires_at=(NOW + timedelta(weeks=52)).isoformat(),
)


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The notebook with one part changed."""
    notebook = copy.deepcopy(NOTEBOOK)
    part: Any = notebook
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return notebook


def test_what_was_approved_runs() -> None:
    PASSPORT.admit(Run(SOURCE, {"weeks": 4}, "slice"), NOW)


def test_outputs_and_counts_are_not_source() -> None:
    executed = changed(("cells", 1, "outputs"), [{"output_type": "stream", "text": "4"}])
    executed["cells"][1]["execution_count"] = 7
    assert read_source(executed, PURPOSES).digest == SOURCE.digest


def test_a_source_given_as_lines_is_the_same_source() -> None:
    assert read_source(changed(("cells", 0, "source"), ["# ", "Reach"]), PURPOSES).digest == SOURCE.digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("cells", 1, "source"), "weeks = 5"),
        (("cells", 0, "source"), "# Reach "),
        (("cells", 0, "cell_type"), "code"),
        (("cells", 1, "metadata", "tags"), []),
        (("cells",), NOTEBOOK["cells"][:1]),
        (("cells",), [*NOTEBOOK["cells"], NOTEBOOK["cells"][0]]),
    ],
)
def test_every_change_of_the_source_voids(path: tuple[Any, ...], value: Any) -> None:
    source = read_source(changed(path, value), PURPOSES)
    with pytest.raises(ReviewRefused) as refusal:
        PASSPORT.admit(Run(source, {"weeks": 4}, "slice"), NOW)
    assert (refusal.value.code, "the notebook changed" in refusal.value.message) == ("PASSPORT_VOID", True)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (Run(SOURCE, {"weeks": 5}, "slice"), "parameters"),
        (Run(SOURCE, {}, "slice"), "parameters"),
        (Run(SOURCE, {"weeks": 4, "x": 1}, "slice"), "parameters"),
        (Run(SOURCE, {"weeks": True}, "slice"), "parameters"),
        (Run(SOURCE, {"weeks": 4}, "another"), "contracts"),
    ],
)
def test_parameters_and_contracts_are_bound_too(run: Run, says: str) -> None:
    with pytest.raises(ReviewRefused) as refusal:
        PASSPORT.admit(run, NOW)
    assert says in refusal.value.message


def test_it_expires_at_its_very_second() -> None:
    expires = datetime.fromisoformat(PASSPORT.expires_at)
    PASSPORT.admit(Run(SOURCE, {"weeks": 4}, "slice"), expires - timedelta(seconds=1))
    with pytest.raises(ReviewRefused) as refusal:
        PASSPORT.admit(Run(SOURCE, {"weeks": 4}, "slice"), expires)
    assert refusal.value.code == "PASSPORT_EXPIRED"


def test_it_is_addressed_by_its_content() -> None:
    again = Passport.from_content(PASSPORT.content)
    assert again == PASSPORT
    assert again.passport_id == PASSPORT.passport_id


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("metadata",), {"kernelspec": {"name": "kai-ad-targeting"}}, "PURPOSE_MISSING"),
        (("metadata", "kai"), {"purpose": ""}, "PURPOSE_MISSING"),
        (("metadata", "kernelspec"), {}, "KERNEL_MISSING"),
        (("metadata", "kernelspec", "name"), "python3", "PURPOSE_MISMATCH"),
        (("metadata", "kernelspec", "name"), "kai-service-improvement", "PURPOSE_MISMATCH"),
        (("cells", 0, "metadata", "tags"), ["injected-parameters"], "INJECTED_CELL"),
        (("cells",), "none", "NOT_A_NOTEBOOK"),
        (("cells",), ["none"], "NOT_A_NOTEBOOK"),
    ],
)
def test_a_notebook_that_cannot_be_approved_says_why(path: tuple[Any, ...], value: Any, code: str) -> None:
    with pytest.raises(ReviewRefused) as refusal:
        read_source(changed(path, value), PURPOSES)
    assert refusal.value.code == code
