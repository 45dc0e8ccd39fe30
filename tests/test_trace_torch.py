"""`rnnfast.trace` of PyTorch models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils.rnn import pack_sequence  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit:DeprecationWarning", "ignore:LSTM with projections:UserWarning"
)

LAYERS = {
    "nn.LSTM": lambda **k: torch.nn.LSTM(3, 5, 2, **k),
    "nn.GRU": lambda **k: torch.nn.GRU(3, 5, 2, **k),
    "nn.RNN": lambda **k: torch.nn.RNN(3, 5, 2, nonlinearity="relu", **k),
    "LSTM": lambda **k: fast.LSTM(3, 5, 2, learn_state=True, **k),
    "GRU": lambda **k: fast.GRU(3, 5, 2, zoneout=0.3, **k),
    "Recurrent": lambda **k: fast.Recurrent("peephole_lstm", 3, 5, 2, **k),
    "projected": lambda **k: torch.nn.LSTM(3, 5, 2, proj_size=2, **k),
    "parametrized": lambda **k: torch.nn.utils.parametrizations.weight_norm(
        torch.nn.LSTM(3, 5, 2, **k), "weight_hh_l0"
    ),
}


class Model(torch.nn.Module):
    """A layer, called by a keyword, and a layer in a list, with dropout in between."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.recurrent = layer
        self.rest = torch.nn.ModuleList([torch.nn.Dropout(0.5), torch.nn.LazyLinear(4)])
        self.rest.append(torch.nn.GRU(4, 6))

    def forward(self, x: Any, hx: Any = None) -> Any:
        y, state = self.recurrent(input=x, hx=hx)
        y = self.rest[1](self.rest[0](y))
        return self.rest[2](y)[0], state


def states_of(layer: torch.nn.Module, x: Any, hx: Any = None) -> tuple[Any, Any]:
    """Return y and the final state in evaluation, as arrays without gradients."""
    with torch.no_grad():
        was = layer.training
        y, state = layer.eval()(x, hx)
        layer.train(was)
    return y, state if isinstance(state, tuple) else (state,)


def assert_near(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_layers(kind: str, bidirectional: bool, batch_first: bool) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind](bidirectional=bidirectional, batch_first=batch_first)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("initial"):
                parameter.normal_()
    x = torch.randn(6, 4, 3)
    got = rnnfast.trace(layer, x.transpose(0, 1) if batch_first else x)
    assert layer.training
    y, final = states_of(layer, x.transpose(0, 1) if batch_first else x)
    y = y.transpose(0, 1) if batch_first else y
    suffixes = ("", "_reverse")[: 1 + bidirectional]
    assert_near(np.concatenate([got[f"l1{s}"]["h"] for s in suffixes], -1), y)
    layers = [f"l{i}{s}" for i in range(2) for s in suffixes]
    assert list(got) == layers
    names = list(got["l0"])[: len(final)]
    for k, name in enumerate(layers):
        step = 0 if "reverse" in name else -1
        for value, of_state in zip(names, final, strict=True):
            assert_near(got[name][value][step], of_state[k])


def test_gates_are_those_of_torch() -> None:
    """The new states of torch follow from the gates, and gates change where their biases do."""
    layer = torch.nn.LSTM(3, 5)
    x = torch.randn(6, 2, 3)
    values = rnnfast.trace(layer, x)["l0"]
    y, _ = states_of(layer, x)
    before = np.concatenate([np.zeros((1, 2, 5)), values["c"][:-1]])
    assert_near(values["f"] * before + values["i"] * values["g"], values["c"])
    assert_near(values["o"] * np.tanh(values["c"]), y)
    for k, gate in enumerate("ifgo"):
        with torch.no_grad():
            layer.bias_ih_l0[5 * k : 5 * k + 5] += 1
        changed = rnnfast.trace(layer, x)["l0"]
        same = [g for g in "ifgo" if np.array_equal(changed[g][0], values[g][0])]
        assert same == [g for g in "ifgo" if g != gate]
        values = changed


def test_a_model_with_paths_and_dropout(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = Model(fast.LSTM(3, 5))
    x = torch.randn(6, 2, 3)
    hx = torch.randn(1, 2, 5), torch.randn(1, 2, 5)
    states_of(model, x)  # makes the lazy layer
    got = rnnfast.trace(model, x, hx, values=("h", "c"), to=tmp_path)
    y, _ = states_of(model, x, hx)
    assert {layer: list(values) for layer, values in got.items()} == {
        "recurrent.l0": ["h", "c"],
        "rest.2.l0": ["h"],
    }
    assert_near(got["rest.2.l0"]["h"], y)
    assert (tmp_path / "rest.2.l0.h.npy").exists()
    assert model.rest[0].training
    assert not model.recurrent._forward_pre_hooks


@pytest.mark.parametrize("sort", [False, True])
def test_packed_sequences(sort: bool) -> None:
    torch.manual_seed(0)
    lengths = [5, 3, 1] if sort else [3, 1, 5]
    layer = torch.nn.LSTM(3, 4, bidirectional=True)
    parts = [torch.randn(n, 3) for n in lengths]
    hx = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    got = rnnfast.trace(layer, pack_sequence(parts, enforce_sorted=sort), hx)
    for b, part in enumerate(parts):
        one = rnnfast.trace(layer, part, tuple(s[:, b] for s in hx))
        for name, values in one.items():
            for value, array in values.items():
                assert array.shape == (lengths[b], 1, 4)
                assert_near(got[name][value][: lengths[b], b], array[:, 0])
                assert not got[name][value][lengths[b] :, b].any()


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_dtypes(dtype: str) -> None:
    layer = torch.nn.GRU(3, 4).to(getattr(torch, dtype))
    x = torch.randn(5, 2, 3).to(layer.weight_ih_l0.dtype)
    got = rnnfast.trace(layer, x)["l0"]
    y, _ = states_of(layer, x)
    assert got["z"].dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_allclose(got["h"], y.double(), atol=1e-12 if dtype == "float64" else 0.03)


def test_a_compiled_model() -> None:
    layer, x = torch.nn.GRU(3, 4), torch.randn(5, 2, 3)
    with torch.no_grad():
        compiled = torch.compile(layer, backend="eager")
        states = rnnfast.trace(compiled, x)
    assert list(states) == ["_orig_mod.l0"]
    expected = rnnfast.trace(layer, x)["l0"]
    for name, values in states["_orig_mod.l0"].items():
        np.testing.assert_array_equal(values, expected[name])


def test_errors() -> None:
    x = torch.randn(5, 2, 3)
    with pytest.raises(ValueError, match="model: expected one with LSTM, GRU or RNN layers"):
        rnnfast.trace(torch.nn.Linear(3, 4), x)
    with pytest.raises(TypeError, match="x: expected a tensor or PackedSequence, got ndarray"):
        rnnfast.trace(torch.nn.GRU(3, 4), x.numpy())
    with pytest.raises(TypeError, match="x of layer 'recurrent': expected a tensor"):
        rnnfast.trace(Model(torch.nn.GRU(3, 4)), x.numpy())
    with pytest.raises(ValueError, match=r"lengths: expected None for .*, got \[1, 2\]"):
        rnnfast.trace(torch.nn.GRU(3, 4), x, lengths=[1, 2])
    with pytest.raises(ValueError, match=r"values: expected names out of h, .* got 'c'"):
        rnnfast.trace(torch.nn.GRU(3, 4), x, values=["c"])
