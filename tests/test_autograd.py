"""Tensors: operations and their gradients, the traversal of the graph, and refusals."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import autograd
from tolerances import TORCH_RELATIVE_FLOAT64

POSITIVE = np.random.default_rng(3).uniform(0.5, 2, (2, 3))


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


A, B, ROW, COLUMN = reals(2, 3), reals(2, 3, seed=1), reals(3, seed=2), reals(2, 1, seed=4)
AWAY = np.where(np.abs(B) < 0.1, 0.5, B)  # keeps values away from zero

# Operations of rnnfast.autograd, or of PyTorch, as `m`, with their arguments.
ALIKE: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "a + b": (lambda _, a, b: a + b, (A, B)),
    "a + row": (lambda _, a, b: a + b, (A, ROW)),
    "row - a": (lambda _, a, b: b - a, (A, ROW)),
    "a - number": (lambda _, a: (a - 2.0) * a, (A,)),
    "number - a": (lambda _, a: (2.0 - a) * a, (A,)),
    "a * column": (lambda _, a, b: a * b, (A, COLUMN)),
    "column * row": (lambda _, a, b: a * b, (COLUMN, ROW)),
    "a * a": (lambda _, a: a * a, (A,)),
    "3 * a": (lambda _, a: 3 * a, (A,)),
    "a / b": (lambda _, a, b: a / b, (A, AWAY)),
    "row / column": (lambda _, a, b: a / b, (ROW, COLUMN)),
    "number / a": (lambda _, a: 2 / a, (AWAY,)),
    "a ** 3": (lambda _, a: a**3, (A,)),
    "a ** 0": (lambda _, a: a**0 * a, (A,)),
    "a ** -0.5": (lambda _, a: a**-0.5, (POSITIVE,)),
    "a ** b": (lambda _, a, b: a**b, (POSITIVE, B)),
    "a ** row": (lambda _, a, b: a**b, (POSITIVE, ROW)),
    "2 ** a": (lambda _, a: 2**a, (A,)),
    "-a": (lambda _, a: -a, (A,)),
    "abs(a)": (lambda _, a: abs(a), (AWAY,)),
    "a @ b": (lambda _, a, b: a @ b, (A, reals(3, 4))),
    "a @ vector": (lambda _, a, b: a @ b, (A, ROW)),
    "vector @ a": (lambda _, a, b: a @ b, (reals(2), A)),
    "vector @ vector": (lambda _, a, b: a @ b, (ROW, reals(3))),
    "batch @ matrix": (lambda _, a, b: a @ b, (reals(5, 2, 3), reals(3, 4))),
    "matrix @ batch": (lambda _, a, b: a @ b, (A, reals(5, 3, 4))),
    "batch @ batch": (lambda _, a, b: a @ b, (reals(5, 1, 2, 3), reals(4, 3, 2))),
    "batch @ vector": (lambda _, a, b: a @ b, (reals(5, 2, 3), ROW)),
    "vector @ batch": (lambda _, a, b: a @ b, (ROW, reals(5, 3, 2))),
    "matmul": (lambda m, a, b: m.matmul(a, b), (A, reals(3, 4))),
    "a[1]": (lambda _, a: a[1], (A,)),
    "a[1, 2]": (lambda _, a: a[1, 2], (A,)),
    "a[:, 1:]": (lambda _, a: a[:, 1:], (A,)),
    "a[..., None]": (lambda _, a: a[..., None], (A,)),
    "a[[1, 0, 1]]": (lambda _, a: a[[1, 0, 1]], (A,)),
    "a[a > 0]": (lambda _, a: a[a > 0], (AWAY,)),
    "parts of one": (lambda _, a: a[0] * a[1] + a[1] + a[:, :1] * a[1, 2], (A,)),
    "sum": (lambda _, a: a.sum(), (A,)),
    "sum of an axis": (lambda _, a: a.sum(axis=0) * a, (A,)),
    "sum that keeps": (lambda _, a: a.sum(axis=-1, keepdims=True) * a, (A,)),
    "sum of two axes": (lambda _, a: a.sum(axis=(0, -1)), (reals(2, 3, 4),)),
    "mean": (lambda _, a: a.mean(), (A,)),
    "mean of an axis": (lambda _, a: a.mean(axis=1, keepdims=True) * a, (A,)),
    "reshape": (lambda _, a: a.reshape(3, 2)[0] + a.reshape((-1, 2))[1], (A,)),
    "swapaxes": (lambda _, a: a.swapaxes(0, -1)[2], (reals(2, 3, 4),)),
    "T": (lambda _, a, b: a.T * b, (A, reals(3, 2))),
    "exp": (lambda m, a: m.exp(a), (A,)),
    "log": (lambda m, a: m.log(a), (POSITIVE,)),
    "sqrt": (lambda m, a: m.sqrt(a), (POSITIVE,)),
    "tanh": (lambda m, a: m.tanh(a), (A,)),
    "sigmoid": (lambda m, a: m.sigmoid(a), (A,)),
    "relu": (lambda m, a: m.relu(a), (AWAY,)),
    "softmax": (lambda m, a: m.softmax(a, -1), (A,)),
    "softmax of an axis": (lambda m, a: m.softmax(a, 0), (reals(2, 3, 4),)),
    "log_softmax": (lambda m, a: m.log_softmax(a, -1), (A,)),
    "log_softmax of an axis": (lambda m, a: m.log_softmax(a, 1), (reals(2, 3, 4),)),
    "maximum": (lambda m, a, b: m.maximum(a, b), (A, B)),
    "maximum with a row": (lambda m, a, b: m.maximum(a, b), (A, ROW)),
    "minimum": (lambda m, a, b: m.minimum(a, b), (A, COLUMN)),
    "where": (lambda m, a, b: m.where(a > b, a, b * b), (A, ROW)),
    "concatenate": (lambda m, a, b: m.concatenate([a, b, a], -1), (A, COLUMN)),
    "concatenate along time": (lambda m, a, b: m.concatenate([a, b], 0), (A, B)),
    "stack": (lambda m, a, b: m.stack([a, b, a]), (A, B)),
    "stack at the end": (lambda m, a, b: m.stack([a, b], -1), (A, B)),
}
# Operations that have other names in PyTorch.
OWN: dict[str, tuple[Callable[..., Any], Callable[..., Any], np.ndarray]] = {
    "max": (lambda a: a.max(), lambda a: a.amax(), A),
    "max of an axis": (lambda a: a.max(axis=0), lambda a: a.amax(0), A),
    "max that keeps": (lambda a: a.max(1, True) * a, lambda a: a.amax(1, True) * a, A),
    "transpose": (
        lambda a: a.transpose(2, 0, -2)[1],
        lambda a: a.permute(2, 0, 1)[1],
        reals(2, 3, 4),
    ),
    "transpose by a tuple": (
        lambda a: a.transpose((1, 0, 2))[1],
        lambda a: a.permute(1, 0, 2)[1],
        reals(2, 3, 4),
    ),
}


@pytest.mark.parametrize("name", ALIKE)
def test_gradients_are_those_of_central_differences(name: str) -> None:
    function, arguments = ALIKE[name]
    assert rnnfast.gradcheck(lambda *tensors: function(autograd, *tensors), arguments)


@pytest.mark.parametrize("name", OWN)
def test_gradients_of_methods_are_those_of_central_differences(name: str) -> None:
    function, _, argument = OWN[name]
    assert rnnfast.gradcheck(function, argument)


def compared_with_torch(ours: Any, theirs: Any, arguments: Any) -> None:
    """Check a result and its gradients against PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    inputs = [rnnfast.tensor(a, requires_grad=True) for a in arguments]
    twins = [torch.tensor(a, requires_grad=True) for a in arguments]
    result, expected = ours(*inputs), theirs(*twins)
    assert result.shape == tuple(expected.shape)
    weights = reals(*result.shape, seed=9)
    result.backward(weights)
    expected.backward(torch.from_numpy(weights))
    pairs = [(result.value, expected.detach().numpy())]
    pairs += [(x.grad, twin.grad.numpy()) for x, twin in zip(inputs, twins, strict=True)]
    for got, wanted in pairs:
        largest = np.abs(wanted).max(initial=0)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=TORCH_RELATIVE_FLOAT64 * largest)


@pytest.mark.parametrize("name", ALIKE)
def test_results_and_gradients_are_those_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    function, arguments = ALIKE[name]
    compared_with_torch(
        lambda *tensors: function(autograd, *tensors),
        lambda *tensors: function(torch, *tensors),
        arguments,
    )


@pytest.mark.parametrize("name", OWN)
def test_results_and_gradients_of_methods_are_those_of_torch(name: str) -> None:
    ours, theirs, argument = OWN[name]
    compared_with_torch(ours, theirs, [argument])


def test_gradients_at_kinks_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    zeros, ties = np.zeros(3), np.array([[1.0, 2.0, 2.0], [2.0, 0.0, 1.0]])
    compared_with_torch(abs, abs, [zeros])
    compared_with_torch(autograd.relu, torch.relu, [zeros])
    compared_with_torch(lambda a: a**0, lambda a: a**0, [zeros])
    compared_with_torch(lambda a: a**2.0, lambda a: a**2.0, [zeros])
    compared_with_torch(lambda a, b: a**b, lambda a, b: a**b, [zeros, np.arange(3.0)])
    compared_with_torch(autograd.maximum, torch.maximum, [zeros, zeros])
    compared_with_torch(autograd.minimum, torch.minimum, [zeros, np.array([0.0, 1, -1])])
    compared_with_torch(lambda a: a.max(), lambda a: a.amax(), [ties])
    compared_with_torch(lambda a: a.max(axis=1), lambda a: a.amax(1), [ties])


@pytest.mark.parametrize("size", [-1000.0, 1000.0])
def test_large_values_do_not_overflow(size: float) -> None:
    x = rnnfast.tensor(np.array([size, 0.0]), requires_grad=True)
    y = autograd.softmax(x) + autograd.log_softmax(x)[::-1] * 0 + autograd.sigmoid(x)
    y.sum().backward()
    assert np.isfinite(y.value).all()
    assert np.isfinite(x.grad).all()


def test_comparisons_give_plain_bools() -> None:
    a = rnnfast.tensor([1.0, 2.0, 3.0])
    for got, expected in (
        (a < 2, [True, False, False]),
        (a <= a[1], [True, True, False]),
        (a > np.array([0, 2, 2]), [True, False, True]),
        (np.array(2.0) >= a, [True, True, False]),
        (a == 2, [False, True, False]),
        (a != 2, [True, False, True]),
    ):
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, expected)
    assert a[2] > 2
    assert not a[0] > 2
    assert bool(a[0])
    assert len({a, a}) == 1


def test_arrays_and_numbers_of_numpy_stand_on_either_side() -> None:
    x = rnnfast.tensor(A, requires_grad=True)
    for result in (A + x, x + A, np.float64(2) * x, x * np.float64(2), A @ x.T, x / 2, 1 / (x + 9)):
        assert type(result) is rnnfast.Tensor
    (A[0] * x - np.float64(3) + A.T[:, 0] ** 2 * x).sum().backward()
    np.testing.assert_allclose(x.grad, np.broadcast_to(A[0] + A.T[:, 0] ** 2, (2, 3)), rtol=1e-15)


def test_float32_stays_float32_beside_numbers_and_gradients_have_their_tensors_dtype() -> None:
    x = rnnfast.tensor(A.astype("f4"), requires_grad=True)
    wide = rnnfast.tensor(B, requires_grad=True)
    y = autograd.sigmoid(2 * x + 1) ** 2 / 3 - 0.5
    assert y.dtype == np.float32
    (y.mean() * y[1:] * wide + x.max() * x**-2.0).sum().backward()
    assert x.grad.dtype == np.float32
    assert wide.grad.dtype == np.float64


def test_what_is_used_several_times_gets_the_sum_in_the_same_bits_each_time() -> None:
    def gradients() -> list[np.ndarray]:
        x, w = (rnnfast.tensor(v, requires_grad=True) for v in (reals(20, 30), reals(30, 30)))
        y = x
        for _ in range(10):
            y = autograd.tanh(y @ w) * x + y[::-1] - y[3] * w[2:22]
        y.sum().backward()
        return [x.grad, w.grad]

    first = gradients()
    for got, expected in zip(gradients(), first, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_gradient_that_several_have_is_nowhere_written_to() -> None:
    a, b = (rnnfast.tensor(np.ones(2), requires_grad=True) for _ in range(2))
    inner = a + b
    given = np.ones(2)
    (inner + inner + a).backward(given)
    np.testing.assert_array_equal(given, 1)
    np.testing.assert_array_equal(a.grad, 3)
    np.testing.assert_array_equal(b.grad, 2)
    assert not np.shares_memory(a.grad, b.grad)


def test_backward_adds_to_what_is_there() -> None:
    x = rnnfast.tensor(A, requires_grad=True)
    assert x.grad is None
    (x * 2).sum().backward()
    (x * 3)[1, 2].backward()
    expected = np.full((2, 3), 2.0)
    expected[1, 2] = 5
    np.testing.assert_array_equal(x.grad, expected)
    x.sum().backward()
    np.testing.assert_array_equal(x.grad, expected + 1)


def test_a_leaf_takes_its_own_gradient() -> None:
    x = rnnfast.tensor(2.0, requires_grad=True)
    x.backward()
    x.backward(3)
    assert x.grad == 4


@pytest.mark.parametrize(
    "index",
    [[1, 1], np.array([1, 1]), rnnfast.tensor([1, 1]), (rnnfast.tensor([1, 1]), slice(None))],
)
def test_what_an_index_names_twice_gets_both_gradients(index: Any) -> None:
    x = rnnfast.tensor(A, requires_grad=True)
    (x[index] * np.array([[2.0], [3.0]])).sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0, 0], [5, 5, 5]])


def test_no_gradient_goes_through_detach() -> None:
    x = rnnfast.tensor(A, requires_grad=True)
    assert not x.detach().requires_grad
    (x.detach() * x).sum().backward()
    np.testing.assert_array_equal(x.grad, A)


def test_nothing_is_recorded_without_a_need() -> None:
    y = autograd.tanh(rnnfast.tensor(A) @ B.T) + 1
    assert not y.requires_grad
    with pytest.raises(RuntimeError, match=r"backward: .*, got one computed from none"):
        y.sum().backward()


def test_a_second_backward_is_refused_and_changes_nothing() -> None:
    x, other = (rnnfast.tensor(A, requires_grad=True) for _ in range(2))
    shared = autograd.exp(x)
    first, second = shared.sum(), (shared * other).sum()
    first.backward()
    before = x.grad.copy()
    for result in (first, second):
        with pytest.raises(RuntimeError, match="an earlier `backward` has reached"):
            result.backward()
    np.testing.assert_array_equal(x.grad, before)
    assert other.grad is None


def test_backward_frees_what_operations_kept() -> None:
    x = rnnfast.tensor(A, requires_grad=True)
    inner = autograd.exp(x)
    kept = weakref.ref(inner.value)
    y = (inner * inner).sum()
    del inner
    gc.collect()
    assert kept() is not None
    y.backward()
    assert kept() is None


def test_a_graph_is_freed_with_its_results_without_the_collector() -> None:
    gc.disable()
    try:
        y = autograd.exp(rnnfast.tensor(A, requires_grad=True))
        kept = weakref.ref(y.value)
        del y
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("differentiated", [True, False])
def test_a_graph_can_be_deep(differentiated: bool) -> None:
    x = y = rnnfast.tensor(1.0, requires_grad=True)
    for _ in range(20_000):
        y = y * 1.0
    if differentiated:
        y.backward()
        assert x.grad == 1
    del y


def test_an_error_on_the_way_frees_the_graph() -> None:
    x = rnnfast.tensor(A, requires_grad=True)
    layer = rnnfast.Linear(3, 3, dtype="float64")
    y = autograd.tanh(layer(x * 2)).sum()
    layer.weight[...] = 0
    with pytest.raises(RuntimeError, match="x, weight: expected the values of the forward pass"):
        y.backward()
    with pytest.raises(RuntimeError, match="an earlier `backward` has reached"):
        y.backward()
    assert x.grad is None


def test_what_is_computed_is_read_only_and_what_was_given_is_not() -> None:
    x = rnnfast.tensor(A.copy(), requires_grad=True)
    for result in (x + 1, x[0], x.T, x.reshape(6), x.sum()):
        with pytest.raises(ValueError, match="read-only"):
            result.value[...] = 0
    x.value[...] = 0


def test_parameters_take_part() -> None:
    layer = rnnfast.Linear(3, 4, dtype="float64", seed=1)
    layer.bias.grad[...] = 1
    for w in (layer.weight.tensor(), rnnfast.tensor(layer.weight)):
        assert w.requires_grad
        assert w.grad is layer.weight.grad
        (w * w).sum().backward()
    (rnnfast.tensor(A) @ layer.weight.tensor().T * layer.bias + layer.bias).sum().backward()
    weight, bias = layer.weight.value, layer.bias.value
    expected = 4 * weight + np.outer(bias, A.sum(axis=0))
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(
        layer.bias.grad, 3 + (A @ weight.T).sum(axis=0), rtol=1e-14, atol=1e-14
    )


def test_numpy_and_functions_of_arrays_refuse_tensors() -> None:
    x = rnnfast.tensor(A, requires_grad=True)
    for function in (
        np.asarray,
        lambda t: np.asarray([t, t]),
        lambda t: rnnfast.cross_entropy(A, t),
        lambda t: rnnfast.GRU(3, 4)(A[None], t),
        lambda t: rnnfast.LSTM(3, 4)(A[None], (t, t)),
        lambda t: rnnfast.GRU(3, 4).stream(2)(t),
    ):
        with pytest.raises(TypeError, match="expected an array, got a Tensor"):
            function(x)
    with pytest.raises(TypeError, match="ufunc"):
        np.tanh(x)
    np.testing.assert_array_equal(np.asarray(x.detach()), A)  # a detached tensor has no gradient


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda x: x.backward(), ValueError, r"gradient: .* of shape \(2, 3\), got None"),
        (lambda x: x.backward(A[0]), ValueError, r"gradient: expected shape of the tensor = \(2"),
        (lambda x: x.backward(A + 0j), TypeError, "gradient: expected real numbers"),
        (lambda x: x + "1", TypeError, "operand: expected a Tensor, .* got str"),
        (lambda x: x * (A + 0j), TypeError, "operand: .* got ndarray of complex128"),
        (lambda x: x * np.ma.masked_array(A, A > 0), TypeError, "operand: .* without a mask"),
        (lambda x: x * [1, 2, 3], TypeError, "operand: .* got list"),
        (lambda x: autograd.tanh([x]), TypeError, "operand: .* got list"),
        (lambda x: autograd.where(A, x, 0), TypeError, "condition: expected an array of bools"),
        (lambda x: bool(x), ValueError, "ambiguous"),
        (lambda _: rnnfast.tensor("1"), TypeError, "value: expected numbers, got dtype <U1"),
        (lambda _: rnnfast.tensor(A + 0j), TypeError, "value: expected numbers, got dtype complex"),
        (
            lambda _: rnnfast.tensor([1, 2], True),
            TypeError,
            "value: expected real numbers, .* got .*int",
        ),
        (lambda _: rnnfast.tensor(np.ma.masked_array(A)), TypeError, "value: .* without a mask"),
        (lambda x: rnnfast.tensor(x.detach(), True), ValueError, "requires_grad: expected False"),
    ],
)
def test_wrong_uses_are_named(act: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act(rnnfast.tensor(A, requires_grad=True))


def test_a_tensor_tells_what_it_is() -> None:
    x = rnnfast.tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    assert repr(x) == "Tensor([1., 2.], dtype=float32, requires_grad=True)"
    assert repr(x.sum().detach()) == "Tensor(3., dtype=float32)"
    assert (x.shape, x.ndim, len(x), x.dtype) == ((2,), 1, 2, np.float32)
    assert [float(item) for item in x] == [1, 2]
    assert x[1].item() == 2
    assert rnnfast.tensor(x) is x
    array = np.zeros(3)
    assert rnnfast.tensor(array).value is array
