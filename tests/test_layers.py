"""Layers: parameters, modes, state, gradients and their accumulation, whole models."""

from __future__ import annotations

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from layer_cases import NAMED, bare, listed
from rnnfast._engine.known import COMPILED
from rnnfast.layers.axes import time_first

CELLS = list(COMPILED)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_gives_what_its_function_gives(
    cell: str, directions: int, batch_first: bool
) -> None:
    case = Case(cell, L=2, D=directions, H=17, lengths=True)
    d = cases.make_data(case)
    layer = cases.make_layer(case, batch_first=batch_first)

    def turned(a: np.ndarray) -> np.ndarray:
        return a.swapaxes(0, 1) if batch_first else a

    y, state = layer(turned(d.x), bare(d.state), d.lengths)
    dx, dstate = layer.backward(turned(d.dy), bare(d.dstate))
    gradients = {f"d{p.name}": p.grad for p in layer.parameters()}
    got = {"y": turned(y), "dx": turned(dx)}
    got |= {f"state[{k}]": s for k, s in enumerate(listed(state))}
    got |= {f"dstate[{k}]": s for k, s in enumerate(listed(dstate))}
    cases.assert_identical(got | gradients, cases.run_engine(case))


@pytest.mark.parametrize("cell", NAMED)
def test_named_layers(cell: str) -> None:
    kind, options = NAMED[cell]
    layer = kind(3, 5, 2, bidirectional=True, seed=1, **options)
    assert layer.cell == cell
    general = rnnfast.Recurrent(cell, 3, 5, 2, bidirectional=True, seed=1)
    cases.assert_identical(layer.state_dict(), general.state_dict())


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_have_the_names_and_shapes_of_torch(bias: bool) -> None:
    layer = rnnfast.LSTM(3, 5, 2, bidirectional=True, bias=bias)
    expected = {}
    for k in range(2):
        for suffix in (f"_l{k}", f"_l{k}_reverse"):
            expected[f"weight_ih{suffix}"] = (20, 10 if k else 3)
            expected[f"weight_hh{suffix}"] = (20, 5)
            if bias:
                expected |= {f"bias_ih{suffix}": (20,), f"bias_hh{suffix}": (20,)}
    assert {p.name: p.value.shape for p in layer.parameters()} == expected
    assert list(layer.state_dict()) == list(expected)
    assert all(p.grad.shape == p.value.shape for p in layer.parameters())


def test_parameters_cannot_be_deleted() -> None:
    """A file of the layer would lack what it computes with."""
    layer = rnnfast.GRU(3, 4, learn_state=True, context_size=2)
    layer.comment = "mine"
    del layer.comment
    for name in list(layer.state_dict()):
        with pytest.raises(AttributeError, match=f"{name}: expected to stay, as the GRU"):
            delattr(layer, name)
        assert name in layer.state_dict()


def test_peepholes_are_a_parameter() -> None:
    layer = rnnfast.PeepholeLSTM(3, 5)
    assert layer.state_dict()["weight_channel_l0"].shape == (3, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_values(dtype: str) -> None:
    layer = rnnfast.GRU(200, 100, dtype=dtype, seed=3)
    for p in layer.parameters():
        assert p.value.dtype == dtype
        # For n >= 300 uniform values in +-0.1, the largest is below 0.097 with probability 0.97^n.
        assert 0.097 < np.abs(p.value).max() <= 0.1
        assert not p.grad.any()
    again, other = rnnfast.GRU(200, 100, dtype=dtype, seed=3), rnnfast.GRU(200, 100, dtype=dtype)
    cases.assert_identical(again.state_dict(), layer.state_dict())
    assert (other.state_dict()["weight_ih_l0"] != layer.state_dict()["weight_ih_l0"]).any()
    linear = rnnfast.Linear(400, 50, seed=1).state_dict()
    assert 0.0497 < np.abs(linear["weight"]).max() <= 0.05
    table = rnnfast.Embedding(100, 100, seed=1).state_dict()["weight"]
    assert abs(table.std() - 1) < 0.03  # four standard errors for 10,000 normal values


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_accumulate_until_zero_grad(cell: str) -> None:
    case = Case(cell)
    d = cases.make_data(case)
    layer = cases.make_layer(case)
    layer(d.x)
    layer.backward(d.dy)
    once = {p.name: p.grad.copy() for p in layer.parameters()}
    layer(d.x)
    layer.backward(d.dy)
    assert any(g.any() for g in once.values())
    cases.assert_identical(
        {p.name: p.grad for p in layer.parameters()}, {n: g + g for n, g in once.items()}
    )
    layer.zero_grad()
    assert not any(p.grad.any() for p in layer.parameters())


def test_integers_stand_for_one_hot_rows() -> None:
    layer = rnnfast.LSTM(7, 5, dtype="float64", seed=1)
    indices = np.random.default_rng(0).integers(0, 7, (4, 3))
    y, _ = layer(indices)
    dx, _ = layer.backward(np.ones_like(y))
    assert dx is None
    gradients = {p.name: p.grad.copy() for p in layer.parameters()}
    layer.zero_grad()
    hot, _ = layer(np.eye(7)[indices])
    layer.backward(np.ones_like(y))
    # Sums of at most eight terms of order 1, added up in another order.
    np.testing.assert_allclose(y, hot, rtol=0, atol=1e-15)
    for p in layer.parameters():
        np.testing.assert_allclose(p.grad, gradients[p.name], rtol=0, atol=1e-14)


def test_backward_needs_neither_dy_nor_dx() -> None:
    layer = rnnfast.GRU(3, 5, seed=1)
    x = np.ones((4, 2, 3), np.float32)
    _, h = layer(x)
    dx, dh = layer.backward(None, np.ones_like(h), need_dx=False)
    assert dx is None
    assert dh.shape == h.shape
    assert dh.any()


def test_eval_keeps_nothing_and_drops_nothing() -> None:
    layer = rnnfast.LSTM(3, 5, 2, dropout=0.5, seed=1).eval()
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype("float32")
    first, second = layer(x)[0], layer(x)[0]
    np.testing.assert_array_equal(first, second)
    with pytest.raises(RuntimeError, match="training mode"):
        layer.backward(first)
    assert (layer.train()(x)[0] != first).any()


def test_dropout_follows_the_seed_and_can_be_resumed() -> None:
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype("float32")

    def outputs(layer: rnnfast.Recurrent, count: int) -> list[np.ndarray]:
        return [layer(x)[0] for _ in range(count)]

    layer = rnnfast.GRU(3, 5, 2, dropout=0.5, seed=7)
    start, ys = layer.generator_state(), outputs(layer, 3)
    assert (ys[0] != ys[1]).any()
    for y, again in zip(ys, outputs(rnnfast.GRU(3, 5, 2, dropout=0.5, seed=7), 3), strict=True):
        np.testing.assert_array_equal(y, again)
    layer.set_generator_state(start)
    np.testing.assert_array_equal(outputs(layer, 1)[0], ys[0])


class Model(rnnfast.Module):
    """A language model as users would write it."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self.embedding = rnnfast.Embedding(11, 6, seed=seed)
        self.lstm = rnnfast.LSTM(6, 16, 2, dropout=0.25, seed=seed)
        self.head = rnnfast.Linear(16, 11, seed=seed)

    def loss(self, tokens: np.ndarray, targets: np.ndarray) -> float:
        y, _ = self.lstm(self.embedding(tokens))
        loss, dlogits = rnnfast.softmax_cross_entropy(self.head(y), targets)
        dy, _ = self.lstm.backward(self.head.backward(dlogits))
        self.embedding.backward(dy)
        return loss


def test_a_model_of_layers() -> None:
    model = Model()
    names = [p.name for p in model.parameters()]
    assert names[:2] == ["embedding.weight", "lstm.weight_ih_l0"]
    assert names[-2:] == ["head.weight", "head.bias"]
    assert list(model.state_dict()) == names
    assert not model.eval().lstm.training
    assert model.train().head.training
    assert list(model.generator_state()) == ["lstm"]


def test_a_model_learns_and_resumes_bit_exactly() -> None:
    tokens = np.random.default_rng(0).integers(0, 11, (9, 4))
    x, targets = tokens[:-1], tokens[1:]

    def train(model: Model, optimizer: rnnfast.Optimizer, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            model.zero_grad()
            losses.append(model.loss(x, targets))
            rnnfast.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return losses

    whole = Model()
    losses = train(whole, rnnfast.Adam(whole.parameters(), 0.02), 80)
    assert losses[-1] < 0.5 * losses[0]

    first = Model()
    optimizer = rnnfast.Adam(first.parameters(), 0.02)
    train(first, optimizer, 40)
    resumed = Model(seed=2)
    resumed.load_state_dict(first.state_dict())
    resumed.set_generator_state(first.generator_state())
    again = rnnfast.Adam(resumed.parameters(), 1.0)
    again.load_state_dict(optimizer.state_dict())
    assert train(resumed, again, 40) == losses[40:]
    cases.assert_identical(resumed.state_dict(), whole.state_dict())


@pytest.mark.parametrize("backward_to", ["weight", "input"])
def test_linear_and_embedding_keep_leading_axes(backward_to: str) -> None:
    linear, table = rnnfast.Linear(3, 2, seed=1), rnnfast.Embedding(5, 3, seed=1)
    x = table(np.array([[1, 4], [0, 0], [2, 1]]))
    y = linear(x)
    assert (x.shape, y.shape) == ((3, 2, 3), (3, 2, 2))
    dx = linear.backward(np.ones_like(y), need_dx=backward_to == "input")
    assert (dx is None) == (backward_to == "weight")
    if dx is not None:
        assert dx.shape == x.shape
        table.backward(dx)
        gradient = next(table.parameters()).grad
        np.testing.assert_array_equal(gradient.any(1), [True, True, True, False, True])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (4, 3), (70, 90)])
@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "int32", "gaps", "reversed"])
def test_the_batch_axis_first_gives_the_same_bits(kind: str, shape: tuple[int, int]) -> None:
    """x and dy may have any memory order that NumPy allows."""
    dtype = kind if kind.startswith("float") else "float32"
    layers = [rnnfast.LSTM(6, 5, batch_first=first, dtype=dtype, seed=1) for first in (False, True)]
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, shape).astype(kind) if kind.startswith("int") else None
    x = rng.standard_normal((*shape, 6)).astype(dtype) if x is None else x
    dy = rng.standard_normal((*shape, 5)).astype(dtype)
    if kind in ("gaps", "reversed"):
        step = 2 if kind == "gaps" else -1
        wide = np.repeat(x, 2, -1) if kind == "gaps" else np.ascontiguousarray(x[:, :, ::-1])
        x = wide[:, :, ::step]
        dy = np.asfortranarray(dy)
    results = []
    for layer, turned in zip(layers, (x.swapaxes(0, 1).copy(), x), strict=True):
        y, state = layer(turned)
        dx, dstate = layer.backward(dy if layer.batch_first else dy.swapaxes(0, 1).copy())
        if layer.batch_first:
            y, dx = (None if a is None else a.swapaxes(0, 1) for a in (y, dx))
        results.append([y, *state, *([] if dx is None else [dx]), *dstate])
        results[-1] += [p.grad for p in layer.parameters()]
    for got, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_single_sequence_or_step_with_the_batch_axis_first_is_read_where_it_is() -> None:
    layer = rnnfast.GRU(3, 5, batch_first=True, seed=1)
    for shape in ((1, 7, 3), (7, 1, 3)):
        x = np.ones(shape, np.float32)
        assert np.shares_memory(time_first("x", x), x)
        y, _ = layer.eval()(x)
        assert y.flags.c_contiguous
