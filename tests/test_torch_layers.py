"""The layers of `rnnfast.torch` agree with PyTorch's and the engine, and behave as modules."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import re
import subprocess
import sys
import textwrap
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils.rnn import (  # noqa: E402
    PackedSequence,
    pack_padded_sequence,
    pad_packed_sequence,
)

import rnnfast.torch as fast  # noqa: E402
from rnnfast import functional  # noqa: E402
from rnnfast.torch import kernels  # noqa: E402
from rnnfast.torch.network import states_of  # noqa: E402
from torch_cases import CELLS, TWINS, assert_near, flat, gradients, twins  # noqa: E402

T, B, I, H = 7, 5, 6, 9


def make_state(layer: Any, *shape: int, dtype: Any) -> Any:
    """Return a random initial state (L*D, ..., H) as the layer takes it, requiring gradients."""
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    count = functional.cells()[layer.cell].states
    states = [torch.randn(rows, *shape, layer.hidden_size, dtype=dtype) for _ in range(count)]
    for state in states:
        state.requires_grad_()
    return states[0] if count == 1 else tuple(states)


FORMS = ("time first", "batch first", "unbatched", "packed", "packed, batch first")


def make_input(form: str, dtype: Any) -> tuple[Any, Any, bool, tuple[int, ...]]:
    """Return x, the layer's input made from it, batch_first, and the states' batch axis."""
    batch_first = form.endswith("batch first")
    shape = (T, I) if form == "unbatched" else (B, T, I) if batch_first else (T, B, I)
    x = torch.randn(*shape, dtype=dtype, requires_grad=True)
    fed = x
    if form.startswith("packed"):
        lengths = torch.tensor([3, 7, 1, 7, 4])
        fed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    return x, fed, batch_first, () if form == "unbatched" else (B,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TWINS)
def test_results_and_gradients_are_those_of_torch(name: str, form: str, dtype: Any) -> None:
    torch.manual_seed(0)
    x, fed, batch_first, batch = make_input(form, dtype)
    for (layers, bias, both), with_state in itertools.product(
        [(1, True, False), (2, False, True), (3, True, True)], [False, True]
    ):
        options = {"bias": bias, "bidirectional": both, "batch_first": batch_first}
        theirs, ours = twins(name, I, H, layers, dtype=dtype, **options)
        hx = make_state(ours, *batch, dtype=dtype) if with_state else None
        expected, got = theirs(fed, hx), ours(fed, hx)
        assert type(got[0]) is type(expected[0])
        assert isinstance(got[1], tuple) == isinstance(expected[1], tuple)
        assert_near(got, expected)
        inputs = [x, *flat(hx)]
        assert_near(
            gradients(got, [*inputs, *ours.parameters()], retain_graph=True),
            gradients(expected, [*inputs, *theirs.parameters()], retain_graph=True),
        )


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_has_the_bits_of_the_engine(cell: str) -> None:
    torch.manual_seed(1)
    layer = fast.Recurrent(cell, I, H, 2, bidirectional=True)
    hx = make_state(layer, B, dtype=torch.float32)
    x = torch.randn(T, B, I, requires_grad=True)
    lengths = torch.tensor([7, 5, 5, 2, 1])
    packed, final = layer(pack_padded_sequence(x, lengths), hx)
    y, _ = pad_packed_sequence(packed)
    dy = torch.randn_like(y)
    inputs = [x, *flat(hx), *flat(layer.all_weights)]
    got = [y, *flat(final), *torch.autograd.grad(y, inputs, dy)]

    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_channel"]
    sides = [f"_l{k}{side}" for k in (0, 1) for side in ("", "_reverse")]
    state_dict = {name: w.numpy() for name, w in layer.state_dict().items()}
    assert len(state_dict) == 4 * (4 + (functional.cells()[cell].params > 0))
    weights = [functional.Weights(*(state_dict.get(n + side) for n in names)) for side in sides]
    *results, reserve = functional.forward(
        cell, x.detach().numpy(), weights, [s.detach().numpy() for s in flat(hx)],
        lengths=lengths.numpy(), num_layers=2, bidirectional=True, training=True,
    )  # fmt: skip
    dx, dstate, dweights = functional.backward(reserve, dy.numpy())
    expected = [results[0], *results[1], dx, *dstate]
    expected += [dw for of_layer in dweights for dw in of_layer if dw is not None]
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other)


def test_checkpoints_load_both_ways() -> None:
    for name, options in itertools.product(TWINS, [{}, {"num_layers": 2, "bidirectional": True}]):
        theirs, ours = twins(name, I, H, **options)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        theirs.load_state_dict(ours.state_dict(), strict=True)
        attributes = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"]
        for attribute in [*attributes, "bidirectional", "proj_size", "mode"]:
            assert getattr(ours, attribute) == getattr(theirs, attribute)
        assert repr(ours) == f"rnnfast {theirs!r}"
        assert [len(w) for w in ours.all_weights] == [len(w) for w in theirs.all_weights]
        ours.flatten_parameters()
        assert isinstance(ours, torch.nn.Module)


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
@pytest.mark.parametrize("cell", CELLS)
def test_copies_compute_the_same(cell: str, how: str) -> None:
    layer = fast.Recurrent(cell, I, H, 2)
    x = torch.randn(T, B, I)
    y, _ = layer(x)
    y.sum().backward()
    if how == "deepcopy":
        other = copy.deepcopy(layer)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(layer))
    else:
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert torch.equal(other(x)[0], y)
    with torch.no_grad():
        other.weight_ih_l0.zero_()
    assert not torch.equal(other(x)[0], y)
    assert torch.equal(layer(x)[0], y)


def test_weights_may_be_anything() -> None:
    """Weights may come from weight norm, weight dropping or functional_call, or be tensors."""
    torch.manual_seed(2)
    x = torch.randn(T, B, I, dtype=torch.float64)
    normed = twins("GRU", I, H)
    for layer in normed:
        torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
        layer.parametrizations.weight_hh_l0.original0.data *= 1.5
    assert_near(normed[1](x), normed[0](x))
    assert_near(
        gradients(normed[1](x), list(normed[1].parameters())),
        gradients(normed[0](x), list(normed[0].parameters())),
    )

    theirs, ours = twins("LSTM", I, H)
    mask = torch.rand(4 * H, H, dtype=torch.float64) < 0.5
    for layer in (theirs, ours):
        raw = layer.weight_hh_l0.detach().requires_grad_()
        del layer.weight_hh_l0
        layer.weight_hh_l0 = raw.t().contiguous().t() * mask
        layer.raw = raw
    assert_near(ours(x), theirs(x))
    assert_near(gradients(ours(x), [ours.raw]), gradients(theirs(x), [theirs.raw]))

    weights = {name: 0.5 * w for name, w in twins("RNN", I, H)[0].state_dict().items()}
    theirs, ours = twins("RNN", I, H)
    call = torch.func.functional_call
    assert_near(call(ours, weights, (x,)), call(theirs, weights, (x,)))


def test_dropout_is_drawn_by_torch() -> None:
    layer = fast.LSTM(I, H, 3, dropout=0.4)
    x = torch.randn(T, B, I)

    def run(seed: int) -> Any:
        torch.manual_seed(seed)
        return layer(x)[0]

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    with torch.no_grad():
        without_gradients = run(1)
    assert torch.equal(run(1), without_gradients)
    layer.eval()
    assert torch.equal(run(1), run(2))
    assert_near(run(1), twin_of(layer)(x)[0])


def twin_of(layer: Any) -> Any:
    twin = torch.nn.LSTM(I, H, 3)
    twin.load_state_dict(layer.state_dict())
    return twin


def test_dropout_between_layers_is_inverted() -> None:
    layer = fast.RNN(I, 400, 2, nonlinearity="relu", dropout=0.25, bias=False)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        layer.weight_ih_l0[:, 0] = 1
        layer.weight_ih_l1.copy_(torch.eye(400))
    torch.manual_seed(3)
    y, _ = layer(torch.ones(20, 4, I))
    assert set(y.detach().unique().tolist()) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).float().mean().item() - 0.25) < 0.01


def test_bfloat16_modules_and_autocast_use_the_bfloat16_kernels() -> None:
    torch.manual_seed(4)
    layer = fast.LSTM(I, H, 2)
    x = torch.randn(T, B, I, requires_grad=True)
    weights = [w.detach().numpy() for w in layer.parameters()]
    groups = [functional.Weights(*weights[k : k + 4]) for k in (0, 4)]
    y, _, _ = functional.forward(
        "lstm", x.detach().numpy(), groups, num_layers=2, precision="bfloat16"
    )
    expected = torch.from_numpy(y).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for given in (x, x.bfloat16()):
            got, (h, c) = layer(given)
            assert torch.equal(got, expected)  # products round x in any case
            assert got.dtype == h.dtype == c.dtype == torch.bfloat16
            assert torch.equal(h[1], got[-1])
        y, _ = layer(x, (h, c))  # the returned state can be passed in again
        assert "_Forward" in type(y.grad_fn.next_functions[0][0]).__name__  # the engine's node
    got.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in layer.parameters())
    assert x.grad.dtype == torch.float32

    layer = layer.bfloat16()
    got, _ = layer(x.bfloat16())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)
    got.sum().backward()
    assert layer.weight_ih_l0.grad.dtype == torch.bfloat16


def test_half_is_torch_s() -> None:
    theirs, ours = twins("GRU", I, H, dtype=torch.float16)
    x = torch.randn(T, B, I).half()
    assert torch.equal(ours(x)[0], theirs(x)[0])


def test_memory_is_shared_with_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[int]] = {"in": set(), "out": set()}
    engine = kernels._core.forward

    def spy(options: Any, x: Any, weights: Any, *others: Any) -> Any:
        seen["in"] = {x.ctypes.data, *(w.ctypes.data for w in weights[0] if w is not None)}
        result = engine(options, x, weights, *others)
        seen["out"] = {a.ctypes.data for a in (result[0], *result[1], result[2].memory)}
        return result

    monkeypatch.setattr(kernels._core, "forward", spy)
    layer = fast.LSTM(I, H)
    x = torch.randn(T, B, I)
    y, (h, c) = layer(x)
    assert seen["in"] == {x.data_ptr(), *(w.data_ptr() for w in layer.parameters())}
    assert {y.data_ptr(), h.data_ptr(), c.data_ptr()} < seen["out"]


@pytest.mark.parametrize("cell", ["nas", "peephole_lstm", "mut3"])
def test_cells_without_a_twin_say_what_is_wrong(cell: str) -> None:
    layer = fast.Recurrent(cell, I, H)
    x = torch.randn(T, B, I)
    for given, error, message in [
        (x.double(), TypeError, "input: expected torch.float32, .* got torch.float64 on cpu"),
        (x[..., :4], ValueError, rf"input_size = 6, got shape \({T}, {B}, 4\)"),
        (x[None], ValueError, "input: expected 2 or 3 axes"),
    ]:
        with pytest.raises(error, match=message):
            layer(given)
    with pytest.raises(ValueError, match=rf"hx: expected \d of shape .* got \[\(1, {B}, {H + 1}\)"):
        layer(x, (torch.zeros(1, B, H + 1),) * states_of(cell))
    with pytest.raises(
        TypeError, match=r"input: expected torch\.float16, .* got torch\.float16 on"
    ):
        layer.half()(x.half())


def test_constructors_refuse() -> None:
    with pytest.raises(ValueError, match="cell: expected a name"):
        fast.Recurrent("gru2", I, H)
    with pytest.raises(ValueError, match="nonlinearity: expected one of tanh, relu, got 'sin'"):
        fast.RNN(I, H, nonlinearity="sin")
    with pytest.raises(ValueError, match="hidden_size must be greater than zero"):
        fast.Recurrent("nas", I, 0)


def test_empty_batches_and_sequences() -> None:
    layer = fast.LSTM(I, H, 2)
    for steps, batch in [(T, 0), (0, B)]:
        x = torch.randn(steps, batch, I, requires_grad=True)
        y, (h, _) = layer(x)
        assert y.shape == (steps, batch, H)
        assert h.shape == (2, batch, H)
        y.sum().backward()
        assert x.grad.shape == x.shape


@pytest.mark.parametrize("sizes", [[2, 2], [3, 4], [5, 0], [6, -1], [6], []], ids=str)
def test_a_packed_sequence_that_is_not_one(sizes: list[int]) -> None:
    packed = PackedSequence(torch.zeros(5, I), torch.tensor(sizes, dtype=torch.int64))
    for layer in (fast.LSTM(I, H), fast.GRU(I, H)):
        with pytest.raises(
            ValueError, match=r"^input: expected a PackedSequence whose batch_sizes"
        ):
            layer(packed)


def run_script(script: str) -> None:
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)


def test_threads_follow_torch() -> None:
    run_script(
        """
        import os, torch, rnnfast, rnnfast.torch
        layer, x = rnnfast.torch.GRU(256, 256), torch.randn(50, 32, 256)
        threads = lambda: len(os.listdir("/proc/self/task"))
        torch.set_num_threads(1)
        rnnfast.set_num_threads(2)
        before = threads()
        layer(x)[0].sum().backward()
        assert threads() == before, threads()
        assert rnnfast.get_num_threads() == 2
        torch.set_num_threads(2)
        layer(x)
        assert threads() == before + 1, threads()
        """
    )


def test_torch_is_optional() -> None:
    run_script(
        """
        import sys, rnnfast
        assert "torch" not in sys.modules
        sys.modules["torch"] = None
        try:
            import rnnfast.torch
        except ImportError as error:
            assert "pip install torch" in str(error), error
        else:
            raise AssertionError("no error")
        """
    )


@pytest.mark.parametrize("make", [fast.LSTM, partial(fast.Recurrent, "peephole_lstm")])
@pytest.mark.parametrize("batched", [True, False])
def test_a_state_in_the_tuple_may_be_none(make: Any, batched: bool) -> None:
    layer = make(I, H, 2, bidirectional=True)
    x = torch.randn(T, B, I) if batched else torch.randn(T, I)
    given = torch.randn(4, B, H) if batched else torch.randn(4, H)
    zeros = torch.zeros_like(given)
    for hx, same in [
        ((given, None), (given, zeros)),
        ((None, given), (zeros, given)),
        ([None, None], None),
    ]:
        for got, expected in zip(flat(layer(x, hx)), flat(layer(x, same)), strict=True):
            assert torch.equal(got, expected)


@pytest.mark.parametrize("make", [fast.LSTMCell, partial(fast.RecurrentCell, "peephole_lstm")])
def test_a_state_of_a_cell_may_be_none(make: Any) -> None:
    cell, x, h = make(I, H), torch.randn(B, I), torch.randn(B, H)
    zeros = torch.zeros(B, H)
    for hx, same in [((h, None), (h, zeros)), ((None, h), (zeros, h)), ((None, None), None)]:
        for got, expected in zip(cell(x, hx), cell(x, same), strict=True):
            assert torch.equal(got, expected)


@pytest.mark.parametrize(
    "module",
    [fast.LSTM(I, H), fast.Recurrent("mgu", I, H), fast.GRUCell(I, H), fast.LSTMCell(I, H)],
    ids=lambda module: type(module).__name__,
)
def test_inputs_and_states_that_are_no_tensors_are_named(module: Any) -> None:
    x = torch.zeros(B, I)
    for wrong in (None, np.zeros((B, I)), [[0.0] * I]):
        got = re.escape(type(wrong).__name__)
        with pytest.raises(TypeError, match=f"^input: expected a tensor, got {got}$"):
            module(wrong)
    for hx, got in [((), "an empty tuple"), (np.zeros((1, B, H)), "ndarray"), ("h", "str")]:
        with pytest.raises(TypeError, match=f"^hx: expected a tensor or a tuple .*, got {got}$"):
            module(x, hx)
    with pytest.raises(TypeError, match=r"^hx\[1\]: expected a tensor or None, got ndarray$"):
        module(x, (torch.zeros(B, H), np.zeros((B, H))))
    count = states_of(module.cell)
    for wrong in {1, 2, 3} - {count}:
        match = f"^hx: expected as many tensors as .* has states, {count}, got {wrong}$"
        with pytest.raises(TypeError, match=match):
            module(x, (torch.zeros(B, H),) * wrong)


@pytest.mark.parametrize(
    "function", [fast.accelerate, fast.restore, fast.report, fast.prepack, fast.quantize]
)
@pytest.mark.parametrize("model", [None, torch.nn.GRU, [torch.nn.GRU(I, H)]], ids=type)
def test_a_model_that_is_no_module_is_named(function: Any, model: Any) -> None:
    got = type(model).__name__
    with pytest.raises(TypeError, match=rf"^model: expected a torch\.nn\.Module, got {got}$"):
        function(model)
