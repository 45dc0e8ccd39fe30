"""Files of safetensors."""

from __future__ import annotations

import safetensors

from rnnfast.exchange.files import elements
from rnnfast.exchange.files.content import Content

_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def read(data: bytes) -> Content:
    """Return the arrays of a file, without those of types that NumPy lacks."""
    try:
        tensors = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    return Content(
        {
            name: elements.array(_TYPES[tensor["dtype"]], tensor["data"], tensor["shape"])
            for name, tensor in tensors
            if tensor["dtype"] in _TYPES
        }
    )
