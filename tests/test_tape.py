"""The vocabulary of cells: values, derivatives, ties and errors, on NumPy arrays and tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tolerances
from rnnfast.reference import tape
from rnnfast.reference.tape import Var, backward

Function = Callable[..., Any]  # of values a, b and a parameter p, and positive on them


def number(v: Any) -> Any:
    """Return a value larger than 0 and away from kinks."""
    return abs(v) + 0.3


FUNCTIONS: dict[str, Function] = {
    "a + b": lambda a, b, p: a + b + p,
    "a + number": lambda a, _b, _p: 2 + a + 0.5,
    "a - b": lambda a, b, p: a - b - p,
    "number - a": lambda a, _b, _p: 2 - (a - 0.5),
    "a * b": lambda a, b, p: a * b * p,
    "number * a": lambda a, _b, _p: 2 * a * 0.7,
    "a / b": lambda a, b, p: a / number(b) / number(p),
    "number / a": lambda a, _b, p: 2 / number(a) + 3 / number(p) / 0.7,
    "-a": lambda a, b, p: -a * (-b) - (-p),
    "abs": lambda a, b, p: abs(a) * abs(b) * abs(p),
    "powers": lambda a, b, p: a**2 + b**3 + number(p) ** 0.5 + number(a) ** -1 + b**0 + a**1,
    "sigmoid": lambda a, b, p: tape.sigmoid(a) * tape.sigmoid(b * p),
    "tanh": lambda a, b, p: tape.tanh(a) * tape.tanh(b * p),
    "relu": lambda a, b, p: tape.relu(a) * b + tape.relu(p),
    "exp": lambda a, b, p: tape.exp(a) * b + tape.exp(p),
    "log": lambda a, b, p: tape.log(number(a)) * b + tape.log(number(p)),
    "softplus": lambda a, b, p: tape.softplus(a) * b + tape.softplus(30 * p) + tape.softplus(-p),
    "hard_sigmoid": lambda a, b, p: tape.hard_sigmoid(3 * a) * b + tape.hard_sigmoid(p),
    "maximum": lambda a, b, p: tape.maximum(a, b) * tape.maximum(b, 0.1) + tape.maximum(p, a),
    "minimum": lambda a, b, p: tape.minimum(a, b) * tape.minimum(b, 0.1) + tape.minimum(a, p),
    "where": lambda a, b, p: (
        tape.where(a > b, a, p) * tape.where(a <= 0.2, b, 0.3) + tape.where(b > 0.1, 2, a * b)
    ),
    "comparisons": lambda a, b, p: (
        tape.where(a < b, a, b * b) + tape.where(a >= p, a * a, p) * tape.where(p <= b, 1.0, b)
    ),
    "normalize": lambda a, b, p: tape.normalize(a) * b + tape.normalize(a * p, eps=0.1),
}


def arrays() -> list[NDArray]:
    """Return a (4, 5), b (4, 5) and a row p (5,), with no element near another or near 0."""
    rng = np.random.default_rng(7)
    values = rng.permutation(np.concatenate([np.linspace(-2, -0.1, 22), np.linspace(0.15, 2, 23)]))
    return [values[:20].reshape(4, 5), values[20:40].reshape(4, 5), values[40:]]


def value_and_gradients(function: Function, inputs: list[NDArray]) -> tuple[NDArray, list[NDArray]]:
    """Return the value on the tape, and the gradients of its sum weighted by 0, 1, 2, ..."""
    variables = [Var(v) for v in inputs]
    result = function(*variables)
    backward([(result, np.arange(float(result.value.size)).reshape(result.value.shape))])
    return result.value, [tape.gradient_of(v) for v in variables]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_by_central_differences(name: str) -> None:
    function, inputs, step = FUNCTIONS[name], arrays(), tolerances.CENTRAL_DIFFERENCE_STEP
    value, gradients = value_and_gradients(function, inputs)
    weights = np.arange(float(value.size)).reshape(value.shape)
    for values, gradient in zip(inputs, gradients, strict=True):
        difference = np.zeros_like(values)
        for i in np.ndindex(values.shape):
            here, sums = values[i], []
            for there in (here + step, here - step):
                values[i] = there
                sums.append((function(*map(Var, inputs)).value * weights).sum())
            values[i] = here
            difference[i] = (sums[0] - sums[1]) / (2 * step)
        largest = max(1.0, np.abs(difference).max())
        assert np.abs(gradient - difference).max() <= tolerances.CENTRAL_DIFFERENCE * largest


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tensors_have_the_same_values_and_gradients(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import rnnfast.torch  # noqa: F401  (registers tensors)

    inputs = [v.astype(dtype) for v in arrays()]
    value, gradients = value_and_gradients(FUNCTIONS[name], inputs)
    tensors = [torch.tensor(v, requires_grad=True) for v in inputs]
    result = FUNCTIONS[name](*tensors)
    assert result.dtype == tensors[0].dtype
    assert value.dtype == dtype
    weights = torch.arange(float(result.numel()), dtype=result.dtype).reshape(result.shape)
    (result * weights).sum().backward()
    got = [result.detach(), *(torch.zeros_like(t) if t.grad is None else t.grad for t in tensors)]
    for tensor, expected in zip(got, [value, *gradients], strict=True):
        largest = max(1.0, np.abs(expected).max())
        error = np.abs(tensor.numpy() - expected).max()
        assert error <= 100 * np.finfo(dtype).eps * largest


# PyTorch warns itself when forward-mode derivatives are first used.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_tensors_have_second_and_forward_mode_derivatives(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import rnnfast.torch  # noqa: F401  (registers tensors)

    tensors = [torch.tensor(v, requires_grad=True) for v in arrays()]
    check = torch.autograd.gradcheck
    assert check(FUNCTIONS[name], tensors, fast_mode=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(FUNCTIONS[name], tensors, fast_mode=True)


def tied(library: str, function: Function, a: list[float], b: list[float]) -> list[list[float]]:
    """Return the gradients by a and b of the sum of a function, on the tape or on tensors."""
    if library == "tape":
        variables = [Var(np.array([a])), Var(np.array([b]))]
        result = function(*variables)
        backward([(result, np.ones_like(result.value))])
        return [tape.gradient_of(v)[0].tolist() for v in variables]
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import rnnfast.torch  # noqa: F401  (registers tensors)

    tensors = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (a, b)]
    function(*tensors).sum().backward()
    return [(torch.zeros_like(t) if t.grad is None else t.grad).tolist() for t in tensors]


@pytest.mark.parametrize("library", ["tape", "torch"])
def test_derivatives_where_values_are_equal(library: str) -> None:
    of_both = [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]
    assert tied(library, tape.maximum, *of_both) == [[0, 1, 1], [1, 0, 0]]
    assert tied(library, tape.minimum, *of_both) == [[1, 1, 0], [0, 0, 1]]
    zero = [0.0, 1.0], [0.0, 0.0]
    assert tied(library, lambda a, _: tape.maximum(a, 0.0), *zero)[0] == [1, 1]
    assert tied(library, lambda a, _: tape.minimum(a, 0.0), *zero)[0] == [1, 0]
    assert tied(library, lambda a, _: tape.relu(a), *zero)[0] == [0, 1]
    assert tied(library, lambda a, _: abs(a), *zero)[0] == [0, 1]
    assert tied(library, lambda a, _: a**0 + a**1, *zero)[0] == [1, 1]
    assert tied(library, lambda a, b: tape.where(a > b, a, b), *zero) == [[0, 1], [1, 0]]
    assert tied(library, lambda a, b: tape.where(a >= b, a, b), *zero) == [[1, 1], [0, 0]]
    ends = [-2.5, 2.5, -2.6, 2.6], [0.0] * 4
    assert tied(library, lambda a, _: tape.hard_sigmoid(a), *ends)[0] == [0.2, 0.2, 0, 0]


def test_nan_stays_nan() -> None:
    nan, one = Var(np.array([np.nan])), Var(np.array([1.0]))
    for function in (tape.maximum, tape.minimum):
        for pair in ((nan, one), (one, nan), (nan, 0.0)):
            assert np.isnan(function(*pair).value).all()
    for function in (tape.relu, tape.hard_sigmoid, tape.softplus, tape.sigmoid, tape.tanh, abs):
        assert np.isnan(function(nan).value).all()


def test_extreme_arguments_overflow_nowhere() -> None:
    far = Var(np.array([-1e4, 1e4]))
    assert tape.softplus(far).value.tolist() == [0, 1e4]
    assert tape.sigmoid(far).value.tolist() == [0, 1]
    assert value_and_gradients(tape.softplus, [far.value])[1][0].tolist() == [0, 1]


def test_normalize_is_layer_norm_without_its_weights() -> None:
    rows = Var(np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]))
    expected = 1 / np.sqrt(2 / 3 + 1e-5)
    np.testing.assert_allclose(tape.normalize(rows).value, [[-expected, 0, expected], [0, 0, 0]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda _: tape.sigmoid(0.5), r"sigmoid: expected a value of the step .* got 0.5 of type"),
        (lambda v: tape.maximum(0.0, v), r"maximum: expected a value of the step as first"),
        (lambda v: tape.normalize([v]), r"normalize: expected a value of the step .* type list"),
        (lambda v: tape.where(v, v, 0.0), r"where: expected a comparison .* of type Var"),
        (lambda v: tape.where(v > 0, 1.0, 0.0), r"where: expected a or b .* got 1.0 and 0.0"),
        (lambda v: v**v, r"unsupported operand"),
    ],
)
def test_wrong_arguments_are_named(wrong: Function, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        wrong(Var(np.ones((1, 2))))
