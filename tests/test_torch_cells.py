"""Python cells as PyTorch layers: values, every kind of derivative, graphs, pickles."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from rnnfast.cells import ZOO, sigmoid, tanh  # noqa: E402
from torch_cases import assert_near, flat, gradients  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit:DeprecationWarning", "ignore::FutureWarning"
)

T, B, H = 3, 2, 4


def _mine(x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
    """Take a step of a user's own cell, with two states and parameters."""
    h, c = state
    (a,) = recurrent(h)
    c = sigmoid(x[0]) * c + (1 - sigmoid(x[0])) * tanh(x[1] + a)
    return tanh(c + channel[0] * h), c


MINE = rnnfast.Cell("Mine", _mine, states=2, gates=2, recurrent_gates=1, params=1)
CELLS = [ZOO["mut1"], ZOO["lem"], ZOO["brc"], ZOO["layer_norm_gru"], ZOO["slstm"], MINE]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)


def layer_of(cell: rnnfast.Cell, num_layers: int = 2, **options: Any) -> Any:
    torch.manual_seed(0)
    layer = fast.Recurrent(cell, H, H, num_layers, **options)
    for name, weight in layer.named_parameters():
        if "channel" in name:
            torch.nn.init.normal_(weight)
    return layer


@each_cell
def test_the_bits_of_the_engine(cell: rnnfast.Cell) -> None:
    layer = layer_of(cell, bidirectional=not cell.reads_input)
    twin = rnnfast.Recurrent(cell, H, H, 2, bidirectional=not cell.reads_input)
    twin.load_state_dict({name: w.numpy() for name, w in layer.state_dict().items()})
    x = torch.randn(T, B, H, requires_grad=True)
    y, final = layer(x)
    expected, expected_final = twin(x.detach().numpy())
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    for one, other in zip(flat(final), flat_arrays(expected_final), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other)
    dy = torch.randn_like(y)
    y.backward(dy)
    dx, _ = twin.backward(dy.numpy())
    np.testing.assert_array_equal(x.grad.numpy(), dx)
    for name, parameter in layer.named_parameters():
        np.testing.assert_array_equal(parameter.grad.numpy(), getattr(twin, name).grad)


def flat_arrays(state: Any) -> list[Any]:
    return list(state) if isinstance(state, tuple) else [state]


def of_tensors(
    cell: rnnfast.Cell, *, lengths: bool = False
) -> tuple[Callable[..., Any], list[Any]]:
    """Return a float64 layer as a function of x and its weights, and these tensors."""
    layer = layer_of(cell, 1, dtype=torch.float64)
    names = [name for of_layer in layer._all_weights for name in of_layer]

    def call(x: Any, *weights: Any) -> tuple[Any, ...]:
        fed = pack_padded_sequence(x, torch.tensor([3, 1])) if lengths else x
        named = dict(zip(names, weights, strict=True))
        results = flat(torch.func.functional_call(layer, named, (fed,)))
        return tuple(r for r in results if r.is_floating_point())

    weights = [w.detach().requires_grad_() for w in flat(layer.all_weights)]
    return call, [torch.randn(T, B, H, dtype=torch.float64, requires_grad=True), *weights]


@each_cell
def test_gradients_their_gradients_and_forward_mode(cell: rnnfast.Cell) -> None:
    call, tensors = of_tensors(cell, lengths=True)
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)
    call, tensors = of_tensors(cell)
    directions = tuple(torch.randn_like(t) for t in tensors)
    values, tangents = torch.func.jvp(call, tuple(t.detach() for t in tensors), directions)
    assert_near(values, call(*tensors))
    step = 1e-6
    ahead = call(*(t + step * d for t, d in zip(tensors, directions, strict=True)))
    behind = call(*(t - step * d for t, d in zip(tensors, directions, strict=True)))
    for tangent, one, other in zip(tangents, ahead, behind, strict=True):
        torch.testing.assert_close(tangent, (one - other) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("cell", [CELLS[0], CELLS[3], MINE], ids=lambda cell: cell.name)
def test_compiled_graphs(cell: rnnfast.Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    torch._dynamo.reset()
    layer = layer_of(cell)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for batch in (3, 5):
        x = torch.randn(T, batch, H, requires_grad=True)
        wanted = [x, *layer.parameters()]
        expected, got = layer(x), compiled(x)
        found = [*flat(got), *gradients(got, wanted)]
        for one, other in zip(found, [*flat(expected), *gradients(expected, wanted)], strict=True):
            assert torch.equal(one, other)
    torch._dynamo.reset()


def test_all_states_over_time() -> None:
    layer = layer_of(MINE)
    x = torch.randn(T, B, H)
    _, final, (h, c) = layer(x, return_all_states=True)
    assert_near([h[1][-1], c[1][-1]], [final[0][1], final[1][1]])


def test_state_dicts_and_what_is_printed() -> None:
    layer = layer_of(MINE)
    other = fast.Recurrent(MINE, H, H, 2)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(T, B, H)
    assert torch.equal(other(x)[0], layer(x)[0])
    shapes = {name: tuple(w.shape) for name, w in layer.state_dict().items() if name.endswith("l0")}
    assert shapes == {
        "weight_ih_l0": (2 * H, H),
        "weight_hh_l0": (H, H),
        "bias_ih_l0": (2 * H,),
        "bias_hh_l0": (H,),
        "weight_channel_l0": (1, H),
    }
    assert layer.cell.startswith("Mine@")
    assert repr(layer) == f"rnnfast Recurrent({layer.cell!r}, 4, 4, num_layers=2)"


LOADER = """
import pickle, sys
import numpy as np
folder = sys.argv[1]
with open(f"{folder}/layers.pickle", "rb") as file:
    layers, x = pickle.load(file)
import torch
for number, (of_torch, plain) in enumerate(layers):
    np.save(f"{folder}/torch{number}.npy", of_torch(torch.from_numpy(x))[0].detach().numpy())
    np.save(f"{folder}/numpy{number}.npy", plain(x)[0])
"""


def test_pickles_need_none_of_the_code_of_their_cells(tmp_path: Path) -> None:
    layers = [(layer_of(c), rnnfast.Recurrent(c, H, H, seed=1)) for c in (MINE, ZOO["lem"])]
    x = np.random.default_rng(0).standard_normal((T, B, H)).astype(np.float32)
    (tmp_path / "layers.pickle").write_bytes(pickle.dumps((layers, x)))
    subprocess.run([sys.executable, "-c", LOADER, str(tmp_path)], check=True)
    for number, (of_torch, plain) in enumerate(layers):
        expected = of_torch(torch.from_numpy(x))[0].detach().numpy(), plain(x)[0]
        for kind, values in zip(("torch", "numpy"), expected, strict=True):
            got = np.load(tmp_path / f"{kind}{number}.npy")
            assert got.tobytes() == values.tobytes()


def test_sizes_and_names_are_checked() -> None:
    with pytest.raises(ValueError, match="input_size: expected hidden_size = 4, as a step of the"):
        fast.Recurrent("mut1", 3, 4)
    with pytest.raises(ValueError, match="bidirectional: expected False with num_layers = 2"):
        fast.Recurrent("mut1", 4, 4, 2, bidirectional=True)
    with pytest.raises(ValueError, match="got 'mut7'; did you mean 'mut3' or 'mut2' or 'mut1'"):
        fast.Recurrent("mut7", 4, 4)
