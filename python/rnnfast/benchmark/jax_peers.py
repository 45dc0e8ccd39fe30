"""JAX as a peer, and rnnfast's door to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnnfast.benchmark.case import Case, Data
from rnnfast.benchmark.peer import Contestant, Results, UnavailableError, named, need


def scan(case: Case, data: Data, *, unroll: int) -> Contestant:
    """Return `jax.lax.scan` over the steps of the cell, compiled as a whole by `jax.jit`.

    The input product of all steps is outside of the loop, and a step multiplies by all of
    weight_hh at once. `unroll` is the argument of `jax.lax.scan`.
    """
    need("jax")
    if case.precision != "full":
        raise UnavailableError("JAX's loop is not measured with bfloat16 products")
    check_threads(case)
    from rnnfast.jax import stepwise
    from rnnfast.jax.call import Call

    call = Call(case.cell, 1, 1, case.shape.hidden_size, 0, True, "full", False, False)

    def run(params: dict[str, Any], x: Any) -> Any:
        return stepwise.forward(x, *params.values(), call=call, unroll=unroll)[0]

    return _by_names(case, data, run)


def door(case: Case, data: Data) -> Contestant:
    """Return `rnnfast.jax` as a contestant."""
    need("jax")
    from rnnfast.jax import recurrent

    def run(params: dict[str, Any], x: Any) -> Any:
        of_layer = {f"{name}_l0": weight for name, weight in params.items()}
        return recurrent(case.cell, x, of_layer, precision=case.precision)[0]

    return _by_names(case, data, run)


def check_threads(case: Case) -> None:
    """Raise `UnavailableError` if a case does not have the threads that XLA uses."""
    cpus = len(os.sched_getaffinity(0))
    if case.threads != cpus:
        raise UnavailableError(f"JAX uses all {cpus} CPUs, whatever the number of threads")


def _by_names(case: Case, data: Data, run: Callable[[dict[str, Any], Any], Any]) -> Contestant:
    """Return a function of the weights by name and of x as a contestant."""
    weights = named(data.weights)

    def by_name(values: list[Any]) -> dict[str, Any]:
        return dict(zip(weights, values, strict=True))  # as dicts lose their order in JAX

    return compiled(
        case,
        data,
        lambda values, x: run(by_name(values), x),
        list(weights.values()),
        lambda gradients: {name: np.asarray(g) for name, g in by_name(gradients).items()},
    )


def compiled(
    case: Case,
    data: Data,
    run: Callable[[list[Any], Any], Any],
    weights: Sequence[ArrayLike],
    named_gradients: Callable[[list[Any]], Results],
) -> Contestant:
    """Return a function as a contestant, compiled by JAX.

    Args:
        case: The case.
        data: Its data.
        run: Returns y for the weights and x.
        weights: The weights.
        named_gradients: Returns the gradients of the weights by PyTorch's names.
    """
    import jax
    import jax.numpy as jnp

    if case.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    values = [jnp.asarray(w) for w in weights]
    x, dy = jnp.asarray(data.x), jnp.asarray(data.dy)

    def step(values: list[Any], x: Any, dy: Any) -> Any:
        y, back = jax.vjp(run, values, x)
        return y, back(dy)

    if not case.training:
        inference = jax.jit(run)
        return lambda: inference(values, x).block_until_ready(), lambda y: {"y": np.asarray(y)}
    training = jax.jit(step)
    return lambda: jax.block_until_ready(training(values, x, dy)), lambda r: {
        "y": np.asarray(r[0]),
        "dx": np.asarray(r[1][1]),
        **named_gradients(r[1][0]),
    }
