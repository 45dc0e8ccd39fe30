"""Networks in JAX: values and gradients against the reference, and the bits of the engine."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from rnnfast.cells import ZOO

jax_cases = pytest.importorskip("jax_cases", reason="jax is not installed")
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

import rnnfast.jax as door  # noqa: E402

VARIED = [
    Case("lstm", L=2, D=2, H=17, lengths=True),
    Case("lstm", L=2, D=2, P=5, lengths=True),
    Case("gru", L=3, D=2, B=9, dtype="float64", lengths=True),
    Case("gru", bias=False, T=40, B=16, I=9, H=64),
    Case("rnn_tanh", precision="bfloat16", B=11, H=64),
    Case("mut3", T=1, B=1),
    Case("nas", D=2, H=3, lengths=True, dtype="float64"),
]


@pytest.mark.parametrize("cell", list(ZOO))
def test_every_cell_gives_the_results_of_the_reference(cell: str) -> None:
    case = Case(cell, I=8, lengths=True)
    got, plain = jax_cases.results(case), cases.plain_errors(case)
    cases.assert_close(got, cases.run_reference(case), plain, case)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("case", VARIED, ids=str)
def test_results_have_the_bits_of_the_numpy_door(case: Case, jit: bool) -> None:
    cases.assert_identical(jax_cases.results(case, jit=jit), cases.run_engine(case))


@pytest.mark.parametrize("case", VARIED, ids=str)
def test_the_function_reads_sizes_from_the_parameters(case: Case) -> None:
    params, x, state, lengths = jax_cases.arguments(case)
    options = {"lengths": lengths, "precision": case.precision}
    got = door.recurrent(case.cell, x, params, state, **options)
    expected = jax_cases.network_of(case).apply(params, x, state, lengths=lengths)
    assert_same(got, expected)
    named = {"lstm": door.lstm, "gru": door.gru, "rnn_tanh": door.rnn}
    if case.cell in named:
        assert_same(named[case.cell](x, params, state, **options), expected)


def assert_same(got: Any, expected: Any) -> None:
    """Check that two trees are the same, bit for bit."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_a_cell_of_ones_own() -> None:
    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> Any:
        (h,) = state
        (of_h,) = recurrent(h)
        return (rnnfast.cells.softplus(x[0] + of_h) - 0.5 * h,)

    own = rnnfast.Cell("softplus", step)
    net = door.Network(own, 3, 5)
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (4, 2, 3), jnp.float32)
    layer = rnnfast.Recurrent(own, 3, 5)
    layer.load_state_dict({name: np.asarray(p) for name, p in params.items()})
    y, h = layer(np.asarray(x))
    assert_same(net.apply(params, x), (jnp.asarray(y), jnp.asarray(h)))


def test_forms_of_the_input() -> None:
    case = Case("lstm", L=2)
    params, x, (h, c), _ = jax_cases.arguments(case)
    net = jax_cases.network_of(case)
    y, (h1, c1) = net.apply(params, x, (h, c))
    turned = jax_cases.network_of(case, batch_first=True).apply(params, x.swapaxes(0, 1), (h, c))
    assert_same(turned, (y.swapaxes(0, 1), (h1, c1)))
    single = net.apply(params, x[:, 1], (h[:, 1], c[:, 1]))
    assert_same(single, (y[:, 1], (h1[:, 1], c1[:, 1])))
    short = net.apply(params, x[:, 1], (h[:, 1], c[:, 1]), lengths=3)
    assert_same(short[0][:3], single[0][:3])
    assert not short[0][3:].any()
    zeros = net.apply(params, x, (0 * h, 0 * c))
    assert_same(net.apply(params, x), zeros)


@pytest.mark.parametrize(("T", "B"), [(0, 3), (4, 0)])
def test_nothing_to_compute(T: int, B: int) -> None:
    net = door.Network("gru", 3, 5)
    params = net.init(jax.random.key(0))
    state = jnp.ones((1, B, 5), jnp.float32)

    def sums(params: Any) -> Any:
        y, h = net.apply(params, jnp.ones((T, B, 3)), state)
        return y.sum() + h.sum()

    value, gradient = jax.value_and_grad(sums)(params)
    assert value == 5 * B * (T == 0)
    assert not any(g.any() for g in gradient.values())


def test_parameters_of_lower_precision_count_as_float32() -> None:
    net = door.Network("gru", 3, 5)
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), net.init(jax.random.key(0)))
    full = jax.tree.map(lambda p: p.astype(jnp.float32), half)
    x = jax.random.normal(jax.random.key(1), (4, 2, 3), jnp.float32)
    assert_same(net.apply(half, x), net.apply(full, x))
    gradient = jax.grad(lambda p: net.apply(p, x)[0].sum())(half)
    assert {g.dtype for g in gradient.values()} == {jnp.dtype(jnp.bfloat16)}


def test_initial_parameters() -> None:
    net = door.Network("lstm", 3, 16, 2, bidirectional=True, proj_size=4)
    params = net.init(jax.random.key(3), jnp.float64)
    layer = rnnfast.LSTM(3, 16, 2, bidirectional=True, proj_size=4)
    assert {k: p.shape for k, p in params.items()} == {
        k: p.shape for k, p in layer.state_dict().items()
    }
    values = np.concatenate([np.ravel(p) for p in params.values()])
    assert values.dtype == np.float64
    assert np.abs(values).max() <= 0.25
    assert abs(values.std() - 0.25 / 3**0.5) < 0.01  # 9 standard errors
    assert_same(params, net.init(jax.random.key(3), jnp.float64))


X = np.zeros((4, 2, 3), np.float32)
H0 = np.zeros((1, 2, 5), np.float32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": X[..., :2]}, ValueError, "x: expected shape (..., input_size = 3), got (4, 2, 2)"),
        ({"x": X[0, 0]}, ValueError, "x: expected shape (seq_len, batch, input_size), got (3,)"),
        ({"x": X > 0}, TypeError, "x: expected floating-point numbers, got bool"),
        ({"state": H0}, TypeError, "state: expected a tuple of 2 arrays, the states of cell"),
        ({"state": (H0, H0[:, :1])}, ValueError, "state: expected shape (num_layers*num_direction"),
        ({"lengths": [1.0, 2.0]}, TypeError, "lengths: expected integers, got float"),
        ({"lengths": [1]}, ValueError, "lengths: expected shape (batch,) = (2,), got (1,)"),
        (
            {"lengths": np.array([2**32 + 1, 2])},
            ValueError,
            "lengths: expected values in [0, seq_len], got 4294967297",
        ),
        ({"params": {}}, ValueError, "params: missing 'weight_ih_l0', 'weight_hh_l0'"),
        ({"params": []}, TypeError, "params: expected a dict, got list"),
    ],
)
def test_a_wrong_argument_is_named(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    net = door.Network("lstm", 3, 5)
    call = {"params": net.init(jax.random.key(0)), "x": X} | change
    with pytest.raises(error, match=re.escape(message)):
        net.apply(**call)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "lst"}, "cell: expected a name in rnnfast.cells.ZOO"),
        ({"hidden_size": 0}, "hidden_size: expected at least 1, got 0"),
        ({"proj_size": 2, "cell": "gru"}, "proj_size: expected 0, as the cell 'gru' has no proj"),
        ({"precision": "half"}, "precision: expected one of full, bfloat16, got 'half'"),
    ],
)
def test_a_wrong_option_is_named(change: dict[str, Any], message: str) -> None:
    options = {"cell": "lstm", "input_size": 3, "hidden_size": 5} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        door.Network(**options)


def test_wrong_parameters_are_named() -> None:
    params = door.Network("lstm", 3, 5).init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"params\['bias_hh_l0'\]: expected shape \(20,\), got"):
        door.lstm(X, params | {"bias_hh_l0": jnp.zeros(19)})
    with pytest.raises(ValueError, match="params: unexpected 'bias'"):
        door.lstm(X, params | {"bias": jnp.zeros(20)})
    with pytest.raises(ValueError, match=r"params\['weight_ih_l0'\]: expected a matrix, got no"):
        door.lstm(X, {})
    double = jax.tree.map(lambda p: p.astype(jnp.float64), params)
    with pytest.raises(TypeError, match="precision: expected float32 arrays for bfloat16"):
        door.lstm(X, double, precision="bfloat16")


def test_a_length_that_is_out_of_range() -> None:
    net = door.Network("lstm", 3, 5)
    params = net.init(jax.random.key(0))
    with pytest.raises(
        jax.errors.JaxRuntimeError, match=r"lengths\[1\]: expected 0 to seq_len = 4"
    ):
        jax.block_until_ready(net.apply(params, X, lengths=[4, 5]))


@pytest.mark.parametrize("length", [2**32 + 1, 2**33, 2**63 - 1, -(2**32) + 1])
def test_a_length_beyond_int32_in_a_compiled_program(length: int) -> None:
    net = door.Network("lstm", 3, 5)
    params = net.init(jax.random.key(0))
    run = jax.jit(lambda lengths: net.apply(params, X, lengths=lengths))
    with pytest.raises(
        jax.errors.JaxRuntimeError, match=r"lengths\[1\]: expected 0 to seq_len = 4"
    ):
        jax.block_until_ready(run(jnp.array([4, length])))


@pytest.mark.parametrize("shape", [(0, 4, 2, 3), (6, 0, 2, 3), (6, 4, 0, 3)], ids=str)
def test_vmap_over_arrays_without_elements(shape: tuple[int, ...]) -> None:
    net = door.Network("lstm", 3, 5)
    params = net.init(jax.random.key(0))
    y, (h, c) = jax.vmap(lambda x: net.apply(params, x))(jnp.zeros(shape))
    assert y.shape == (*shape[:3], 5)
    assert h.shape == c.shape == (shape[0], 1, shape[2], 5)
