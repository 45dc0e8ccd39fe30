"""Networks under the transformations of JAX, against the same network of operations of JAX."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import cases
import tolerances
from cases import Case

jax_cases = pytest.importorskip("jax_cases", reason="jax is not installed")
import jax  # noqa: E402
import jax.export  # noqa: E402
import jax.numpy as jnp  # noqa: E402

import rnnfast.jax as door  # noqa: E402

CASE = Case("peephole_lstm", dtype="float64", lengths=True)


def loss_of(case: Case) -> Any:
    """Return a scalar function of the parameters, x and the state of a case."""
    net, lengths = jax_cases.network_of(case), cases.make_data(case).lengths

    def loss(params: Any, x: Any, state: Any) -> Any:
        y, final = net.apply(params, x, state, lengths=lengths)
        return jnp.sin(y).sum() + sum(jnp.square(s).sum() for s in jax.tree.leaves(final))

    return loss


def assert_near(got: Any, expected: Any) -> None:
    """Check trees of float64 arrays, of which both sides have rounding errors."""

    def check(a: Any, b: Any) -> None:
        largest = float(jnp.abs(b).max(initial=1.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerances.TORCH_RELATIVE_FLOAT64 * largest)

    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(check, got, expected)


def directions_of(inputs: Any) -> Any:
    """Return a tree of random directions."""
    leaves, structure = jax.tree.flatten(inputs)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    return structure.unflatten(
        [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
    )


def forward_mode(loss: Any, inputs: Any) -> Any:
    return jax.jvp(loss, inputs, directions_of(inputs))


def gradients(loss: Any, inputs: Any) -> Any:
    return jax.grad(loss, (0, 1, 2))(*inputs)


def forward_over_reverse(loss: Any, inputs: Any) -> Any:
    return jax.jvp(jax.grad(loss, (0, 1, 2)), inputs, directions_of(inputs))


def reverse_over_reverse(loss: Any, inputs: Any) -> Any:
    def penalty(*inputs: Any) -> Any:
        return sum(jnp.square(g).sum() for g in jax.tree.leaves(gradients(loss, inputs)))

    return jax.grad(penalty, (0, 1, 2))(*inputs)


def reverse_over_forward(loss: Any, inputs: Any) -> Any:
    return jax.grad(lambda *i: forward_mode(loss, i)[1], (0, 1, 2))(*inputs)


def linearized(loss: Any, inputs: Any) -> Any:
    return jax.linearize(loss, *inputs)[1](*directions_of(inputs))


def recomputed(loss: Any, inputs: Any) -> Any:
    return gradients(jax.checkpoint(loss), inputs)


def of_few_inputs(loss: Any, inputs: Any) -> Any:
    params, x, state = inputs

    def partial_loss(weight: Any, h: Any) -> Any:
        new = h if isinstance(state, jax.Array) else (h, *state[1:])
        return loss(params | {"weight_hh_l0": weight}, x, new)

    h = jax.tree.leaves(state)[0]
    return jax.grad(partial_loss, (0, 1))(params["weight_hh_l0"], h)


def of_each_sequence(loss: Any, inputs: Any) -> Any:
    params, x, state = inputs
    others = jnp.stack([x, 2 * x, -x])
    return jax.vmap(jax.grad(loss, (0, 1)), (None, 0, None))(params, others, state)


def through_a_mapped_axis(loss: Any, inputs: Any) -> Any:
    params, x, state = inputs
    others = jnp.stack([x, 2 * x, -x], 2)

    def mean(params: Any, others: Any, state: Any) -> Any:
        return jax.vmap(loss, (None, 2, None))(params, others, state).mean()

    return jax.grad(mean, (0, 1, 2))(params, others, state)


def of_an_ensemble(loss: Any, inputs: Any) -> Any:
    params, x, state = inputs
    many = jax.tree.map(lambda p: jnp.stack([p, 0.5 * p]), params)
    return jax.vmap(jax.value_and_grad(loss), (0, None, None))(many, x, state)


def mapped_tangents(loss: Any, inputs: Any) -> Any:
    params, x, state = inputs
    return jax.jacfwd(lambda v: loss(params, x.at[0, 0].set(v), state))(x[0, 0])


def hessian(loss: Any, inputs: Any) -> Any:
    params, x, state = inputs
    return jax.hessian(lambda v: loss(params, x.at[0, 0].set(v), state))(x[0, 0])


@pytest.mark.parametrize(
    "transformed",
    [
        forward_mode,
        gradients,
        forward_over_reverse,
        reverse_over_reverse,
        reverse_over_forward,
        linearized,
        recomputed,
        of_few_inputs,
        of_each_sequence,
        through_a_mapped_axis,
        of_an_ensemble,
        mapped_tangents,
        hessian,
    ],
)
def test_transformations(transformed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, inputs = loss_of(CASE), jax_cases.arguments(CASE)[:3]
    got = jax.jit(lambda inputs: transformed(loss, inputs))(inputs)
    jax_cases.stepwise(monkeypatch)
    assert_near(got, jax.jit(lambda inputs: transformed(loss, inputs))(inputs))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mapped_axis_is_more_sequences_with_the_same_bits(axis: int) -> None:
    case = Case("lstm", L=2, D=2, H=17, lengths=True)
    params, x, state, lengths = jax_cases.arguments(case)
    net = jax_cases.network_of(case)
    xs = jnp.stack([x, 2 * x, x - 1], axis)
    all_lengths = jnp.stack([lengths, lengths[::-1], 0 * lengths], 1)

    def run(x: Any, lengths: Any) -> Any:
        return net.apply(params, x, state, lengths=lengths)

    mapped = jax.vmap(run, (axis, 1), 0)
    y, (h, c) = mapped(xs, all_lengths)
    for k in range(3):
        expected_y, expected = run(jnp.take(xs, k, axis), all_lengths[:, k])
        np.testing.assert_array_equal(y[k], expected_y)
        np.testing.assert_array_equal(h[k], expected[0])
        np.testing.assert_array_equal(c[k], expected[1])
    (call,) = [e for e in jax.make_jaxpr(mapped)(xs, all_lengths).eqns if "rnnfast" in str(e)]
    assert call.invars[0].aval.shape == (case.T, 3 * case.B, case.I)


def test_no_gradient_is_computed_that_is_not_wanted() -> None:
    case = Case("lstm")
    params, x, state, _ = jax_cases.arguments(case)
    program = jax.make_jaxpr(jax.grad(lambda x: door.lstm(x, params, state)[0].sum()))(x)
    (call,) = [e for e in program.eqns if e.primitive.name == "rnnfast_backward"]
    assert [v.aval.shape for v in call.outvars] == [x.shape]
    assert call.params["given"] == (True, False, False)


def test_other_devices_run_operations_of_jax() -> None:
    case = Case("gru")
    params, x, state, _ = jax_cases.arguments(case)

    def step(params: Any) -> Any:
        return jax.value_and_grad(lambda p: door.gru(x, p, state)[0].sum())(params)

    exported = jax.export.export(jax.jit(step), platforms=["tpu"])(params)
    calls = re.findall(r"custom_call @(\w+)", exported.mlir_module())
    assert not any("rnnfast" in call for call in calls), calls
    assert "stablehlo.while" in exported.mlir_module()
    here = jax.jit(step).lower(params).as_text()
    assert {"rnnfast_forward", "rnnfast_backward"} <= set(re.findall(r"custom_call @(\w+)", here))


def test_training_learns() -> None:
    net = door.Network("gru", 1, 16)
    keys = jax.random.split(jax.random.key(0), 3)
    model = net.init(keys[0]), 0.1 * jax.random.normal(keys[1], (16,), jnp.float32)
    x = jax.random.normal(keys[2], (12, 64, 1), jnp.float32)
    target = x[:4, :, 0].sum(0)

    def loss(model: Any) -> Any:
        params, readout = model
        _, h = net.apply(params, x)
        return jnp.square(h[0] @ readout - target).mean()

    @jax.jit
    def step(model: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(model)
        return value, jax.tree.map(lambda p, g: p - 0.1 * g, model, gradient)

    first, model = step(model)
    for _ in range(300):
        last, model = step(model)
    assert last < 0.2 * first
