"""Loading by convention: what is found, what is asked, what is refused, and the way back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from exchange_cases import H, I, numbers
from rnnfast.exchange import ACTIVATIONS, CONVENTIONS, SOURCES, from_cudnn, read_layer, to_weights
from rnnfast.exchange.facts import cell_of
from rnnfast.reference import Network
from rnnfast.reference.lstm import PEEPHOLE, step_peephole
from rnnfast.reference.tape import Var

FACTS = {"forget_offset": 1.0, "update_gate": "replaces", "gate_activation": "sigmoid"}
FACTS |= {"activation": "tanh", "cell_clip": 0.0, "initial_state": "zeros"}


def keras(cell: str, bias: bool = True) -> dict[str, Any]:
    gates = 4 if cell == "lstm" else 3
    arrays = {"kernel": numbers(I, gates * H), "recurrent_kernel": numbers(H, gates * H)}
    shape = (2, gates * H) if cell == "gru" else (gates * H,)
    return arrays | ({"bias": numbers(*shape)} if bias else {})


@pytest.mark.parametrize("row", CONVENTIONS, ids=lambda row: f"{row.source}: {row.layers}")
@pytest.mark.parametrize("bias", [True, False])
def test_the_way_back(row: Any, bias: bool) -> None:
    """Weights written by a row and read by it are those of the layer, or give its outputs."""
    cell = cell_of(row.cell, {})
    layer = rnnfast.Recurrent(cell, I, H, dtype=np.float64, seed=1, bias=bias).eval()
    for weights in layer._weights:
        if row.cell == "gru" and bias and not row.holds("c", "n"):
            weights.bias_hh[2 * H :] = 0
    facts: dict[str, Any] = FACTS if row.cell != "rnn_relu" else FACTS | {"activation": "relu"}
    if row.cell.startswith("gru") or row.source == "onnx":
        facts = facts | {"reset_after": row.cell == "gru"}
    if row.forget_offset is not None:
        facts = {n: v for n, v in facts.items() if n != "forget_offset"}
    if row.z is not None:
        facts = {n: v for n, v in facts.items() if n != "update_gate"}
    first = next(
        r for r in CONVENTIONS if (r.source, r.cell) == (row.source, row.cell)
    )  # that writes
    arrays = to_weights(layer, row.source, **facts)
    prefix = {"lstm": "lstm", "tensorflow1": "basic_rnn_cell"}.get(first.scope, first.scope)
    given = {f"{prefix}.{name}" if prefix else name: a for name, a in arrays.items()}
    again = read_layer(given, row.source, dtype=np.float64, **facts)
    assert again.cell == layer.cell
    x = np.random.default_rng(2).standard_normal((5, 3, I))
    np.testing.assert_allclose(again(x)[0], layer(x)[0], rtol=0, atol=1e-14)


def test_every_source_is_there() -> None:
    assert {"pytorch", "keras", "flax", "onnx", "haiku", "equinox", "tesseract"} <= set(SOURCES)
    with pytest.raises(ValueError, match="convention: expected one of auto, pytorch, keras"):
        read_layer({}, "torch")


@pytest.mark.parametrize(
    ("arrays", "facts", "message"),
    [
        (keras("lstm"), {}, "pass gate_activation= 'sigmoid', 'hard_sigmoid_keras2', 'hard_sigm"),
        (keras("gru", bias=False), {"gate_activation": "sigmoid"}, "pass reset_after= True or F"),
        (
            {"rnn.basic_lstm_cell.kernel": numbers(I + H, 4 * H),
             "rnn.basic_lstm_cell.bias": numbers(4 * H)},
            {},
            r"basic_lstm_cell': .* pass forget_offset= 1\.0, the usual .*; cell_clip= 0 f",
        ),
        (
            {"fc.w_0": numbers(I, 3 * H), "gru.w_0": numbers(H, 3 * H)},
            {},
            r"pass update_gate= 'keeps' for h' = z h \+ \(1 - z\) n, or 'replaces'",
        ),
        (
            {f"{m}.{k}": numbers(H, *([] if k == "b" else [I if m[0] == "W" else H]))
             for m in ("W", "W_r", "W_z", "U", "U_r", "U_z") for k in "Wb"},
            {},
            "pass initial_state= 'zeros' for a StatelessGRU",
        ),
        ({"weight_ih_l0": numbers(H, I), "weight_hh_l0": numbers(H, H)}, {}, "activation= 'tanh'"),
        (
            {"lstm.w": numbers(I + H, 4 * H), "lstm.b": numbers(4 * H)},
            {},
            r"convention: expected the one of the network 'lstm', .* can be tensorflow-block \(.*\)"
            r", tensorflow-block-v2 \(",
        ),
        (
            {f"{k}.w{g}": numbers(H, H) for k in (0, 1) for g in range(8)}
            | {f"{k}.b{g}": numbers(H) for k in (0, 1) for g in range(8)},
            {},
            "layers of one size may be two directions or two layers: pass bidirectional= True or",
        ),
    ],
)  # fmt: skip
def test_what_arrays_do_not_tell_is_asked(arrays: Any, facts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_layer(arrays, **facts)


def test_facts_are_checked() -> None:
    arrays = keras("lstm")
    for facts, error, message in (
        ({"gate": "sigmoid"}, TypeError, "gate: expected one of the facts gate_activation, activ"),
        (
            {"gate_activation": "hard_sigmoid"},
            ValueError,
            "gate_activation: expected one of sigmoi",
        ),
        ({"cell_clip": -1.0}, ValueError, "cell_clip: expected at least 0, got -1"),
        ({"reset_after": 1}, TypeError, "reset_after: expected True or False, got 1"),
        ({"update_gate": "z"}, ValueError, "update_gate: expected one of keeps, replaces"),
        (
            {"gate_activation": "sigmoid", "forget_offset": 1.0},
            ValueError,
            r"forget_offset: expected 0\.0, as in keras, got 1\.0",
        ),
    ):
        with pytest.raises(error, match=message):
            read_layer(arrays, **facts)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="reset_after: expected True, as the arrays of the network"
    ):
        read_layer(keras("gru"), reset_after=False)
    with pytest.raises(ValueError, match="update_gate: expected 'keeps', as in keras, got 'repl"):
        read_layer(keras("gru"), gate_activation="sigmoid", update_gate="replaces")


def test_other_sources_are_refused() -> None:
    torch_like = type("Module", (), {"state_dict": None})()
    for source, message in (
        (3, "source: expected a path or a dict .* got int"),
        (torch_like, r"got Module; pass what its state_dict\(\) returns"),
    ):
        with pytest.raises(TypeError, match=message):
            read_layer(source)
    with pytest.raises(
        ValueError, match="source: expected the weights of a recurrent layer, by the"
    ):
        read_layer({"weight": numbers(3, 4), "bias": numbers(3)})
    broken = keras("lstm") | {"bias": numbers(3)}
    with pytest.raises(ValueError, match=r"by\s+the names and shapes of keras, got none"):
        read_layer(broken, "keras")


def test_one_of_several_networks_is_chosen() -> None:
    first, second = rnnfast.LSTM(I, H, 2, seed=1), rnnfast.LSTM(2 * H, H, seed=2)
    arrays = {f"a.rnn.{n}": v for n, v in first.state_dict().items()}
    arrays |= {f"b.{n}": v for n, v in second.state_dict().items()} | {"head.weight": numbers(3, H)}
    with pytest.raises(
        ValueError, match=r"expected one recurrent network, got 'a\.rnn', 'b': pass"
    ):
        read_layer(arrays)
    with pytest.raises(ValueError, match=r"prefix: expected one of 'a\.rnn', 'b', got 'c'"):
        read_layer(arrays, prefix="c")
    again = read_layer(arrays, prefix="a.rnn")
    cases.assert_identical(again.state_dict(), first.state_dict())


def test_layers_that_are_stored_one_by_one() -> None:
    """Cells of Flax are layers of one network if a caller lists them."""
    layer = rnnfast.LSTM(I, H, 2, bidirectional=True, seed=1).eval()
    arrays = to_weights(layer, "flax")
    assert "3.ii.kernel" in arrays
    again = read_layer(arrays, prefix=["0", "1", "2", "3"])
    x = numbers(6, 3, I)
    np.testing.assert_allclose(again(x)[0], layer(x)[0], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"prefix: expected arrays of one convention whose sizes"):
        read_layer(arrays, prefix=["0", "2"])


@pytest.mark.parametrize(
    ("cell", "facts"),
    [("gru_reset_before", {"update_gate": "replaces"}), ("lstm", {}), ("peephole_lstm", {})],
)
def test_layers_of_fluid_are_numbered(cell: str, facts: Any) -> None:
    layer = rnnfast.Recurrent(cell, I, H, 2, bidirectional=True, seed=1).eval()
    arrays = to_weights(layer, "paddle-fluid", **facts)
    assert arrays["fc_3.w_0"].shape == (2 * H, len(layer._weights[0].weight_ih))
    again = read_layer(arrays, **facts)
    x = numbers(6, 3, I)
    np.testing.assert_allclose(again(x)[0], layer(x)[0], rtol=0, atol=1e-6)


def test_layers_with_both_directions_that_are_stored_one_by_one() -> None:
    layer = rnnfast.GRU(I, H, 2, bidirectional=True, seed=1).eval()
    arrays = to_weights(layer, "keras")
    assert "1.backward.recurrent_kernel" in arrays
    again = read_layer(arrays, prefix=["0", "1"], gate_activation="sigmoid")
    assert (again.num_layers, again.bidirectional) == (2, True)
    cases.assert_identical(again.state_dict(), layer.state_dict())


@pytest.mark.parametrize("source", ["pytorch", "keras", "flax", "mxnet", "chainer-nstep", "dynet"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, True), (3, False), (2, True)])
def test_the_way_back_of_several_layers(source: str, layers: int, bidirectional: bool) -> None:
    layer = rnnfast.LSTM(I, H, layers, bidirectional=bidirectional, seed=1).eval()
    facts: dict[str, Any] = {"forget_offset": 1.0} if source == "dynet" else {}
    if source == "dynet" and bidirectional:
        with pytest.raises(ValueError, match="layer: expected one direction, as VanillaLSTMBuild"):
            to_weights(layer, source, **facts)
        return
    arrays = to_weights(layer, source, **facts)
    assert len(arrays) == len({id(value) for value in arrays.values()})
    numbers_of_values = sum(value.size for value in layer.state_dict().values())
    assert numbers_of_values - sum(v.size for v in arrays.values()) in (
        0,
        len(layer._weights) * 4 * H,  # one bias instead of two
    )
    prefixes = {"flax": len(layer._weights), "keras": layers if layers > 1 else 0}.get(source, 0)
    prefix = [str(k) for k in range(prefixes)] or None
    if source == "keras":
        facts["gate_activation"] = "sigmoid"
    again = read_layer(arrays, source, prefix=prefix, **facts)
    x = numbers(6, 3, I)
    np.testing.assert_allclose(again(x)[0], layer(x)[0], rtol=0, atol=1e-6)


def test_a_layer_that_does_not_fit_is_refused_and_unchanged() -> None:
    arrays = rnnfast.LSTM(I, H, 2, seed=1).state_dict()
    for layer, message in (
        (
            rnnfast.GRU(I, H, 2),
            "layer: expected cell 'lstm', which computes what source contains, g",
        ),
        (rnnfast.LSTM(I, H), r"layer: expected as many layers .*= 2, got 1 \* 1"),
        (rnnfast.LSTM(I + 1, H, 2), f"layer: expected input_size = {I}, as in source, got {I + 1}"),
        (rnnfast.LSTM(I, H + 1, 2), f"layer: expected hidden_size = {H}, as in source"),
        (rnnfast.LSTM(I, H, 2, bias=False), "layer: expected bias = True, as source has biases"),
        (rnnfast.LSTM(I, H, 2, learn_state=True), "layer: expected a layer without learn_state"),
        (rnnfast.LSTM(I, H, bidirectional=True), "layer: expected bidirectional = False"),
    ):
        before = layer.state_dict()
        with pytest.raises(ValueError, match=message):
            rnnfast.load_weights(layer, arrays)
        cases.assert_identical(layer.state_dict(), before)
    with pytest.raises(TypeError, match="layer: expected Recurrent, got Linear"):
        rnnfast.load_weights(rnnfast.Linear(3, 4), arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_verify(batch_first: bool, bidirectional: bool) -> None:
    options = {"batch_first": batch_first, "bidirectional": bidirectional}
    source = rnnfast.LSTM(I, H, seed=1, **options).eval()
    arrays, x = source.state_dict(), numbers(6, 3, I)
    y, (h, _) = source(x)
    layer = rnnfast.LSTM(I, H, seed=2, **options)
    before = layer.state_dict()
    last = np.concatenate(list(h), axis=-1)
    for wrong, message in (
        (y + 0.01, r"verify: expected the layer's y, got one that differs by up to 0\.01"),
        (last + 0.01, r"differs by up to 0\.01"),
        (y[:, :1], r"verify: y: expected shape"),
        (np.full_like(y, np.nan), "differs by up to nan"),
    ):
        with pytest.raises(ValueError, match=message):
            rnnfast.load_weights(layer, arrays, verify=(x, wrong))
    cases.assert_identical(layer.state_dict(), before)
    rnnfast.load_weights(layer, arrays, verify=(x, last))
    rnnfast.load_weights(layer, arrays, verify=(x, y))
    cases.assert_identical(layer.state_dict(), arrays)
    for pair, error, message in (
        (x, TypeError, r"verify: expected a pair \(x, y\), got ndarray"),
        ((x[0], y), ValueError, "verify: expected x of 3 axes, got shape"),
    ):
        with pytest.raises(error, match=message):
            rnnfast.load_weights(layer, arrays, verify=pair)


def test_the_way_back_is_refused_where_there_is_no_place() -> None:
    gru, lstm = rnnfast.GRU(I, H, seed=1), rnnfast.LSTM(I, H, proj_size=2, seed=1)
    for layer, source, message in (
        (
            gru,
            "flax-nnx",
            r"layer: expected one without bias_hh, as nnx\.GRUCell of flax-nnx has no",
        ),
        (lstm, "keras", "layer: expected one without weight_hr, as LSTM of keras has no place"),
        (
            rnnfast.Recurrent("mgu", I, H),
            "pytorch",
            "layer: expected a cell that pytorch has, one of",
        ),
        (rnnfast.LSTM(I, H), "tensorflow1", "pass forget_offset= "),
    ):
        with pytest.raises(ValueError, match=message):
            to_weights(layer, source)


@pytest.mark.parametrize("options", [{"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_buffer_of_cudnn(kind: str, options: Any) -> None:
    layer = getattr(rnnfast, kind)(I, H, seed=1, **options)
    state = layer.state_dict()
    matrices = [value for name, value in state.items() if name.startswith("weight")]
    biases = [value for name, value in state.items() if name.startswith("bias")]
    buffer = np.concatenate([value.ravel() for value in (*matrices, *biases)])
    cut = from_cudnn(buffer, layer.cell, I, H, **options)
    cases.assert_identical({name: cut[name] for name in state}, state)
    with pytest.raises(ValueError, match=r"buffer: expected \d+ numbers for these sizes, got \d+"):
        from_cudnn(buffer[1:], layer.cell, I, H, **options)
    with pytest.raises(ValueError, match="cell: expected one of lstm, gru, rnn_tanh, rnn_relu"):
        from_cudnn(buffer, "mgu", I, H)


@pytest.mark.parametrize(
    ("cell", "facts"),
    [
        ("lstm", {"gate_activation": "hard_sigmoid_keras2"}),
        ("lstm", {"gate_activation": "sigmoid", "activation": "relu", "cell_clip": 0.5}),
        ("lstm", {"gate_activation": "sigmoid", "coupled": True}),
        ("lstm", {"gate_activation": "sigmoid", "output_activation": "linear"}),
        ("gru", {"gate_activation": "hard_sigmoid_keras3", "activation": "softsign"}),
        ("gru_reset_before", {"gate_activation": "sigmoid", "activation": "elu"}),
    ],
)
def test_cells_without_kernels_are_traced(cell: str, facts: Any) -> None:
    """They have the outputs of their equations, and gradients."""
    from rnnfast._engine import known

    layer = read_layer(keras(cell), dtype=np.float64, **facts)
    x = np.random.default_rng(1).standard_normal((5, 3, I))
    zeros = np.zeros((1, 3, H))
    states = [zeros, zeros] if cell == "lstm" else [zeros]
    weights, reference = layer._weights, known.cell_named(layer.cell)
    if "coupled" in facts:  # the same in other words: with the weights of f, which are not used
        assert layer.cell == "lstm_cifg"
        plain = read_layer(keras(cell), dtype=np.float64, gate_activation="sigmoid")
        weights = [w._replace(weight_channel=np.zeros((3, H))) for w in plain._weights]
        reference = replace(PEEPHOLE, step=partial(step_peephole, coupled=True))
    expected = Network(reference, x, weights, states)
    np.testing.assert_allclose(layer(x)[0], expected.y, rtol=0, atol=1e-12)
    layer.train()
    layer(x)
    dx, _ = layer.backward(np.ones((5, 3, H)))
    assert np.abs(dx).max() > 0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    x = np.linspace(-4, 4, 41)
    clip = np.clip
    expected = {
        "sigmoid": 1 / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
        "relu": np.maximum(x, 0),
        "linear": x,
        "hard_sigmoid_keras2": clip(0.2 * x + 0.5, 0, 1),
        "hard_sigmoid_keras3": clip(x / 6 + 0.5, 0, 1),
        "softsign": x / (1 + np.abs(x)),
        "softplus": np.log1p(np.exp(x)),
        "elu": np.where(x > 0, x, np.expm1(x)),
    }[name]
    np.testing.assert_allclose(ACTIVATIONS[name](Var(x)).value, expected, rtol=1e-14, atol=1e-15)


def test_the_coupled_lstm_of_dynet_has_one_form() -> None:
    layer = rnnfast.Recurrent(cell_of("dynet_lstm", {}), I, H, 2, seed=1).eval()
    arrays = to_weights(layer, "dynet")
    assert {name: arrays[name].shape for name in ("0.x2i", "1.x2i", "1.c2o", "1.bc")} == {
        "0.x2i": (H, I), "1.x2i": (H, H), "1.c2o": (H, H), "1.bc": (H,)
    }  # fmt: skip
    for facts in ({"cell_clip": 1.0}, {"coupled": True}, {"activation": "relu"}):
        with pytest.raises(ValueError, match="expected none of these facts, as dynet_lstm has no"):
            read_layer(arrays, **facts)  # type: ignore[arg-type]


def test_an_initial_state_of_a_plain_rnn_is_not_lost() -> None:
    arrays = to_weights(rnnfast.RNN(I, H, seed=1), "madmom", activation="tanh")
    read_layer(arrays | {"init": np.zeros(H)}, activation="tanh")
    with pytest.raises(ValueError, match="expected an initial state of zeros; pass it to calls"):
        read_layer(arrays | {"init": np.ones(H)}, activation="tanh")


@pytest.mark.parametrize("name", ["init", "cell_init", "hid_init"])
@pytest.mark.parametrize("layer", [rnnfast.GRU, rnnfast.LSTM])
def test_an_initial_state_in_the_weights_is_not_lost(layer: Any, name: str) -> None:
    arrays = to_weights(layer(I, H, bias=False, seed=1), "madmom")
    states = {state: np.zeros(H) for state in ("init", "cell_init", "hid_init")}
    read_layer(arrays | states)
    with pytest.raises(ValueError, match="expected an initial state of zeros; pass it to calls"):
        read_layer(arrays | states | {name: np.ones(H)})
