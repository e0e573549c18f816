"""Certificates: values survive JSON exactly, an honest certificate has no findings, and a wrong one has its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.privacy_kit import parsed

from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.canonical import canonical_text, digest, from_json, to_json, view_from_json, view_to_json
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.certificate import (
    FORMAT,
    Asked,
    Finding,
    asked_of,
    certificate_of,
    check,
    signed_text,
)
from kaianalytics.privacy.measuring.measurement import Measurement, plan_noise
from kaianalytics.privacy.plan import Plan
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PreAggregate,
    PrivacyUnit,
    Profile,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
    Windows,
)

DELTA = Decimal("1e-7")
PROFILE = Profile(
    1_000, ((Decimal("0.5"), Decimal(2)), (Decimal(1), Decimal(40))), {"spent": ((Decimal(1), Decimal(9)),)}
)
VISITS = StatisticsView(
    "visits",
    PrivacyUnit("customer", "customers", "kai_unit"),
    ContributionBounds(groups=3, rows_per_group=2, rows=20),
    {
        "customer": StatisticsColumn("customer", "string", False, identifier=True),
        "place": StatisticsColumn("place", "string", domain=KeyDomain("place", "string", ("a", "b", None))),
        "town": StatisticsColumn("town", "string"),
        "day": StatisticsColumn("day", "date", False),
        "spent": StatisticsColumn(
            "spent", "number", bounds=ValueBounds(Decimal("0.00"), Decimal(100), Decimal("0.01"))
        ),
    },
    "kai_rank",
    PROFILE,
    Windows("day", "month", date(2026, 1, 1), date(2026, 12, 31)),
    (PreAggregate("kai_visits", ("place",), ("spent",)),),
)
OTHER = StatisticsView("other", None, None, {"town": StatisticsColumn("town", "string", unique=True)})
SPRING = "day >= '2026-02-01' AND day < '2026-04-01'"
KNOWN = (
    "SELECT place, COUNT(*) AS n, AVG(spent) AS m, MEDIAN(spent) AS q, STDDEV(spent) AS s "
    f"FROM visits WHERE {SPRING} GROUP BY place"
)
UNKNOWN = f"SELECT town, COUNT(DISTINCT customer) AS n FROM visits WHERE {SPRING} GROUP BY town"
TOP = "SELECT approx_top_k(place, 2) FROM visits WHERE day >= '2026-02-01' AND day < '2026-03-01'"
RELEASE = {"sql": KNOWN, "rows": [["a", 3, 1.5]], "certificate": {}}


def tree_of(sql: str) -> Any:
    """DuckDB's tree, or the guard's refusal of what is no statement."""
    try:
        return parsed(sql)
    except (AssertionError, duckdb.Error):
        raise unsupported("NOT_ONE_SELECT") from None


def relower(asked: Asked) -> Plan:
    bounds = BoundsAsked.of(asked.bounds)
    query = lower(tree_of(asked.sql), bounds.narrowed(asked.views))
    return compile_query(query, bounds, asked.chosen_at, asked.profile)


def made(sql: str, bounds: Any = None, **more: Any) -> tuple[dict[str, Any], Measurement]:
    loss = PrivacyLoss.of("0.02")
    asked = Asked(sql, {"visits": VISITS, "other": OTHER}, loss, {"rho": "0.02"}, bounds, **more)
    measurement = plan_noise(relower(asked), loss, None, DELTA)
    stated = certificate_of(
        asked, measurement, snapshot="build·0", entry=7, release=RELEASE, versions={"opendp": "0.16.0"}
    )
    return json.loads(json.dumps(stated)), measurement


def steps(findings: list[Finding]) -> set[int]:
    return {finding.step for finding in findings}


# --- values as JSON

texts = st.text(max_size=6)
decimals = st.decimals(-(10**6), 10**6, places=3)
key_values = st.one_of(st.none(), st.booleans(), st.integers(), texts, st.dates())
values = st.recursive(
    st.one_of(key_values, decimals, st.datetimes(allow_imaginary=False).map(lambda one: one.replace(fold=0))),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_values_survive_json_exactly(value: Any) -> None:
    back = from_json(json.loads(canonical_text(to_json(value))))
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, True),
        (0, False),
        (Decimal("1.0"), Decimal(1)),
        ("2026-01-05", date(2026, 1, 5)),
        (date(2026, 1, 5), datetime(2026, 1, 5)),
        ("1", Decimal(1)),
        (ContributionBounds(rows=1), ContributionBounds(groups=1, rows_per_group=1)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_different_values_have_different_digests(one: Any, two: Any) -> None:
    assert digest(to_json(one)) != digest(to_json(two))


def test_a_view_survives_json_and_states_no_more_than_it_has() -> None:
    for view in (VISITS, OTHER):
        back = view_from_json(json.loads(json.dumps(view_to_json(view))))
        assert back == view
        assert repr(back) == repr(view)
    assert view_to_json(OTHER) == {
        "is": "StatisticsView",
        "name": "other",
        "unit": None,
        "contribution": None,
        "columns": {"pairs": [["town", {"is": "StatisticsColumn", "name": "town", "type": "string", "unique": True}]]},
    }


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "visits",
        [],
        {},
        {"is": "Path"},
        {"is": "ValueBounds", "lower": 1},
        {"is": "StatisticsView", "name": "v"},
        {"is": ["StatisticsView"]},
        {"decimal": "1"},
        {"decimal": "x"},
        {"pairs": 3},
        {"eval": "1"},
        {"decimal": "1", "date": "2026-01-01"},
        {"is": "StatisticsView", "name": "v", "unit": None, "contribution": {"is": "ContributionBounds"}},
    ],
)
def test_what_is_no_view_is_not_read_as_one(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"facts|canonical"):
        view_from_json(wrong)


@pytest.mark.parametrize("value", [1.5, b"x", {1, 2}, object(), ContributionBounds])
def test_what_the_model_has_no_place_for_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError):
        to_json(value)


# --- an honest certificate


@pytest.mark.parametrize(
    ("sql", "bounds"),
    [(KNOWN, None), (UNKNOWN, None), (TOP, None), (KNOWN, {"rows": 2}), (KNOWN, {"values": {"spent": ["0", "50"]}})],
)
def test_an_honest_certificate_has_no_findings(sql: str, bounds: Any) -> None:
    stated, measurement = made(sql, bounds)
    assert check(stated, relower, RELEASE) == []
    assert stated["loss"] == {"rho_units": 2 * 10**10, "delta_units": measurement.loss.delta_units}
    assert stated["account_loss"]["rho_units"] == len(measurement.plan.windows) ** 2 * 2 * 10**10
    assert list(stated["views"]) == ["visits"]  # those that the question reads
    assert stated["entry"] == 7
    assert stated["snapshot"] == "build·0"


def test_a_found_profile_is_part_of_what_the_plan_is_derived_from() -> None:
    stated, _ = made(KNOWN, profile=replace(PROFILE, units=50_000))
    assert check(stated, relower) == []
    assert asked_of(stated).profile == replace(PROFILE, units=50_000)


def test_what_is_signed_is_all_but_the_signature_in_one_way_only() -> None:
    stated, _ = made(KNOWN)
    shuffled = dict(reversed(list(stated.items())))
    assert signed_text(stated) == signed_text({**shuffled, "signature": "…"})
    assert signed_text(stated) != signed_text({**stated, "entry": 8})
    assert json.loads(signed_text(stated)) == stated


# --- certificates that do not hold

Change = Callable[[dict[str, Any]], Any]


def tampered(sql: str, change: Change) -> set[int]:
    stated = deepcopy(made(sql)[0])
    change(stated)
    return steps(check(stated, relower, RELEASE))


def halved(stated: dict[str, Any]) -> None:
    vector = stated["vectors"][0]
    vector["scale"] = (float.fromhex(vector["scale"]) / 2).hex()


def one_lower(stated: dict[str, Any]) -> None:
    vector = next(one for one in stated["vectors"] if one["threshold"] is not None)
    vector["threshold"] -= 1


@pytest.mark.parametrize(
    ("sql", "change", "step"),
    [
        (KNOWN, lambda c: c.update(format="kai-certificate-0"), 1),
        (KNOWN, lambda c: c.pop("views"), 1),
        (KNOWN, lambda c: c.update(views={"visits": {"is": "ValueBounds"}}), 1),
        (KNOWN, lambda c: c.update(sql="SELECT place FROM visits"), 1),
        (KNOWN, lambda c: c.update(sql=3), 1),
        (KNOWN, lambda c: c["request"].update(chosen_at="1"), 1),
        (
            KNOWN,
            lambda c: c.update(profile={"is": "ValueBounds", "lower": {"decimal": "0"}, "upper": {"decimal": "1"}}),
            1,
        ),
        (KNOWN, lambda c: c.update(tables=[1]), 1),
        (KNOWN, lambda c: c.update(sql=c["sql"].replace("'2026-04-01'", "'2026-05-01'")), 2),
        (KNOWN, lambda c: c["request"].update(bounds={"rows": 1}), 2),
        (KNOWN, lambda c: c["plan"].pop("unit"), 2),
        (KNOWN, lambda c: c["plan"].update(unit={"column": "household", "population": "customers"}), 2),
        (KNOWN, lambda c: c["plan"]["statements"][0].update(sql="SELECT 1"), 2),
        (KNOWN, lambda c: c["plan"].update(windows=["2026-02-01"]), 2),
        (KNOWN, lambda c: c["plan"]["cells"].update(count=2), 2),
        (KNOWN, lambda c: c.update(plan=None), 2),
        (KNOWN, lambda c: c["vectors"].pop(), 3),
        (KNOWN, lambda c: c["vectors"][1]["vector"].update(l2=1), 3),
        (KNOWN, lambda c: c["vectors"][0].update(mechanism="none"), 3),
        (KNOWN, lambda c: c.update(vectors=[None] * len(c["vectors"])), 3),
        (KNOWN, halved, 4),
        (KNOWN, lambda c: c["vectors"][0].update(scale="0x0p+0"), 4),
        (KNOWN, lambda c: c["vectors"][0].update(scale="nan"), 4),
        (KNOWN, lambda c: c["vectors"][0].update(scale="inf"), 4),
        (KNOWN, lambda c: c["vectors"][0].update(scale=1.0), 4),
        (KNOWN, lambda c: c["vectors"][0].pop("loss"), 4),
        (KNOWN, lambda c: c["vectors"][0].update(threshold=30), 4),
        (KNOWN, lambda c: c["vectors"][0]["account_loss"].update(rho_units=10), 4),
        (UNKNOWN, one_lower, 4),
        (UNKNOWN, lambda c: c["vectors"][0].update(threshold=None), 4),
        (UNKNOWN, lambda c: c["vectors"][0].update(threshold=2), 4),
        (UNKNOWN, lambda c: c["vectors"][0]["loss"].update(delta_units=0), 4),
        (KNOWN, lambda c: c["loss"].update(rho_units=c["loss"]["rho_units"] - 10**6), 5),
        (UNKNOWN, lambda c: c["account_loss"].update(delta_units=1), 5),
        (KNOWN, lambda c: c["account_loss"].update(rho_units=c["loss"]["rho_units"]), 5),
        (KNOWN, lambda c: c.pop("account_loss"), 5),
        (KNOWN, lambda c: c.update(release=digest({})), 6),
    ],
)
def test_each_thing_that_does_not_hold_is_found(sql: str, change: Change, step: int) -> None:
    assert step in tampered(sql, change)


def test_findings_say_what_they_found() -> None:
    stated, _ = made(KNOWN)
    halved(stated)
    (*_, finding) = check(stated, relower)
    assert str(finding).startswith("Vector 0 loses more than its stated")
    assert str(finding).endswith("by OpenDP's map. (step 4)")
    assert check({"format": FORMAT}, relower)[0].step == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_nonsense_in_a_certificate_makes_the_check_fail(data: st.DataObject) -> None:
    """Any part replaced by anything: findings, or none where the part says nothing, but never an exception."""
    stated = deepcopy(HONEST)
    part: Any = stated
    while True:
        name = data.draw(st.sampled_from(list(part) if isinstance(part, dict) else list(range(len(part)))))
        if isinstance(part[name], dict | list) and part[name] and data.draw(st.booleans()):
            part = part[name]
            continue
        part[name] = data.draw(
            st.one_of(st.none(), st.integers(-2, 2), texts, st.just([]), st.just({}), st.just([None]))
        )
        break
    assert isinstance(check(stated, relower), list)


HONEST, _ = made(UNKNOWN)
