"""`LSTMCell`, `GRUCell`, `RNNCell` and `RecurrentCell`: values, derivatives, graphs, copies."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from rnnfast import functional  # noqa: E402
from rnnfast.cells import ZOO  # noqa: E402
from single_step_cases import (  # noqa: E402
    B,
    H,
    I,
    T,
    each_twin,
    loop,
    name_of,
    sequence,
    start,
    total,
    twins,
)  # fmt: skip
from torch_cases import CELLS, TWINS, assert_near, flat, gradients  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit:DeprecationWarning", "ignore::FutureWarning"
)

SOME = ["lstm", "peephole_lstm", "gru_reset_before", "mut3", "nas"]


@each_twin
@pytest.mark.parametrize("options", [{}, {"bias": False}], ids=["bias", "no bias"])
@pytest.mark.parametrize("batch", [(), (1,), (3,), (32,)], ids=str)
def test_values_and_gradients_of_torch(name: str, options: Any, batch: tuple[int, ...]) -> None:
    theirs, ours = twins(name, I, H, **options)
    x, state = sequence(T, *batch, I), start(name, *batch, H)
    for given_state in (state, None):
        inputs = [x, *flat(given_state)]
        expected, got = loop(theirs, x, given_state), loop(ours, x, given_state)
        assert_near(got, expected)
        assert_near(
            gradients(got, [*inputs, *ours.parameters()]),
            gradients(expected, [*inputs, *theirs.parameters()]),
        )
        with torch.no_grad():
            assert all(
                torch.equal(a, b)
                for a, b in zip(flat(loop(ours, x, given_state)), flat(got), strict=True)
            )


@each_twin
def test_inputs_that_are_not_contiguous(name: str) -> None:
    theirs, ours = twins(name, I, H)
    x = torch.randn(T, I, B, dtype=torch.float64).requires_grad_()
    for cell in (theirs, ours):
        with torch.no_grad():
            cell.weight_ih.set_(cell.weight_ih.T.contiguous().T)
    expected, got = loop(theirs, x.mT), loop(ours, x.mT)
    assert_near(got, expected)
    assert_near(
        gradients(got, [x, *ours.parameters()]), gradients(expected, [x, *theirs.parameters()])
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.sampled_from(list(TWINS)))
def test_batches_of_any_sizes_in_one_graph(batches: list[int], name: str) -> None:
    theirs, ours = twins(name, I, H)
    x = [sequence(b, I) for b in batches]
    expected, got = [flat(theirs(v)) for v in x], [flat(ours(v)) for v in x]
    assert_near(got, expected)
    assert_near(
        gradients(got, [*x, *ours.parameters()]), gradients(expected, [*x, *theirs.parameters()])
    )


@pytest.mark.parametrize(
    "cell", [*CELLS, ZOO["mut1"], ZOO["lem"], ZOO["layer_norm_gru"]], ids=name_of
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_cell_is_the_layer_step_by_step(cell: Any, dtype: Any) -> None:
    torch.manual_seed(0)
    ours, layer = fast.RecurrentCell(cell, H, H, dtype=dtype), fast.Recurrent(
        cell, H, H, dtype=dtype
    )  # fmt: skip
    layer.load_state_dict({f"{name}_l0": w for name, w in ours.state_dict().items()})
    x = sequence(T, B, H, dtype=dtype)
    got = [flat(state)[0] for state in loop(ours, x)]
    y, _ = layer(x)
    assert torch.equal(torch.stack(got), y)
    assert_near(
        gradients(torch.stack(got), [x, *ours.parameters()]),
        gradients(y, [x, *layer.parameters()]),
    )


def as_function(cell: Any) -> tuple[Callable[..., Any], list[Any]]:
    """Return two steps of a cell as a function of x and its weights, and these tensors."""
    names = [name for name, _ in cell.named_parameters()]

    def call(x: Any, *weights: Any) -> tuple[Any, ...]:
        named = dict(zip(names, weights, strict=True))
        state = torch.func.functional_call(cell, named, (x[0],))
        return tuple(flat(torch.func.functional_call(cell, named, (x[1], state))))

    return call, [sequence(2, B, cell.input_size), *cell.parameters()]


@pytest.mark.parametrize("cell", [*SOME, "rnn_tanh", "gru"])
def test_gradients_their_gradients_and_forward_mode(cell: str) -> None:
    torch.manual_seed(0)
    call, tensors = as_function(fast.RecurrentCell(cell, H, H, dtype=torch.float64))
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True, check_forward_ad=True)


@each_twin
def test_gradients_of_gradients_through_parameters(name: str) -> None:
    found = []
    for cell in twins(name, I, H):
        torch.manual_seed(1)
        x = sequence(T, B, I)
        inputs = [x, *cell.parameters()]
        first = gradients(loop(cell, x)[-1], inputs, create_graph=True)
        found.append((first, gradients(first, inputs)))
    assert_near(*found)


@each_twin
def test_gradients_of_each_sample(name: str) -> None:
    theirs, ours = twins(name, I, H)
    x = torch.randn(B, I, dtype=torch.float64)

    def loss(weights: Any, one: Any) -> Any:
        return total(torch.func.functional_call(ours, weights, (one,)))

    of_samples = torch.func.vmap(torch.func.grad(loss), (None, 0))
    got = of_samples(dict(ours.named_parameters()), x)
    for i, one in enumerate(x):
        expected = torch.autograd.grad(total(theirs(one)), list(theirs.parameters()))
        assert_near([g[i] for g in got.values()], expected)


@each_twin
def test_batches_of_gradients(name: str) -> None:
    found = []
    for cell in twins(name, I, H):
        torch.manual_seed(1)
        x = sequence(B, I)
        new = flat(cell(x))[0]
        given = torch.randn(2, *new.shape, dtype=new.dtype)
        inputs = [x, *cell.parameters()]
        found.append(torch.autograd.grad(new, inputs, given, is_grads_batched=True))
    assert_near(*found)


# Graphs, copies, threads and other types.


@pytest.mark.parametrize("cell", ["lstm", "gru", "mut3", ZOO["lem"]], ids=name_of)
def test_compiled_loops(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    torch._dynamo.reset()
    torch.manual_seed(0)
    module = fast.RecurrentCell(cell, H, H)

    def two_steps(x: Any) -> Any:
        return module(x[1], module(x[0]))

    compiled = torch.compile(two_steps, fullgraph=True, backend="aot_eager")
    for batch in (2, 9):
        x = sequence(2, batch, H, dtype=torch.float32)
        expected, got = two_steps(x), compiled(x)
        inputs = [x, *module.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(flat(got), flat(expected), strict=True))
        assert_near(gradients(got, inputs), gradients(expected, inputs))
    torch._dynamo.reset()


@each_twin
def test_autocast_and_bfloat16_as_in_layers(name: str) -> None:
    _, cell = twins(name, I, H, dtype=torch.float32)
    kind = name if name != "ReLU" else "RNN"
    layer = getattr(fast, kind)(I, H, **TWINS[name])
    layer.load_state_dict({f"{name}_l0": w for name, w in cell.state_dict().items()})
    x = torch.randn(B, I)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        new, (_, expected) = cell(x), layer(x[None])
    for one, other in zip(flat(new), flat(expected), strict=True):
        assert one.dtype == torch.bfloat16
        assert torch.equal(one, other[0])
    new = flat(cell.bfloat16()(x.bfloat16()))
    assert all(s.dtype == torch.bfloat16 for s in new)
    cell.half()(x.half())  # PyTorch's


def test_copies_and_pickles() -> None:
    mine = fast.RecurrentCell(ZOO["lem"], H, H)
    x = torch.randn(B, H)
    expected = flat(mine(x))
    for other in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert all(torch.equal(a, b) for a, b in zip(flat(other(x)), expected, strict=True))
        total(other(x)).backward()
        assert mine.weight_ih.grad is None
    assert repr(mine) == "rnnfast RecurrentCell('lem', 7, 7)"
    assert repr(fast.RNNCell(2, 3, False, "relu")) == (
        "rnnfast RNNCell(2, 3, bias=False, nonlinearity=relu)"
    )


def test_the_same_bits_with_any_number_of_threads() -> None:
    _, cell = twins("LSTM", 128, 128, dtype=torch.float32)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            x = sequence(T, 64, 128, dtype=torch.float32)
            states = loop(cell, x)
            found.append([*flat(states), *gradients(states, [x, *cell.parameters()])])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_wrong_arguments() -> None:
    theirs, ours = twins("LSTM", I, H)
    right = torch.zeros(B, I, dtype=torch.float64)
    for x, hx in (
        (torch.zeros(B, 2, 2, I, dtype=torch.float64), None),
        (torch.zeros(B, I + 1, dtype=torch.float64), None),
        (right, (torch.zeros(2, H, dtype=torch.float64),) * 2),
        (right.float(), None),
    ):
        errors = []
        for cell in (theirs, ours):
            with pytest.raises((ValueError, RuntimeError)) as error:
                cell(x, hx)
            errors.append(str(error.value))
        assert errors[0] == errors[1]
    nas = fast.RecurrentCell("nas", I, H)
    with pytest.raises(TypeError, match=r"input: expected torch.float32, .* got torch.float64"):
        nas(right)
    with pytest.raises(ValueError, match="input: expected 1 or 2 axes, the last of input_size = 5"):
        nas(torch.zeros(B, I + 1))
    with pytest.raises(
        ValueError, match=r"hx: expected 2 of shape \(batch, hidden_size\) = \(3, 7"
    ):
        nas(right.float(), (torch.zeros(B, H + 1),) * 2)
    with pytest.raises(ValueError, match="input_size: expected hidden_size = 7"):
        fast.RecurrentCell("mut1", I, H)
    with pytest.raises(ValueError, match="nonlinearity: expected"):
        fast.RNNCell(I, H, nonlinearity="sin")


@pytest.mark.parametrize("wanted", [*itertools.product((True, False), repeat=4)], ids=str)
def test_only_wanted_gradients_are_computed(wanted: tuple[bool, ...]) -> None:
    core = rnnfast._core
    weights = functional.Weights(*(w.detach().numpy() for w in fast.LSTMCell(I, H).parameters()))
    packed = functional.pack("lstm", [weights])
    x = torch.randn(B, I).numpy()
    states, memory = core.step_forward(packed, x, None, 1, True)

    def gradients(of: tuple[bool, ...]) -> Any:
        sums = core.step_gradient(packed, [weights], (*of, None, None))
        sums.add(x, None, memory, states, True, 1)
        return sums.gradients()

    everything, some = gradients((True,) * 4), gradients(wanted)
    for wants, expected, got in zip(wanted, everything, some, strict=False):
        assert got is None if not wants else np.array_equal(got, expected)


def test_arrays_of_other_steps_are_refused() -> None:
    core = rnnfast._core
    weights = [w.detach().numpy() for w in fast.GRUCell(I, H).parameters()]
    packed = functional.pack("gru", [functional.Weights(*weights)])
    x = torch.zeros(B, I).numpy()
    with pytest.raises(ValueError, match="weights: expected those that were packed"):
        core.step_gradient(packed, [(*weights[:2], None, None, None, x)], [True] * 6)
    of_layer = [functional.Weights(*weights)]
    with pytest.raises(ValueError, match="wanted: expected 6 booleans"):
        core.step_gradient(packed, of_layer, [True])
    gradient = core.step_gradient(packed, of_layer, [True] * 6)
    assert not any(g.any() for g in gradient.gradients() if g is not None)
    states, memory = core.step_forward(packed, x, None, 1, True)
    with pytest.raises(ValueError, match=r"memory: expected \d+ bytes"):
        gradient.add(x, None, memory[:-1], states, True, 1)
    assert core.step_forward(packed, x[:, :-1], None, 1, True) is None
    assert gradient.add(x, [x], memory, states, True, 1) is None
    two = functional.pack("gru", of_layer * 2, num_layers=1, bidirectional=True)
    with pytest.raises(ValueError, match="packed: expected one layer in one direction"):
        core.step_forward(two, x, None, 1, True)
