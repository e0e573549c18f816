"""An approval holds for what was approved and nothing else: every other run is refused, and the refusal recorded."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.real_world import Gateway, notebook, refusal

from kaianalytics.errors import KaiError
from kaianalytics.gateway.tokens import utc_now
from kaianalytics.protocol import API
from kaianalytics.records import reviews
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records
from kaianalytics.review.passport import Passport

SOURCE = notebook("kai.stats('SELECT COUNT(*) AS n FROM sessions', rho='0.001')", parameters="weeks = 4")


@dataclass(frozen=True)
class Approved:
    """A report that ren approved, as a runner meets it."""

    gateway: Gateway
    report: str

    def lease(self, source: Mapping[str, Any] = SOURCE, **parameters: Any) -> Mapping[str, Any]:
        """A lease for this notebook and these parameters."""
        body = {"report": self.report, "notebook": source, "parameters": parameters}
        return self.gateway.as_("runner").request_json("POST", f"{API}/runs", body)

    def refused(self, source: Mapping[str, Any] = SOURCE, **parameters: Any) -> KaiError:
        """The refusal of a lease, which the chain has too."""
        refused = refusal(lambda: self.lease(source, **parameters))
        recorded = [event for event in self.gateway.world.events("run.refused") if event.subject == self.report]
        assert recorded[-1].facts()["code"] == refused.code
        assert recorded[-1].actor == "runner"
        return refused


def approve(gateway: Gateway, report: str) -> int:
    """The review in which ren approved aiko's report."""
    asked = {"report": report, "title": "T", "notebook": SOURCE, "parameters": {"weeks": 4}, "cadence": "weekly"}
    aiko, ren = gateway.as_("aiko"), gateway.as_("ren")
    review = aiko.request_json("POST", f"{API}/submissions", asked | {"rho_per_run": "0.001"})["id"]
    ren.request_json("POST", f"{API}/reviews/{review}/decision", {"action": "approve", "note": ""})
    return int(review)


@pytest.fixture(scope="module")
def approved(gateway: Gateway) -> Iterator[Approved]:
    approve(gateway, "held")
    held = Approved(gateway, "held")
    assert held.lease(weeks=4)["session"]["purpose"] == "service-improvement"
    yield held
    assert held.lease(weeks=4)["run"] > 0  # no refusal took the approval away


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The notebook with one change."""
    source: dict[str, Any] = copy.deepcopy(SOURCE)
    change(source)
    return source


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "one character of a cell": lambda source: source["cells"][2].update(source=source["cells"][2]["source"] + " "),
    "a cell more": lambda source: source["cells"].append({**source["cells"][2], "source": "print(1)"}),
    "a cell less": lambda source: source["cells"].pop(),
    "the cells in another order": lambda source: source["cells"].reverse(),
    "a cell of another kind": lambda source: source["cells"][2].update(cell_type="markdown"),
    "a tag": lambda source: source["cells"][2]["metadata"].update(tags=["later"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_notebook_does_not_run(approved: Approved, change: str) -> None:
    refused = approved.refused(changed(CHANGES[change]), weeks=4)
    assert (refused.code, "the notebook changed" in refused.message) == ("PASSPORT_VOID", True)


def test_outputs_are_no_source(approved: Approved) -> None:
    shown = changed(lambda source: source["cells"][2].update(outputs=[], execution_count=7))
    assert approved.lease(shown, weeks=4)["run"] > 0


@pytest.mark.parametrize("parameters", [{}, {"weeks": 5}, {"weeks": 4, "more": 1}, {"weeks": "4"}, {"weeks": True}])
def test_other_parameters_do_not_run(approved: Approved, parameters: Mapping[str, Any]) -> None:
    refused = approved.refused(**parameters)
    assert (refused.code, "the parameters differ" in refused.message) == ("PASSPORT_VOID", True)


def test_another_kernel_or_purpose_does_not_run(approved: Approved) -> None:
    other_kernel = changed(lambda source: source["metadata"]["kernelspec"].update(name="kai-ad-targeting"))
    assert approved.refused(other_kernel, weeks=4).code == "PURPOSE_MISMATCH"
    plain = changed(lambda source: source["metadata"]["kernelspec"].update(name="python3"))
    assert approved.refused(plain, weeks=4).code == "PURPOSE_MISMATCH"
    refused = approved.refused(notebook("1", purpose="ad-targeting"), weeks=4)
    assert (refused.code, "the purpose changed" in refused.message) == ("PASSPORT_VOID", True)


def test_an_injected_cell_is_no_source(approved: Approved) -> None:
    injected = changed(lambda source: source["cells"][2]["metadata"].update(tags=["injected-parameters"]))
    assert approved.refused(injected, weeks=4).code == "INJECTED_CELL"


def test_only_a_runner_leases(approved: Approved) -> None:
    body = {"report": "held", "notebook": SOURCE, "parameters": {"weeks": 4}}
    for user in ("aiko", "ren", "sora", "mio"):
        door = approved.gateway.as_(user)
        assert refusal(lambda door=door: door.request_json("POST", f"{API}/runs", body)).code == "ROLE_MISSING"


def test_an_unknown_report_does_not_run(approved: Approved) -> None:
    assert replace(approved, report="never-heard-of").refused(weeks=4).code == "NOT_APPROVED"


def test_a_revoked_approval_does_not_run_nor_publish_what_is_under_way(gateway: Gateway) -> None:
    review = approve(gateway, "withdrawn")
    withdrawn = Approved(gateway, "withdrawn")
    under_way = withdrawn.lease(weeks=4)
    revoke = {"action": "revoke", "note": "the purpose no longer stands"}
    gateway.as_("ren").request_json("POST", f"{API}/reviews/{review}/decision", revoke)
    assert withdrawn.refused(weeks=4).code == "PASSPORT_REVOKED"
    finish = f"{API}/runs/{under_way['run']}/finish"
    sent = {"notebook": SOURCE, "failed": False}
    assert refusal(lambda: gateway.as_("runner").request_json("POST", finish, sent)).code == "PASSPORT_REVOKED"
    assert not (gateway.world.home.reports / "withdrawn").exists()


def stored_passport(gateway: Gateway, report: str, *, expires: datetime, signed: bool) -> None:
    """Put a passport like the one of `held` into the records, as only the custodian could."""
    records = Records.of(gateway.world.home, gateway.world.keys)
    with records.reading() as view:
        stored = reviews.latest_passport(view, "held")
        assert stored is not None
        request = reviews.get(view, stored.review_id).request
    passport = replace(
        Passport.from_content(stored.content.encode()), report=report, expires_at=expires.isoformat(), title=report
    )
    with records.writing(AuditEvent(utc_now(), "custodian", "review.planted", report)) as tx:
        review = reviews.add_submission(
            tx, report=report, purpose=passport.purpose, author="aiko", notebook=json.dumps(SOURCE).encode(),
            notebook_digest=passport.notebook_digest, parameters=passport.parameters, kernelspec=passport.kernelspec,
            request=request, state="approved",
        )  # fmt: skip
        signature = tx.sign(passport.content if signed else b"something else")
        reviews.add_passport(
            tx, passport_id=passport.passport_id, review_id=review, content=passport.content.decode(),
            signature=signature.hex(), expires_at=expires,
        )  # fmt: skip
    records.close()


def test_an_expired_or_forged_approval_does_not_run(approved: Approved) -> None:
    gateway, now = approved.gateway, utc_now()
    stored_passport(gateway, "expired", expires=now - timedelta(seconds=1), signed=True)
    stored_passport(gateway, "forged", expires=now + timedelta(weeks=1), signed=False)
    stored_passport(gateway, "sound", expires=now + timedelta(weeks=1), signed=True)
    assert Approved(gateway, "expired").refused(weeks=4).code == "PASSPORT_EXPIRED"
    assert Approved(gateway, "forged").refused(weeks=4).code == "PASSPORT_FORGED"
    assert Approved(gateway, "sound").lease(weeks=4)["run"] > 0  # what differs is what was refused
