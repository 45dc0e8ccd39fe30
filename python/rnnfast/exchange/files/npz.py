"""Archives of NumPy arrays."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from numpy.lib import format as npy

from rnnfast.exchange.files.content import Budget, Content


def read(archive: zipfile.ZipFile, size: int) -> Content:
    """Return the arrays of a `.npz` file."""
    budget, arrays = Budget(size), {}
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            raise ValueError(f"expected arrays of NumPy alone, got {info.filename!r}")
        budget.take(info.filename, (info.file_size,))
        stream = io.BytesIO(archive.read(info))
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{info.filename}: expected format 1.0 or 2.0, got {version}")
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(stream)
        if dtype.hasobject:
            raise ValueError(f"{info.filename}: expected numbers, got objects")
        values = np.frombuffer(stream.getbuffer()[stream.tell() :], dtype)
        name = info.filename.removesuffix(".npy").replace("/", ".")
        arrays[name] = values.reshape(shape, order="F" if fortran else "C")
    return Content(arrays)
