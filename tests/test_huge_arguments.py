"""Arrays of a wrong shape are refused before they are converted, which would copy them whole.

The arrays are views that repeat one number so often that no machine has the memory for a copy. Each
has a dtype that the engine would convert.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rnnfast
from argument_cases import B, H, I, T
from rnnfast import functional
from rnnfast.decoding import sample, scheduled_sampling
from rnnfast.functional import Weights
from rnnfast.inspection import gradient_flow

MANY = 2**50 + 1  # elements, an odd number; an allocation of so many bytes always fails


def reals(*shape: int) -> np.ndarray:
    return np.broadcast_to(np.float16(0), shape)


def integers(*shape: int) -> np.ndarray:
    return np.broadcast_to(np.int32(0), shape)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def lstm(inputs: int = I, **changes: Any) -> Weights:
    arrays = zeros(4 * H, inputs), zeros(4 * H, H), zeros(4 * H), zeros(4 * H)
    return Weights(*arrays)._replace(**changes)


def forward(**changes: Any) -> Any:
    call: dict[str, Any] = {"cell": "lstm", "x": zeros(T, B, I), "weights": [lstm()]}
    return functional.forward(**(call | changes))


def backward(**gradients: Any) -> Any:
    return functional.backward(forward(training=True)[2], **gradients)


def differentiate(layer: Any, dy: np.ndarray, *shape: int) -> Any:
    """Take the gradient of a call with an input of this shape."""
    layer(zeros(*shape))
    return layer.backward(dy)


def stream(*layers: Any) -> Any:
    return rnnfast.Sequential(*layers).stream(B)


def assign(parameter: rnnfast.Parameter, value: np.ndarray) -> None:
    parameter.value = value


def load(target: Any, name: str, value: np.ndarray) -> None:
    target.load_state_dict(target.state_dict() | {name: value})


def load_buffer(value: np.ndarray) -> None:
    optimizer = rnnfast.SGD(rnnfast.Linear(I, H), lr=0.1, momentum=0.5)
    state = optimizer.state_dict()
    name = next(iter(state["buffers"]))
    optimizer.load_state_dict(state | {"buffers": state["buffers"] | {name: value}})


def with_context() -> rnnfast.LSTM:
    return rnnfast.LSTM(I, H, context_size=2)


def step(tokens: np.ndarray, state: Any) -> Any:
    return zeros(len(tokens), 3), state


LOSSES = ["bce_with_logits", "huber", "l1", "mse"]
NETWORK = {
    "x": lambda: forward(x=reals(T, B, MANY)),
    "two axes of x": lambda: forward(x=reals(T, MANY)),
    "x with packed weights": lambda: forward(
        x=reals(T, B, MANY), weights=functional.pack("lstm", [lstm()])
    ),
    "state": lambda: forward(state=(zeros(1, B, H), reals(1, B, MANY))),
    "lengths": lambda: forward(lengths=integers(MANY)),
    "reset": lambda: forward(reset=integers(T, MANY)),
    "context_gates": lambda: forward(context_gates=[reals(B, MANY)]),
    "weight_ih": lambda: forward(weights=[lstm(), lstm(weight_ih=reals(4 * H, MANY))],
                                 num_layers=2),
    "weight_ih of bfloat16": lambda: forward(weights=[lstm(weight_ih=np.broadcast_to(
        ml_dtypes.bfloat16(0), (MANY,)))]),
    "weight_hh": lambda: functional.pack("gru", [
        Weights(zeros(3 * H, I), zeros(3 * H, H), reals(MANY), None)]),
    "bias_hh": lambda: forward(weights=[lstm(bias_hh=reals(MANY))]),
    "dy": lambda: backward(dy=reals(T, B, MANY)),
    "dstate": lambda: backward(dstate=(zeros(1, B, H), reals(MANY, B, H))),
}  # fmt: skip
LAYERS = {
    "batch_first": lambda: rnnfast.GRU(I, H, batch_first=True)(reals(B, T, MANY)),
    "x, learned state": lambda: rnnfast.GRU(I, H, learn_state=True)(reals(T, MANY, I + 1)),
    "context": lambda: with_context()(zeros(T, B, I), context=reals(B, MANY)),
    "x of Linear": lambda: rnnfast.Linear(I, H)(reals(T, MANY)),
    "dy of Linear": lambda: differentiate(rnnfast.Linear(I, H), reals(B, MANY), B, I),
    "x of Conv1d": lambda: rnnfast.Conv1d(I, H, 2)(reals(T, B, MANY)),
    "axes of Conv1d": lambda: rnnfast.Conv1d(I, H, 2)(reals(MANY, I)),
    "dy of Conv1d": lambda: differentiate(rnnfast.Conv1d(I, H, 2), reals(T, B, MANY), T, B, I),
    "lengths of Conv1d": lambda: rnnfast.Conv1d(I, H, 2)(zeros(T, B, I), integers(MANY)),
    "x of LayerNorm": lambda: rnnfast.LayerNorm(I)(reals(MANY)),
    "dy of LayerNorm": lambda: differentiate(rnnfast.LayerNorm(I), reals(B, MANY), B, I),
    "x of MergeDirections": lambda: rnnfast.MergeDirections()(reals(MANY)),
    "dy of MergeDirections": lambda: differentiate(rnnfast.MergeDirections(), reals(MANY), B, 2),
    "x of MeanPool": lambda: rnnfast.MeanPool()(reals(T, MANY)),
    "dy of MaxPool": lambda: differentiate(rnnfast.MaxPool(), reals(B, MANY), T, B, I),
    "lengths of Last": lambda: rnnfast.Last()(zeros(T, B, I), integers(MANY)),
    "dy of Tanh": lambda: differentiate(rnnfast.Tanh(), reals(MANY), B),
    "dy of Dropout": lambda: differentiate(rnnfast.Dropout(0.5), reals(MANY), B),
    "dy of Residual": lambda: differentiate(
        rnnfast.Residual(rnnfast.Linear(I, I)), reals(B, MANY), B, I
    ),
    "lengths of Sequential": lambda: rnnfast.Sequential(rnnfast.GRU(I, H))(
        zeros(T, B, I), lengths=integers(MANY)
    ),
    "gradient of a tensor": lambda: (rnnfast.tensor(zeros(B), requires_grad=True) * 2).backward(
        reals(MANY)
    ),
    "value of a parameter": lambda: assign(rnnfast.Linear(I, H).weight, np.broadcast_to(
        ml_dtypes.bfloat16(0), (MANY,))),
    "weight of a state_dict": lambda: load(rnnfast.Linear(I, H), "weight", reals(H, MANY)),
    "buffer of an optimiser": lambda: load_buffer(reals(MANY)),
}  # fmt: skip
STREAMS = {
    "x of a stream": lambda: stream(rnnfast.GRU(I, H))(reals(B, MANY)),
    "rows": lambda: stream(rnnfast.GRU(I, H))(zeros(B, I), rows=integers(1, MANY)),
    "context of a stream": lambda: stream(with_context())(zeros(B, I), context=reals(B, MANY)),
    "state of a stream": lambda: setattr(
        rnnfast.GRU(I, H).stream(B), "state", reals(1, MANY, H)
    ),
    "start": lambda: sample(step, integers(1, MANY), None, length=3),
    "start of a stream": lambda: sample(stream(rnnfast.Linear(I, I)), integers(MANY), length=3),
    "inputs": lambda: scheduled_sampling(step, integers(MANY), probability=0.5),
    "x of gradient_flow": lambda: gradient_flow(
        rnnfast.GRU(I, H), reals(T, B, MANY), None
    ),
    "dy of gradient_flow": lambda: gradient_flow(
        rnnfast.GRU(I, H, batch_first=True), zeros(B, T, I), reals(B, T, MANY)
    ),
}  # fmt: skip
OF_LOSSES = {
    **{f"target of {name}": lambda name=name: getattr(rnnfast, name)(zeros(B), reals(MANY))
       for name in LOSSES},
    **{f"first array of {name}": lambda name=name: getattr(rnnfast, name)(reals(MANY), zeros(B))
       for name in LOSSES},
    "pos_weight": lambda: rnnfast.bce_with_logits(zeros(B), zeros(B), pos_weight=reals(MANY)),
    "var": lambda: rnnfast.gaussian_nll(zeros(B), zeros(B), reals(MANY)),
    "q": lambda: rnnfast.quantile(zeros(B), zeros(B), reals(MANY)),
    "y of quantile": lambda: rnnfast.quantile(reals(MANY), zeros(B), 0.5),
    "target of quantile": lambda: rnnfast.quantile(zeros(B), reals(MANY), 0.5),
    "log_probs": lambda: rnnfast.nll(reals(MANY, 0), [0]),
    "targets of nll": lambda: rnnfast.nll(zeros(B, I), integers(MANY)),
    "weight of nll": lambda: rnnfast.nll(zeros(B, I), [0] * B, weight=reals(MANY)),
    "lengths of mse": lambda: rnnfast.mse(zeros(T, B), zeros(T, B), lengths=integers(MANY)),
    "logits": lambda: rnnfast.cross_entropy(reals(MANY, I), [0]),
    "targets of cross_entropy": lambda: rnnfast.cross_entropy(
        zeros(B, I), np.broadcast_to(np.uint64(0), (MANY,))
    ),
    "logits of ctc": lambda: rnnfast.ctc(reals(MANY), [[1]], [T], [1]),
    "target_lengths of ctc": lambda: rnnfast.ctc(
        zeros(T, 1, I), [[1]], [T], integers(MANY)
    ),
    "input_lengths of ctc": lambda: rnnfast.ctc(zeros(T, 1, I), [[1]], integers(MANY), [1]),
    "targets of ctc": lambda: rnnfast.ctc(zeros(T, 1, I), integers(2, MANY), [T], [1]),
    "all targets of ctc": lambda: rnnfast.ctc(zeros(T, 1, I), integers(MANY), [T], [1]),
}  # fmt: skip
CASES: dict[str, Callable[[], object]] = NETWORK | LAYERS | STREAMS | OF_LOSSES


@pytest.mark.parametrize("name", CASES)
def test_an_array_of_a_wrong_shape_is_refused_before_it_is_copied(name: str) -> None:
    with pytest.raises(ValueError, match=r"^[^:]+: expected .*got .*\d") as refused:
        CASES[name]()
    assert str(MANY) in str(refused.value)
