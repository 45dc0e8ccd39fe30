"""Exponential moving averages of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnnfast
from optim_cases import make_parameters, reals
from rnnfast import EMA


def change(parameters: list[rnnfast.Parameter], step: int) -> None:
    for p, value in zip(parameters, reals("float64", 2, step), strict=True):
        p.value[...] = value


def test_equal_to_the_average_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    swa_utils = pytest.importorskip("torch.optim.swa_utils", reason="PyTorch is not installed")
    average = swa_utils.get_ema_multi_avg_fn(0.9)
    ours = make_parameters("float64")
    ema = EMA(ours, decay=0.9)
    theirs = [torch.tensor(p.value) for p in ours]  # PyTorch's average copies these at first
    for step in range(6):
        change(ours, step)
        ema.update()
        average(theirs, [torch.tensor(p.value) for p in ours], None)
    assert ema.updates == 6
    with ema.average():
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.value, q.numpy(), rtol=0, atol=6e-15)


def test_the_averages_are_in_the_parameters_for_a_while() -> None:
    p = make_parameters("float64")
    first = [q.copy() for q in p]
    ema = EMA(p, decay=0.5)
    change(p, 0)
    ema.update()
    now = [q.copy() for q in p]
    with ema.average():
        for q, a, b in zip(p, first, now, strict=True):
            np.testing.assert_allclose(q.value, (a + b) / 2, rtol=0, atol=1e-15)
        for call in (ema.update, ema.average().__enter__, lambda: ema.load_state_dict({})):
            with pytest.raises(RuntimeError, match=r"outside of `with ema\.average"):
                call()
    with pytest.raises(ZeroDivisionError), ema.average():
        _ = 1 / 0
    for q, b in zip(p, now, strict=True):
        np.testing.assert_array_equal(q.value, b)
    with ema.average():  # the averages are back in place
        np.testing.assert_allclose(p[0].value, (first[0] + now[0]) / 2, rtol=0, atol=1e-15)


@pytest.mark.parametrize("evaluating", [False, True])
def test_a_module_is_evaluated_with_its_averages(evaluating: bool) -> None:
    model = rnnfast.GRU(3, 4, seed=1)
    x = np.random.default_rng(0).standard_normal((5, 2, 3), "float32")
    first, _ = model.eval()(x)
    model.train()
    ema = EMA(model, decay=1.0)  # keeps the first values
    for p in model.parameters():
        p *= 0.5
    ema.update()
    expected, _ = model.eval()(x)
    if not evaluating:
        model.train()
    with ema.average():
        got, _ = model.eval()(x)
        np.testing.assert_array_equal(got, first)
    again, _ = model.eval()(x)
    np.testing.assert_array_equal(again, expected)
    assert (expected != first).any()


def test_a_parameter_by_itself_must_be_writable() -> None:
    layer = rnnfast.GRU(3, 4, seed=1, device="cpu")
    ema = EMA(list(layer.parameters()))
    layer.eval()(np.ones((1, 1, 3), "float32"))
    with pytest.raises(ValueError, match="expected an array to write into, got a read-only one"):
        ema.average().__enter__()
    layer.train()
    with ema.average():
        pass


def test_resuming_is_bit_exact() -> None:
    one, other = make_parameters("float64"), make_parameters("float64")
    ema, resumed = EMA(one, decay=0.9), EMA(other, decay=0.9)
    change(one, 0)
    ema.update()
    state = ema.state_dict()
    change(one, 1)
    ema.update()  # the state dict is a copy
    change(other, 1)
    resumed.load_state_dict(state)
    resumed.update()
    assert resumed.updates == 2
    for name, array in ema.state_dict()["averages"].items():
        np.testing.assert_array_equal(resumed.state_dict()["averages"][name], array)
    for wrong in (
        {"updates": -1, "averages": state["averages"]},
        {"updates": 1, "averages": {}},
        {"updates": 1},
    ):
        with pytest.raises(ValueError, match="state_dict"):
            resumed.load_state_dict(wrong)
    assert resumed.updates == 2


def test_tied_weights_are_averaged_once() -> None:
    embedding, head = rnnfast.Embedding(5, 3), rnnfast.Linear(3, 5)
    head.tie(embedding)
    ema = EMA([embedding, head], decay=0.5)
    assert len(ema.state_dict()["averages"]) == 2  # the averages of the weight and the bias
    assert repr(ema) == "EMA(2 parameters of 20 values, decay=0.5, updates=0)"


@pytest.mark.parametrize("decay", [-0.1, 1.5, "0.9"])
def test_wrong_decays_are_refused(decay: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="decay: expected a number"):
        EMA(make_parameters("float32"), decay)
