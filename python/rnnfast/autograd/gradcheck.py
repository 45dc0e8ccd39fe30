"""Gradient checks by central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from rnnfast._engine import backends, checks
from rnnfast.autograd.node import Array, Parameter
from rnnfast.autograd.tensor import Tensor, tensor

_Pull: TypeAlias = Callable[
    [list[Array]], dict[str, Array]
]  # gradients of results to those by name
_Run: TypeAlias = Callable[[], tuple[list[Array], _Pull]]


def gradcheck(
    function: Callable[..., Any],
    inputs: Any,
    *,
    backward: Callable[..., Any] | None = None,
    parameters: Iterable[Parameter] | None = None,
    eps: float = 1e-5,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    fast_mode: bool = False,
) -> bool:
    """Compare the gradients of a function with central differences, in float64.

    All results are multiplied by random weights, the same at each call, and summed to f. The
    gradient of f with respect to an element x is compared with (f(x + eps) - f(x - eps)) / (2 eps).
    The error of this quotient is eps^2 / 6 times the third derivative plus about 1e-16 / eps times
    the results. Where these are about 1, each part is about 1e-11, so the default tolerances leave
    room for functions whose errors are up to a thousand times larger.

    Args:
        function: A function, such as a layer or a model, that takes the inputs as tensors and
            returns tensors, also in tuples and lists. It must return the same results each time,
            so it must not use dropout.
        inputs: One argument of the function, or a tuple or list with all of them. The gradients of
            float64 arrays and of parameters are checked, also inside tuples, such as the states of
            an LSTM. Arrays of integers become tensors, and other values are passed on.
        backward: A function that takes gradients explicitly, such as a layer's `backward`, to check
            gradients without tensors. `function` then takes and returns arrays, and `backward`
            takes a gradient for each result and returns those of the inputs, in their order. It may
            return further gradients after these, which are ignored.
        parameters: Further parameters that the function depends on; None for the parameters of
            `function` if it is a module. Frozen ones are not checked. Their `value` and `grad` are
            restored before this function returns.
        eps: Step of the central differences.
        rtol: Largest difference allowed, relative to the central difference.
        atol: Largest absolute difference allowed in addition to that.
        fast_mode: Whether to compare, for each input, only one derivative in a random direction
            instead of the derivatives with respect to each element.

    Returns:
        True.

    Raises:
        AssertionError: A gradient differs; the message names the input and the element.
        TypeError: An input or a parameter is not of float64, or there is none to check, or a result
            is not a tensor.
        ValueError: Two calls return different results, or parameters are read-only.
    """
    if parameters is None:
        parameters = function.parameters() if hasattr(function, "parameters") else ()
    variables: dict[str, Array] = {}
    inputs = _mapped(lambda name, value: _own(name, value, variables), inputs, "inputs")
    parameters = _distinct(parameters, inputs)
    if not variables and not parameters:
        raise TypeError("inputs: expected at least one float64 array or parameter, got none")
    run = _by_tape(function, inputs) if backward is None else _explicit(function, backward, inputs)
    before = [p.grad.copy() for p in parameters]
    try:
        results, pull = run()
        rng = np.random.default_rng(0)
        weights = [rng.standard_normal(result.shape) for result in results]
        for p in parameters:
            p.grad[...] = 0
        of_inputs = pull(weights)
        checked = [(name, array, of_inputs[name]) for name, array in variables.items()]
        checked += [(p.name, _float64(p.name, p.value), p.grad.copy()) for p in parameters]

        def values() -> list[Array]:
            again, end = run()
            if backward is not None:
                end([np.zeros_like(w) for w in weights])  # so that no call of a layer stays pending
            return again

        if not all(map(partial(np.array_equal, equal_nan=True), results, values())):
            raise ValueError(
                "function: expected two calls with the same inputs to return the same results, got "
                "different ones; does it use dropout, or carry a state from call to call?"
            )
        for name, array, gradient in checked:
            got = _of_shape(name, gradient, array.shape)
            if fast_mode:
                direction = rng.standard_normal(array.shape)
                got = np.array(np.vdot(direction, got))
                expected = np.array(_change(values, weights, array, ..., eps * direction)) / eps
                _compare(f"{name}, in a random direction", got, expected, rtol, atol)
            else:
                places = np.ndindex(array.shape)
                changes = [_change(values, weights, array, i, eps) for i in places]
                _compare(name, got, np.reshape(changes, array.shape) / eps, rtol, atol)
    finally:
        for p, grad in zip(parameters, before, strict=True):
            p.grad[...] = grad
    return True


def _distinct(parameters: Iterable[Parameter], inputs: Any) -> list[Parameter]:
    """Return the trainable parameters, including those among the inputs, without duplicates."""
    among_inputs = (value for _, value in _flat(inputs) if _is_parameter(value))
    given = (*parameters, *among_inputs)
    distinct = {id(p.value): p for p in given if p.requires_grad}
    for parameter in distinct.values():
        parameter.check_writable()
    return list(distinct.values())


def _by_tape(function: Callable[..., Any], inputs: Any) -> _Run:
    """Return a function that runs `function` with tensors and differentiates it by the graph."""

    def run() -> tuple[list[Array], _Pull]:
        given: dict[str, Tensor] = {}

        def argument(name: str, value: Any) -> Any:
            if isinstance(value, np.ndarray) or _is_parameter(value):
                wanted = isinstance(value, np.ndarray) and value.dtype.kind == "f"
                given[name] = value = tensor(value, requires_grad=wanted)
            return value

        results = _flat(function(*_arguments(_mapped(argument, inputs, "inputs"))), "result")
        for name, result in results:
            checks.of_type(name, result, Tensor)

        def pull(weights: list[Array]) -> dict[str, Array]:
            objective = tensor(0.0)
            for (_, result), weight in zip(results, weights, strict=True):
                objective = objective + (result * weight).sum()
            if objective.requires_grad:
                objective.backward()
            zeros = {name: np.zeros_like(x.value) for name, x in given.items()}
            return zeros | {name: x.grad for name, x in given.items() if x.grad is not None}

        return [_float64(name, result.value).copy() for name, result in results], pull

    return run


def _explicit(function: Callable[..., Any], backward: Callable[..., Any], inputs: Any) -> _Run:
    """Return a function that runs `function` with arrays and differentiates it by `backward`."""

    def run() -> tuple[list[Array], _Pull]:
        returned = function(*_arguments(inputs))

        def pull(weights: list[Array]) -> dict[str, Array]:
            rest = iter(weights)
            of_results = _mapped(lambda *_: next(rest), returned, "result")
            got = [g for _, g in _flat(backward(*_arguments(of_results)), "gradient")]
            names = [name for name, _ in _flat(inputs, "inputs")]
            if len(got) < len(names):
                raise ValueError(
                    f"backward: expected one gradient for each of {len(names)} inputs, got "
                    f"{len(got)}"
                )
            return dict(zip(names, got, strict=False))

        return [_float64(name, result).copy() for name, result in _flat(returned, "result")], pull

    return run


def _change(
    values: Callable[[], list[Array]], weights: list[Array], array: Array, index: Any, step: Any
) -> float:
    """Return half the change of the weighted sum of results from a step down to a step up."""
    old = array[index].copy()
    try:
        array[index] = old + step
        above = values()
        array[index] = old - step
        below = values()
    finally:
        array[index] = old
    pairs = zip(weights, above, below, strict=True)
    return float(sum(np.vdot(w, a - b) for w, a, b in pairs)) / 2


def _own(name: str, value: Any, variables: dict[str, Array]) -> Any:
    """Return a copy of an array of reals, which is added to the variables, or any other value."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = variables[name] = _float64(name, value).copy()
    return value


def _float64(name: str, value: Any) -> Array:
    array: Array = backends.array_of(name, value)
    if array.dtype != np.float64:
        raise TypeError(
            f"{name}: expected float64, as central differences need more digits than other dtypes "
            f"have, got {array.dtype}"
        )
    return array


def _of_shape(name: str, gradient: Any, shape: tuple[int, ...]) -> Array:
    array = np.asarray(np.nan if gradient is None else gradient)
    if array.shape != shape:
        got = "None" if gradient is None else f"one of shape {array.shape}"
        raise AssertionError(f"{name}: expected a gradient of shape {shape}, got {got}")
    return array


def _compare(name: str, got: Array, expected: Array, rtol: float, atol: float) -> None:
    error = np.abs(got - expected)
    excess = np.where(np.isnan(error), np.inf, error - (atol + rtol * np.abs(expected)))
    if not (excess > 0).any():
        return
    worst = tuple(map(int, np.unravel_index(np.argmax(excess), excess.shape)))
    element = f", element {worst}" if worst else ""
    raise AssertionError(
        f"{name}{element}: expected the gradient {expected[worst]:.10g} by central differences, "
        f"got {got[worst]:.10g}; {np.count_nonzero(excess > 0)} of the {excess.size} values "
        f"compared differ by more than atol + rtol * |expected| with atol = {atol}, rtol = {rtol}"
    )


def _is_parameter(value: Any) -> bool:
    return hasattr(value, "check_writable")


def _arguments(structure: Any) -> tuple[Any, ...]:
    return tuple(structure) if isinstance(structure, (tuple, list)) else (structure,)


def _mapped(function: Callable[[str, Any], Any], structure: Any, name: str) -> Any:
    """Apply a function of name and value to each item of nested tuples and lists."""
    if not isinstance(structure, (tuple, list)):
        return function(name, structure)
    return tuple(_mapped(function, item, f"{name}[{i}]") for i, item in enumerate(structure))


def _flat(structure: Any, name: str = "") -> list[tuple[str, Any]]:
    """Return the name and value of each item of nested tuples and lists."""
    items: list[tuple[str, Any]] = []
    _mapped(lambda *item: items.append(item), structure, name)
    return items
