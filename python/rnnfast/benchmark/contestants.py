"""Contestants: rnnfast and its peers, each as a call on the same data to compare and time.

A contestant is created for a case and its data, and then called without arguments. Its result is a
dictionary of arrays in PyTorch's layouts: `y` and, in training, `dx` and the gradients of weights.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import rnnfast
from rnnfast import functional, reference
from rnnfast.benchmark.case import Case, Data

Results: TypeAlias = Mapping[str, NDArray[Any]]
Call: TypeAlias = Callable[[], Any]
Contestant: TypeAlias = tuple[Call, Callable[[Any], Results]]
"""The call to time, and a function that converts its result to named arrays afterwards."""


class UnavailableError(Exception):
    """A peer is not installed, or does not support a case; the text says which."""


def contestant(name: str, case: Case, data: Data) -> Contestant:
    """Return a contestant by name: "rnnfast" or one of `PEERS`.

    Raises:
        UnavailableError: The peer is not installed, or has no such cell, mode or type.
    """
    make = {"rnnfast": _rnnfast, **PEERS}[name]
    return make(case, data)


def _named(weights: functional.Weights) -> dict[str, NDArray[Any]]:
    return {name: w for name, w in weights._asdict().items() if w is not None}


def _rnnfast(case: Case, data: Data) -> Contestant:
    weights = [data.weights]
    if case.training:

        def step() -> Any:
            y, _, reserve = functional.forward(
                case.cell, data.x, weights, training=True, precision=case.precision
            )
            assert reserve is not None
            return y, functional.backward(reserve, data.dy)

        return step, lambda r: {"y": r[0], "dx": r[1][0], **_named(r[1][2][0])}
    if case.mode == "new-weights":
        return (
            lambda: functional.forward(case.cell, data.x, weights, precision=case.precision),
            lambda r: {"y": r[0]},
        )
    _, _, input_size, hidden_size = case.shape
    layer = rnnfast.Recurrent(
        case.cell, input_size, hidden_size, dtype=case.array_dtype, precision=case.precision
    ).eval()
    layer.load_state_dict({f"{name}_l0": w for name, w in _named(data.weights).items()})
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
        **_named(functional.Weights(*r[1].dweights[0])),
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


def _need(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UnavailableError(f"{module} is not installed")


def _torch(case: Case, data: Data) -> Contestant:
    _need("torch")
    import torch

    if case.cell not in twin_cells():
        raise UnavailableError(f"PyTorch has no cell {case.cell}")
    kind, options = twin_cells()[case.cell]
    return torch_contestant(case, data, partial(getattr(torch.nn, kind), **options))


def _door(case: Case, data: Data) -> Contestant:
    """Return `rnnfast.torch` as a contestant."""
    _need("torch")
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


def _onnxruntime(case: Case, data: Data) -> Contestant:
    _need("onnxruntime", "onnx")
    if case.training:
        raise UnavailableError("onnxruntime does not train")
    if case.dtype != "float32":
        raise UnavailableError(f"onnxruntime has no recurrent operators in {case.dtype}")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
    session = onnxruntime.InferenceSession(
        _onnx_model(case, data), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(["y"], {"x": data.x}), lambda r: {"y": r[0][:, 0]}


def _onnx_model(case: Case, data: Data) -> bytes:
    """Return the case as one ONNX operator with the input x (T, B, I) and output y (T, 1, B, H)."""
    from onnx import TensorProto, checker, helper, numpy_helper

    from rnnfast.exchange import onnx_layout as layout

    if case.cell not in layout.OPERATORS:
        raise UnavailableError(f"onnxruntime has no cell {case.cell}")
    T, B, I, H = case.shape
    constants = layout.to_onnx(case.cell, [data.weights])
    inputs = layout.inputs({"X": "x", **{name: name for name in constants}})
    attributes = layout.attributes(case.cell, H, 1)
    graph = helper.make_graph(
        [helper.make_node(layout.OPERATORS[case.cell].op_type, inputs, ["y"], **attributes)],
        "case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [T, B, I])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [T, 1, B, H])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())


PEERS: dict[str, Callable[[Case, Data], Contestant]] = {
    "torch": _torch,
    "rnnfast.torch": _door,
    "onnxruntime": _onnxruntime,
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
