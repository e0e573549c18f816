"""Whole questions, drawn through their compiled plans with and without the customer who stands out most."""

from __future__ import annotations

import pytest
from audit.questions import Asked, Attack

from kaianalytics.privacy.bounding.found_bounds import profile_plan
from kaianalytics.privacy.unit import ContributionBounds

DRAWS = 6_000
ROWS, GROUPS = ContributionBounds(rows=40), ContributionBounds(groups=1, rows_per_group=2)
BY_PLACE = "SELECT place, COUNT(*) AS n, SUM(spent) AS s FROM visits GROUP BY place"
BY_TOWN = "SELECT town, COUNT(*) AS n FROM visits GROUP BY town"
QUARTER = "day >= '2026-01-01' AND day < '2026-04-01'"

QUESTIONS = {
    "numbered rows": Asked(BY_PLACE, ROWS, {"rows": 2}, ranked=True),
    "rows by a hash": Asked(BY_PLACE, ROWS, {"rows": 2}),
    "groups by a hash": Asked(BY_PLACE, GROUPS, {"groups": 1, "rows_per_group": 2}),
    "norms": Asked(BY_PLACE, ROWS, {"norm": 2}),
    "one cell": Asked("SELECT SUM(spent) AS s FROM visits", ROWS, {"rows": 2}),
    "means": Asked("SELECT AVG(spent) AS m, VARIANCE(spent) AS v FROM visits", ROWS, {"rows": 1}),
    "means by norm": Asked("SELECT place, AVG(spent) AS m FROM visits GROUP BY place", ROWS, {"norm": 2}),
    "a median": Asked("SELECT MEDIAN(spent) AS q FROM visits", ROWS, {"rows": 1, "values": {"spent": ["0", "10"]}}),
    "a histogram": Asked("SELECT histogram(spent, [0, 5, 11]) FROM visits", ROWS, {"rows": 2}),
    "the most frequent": Asked("SELECT approx_top_k(place, 2) FROM visits", ROWS, {"rows": 2}),
    "customers": Asked("SELECT place, COUNT(DISTINCT customer) AS c FROM visits GROUP BY place", ROWS, {"rows": 3}),
    "three windows": Asked(f"SELECT COUNT(*) AS n FROM visits WHERE {QUARTER}", ROWS, {"rows": 2}, windowed=True),
    "unknown keys": Asked(BY_TOWN, GROUPS),
    "unknown keys by rows": Asked(BY_TOWN, ROWS, {"rows": 2}),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_loses_more_than_it_claims(name: str) -> None:
    attack = Attack(QUESTIONS[name].plan())
    audits = attack.audits(DRAWS if name != "the most frequent" else DRAWS // 3)
    assert not [audit for audit in audits if audit.violated]
    if name != "the most frequent":  # of which one customer's part is too small to be seen
        assert max(audit.least for audit in audits) > 0.05
    if attack.plan.threshold is not None:
        assert attack.least_delta(5 * DRAWS) <= float(attack.measurement.loss.delta)


def test_a_customer_in_three_windows_loses_nine_times_what_each_is_charged() -> None:
    attack = Attack(QUESTIONS["three windows"].plan())
    one, two = attack.neighbours
    assert one.vectors[0][0] - two.vectors[0][0] == 3 * attack.plan.vectors[0].l2
    assert attack.measurement.account_loss == attack.measurement.loss.times_squared(3)


def test_finding_bounds_loses_no_more_than_it_claims() -> None:
    attack = Attack(profile_plan(QUESTIONS["norms"].query()))
    audits = attack.audits(DRAWS // 3)
    assert not [audit for audit in audits if audit.violated]
    assert max(audit.least for audit in audits) > 0.05
