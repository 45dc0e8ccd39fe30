"""Sizes that no memory holds, and numbers that no integer of the engine does, are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast
from argument_cases import H, I, gru, lstm
from rnnfast.cells import ZOO
from rnnfast.traced import LIMITS, CellError

SIZES: dict[str, Callable[[Any], object]] = {
    "input_size": lambda n: rnnfast.GRU(n, H),
    "hidden_size": lambda n: rnnfast.GRU(I, n),
    "num_layers": lambda n: rnnfast.GRU(I, H, n),
    "proj_size": lambda n: lstm(proj_size=n),
    "context_size": lambda n: gru(context_size=n),
    "in_features": lambda n: rnnfast.Linear(n, 1),
    "out_features": lambda n: rnnfast.Linear(1, n),
    "num_embeddings": lambda n: rnnfast.Embedding(n, 1),
    "embedding_dim": lambda n: rnnfast.Embedding(1, n),
    "in_channels": lambda n: rnnfast.Conv1d(n, 1, 1),
    "out_channels": lambda n: rnnfast.Conv1d(1, n, 1),
    "kernel_size": lambda n: rnnfast.Conv1d(1, 1, n),
    "normalized_shape": lambda n: rnnfast.LayerNorm(n),
    "batch": lambda n: gru().stream(n),
    "capacity": lambda n: rnnfast.StreamPool(gru().eval(), n),
}


@pytest.mark.parametrize("size", [2**62, 2**63, 2**70, np.uint64(2**64 - 1)], ids=str)
@pytest.mark.parametrize("name", SIZES)
def test_a_size_beyond_all_memory(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected at most \d+, got {size}$"):
        SIZES[name](size)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rnnfast.GRU(1, 2**40),
        lambda: rnnfast.Linear(2**40, 2**40),
        lambda: rnnfast.Embedding(2**40, 2**40),
        lambda: rnnfast.Conv1d(2**30, 2**30, 2**30),
    ],
)
def test_parameters_beyond_all_memory(make: Callable[[], object]) -> None:
    with pytest.raises(MemoryError, match=r"^\d+ values are more than a process can address$"):
        make()


def test_a_number_of_steps_beyond_the_integers_of_the_engine() -> None:
    with pytest.raises(ValueError, match=r"^recompute: expected at most \d+, got \d+$"):
        gru(recompute=2**70 + 2**71)


def test_seeds_have_any_number_of_bits() -> None:
    big, small = (rnnfast.GRU(2, 3, seed=seed).weight_ih_l0.value for seed in (2**70 + 1, 1))
    assert not np.array_equal(big, small)


@pytest.mark.parametrize("what", ["states", "gates", "params"])
def test_a_cell_that_declares_too_much_is_not_traced(what: str) -> None:
    def step(*_: Any) -> Any:
        raise AssertionError("this step should not run")

    cell = rnnfast.Cell("large", step, **{what: LIMITS[what] + 1})
    with pytest.raises(CellError, match=f"expected at most {LIMITS[what]} {what}, the limit of"):
        rnnfast.Recurrent(cell, 2, 3)


@pytest.mark.parametrize("name", ["nul\0", "half \ud800"])
def test_a_name_that_files_cannot_hold(name: str) -> None:
    expected = re.escape(f"name: expected a string without NUL and surrogates, got {name!r}")
    with pytest.raises(ValueError, match=expected):
        rnnfast.Cell(name, ZOO["mgu"].step)
    with pytest.raises(ValueError, match=expected):
        rnnfast.register(ZOO["mgu"], name)


def test_a_number_of_a_step_beyond_float64() -> None:
    cell = rnnfast.Cell("huge", lambda x, recurrent, s, _: (x[0] + recurrent(s[0])[0] * 2**2000,))
    with pytest.raises(CellError, match=r"\*: expected a finite number, got inf"):
        rnnfast.Recurrent(cell, 2, 3)


@pytest.mark.parametrize("dtype", [None, "real", 3, ["f4", "f8"], np.array(1.0)], ids=repr)
def test_a_dtype_that_is_none(dtype: Any) -> None:
    for make in (
        lambda: gru(dtype=dtype),
        lambda: rnnfast.Linear(I, H, dtype=dtype),
        lambda: rnnfast.Embedding(I, H, dtype=dtype),
        lambda: rnnfast.Conv1d(I, H, 3, dtype=dtype),
        lambda: rnnfast.LayerNorm(H, dtype=dtype),
    ):
        expected = re.escape(f"dtype: expected float32 or float64, got {dtype!r}")
        with pytest.raises(TypeError, match=f"^{expected}$"):
            make()
