"""What a charge bought is read back as it was written, value by value and type by type; anything else is a fault."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaianalytics.errors import RecordsFault
from kaianalytics.gateway.statistics.drawing import Drawn
from kaianalytics.privacy.plan import Noisy
from kaianalytics.privacy.unit import Profile

KEYS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=5) | st.dates()
FIGURES = st.integers(-(2**62), 2**62)


@st.composite
def drawings(draw: st.DrawFn) -> Drawn:
    """Noisy numbers of any keys, with a profile or without."""
    width = draw(st.integers(0, 3))
    cells = draw(st.lists(st.tuples(*[KEYS] * width), max_size=4))
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    vectors = tuple(tuple(draw(FIGURES) for _ in range(length * len(cells))) for length in lengths)
    points = ((Decimal("0.5"), Decimal("1.25")), (Decimal(1), Decimal(7)))
    profile = draw(st.none() | st.just(Profile(12, points, {"yen": points}, {1: points})))
    return Drawn(Noisy(tuple(cells), vectors), "digest", profile)


@given(drawings())
@settings(max_examples=100, deadline=None)
def test_what_was_drawn_is_read_back_with_its_types(drawn: Drawn) -> None:
    again = Drawn.from_bytes(drawn.to_bytes())
    assert again == drawn
    types = [[type(value) for value in cell] for cell in drawn.noisy.cells]
    assert [[type(value) for value in cell] for cell in again.noisy.cells] == types
    assert again.to_bytes() == drawn.to_bytes()


def test_a_day_is_a_day_and_a_text_that_looks_like_one_a_text() -> None:
    noisy = Noisy(((date(2026, 11, 1), "2026-11-01", True, 1),), ((5,),))
    assert Drawn.from_bytes(Drawn(noisy, "digest").to_bytes()).noisy == noisy


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"{}",
        b'{"cells":[[1]],"vectors":[[1]],"profile":null}',
        b"\xff",
        b'{"cells":[[]],"vectors":[[1.5]],"profile":null,"drawn_on":""}',
        b'{"cells":[[{"date":"no day"}]],"vectors":[[1]],"profile":null,"drawn_on":""}',
        b'{"cells":[[{}]],"vectors":[[1]],"profile":null,"drawn_on":""}',
        b'{"cells":[[1],[2]],"vectors":[[1]],"profile":null,"drawn_on":""}',
        b'{"cells":[[1]],"vectors":[[1]],"profile":"{}","drawn_on":""}',
    ],
)
def test_a_record_that_is_none_is_a_fault(record: bytes) -> None:
    with pytest.raises(RecordsFault) as fault:
        Drawn.from_bytes(record)
    assert fault.value.code == "RELEASE_UNREADABLE"
