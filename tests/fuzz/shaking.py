"""Values for decoders: anything that JSON can hold, and what an encoder wrote with a part of it shaken."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

WORDS = [
    "",
    "x",
    "0",
    "-1",
    "1e999",
    "NaN",
    "true",
    "2026-01-05",
    "../..",
    "a" * 300,
    "\x00",
    "é",
    "日本",
    "\ud800",
    "{}",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=8)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8), anything, max_size=6)
DEEP = (b"[" * 1_200, b'{"a":' * 1_200, b"[" * 500 + b"]" * 500)
raw = st.binary(max_size=200) | st.sampled_from(DEEP) | anything.map(lambda value: json.dumps(value).encode())


@st.composite
def shaken(draw: st.DrawFn, value: Any) -> Any:
    """The value with one to three of its parts replaced, dropped, doubled or renamed."""
    made = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        made = _shaken_once(draw, made)
    return made


def _shaken_once(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value, key=str)))
        way = draw(st.integers(0, 5))
        if way == 0:
            return {other: item for other, item in value.items() if other != key}
        if way == 1:
            return {**value, draw(st.text(max_size=5)): draw(anything)}
        if way == 2:
            return {**value, key: draw(anything)}
        return {**value, key: _shaken_once(draw, value[key])}
    if isinstance(value, list) and value:
        place = draw(st.integers(0, len(value) - 1))
        way = draw(st.integers(0, 4))
        if way == 0:
            return value[:place] + value[place + 1 :]
        if way == 1:
            return [*value, value[place]]
        return [*value[:place], _shaken_once(draw, value[place]), *value[place + 1 :]]
    return draw(anything)


@st.composite
def cut(draw: st.DrawFn, text: bytes) -> bytes:
    """The bytes with a few of them changed, dropped or put in."""
    made = bytearray(text)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(made)))
        made[place : place + draw(st.integers(0, 5))] = draw(st.binary(max_size=5))
    return bytes(made)


def texts_of(value: Any) -> st.SearchStrategy[bytes]:
    """JSON texts of the value: shaken, cut, or nothing of the kind."""
    written = json.dumps(value).encode()
    return st.one_of(st.just(written), shaken(value).map(lambda made: json.dumps(made).encode()), cut(written), raw)
