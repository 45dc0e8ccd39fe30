"""The choice of a reader by the first bytes of a file, or its name where these do not tell."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from os import PathLike, fspath

from rnnfast import _files
from rnnfast._engine.memory import check_memory
from rnnfast.exchange.files import (
    coreml,
    dynet,
    graphdef,
    hdf5,
    keras,
    keras_h5,
    ncnn,
    npz,
    onnx,
    safetensors,
    tesseract,
    torch_legacy,
    torch_zip,
)
from rnnfast.exchange.files.content import Content

_READ = (
    ".h5, .keras, .safetensors, .pt, .npz, .mlmodel, .onnx, .param of ncnn, .traineddata, .pb of "
    "TensorFlow 1 or a text file of DyNet"
)
_ERRORS = (
    *(ValueError, TypeError, LookupError, ArithmeticError, EOFError),
    *(zipfile.BadZipFile, struct.error, zlib.error, RuntimeError),
    *(SyntaxError, tokenize.TokenError),  # of headers of NumPy, which are Python
)  # of readers on damaged files
_BY_NAME = {
    ".mlmodel": coreml.read,
    ".pb": graphdef.read,
    ".traineddata": tesseract.read,
    ".lstm": tesseract.read_component,
    ".safetensors": safetensors.read,
}


def read_file(path: str | PathLike[str]) -> Content:
    """Return the arrays of a file.

    Raises:
        ValueError: The file is damaged, or of no format that is read.
        OSError: The file cannot be read, or it is not a regular file.
    """
    name = fspath(path)
    with _files.open_to_read(name) as file:
        size = file.seek(0, io.SEEK_END)
        check_memory(f"{name}: reading it takes", 10 * size)
        file.seek(0)
        data = file.read()
    try:
        return _read(name, data)
    except _ERRORS as error:
        raise ValueError(f"source: cannot read {name}: {error}") from error


def _read(name: str, data: bytes) -> Content:
    suffix = name[name.rfind(".") :].lower()
    if suffix == ".onnx":
        return onnx.read(name)  # whose weights may be in a file beside it
    if suffix in _BY_NAME:
        return _BY_NAME[suffix](data)
    if data.startswith(hdf5.MAGIC):
        return keras_h5.read(data)
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if "config.json" in names and "model.weights.h5" in names:
                return keras.read(archive, len(data))
            if any(member.endswith("/data.pkl") for member in names):
                return torch_zip.read(archive, len(data))
            return npz.read(archive, len(data))
    if data.startswith(torch_legacy.MAGIC):
        return torch_legacy.read(data)
    if data.startswith(dynet.MAGICS):
        return dynet.read(data)
    if data.startswith(ncnn.MAGIC):
        return ncnn.read(name, data)
    raise ValueError(f"expected a file in one of the formats {_READ}")
