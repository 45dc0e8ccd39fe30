"""The engine on CuPy arrays."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import cupy
import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnnfast._engine import backends
from rnnfast.cuda import _compiler
from rnnfast.cuda._engine import Engine
from rnnfast.cuda._kernels import Kernels


class CupyEngine(Engine):
    """The engine on the current device and stream of CuPy."""

    def __init__(self, name: str, extension: ModuleType) -> None:
        super().__init__(name, extension)
        folder = _cublas_folder()
        if folder is not None:
            extension.set_cublas_folder(str(folder))

    def asarray(self, value: Any) -> Any:
        if isinstance(value, cupy.ndarray):
            return value
        if backends.of(value) is backends.CPU:
            return cupy.asarray(np.asarray(value))
        if hasattr(value, "__cuda_array_interface__"):
            return cupy.asarray(value)
        return cupy.from_dlpack(value)  # makes our stream wait for the producer's

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        return cupy.empty(shape, dtype)

    def pointer(self, array: Any) -> int:
        return int(array.data.ptr)

    def stream(self) -> int:
        return int(cupy.cuda.get_current_stream().ptr)

    def compiled(self, kernels: Kernels) -> list[int]:
        """Return the addresses of kernels for the current device, compiled or from the cache."""
        image = _compiler.image(kernels, self.properties()["capability"])
        return self.extension.load_image(image.code, image.functions)  # type: ignore[no-any-return]

    def to_host(self, array: Any) -> NDArray[Any]:
        return cupy.asnumpy(array)  # type: ignore[no-any-return]


def _cublas_folder() -> Path | None:
    """Return the folder of the library of the package nvidia-cublas, if it is installed."""
    spec = importlib.util.find_spec("nvidia")
    places = spec.submodule_search_locations if spec is not None else None
    folders = (Path(place, "cu13", "lib") for place in places or ())
    return next((folder for folder in folders if folder.is_dir()), None)
