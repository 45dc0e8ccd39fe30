"""Zoneout and dropout inside the steps of `rnnfast.torch`'s layers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from torch_cases import assert_near, flat, gradients  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

T, B, I, H = 4, 3, 2, 3
# Cells with one and two states, one and two products; compiled and of the zoo.
CELLS = ["lstm", "gru_reset_before", "mut3", "janet"]
NOISE: dict[str, Any] = {"zoneout": 0.3, "input_dropout": 0.2, "recurrent_dropout": 0.4}
NOISE["candidate_dropout"] = 0.3


def network(
    cell: str, *, lengths: bool = False, train: bool = True, **options: Any
) -> tuple[Callable[..., Any], list[Any]]:
    """Return a float64 layer with noise as a function of x and its weights, and these tensors."""
    torch.manual_seed(0)
    layer = fast.Recurrent(cell, I, H, 2, bidirectional=True, dtype=torch.float64, **NOISE)
    layer.train(train)
    names = list(layer._flat_weights_names)

    def call(x: Any, *weights: Any) -> tuple[Any, ...]:
        torch.manual_seed(5)
        fed = pack_padded_sequence(x, torch.tensor([4, 3, 1])) if lengths else x
        named = dict(zip(names, weights, strict=True))
        results = flat(torch.func.functional_call(layer, named, (fed,), options))
        return tuple(r for r in results if r.is_floating_point())

    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    weights = [w.detach().requires_grad_() for w in flat(layer.all_weights)]
    return call, [x, *weights]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("options", [{}, {"lengths": True}, {"return_all_states": True}], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_and_their_gradients(cell: str, options: dict[str, Any], train: bool) -> None:
    call, tensors = network(cell, train=train, **options)
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)


@pytest.mark.parametrize("cell", CELLS)
def test_both_paths_compute_the_same_in_evaluation(cell: str) -> None:
    """The engine agrees with the step-by-step path in PyTorch operations."""
    call, tensors = network(cell, train=False)
    with torch.autograd.forward_ad.dual_level():
        by_steps = call(*tensors)
    by_engine = call(*tensors)
    assert_near(by_engine, by_steps)
    assert_near(gradients(by_engine, tensors), gradients(by_steps, tensors))
    with torch.no_grad():
        assert_near(call(*tensors), by_engine)


def test_evaluation_is_that_of_the_layers_of_numpy() -> None:
    ours = fast.LSTM(I, H, 2, dtype=torch.float64, **NOISE).eval()
    plain = rnnfast.LSTM(I, H, 2, dtype="float64", **NOISE).eval()
    rnnfast.load_torch_state_dict(plain, ours.state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64)
    y, _ = ours(x)
    torch.testing.assert_close(y.detach(), torch.from_numpy(plain(x.numpy())[0]), rtol=0, atol=0)
    fast.prepack(ours)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], y.detach(), rtol=0, atol=0)


def test_masks_follow_torchs_seed_with_and_without_gradients() -> None:
    layer = fast.GRU(I, 40, **NOISE)
    x = torch.randn(T, B, I)

    def outputs(seed: int) -> Any:
        torch.manual_seed(seed)
        return layer(x)[0].detach()

    first = outputs(1)
    assert torch.equal(outputs(1), first)
    assert not torch.equal(outputs(2), first)
    with torch.no_grad():
        assert torch.equal(outputs(1), first)


def test_zoneout_of_one_keeps_the_state_in_transforms_too() -> None:
    layer = fast.GRU(I, H, zoneout=1.0, input_dropout=0.5)
    h = torch.randn(1, B, H)
    x = torch.randn(T, B, I)
    expected = h.expand(T, B, H)
    assert torch.equal(layer(x, h)[0], expected)
    y = torch.func.vmap(lambda one: layer(one, h)[0], randomness="different")(x[None])[0]
    torch.testing.assert_close(y, expected)
    assert torch.equal(layer.eval()(x, h)[0], expected)


def test_recurrent_dropout_in_transforms_is_that_of_a_sequence() -> None:
    """Only the recurrent product is not zero, so each step multiplies h by 1 / (1 - p) or 0."""
    layer = fast.RNN(1, 400, nonlinearity="relu", bias=False, recurrent_dropout=0.25)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.eye(400))
    h, x = torch.ones(1, 2, 400), torch.zeros(3, 2, 1)
    y = torch.func.vmap(lambda one: layer(one, h)[0], randomness="different")(x[None])[0]
    for got in (y, layer(x, h)[0]):
        kept = got[0] > 0
        assert 0.6 < kept.float().mean() < 0.9
        for t in range(3):
            torch.testing.assert_close(got[t], kept * (4 / 3) ** (t + 1))


def test_compiled_layers_have_noise() -> None:
    layer = fast.LSTM(I, 30, 2, **NOISE)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(T, B, I)
    for mode in (True, False):
        layer.train(mode)
        torch.manual_seed(3)
        expected = gradients(layer(x), list(layer.parameters()))
        torch.manual_seed(3)
        assert_near(gradients(compiled(x), list(layer.parameters())), expected)


def test_what_the_engine_does_not_compute_is_refused() -> None:
    with pytest.raises(ValueError, match=r"zoneout, .*: expected 0 with proj_size.* zoneout=0\.1"):
        fast.LSTM(I, H, proj_size=2, zoneout=0.1)
    with pytest.raises(ValueError, match=r"zoneout\[1\]: expected a number in \[0, 1\], got 2"):
        fast.LSTM(I, H, zoneout=(0.1, 2))
    with pytest.raises(TypeError, match="input_dropout: expected a number, got str"):
        fast.GRU(I, H, input_dropout="0.1")
    half = fast.GRU(I, H, recurrent_dropout=0.5, dtype=torch.float16)
    x = torch.randn(T, B, I, dtype=torch.float16)
    with pytest.raises(ValueError, match=r"zoneout, .*: expected 0 where PyTorch computes"):
        half(x)
    half.eval()(x)  # without dropout it matches torch.nn
    with pytest.raises(RuntimeError, match=r"input\.size"):
        fast.GRU(I, H, zoneout=0.5)(torch.randn(T, B, I + 1))


def test_layers_with_noise_stay_and_say_so() -> None:
    model = torch.nn.Sequential(fast.GRU(I, H, zoneout=(0.5,)), fast.GRU(H, H))
    assert "zoneout=(0.5,)" in repr(model[0])
    assert copy.deepcopy(model[0]).zoneout == (0.5,)
    fast.restore(model)
    assert [type(layer) for layer in model] == [fast.GRU, torch.nn.GRU]
