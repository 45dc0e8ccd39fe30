"""Contestants: rnnfast and its peers, each as a call on the same data to compare and time.

A contestant is created for a case and its data, and then called without arguments. Its result is a
dictionary of arrays in PyTorch's layouts: `y` and, in training, `dx` and the gradients of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rnnfast
from rnnfast import functional, reference
from rnnfast.benchmark import jax_peers, keras_peers, onnx_peers
from rnnfast.benchmark.case import Case, Data
from rnnfast.benchmark.peer import Contestant, Results, UnavailableError, named, need


def contestant(name: str, case: Case, data: Data) -> Contestant:
    """Return a contestant by name: "rnnfast" or one of `PEERS`.

    Raises:
        UnavailableError: The peer is not installed, or has no such cell, mode or type.
    """
    make = {"rnnfast": _rnnfast, **PEERS}[name]
    return make(case, data)


def _rnnfast(case: Case, data: Data) -> Contestant:
    weights = [data.weights]
    if case.training:

        def step() -> Any:
            y, _, reserve = functional.forward(
                case.cell, data.x, weights, training=True, precision=case.precision
            )
            assert reserve is not None
            return y, functional.backward(reserve, data.dy)

        return step, lambda r: {"y": r[0], "dx": r[1][0], **named(r[1][2][0])}
    if case.mode == "new-weights":
        return (
            lambda: functional.forward(case.cell, data.x, weights, precision=case.precision),
            lambda r: {"y": r[0]},
        )
    _, _, input_size, hidden_size = case.shape
    layer = rnnfast.Recurrent(
        case.cell, input_size, hidden_size, dtype=case.array_dtype, precision=case.precision
    ).eval()
    layer.load_state_dict({f"{name}_l0": w for name, w in named(data.weights).items()})
    return lambda: layer(data.x), lambda r: {"y": r[0]}


def _numpy(case: Case, data: Data) -> Contestant:
    """Return the NumPy reference as a contestant, with the dtype of the case."""
    from rnnfast.cells import ZOO  # imported late, as older revisions lack it

    cell = ZOO[case.cell]

    def forward() -> reference.Network:
        rounding = reference.round_to_bfloat16 if case.precision == "bfloat16" else None
        return reference.Network(
            cell, data.x, [data.weights], dtype=case.array_dtype, rounding=rounding
        )

    if not case.training:
        return forward, lambda network: {"y": network.y}

    def step() -> Any:
        network = forward()
        return network.y, network.backward(data.dy)

    return step, lambda r: {
        "y": r[0],
        "dx": r[1].dx,
        **named(functional.Weights(*r[1].dweights[0])),
    }


@cache
def twin_cells() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return PyTorch's layer class and its options, by the name of the cell."""
    return {
        rnnfast.RNN(1, 1).cell: ("RNN", {"nonlinearity": "tanh"}),
        rnnfast.RNN(1, 1, nonlinearity="relu").cell: ("RNN", {"nonlinearity": "relu"}),
        rnnfast.LSTM(1, 1).cell: ("LSTM", {}),
        rnnfast.GRU(1, 1).cell: ("GRU", {}),
    }


def _torch(case: Case, data: Data) -> Contestant:
    need("torch")
    import torch

    if case.cell not in twin_cells():
        raise UnavailableError(f"PyTorch has no cell {case.cell}")
    kind, options = twin_cells()[case.cell]
    return torch_contestant(case, data, partial(getattr(torch.nn, kind), **options))


def _door(case: Case, data: Data) -> Contestant:
    """Return `rnnfast.torch` as a contestant."""
    need("torch")
    import rnnfast.torch

    return torch_contestant(case, data, partial(rnnfast.torch.Recurrent, case.cell))


def torch_contestant(
    case: Case, data: Data, make: Callable[..., Any], wrap: Callable[[Any], Any] = lambda m: m
) -> Contestant:
    """Return a PyTorch module as a contestant.

    Args:
        case: The case.
        data: Its data.
        make: The class of the module, which takes input_size, hidden_size and dtype.
        wrap: Turns the module into what is called, as `torch.compile` does.
    """
    import torch

    _, _, input_size, hidden_size = case.shape
    dtype = getattr(torch, case.dtype)
    torch.set_num_threads(case.threads)
    module = make(input_size, hidden_size, dtype=dtype)
    names = [name.removesuffix("_l0") for name, _ in module.named_parameters()]
    with torch.no_grad():
        for name, parameter in zip(names, module.parameters(), strict=True):
            parameter.copy_(torch.tensor(getattr(data.weights, name)))
    x = torch.tensor(data.x, dtype=dtype, requires_grad=case.training)
    run = wrap(module)

    def array(tensor: torch.Tensor) -> NDArray[Any]:
        values: NDArray[Any] = tensor.detach().to(getattr(torch, case.array_dtype)).numpy()
        return values

    if not case.training:

        def forward() -> Any:
            with torch.inference_mode():
                return run(x)

        return forward, lambda r: {"y": array(r[0])}
    dy, wanted = torch.tensor(data.dy, dtype=dtype), [x, *module.parameters()]

    def step() -> Any:
        y, _ = run(x)
        return y, torch.autograd.grad(y, wanted, dy)

    return step, lambda r: {
        "y": array(r[0]),
        **{n: array(g) for n, g in zip(["dx", *names], r[1], strict=True)},
    }


PEERS: dict[str, Callable[[Case, Data], Contestant]] = {
    "torch": _torch,
    "rnnfast.torch": _door,
    "rnnfast.jax": jax_peers.door,
    "jax": partial(jax_peers.scan, unroll=1),
    "jax-unroll-4": partial(jax_peers.scan, unroll=4),
    "jax-unroll-8": partial(jax_peers.scan, unroll=8),
    "keras": partial(keras_peers.keras, fast=False),
    "rnnfast.keras": partial(keras_peers.keras, fast=True),
    "onnxruntime": onnx_peers.onnxruntime,
    "openvino": onnx_peers.openvino,
    "tract": onnx_peers.tract,
    "numpy": _numpy,
}


def difference(got: Results, expected: Results) -> float:
    """Return the largest error relative to the largest value of each array; infinite for NaN.

    Raises:
        ValueError: An array is missing or has another shape.
    """
    worst = 0.0
    for name, values in expected.items():
        other = got.get(name)
        if other is None or other.shape != values.shape:
            came = "none" if other is None else other.shape
            raise ValueError(f"{name}: expected an array of shape {values.shape}, got {came}")
        error = np.abs(other.astype(np.float64) - values).max(initial=0.0)
        scale = np.abs(values).max(initial=np.finfo(values.dtype).tiny)
        relative = float(error / scale)
        worst = max(worst, np.inf if np.isnan(relative) else relative)
    return worst
