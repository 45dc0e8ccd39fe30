"""Weights from and to PyTorch and Keras."""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

import cases
import rnnfast
from rnnfast.training import CharLM, CharLMConfig, Vocabulary

State: TypeAlias = "tuple[NDArray, ...]"
KERAS = {"rnn_tanh": 1, "lstm": 4, "gru": 3, "gru_reset_before": 3}  # and their gates


def sigmoid(x: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-x))


def keras_step(cell: str, x: NDArray, state: State, weights: list[NDArray]) -> State:
    """A step of Keras 3's SimpleRNNCell, LSTMCell or GRUCell, by the lines of their `call`."""
    kernel, recurrent_kernel, *bias = weights
    h_tm1, units = state[0], state[0].shape[1]
    input_bias, recurrent_bias = bias[0] if bias and cell == "gru" else (*bias, 0, 0)[:2]
    matrix_x = x @ kernel + input_bias
    if cell == "rnn_tanh":
        return (np.tanh(matrix_x + h_tm1 @ recurrent_kernel),)
    if cell == "lstm":
        z0, z1, z2, z3 = np.split(matrix_x + h_tm1 @ recurrent_kernel, 4, axis=1)
        i, f, o = sigmoid(z0), sigmoid(z1), sigmoid(z3)
        c = f * state[1] + i * np.tanh(z2)
        return o * np.tanh(c), c
    x_z, x_r, x_h = np.split(matrix_x, 3, axis=1)
    reset_after = cell == "gru"
    if reset_after:
        matrix_inner = h_tm1 @ recurrent_kernel + recurrent_bias
    else:
        matrix_inner = h_tm1 @ recurrent_kernel[:, : 2 * units]
    z = sigmoid(x_z + matrix_inner[:, :units])
    r = sigmoid(x_r + matrix_inner[:, units : 2 * units])
    if reset_after:
        recurrent_h = r * matrix_inner[:, 2 * units :]
    else:
        recurrent_h = (r * h_tm1) @ recurrent_kernel[:, 2 * units :]
    return (z * h_tm1 + (1 - z) * np.tanh(x_h + recurrent_h),)


def keras_network(
    cell: str, x: NDArray, weights: list[NDArray], layers: int, bidirectional: bool, units: int
) -> NDArray:
    """Outputs (T, B, D*H) of Keras's layers, `Bidirectional` with `merge_mode="concat"`."""
    directions = 2 if bidirectional else 1
    each = len(weights) // (layers * directions)
    for layer in range(layers):
        sides = []
        for k in range(directions):
            first = (layer * directions + k) * each
            state = (np.zeros((x.shape[1], units)),) * (2 if cell == "lstm" else 1)
            ys = []
            for step in x[::-1] if k else x:
                state = keras_step(cell, step, state, weights[first : first + each])
                ys.append(state[0])
            sides.append(np.stack(ys[::-1] if k else ys))
        x = np.concatenate(sides, axis=-1)
    return x


def keras_weights(cell: str, layers: int, directions: int, bias: bool) -> list[NDArray]:
    """Random arrays in Keras's shapes, I 5, H 7."""
    rng = np.random.default_rng(1)
    weights = []
    for layer, _ in itertools.product(range(layers), range(directions)):
        rows = KERAS[cell] * 7
        shapes = [(directions * 7 if layer else 5, rows), (7, rows)]
        shapes += [(2, rows) if cell == "gru" else (rows,)] if bias else []
        weights += [0.6 * rng.standard_normal(shape) for shape in shapes]
    return weights


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (3, True)])
@pytest.mark.parametrize("cell", KERAS)
def test_keras_weights(cell: str, layers: int, bidirectional: bool, bias: bool) -> None:
    """In: Keras's outputs. Out: the same arrays; and arrays by which Keras gives our outputs."""
    options = {"bidirectional": bidirectional, "bias": bias, "dtype": np.float64, "seed": 2}
    layer = rnnfast.Recurrent(cell, 5, 7, layers, **options).eval()
    x = np.random.default_rng(3).standard_normal((6, 4, 5))

    def of_keras(weights: list[NDArray]) -> NDArray:
        return keras_network(cell, x, weights, layers, bidirectional, 7)

    own = of_keras(rnnfast.to_keras_weights(layer))  # with two biases, where Keras has one
    np.testing.assert_allclose(layer(x)[0], own, rtol=0, atol=1e-14)
    weights = keras_weights(cell, layers, 2 if bidirectional else 1, bias)
    rnnfast.load_keras_weights(layer, weights)
    np.testing.assert_allclose(layer(x)[0], of_keras(weights), rtol=0, atol=1e-14)
    back = rnnfast.to_keras_weights(layer)
    assert len(back) == len(weights)
    for got, expected in zip(back, weights, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_keras_errors() -> None:
    layer = rnnfast.GRU(5, 7, seed=1)
    before = layer.state_dict()
    kernel, recurrent_kernel, bias = keras_weights("gru", 1, 1, bias=True)
    for weights, message in (
        ([kernel, recurrent_kernel], "weights: expected 3 arrays for each of 1 layers .* got 2"),
        ([kernel.T, recurrent_kernel, bias],
         r"kernel: expected shape \(input_size, 3\*hidden_size\) = \(5, 21\), got \(21, 5\)"),
        ([kernel, recurrent_kernel, bias[0]],
         r"bias: expected shape \(2, 3\*hidden_size\) = \(2, 21\), got \(21,\)"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            rnnfast.load_keras_weights(layer, weights)
    with pytest.raises(TypeError, match="expected an array of reals, got dtype int64"):
        rnnfast.load_keras_weights(layer, [kernel, recurrent_kernel.astype(int), bias])
    cases.assert_identical(layer.state_dict(), before)
    for other in (rnnfast.Recurrent("mut3", 5, 7), rnnfast.PeepholeLSTM(5, 7)):
        with pytest.raises(
            ValueError, match="layer: expected a cell that Keras has, one of rnn_ta"
        ):
            rnnfast.to_keras_weights(other)
        with pytest.raises(
            ValueError, match="layer: expected a cell that Keras has, one of rnn_ta"
        ):
            rnnfast.load_keras_weights(other, [])


def test_state_dict_of_arrays() -> None:
    source, layer = rnnfast.LSTM(5, 7, 2, seed=1), rnnfast.LSTM(5, 7, 2, seed=2)
    whole = {f"encoder.rnn.{n}": a for n, a in source.state_dict().items()} | {"head.weight": 1}
    rnnfast.load_torch_state_dict(layer, whole, prefix="encoder.rnn")
    cases.assert_identical(layer.state_dict(), source.state_dict())


def test_state_dict_errors() -> None:
    layer = rnnfast.GRU(5, 7, seed=1).eval()
    layer(np.zeros((1, 1, 5), np.float32))  # its parameters are now read-only
    before = layer.state_dict()
    theirs = {f"rnn.{name}": a for name, a in before.items()}
    theirs["rnn.weight_hr_l0"] = theirs.pop("rnn.weight_hh_l0")
    with pytest.raises(
        ValueError,
        match=r"state_dict: missing 'rnn\.weight_hh_l0'; unexpected 'rnn\.weight_hr_l0'",
    ):
        rnnfast.load_torch_state_dict(layer, theirs, prefix="rnn")
    with pytest.raises(ValueError, match=r"state_dict: missing 'decoder\.weight_ih_l0'"):
        rnnfast.load_torch_state_dict(layer, theirs, prefix="decoder")
    with pytest.raises(
        ValueError, match=r"weight_hh_l0: expected shape .* = \(21, 7\), got \(7, 21\)"
    ):
        rnnfast.load_torch_state_dict(layer, before | {"weight_hh_l0": before["weight_hh_l0"].T})
    cases.assert_identical(layer.state_dict(), before)


class TestWithPyTorch:
    """Tensors of PyTorch's modules; what they compute."""

    @pytest.fixture(autouse=True)
    def find_torch(self) -> None:
        self.torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
        self.torch.manual_seed(0)

    def test_layers(self) -> None:
        for kind in ("RNN", "LSTM", "GRU"):
            options = {"num_layers": 2, "bidirectional": True}
            module = getattr(self.torch.nn, kind)(5, 7, **options)
            layer = getattr(rnnfast, kind)(5, 7, **options)
            rnnfast.load_torch_state_dict(layer, module.state_dict())
            x = self.torch.randn(6, 4, 5)
            expected = module(x)[0].detach().numpy()
            np.testing.assert_allclose(layer(x.numpy())[0], expected, rtol=0, atol=1e-6)
            other = getattr(self.torch.nn, kind)(5, 7, **options)
            other.load_state_dict(rnnfast.to_torch_state_dict(layer))
            assert self.torch.equal(other(x)[0], module(x)[0])

    @pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
    def test_cells(self, kind: str) -> None:
        cell = getattr(self.torch.nn, f"{kind}Cell")(5, 7)
        layer = getattr(rnnfast, kind)(5, 7)
        rnnfast.load_torch_state_dict(layer, cell.state_dict())
        x = self.torch.randn(4, 5)
        expected = cell(x)[0] if kind == "LSTM" else cell(x)
        y, _ = layer(x.numpy()[None])
        np.testing.assert_allclose(y[0], expected.detach().numpy(), rtol=0, atol=1e-6)

    def test_parameters_and_other_types(self) -> None:
        """Tensors that need a gradient, in bfloat16, float16 and float64."""
        module = self.torch.nn.GRU(5, 7)
        layer = rnnfast.GRU(5, 7)
        for dtype in (self.torch.bfloat16, self.torch.float16, self.torch.float64):
            theirs = dict(module.to(dtype).named_parameters())
            rnnfast.load_torch_state_dict(layer, theirs)
            for name, value in layer.state_dict().items():
                expected = theirs[name].detach().float().numpy()
                np.testing.assert_array_equal(value, expected)

    def test_a_whole_model(self) -> None:
        """A PyTorch model with the attributes of a language model, there and back."""
        nn = self.torch.nn

        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = nn.Embedding(4, 6)
                self.recurrent = nn.GRU(6, 7, 2)
                self.head = nn.Linear(7, 4)

            def forward(self, x: Any) -> Any:
                return self.head(self.recurrent(self.embedding(x))[0])

        config = CharLMConfig("gru", 7, 2, embedding_size=6)
        model, ours = Model(), CharLM(Vocabulary("abcd"), config).eval()
        rnnfast.load_torch_state_dict(ours, model.state_dict())
        x = self.torch.randint(0, 4, (6, 3))
        expected = model(x).detach().numpy()
        np.testing.assert_allclose(ours(x.numpy())[0], expected, rtol=0, atol=2e-6)
        other = nn.ModuleDict({"net": Model()})
        other.load_state_dict(rnnfast.to_torch_state_dict(ours, prefix="net"))
        assert self.torch.equal(other["net"](x), model(x))
        with pytest.raises(
            ValueError, match=r"missing 'embedding\.weight', 'recurrent\.weight_ih_l0'"
        ):
            rnnfast.load_torch_state_dict(ours, nn.GRU(6, 7, 2).state_dict())
