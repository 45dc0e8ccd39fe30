"""`learn_state=True` in `rnnfast.torch`, and what is learned compared with autograd."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import numpy as np  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from rnnfast import functional  # noqa: E402
from torch_cases import CELLS, TWINS, assert_near, flat, gradients, twins  # noqa: E402

# PyTorch warns itself about torch.func, torch.compile and projections.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:LSTM with projections:UserWarning"
)


def learning(name: str, *sizes: int, dtype: Any = torch.float64, **options: Any) -> tuple[Any, Any]:
    """Return a layer of PyTorch and ours with its weights, which starts from its own parameters."""
    theirs, _ = twins(name, *sizes, dtype=dtype, **options)
    kind, own = name if name != "ReLU" else "RNN", TWINS[name]
    ours = getattr(fast, kind)(*sizes, **own, **options, learn_state=True).to(dtype)
    ours.load_state_dict(theirs.state_dict() | rows(ours))
    return theirs, ours


def rows(layer: Any) -> dict[str, Any]:
    """Return values for a layer's learned states."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        for name, p in layer.named_parameters()
        if name.startswith("initial_state_")
    }


def started(layer: Any, *batch: int) -> Any:
    """Return the learned state of a layer, broadcast with PyTorch operations."""
    states = [getattr(layer, name) for name in rows(layer)]
    if batch:
        states = [s[:, None].expand(-1, *batch, -1).contiguous() for s in states]
    return states[0] if len(states) == 1 else tuple(states)


@pytest.mark.parametrize("form", ["time first", "batch first", "no batch", "packed"])
@pytest.mark.parametrize("name", TWINS)
def test_the_gradients_of_learned_states_are_those_of_autograd(name: str, form: str) -> None:
    torch.manual_seed(1)
    options = {"batch_first": form == "batch first", "bidirectional": True}
    theirs, ours = learning(name, 3, 5, 2, **options)
    x: Any = torch.randn(4, 6, 3, dtype=torch.float64)
    batch = {"time first": (6,), "batch first": (4,), "no batch": (), "packed": (6,)}[form]
    if form == "no batch":
        x = x[0]
    elif form == "packed":
        x = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor([2, 4, 1, 4, 3, 1]), enforce_sorted=False
        )
    got, expected = ours(x), theirs(x, started(ours, *batch))
    assert_near(got, expected)
    learned = [getattr(ours, name) for name in rows(ours)]
    wanted = [*theirs.parameters()]
    ours_wanted = [dict(ours.named_parameters())[n] for n, _ in theirs.named_parameters()]
    assert_near(gradients(got, [*learned, *ours_wanted]), gradients(expected, [*learned, *wanted]))


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_learns_what_the_layer_without_pytorch_learns(cell: str) -> None:
    torch.manual_seed(1)
    module = fast.Recurrent(cell, 3, 5, 2, bidirectional=True, learn_state=True).double()
    states = functional.cells()[cell].states
    learned = [getattr(module, f"initial_state_{k}") for k in range(states)]
    assert [tuple(p.shape) for p in learned] == [(4, 5)] * states
    assert not any(p.any() for p in learned)
    module.load_state_dict(module.state_dict() | rows(module))
    layer = rnnfast.Recurrent(cell, 3, 5, 2, bidirectional=True, learn_state=True, dtype="float64")
    rnnfast.load_torch_state_dict(layer, module.state_dict())
    module.load_state_dict(rnnfast.to_torch_state_dict(layer))
    x, dy = torch.randn(4, 3, 3).double(), torch.randn(4, 3, 10).double()
    y, _ = module(x)
    y.backward(dy)
    np.testing.assert_array_equal(y.detach().numpy(), layer(x.numpy())[0])
    layer.backward(dy.numpy())
    for k, parameter in enumerate(learned):
        of_layer = getattr(layer, f"initial_state_{k}").grad
        # Sums of three terms of order 1, in any order.
        np.testing.assert_allclose(parameter.grad.numpy(), of_layer, rtol=0, atol=1e-14)


def test_a_state_that_is_given_counts_and_the_learned_one_learns_nothing() -> None:
    theirs, ours = learning("LSTM", 3, 5)
    x, state = torch.randn(4, 2, 3).double(), torch.randn(2, 1, 2, 5).double()
    y, _ = ours(x, tuple(state))
    assert_near(y, theirs(x, tuple(state))[0])
    y.sum().backward()
    assert ours.initial_state_0.grad is None
    y, _ = ours(x, (state[0], None))
    assert_near(y, theirs(x, (state[0], started(ours, 2)[1]))[0])
    y.sum().backward()
    assert ours.initial_state_0.grad is None
    assert ours.initial_state_1.grad.any()
    with pytest.raises(RuntimeError, match="Expected hidden"):
        ours(x, (state[0, :, :1], None))


def test_gradients_of_gradients_go_through_learned_states() -> None:
    _, layer = learning("GRU", 3, 4, 2)
    x = torch.randn(3, 2, 3).double()

    def run(rows: Any) -> Any:
        return torch.func.functional_call(layer, {"initial_state_0": rows}, (x,))[0]

    value = layer.initial_state_0.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(run, value)
    assert torch.autograd.gradgradcheck(run, value)


def test_torch_func_maps_over_learned_states() -> None:
    _, layer = learning("LSTM", 3, 4)
    x, many = torch.randn(3, 2, 3).double(), torch.randn(5, 1, 4).double()

    def run(rows: Any) -> Any:
        return torch.func.functional_call(layer, {"initial_state_0": rows}, (x,))[0]

    expected = torch.stack([run(one) for one in many])
    assert_near(torch.func.vmap(run)(many), expected)
    jacobian = torch.func.jacrev(run)(many[0])
    assert jacobian.shape == (3, 2, 4, 1, 4)
    y = torch.func.jvp(run, (many[0],), (many[1],))[1]
    assert_near(y, torch.einsum("tbhij,ij->tbh", jacobian, many[1]))


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_compiled_layers_start_from_learned_states(name: str) -> None:
    torch._dynamo.reset()
    _, layer = learning(name, 3, 5, dtype=torch.float32)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    wanted = [getattr(layer, name) for name in rows(layer)]
    for batch in (2, 7):
        x = torch.randn(4, batch, 3)
        got, expected = compiled(x), layer(x)
        assert_near(got, expected)
        assert_near(gradients(got, wanted), gradients(expected, wanted))


def test_compiled_code_leaves_packed_sequences_to_the_layer() -> None:
    torch._dynamo.reset()
    _, layer = learning("GRU", 3, 5, dtype=torch.float32)
    compiled = torch.compile(layer, backend="aot_eager")
    x = torch.nn.utils.rnn.pack_sequence([torch.randn(4, 3), torch.randn(2, 3)])
    assert_near(compiled(x), layer(x))


def test_all_states_begin_with_the_learned_one() -> None:
    _, ours = learning("LSTM", 3, 5, 2)
    x = torch.randn(4, 2, 3).double()
    *_, (_, c) = ours(x, return_all_states=True)
    *_, expected = ours(x, started(ours, 2), return_all_states=True)
    assert_near(c, expected[1])
    got = gradients(c, [ours.initial_state_1])
    assert_near(got, gradients(expected[1], [ours.initial_state_1]))
    assert got[0].any()


def test_prepacked_layers_follow_what_is_learned() -> None:
    _, layer = learning("GRU", 3, 5, dtype=torch.float32)
    x = torch.randn(9, 2, 3)
    fast.prepack(layer)
    with torch.inference_mode():
        before = layer(x)[0]
        assert torch.equal(before, layer(x, started(layer, 2))[0])
    with torch.no_grad():
        layer.initial_state_0 += 1
        assert not torch.equal(layer(x)[0], before)
        assert torch.equal(layer(x)[0], layer(x, started(layer, 2))[0])


def test_bfloat16_modules_and_autocast_start_from_learned_states() -> None:
    _, layer = learning("LSTM", 3, 5, dtype=torch.float32)
    x = torch.randn(4, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = layer(x)
        assert torch.equal(y, layer(x, started(layer, 2))[0])
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.initial_state_0.grad.any()
    layer.bfloat16()
    y, _ = layer(x.bfloat16())
    assert torch.equal(y, layer(x.bfloat16(), started(layer, 2))[0])


def test_projections_start_from_the_learned_state() -> None:
    layer = fast.LSTM(3, 5, 2, proj_size=2, learn_state=True)
    layer.load_state_dict(layer.state_dict() | rows(layer))
    assert [tuple(r.shape) for r in rows(layer).values()] == [(2, 2), (2, 5)]
    theirs = torch.nn.LSTM(3, 5, 2, proj_size=2)
    theirs.load_state_dict({n: v for n, v in layer.state_dict().items() if "initial" not in n})
    x = torch.randn(4, 6, 3)
    assert_near(layer(x), theirs(x, started(layer, 6)))


def test_learned_states_are_zero_again_after_reset_parameters() -> None:
    _, layer = learning("LSTM", 3, 5)
    weight = layer.weight_ih_l0.clone()
    layer.reset_parameters()
    assert not layer.initial_state_0.any()
    assert not layer.initial_state_1.any()
    assert not torch.equal(layer.weight_ih_l0, weight)


@pytest.mark.parametrize(
    "make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: reloaded(m)]
)
def test_copies_start_from_their_own_learned_state(make: Any) -> None:
    _, layer = learning("GRU", 3, 5)
    x, twin = torch.randn(4, 2, 3).double(), make(layer)
    assert torch.equal(twin(x)[0], layer(x)[0])
    assert str(twin) == str(layer) == "rnnfast GRU(3, 5, learn_state=True)"
    with torch.no_grad():
        twin.initial_state_0.zero_()
    assert not torch.equal(twin(x)[0], layer(x)[0])


def reloaded(module: Any) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_an_optimiser_trains_the_learned_state() -> None:
    _, layer = learning("GRU", 3, 5)
    x, before = torch.randn(4, 2, 3).double(), layer.initial_state_0.detach().clone()
    layer(x)[0].square().sum().backward()
    torch.optim.SGD(layer.parameters(), 0.1).step()
    assert_near(layer.initial_state_0.detach(), before - 0.1 * layer.initial_state_0.grad)


def test_pytorch_has_no_place_for_a_learned_state_and_says_so() -> None:
    theirs, layer = learning("LSTM", 3, 5)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"initial_state_0"'):
        theirs.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match=r'Missing key.*"initial_state_0"'):
        layer.load_state_dict(theirs.state_dict())
    model = torch.nn.Sequential(layer, fast.LSTM(5, 5))
    x = torch.randn(4, 2, 3).double()
    fast.restore(model)
    assert [type(m) for m in model] == [fast.LSTM, torch.nn.LSTM]
    assert_near(model[0](x), theirs(x, started(layer, 2)))


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
@pytest.mark.filterwarnings("ignore")  # PyTorch warns about its exporter and other batch sizes
def test_exports_to_onnx_start_from_the_learned_state(name: str) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    _, module = learning(name, 3, 5, 2, dtype=torch.float32)
    file = io.BytesIO()
    torch.onnx.export(
        module.eval(), (torch.randn(4, 2, 3),), file,
        dynamo=False, input_names=["x"], dynamic_axes={"x": {1: "batch"}},
    )  # fmt: skip
    layer = rnnfast.onnx.to_layer(*rnnfast.onnx.load(file.getvalue()))
    for name, parameter in module.named_parameters():
        np.testing.assert_array_equal(getattr(layer, name), parameter.detach().numpy())


def test_accelerated_layers_learn_no_state() -> None:
    model = fast.accelerate(torch.nn.GRU(3, 5))
    assert not model.learn_state
    assert "initial_state_0" not in model.state_dict()


def test_wrong_states_are_refused_as_without_learned_states() -> None:
    layer = fast.Recurrent("nas", 3, 5, learn_state=True)
    x = torch.zeros(4, 2, 3)
    with pytest.raises(TypeError, match=r"hx: expected as many .* states, 2, got 1"):
        layer(x, (None,))
    with pytest.raises(ValueError, match="input: expected 2 or 3 axes"):
        layer(torch.zeros(3))
    with pytest.raises(TypeError, match="learn_state: expected True or False, got 1"):
        fast.GRU(3, 5, learn_state=1)
    assert len(flat(layer(x))) == 3
