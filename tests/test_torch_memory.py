"""Memory ownership: tensors that users change, resize and free around calls of a layer."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import rnnfast.torch as fast  # noqa: E402
from rnnfast import _core  # noqa: E402
from torch_cases import CELLS, TWINS, assert_near, flat, gradients, twins  # noqa: E402

T, B, I, H = 5, 3, 4, 6


def zero_end(y: Any) -> Any:
    y[2:] = 0
    return y


CHANGES: dict[str, Callable[[Any], Any]] = {
    "relu": lambda y: nn.ReLU(inplace=True)(y),
    "mul_": lambda y: y.mul_(2),
    "masked_fill_": lambda y: y.masked_fill_(y > 0.1, 0.0),
    "dropout": lambda y: nn.functional.dropout(y, 0.5, inplace=True),
    "indexing": zero_end,
    "transposed": lambda y: y.transpose(0, 1).mul_(3).transpose(0, 1),
}
changes = pytest.mark.parametrize("change", CHANGES)


def results(layer: Any, x: Any, change: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return the outputs after an in-place change, and the gradients."""
    x = x.clone().requires_grad_()
    torch.manual_seed(3)
    y, state = layer(x)
    loss = change(y).square().sum() + sum(s.mul_(2).sum() for s in flat(state))
    return y, loss, *torch.autograd.grad(loss, [x, *layer.parameters()])


@changes
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", TWINS)
def test_outputs_may_be_changed_in_place(name: str, batch_first: bool, change: str) -> None:
    theirs, ours = twins(name, I, H, 2, bidirectional=True, batch_first=batch_first)
    x = torch.randn(T, B, I, dtype=torch.float64)
    assert_near(results(ours, x, CHANGES[change]), results(theirs, x, CHANGES[change]))


@changes
def test_outputs_may_be_changed_in_place_under_compile(change: str) -> None:
    torch._dynamo.reset()
    _, layer = twins("GRU", I, H)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)

    def run(x: Any) -> Any:
        y, state = layer(x)
        return CHANGES[change](y), state.mul_(2)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.manual_seed(3)
    expected = run(x)
    torch.manual_seed(3)
    got = compiled(x)
    assert_near(got, expected)
    wanted = [x, *layer.parameters()]
    assert_near(gradients(got, wanted), gradients(expected, wanted))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_writing_to_an_output_s_memory_changes_no_gradient(cell: str, packed: bool) -> None:
    layer = fast.Recurrent(cell, I, H, 2)
    x: Any = torch.randn(T, B, I)
    if packed:
        x = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3, 2]))
    wanted = list(layer.parameters())
    expected = gradients(layer(x), wanted)
    y, state = found = layer(x)
    kept = [r.clone() for r in flat(found) if r.is_floating_point()]
    for result in flat((y.data if packed else y, state)):
        result.detach().numpy()[...] = np.nan
    torch.manual_seed(7)  # as in gradients()
    weights = [torch.randn_like(k) for k in kept]
    tensors = [r for r in flat(found) if r.is_floating_point()]
    got = torch.autograd.grad(tensors, wanted, weights)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other)


def test_all_states_are_apart_from_the_outputs() -> None:
    layer = fast.LSTM(I, H, 2)
    x = torch.randn(T, B, I)
    wanted = list(layer.parameters())
    expected = layer(x, return_all_states=True)
    y, final, states = layer(x, return_all_states=True)
    before = [s.clone() for s in flat(states)]
    y.mul_(0)
    for got, other in zip(flat(states), before, strict=True):
        assert torch.equal(got, other)
    states[0][0].mul_(2)
    (flat(final)[0].sum() + y.sum()).backward()
    for p, grad in zip(
        wanted, torch.autograd.grad(flat(expected[1])[0].sum(), wanted), strict=True
    ):
        assert_near(p.grad, grad)


def test_a_changed_input_is_noticed() -> None:
    layer = fast.GRU(I, H)
    for change in ("x", "state", "weight"):
        x, state = torch.randn(T, B, I), torch.randn(1, B, H)
        y, _ = layer(x, state)
        with torch.no_grad():
            {"x": x, "state": state, "weight": layer.weight_hh_l0}[change].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@pytest.mark.parametrize("training", [False, True])
def test_what_a_layer_has_seen_can_be_resized(training: bool) -> None:
    layer = fast.LSTM(I, H)
    x, h, c = torch.randn(T, B, I), torch.zeros(1, B, H), torch.zeros(1, B, H)
    lengths = torch.full((B,), T)
    with torch.set_grad_enabled(training):
        y, _ = layer(x, (h, c))
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths)
        layer(packed)
    if training:
        dy = torch.randn(T, B, H)
        y.backward(dy)
        dy.resize_(T + 1, B, H)
    for tensor in (x, h, c):
        tensor.resize_(50, 40)
    for parameter in layer.parameters():
        parameter.untyped_storage().resize_(0)
    fast.prepack(layer)


def test_parameters_freed_and_filled_again_between_forward_and_backward() -> None:
    """FSDP 2 does this, and the parameters' address is different afterwards."""
    theirs, ours = twins("GRU", 16, 32)
    x = torch.randn(T, B, 16, dtype=torch.float64)
    expected = gradients(theirs(x)[0], list(theirs.parameters()))
    y, _ = ours(x)
    parameters = list(ours.parameters())
    values = [p.detach().clone() for p in parameters]
    for p in parameters:
        p.untyped_storage().resize_(0)
    block = [torch.full_like(v, np.nan) for v in values]  # takes the parameters' old memory
    for p, v in zip(parameters, values, strict=True):
        p.untyped_storage().resize_(v.nbytes)
        with torch.autograd._unsafe_preserve_version_counter(p), torch.no_grad():
            p.copy_(v)
    assert_near(gradients(y, parameters), expected)
    del block


def test_a_freed_parameter_is_named() -> None:
    layer = fast.GRU(I, H)
    layer.weight_hh_l0.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match=r"weights\[1\]: expected a tensor with memory, got one"):
        layer(torch.randn(T, B, I))


@pytest.fixture
def process_group(tmp_path: Any) -> Iterator[None]:
    dist = torch.distributed
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("PyTorch without gloo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/ranks", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.skipif(os.name != "posix", reason="needs gloo")
def test_fully_sharded_layers() -> None:
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("PyTorch without FSDP 2")

    def trained(model: Any) -> list[Any]:
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            x = torch.randn(T, B, I, dtype=torch.float64)
            optimizer.zero_grad()
            model[1](model[0](x)[0])[0].square().sum().backward()
            optimizer.step()
        return [getattr(p, "full_tensor", lambda p=p: p)() for p in model.parameters()]

    pairs = [twins("GRU", I, H), twins("LSTM", H, H)]
    theirs, ours = (nn.ModuleList(layers) for layers in zip(*pairs, strict=True))
    expected = trained(theirs)
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for layer in ours:
            fsdp.fully_shard(layer, mesh=mesh)
        got = trained(ours)
    assert_near(got, expected)


def test_a_view_that_negates_is_read_as_it_looks() -> None:
    layer = fast.RNN(1, 4, dtype=torch.float64)
    x = torch.randn(1, 1, 1, dtype=torch.complex128).conj().imag
    assert x.is_neg()
    assert torch.equal(layer(x)[0], layer(x.resolve_neg().clone())[0])


def test_arrays_over_tensors_refuse_what_is_not_there() -> None:
    to_dlpack = torch.utils.dlpack.to_dlpack
    for dtype, axes in itertools.product((torch.float32, torch.int64, torch.uint8), range(4)):
        tensor = torch.ones((2, 3, 1)[:axes], dtype=dtype)
        np.testing.assert_array_equal(_core.array_of_dlpack(to_dlpack(tensor)), tensor.numpy())
    with pytest.raises(ValueError, match="capsule: expected one named dltensor"):
        _core.array_of_dlpack(3)
    used = to_dlpack(torch.ones(2))
    torch.from_dlpack(used)
    with pytest.raises(ValueError, match="capsule: expected one named dltensor"):
        _core.array_of_dlpack(used)
    with pytest.raises(TypeError, match="a tensor whose type NumPy has"):
        _core.array_of_dlpack(to_dlpack(torch.ones(2, dtype=torch.bfloat16)))
