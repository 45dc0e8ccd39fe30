"""Checks of single arguments.

Every error message names the argument, what was expected, why, and what was passed instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine.backends import CPU, Backend, array_of, given, of

_MOST_THREADS = 1024
_MOST_INDEX = 2**63 - 1  # of the engine's integers
_MOST_VALUES = 2**47  # of an array, as CPUs address no more bytes for a process
TRAINED_PRECISIONS = ("full", "bfloat16")
PRECISIONS = (*TRAINED_PRECISIONS, "int8")

RealArray: TypeAlias = NDArray[Any]  # float32 or float64
IntArray: TypeAlias = NDArray[np.int64]

_INT64 = np.dtype(np.int64)


def integer(name: str, value: int, low: int, high: int | None = _MOST_INDEX) -> int:
    """Return `value` as an int, which must be at least `low` and, unless None, at most `high`."""
    if type(value) is not int and (not isinstance(value, Integral) or isinstance(value, bool)):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    if value < low:
        raise ValueError(f"{name}: expected at least {low}, got {value}")
    if high is not None and value > high:
        raise ValueError(f"{name}: expected at most {high}, got {value}")
    return int(value)


def positive_int(name: str, value: int) -> int:
    """Return `value` as an int, which must be at least 1."""
    return integer(name, value, 1)


def size(name: str, value: int, low: int = 1) -> int:
    """Return `value`, the size of an axis, as an int, which must be at least `low`."""
    return integer(name, value, low, _MOST_VALUES)


def memory(count: int, dtype: np.dtype[Any]) -> None:
    """Raise MemoryError if the process cannot have so many values at once."""
    if count > _MOST_VALUES:
        raise MemoryError(f"{count} values are more than a process can address")
    np.empty(count, dtype)  # takes no memory, but raises the error if there is too little


def count(name: str, value: int) -> int:
    """Return `value` as an int, which must be at least 0."""
    return integer(name, value, 0)


def threads(name: str, value: int) -> int:
    """Return `value` as an int, which must be a number of threads that the engine supports."""
    return integer(name, value, 1, _MOST_THREADS)


def boolean(name: str, value: bool) -> bool:
    """Return `value`, which must be a bool: a number was probably meant for another argument."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def recompute(name: str, value: bool | int, backend: Backend = CPU) -> bool | int:
    """Return `value`, a bool or an integer >= 1; it must be False if `backend` keeps all."""
    if value and not backend.recomputes:
        raise ValueError(
            f"{name}: expected False on device {backend.name!r}, which always keeps all that "
            f"backward needs, got {value}"
        )
    return value if isinstance(value, bool) else positive_int(name, value)


def projects(name: str, backend: Backend) -> None:
    """Refuse a projection if `backend` does not support it."""
    if not backend.projects:
        raise ValueError(
            f"{name}: expected no projection on device {backend.name!r}, which does not support it "
            "yet; use the CPU"
        )


def contexts(name: str, backend: Backend) -> None:
    """Refuse a context if `backend` does not support it."""
    if not backend.contexts:
        raise ValueError(
            f"{name}: expected no context on device {backend.name!r}, which does not support it "
            "yet; use the CPU"
        )


def no_context(name: str, context_size: int, what: str) -> None:
    """Refuse a layer with a context, which `what` do not have."""
    if context_size:
        raise ValueError(
            f"{name}: expected layers with context_size = 0, as {what} have no contexts, got "
            f"{context_size}"
        )


def number(
    name: str, value: float, low: float, high: float = np.inf, *, open_high: bool = False
) -> float:
    """Return `value` as a float, which must lie in [low, high], or [low, high) if `open_high`."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    try:
        result = float(value)  # a number of NumPy would round the bounds to its own type
    except OverflowError:
        raise ValueError(f"{name}: expected a number that fits float64, got a larger one") from None
    if not (low <= result < high or (result == high and not open_high)):
        expected = f"a number in [{low}, {high}{')' if open_high else ']'}"
        if high == np.inf:
            expected = "a finite number" if result == high else f"at least {low}"
        raise ValueError(f"{name}: expected {expected}, got {value}")
    return result


def seed(name: str, value: int | None) -> int | None:
    """Return `value`, which must be None or an integer of at least 0."""
    return None if value is None else integer(name, value, 0, None)


def finite(name: str, value: float, low: float) -> float:
    """Return `value` as a float, which must be finite and at least `low`."""
    return number(name, value, low, np.inf, open_high=True)


def two_fractions(name: str, value: Any) -> tuple[float, float]:
    """Return `value`, which must be a pair of numbers in [0, 1)."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name}: expected two numbers, got {value!r}")
    one, two = (
        number(f"{name}[{i}]", fraction, 0, 1, open_high=True) for i, fraction in enumerate(value)
    )
    return one, two


def of_type(name: str, value: Any, expected: type) -> None:
    """Check that `value` is an instance of `expected`."""
    if not isinstance(value, expected):
        raise TypeError(f"{name}: expected {expected.__name__}, got {type(value).__name__}")


def choice(name: str, value: str, valid: Collection[str]) -> str:
    """Return `value`, which must be one of `valid`."""
    if not isinstance(value, str) or value not in valid:
        raise ValueError(f"{name}: expected one of {', '.join(valid)}, got {value!r}")
    return value


def real_dtype(name: str, dtype: Any, backend: Backend = CPU) -> np.dtype[Any]:
    """Return `dtype` as a NumPy dtype, which must be one that `backend` supports."""
    try:
        result: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        result = None
    if result is None or result not in backend.dtypes:  # NumPy takes None for float64
        where = "" if backend is CPU else f" on device {backend.name!r}"
        expected = " or ".join(map(str, backend.dtypes))
        got = repr(dtype) if result is None else result
        raise TypeError(f"{name}: expected {expected}{where}, got {got}")
    return result


def precision(name: str, value: str, dtype: np.dtype[Any], backend: Backend = CPU) -> str:
    """Return `value`, one of `PRECISIONS` that `backend` must have for arrays of `dtype`."""
    choice(name, value, PRECISIONS)
    if value != "full" and dtype != np.float32:
        raise TypeError(f"{name}: expected float32 arrays for {value} products, got {dtype}")
    if value == "int8" and not backend.quantizes:
        expected = " or ".join(map(repr, TRAINED_PRECISIONS))
        raise ValueError(f"{name}: expected {expected} on device {backend.name!r}, got 'int8'")
    return value


def real_array(
    name: str, value: ArrayLike, dtype: np.dtype[Any] | None, why: str = "", backend: Backend = CPU
) -> RealArray:
    """Return `value`, which must hold real numbers, as a C-contiguous array of `dtype`.

    If `dtype` is None, the array keeps its own dtype if `backend` supports it. Otherwise it is
    promoted to float32 or float64 by NumPy's rules, or to the widest dtype that `backend` supports.
    """
    if (
        type(value) is np.ndarray
        and value.dtype == dtype
        and (flags := value.flags).c_contiguous
        and flags.aligned
        and backend is CPU
    ):
        return value  # a shortcut that matters to calls of a few microseconds
    array = array_of(name, value, backend)
    check_real(name, array, dtype, why, backend)
    array = known_to_numpy(array)
    if dtype is None:
        wider = np.result_type(array.dtype, np.float32)
        dtype = wider if wider in backend.dtypes else backend.dtypes[-1]
    return backend.contiguous(array.astype(dtype, order="C", copy=False))  # type: ignore[no-any-return]


def shaped_array(
    name: str,
    value: ArrayLike,
    dtype: np.dtype[Any] | None,
    expected: tuple[int, ...],
    meaning: str,
    why: str = "",
    backend: Backend = CPU,
) -> RealArray:
    """Return `value` as `real_array` does, after checking its shape as `shape` does.

    The shape comes first, so that an array of a wrong size is refused before it is copied.
    """
    array = given(name, value)
    check_real(name, array, dtype, why, backend)
    shape(name, array, expected, meaning)
    return real_array(name, array, dtype, why, backend)


def check_real(
    name: str, array: NDArray[Any], dtype: np.dtype[Any] | None, why: str, backend: Backend
) -> None:
    """Refuse an array of anything but real numbers, which `real_array` converts to `dtype`."""
    if known_dtype(array.dtype).kind not in "fiub":
        raise TypeError(
            f"{name}: expected real numbers to convert to dtype "
            f"{dtype or backend.dtypes[-1]}{why}, got {array.dtype}"
        )


def known_to_numpy(array: NDArray[Any]) -> NDArray[Any]:
    """Convert an array of bfloat16, or of another float type that NumPy lacks, to float32."""
    return array.astype(known_dtype(array.dtype), copy=False)


def known_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 for bfloat16 and other float types that NumPy lacks, and others unchanged.

    Such types are defined by the package ml_dtypes, which `safetensors.numpy` and onnx use.
    """
    return np.dtype(np.float32) if dtype.kind == "V" and "float" in dtype.name else dtype


def values_of(name: str, value: ArrayLike, parameter: RealArray) -> RealArray:
    """Return `value` as an array on the device of `parameter`; it must have the same shape."""
    array = given(name, value)
    if known_dtype(array.dtype).kind != "f":
        raise TypeError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    shape(name, array, parameter.shape, "of the parameter")
    return of(parameter).asarray(known_to_numpy(array))  # type: ignore[no-any-return]


def output_array(name: str, value: Any, dtype: np.dtype[Any], backend: Backend = CPU) -> None:
    """Check that `value` is an array of `dtype` that C++ can write to without a copy."""
    if not hasattr(value, "flags") or of(value) is not backend:
        raise TypeError(f"{name}: expected an array to write into, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {dtype}, got {value.dtype}")
    if not (value.flags.c_contiguous and getattr(value.flags, "writeable", True)):
        got = "read-only" if value.flags.c_contiguous else f"strides {value.strides}"
        raise ValueError(f"{name}: expected a writable C-contiguous array, got {got}")
    if not getattr(value.flags, "aligned", True):
        raise ValueError(
            f"{name}: expected an array whose address is a multiple of {dtype.alignment}"
        )


def integer_array(name: str, value: ArrayLike, backend: Backend = CPU) -> IntArray:
    """Return `value` as a C-contiguous int64 array; it must be of an integer dtype."""
    array = array_of(name, value, backend)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected an array of integers, got dtype {array.dtype}")
    return backend.contiguous(array.astype(np.int64, copy=False))  # type: ignore[no-any-return]


def index_array(
    name: str,
    value: ArrayLike,
    expected: str,
    end: int,
    backend: Backend,
    ignored: int | None = None,
) -> IntArray:
    """Return `value` as `integer_array` does; its integers must be in [0, end) or `ignored`.

    `expected` is the start of the error message. The CPU kernels check int64 values themselves;
    uint64 values are checked here, as they may not fit into int64. Values for a device are checked
    only if they come from the host, which would have to wait for values on the device.
    """
    if backend is CPU:
        if type(value) is np.ndarray and value.dtype == _INT64 and value.flags.c_contiguous:
            return value
        array = array_of(name, value)
        host = array if array.dtype.kind == "u" and array.dtype.itemsize == 8 else None
    else:
        host = backend.on_host(value)
    if host is not None and host.dtype.kind in "iu":
        outside = (host < 0) | (host >= end)
        if ignored is not None:
            outside &= host != ignored
        if outside.any():
            besides = "" if ignored is None else f" or ignore_index = {ignored}"
            raise IndexError(f"{expected} = [0, {end}){besides}, got {host[outside].flat[0]}")
    return integer_array(name, value, backend)


def shape(name: str, array: NDArray[Any], expected: tuple[int, ...], meaning: str) -> None:
    """Check the shape of an array; `meaning` names the expected sizes for the message."""
    if array.shape != expected:
        raise ValueError(f"{name}: expected shape {meaning} = {expected}, got {array.shape}")


def last_axis(name: str, array: NDArray[Any], size: int, meaning: str) -> None:
    """Check the size of the last axis of an array; `meaning` names it for the message."""
    if array.ndim < 1 or array.shape[-1] != size:
        raise ValueError(f"{name}: expected shape (..., {meaning} = {size}), got {array.shape}")


def same_names(name: str, got: Mapping[str, Any], expected: Iterable[str]) -> None:
    """Check that `got` is a dict with exactly the expected keys."""
    if not isinstance(got, Mapping):
        raise TypeError(f"{name}: expected a dict, got {type(got).__name__}")
    expected = list(expected)
    missing = [key for key in expected if key not in got]
    unexpected = [key for key in got if key not in expected]
    if missing or unexpected:
        parts = [
            f"{label} {', '.join(map(repr, keys))}"
            for label, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        raise ValueError(f"{name}: {'; '.join(parts)}")
