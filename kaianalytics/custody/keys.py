"""The custodian's keys: one signing key and two secrets, made once and never shown.

Rules:
    1. Keys are made once, together, in one file: a half-made set can't exist and an existing set is never replaced.
    2. The file is 0600 and this OS user's; a looser one is refused, for it may have been read.
    3. Where records exist and the keys are gone, new keys are not made: pseudonyms would silently change.
    4. No secret appears in a repr, an error or a pickle. Pseudonym keys are guarded as 削除情報等: a purpose's key is
       derived and handed to the builder alone, and is named in public by `key_id`.

Ed25519 (RFC 8032) signs; HKDF-SHA-256 (RFC 5869) derives one pseudonym key per purpose from the master, so that one
purpose's key tells nothing of another's.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kaianalytics.custody.home import Home
from kaianalytics.errors import HomeFault

_FILE = "custodian.json"
_NAMES = ("signing", "token", "pseudonym")
_SECRET_BYTES = 32
_RULE = "the custodian's keys are made once, and only the custodian can read them"


class Keys:
    """The custodian's keys in memory: `sign`, `verify`, `token_key`, `pseudonym_key`, and the public ids."""

    __slots__ = ("_pseudonym", "_signing", "_token")

    def __init__(self, *, signing: bytes, token: bytes, pseudonym: bytes) -> None:
        if {len(signing), len(token), len(pseudonym)} != {_SECRET_BYTES} or len({signing, token, pseudonym}) != 3:
            raise ValueError("keys are three different secrets of 32 bytes")
        self._signing = Ed25519PrivateKey.from_private_bytes(signing)
        self._token = token
        self._pseudonym = pseudonym

    @classmethod
    def create(cls, home: Home) -> Keys:
        """New keys, written into the home; HomeFault KEYS_EXIST, or KEYS_LOST where records outlived their keys."""
        if home.records.exists() and not cls.exist(home):
            raise HomeFault(
                "KEYS_LOST",
                "This home has records, and their keys are gone.",
                rule=_RULE,
                hint="restore the keys from the custodian's backup; new ones would not fit the records",
            )
        _write_once(home.keys / _FILE, {name: secrets.token_bytes(_SECRET_BYTES) for name in _NAMES})
        return cls.load(home)

    @classmethod
    def load(cls, home: Home) -> Keys:
        """The home's keys; HomeFault KEYS_ABSENT, KEYS_NOT_PRIVATE or KEYS_DAMAGED."""
        return cls(**_parse(_read_private(home.keys / _FILE)))

    @staticmethod
    def exist(home: Home) -> bool:
        """Whether this home has keys, readable or not."""
        return os.path.lexists(home.keys / _FILE)

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of `data`, 64 bytes."""
        return self._signing.sign(data)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` is this custodian's over exactly `data`."""
        try:
            self._signing.public_key().verify(signature, data)
        except InvalidSignature:
            return False
        return True

    @property
    def public_key(self) -> bytes:
        """The public half of the signing key, 32 raw bytes: whoever has it can check what was signed."""
        return self._signing.public_key().public_bytes_raw()

    @property
    def public_key_id(self) -> str:
        """The signing key's public name, 32 hex digits."""
        return hashlib.sha256(self.public_key).hexdigest()[:32]

    @property
    def token_key(self) -> bytes:
        """The secret under which tokens are authenticated, 32 bytes."""
        return self._token

    def pseudonym_key(self, purpose: str) -> bytes:
        """The secret under which one purpose's pseudonyms are made, 32 bytes."""
        if not purpose:
            raise ValueError("a pseudonym key belongs to a purpose")
        return self._derive(b"pseudonyms of purpose\0" + purpose.encode(), 32)

    @property
    def key_id(self) -> str:
        """The pseudonym master's public name, 32 hex digits: equal ids mean equal pseudonyms."""
        return self._derive(b"public id of the pseudonym master", 16).hex()

    def _derive(self, use: bytes, length: int) -> bytes:
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"kaianalytics v1\0" + use).derive(
            self._pseudonym
        )

    def __repr__(self) -> str:
        return f"Keys(public_key_id={self.public_key_id!r}, key_id={self.key_id!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("keys are not pickled")


def _write_once(file: Path, material: Mapping[str, bytes]) -> None:
    """Writes aside, then links into place: the link fails if the file exists, and the file is never half-written."""
    aside = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump({"version": 1, **{name: secret.hex() for name, secret in material.items()}}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(aside, file)
    except FileExistsError:
        raise HomeFault("KEYS_EXIST", "This home has its keys already.", rule=_RULE, hint="go on with them") from None
    finally:
        aside.unlink()
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_private(file: Path) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise HomeFault("KEYS_ABSENT", "This home has no keys.", rule=_RULE, hint="make them with `kai init`") from None
    except OSError:
        raise _not_private() from None
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise _not_private()
        return stream.read(4096)


def _not_private() -> HomeFault:
    return HomeFault(
        "KEYS_NOT_PRIVATE",
        "The keys' file is a link, another user's, or open to other OS users.",
        rule=_RULE,
        hint="find out who could read it; if someone could, the keys are spent. Close it with `chmod 600`",
    )


def _parse(text: bytes) -> dict[str, bytes]:
    try:
        material = json.loads(text)
        if material.pop("version") != 1 or set(material) != set(_NAMES):
            raise ValueError
        found = {name: bytes.fromhex(material[name]) for name in _NAMES}
        Keys(**found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HomeFault(
            "KEYS_DAMAGED", "The keys' file is not readable as keys.", rule=_RULE, hint="restore it from the backup"
        ) from None
    return found
