"""The signed head: the chain's last number and hash in a second file, so that an older chain is noticed (law 8).

    head and chain agree                                     go on
    no head, no chain                                        a new home: the head of the empty chain is written first
    chain ahead by exactly the event that follows the head   a crash between commit and head: repaired
    head ahead of the chain                                  LEDGER_ROLLED_BACK
    same number, another hash; or the chain's next event
    does not follow the head                                 LEDGER_REPLACED
    chain ahead by more                                      HEAD_BEHIND
    chain without a head                                     HEAD_ABSENT
    a head that can't be read, or that another key signed    HEAD_FORGED
    a head that an earlier key signed, while it was in use   go on: the keys were rotated just now

All but the first three and the last are faults: nothing starts. Restoring head and records *together* can't be noticed
until the head is anchored outside.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from kaianalytics.custody.keys import Keys
from kaianalytics.errors import RecordsFault
from kaianalytics.records.audit import GENESIS, Link, StoredEvent, canonical

_SIGNED = "kaianalytics head v1\n"
_RULE = "the ledger starts only where its signed head says it ended (law 8)"
_KEEP = "keep both files as they are, find out who restored or changed one, and restore the newest of both"


class HeadFile:
    """The head's file: read and written whole, never in part."""

    def __init__(self, path: Path, keys: Keys) -> None:
        self._path = path
        self._keys = keys

    def signed_by(self, keys: Keys) -> HeadFile:
        """The same file, to be written under other keys."""
        return HeadFile(self._path, keys)

    def read(self) -> Link | None:
        """The head, its signature checked; None where there is no file; RecordsFault HEAD_FORGED."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            raise _forged() from None
        try:
            found = json.loads(text)
            head = Link(found["sequence"], found["hash"])
            signer = self._keys.signer(bytes.fromhex(found["signature"]), _signed_bytes(head))
            # an earlier key signs no older head either: that would be one from before the rotation, put back
            if signer is not None and signer.until in (None, head.sequence):
                return head
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise _forged()

    def write(self, head: Link) -> None:
        """Replaces the head durably: beside, synced, renamed, folder synced; RecordsFault HEAD_NOT_WRITTEN."""
        signature = self._keys.sign(_signed_bytes(head)).hex()
        text = canonical({"sequence": head.sequence, "hash": head.hash, "signature": signature})
        try:
            self._replace(text.encode())
        except OSError:
            raise RecordsFault(
                "HEAD_NOT_WRITTEN",
                "The records are written, and their head could not be.",
                rule=_RULE,
                hint="see that the home's volume is writable and has room; the next start repairs the head",
            ) from None

    def _replace(self, text: bytes) -> None:
        aside = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def behind(head: Link | None, last: StoredEvent | None) -> bool:
    """Whether the head must be advanced to the chain's last event; RecordsFault where the two can't both be true."""
    chain = GENESIS if last is None else last.link
    if head is None:
        if last is None:
            return True
        raise _fault("HEAD_ABSENT", f"The records hold {chain.sequence} events, and their signed head is gone.")
    if head == chain and (last is None or last.follows(Link(last.sequence - 1, last.prev_hash))):
        return False
    if head.sequence > chain.sequence:
        raise _fault(
            "LEDGER_ROLLED_BACK",
            f"The records end at event {chain.sequence}, and their signed head says {head.sequence}: they are older.",
        )
    if chain.sequence > head.sequence + 1:
        raise _fault(
            "HEAD_BEHIND", f"The records end at event {chain.sequence}, and their signed head says {head.sequence}."
        )
    if last is not None and last.follows(head):
        return True
    raise _fault(
        "LEDGER_REPLACED", f"Event {head.sequence} of the records is not the one that their head was signed over."
    )


def _signed_bytes(head: Link) -> bytes:
    return (_SIGNED + canonical({"sequence": head.sequence, "hash": head.hash})).encode()


def _forged() -> RecordsFault:
    return _fault("HEAD_FORGED", "The head of the records can't be read, or another key signed it.")


def _fault(code: str, message: str) -> RecordsFault:
    return RecordsFault(code, message, rule=_RULE, hint=_KEEP)
