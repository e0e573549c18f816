"""What a failed read of a statistic tells: one code for whatever its rows may have decided."""

from __future__ import annotations

import pytest

from kaianalytics.errors import QueryFailed, WorkerFault
from kaianalytics.gateway.workers.failures import SAYS_NOTHING, failure_of, of_statistics, result_too_large

BY_ROWS = [
    failure_of(["OutOfMemoryException"]).error(),
    failure_of(["ConversionException"]).error(),
    failure_of(["OutOfRangeException"]).error(),
    failure_of(["InternalException"]).error(),
    result_too_large(5, 5).error(),
    WorkerFault("DEADLINE", "The query ran past its deadline and was ended."),
    WorkerFault("WORKER_KILLED", "The query's process was killed from outside."),  # by the machine, out of memory
    WorkerFault("WORKER_ENDED", "The query's process ended before its answer."),
    QueryFailed("ANYTHING_NEW", "A failure that nobody has thought of."),
]


@pytest.mark.parametrize("error", BY_ROWS, ids=lambda error: error.code)
def test_what_rows_may_have_decided_is_told_in_one_way(error: WorkerFault | QueryFailed) -> None:
    told = of_statistics(error)
    assert (type(told), told.code) == (WorkerFault, "STATISTIC_FAILED")
    assert {str(of_statistics(each)) for each in BY_ROWS} == {str(told)}


@pytest.mark.parametrize("code", sorted(SAYS_NOTHING))
def test_what_is_no_fact_about_rows_is_told_as_it_is(code: str) -> None:
    error = WorkerFault(code, "Somebody hung up, or there was no room.")
    assert of_statistics(error) is error
