"""The custodian's keys: made once, private or refused, and never shown."""

from __future__ import annotations

import json
import pickle
import stat
from pathlib import Path

import pytest

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import KINDS, Keys, Kind, new_secret
from kaianalytics.errors import HomeFault

RETIRED = {"kind": "signing", "key": "00" * 32, "made": "", "retired": "", "until": 1}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", tmp_path / "contracts", tmp_path / "sources")


@pytest.fixture
def keys(home: Home) -> Keys:
    return Keys.create(home)


def key_file(home: Home) -> Path:
    (file,) = home.keys.iterdir()
    return file


def test_loaded_keys_are_the_created_ones(home: Home, keys: Keys) -> None:
    loaded = Keys.load(home)
    assert loaded.public_key == keys.public_key and loaded.token_key == keys.token_key
    assert loaded.pseudonym_key("ad-targeting") == keys.pseudonym_key("ad-targeting")
    assert stat.S_IMODE(key_file(home).stat().st_mode) == 0o600


def test_keys_are_never_made_twice(home: Home, keys: Keys) -> None:
    before = key_file(home).read_bytes()
    with pytest.raises(HomeFault) as fault:
        Keys.create(home)
    assert fault.value.code == "KEYS_EXIST"
    assert key_file(home).read_bytes() == before


def test_lost_keys_are_not_replaced_where_records_remain(home: Home) -> None:
    home.records.touch()
    with pytest.raises(HomeFault) as fault:
        Keys.create(home)
    assert fault.value.code == "KEYS_LOST"
    assert not Keys.exist(home)


def test_a_signature_holds_for_its_bytes_alone(keys: Keys, tmp_path: Path) -> None:
    signature = keys.sign(b"act")
    assert keys.verify(signature, b"act")
    assert not keys.verify(signature, b"another act")
    assert not keys.verify(signature[:-1] + bytes([signature[-1] ^ 1]), b"act")
    assert not keys.verify(b"", b"act")
    other = Keys.create(Home.create(tmp_path / "other", tmp_path, tmp_path))
    assert not other.verify(signature, b"act")
    assert other.public_key_id != keys.public_key_id and other.key_id != keys.key_id


def test_each_purpose_has_a_pseudonym_key_of_its_own(keys: Keys) -> None:
    derived = {keys.pseudonym_key(purpose) for purpose in ("ad-targeting", "campaign-analysis", "ad-targetin", "g")}
    assert len(derived) == 4 and {len(key) for key in derived} == {32}
    assert keys.token_key not in derived
    with pytest.raises(ValueError):
        keys.pseudonym_key("")


def test_no_secret_is_shown(home: Home, keys: Keys) -> None:
    shown = f"{keys!r} {keys!s} {keys.key_id} {keys.public_key_id}"
    material = json.loads(key_file(home).read_bytes())
    secrets = [material[kind]["key"] for kind in KINDS]
    secrets += [keys.pseudonym_key("ad-targeting").hex()]
    assert not any(secret[:12] in shown for secret in secrets)
    assert not hasattr(keys, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(keys)


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o620, 0o644])
def test_keys_that_others_could_read_are_refused(home: Home, keys: Keys, loose: int) -> None:
    key_file(home).chmod(loose)
    with pytest.raises(HomeFault) as fault:
        Keys.load(home)
    assert fault.value.code == "KEYS_NOT_PRIVATE"


def test_a_link_is_not_a_key_file(home: Home, keys: Keys, tmp_path: Path) -> None:
    file = key_file(home)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeFault) as fault:
        Keys.load(home)
    assert fault.value.code == "KEYS_NOT_PRIVATE"


def test_absent_keys_say_so(home: Home) -> None:
    with pytest.raises(HomeFault) as fault:
        Keys.load(home)
    assert fault.value.code == "KEYS_ABSENT"


@pytest.mark.parametrize(
    "damage",
    [
        lambda material: {**material, "version": 3},
        lambda material: {**material, "version": 1},
        lambda material: {**material, "tokens": {**material["tokens"], "key": material["tokens"]["key"][:-2]}},
        lambda material: {**material, "tokens": material["pseudonyms"]},
        lambda material: {**material, "signing": {"key": "no hex", "made": ""}},
        lambda material: {**material, "signing": {"key": 7, "made": ""}},
        lambda material: {**material, "signing": 7},
        lambda material: {name: value for name, value in material.items() if name != "pseudonyms"},
        lambda material: {**material, "extra": ""},
        lambda material: {**material, "retired": [{"kind": "signing"}]},
        lambda material: {**material, "retired": [{**RETIRED, "key": "00"}]},
        lambda material: {**material, "retired": [{**RETIRED, "kind": "tokens"}]},
        lambda material: [material],
    ],
)
def test_damaged_keys_are_refused_without_showing_them(home: Home, keys: Keys, damage: object) -> None:
    assert callable(damage)
    material = json.loads(key_file(home).read_bytes())
    key_file(home).write_text(json.dumps(damage(material)))
    with pytest.raises(HomeFault) as fault:
        Keys.load(home)
    assert fault.value.code == "KEYS_DAMAGED"
    assert material["signing"]["key"] not in str(fault.value)


def test_making_leaves_one_file_and_no_scraps(home: Home, keys: Keys) -> None:
    with pytest.raises(HomeFault):
        Keys.create(home)
    assert [file.name for file in home.keys.iterdir()] == ["custodian.json"]


def test_the_first_version_of_the_file_is_still_read(home: Home, keys: Keys) -> None:
    material = json.loads(key_file(home).read_bytes())
    first = {"signing": "signing", "tokens": "token", "pseudonyms": "pseudonym"}
    key_file(home).write_text(json.dumps({"version": 1, **{n: material[kind]["key"] for kind, n in first.items()}}))
    assert [Keys.load(home).id_of(kind) for kind in KINDS] == [keys.id_of(kind) for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_replaced_by_itself(home: Home, keys: Keys, kind: Kind) -> None:
    signature, names = keys.sign(b"act"), keys.pseudonym_key("ad-targeting")
    after = keys.successor(kind, new_secret(), 7).replace(home)
    assert [other for other in KINDS if after.id_of(other) != keys.id_of(other)] == [kind]
    assert stat.S_IMODE(key_file(home).stat().st_mode) == 0o600
    assert after.verify(signature, b"act") and not after.verify(signature, b"another act")
    assert (after.token_key != keys.token_key) == (kind == "tokens")
    assert (after.pseudonym_key("ad-targeting") != names) == (kind == "pseudonyms")
    assert after.earlier_pseudonym_keys("ad-targeting") == ((names,) if kind == "pseudonyms" else ())
    assert sorted(made.id for made in after.all_made() if made.retired) == (
        [] if kind == "tokens" else [keys.id_of(kind)]
    )


def test_an_earlier_key_has_signed_no_event_after_its_last(home: Home, keys: Keys) -> None:
    signature = keys.sign(b"act")
    after = keys.successor("signing", new_secret(), 7).replace(home)
    assert [after.verify(signature, b"act", event=number) for number in (6, 7, 8)] == [True, True, False]
    assert after.verify(after.sign(b"act"), b"act", event=8)
    assert not keys.verify(after.sign(b"act"), b"act")
    assert after.public_keys() == {keys.public_key_id: keys.public_key, after.public_key_id: after.public_key}


def test_the_private_half_of_an_earlier_signing_key_and_an_earlier_token_key_are_gone(home: Home, keys: Keys) -> None:
    before = json.loads(key_file(home).read_bytes())
    for kind in ("signing", "tokens"):
        keys = keys.successor(kind, new_secret(), 7).replace(home)  # type: ignore[arg-type]
    kept = key_file(home).read_text()
    assert not any(before[kind]["key"] in kept for kind in ("signing", "tokens"))
    assert before["pseudonyms"]["key"] in kept


def test_who_loaded_keys_that_were_replaced_is_told(home: Home, keys: Keys) -> None:
    keys.demand_current()
    after = keys.successor("tokens", new_secret()).replace(home)
    after.demand_current()
    with pytest.raises(HomeFault) as fault:
        keys.demand_current()
    assert fault.value.code == "KEYS_ROTATED"


def test_what_a_killed_writer_left_aside_goes_with_the_next(home: Home, keys: Keys) -> None:
    (home.keys / "custodian.json.0123").write_text("half a key")
    keys.successor("tokens", new_secret()).replace(home)
    assert [file.name for file in home.keys.iterdir()] == ["custodian.json"]
