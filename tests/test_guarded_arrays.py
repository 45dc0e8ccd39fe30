"""Calls write their results whole, and nothing beside them; they change no input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import scripts
from guarded_arrays import WORD, Guarded, Places, digest_of


def digests(poison: str) -> list[str]:
    """Run all calls in a process whose fresh memory holds NaN if `poison` is 1."""
    return scripts.run("guarded_calls.py", RNNFAST_POISON=poison).splitlines()


def test_calls_write_nothing_but_their_results_and_depend_on_nothing_but_their_inputs() -> None:
    clean, poisoned = digests("0"), digests("1")
    assert clean == poisoned
    assert len(clean) > 300
    one_thread, three_threads = clean[: len(clean) // 2], clean[len(clean) // 2 :]
    assert one_thread == three_threads


def write_before(array: np.ndarray) -> None:
    reversed_view = as_strided(array, (2,), (-array.itemsize,))
    reversed_view[1] = 0


def write_after(array: np.ndarray) -> None:
    as_strided(array, (array.size + 1,), (array.itemsize,))[-1] = 0


def change(array: np.ndarray) -> None:
    array[0] += 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (write_before, "words before an array"),
        (write_after, "words after an array"),
        (change, "an input was changed"),
    ],
)
def test_a_write_beside_an_array_or_to_an_input_is_noticed(
    fault: Callable[[np.ndarray], None], message: str, dtype: str
) -> None:
    def call(places: Places) -> list[np.ndarray]:
        place = places.input(np.ones(3, dtype))
        fault(place)
        return []

    with pytest.raises(AssertionError, match=message):
        digest_of(call, Guarded())


def test_a_result_that_is_not_written_whole_is_noticed() -> None:
    def call(places: Places) -> list[np.ndarray]:
        result = places.output(np.full(5, np.nan))
        result[:4] = 0
        return [result]

    with pytest.raises(AssertionError, match="a result was not written"):
        digest_of(call, Guarded())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reads_beside_an_array_find_a_nan(dtype: str) -> None:
    place = Guarded().input(np.ones(3, dtype))
    assert np.isnan(np.full(2, WORD).view(dtype)).all()
    assert np.isnan(as_strided(place, (4,), (place.itemsize,))[-1])
    assert place.__array_interface__["data"][0] % 64 == place.itemsize
