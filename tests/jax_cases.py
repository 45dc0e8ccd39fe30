"""Cases on `rnnfast.jax`, in float64 where they say so."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

# Most of the time of these tests is XLA's, which compiles each loop in seconds.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
jax = pytest.importorskip("jax", reason="jax is not installed")
jax.config.update("jax_enable_x64", True)

import cases  # noqa: E402
from cases import Case  # noqa: E402
from layer_cases import bare, listed  # noqa: E402
from rnnfast.jax import Network, network  # noqa: E402


def network_of(case: Case, **options: Any) -> Network:
    """Return the network of a case."""
    return Network(case.cell, **case.network, **options)


def params_of(case: Case) -> dict[str, Any]:
    """Return the parameters of a case."""
    return {k: jax.numpy.asarray(v) for k, v in cases.make_layer(case).state_dict().items()}


def arguments(case: Case) -> tuple[dict[str, Any], Any, Any, Any]:
    """Return the parameters, x, the initial states and the lengths of a case."""
    d = cases.make_data(case)
    lengths = None if d.lengths is None else jax.numpy.asarray(d.lengths)
    state = bare(tuple(jax.numpy.asarray(s) for s in d.state))
    return params_of(case), jax.numpy.asarray(d.x), state, lengths


def results(case: Case, *, jit: bool = True) -> dict[str, NDArray]:
    """Return all results of a forward and backward pass under the names of `cases.named`."""
    net, d = network_of(case), cases.make_data(case)
    params, x, state, lengths = arguments(case)

    def step(params: Any, x: Any, state: Any, lengths: Any, given: Any) -> Any:
        outputs, back = jax.vjp(
            lambda *inputs: net.apply(*inputs, lengths=lengths), params, x, state
        )
        return outputs, back(given)

    given = d.dy, bare(d.dstate)
    run = jax.jit(step) if jit else step
    (y, final), (dparams, dx, dstate) = run(params, x, state, lengths, given)
    got = {"y": y, "dx": dx}
    got |= {f"state[{k}]": s for k, s in enumerate(listed(final))}
    got |= {f"dstate[{k}]": s for k, s in enumerate(listed(dstate))}
    got |= {f"d{name}": dparams[name] for name in net.shapes()}
    return {name: np.asarray(value) for name, value in got.items()}


def stepwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks be computed by operations of JAX alone, which JAX differentiates itself."""
    from rnnfast.jax import stepwise as by_steps

    monkeypatch.setattr(network.primitives, "forward", by_steps.forward)
