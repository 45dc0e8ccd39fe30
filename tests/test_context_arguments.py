"""What contexts refuse, and `context_gates` of `functional`."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from context_cases import C, make_context, make_layer, run_layer
from rnnfast import functional
from rnnfast._engine import arguments, checks

WRONG: list[tuple[Any, type[Exception], str]] = [
    (None, ValueError, r"context: expected shape .*as the layer has context_size = 6, got None"),
    (np.zeros((4, 5)), ValueError, r"context: .*\(batch, context_size\) = \(4, 6\), or .*\(4, 5\)"),
    (np.zeros((3, 6)), ValueError, r"context: .*context_size\) = \(3, 4, 6\), got \(3, 6\)"),
    (np.zeros((4, 3, 6)), ValueError, r"context: .*\(seq_len, batch, c.*, got \(4, 3, 6\)"),
    (np.full((4, 6), "a"), TypeError, "context: expected real numbers"),
    (np.ma.zeros((4, 6)), TypeError, "context: expected an array without a mask"),
]


@pytest.mark.parametrize(("context", "error", "message"), WRONG)
def test_a_wrong_context_is_named(context: Any, error: type[Exception], message: str) -> None:
    case = Case("lstm", T=3, B=4)
    layer = cases.new_layer(case, context_size=C)
    with pytest.raises(error, match=message):
        layer(cases.make_data(case).x, context=context)


def test_a_context_needs_its_size_and_the_size_its_context() -> None:
    x, v = np.zeros((2, 1, 3), "f"), np.zeros((1, 4), "f")
    layer = rnnfast.LSTM(3, 5)
    with pytest.raises(ValueError, match="context: expected None, as the layer has context_size ="):
        layer(x, context=v)
    layer(x)
    with pytest.raises(ValueError, match="dcontext: expected None, as the layer has context_size"):
        layer.backward(None, dcontext=v)
    with pytest.raises(ValueError, match="context_size: expected at least 0, got -1"):
        rnnfast.LSTM(3, 5, context_size=-1)
    of_batch = rnnfast.GRU(3, 5, batch_first=True, context_size=4)
    with pytest.raises(ValueError, match=r"\(batch, seq_len, context_size\) = \(2, 1, 4\), as the"):
        of_batch(x)
    with pytest.raises(ValueError, match=r"x: expected at least 2 axes, .*, got \(3,\)"):
        rnnfast.GRU(3, 5, context_size=4)(x[0, 0], context=v)


def test_wrong_gradients_of_a_context_are_named() -> None:
    case = Case("lstm", T=3, B=4)
    context, d = make_context(case, False), cases.make_data(case)
    layer = make_layer(case, context)
    layer(d.x, context=context.values)
    read_only = np.zeros_like(context.values)
    read_only.flags.writeable = False
    for wrong, error, message in (
        (np.zeros((4, 6)), TypeError, "dcontext: expected an array of float32 to add to, got flo"),
        ([1.0], TypeError, "dcontext: expected an array of float32 to add to, got list"),
        (np.zeros((3, 6), "f"), ValueError, r"dcontext: .*of the context = \(4, 6\), got \(3, 6\)"),
        (read_only, ValueError, "dcontext: expected a writable array"),
    ):
        with pytest.raises(error, match=message):
            layer.backward(d.dy, dcontext=wrong)
    assert layer.backward(d.dy)[0] is not None  # the call is still pending


@pytest.mark.parametrize("what", ["context", "weight"])
def test_changes_before_backward_are_noticed(what: str) -> None:
    case = Case("lstm", T=3, B=4)
    context, d = make_context(case, False), cases.make_data(case)
    layer, values = make_layer(case, context), context.values.copy()
    layer(d.x, context=values)
    changed: Any = values if what == "context" else layer.weight_ch_l0.value
    changed += 1
    with pytest.raises(RuntimeError, match="context, weight_ch: expected the values of the forwar"):
        layer.backward(d.dy)
    assert not layer.weight_ih_l0.grad.any()


@pytest.mark.parametrize("recompute", [False, 2])
def test_gates_of_a_context_in_functional(recompute: int) -> None:
    case = Case("gru", T=600, B=2, H=9, D=2)
    context, d = make_context(case, True), cases.make_data(case)
    gates = [context.values @ w.T for w in context.weights]
    expected = run_layer(case, context, recompute=recompute)
    options: dict[str, Any] = {"training": True, "recompute": recompute, "context_gates": gates}
    _, _, reserve = cases.forward(case, d, **options)
    dgates = [np.zeros_like(g) for g in gates]
    dx, _, _ = functional.backward(reserve, d.dy, d.dstate, dcontext_gates=dgates)
    np.testing.assert_allclose(dx, expected["dx"], rtol=0, atol=1e-4)
    dcontext = sum(g @ w for g, w in zip(dgates, context.weights, strict=True))
    np.testing.assert_allclose(dcontext, expected["dcontext"], rtol=0, atol=1e-4)
    _, _, reserve = cases.forward(case, d, **options)
    gates[0] += 1
    if recompute:
        with pytest.raises(RuntimeError, match="context_gates: expected the values of the forward"):
            functional.backward(reserve, d.dy, d.dstate)
    else:  # backward does not read them
        np.testing.assert_array_equal(functional.backward(reserve, d.dy, d.dstate)[0], dx)
    converted = [g.astype("float64").tolist() for g in gates]
    y = cases.forward(case, d, context_gates=gates)[0]
    np.testing.assert_array_equal(cases.forward(case, d, context_gates=converted)[0], y)


@pytest.mark.parametrize("recompute", [False, 2])
def test_what_a_context_adds_is_only_kept_to_be_computed_again(recompute: int) -> None:
    case = Case("gru", T=600, B=2, H=9)
    gates = np.zeros((case.T, case.B, 3 * case.H), "f")
    alive = weakref.ref(gates)
    options: dict[str, Any] = {"recompute": recompute, "context_gates": [gates]}
    _, _, reserve = cases.forward(case, training=True, **options)
    del gates, options
    assert (alive() is not None) == bool(recompute)
    del reserve
    assert alive() is None


def test_wrong_gates_of_a_context_are_named() -> None:
    case = Case("gru", T=3, B=4, H=5)
    d = cases.make_data(case)
    good, by_step = np.zeros((4, 15), "f"), np.zeros((3, 4, 15), "f")
    for wrong, error, message in (
        (good, ValueError, "context_gates: expected a list of 1 arrays, .*got ndarray"),
        ([good, good], ValueError, "context_gates: expected a list of 1 arrays, .*, got 2"),
        ([good.T], ValueError, r"context_gates: .*\(4, 15\), or of .*\(3, 4, 15\), got \[\(15, 4"),
        ([None], TypeError, r"context_gates\[0\]: expected real numbers"),
    ):
        with pytest.raises(error, match=message):
            cases.forward(case, d, context_gates=wrong)
    both = replace(case, D=2)
    with pytest.raises(ValueError, match=r"context_gates: .*got \[\(4, 15\), \(3, 4, 15\)\]"):
        cases.forward(both, context_gates=[good, by_step])
    _, _, reserve = cases.forward(case, d, training=True)
    for wrong, error, message in (
        ([good.T.copy()], ValueError, r"dcontext_gates: .*got \[\(15, 4\)\]"),
        ([good.T.copy().T], ValueError, r"dcontext_gates\[0\]: expected a writable C-contiguous"),
        ([good.astype("d")], TypeError, r"dcontext_gates\[0\]: expected dtype float32, got float"),
        ([good.tolist()], TypeError, r"dcontext_gates\[0\]: expected an array to write into"),
    ):
        with pytest.raises(error, match=message):
            functional.backward(reserve, d.dy, dcontext_gates=wrong)


def test_devices_and_cells_without_contexts_refuse_them() -> None:
    device: Any = SimpleNamespace(name="cuda", contexts=False)
    with pytest.raises(ValueError, match="context_size: expected no context on device 'cuda', whi"):
        checks.contexts("context_size", device)
    no_gates: Any = SimpleNamespace(name="plain", gates=0)
    with pytest.raises(ValueError, match="context_size: expected 0, as no gate of cell 'plain'"):
        arguments.checked_context_size(2, no_gates, device)


def test_what_has_no_contexts_refuses_them(tmp_path: Path) -> None:
    layer = rnnfast.GRU(3, 5, context_size=4)
    x = np.zeros((2, 1, 3), "f")
    for call, name in (
        (lambda: rnnfast.gradient_flow(layer, x, None), "layer"),
        (lambda: rnnfast.to_keras_weights(layer), "layer"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected layers with context_size = 0, as"):
            call()
    pytest.importorskip("onnx", reason="onnx is not installed")
    with pytest.raises(ValueError, match="model: expected layers with context_size = 0, as ONNX"):
        rnnfast.onnx.export(layer, tmp_path / "model.onnx")
