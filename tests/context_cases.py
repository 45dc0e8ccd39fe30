"""Helpers for tests of contexts: their data, and the results of the reference and of layers."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import cases
import rnnfast
from cases import Case, Data
from rnnfast._engine.known import cell_named

C = 6


class Context(NamedTuple):
    """A context, and its weights for each layer and direction."""

    values: NDArray  # (B, C) or (T, B, C)
    weights: list[NDArray]


def make_context(case: Case, by_step: bool) -> Context:
    """Return the context of a case, which only depends on its sizes and cell."""
    rng = np.random.default_rng(zlib.crc32(f"{case.cell}{case.T}{case.B}{case.H}".encode()))
    every = rng.standard_normal((case.T, case.B, C)).astype(case.dtype)
    rows = cell_named(case.cell).gates * case.H
    weights = [
        (rng.standard_normal((rows, C)) * C**-0.5).astype(case.dtype)
        for _ in range(case.L * case.D)
    ]
    return Context(
        every if by_step else rng.standard_normal((case.B, C)).astype(case.dtype), weights
    )


def names(case: Case) -> list[str]:
    """Return the names of the context's weights."""
    suffixes = ["", "_reverse"][: case.D]
    return [f"weight_ch_l{k}{suffix}" for k in range(case.L) for suffix in suffixes]


def make_layer(case: Case, context: Context, **options: Any) -> rnnfast.Recurrent:
    """Return the case's layer with the case's weights and those of a context."""
    layer = cases.new_layer(case, context_size=C, **options)
    named = dict(zip(names(case), context.weights, strict=True))
    layer.load_state_dict(cases.make_layer(case).state_dict() | named)
    return layer


def with_context(
    results: dict[str, NDArray], case: Case, dvalues: NDArray, dweights: list[NDArray]
) -> dict[str, NDArray]:
    of_weights = {f"d{name}": d for name, d in zip(names(case), dweights, strict=True)}
    return results | {"dcontext": dvalues} | of_weights


def run_layer(
    case: Case,
    context: Context,
    data: Data | None = None,
    reset: NDArray | None = None,
    layer: rnnfast.Recurrent | None = None,
    **options: Any,
) -> dict[str, NDArray]:
    """Return the results of a layer on the case's data and a context."""
    d = data or cases.make_data(case)
    layer = layer or make_layer(case, context, **options)
    layer.zero_grad()
    single = len(d.state) == 1
    state: Any = d.state[0] if single else d.state
    y, final = layer(d.x, state, d.lengths, reset, context.values)
    dcontext = np.zeros_like(context.values)
    dstate: Any = d.dstate[0] if single else d.dstate
    dx, dinitial = layer.backward(d.dy, dstate, need_dx=not case.indices, dcontext=dcontext)
    finals, initials = ([s] if single else list(s) for s in (final, dinitial))
    gradients = [tuple(w if w is None else w.copy() for w in of) for of in layer._gradients]
    results = cases.named(y, finals, dx, initials, gradients, case.D)
    return with_context(
        results, case, dcontext, [getattr(layer, name).grad.copy() for name in names(case)]
    )


def run_reference(
    case: Case,
    context: Context,
    dtype: str = "float64",
    data: Data | None = None,
    rounding: Any = None,
    **others: Any,
) -> dict[str, NDArray]:
    """Return the results of the reference on the case's data and a context, computed in dtype."""
    network, results = cases.reference_network(
        case,
        dtype,
        data=data,
        rounding=rounding,
        context=context.values,
        weight_ch=context.weights,
        **others,
    )
    return with_context(results, case, *network.context_gradients())


def plain_errors(case: Case, by_step: bool, **others: Any) -> dict[str, float]:
    """Return the largest error of each result of NumPy, as `cases.plain_errors` does."""
    single = replace(case, dtype="float32")
    context = make_context(single, by_step)
    run = partial(run_reference, single, context, **others)
    return cases.largest_errors(single, run)


def assert_as_reference(
    case: Case,
    by_step: bool,
    reset: NDArray | None = None,
    masks: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    """Compare a layer with the reference, given the masks that `options` draw."""
    others = {"reset": reset, **(masks or {})}
    context = make_context(case, by_step)
    expected = run_reference(case, context, **others)
    got = run_layer(case, context, reset=reset, **options)
    cases.assert_close(got, expected, plain_errors(case, by_step, **others), case)
