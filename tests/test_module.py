"""Models made of modules: what belongs to them, parameters as attributes, copies."""

from __future__ import annotations

import copy
import pickle
from collections import deque
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from rnnfast import GRU, LSTM, Embedding, Linear, Module, Parameter
from rnnfast._engine import backends


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


class Stack(Module):
    """A model with layers in a list, in a dict and in nested ones, and a parameter of its own."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self.layers = [GRU(3, 4, seed=seed), GRU(4, 4, 2, dropout=0.5, seed=seed)]
        self.heads = {"one": Linear(4, 2, seed=seed), "more": (Linear(4, 1, seed=seed), [])}
        backend = backends.get(None)
        self.scale = Parameter(
            "any", backend.asarray(np.ones(2, np.float32)), backend.asarray(zeros(2))
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        for layer in self.layers:
            x, _ = layer(x)
        return self.heads["one"](x)

    def backward(self, dy: np.ndarray) -> None:
        dx = self.heads["one"].backward(dy)
        for layer in reversed(self.layers):
            dx, _ = layer.backward(dx)


def gru_names(prefix: str, layers: int = 1) -> list[str]:
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [f"{prefix}.{kind}_l{k}" for k in range(layers) for kind in kinds]


NAMES = [
    "scale",
    *gru_names("layers.0"),
    *gru_names("layers.1", 2),
    *("heads.one.weight", "heads.one.bias", "heads.more.0.weight", "heads.more.0.bias"),
]


def test_layers_in_lists_and_dicts_are_parameters() -> None:
    model = Stack()
    assert [p.name for p in model.parameters()] == NAMES
    assert list(model.state_dict()) == NAMES
    assert list(model.generator_state()) == ["layers.0", "layers.1"]


def test_layers_in_lists_are_trained_saved_zeroed_and_switched() -> None:
    model, x = Stack(), np.ones((5, 2, 3), np.float32)
    before = model.state_dict()
    y = model(x)
    model.backward(np.ones_like(y))
    rnnfast.SGD(model, 0.1).step()
    after = model.state_dict()
    trained = [name for name in NAMES if "heads.more" not in name and name != "scale"]
    assert [name for name in NAMES if (after[name] != before[name]).any()] == trained
    model.zero_grad()
    assert not any(p.grad.any() for p in model.parameters())
    model.eval()
    assert not any(layer.training for layer in model.layers)
    np.testing.assert_array_equal(model(x), model(x))  # no dropout in evaluation
    other = Stack(seed=2)
    other.load_state_dict(after)
    np.testing.assert_array_equal(other.eval()(x), model(x))


def test_a_layer_that_is_appended_later_counts() -> None:
    model = Stack()
    model.layers.append(GRU(4, 4))
    model.heads["two"] = Linear(4, 3)
    names = [p.name for p in model.parameters()]
    assert set(gru_names("layers.2")) < set(names)
    assert "heads.two.weight" in names
    assert not model.eval().layers[2].training


def test_a_layer_that_is_there_twice_counts_once() -> None:
    model = Module()
    model.first = Linear(3, 3)
    model.again = [model.first, model.first]
    assert [p.name for p in model.parameters()] == ["first.weight", "first.bias"]
    model.first(zeros(1, 3))
    model.again[1].backward(np.ones((1, 3), np.float32))
    rnnfast.SGD(model, 1.0).step()
    np.testing.assert_array_equal(model.first.bias.grad, np.ones(3))


def test_two_parameters_of_one_name_are_refused() -> None:
    model = Module()
    model.heads = {1: Linear(2, 2), "1": Linear(2, 2)}
    with pytest.raises(ValueError, match=r"heads\.1\.weight: expected one parameter of this name"):
        model.state_dict()


class Plain:
    """An object that is not a module but holds one."""

    def __init__(self) -> None:
        self.layer = Linear(2, 2)


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda: {Linear(2, 2)}, "use a list, a tuple or a dict"),
        (lambda: frozenset([Linear(2, 2)]), "use a list, a tuple or a dict"),
        (lambda: deque([Linear(2, 2)]), "use a list, a tuple or a dict"),
        (lambda: {"a": Linear(2, 2)}.values(), "use a list, a tuple or a dict"),
        (lambda: [{"a": {Linear(2, 2)}}], "use a list, a tuple or a dict"),
        (Plain, "make its class a subclass of rnnfast.Module"),
        (lambda: [Plain()], "make its class a subclass of rnnfast.Module"),
    ],
)
def test_modules_that_cannot_be_tracked_are_refused(make: Any, cure: str) -> None:
    model = Module()
    with pytest.raises(
        TypeError, match=rf"blocks[.\w]*: expected modules and parameters as .*; {cure}"
    ):
        model.blocks = make()
    assert not hasattr(model, "blocks")
    model.blocks = [{1, 2}, deque("ab"), {"a": 1}.values(), object(), len]  # none contains a module


def test_a_model_that_does_not_call_init_of_its_base_works() -> None:
    class Forgetful(Module):
        def __init__(self) -> None:
            self.lstm = LSTM(3, 4, seed=1)

    model = Forgetful()
    assert [p.name for p in model.parameters()] == gru_names("lstm")
    assert model.training
    assert not model.eval().lstm.training
    assert model.device == model.lstm.device
    assert copy.deepcopy(model).state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("base", [GRU, Linear, Embedding])
@pytest.mark.parametrize(
    "use",
    [
        lambda layer: list(layer.parameters()),
        lambda layer: layer.state_dict(),
        lambda layer: layer.zero_grad(),
        lambda layer: layer.train(),
        lambda layer: layer.eval(),
        lambda layer: layer(zeros(2, 1, 3)),
        lambda layer: rnnfast.Adam(layer),
        repr,
    ],
)
def test_a_layer_that_does_not_call_init_of_its_base_says_so(base: Any, use: Any) -> None:
    class Forgetful(base):
        def __init__(self) -> None:
            self.num_embeddings = 3

    with pytest.raises(
        RuntimeError, match=r"Forgetful: expected .* to call super\(\).__init__\(\)"
    ):
        use(Forgetful())


def test_a_module_without_parameters_has_a_device() -> None:
    assert Module("cpu").device == "cpu"


def test_a_parameter_is_an_attribute_that_is_used_as_an_array() -> None:
    layer = GRU(3, 4, seed=1)
    weight = layer.weight_ih_l0
    assert weight is next(layer.parameters())
    assert (weight.shape, weight.ndim, weight.size, weight.dtype) == ((12, 3), 2, 36, "float32")
    weight[...] = 2
    weight[:4] *= 3
    weight += 1
    layer.weight_ih_l0 *= np.float32(2)
    expected = np.full((12, 3), 6, np.float32)
    expected[:4] = 14
    for array in (weight.value, weight, layer.weight_ih_l0, layer.state_dict()["weight_ih_l0"]):
        np.testing.assert_array_equal(array, expected)
    assert layer.weight_ih_l0 is weight
    np.testing.assert_array_equal(weight @ np.ones(3, np.float32), expected.sum(1))
    np.testing.assert_array_equal(-weight + weight, 0 * expected)
    assert np.linalg.norm(weight) == np.linalg.norm(expected)
    assert (weight == 14).sum() == 12
    assert np.divmod(weight, 5, out=(weight, None))[0] is weight
    assert weight in {weight}
    assert len(weight) == 12
    assert np.shares_memory(weight.T, weight.value)
    assert weight.T.shape == (3, 12)
    assert (weight.sum(), weight.mean(0).shape) == (weight.value.sum(), (3,))
    copied = weight.copy()
    assert type(copied) is type(weight.value)
    assert not np.shares_memory(copied, weight.value)


def test_assigning_to_a_parameter_copies_into_it() -> None:
    layer, values = GRU(3, 4, seed=1), np.arange(36.0).reshape(12, 3)
    weight, array, grad = layer.weight_ih_l0, layer.weight_ih_l0.value, layer.weight_ih_l0.grad
    layer.weight_ih_l0 = values
    weight.grad = values + 1
    weight.value -= weight.grad
    values[:] = 0
    assert layer.weight_ih_l0 is weight
    assert weight.value is array
    assert weight.grad is grad
    np.testing.assert_array_equal(array, np.full((12, 3), -1))
    twin = GRU(3, 4)
    twin.load_state_dict(layer.state_dict())
    x = np.ones((2, 1, 3), np.float32)
    np.testing.assert_array_equal(twin(x)[0], layer(x)[0])  # the layer computes with the new value


@pytest.mark.parametrize(
    "write",
    [
        lambda layer: layer.weight_hh_l0.__setitem__(..., 0),
        lambda layer: layer.weight_hh_l0.__imul__(2),
        lambda layer: setattr(layer, "weight_hh_l0", zeros(12, 4)),
        lambda layer: setattr(layer.weight_hh_l0, "value", zeros(12, 4)),
        lambda layer: np.negative(layer.weight_hh_l0, out=layer.weight_hh_l0),
        lambda layer: rnnfast.SGD([layer.weight_hh_l0], 0.1).step(),
    ],
)
def test_writing_to_a_parameter_in_evaluation_tells_the_cure(write: Any) -> None:
    if GRU(1, 1).device != "cpu":
        pytest.skip("arrays of devices are never read-only")
    layer = GRU(3, 4, seed=1).eval()
    layer(zeros(2, 1, 3))
    with pytest.raises(ValueError, match=r"weight_hh_l0: .* read-only .* `layer.train\(\)`"):
        write(layer)
    write(layer.train())


def test_linear_and_embedding_have_their_parameters_as_attributes() -> None:
    linear, table = Linear(3, 2), Embedding(5, 3)
    linear.weight[...] = 1
    linear.bias = np.array([1, 2], np.float32)
    table.weight = np.ones((5, 3), np.float32)
    np.testing.assert_array_equal(linear(table(np.array([4]))), [[4, 5]])
    assert Linear(3, 2, bias=False).bias is None


def through_pickle(protocol: int) -> Any:
    return lambda layer: pickle.loads(pickle.dumps(layer, protocol))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_large_layer_from_a_pickle_goes_from_evaluation_to_training(protocol: int) -> None:
    layer, x = GRU(30, 40, seed=1), np.ones((2, 1, 30), np.float32)
    twin = through_pickle(protocol)(layer).eval()
    np.testing.assert_array_equal(twin(x)[0], layer(x)[0])
    twin.stream()
    twin.train().weight_hh_l0[...] += 1
    assert (twin(x)[0] != layer(x)[0]).any()
    np.testing.assert_array_equal(twin.eval()(x)[0], twin.train()(x)[0])


@pytest.mark.parametrize("evaluated", [False, True])
@pytest.mark.parametrize("make", [copy.deepcopy, *map(through_pickle, (2, 4, 5))])
def test_a_copy_of_a_layer_can_be_trained(make: Any, evaluated: bool) -> None:
    layer, x = GRU(3, 4, seed=1), np.ones((2, 1, 3), np.float32)
    if evaluated:
        layer.eval()(x)
    before, twin = layer.state_dict(), make(layer)
    np.testing.assert_array_equal(twin.call(x).y, layer(x)[0])
    assert twin.training is not evaluated
    twin.train()
    y, _ = twin(x)
    twin.backward(np.ones_like(y))
    rnnfast.SGD(twin, 0.1).step()
    assert (twin(x)[0] != y).any()
    cases.assert_identical(layer.state_dict(), before)
    np.testing.assert_array_equal(layer.eval()(x)[0], y)


def test_a_shallow_copy_shares_its_weights_and_never_computes_with_old_ones() -> None:
    layer, x = GRU(3, 4, seed=1).eval(), np.ones((2, 1, 3), np.float32)
    y = layer(x)[0].copy()
    twin = copy.copy(layer)
    np.testing.assert_array_equal(twin(x)[0], y)
    twin.train()
    twin.weight_ih_l0[...] += 1  # writable, although the other layer made its own read-only
    changed = twin(x)[0].copy()
    assert (changed != y).any()
    np.testing.assert_array_equal(layer(x)[0], changed)
    layer.train()
    layer.weight_ih_l0[...] -= 2
    np.testing.assert_array_equal(twin.eval()(x)[0], layer(x)[0])


def test_an_optimiser_tells_parameters_of_one_name_apart() -> None:
    def made(seed: int) -> tuple[list[Linear], rnnfast.Optimizer]:
        layers = [Linear(2, 2, seed=seed), Linear(2, 2, seed=seed + 1)]
        return layers, rnnfast.Adam([p for layer in layers for p in layer.parameters()], 0.1)

    def step(layers: list[Linear], optimizer: rnnfast.Optimizer) -> None:
        for k, layer in enumerate(layers):
            layer.weight.grad[...] = layer.bias.grad[...] = k + 1
        optimizer.step()

    layers, optimizer = made(1)
    step(layers, optimizer)
    others, resumed = made(5)
    resumed.load_state_dict(optimizer.state_dict())
    for new, layer in zip(others, layers, strict=True):
        new.load_state_dict(layer.state_dict())
    step(layers, optimizer)
    step(others, resumed)
    for new, layer in zip(others, layers, strict=True):
        cases.assert_identical(new.state_dict(), layer.state_dict())
