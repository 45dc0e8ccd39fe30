"""The recurrent kernels, how to run each of them, and the errors of their products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import cases
from cases import Case
from rnnfast import functional
from rnnfast.cuda._engine import Engine

# The kernels and what they multiply: float32, bfloat16, or float32 as pairs of bfloat16.
KERNELS = [(kernel, p) for kernel in ("grid", "gemm") for p in ("full", "bfloat16")]
KERNELS += [(k, p) for k in ("block", "cluster", "flags") for p in ("bfloat16x3", "bfloat16")]
# A value split into two of bfloat16 has an error of 2^-18 of it. The product of the two low parts
# is left out, which acts as if each factor had another error of 2^-19.
PAIR_ERROR = 2.0**-17


def run(backend: Engine, case: Case) -> dict[str, NDArray]:
    """Return the results of a forward and backward pass, on the host."""
    d = cases.make_data(case)

    def put(arrays: tuple[NDArray | None, ...]) -> list[NDArray | None]:
        return [None if a is None else backend.asarray(a.copy()) for a in arrays]

    y, state, reserve = functional.forward(
        case.cell,
        backend.asarray(d.x.copy()),
        [functional.Weights(*put(w)) for w in d.weights],
        put(d.state),
        lengths=d.lengths,
        training=True,
        **case.options,
    )
    assert reserve is not None
    dx, dstate, dweights = functional.backward(reserve, d.dy, d.dstate, need_dx=not case.indices)
    results = cases.named(y, state, dx, dstate, dweights, case.D)
    return {name: backend.to_host(array) for name, array in results.items()}


def paired(run: int) -> object:
    """Return a rounding with the error of pairs of bfloat16, drawn anew for each run."""
    rng = np.random.default_rng(run)
    return lambda x: (x * (1 + PAIR_ERROR * rng.uniform(-1, 1, x.shape))).astype(x.dtype)


def errors(case: Case, products: str) -> dict[str, float]:
    """Return the largest error of plain code with such products."""
    if products != "bfloat16x3":
        return cases.plain_errors(case)
    exact, plain = cases.run_reference(case), cases.plain_errors(case)
    for i in range(3):
        result = cases.run_reference(case, "float32", rounding=paired(i))
        plain = {n: max(e, cases.worst(result[n], exact[n])) for n, e in plain.items()}
    return plain
