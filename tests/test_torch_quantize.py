"""`rnnfast.torch.quantize`: layers and cells that evaluate by products of 8-bit integers."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from rnnfast import functional  # noqa: E402
from torch_cases import flat  # noqa: E402

T, B, I, H, L = 6, 3, 5, 20, 2
LAYERS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}


def expected_of(layer: Any, cell: str, x: Any) -> Any:
    """Return what the engine computes with the layer's weights."""
    arrays = [w.detach().numpy() for w in layer._flat_weights]
    weights = [functional.Weights(*arrays[4 * k : 4 * k + 4]) for k in range(len(arrays) // 4)]
    y, _, _ = functional.forward(
        cell, x.numpy(), weights, num_layers=layer.num_layers, precision="int8"
    )
    return torch.from_numpy(y)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_the_bits_of_the_engine(name: str, packs: list[str]) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(getattr(torch.nn, name)(I, H, L)).eval()
    exact, state_dict = copy.deepcopy(model), model.state_dict()
    assert fast.quantize(model) is model
    x = torch.randn(T, B, I)
    y, final = model(x)  # the weights require gradients, but nothing else does
    assert not y.requires_grad
    assert torch.equal(y, expected_of(model[0], LAYERS[name], x))
    assert torch.equal(flat(final)[0][-1], y[-1])
    assert 0 < (y - exact(x)[0]).abs().max() < 0.02
    model(x)
    assert packs == [LAYERS[name]]
    assert all(torch.equal(w, state_dict[k]) for k, w in model.state_dict().items())


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells_take_the_steps_of_layers(name: str) -> None:
    torch.manual_seed(0)
    cell = getattr(torch.nn, name)(I, H).eval()
    layer = getattr(fast, name.removesuffix("Cell"))(I, H).eval()
    layer.load_state_dict({f"{k}_l0": w for k, w in cell.state_dict().items()})
    fast.quantize(cell)
    fast.quantize(layer)
    x, state = torch.randn(T, B, I), None
    y, _ = layer(x)
    for step, h in zip(x, y, strict=True):
        state = cell(step, state)
        assert torch.equal(state[0] if isinstance(state, tuple) else state, h)


def test_other_cells_contexts_packed_sequences_and_autocast() -> None:
    torch.manual_seed(0)
    layer = fast.quantize(fast.Recurrent("mgu", I, H, L, bidirectional=True, context_size=4).eval())
    x, v = torch.randn(T, B, I), torch.randn(B, 4)
    y, _ = layer(x, context=v)
    lengths = torch.tensor([T, 2, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    of_packed, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(packed, context=v)[0])
    assert torch.equal(of_packed[:, 0], y[:, 0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x, context=v)[0], y.bfloat16())


@pytest.mark.parametrize("kind", ["layer", "cell"])
def test_what_needs_gradients_is_refused(kind: str) -> None:
    module: Any = torch.nn.LSTM(I, H) if kind == "layer" else torch.nn.LSTMCell(I, H)
    fast.quantize(module)
    x = torch.randn(T, B, I) if kind == "layer" else torch.randn(B, I)
    with pytest.raises(RuntimeError, match=r"LSTM.* 8-bit integers: expected evaluation mode"):
        module(x)
    module.eval()
    with pytest.raises(RuntimeError, match="expected arguments that require no gradient"):
        module(x.requires_grad_())
    with torch.no_grad():
        module(x)
    with pytest.raises(RuntimeError, match=r"expected a call outside of torch\.func"):
        torch.func.vmap(module)(x.detach()[None])
    if kind == "layer":
        with pytest.raises(ValueError, match="return_all_states: expected False"):
            module(x.detach(), return_all_states=True)


def test_other_dtypes_are_refused_before_anything_changes() -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.GRU(I, H), "b": torch.nn.GRU(I, H).double()})
    with pytest.raises(TypeError, match=r"b: expected weights of torch\.float32.* torch\.float64"):
        fast.quantize(model)
    assert type(model["a"]) is torch.nn.GRU
    fast.quantize(model["a"].eval())
    model.double()
    with pytest.raises(TypeError, match="precision: expected float32 arrays for int8 products"):
        model["a"](torch.randn(T, B, I, dtype=torch.float64))


def test_it_can_be_undone() -> None:
    plain = fast.LSTM(I, H).eval()
    layer = copy.deepcopy(plain)
    x = torch.randn(T, B, I)
    fast.quantize(layer)
    assert "precision=int8" in repr(layer)
    assert fast.report(layer).fast == {"": "rnnfast.torch.LSTM in int8"}
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x)[0], layer(x)[0])
    fast.quantize(layer, enabled=False)
    assert torch.equal(layer(x)[0], plain(x)[0])
    fast.quantize(layer)
    fast.restore(layer)
    assert type(layer) is torch.nn.LSTM
    assert "precision" not in vars(layer)


def test_a_model_without_recurrent_layers_gets_a_warning() -> None:
    with pytest.warns(UserWarning, match="quantize changed nothing: the model has no recurrent"):
        fast.quantize(torch.nn.Linear(2, 2))


def test_compiled_models() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(I, I), fast.quantize(fast.GRU(I, H).eval()))
    x = torch.randn(T, B, I)
    with torch.no_grad():
        y = torch.compile(model, backend="aot_eager", fullgraph=True)(x)[0]
        assert torch.equal(y, model(x)[0])


def test_a_sequence_does_not_depend_on_its_batch() -> None:
    layer = fast.quantize(fast.LSTM(I, H).eval())
    x = torch.randn(T, B, I) * torch.tensor(np.float32([1, 100, 1e-3]))[:, None]
    assert torch.equal(layer(x)[0][:, :1], layer(x[:, :1])[0])


def test_a_trace_is_refused() -> None:
    layer = fast.quantize(fast.LSTM(I, H).eval())
    with pytest.raises(ValueError, match=r"precision: expected one of full, .* got 'int8'"):
        rnnfast.trace(layer, torch.randn(T, B, I))
