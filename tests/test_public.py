"""The public face of the package: signatures, parts that load themselves, and repr."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

import rnnfast
from test_layers import NAMED

# PyTorch's layers take these by position; nonlinearity is of RNN only, in the fourth place.
POSITIONAL = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"]
POSITIONAL += ["bidirectional"]
KEYWORDS = ["recompute", "dtype", "precision", "seed", "device"]


@pytest.mark.parametrize("kind", [rnnfast.RNN, rnnfast.LSTM, rnnfast.PeepholeLSTM, rnnfast.GRU])
def test_help_shows_the_arguments_of_a_layer(kind: Any) -> None:
    parameters = inspect.signature(kind).parameters
    own = {rnnfast.RNN: ["nonlinearity"], rnnfast.GRU: ["reset_after"]}.get(kind, [])
    assert set(parameters) == {*POSITIONAL, *own, *KEYWORDS}
    by_position = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [n for n in by_position if n != "nonlinearity"] == POSITIONAL
    general = inspect.signature(rnnfast.Recurrent).parameters
    for name in (*POSITIONAL, *KEYWORDS):
        assert parameters[name].default == general[name].default, name


@pytest.mark.parametrize("cell", NAMED)
def test_a_layer_takes_arguments_in_the_order_of_torch(cell: str) -> None:
    kind, options = NAMED[cell]
    place = {"RNN": [options.get("nonlinearity", "tanh")]}.get(kind.__name__, [])
    reset = {n: v for n, v in options.items() if n == "reset_after"}
    layer = kind(3, 5, 2, *place, False, True, 0.25, True, seed=1, **reset)
    assert layer.cell == cell
    assert (layer.bias, layer.batch_first) == (False, True)
    assert (layer.dropout, layer.bidirectional) == (0.25, True)
    assert not any(name.startswith("bias") for name in layer.state_dict())


@pytest.mark.parametrize("name", ["bias", "batch_first", "bidirectional"])
def test_a_number_in_the_place_of_a_flag_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: expected True or False, got 0.5"):
        rnnfast.LSTM(3, 5, 2, **{name: 0.5})


@pytest.mark.parametrize(
    "make",
    [
        lambda: rnnfast.Recurrent("nas", 3, 5, dropout=0.5),
        lambda: rnnfast.RNN(3, 5, dropout=0.5),
        lambda: rnnfast.LSTM(3, 5, dropout=0.5),
        lambda: rnnfast.PeepholeLSTM(3, 5, dropout=0.5),
        lambda: rnnfast.GRU(3, 5, dropout=0.5),
    ],
)
def test_dropout_warns_where_it_has_no_effect(make: Any) -> None:
    with pytest.warns(UserWarning, match="no effect with num_layers = 1; got dropout = 0.5") as w:
        make()
    assert w[0].filename == __file__  # the user's line
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rnnfast.LSTM(3, 5, 2, dropout=0.5)
