"""What a report asks to be approved for: its cost in ρ and δ, in plain digits, within reason."""

from __future__ import annotations

from typing import Any

import pytest

from kaianalytics.errors import Refused
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.review.request import read_request

SOUND = {"report": "reach", "title": "Reach", "cadence": "weekly", "rho_per_run": "0.004", "parameters": {}}


def read(**changed: Any) -> dict[str, Any]:
    return read_request({**SOUND, **changed}, 1000, PrivacyLoss.of(10))


def test_without_a_delta_a_report_may_spend_none() -> None:
    assert (read()["rho_per_run"], read()["delta_per_run"]) == ("0.004", "0")


def test_a_delta_is_kept_in_plain_digits() -> None:
    assert read(delta_per_run="1E-8")["delta_per_run"] == "0.00000001"
    assert read(delta_per_run="0.001")["delta_per_run"] == "0.001"


@pytest.mark.parametrize("delta", ["0.0011", "1", "-1e-9", "NaN", "Infinity", "a little", 1e-8, None])
def test_a_delta_that_promises_nothing_is_refused(delta: Any) -> None:
    with pytest.raises(Refused) as refused:
        read(delta_per_run=delta)
    assert refused.value.code == "DELTA_PER_RUN"
