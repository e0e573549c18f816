"""What was released can be listed, shown and verified: by its number, from a file, and elsewhere by a public key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.real_world import Gateway

from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.statistics.certifying import SIGNED, findings
from kaianalytics.privacy.measuring.certificate import release_digest, signed_text
from kaianalytics.protocol import API

SQL = "SELECT device, COUNT(*) AS n, AVG(seconds) AS s FROM sessions WHERE pages > 2 GROUP BY device ORDER BY n DESC"


@pytest.fixture(scope="module")
def released(gateway: Gateway) -> dict[str, Any]:
    """A release as it was sent."""
    release: dict[str, Any] = json.loads(gateway.session().stats(SQL, "0.01")["release"])
    return release


def written(folder: Path, release: Any) -> Path:
    file = folder / "release.json"
    file.write_text(json.dumps(release, ensure_ascii=False), encoding="utf-8")
    return file


def test_a_recorded_release_is_listed_shown_and_verified_by_its_number(
    gateway: Gateway, released: dict[str, Any]
) -> None:
    world, number = gateway.world, str(released["release_id"])
    listed = world.kai("release", "list", "--view", "sessions", "--contains", "avg(seconds)")
    assert number in listed and "AVG(seconds)" in listed
    assert number not in re.findall(r"^\d+", world.kai("release", "list", "--purpose", "ad-targeting"), re.M)
    shown = world.kai("release", "show", number)
    assert all(str(row[0]) in shown and str(row[1]) in shown for row in released["rows"])
    verified = world.kai("release", "verify", number)
    assert f"entry {number} of the ledger" in verified and "holds" in verified


def test_a_release_is_verified_from_a_file_and_by_a_public_key_alone(
    gateway: Gateway, released: dict[str, Any], tmp_path: Path
) -> None:
    world, file = gateway.world, written(tmp_path, released)
    key = world.kai("release", "key").strip()
    assert re.fullmatch(r"[0-9a-f]{64}", key)
    assert "holds" in world.kai("release", "verify", file)
    assert "holds" in world.kai("release", "verify", file, "--key", key)
    assert "signature" in world.kai("release", "verify", file, "--key", world.keys.public_key_id * 2, expect=1)
    assert "NOT_A_KEY" in world.kai("release", "verify", file, "--key", "42", expect=1)


def vector(release: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = release["certificate"]["vectors"][0]
    return found


def halved(release: dict[str, Any]) -> None:
    vector(release)["scale"] = (float.fromhex(vector(release)["scale"]) / 2).hex()


def signed_again(gateway: Gateway, release: dict[str, Any]) -> dict[str, Any]:
    """The release as a custodian would sign it who wants it believed."""
    certificate = release["certificate"]
    certificate["release"] = release_digest(release)
    certificate["signature"]["ed25519"] = gateway.world.keys.sign(SIGNED + signed_text(certificate)).hex()
    return release


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a figure": (lambda release: release["rows"][0].__setitem__(1, 10**6), "not the one that the certificate"),
    "an error bar": (lambda release: release["margins"][0].__setitem__(1, 0.1), "not the one that the certificate"),
    "its loss, as told": (lambda release: release.update(rho="0.001"), "The release's rho"),
    "its number": (lambda release: release.update(release_id=77), "The release's release_id"),
    "its snapshot": (lambda release: release.update(snapshot="another"), "The release's snapshot"),
    "its question": (lambda release: release.update(sql="SELECT 1"), "The release's sql"),
    "the certified question": (
        lambda release: release["certificate"].update(sql=SQL.replace("> 2", "> 3")),
        "question",
    ),
    "the noise's scale": (halved, "OpenDP's map"),
    "a sensitivity": (lambda release: vector(release)["vector"].update(l2=1), "sensitivities"),
    "its certificate": (lambda release: release.pop("certificate"), "no certificate"),
}


def found(gateway: Gateway, release: dict[str, Any]) -> list[str]:
    guard = Guard()
    try:
        return findings(release, guard, gateway.world.keys.verify)
    finally:
        guard.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_to_a_release_is_found(gateway: Gateway, released: dict[str, Any], change: str) -> None:
    changed, (make, says) = json.loads(json.dumps(released)), CHANGES[change]
    assert found(gateway, changed) == []
    make(changed)
    assert any(says in sentence for sentence in found(gateway, changed))


DERIVED = ("its loss, as told", "the certified question", "the noise's scale", "a sensitivity")


@pytest.mark.parametrize("change", DERIVED)
def test_what_does_not_hold_is_found_whoever_signed_it(gateway: Gateway, released: dict[str, Any], change: str) -> None:
    changed, (make, says) = json.loads(json.dumps(released)), CHANGES[change]
    make(changed)
    sentences = found(gateway, signed_again(gateway, changed))
    assert any(says in sentence for sentence in sentences)
    assert not any("signature" in sentence for sentence in sentences)


def test_a_derivation_that_differs_under_other_versions_says_so(gateway: Gateway, released: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(released))
    changed["certificate"]["versions"]["kaianalytics"] = "0.0.1"
    assert found(gateway, signed_again(gateway, changed)) == []  # what comes to the same holds, whoever made it
    halved(changed)
    assert any("made by" in sentence and "0.0.1" in sentence for sentence in found(gateway, changed))


@pytest.mark.parametrize("content", [{}, {"certificate": []}, {"certificate": {"format": 1}}, {"certificate": "x"}])
def test_what_is_no_release_is_found_out(gateway: Gateway, content: dict[str, Any]) -> None:
    assert found(gateway, content)


def test_a_changed_release_ends_with_exit_code_1_and_what_is_none_is_refused(
    gateway: Gateway, released: dict[str, Any], tmp_path: Path
) -> None:
    changed = {**released, "rho": "0.0001"}
    said = gateway.world.kai("release", "verify", written(tmp_path, changed), expect=1)
    assert "does not hold" in said and "The release's rho" in said
    assert "NOT_A_RELEASE" in gateway.world.kai("release", "verify", written(tmp_path, []), expect=1)


def test_an_unknown_number_is_refused(gateway: Gateway) -> None:
    for command in ("show", "verify"):
        assert "NO_SUCH_RELEASE" in gateway.world.kai("release", command, "987654", expect=1)


def test_every_answer_made_of_one_release_holds(gateway: Gateway, released: dict[str, Any]) -> None:
    other = SQL.replace("AS n", "AS visits").replace("ORDER BY n DESC", "HAVING n > 5")
    answer = gateway.session().stats(other.replace("HAVING n", "HAVING visits"), "0.01")
    assert not answer["charged"]
    verified = gateway.world.kai("release", "verify", str(released["release_id"]))
    assert verified.count("holds.") == 2
    earlier = gateway.session().door.request_json("GET", f"{API}/releases?contains=visits")["releases"]
    assert earlier[0]["release"] == answer["release"]
