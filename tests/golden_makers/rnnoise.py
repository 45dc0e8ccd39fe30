"""Products with the matrices of a layer, in all forms: RNNOISE names the library in C.

Its sigmoid and tanh are approximations, so outputs of the layer would not be exact.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from golden_makers.common import numbers


def cases() -> list[dict[str, Any]]:
    library = ctypes.CDLL(os.environ["RNNOISE"])
    names = ("bias", "subias", "weights_int8", "weights_float", "weights_idx", "weights_diag",
             "scale")  # fmt: skip

    class Linear(ctypes.Structure):
        _fields_ = (
            *((name, ctypes.c_void_p) for name in names),
            *(("inputs", ctypes.c_int), ("outputs", ctypes.c_int)),
        )

    size, outputs = 8, 24

    def product(x: Any, arrays: dict[str, Any]) -> Any:
        y = np.zeros(outputs, np.float32)
        places = {name: array.ctypes.data for name, array in arrays.items()}
        linear = Linear(**places, inputs=size, outputs=outputs)
        given, result = (ctypes.c_void_p(array.ctypes.data) for array in (x, y))
        library.rnn_compute_linear_c(ctypes.byref(linear), result, given)
        return y

    x = (np.random.default_rng(0).integers(-127, 128, size=size) / 127).astype(np.float32)
    blocks = ((0, 4), (4,), ())  # the first inputs of those of each 8 outputs
    index = np.array([n for rows in blocks for n in (len(rows), *rows)], np.int32)
    bias = numbers(outputs, seed=1)
    result = []
    for sparse in (False, True):
        shared = {"weights_idx": index} if sparse else {}
        count = 3 * 32 if sparse else size * outputs
        # sums of two products have 16 bits, for which RNNoise scales integers to about this size
        integers = np.random.default_rng(2).integers(-64, 65, size=count).astype(np.int8)
        whole = shared | {"weights_int8": integers, "scale": abs(numbers(outputs, seed=5)) / 4096}
        # on this CPU RNNoise adds 1 to inputs, which the other bias takes back
        whole["subias"] = bias - product(np.zeros_like(x), whole)
        for weights in (shared | {"weights_float": numbers(count, seed=4)}, whole):
            arrays = weights | {"bias": bias, "weights_diag": numbers(outputs, seed=3)}
            lists = {name: array.tolist() for name, array in arrays.items()}
            y = product(x, arrays)
            result.append(
                {"library": "pyrnnoise 0.4.5", "arrays": lists, "x": x.tolist(), "y": y.tolist()}
            )
    return result
