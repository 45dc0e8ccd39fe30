"""Projections, `proj_size`, in PyTorch: compared with `torch.nn.LSTM`, and as modules."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import forward_ad  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from torch_cases import assert_near, flat, gradients, twins  # noqa: E402

T, B, I = 7, 5, 6

# torch.nn's layers warn about this themselves.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def random_state(layer: Any, *batch: int) -> tuple[Any, Any]:
    """Return a random (h, c) of a layer's shapes, with gradients."""
    rows, dtype = layer.num_layers * (1 + layer.bidirectional), layer.weight_hr_l0.dtype
    sizes = layer.proj_size, layer.hidden_size
    h, c = (torch.randn(rows, *batch, n, dtype=dtype, requires_grad=True) for n in sizes)
    return h, c


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", ["time first", "batch first", "unbatched", "packed"])
@pytest.mark.parametrize(("H", "P"), [(8, 1), (33, 3), (33, 17), (70, 17)])
def test_results_and_gradients_are_those_of_torch(H: int, P: int, form: str, dtype: Any) -> None:
    torch.manual_seed(0)
    shape = {"unbatched": (T, I), "batch first": (B, T, I)}.get(form, (T, B, I))
    x = torch.randn(*shape, dtype=dtype, requires_grad=True)
    lengths = torch.tensor([3, 7, 1, 7, 4])

    def feed() -> Any:
        return pack_padded_sequence(x, lengths, enforce_sorted=False) if form == "packed" else x

    for layers, bias, both in ((1, True, False), (2, True, True), (3, False, False)):
        theirs, ours = twins(
            "LSTM", I, H, layers, bias, form == "batch first", 0.0, both, P, dtype=dtype
        )
        hx = random_state(ours, *(() if form == "unbatched" else (B,)))
        results = ours(feed(), hx), theirs(feed(), hx)
        assert "rnnfast" in repr(ours)
        assert_near(*results)
        found = [
            gradients(result, [x, *hx, *layer.parameters()])
            for result, layer in zip(results, (ours, theirs), strict=True)
        ]
        assert_near(*found)
        with torch.no_grad():
            assert_near(ours(feed()), theirs(feed()))


def test_the_engine_computes_them() -> None:
    layer = fast.LSTM(I, 8, proj_size=3)
    y, _ = layer(torch.randn(T, B, I))
    assert "_Forward" in type(y.grad_fn).__name__


def network(lengths: bool = False, **options: Any) -> tuple[Any, list[Any]]:
    """Return a small network as a function of all its inputs, and these."""
    torch.manual_seed(3)
    layer = fast.LSTM(2, 3, 2, bidirectional=True, proj_size=2, dtype=torch.float64, **options)
    names = [name for name, _ in layer.named_parameters()]

    def call(x: Any, h: Any, c: Any, *weights: Any) -> tuple[Any, ...]:
        fed = pack_padded_sequence(x, torch.tensor([4, 3, 1])) if lengths else x
        named = dict(zip(names, weights, strict=True))
        result = torch.func.functional_call(layer, named, (fed, (h, c)))
        return tuple(r for r in flat(result) if r.is_floating_point())

    x = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    return call, [x, *random_state(layer, 3), *(w.detach().requires_grad_() for w in
                                                layer.parameters())]  # fmt: skip


@pytest.mark.parametrize("lengths", [False, True])
def test_gradients_and_their_gradients(lengths: bool) -> None:
    call, tensors = network(lengths)
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)


def test_both_paths_compute_the_same() -> None:
    """The engine agrees with the step-by-step path in PyTorch operations."""
    call, tensors = network()
    with forward_ad.dual_level():
        by_steps = call(*tensors)
    by_engine = call(*tensors)
    assert_near(by_engine, by_steps)
    assert_near(gradients(by_engine, tensors), gradients(by_steps, tensors))


def test_steps_without_a_state_start_from_zeros() -> None:
    theirs, layer = twins("LSTM", I, 8, proj_size=3)
    x = torch.randn(T, B, I, dtype=torch.float64)
    with forward_ad.dual_level():
        assert_near(layer(x), theirs(x))


def test_states_after_every_step() -> None:
    layer = fast.LSTM(I, 8, 2, bidirectional=True, proj_size=3)
    x = torch.randn(T, B, I)
    y, (h, c), (hs, cs) = layer(x, return_all_states=True)
    assert [s.shape for s in hs] == [(T, B, 3)] * 4
    assert [s.shape for s in cs] == [(T, B, 8)] * 4
    assert_near(torch.cat(hs[2:], -1), y)
    assert_near([s[0 if k % 2 else -1] for k, s in enumerate(cs)], list(c))
    assert_near([s[0 if k % 2 else -1] for k, s in enumerate(hs)], list(h))


def test_a_compiled_layer_computes_the_same() -> None:
    layer = fast.LSTM(I, 9, 2, proj_size=4)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(T, B, I)
    for hx, options in itertools.product((None, random_state(layer, B)), ({}, {"all": True})):
        arguments = (x, hx, bool(options))
        expected, got = layer(*arguments), compiled(*arguments)
        wanted = list(layer.parameters())
        for one, other in zip(flat(got), flat(expected), strict=True):
            assert torch.equal(one, other)
        for one, other in zip(gradients(got, wanted), gradients(expected, wanted), strict=True):
            assert torch.equal(one, other)


def test_a_prepacked_layer_computes_the_same() -> None:
    layer = fast.LSTM(I, 9, 2, proj_size=4).eval()
    x = torch.randn(T, B, I)
    with torch.no_grad():
        expected = layer(x)
        fast.prepack(layer)
        for _ in range(2):
            for one, other in zip(flat(layer(x)), flat(expected), strict=True):
                assert torch.equal(one, other)
        layer.weight_hr_l0.mul_(2)
        assert not torch.equal(layer(x)[0], expected[0])


def test_state_dicts_go_both_ways() -> None:
    theirs = torch.nn.LSTM(I, 8, 2, bidirectional=True, proj_size=3)
    ours = copy.deepcopy(fast.accelerate(copy.deepcopy(theirs)))
    assert type(ours) is fast.LSTM
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(T, B, I)
    expected = theirs(x)
    assert_near(ours(x), expected)
    assert type(fast.restore(ours)) is torch.nn.LSTM
    assert_near(ours(x), expected)

    layer = rnnfast.LSTM(I, 8, 2, bidirectional=True, proj_size=3)
    rnnfast.load_torch_state_dict(layer, theirs.state_dict())
    layer.eval()
    y, state = layer(x.numpy())
    assert_near([torch.from_numpy(a) for a in (y, *state)], expected)
    back = rnnfast.to_torch_state_dict(layer)
    assert list(back) == list(theirs.state_dict())
    theirs.load_state_dict(back)


def test_operations_are_counted_as_those_of_torch_nn() -> None:
    layers = twins("LSTM", I, 8, 2, bidirectional=True, proj_size=3)
    found = []
    for layer in layers:
        x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
        state = random_state(layer, B)
        with FlopCounterMode(display=False) as counter:
            loss = layer(x, state)[0].sum()
            forward = counter.get_total_flops()
            loss.backward()
        found.append((forward, counter.get_total_flops() - forward))
    assert found[0] == found[1]


def test_autocast_rounds_the_products() -> None:
    layer = fast.LSTM(I, 8, proj_size=3)
    x = torch.randn(T, B, I)
    expected, _ = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, (h, c) = layer(x)
    assert y.dtype == h.dtype == c.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.02)


def test_states_of_other_widths_are_refused_as_by_torch() -> None:
    for layer in twins("LSTM", I, 8, proj_size=3):
        with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size \(1, 5, 3\)"):
            layer(torch.randn(T, B, I).double(), (torch.zeros(1, B, 8).double(),) * 2)
