"""Helpers for tests of resets: masks, data with a state that resets set, and separate calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import cases
from cases import Case, Data
from rnnfast import functional

Mask = NDArray[np.bool_]


def random_resets(case: Case, share: float = 0.3) -> Mask:
    return np.random.default_rng(5).random((case.T, case.B)) < share


def data_of(case: Case, with_row: bool) -> Data:
    """Return the case's data, on request with a row of the states that resets set."""
    data = cases.make_data(case)
    if not with_row:
        return data
    return data._replace(state=cases.make_data(replace(case, B=case.B + 1)).state)


def assert_as_reference(
    case: Case, reset: Mask, with_row: bool, masks: dict[str, Any], **options: Any
) -> None:
    """Compare the engine with the reference, given the masks that `options` draw."""
    single = data_of(replace(case, dtype="float32"), with_row)
    data = data_of(case, with_row)
    expected = cases.run_reference(case, data=data, reset=reset, **masks)
    plain = cases.plain_errors(case, data=single, reset=reset, **masks)
    got = cases.run_engine(case, data=data, reset=reset, **options)
    cases.assert_close(got, expected, plain, case)


class Episode(NamedTuple):
    """Steps [start, end) of a sequence."""

    sequence: int
    start: int
    end: int
    given: tuple[bool, bool]  # whether each direction starts from the given state
    final: tuple[bool, bool]  # whether each direction ends with the final state


def episodes(reset: Mask, lengths: NDArray[Any] | None) -> Iterator[Episode]:
    """Yield the episodes of all sequences."""
    T, B = reset.shape
    for b in range(B):
        length = T if lengths is None else int(lengths[b])
        cuts = [0, *(t for t in range(1, length) if reset[t, b]), length]
        discards = length > 0 and bool(reset[0, b])
        for start, end in itertools.pairwise(cuts):
            first, last = start == 0, end == length
            yield Episode(b, start, end, (first and not discards, last), (last, first))


def by_separate_calls(case: Case, data: Data, reset: Mask, **options: Any) -> dict[str, NDArray]:
    """Return the results that belong to single sequences, from a call for each episode."""
    weights, L, D = cases.weights_of(data), case.L * case.D, case.D
    zero = np.zeros_like
    y, dx = zero(data.dy), None if case.indices else zero(data.x)
    final, dinitial = [zero(s) for s in data.dstate], [zero(s) for s in data.dstate]
    for b, start, end, given, ends in episodes(reset, data.lengths):
        begins, finishes = (np.array([flags[k % D] for k in range(L)]) for flags in (given, ends))
        after_reset = [
            s[:, case.B :] if s.shape[1] > case.B else zero(s[:, :1]) for s in data.state
        ]
        state = [
            np.where(begins[:, None, None], s[:, b : b + 1], r)
            for s, r in zip(data.state, after_reset, strict=True)
        ]
        one, *of_final, reserve = flat_call(
            case, data.x[start:end, b : b + 1], weights, state, **options
        )
        y[start:end, b : b + 1] = one
        dstate = [d[:, b : b + 1] * finishes[:, None, None] for d in data.dstate]
        of_x, of_initial, _ = functional.backward(
            reserve, data.dy[start:end, b : b + 1].copy(), dstate, need_dx=dx is not None
        )
        if dx is not None:
            dx[start:end, b : b + 1] = of_x
        for arrays, chosen, values in ((final, finishes, of_final), (dinitial, begins, of_initial)):
            for to, value in zip(arrays, values, strict=True):
                to[chosen, b] = value[chosen, 0]
    return per_sequence(y, final, dx, dinitial)


def flat_call(case: Case, x: NDArray, weights: Any, state: Any, **options: Any) -> list[Any]:
    """Return y, the final states and the reserve of a training call."""
    y, final, reserve = functional.forward(
        case.cell, x.copy(), weights, state, training=True, **case.options, **options
    )
    return [y, *final, reserve]


def per_sequence(y: NDArray, final: Any, dx: Any, dinitial: Any) -> dict[str, NDArray]:
    return cases.named(y, final, dx, dinitial, (), 1)


def by_one_call(case: Case, data: Data, reset: Mask, **options: Any) -> dict[str, NDArray]:
    """Return the same results from one call."""
    y, final, reserve = cases.forward(case, data, training=True, reset=reset, **options)
    dx, dinitial, _ = functional.backward(reserve, data.dy, data.dstate, need_dx=not case.indices)
    return per_sequence(y, final, dx, [np.ascontiguousarray(d[:, : case.B]) for d in dinitial])
