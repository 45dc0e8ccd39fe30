"""The options of networks and calls: their checks, and their reuse for many calls."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from rnnfast import GRU, functional
from rnnfast._engine import network
from rnnfast.functional import Weights
from rnnfast.reference import CELLS

CASE = Case("gru", I=4, H=8)

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cell": "gry"}, ValueError, "cell: expected a name .*, got 'gry'; did you mean 'gru'"),
    ({"cell": None}, TypeError, "cell: expected the name of a cell .*, got NoneType"),
    ({"num_layers": 0}, ValueError, "num_layers: expected at least 1, got 0"),
    ({"num_layers": 1.0}, TypeError, "num_layers: expected an integer, got float"),
    ({"num_layers": 2**80}, ValueError, "num_layers: expected at most 2147483647, got 1208925"),
    ({"num_layers": 2**40}, ValueError, "num_layers: expected at most 2147483647, got 1099511"),
    ({"bidirectional": "no"}, TypeError, "bidirectional: expected True or False, got 'no'"),
    (
        {"precision": "half"},
        ValueError,
        "precision: expected one of full, bfloat16, int8, got 'half'",
    ),
    ({"precision": 16}, ValueError, "precision: expected one of full, bfloat16, int8, got 16"),
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
    options = network.network_options("lstm", 2, True, 0.25, True, "bfloat16")
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
    expected["bias_hh"] = (rows,)
    if reference.params:
        expected["weight_channel"] = (reference.params, 5)
    assert list(info.shapes(3, 5).items()) == list(expected.items())
    assert info.gates == info.recurrent_gates == reference.gates


def test_a_recurrent_matrix_without_rows_passes_the_checks() -> None:
    layer = rnnfast.Recurrent("min_gru", 3, 5, 2, seed=1)
    x = np.ones((2, 1, 3), np.float32)
    doubled = [tuple(None if w is None else w.astype("f8") for w in one) for one in layer._weights]
    expected = functional.forward("min_gru", x, layer._weights, num_layers=2)[0]
    got = functional.forward(
        "min_gru", x.tolist(), [Weights(*one) for one in doubled], num_layers=2
    )[0]
    # Sums of at most five terms below 1, in two layers and steps.
    assert np.abs(got - expected).max() < 20 * np.finfo(np.float32).eps
    wrong = [layer._weights[0]._replace(weight_hh=np.ones((5, 5), np.float32)), layer._weights[1]]
    message = r"weight_hh: expected shape \(0\*hidden_size, hidden_size\) = \(0, 5\), got \(5, 5\)"
    with pytest.raises(ValueError, match=message):
        functional.forward("min_gru", x, wrong, num_layers=2)
