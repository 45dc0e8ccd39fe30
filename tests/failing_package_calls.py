"""Calls from other packages in which memory ends; a script for test_allocation_failures.

    LD_PRELOAD=failing_allocations.so RNNFAST_CACHE_LIMIT=0 \\
        python failing_package_calls.py LIBRARY torch|jax

Only allocations of the engine fail. A call raises what the package raises when memory ends, and is
right when it is repeated. The script prints the number of allocations.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

import rnnfast
from failing_allocations import Action, Allocations, check_action, named
from failing_calls import LENGTHS, B, H, I, T, values

Actions = Iterator[tuple[str, Callable[[], Action]]]
ENGINE = "/rnnfast/_core."


def torch_actions() -> Actions:
    """Yield a step of training of layers and of a loop of cells."""
    import torch

    import rnnfast.torch as layers

    x = torch.from_numpy(values(T, B, I))

    def outputs(layer: Any) -> Any:
        return layer(x)[0]

    def step(make: Callable[..., Any], run: Callable[[Any], Any], **options: Any) -> Action:
        torch.manual_seed(0)
        layer = make(I, H, **options)

        def action() -> list[np.ndarray]:
            layer.zero_grad()
            y = run(layer)
            y.square().sum().backward()
            return [y.detach().numpy(), *(p.grad.numpy() for p in layer.parameters())]

        return action

    def looped(cell: Any) -> Any:
        state, outputs = None, []
        for row in x:
            state = cell(row, state)
            outputs.append(state[0])
        return torch.stack(outputs)

    for make in (layers.LSTM, layers.GRU):
        yield make.__name__, partial(step, make, outputs, num_layers=2, bidirectional=True)
    yield "LSTMCell", partial(step, layers.LSTMCell, looped)


def jax_actions() -> Actions:
    """Yield values and gradients of networks."""
    import jax

    from rnnfast.jax import Network

    x = jax.numpy.asarray(values(T, B, I))

    @cache  # to compile takes long
    def gradient(cell: str) -> Action:
        network = Network(cell, I, H, num_layers=2, bidirectional=True)
        params = network.init(jax.random.key(0))
        function = jax.jit(
            jax.value_and_grad(lambda p: network.apply(p, x, lengths=LENGTHS)[0].sum())
        )
        return lambda: list(
            map(np.asarray, jax.tree.leaves(jax.block_until_ready(function(params))))
        )

    for cell in ("lstm", "gru"):
        yield cell, partial(gradient, cell)


def main() -> None:
    path, package = sys.argv[1:]
    rnnfast.set_num_threads(1)
    if package == "torch":
        actions = torch_actions()
        allocations = Allocations(path, ENGINE)
    else:
        actions = jax_actions()
        allocations = Allocations(path, ENGINE, ValueError, "RESOURCE_EXHAUSTED")
    total = 0
    for name, make in actions:
        with named(name):
            total += check_action(allocations, make)
    print(total)


if __name__ == "__main__":
    main()
