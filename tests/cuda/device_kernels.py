"""Call single kernels on a device: their functions take addresses of arrays that start as NaN."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnnfast._engine import backends

UNDER_TSAN = "libtsan" in os.environ.get("LD_PRELOAD", "")
EPS = float(np.finfo(np.float32).eps)

# For the emulator: which thread goes on when one waits, and the seed if the choice is random.
# Hardware has its own schedule.
SCHEDULES = [("random", 1), ("random", 2), ("random", 3), ("sequential", 1), ("reversed", 1)]


class Kernels:
    """The functions of a device's extension, which take arrays of the device by their address."""

    def __init__(self, device: str, schedule: tuple[str, int] = SCHEDULES[0]) -> None:
        self.engine: Any = backends.get(device)
        if device != "cuda":
            self.engine.extension.set_schedule(*schedule)

    def put(self, array: NDArray) -> Any:
        """Copy an array to the device."""
        return self.engine.asarray(np.ascontiguousarray(array).copy())

    def nan(self, *shape: int, dtype: DTypeLike = np.float32) -> Any:
        """Return a device array full of NaN, which kernels must not read before they write it."""
        return self.put(np.full(shape, np.nan, dtype))

    def get(self, array: Any) -> NDArray:
        """Copy an array to the host."""
        return self.engine.to_host(array)  # type: ignore[no-any-return]

    def pointer(self, array: Any) -> int:
        return self.engine.pointer(array)  # type: ignore[no-any-return]

    def call(self, name: str, *args: object, **kwargs: object) -> Any:
        """Call a function of the extension on the device's stream, passing arrays by address."""
        plain = (bool, int, float, type(None), list, tuple, str)
        known = {k: v if isinstance(v, plain) else self.pointer(v) for k, v in kwargs.items()}
        return getattr(self.engine.extension, name)(*args, stream=self.engine.stream(), **known)


def reals(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
