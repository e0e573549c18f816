"""The layers of the wall by name: what each promises, and where it stands.

Nothing here takes a layer away, and nothing in the product can. `tests/attacks/test_kai_attack.py` does, in copies of a
world, by putting something else in the layer's place; each layer there must let some attack through once it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaianalytics.attack.corpus import hostile_statements


@dataclass(frozen=True)
class Layer:
    """One layer: its name, what it promises, and the room it stands in."""

    name: str
    promise: str
    room: str


GUARD = "guard"
DECISION = "decision"
STORE = "store"
PEOPLE = "people"
RETENTION = "retention"
PSEUDONYMS = "pseudonyms"
VERIFICATION = "verification"
VIEW = "view"
STOPS = "stops"
SECURE_VIEW = "secure view"
ERROR_WORDS = "error words"
SECOND_LOOK = "second look"
LOCK_DOWN = "engine lock"
SIGNATURE = "signature"
AUDIENCE = "audience"
EXPIRY = "expiry"
REVOCATION = "revocation"
OS_USER = "OS user"
BINDING = "binding"
OWN_REVIEWS = "own reviews"
COMMENTS = "comments"
REQUEST_SIZE = "request size"
PROOF = "proof"
NOISE = "noise"
ONE_DRAW = "one draw"
LEDGER = "ledger"
CAPS = "caps"
BUCKETS = "time buckets"
DOOR = "door"
LANDLOCK = "landlock"

LAYERS: Mapping[str, Layer] = {
    name: Layer(name, promise, room)
    for name, promise, room in (
        (GUARD, "admits one SELECT over views, and in it known nodes and functions alone", "gateway.guard"),
        (
            DECISION,
            "permits a person a purpose's views as the contracts grant them, at each question",
            "policy.decision",
        ),
        (STORE, "a store's file holds the products and columns of its purpose and access alone", "policy.views"),
        (PEOPLE, "a store holds nobody whose basis does not hold", "warehouse.standing"),
        (RETENTION, "a store holds no row past its retention", "warehouse.tables"),
        (PSEUDONYMS, "a key is in a store as a pseudonym of its purpose", "warehouse.pseudonyms"),
        (VERIFICATION, "a store that is not as planned is not published", "warehouse.verification"),
        (VIEW, "a worker's views show the planned columns of the planned products", "policy.secure_views"),
        (STOPS, "a view leaves out who asked to stop, from the next question on", "policy.secure_views"),
        (
            SECURE_VIEW,
            "no condition of an analyst's is computed on a row that a view leaves out",
            "policy.secure_views",
        ),
        (ERROR_WORDS, "of the engine's errors a code leaves the worker, and none of its words", "gateway.workers"),
        (SECOND_LOOK, "a worker runs one SELECT at a time, as its own engine reads it", "gateway.workers"),
        (LOCK_DOWN, "a worker's engine opens no file but its store", "gateway.workers"),
        (SIGNATURE, "a token is one that the custodian signed", "gateway.tokens"),
        (AUDIENCE, "a kernel's token is no person's", "gateway.tokens"),
        (EXPIRY, "a token ends at its time", "gateway.tokens"),
        (REVOCATION, "a token ends when it is revoked", "gateway.door.identity"),
        (OS_USER, "a token is good from the OS user it was issued to", "gateway.door.identity"),
        (BINDING, "a kernel's token is good on its own kernel's connections", "gateway.door.binding"),
        (OWN_REVIEWS, "an analyst is shown their own submissions alone", "gateway.reviewing"),
        (COMMENTS, "what is written beside a question is not shown to others", "gateway.guard"),
        (REQUEST_SIZE, "a request is bounded before it is read", "gateway.door.reading"),
        (PROOF, "a statistic is one whose loss is proved: no value of one person's", "privacy.reading"),
        (NOISE, "a figure leaves with noise", "privacy.measuring"),
        (ONE_DRAW, "the same question on the same data is drawn once", "records.releases"),
        (LEDGER, "no charge passes what is allowed", "records.ledger"),
        (CAPS, "no more rows leave than the contract says", "gateway.enforcement"),
        (BUCKETS, "a figure comes at the end of a bucket of time", "gateway.statistics.buckets"),
        (DOOR, "what is no request that the gateway knows is told so, or hung up on", "gateway.door"),
        ("limits", "memory, files and processes are bounded", "sandbox.limits"),
        ("cgroups", "a kernel's memory and processes are bounded all together", "sandbox.cgroups"),
        ("namespaces", "a kernel sees its own processes, folders and network alone", "sandbox.namespaces"),
        ("capabilities", "a kernel or worker has no capability, whoever it runs as", "sandbox.capabilities"),
        (LANDLOCK, "a kernel or worker reaches its own files alone", "sandbox.landlock"),
        ("seccomp", "a kernel or worker makes the system calls of its ordinary work", "sandbox.seccomp"),
    )
}

_BY_CODE = {
    "TOKEN_INVALID": SIGNATURE, "TOKEN_EXPIRED": EXPIRY, "TOKEN_REVOKED": REVOCATION, "WRONG_OS_USER": OS_USER,
    "NOT_THIS_CONNECTION": BINDING, "CONNECTION_NOT_BOUND": BINDING, "KERNELS_CONNECTION": BINDING,
    "TOKEN_MISSING": DOOR, "NOT_YOURS": OWN_REVIEWS, "BIND_ERROR": STORE, "UNKNOWN_COLUMN": STORE,
    "NOT_PERMITTED": LOCK_DOWN, "NO_VIEW": GUARD, "DATA_ERROR": ERROR_WORDS,
}  # fmt: skip
_BY_STATUS = {403: DECISION, 402: LEDGER, 404: DOOR, 405: DOOR, 400: DOOR, 0: DOOR}
_GUARDS = frozenset(hostile.code for hostile in hostile_statements())


def stopping(status: int, code: str, statistics: bool) -> str:
    """The layer that a refusal came from, by its code."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if code in _GUARDS:
        return GUARD
    return PROOF if statistics and status == 422 else DOOR
