"""The custodian's keys: one signing key and two secrets, each replaced by itself, and never shown.

Rules:
    1. Keys are made together, in one file (`key_file`): a half-made set can't exist, and `create` replaces none.
    2. Where records exist and the keys are gone, new keys are not made: pseudonyms would silently change.
    3. No secret appears in a repr, an error or a pickle. Pseudonym keys are guarded as 削除情報等: a purpose's key is
       derived and handed to the builder alone, and is named in public by `key_id`.
    4. Of a signing key that was replaced its public half is kept, with the number of the last event that it may have
       signed: what was signed before still verifies, and nothing after. Its private half is gone.
    5. A pseudonym master that was replaced is kept, for one purpose: stop requests name people by it. Of a token key
       nothing is kept.
    6. Who loaded keys that were replaced since writes nothing with them (`demand_current`).

Ed25519 (RFC 8032) signs; HKDF-SHA-256 (RFC 5869) derives one pseudonym key per purpose from the master, so that one
purpose's key tells nothing of another's.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kaianalytics.custody import key_file
from kaianalytics.custody.home import Home
from kaianalytics.errors import HomeFault

Kind = Literal["signing", "tokens", "pseudonyms"]
KINDS: tuple[Kind, ...] = ("signing", "tokens", "pseudonyms")
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Made:
    """One key by what may be said of it: kind, public id, when it was made and when replaced (ISO, UTC)."""

    kind: Kind
    id: str
    made: str
    retired: str = ""


@dataclass(frozen=True)
class _Retired:
    """What is kept of a key that was replaced: a public half, or a pseudonym master. `until`: the last event before."""

    kind: Kind
    key: bytes = field(repr=False)
    made: str
    retired: str
    until: int


@dataclass(frozen=True)
class Signer:
    """Who signed something; `until` is the last event that it may have signed, None while it signs."""

    id: str
    until: int | None


class Keys:
    """The custodian's keys in memory: `sign`, `verify`, `token_key`, `pseudonym_key`, and the public ids."""

    __slots__ = ("_dates", "_file", "_mark", "_retired", "_secrets", "_signing")

    def __init__(
        self, secret: Mapping[Kind, bytes], dates: Mapping[Kind, str], retired: Sequence[_Retired] = ()
    ) -> None:
        self._secrets = {kind: secret[kind] for kind in KINDS}
        self._dates = {kind: dates[kind] for kind in KINDS}
        if {*map(len, self._secrets.values())} != {_SECRET_BYTES} or len({*self._secrets.values()}) != len(KINDS):
            raise ValueError("keys are three different secrets of 32 bytes")
        self._signing = Ed25519PrivateKey.from_private_bytes(secret["signing"])
        self._retired = tuple(retired)
        self._file: Path | None = None
        self._mark: key_file.Mark = (0, 0)

    @classmethod
    def create(cls, home: Home) -> Keys:
        """New keys, written into the home; HomeFault KEYS_EXIST, or KEYS_LOST where records outlived their keys."""
        if home.records.exists() and not cls.exist(home):
            raise HomeFault(
                "KEYS_LOST",
                "This home has records, and their keys are gone.",
                rule=key_file.RULE,
                hint="restore the keys from the custodian's backup; new ones would not fit the records",
            )
        fresh = cls({kind: new_secret() for kind in KINDS}, dict.fromkeys(KINDS, _now()))
        key_file.write_first(home.keys / key_file.NAME, fresh._text())
        return cls.load(home)

    @classmethod
    def load(cls, home: Home) -> Keys:
        """The home's keys; HomeFault KEYS_ABSENT, KEYS_NOT_PRIVATE or KEYS_DAMAGED."""
        file = home.keys / key_file.NAME
        text, mark = key_file.read_private(file)
        keys = _parse(text)
        keys._file, keys._mark = file, mark
        return keys

    @staticmethod
    def exist(home: Home) -> bool:
        """Whether this home has keys, readable or not."""
        return os.path.lexists(home.keys / key_file.NAME)

    def successor(self, kind: Kind, secret: bytes, until: int = 0) -> Keys:
        """These keys with another one of a kind, in memory; `until` is the last event that the old one has signed."""
        now = _now()
        retired = [*self._retired, *self._kept(kind, now, until)]
        return Keys({**self._secrets, kind: secret}, {**self._dates, kind: now}, retired)

    def replace(self, home: Home) -> Keys:
        """Write these keys in the place of the home's, at one stroke, and load them."""
        key_file.replace(home.keys / key_file.NAME, self._text())
        return Keys.load(home)

    def demand_current(self) -> None:
        """HomeFault KEYS_ROTATED where the keys were replaced after these were loaded."""
        if self._file is not None and not key_file.is_same(self._file, self._mark):
            raise HomeFault(
                "KEYS_ROTATED",
                "The keys were rotated meanwhile; nothing was written with the old ones.",
                rule="a key that was replaced signs nothing more",
                hint="do the same again",
            )

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of `data`, 64 bytes."""
        return self._signing.sign(data)

    def verify(self, signature: bytes, data: bytes, *, event: int | None = None) -> bool:
        """Whether `signature` is this custodian's over exactly `data`; of the event of that number, where one is named.

        A key that was replaced has signed no event after that.
        """
        signer = self.signer(signature, data)
        return signer is not None and (event is None or signer.until is None or event <= signer.until)

    def signer(self, signature: bytes, data: bytes) -> Signer | None:
        """Which of this custodian's signing keys, of now or before, signed exactly `data`."""
        if _signed(self._signing.public_key(), signature, data):
            return Signer(self.public_key_id, None)
        for old in (old for old in self._retired if old.kind == "signing"):
            if _signed(Ed25519PublicKey.from_public_bytes(old.key), signature, data):
                return Signer(_public_id(old.key), old.until)
        return None

    @property
    def public_key(self) -> bytes:
        """The public half of the signing key, 32 raw bytes: whoever has it can check what was signed."""
        return self._signing.public_key().public_bytes_raw()

    @property
    def public_key_id(self) -> str:
        """The signing key's public name, 32 hex digits."""
        return _public_id(self.public_key)

    def public_keys(self) -> dict[str, bytes]:
        """The public half of every signing key, of now and before, by its id."""
        old = {_public_id(old.key): old.key for old in self._retired if old.kind == "signing"}
        return {**old, self.public_key_id: self.public_key}

    @property
    def token_key(self) -> bytes:
        """The secret under which tokens are authenticated, 32 bytes."""
        return self._secrets["tokens"]

    def pseudonym_key(self, purpose: str) -> bytes:
        """The secret under which one purpose's pseudonyms are made, 32 bytes."""
        return _pseudonym_key(self._secrets["pseudonyms"], purpose)

    def earlier_pseudonym_keys(self, purpose: str) -> tuple[bytes, ...]:
        """The secrets that one purpose's pseudonyms were made under before."""
        return tuple(_pseudonym_key(old.key, purpose) for old in self._retired if old.kind == "pseudonyms")

    @property
    def key_id(self) -> str:
        """The pseudonym master's public name, 32 hex digits: equal ids mean equal pseudonyms."""
        return _master_id(self._secrets["pseudonyms"])

    def id_of(self, kind: Kind) -> str:
        """The public name of the key of a kind, 32 hex digits."""
        return self.public_key_id if kind == "signing" else _master_id(self._secrets[kind])

    def all_made(self) -> Iterator[Made]:
        """Every key that there is or of which something is kept, the ones in use first."""
        for kind in KINDS:
            yield Made(kind, self.id_of(kind), self._dates[kind])
        for old in self._retired:
            name = _public_id(old.key) if old.kind == "signing" else _master_id(old.key)
            yield Made(old.kind, name, old.made, old.retired)

    def _kept(self, kind: Kind, now: str, until: int) -> Iterator[_Retired]:
        if kind != "tokens":
            kept = self.public_key if kind == "signing" else self._secrets[kind]
            yield _Retired(kind, kept, self._dates[kind], now, until)

    def _text(self) -> str:
        present = {kind: {"key": secret.hex(), "made": self._dates[kind]} for kind, secret in self._secrets.items()}
        retired = [{**asdict(old), "key": old.key.hex()} for old in self._retired]
        return json.dumps({"version": 2, **present, "retired": retired})

    def __repr__(self) -> str:
        return f"Keys(public_key_id={self.public_key_id!r}, key_id={self.key_id!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("keys are not pickled")


def new_secret() -> bytes:
    """What a key is made of."""
    return secrets.token_bytes(_SECRET_BYTES)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _signed(public: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        public.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _public_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:32]


def _master_id(master: bytes) -> str:
    return _derived(master, b"public id of the pseudonym master", 16).hex()


def _pseudonym_key(master: bytes, purpose: str) -> bytes:
    if not purpose:
        raise ValueError("a pseudonym key belongs to a purpose")
    return _derived(master, b"pseudonyms of purpose\0" + purpose.encode(), 32)


def _derived(master: bytes, use: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"kaianalytics v1\0" + use).derive(master)


def _parse(text: bytes) -> Keys:
    """The keys of a file; HomeFault KEYS_DAMAGED, which shows nothing of it."""
    try:
        material = json.loads(text)
        return _first_version(material) if material["version"] == 1 else _second_version(material)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HomeFault(
            "KEYS_DAMAGED", "The keys' file is not readable as keys.", rule=key_file.RULE, hint="restore the backup's"
        ) from None


def _first_version(material: dict[str, Any]) -> Keys:
    """The three keys as they were kept before one could be replaced."""
    if set(material) != {"version", "signing", "token", "pseudonym"}:
        raise ValueError
    named: dict[Kind, str] = {"signing": "signing", "tokens": "token", "pseudonyms": "pseudonym"}
    return Keys({kind: bytes.fromhex(material[name]) for kind, name in named.items()}, dict.fromkeys(KINDS, ""))


def _second_version(material: dict[str, Any]) -> Keys:
    if set(material) != {"version", *KINDS, "retired"} or material["version"] != 2:
        raise ValueError
    retired = [_Retired(**{**old, "key": bytes.fromhex(old["key"])}) for old in material["retired"]]
    if any(old.kind not in ("signing", "pseudonyms") or len(old.key) != _SECRET_BYTES for old in retired):
        raise ValueError
    present = {kind: bytes.fromhex(material[kind]["key"]) for kind in KINDS}
    return Keys(present, {kind: str(material[kind]["made"]) for kind in KINDS}, retired)
