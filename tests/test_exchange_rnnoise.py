"""The matrices of RNNoise, which the library in C multiplied for the golden cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnfast.exchange import from_rnnoise, read_layer

GOLDEN = json.loads(
    Path(__file__).with_name("exchange_golden").joinpath("rnnoise.json").read_text()
)
TYPES = {"weights_idx": np.int32, "weights_int8": np.int8}
I, H = 8, 8


def arrays_of(one: dict[str, Any]) -> dict[str, Any]:
    """Return a layer whose two matrices are those of a case; only the recurrent one has a diagonal.

    The names are those in the C code of RNNoise.
    """
    given = {n: np.array(v, TYPES.get(n, np.float32)) for n, v in one["arrays"].items()}
    parts = {f"gru_{part}_{n}": v for n, v in given.items() for part in ("input", "recurrent")}
    return {n: v for n, v in parts.items() if n != "gru_input_weights_diag"}


@pytest.mark.parametrize("k", range(len(GOLDEN)))
def test_products_are_those_of_the_library(k: int) -> None:
    one = GOLDEN[k]
    x, y, arrays = np.array(one["x"]), np.array(one["y"]), arrays_of(one)
    weights = from_rnnoise(arrays, "gru", I)
    recurrent = x @ weights["recurrent_weights"] + weights["recurrent_bias"]
    np.testing.assert_allclose(recurrent, y, rtol=0, atol=1e-5)
    diagonal = np.tile(x, 3) * arrays["gru_recurrent_weights_diag"]
    of_input = x @ weights["input_weights"] + weights["bias"]
    np.testing.assert_allclose(of_input, y - diagonal, rtol=0, atol=1e-5)


def test_the_cases_have_every_form() -> None:
    forms = {("weights_int8" in one["arrays"], "weights_idx" in one["arrays"]) for one in GOLDEN}
    assert len(forms) == len(GOLDEN) == 4


def test_layers() -> None:
    """Layers are read by their names, and those of float32 come before those of integers."""
    of_floats, of_integers = (arrays_of(GOLDEN[k]) for k in (2, 3))
    one = from_rnnoise(of_floats, "gru", I)
    again = from_rnnoise(of_integers | of_floats, "gru", I)
    for name, value in one.items():
        np.testing.assert_array_equal(again[name], value)
    layer = read_layer({"gru1": one, "gru2": again}, prefix=["gru1", "gru2"], bidirectional=False)
    assert (layer.cell, layer.num_layers, layer.hidden_size) == ("gru", 2, H)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"recurrent_bias": None}, ValueError, "arrays: expected one with the name 'gru_recurrent"),
        ({"input_bias": np.ones(25)}, ValueError, r"gru_input_bias: expected 3\*hidden_size numb"),
        ({"recurrent_bias": np.ones(23)}, ValueError, "gru_recurrent_bias: expected 24 numbers, g"),
        ({"input_scale": np.ones(1)}, ValueError, "gru_input_scale: expected 24 numbers, got 1"),
        ({"input_weights_int8": np.ones(96)}, TypeError, "expected an array of integers, got dty"),
        ({"input_weights_int8": np.ones(90, int)}, ValueError, "expected blocks of 32 numbers, g"),
        ({"input_weights_int8": np.ones(64, int)}, ValueError, "the places of 2 blocks, got other"),
        ({"input_weights_int8": np.ones(128, int)}, ValueError, "places of 4 blocks, got 3"),
        ({"input_weights_idx": [2, 0, 4, 1, 8, 0]}, ValueError, "multiples of 4 below 8, got"),
        ({"input_weights_idx": [2, 0, 3, 1, 4, 0]}, ValueError, "multiples of 4 below 8, got"),
        ({"input_weights_idx": [2, 0, -4, 1, 4, 0]}, ValueError, "multiples of 4 below 8, got"),
        ({"input_weights_idx": [2, 0, 4, 1, 4]}, ValueError, "places of 3 blocks, got others"),
        ({"input_weights_idx": [2, 0, 4, 1, 4, 5]}, ValueError, "places of 3 blocks, got others"),
        ({"input_weights_idx": [-1, 0, 4, 1, 4, 0]}, ValueError, "of 3 blocks, got others"),
        ({"input_weights_idx": [2, 0, 4, 1, 4, 0, 0]}, ValueError, "of 3 blocks, got 3"),
    ],
)
def test_damaged_arrays_are_refused(changes: Any, error: Any, message: str) -> None:
    arrays = arrays_of(GOLDEN[3]) | {f"gru_{n}": v for n, v in changes.items()}
    arrays = {name: np.asarray(v) for name, v in arrays.items() if v is not None}
    with pytest.raises(error, match=message):
        from_rnnoise(arrays, "gru", I)


def test_sizes_are_checked() -> None:
    arrays = arrays_of(GOLDEN[0])
    with pytest.raises(ValueError, match="gru_input_weights_float: expected 216 numbers, got 192"):
        from_rnnoise(arrays, "gru", 9)
    with pytest.raises(ValueError, match="expected multiples of 4 inputs and 8 outputs, as blocks"):
        from_rnnoise(arrays_of(GOLDEN[2]), "gru", 9)
    with pytest.raises(ValueError, match="input_size: expected at least 1, got 0"):
        from_rnnoise(arrays, "gru", 0)
