"""Values that no array can be made of, or only one that lacks its mask, are refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast
from argument_cases import B, H, I, T, gru, linear, x, zeros
from rnnfast import data


class Refusing:
    """An array of a library that refuses to convert it, with an error of its own."""

    dtype = np.dtype("float32")
    shape = (T, B, I)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("call .detach() first")

    def __len__(self) -> int:
        return T


class Nowhere(Refusing):
    """An array on a device that DLPack does not know."""

    def __dlpack_device__(self) -> tuple[int, int]:
        raise ValueError("unknown device")


VALUES: dict[str, tuple[Any, type[Exception], str]] = {
    "refusing": (Refusing(), TypeError, "got Refusing: call .detach() first"),
    "nowhere": (Nowhere(), TypeError, "got Nowhere: call .detach() first"),
    "ragged": ([[1.0], [2.0, 3.0]], ValueError, "got list: setting an array element"),
    "masked": (np.ma.masked_array(zeros(T, B, I), True), TypeError, "without a mask"),
}
CALLS: dict[str, Callable[[Any], object]] = {
    "x": lambda v: gru()(v),
    "state": lambda v: rnnfast.LSTM(I, H)(x(), (v, zeros(1, B, H))),
    "lengths": lambda v: gru()(x(), None, v),
    "reset": lambda v: gru()(x(), None, None, v),
    "weight_ih": lambda v: rnnfast.functional.forward(
        "gru", x(), [rnnfast.functional.Weights(v, zeros(3 * H, H))]
    ),
    "weight_hh": lambda v: rnnfast.functional.forward(
        "gru", x(), [rnnfast.functional.Weights(zeros(3 * H, I), v)]
    ),
    "weight": lambda v: linear().weight.__setitem__(0, v),
    "weights[0]": lambda v: rnnfast.load_keras_weights(gru(), [v] * 3),
    "condition": lambda v: rnnfast.autograd.where(v, 1.0, 2.0),
    "series": lambda v: data.windows(v, 2),
    "targets": lambda v: data.windows(zeros(9), 2, targets=v),
    "arrays[1]": lambda v: data.batches(zeros(T), v, batch_size=2),
    "sequences[0]": lambda v: data.bucket_batches([v], batch_size=2),
    "targets[0]": lambda v: data.bucket_batches([zeros(T, I)], batch_size=2, targets=[v]),
    "documents[0]": lambda v: data.DocumentStreams([v], 1, 2),
}


@pytest.mark.filterwarnings("ignore:load_keras_weights")
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", CALLS)
def test_the_error_names_the_argument(name: str, kind: str) -> None:
    value, error, got = VALUES[kind]
    with pytest.raises(error, match=f"^{re.escape(name)}: expected an array .*{re.escape(got)}"):
        CALLS[name](value)


def test_what_is_no_list_is_named() -> None:
    for value in (None, 3):
        got = type(value).__name__
        with pytest.raises(TypeError, match=f"^sequences: expected Iterable, got {got}$"):
            data.bucket_batches(value, batch_size=2)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=f"^documents: expected Sized, got {got}$"):
            data.DocumentStreams(value, 1, 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^values: expected names, such as .*, got 3$"):
        rnnfast.trace(gru(), x(), values=3)  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", VALUES)
def test_an_onnx_model_refuses_them_too(kind: str) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    import rnnfast.onnx

    model = rnnfast.onnx.to_model(gru())
    (node,) = rnnfast.onnx.load(model)
    session = rnnfast.onnx.Session(model)
    value, error, got = VALUES[kind]
    state = zeros(1, B, H)
    calls: dict[str, Callable[[], object]] = {
        "x": lambda: session.run(None, {"x": value, "h0": state}),
        "h0": lambda: session.run(None, {"x": x(), "h0": value}),
        "initial_h": lambda: node(x(), initial_h=value),
        "sequence_lens": lambda: node(x(), sequence_lens=value),
    }
    for name, call in calls.items():
        with pytest.raises(error, match=f"^{name}: expected an array .*{re.escape(got)}"):
            call()
