"""`rnnfast.manual_seed` makes everything that has no seed of its own reproducible."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import training


@pytest.fixture(autouse=True)
def _fresh_afterwards() -> Iterator[None]:
    yield
    rnnfast.manual_seed(None)


def dropped() -> np.ndarray:
    layer = rnnfast.LSTM(2, 3, 2, dropout=0.5)
    y, _ = layer(np.ones((3, 2, 2), "float32"))
    return y


MAKE: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: rnnfast.LSTM(2, 3).weight_hh_l0.copy(),
    "Recurrent": lambda: rnnfast.Recurrent("nas", 2, 3).weight_hh_l0.copy(),
    "Embedding": lambda: rnnfast.Embedding(2, 3).weight.copy(),
    "Linear": lambda: rnnfast.Linear(2, 3).weight.copy(),
    "Conv1d": lambda: rnnfast.Conv1d(2, 3, 2).weight.copy(),
    "dropout": dropped,
    "Dropout": lambda: rnnfast.Dropout()(np.ones(64)),
    "init": lambda: rnnfast.init.normal_(np.zeros(4)),
    "CharLM": lambda: training.CharLM(training.Vocabulary("ab")).head.weight.copy(),
    "sample": lambda: training.CharLM(
        training.Vocabulary("abcdef"), training.CharLMConfig(hidden_size=8), seed=1
    ).sample(60),
}


@pytest.mark.parametrize("name", MAKE)
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    make = MAKE[name]
    results = []
    for seed in (5, 5, 6):
        rnnfast.manual_seed(seed)
        first = make()
        results.append((first, make()))
    np.testing.assert_array_equal(results[1], results[0])
    assert not np.array_equal(results[0][0], results[0][1])  # successive draws differ
    assert not np.array_equal(results[2][0], results[0][0])
    rnnfast.manual_seed(None)
    assert not np.array_equal(make(), make())


def test_seeds_that_are_given_are_left_alone() -> None:
    before = rnnfast.Linear(2, 3, seed=1).state_dict()["weight"]
    rnnfast.manual_seed(7)
    first = rnnfast.Linear(2, 3)
    rnnfast.manual_seed(7)
    np.testing.assert_array_equal(rnnfast.Linear(2, 3, seed=1).weight.value, before)
    np.testing.assert_array_equal(rnnfast.Linear(2, 3).weight.value, first.weight.value)


def test_numpys_own_generator_is_left_alone() -> None:
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    rnnfast.manual_seed(1)
    rnnfast.Linear(2, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # type: ignore[index]  # noqa: NPY002


def test_threads_draw_each_seed_once() -> None:
    def weights(threads: int) -> set[bytes]:
        rnnfast.manual_seed(3)
        drawn: list[bytes] = []

        def draw() -> None:
            drawn.extend(rnnfast.Linear(3, 3).weight.value.tobytes() for _ in range(60 // threads))

        workers = [threading.Thread(target=draw) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return set(drawn)

    alone = weights(1)
    assert len(alone) == 60
    assert weights(4) == alone


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_wrong_seeds_are_refused(seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="seed: expected"):
        rnnfast.manual_seed(seed)
