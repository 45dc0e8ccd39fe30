"""Options, what a network is and how its calls run: their checks, and their use for many calls."""

from __future__ import annotations

import copy
import math
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cases
from cases import Case
from rnnfast import GRU, _arguments, _backend, functional
from rnnfast.functional import Weights
from rnnfast.reference import CELLS

CASE = Case("gru", I=4, H=8)

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cell": "gry"}, ValueError, "cell: expected one of .*, got 'gry'"),
    ({"cell": None}, ValueError, "cell: expected one of .*, got None"),
    ({"num_layers": 0}, ValueError, "num_layers: expected at least 1, got 0"),
    ({"num_layers": 1.0}, TypeError, "num_layers: expected an integer, got float"),
    ({"num_layers": 2**80}, ValueError, "num_layers: expected at most 2147483647, got 1208925"),
    ({"num_layers": 2**40}, ValueError, "num_layers: expected at most 2147483647, got 1099511"),
    ({"bidirectional": "no"}, TypeError, "bidirectional: expected True or False, got 'no'"),
    ({"precision": "half"}, ValueError, "precision: expected one of full, bfloat16, got 'half'"),
    ({"precision": 16}, ValueError, "precision: expected one of full, bfloat16, got 16"),
]
WRONG_OF_A_CALL: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"dropout": 1.5}, ValueError, r"dropout: expected a number in \[0, 1\], got 1.5"),
    ({"dropout": math.nan}, ValueError, r"dropout: expected a number in \[0, 1\], got nan"),
    ({"dropout": "0.5"}, TypeError, "dropout: expected a number, got str"),
    ({"training": "no"}, TypeError, "training: expected True or False, got 'no'"),
    ({"seed": 0.5}, TypeError, "seed: expected an integer, got float"),
    ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
    ({"seed": 2**64}, ValueError, "seed: expected at most 18446744073709551615, got 1844674407370"),
    ({"recompute": 0.5}, TypeError, "recompute: expected an integer, got float"),
]


@pytest.mark.parametrize(("options", "error", "message"), [*WRONG, *WRONG_OF_A_CALL])
def test_a_wrong_option_of_forward_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    d = cases.make_data(CASE)
    arguments = {"cell": "gru", "x": d.x, "weights": [Weights(*w) for w in d.weights]} | options
    with pytest.raises(error, match=message):
        functional.forward(**arguments)


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_a_wrong_option_of_pack_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    weights = [Weights(*w) for w in cases.make_data(CASE).weights]
    with pytest.raises(error, match=message):
        functional.pack(**({"cell": "gru", "weights": weights} | options))


def test_numbers_of_numpy_are_options_too() -> None:
    case = Case("lstm", I=3, H=5, L=2, D=2)
    d = cases.make_data(case)
    weights = [Weights(*w) for w in d.weights]
    plain: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dropout": 0.5, "seed": 7}
    theirs = {
        "num_layers": np.int8(2),
        "bidirectional": np.True_,
        "dropout": np.float32(0.5),
        "seed": np.uint64(7),
    }
    expected, _, _ = functional.forward("lstm", d.x, weights, training=True, **plain)
    got, _, _ = functional.forward("lstm", d.x, weights, training=True, **theirs)
    np.testing.assert_array_equal(got, expected)


def test_options_never_change() -> None:
    options = _arguments.network_options("lstm", 2, True, 0.25, True, "bfloat16")
    found = {name: getattr(options, name) for name in dir(options) if not name.startswith("_")}
    assert found.pop("cell").name == "lstm"
    assert found == {
        "num_layers": 2,
        "bidirectional": True,
        "dropout": 0.25,
        "training": True,
        "precision": "bfloat16",
    }
    for name in found:
        with pytest.raises(AttributeError):
            setattr(options, name, found[name])


def test_an_attribute_of_a_layer_that_changes_counts_from_then_on() -> None:
    layer = GRU(4, 8, 2, seed=1)
    x = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    plain = layer.call(x).y
    layer.dropout = 1.0
    dropped = layer.call(x).y
    assert not np.array_equal(dropped, plain)
    np.testing.assert_array_equal(layer.eval()(x)[0], plain)
    np.testing.assert_array_equal(layer.train().call(x).y, dropped)
    layer.dropout = 0.0
    np.testing.assert_array_equal(layer.call(x).y, plain)
    layer.precision = "bfloat16"
    assert not np.array_equal(layer.call(x).y, plain)


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_a_layer_that_was_called_can_be_copied(make: Any) -> None:
    layer = GRU(4, 8, seed=1)
    x = np.ones((5, 3, 4), np.float32)
    y = layer.call(x).y
    np.testing.assert_array_equal(make(layer).call(x).y, y)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_tells_the_shapes_of_its_weights_in_their_order(cell: str) -> None:
    info, reference = functional.cells()[cell], CELLS[cell]
    rows = reference.gates * 5
    expected = {"weight_ih": (rows, 3), "weight_hh": (rows, 5), "bias_ih": (rows,)}
    expected |= {"bias_hh": (rows,)} | ({"weight_channel": (3, 5)} if reference.params else {})
    assert list(info.shapes(3, 5).items()) == list(expected.items())
    assert info.gates == info.recurrent_gates == reference.gates


class Elementwise:
    """A cell without recurrent products, as the checks see it; the library has none yet."""

    name, states, gates, recurrent_gates, params = "elementwise", 1, 2, 0, 1

    def shapes(
        self, input_size: int, hidden_size: int, _proj_size: int = 0
    ) -> dict[str, tuple[int, ...]]:
        """Of 2 row blocks of weight_ih, and none of weight_hh."""
        rows = 2 * hidden_size
        return {
            "weight_ih": (rows, input_size),
            "weight_hh": (0, hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (0,),
            "weight_channel": (1, hidden_size),
        }


def test_a_recurrent_matrix_without_rows_passes_the_checks() -> None:
    options: Any = SimpleNamespace(
        cell=Elementwise(), num_layers=2, bidirectional=False, training=False, precision="full"
    )
    layers = [
        Weights(*(np.ones(shape, np.float32) for shape in Elementwise().shapes(width, 5).values()))
        for width in (3, 5)
    ]
    _, x, weights, _, _, _ = _arguments.checked_call(
        _backend.CPU, options, np.ones((2, 1, 3), np.float32), layers, None, None, 0
    )
    assert weights == layers
    wrong = [layers[0]._replace(weight_hh=np.ones((5, 5), np.float32)), layers[1]]
    message = r"weight_hh: expected shape \(0\*hidden_size, hidden_size\) = \(0, 5\), got \(5, 5\)"
    with pytest.raises(ValueError, match=message):
        _arguments.checked_call(_backend.CPU, options, x, wrong, None, None, 0)
