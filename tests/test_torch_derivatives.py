"""Gradients of `rnnfast.torch`, their gradients, forward mode, `torch.func`, all states."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import forward_ad  # noqa: E402
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from rnnfast import functional  # noqa: E402
from torch_cases import CELLS, TWINS, assert_near, flat, gradients, twins  # noqa: E402

# PyTorch warns itself when forward-mode derivatives are first used.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

T, B, I, H = 4, 3, 2, 3


def network(
    cell: str, *, lengths: bool = False, dropout: float = 0.0, **options: Any
) -> tuple[Callable[..., Any], list[Any], Any]:
    """Return a float64 layer as a function of x, states and weights, its inputs, and the layer."""
    torch.manual_seed(0)
    layer = fast.Recurrent(cell, I, H, 2, bidirectional=True, dropout=dropout, dtype=torch.float64)
    count = functional.cells()[cell].states
    names = [name for names in layer._all_weights for name in names]

    def call(x: Any, *others: Any) -> tuple[Any, ...]:
        torch.manual_seed(5)  # seeds dropout
        state, weights = others[:count], others[count:]
        fed = pack_padded_sequence(x, torch.tensor([4, 3, 1])) if lengths else x
        hx = state[0] if count == 1 else state
        named = dict(zip(names, weights, strict=True))
        return tuple(flat(torch.func.functional_call(layer, named, (fed, hx), options)))

    def random(*shape: int) -> Any:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    states = [random(4, B, H) for _ in range(count)]
    weights = [w.detach().requires_grad_() for w in flat(layer.all_weights)]
    return call, [random(T, B, I), *states, *weights], layer


each_cell = pytest.mark.parametrize("cell", [c for c in CELLS if c != "rnn_relu"])  # has a kink


@each_cell
@pytest.mark.parametrize("options", [{}, {"lengths": True}, {"dropout": 0.4}], ids=str)
def test_gradients_and_their_gradients(cell: str, options: dict[str, Any]) -> None:
    call, tensors, _ = network(cell, **options)
    differentiable = lambda *t: tuple(r for r in call(*t) if r.is_floating_point())  # noqa: E731
    assert torch.autograd.gradcheck(differentiable, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(differentiable, tensors, fast_mode=True)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{}, {"lengths": True}], ids=str)
def test_both_paths_compute_the_same(cell: str, options: dict[str, Any]) -> None:
    """The engine agrees with the step-by-step path in PyTorch operations."""
    call, tensors, _ = network(cell, **options)
    with forward_ad.dual_level():
        by_steps = call(*tensors)
    by_engine = call(*tensors)
    assert_near(by_engine, by_steps)
    assert_near(gradients(by_engine, tensors), gradients(by_steps, tensors))


@each_cell
def test_forward_mode(cell: str) -> None:
    call, tensors, _ = network(cell)
    assert torch.autograd.gradcheck(
        call, tensors, fast_mode=True, check_forward_ad=True, check_backward_ad=False
    )


@pytest.mark.parametrize("name", TWINS)
def test_gradient_penalty(name: str) -> None:
    """The loss contains the gradient's norm, and x is computed from the weights."""

    def parameter_gradients(layer: Any) -> list[Any]:
        x = torch.linspace(-1, 1, T * B, dtype=torch.float64).reshape(T, B, 1) * layer.bias_hh_l0[0]
        x = x.expand(T, B, I)
        y, _ = layer(x)
        (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (y.sum() + dx.square().sum()).backward()
        return [p.grad for p in layer.parameters()]

    torch.manual_seed(1)
    theirs, ours = twins(name, I, H, 2)
    assert_near(parameter_gradients(ours), parameter_gradients(theirs))


@pytest.mark.parametrize("name", TWINS)
def test_transforms_of_torch_func(name: str) -> None:
    torch.manual_seed(2)
    _, layer = twins(name, I, H, bidirectional=True)
    parameters = {k: v.detach() for k, v in layer.named_parameters()}
    x = torch.randn(T, 5, I, dtype=torch.float64)

    def loss(weights: Any, sample: Any) -> Any:
        y, _ = torch.func.functional_call(layer, weights, (sample,))
        return y.square().sum()

    # One gradient per sample, compared with a loop over the samples.
    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, x)
    for k in range(5):
        layer.zero_grad()
        layer(x[:, k])[0].square().sum().backward()
        for key, parameter in layer.named_parameters():
            assert_near(per_sample[key][k], parameter.grad)
    y = torch.func.vmap(lambda sample: layer(sample)[0], in_dims=1, out_dims=1)(x)
    assert_near(y, layer(x)[0])

    def outputs(x: Any) -> Any:
        return layer(x)[0]

    one = x[:, :1]
    jacobian = torch.autograd.functional.jacobian(outputs, one)
    assert_near(torch.func.jacrev(outputs)(one), jacobian)
    assert_near(torch.func.jacfwd(outputs)(one), jacobian)


def test_gradients_in_evaluation_mode_and_more_than_once() -> None:
    theirs, ours = (layer.eval() for layer in twins("LSTM", I, H, 2, dropout=0.3))
    x = torch.randn(T, B, I, dtype=torch.float64)
    results = ours(x)
    expected = gradients(theirs(x), list(theirs.parameters()))
    for _ in range(3):
        got = gradients(results, list(ours.parameters()), retain_graph=True)
        assert_near(got, expected)


def test_only_the_gradients_that_are_needed() -> None:
    theirs, ours = twins("GRU", I, H)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    for layer in (theirs, ours):
        layer.weight_hh_l0.requires_grad_(False)
        layer(x.detach())[0].sum().backward()
        assert layer.weight_hh_l0.grad is None
    assert_near(ours.weight_ih_l0.grad, theirs.weight_ih_l0.grad)
    for layer in (theirs, ours):
        layer.requires_grad_(False)
    # Also the final state alone.
    got, expected = (gradients(layer(x)[1], [x]) for layer in (ours, theirs))
    assert_near(got, expected)
    assert not ours(x.detach())[0].requires_grad


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_recomputation(reentrant: bool) -> None:
    torch.manual_seed(3)
    layer = fast.LSTM(I, H, 3, dropout=0.4)
    x = torch.randn(T, B, I, requires_grad=True)
    wanted = [x, *layer.parameters()]

    def run(recompute: bool) -> list[Any]:
        torch.manual_seed(4)
        y = checkpoint(layer, x, use_reentrant=reentrant)[0] if recompute else layer(x)[0]
        y.square().sum().backward()
        found = [t.grad for t in wanted]
        for t in wanted:
            t.grad = None
        return found

    for got, expected in zip(run(True), run(False), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("name", ["LSTM", "RNN"])
def test_saved_tensors_may_go_anywhere(name: str) -> None:
    """Saved tensors may go to a file and back, or to addresses that the engine cannot read."""
    torch.manual_seed(5)
    _, layer = twins(name, I, H, 2, bidirectional=True)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    expected = gradients(layer(x), [x])

    def to_file(tensor: Any) -> io.BytesIO:
        file = io.BytesIO()
        torch.save(tensor, file)
        file.seek(0)
        return file

    def moved(tensor: Any) -> Any:
        place = tensor.new_empty(tensor.numel() + 1)[1:].view(tensor.shape)
        return place.copy_(tensor)

    for pack, unpack in [(to_file, torch.load), (moved, lambda t: t)]:
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            results = layer(x)
        for got, other in zip(gradients(results, [x]), expected, strict=True):
            assert torch.equal(got, other)


def test_a_reserve_of_another_call_is_refused() -> None:
    layer = fast.LSTM(I, H)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: t, lambda t: t[:-64] if t.dtype == torch.uint8 else t
    ):
        y, _ = layer(torch.randn(T, B, I))
        with pytest.raises(ValueError, match=r"memory: expected \d+ bytes, .* got \d+"):
            y.sum().backward()


def test_nothing_is_left_behind() -> None:
    layer = fast.LSTM(32, 32, 2)
    x = torch.randn(20, 8, 32, requires_grad=True)

    def used(create_graph: bool) -> int:
        y, state, states = layer(x, return_all_states=True)
        kept = torch.autograd.grad(y.sum(), x, create_graph=create_graph)
        layer(x)  # no backward follows
        del y, state, states, kept
        return rnnfast.cache_info()["used_bytes"]

    for create_graph in (False, True):
        first = used(create_graph)
        assert all(used(create_graph) == first for _ in range(20))


@pytest.mark.parametrize("form", ["plain", "batch first", "unbatched", "packed"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "nas"])
def test_all_states(cell: str, form: str) -> None:
    """The states of each step are the final ones of the sequence up to that step."""
    torch.manual_seed(6)
    layer = fast.Recurrent(cell, I, 37, 2, batch_first=form == "batch first", dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    lengths = torch.tensor([4, 2, 3]) if form == "packed" else torch.full((B,), T)
    if form == "packed":
        fed: Any = pack_padded_sequence(x, lengths, enforce_sorted=False)
    else:
        fed = {"plain": x, "batch first": x.transpose(0, 1), "unbatched": x[:, 0]}[form]
    y, final, states = layer(fed, return_all_states=True)
    assert_near([y, final], layer(fed))
    count = functional.cells()[cell].states
    by_state = states if count > 1 else (states,)
    assert len(by_state) == count
    for of_state in by_state:
        assert len(of_state) == 2  # layers
        for s in of_state:
            assert isinstance(s, PackedSequence) == (form == "packed")

    def at(s: Any, t: int, b: int) -> Any:
        if form == "packed":
            return torch.nn.utils.rnn.pad_packed_sequence(s)[0][t, b]
        return s[t] if form == "unbatched" else s[b, t] if form == "batch first" else s[t, b]

    plain = fast.Recurrent(cell, I, 37, 2, dtype=torch.float64)
    plain.load_state_dict(layer.state_dict())
    for b in range(1 if form == "unbatched" else B):
        for t in range(int(lengths[b])):
            _, expected = plain(x[: t + 1, b])
            for k, of_state in enumerate(flat(expected)):
                for layer_index in range(2):
                    assert_near(at(by_state[k][layer_index], t, b), of_state[layer_index])


@pytest.mark.parametrize("cell", ["lstm", "gru", "peephole_lstm"])
@pytest.mark.parametrize("lengths", [False, True])
def test_gradients_of_all_states(cell: str, lengths: bool) -> None:
    call, tensors, _ = network(cell, lengths=lengths, return_all_states=True)
    differentiable = lambda *t: tuple(r for r in call(*t) if r.is_floating_point())  # noqa: E731
    assert torch.autograd.gradcheck(differentiable, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(differentiable, tensors, fast_mode=True)
    with forward_ad.dual_level():
        by_steps = differentiable(*tensors)
    assert_near(differentiable(*tensors), by_steps)


def test_all_states_only_where_the_engine_computes() -> None:
    layer = fast.LSTM(4, 4, dtype=torch.float16)
    with pytest.raises(ValueError, match="return_all_states: expected a layer on the CPU"):
        layer(torch.zeros(2, 2, 4, dtype=torch.float16), return_all_states=True)


def test_vmap_over_weights() -> None:
    """The ensemble is one layer with several sets of weights."""
    torch.manual_seed(8)
    layers = [fast.GRU(I, H, dtype=torch.float64) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(layers)
    x = torch.randn(T, B, I, dtype=torch.float64)

    def call(p: Any, b: Any) -> Any:
        return torch.func.functional_call(layers[0], (p, b), (x,))[0]

    got = torch.func.vmap(call)(parameters, buffers)
    for one, layer in itertools.zip_longest(got, layers):
        assert_near(one, layer(x)[0])
