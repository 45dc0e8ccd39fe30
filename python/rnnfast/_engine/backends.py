"""Backends: the CPU or a device, its kind of array and the functions that compute on it.

A function runs where its main arrays are: the weights of a network, the logits of a loss, the
parameters of an optimiser. Other arguments are copied there if they are elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnnfast import _core
from rnnfast._core import Care, NetworkOptions

Array: TypeAlias = Any  # NumPy's, CuPy's, or those of another registered device

_DLPACK_CUDA = 2  # the device type of DLPack's header


class DeviceError(RuntimeError):
    """The device cannot be used here; the message says why."""


class Backend(ABC):
    """The arrays of one device and the library's functions on them, with the signatures of `_core`.

    Attributes:
        name: The name that layers take as `device=`.
        dtypes: The real types that it supports.
        recomputes: Whether `backward` can recompute the gates.
        projects: Whether layers may project their h.
        draws_noise: Whether networks can have noise inside their steps.
        resets: Whether calls can reset states at given steps.
        contexts: Whether gates can have the part of a context.
        quantizes: Whether products can be of 8-bit integers.
    """

    name: str
    dtypes: tuple[np.dtype[Any], ...]
    recomputes: bool
    projects: bool
    draws_noise: bool
    resets: bool
    contexts: bool
    quantizes: bool

    @abstractmethod
    def asarray(self, value: Any) -> Any:
        """Return `value` as an array on this device, copied only if it is elsewhere."""

    @abstractmethod
    def contiguous(self, array: Any) -> Any:
        """Return an array of this device in C order, as its kernels need; copied only if needed."""

    @abstractmethod
    def pointer(self, array: Any) -> int:
        """Return the address of an array of this device."""

    @abstractmethod
    def forward(
        self,
        options: NetworkOptions,
        x: Array,
        weights: Any,
        state: Sequence[Array | None] | None,
        lengths: Array | None,
        reset: Array | None,
        seed: int,
        context_gates: Sequence[Array] | None = None,
    ) -> tuple[Array, tuple[Array, ...], Any]:
        """Return y, the final states and, if training, the reserve that `backward` needs.

        `weights` is a list of `Weights`, or the result of `pack`.
        """

    @abstractmethod
    def backward(
        self,
        reserve: Any,
        dy: Array | None,
        dstate: Sequence[Array | None] | None,
        need_dx: bool,
        dweights: Sequence[Any] | None,
        dcontext_gates: Sequence[Array] | None = None,
    ) -> tuple[Array | None, tuple[Array, ...], list[Any] | None]:
        """Return dx and the gradients of the initial states and the weights.

        If `dweights` is given, the gradients of the weights are added to its arrays, and None is
        returned in their place. Those of `context_gates` are added to `dcontext_gates`.
        """

    @abstractmethod
    def pack(self, options: NetworkOptions, weights: Sequence[Any]) -> Any:
        """Return a copy of the weights in the layout that `forward` reads fastest."""

    @abstractmethod
    def linear_forward(self, *, x: Array, weight: Array, bias: Array | None) -> Array:
        """Return x W^T + b."""

    @abstractmethod
    def linear_backward(
        self,
        *,
        dy: Array,
        x: Array,
        weight: Array,
        dweight: Array | None,
        dbias: Array | None,
        need_dx: bool,
    ) -> Array | None:
        """Return dx, if needed, and add to dweight and dbias, where they are given."""

    @abstractmethod
    def embedding_forward(self, *, weight: Array, indices: Array) -> Array:
        """Return the rows of weight that the indices select."""

    @abstractmethod
    def embedding_backward(self, *, dy: Array, indices: Array, dweight: Array) -> None:
        """Add the rows of dy to the rows of dweight that the indices select."""

    @abstractmethod
    def cross_entropy(
        self, *, logits: Array, targets: Array, ignore_index: int, need_gradient: bool
    ) -> tuple[float, Array | None]:
        """Return the mean loss and its gradient with respect to the logits.

        On a device the loss is an array of shape (); `float()` waits for its value.
        """

    @abstractmethod
    def group(self, *, lists: list[list[Array]]) -> Any:
        """Return lists of arrays in the form that the optimisers take.

        The first list holds gradients. For an optimiser step, lists of parameters and buffers
        follow.
        """

    @abstractmethod
    def gradients(self, *, group: Any, care: Care) -> float | None:
        """Clip or zero gradients; return their norm before clipping if there is a bound on it.

        On a device the norm is an array of shape (), as are the norms that the optimisers return;
        `float()` waits for its value.
        """

    @abstractmethod
    def sgd(
        self,
        *,
        group: Any,
        care: Care,
        lr: float,
        momentum: float,
        weight_decay: float,
        nesterov: bool,
    ) -> float | None:
        """Take one step; return the norm of the gradients, if it is clipped."""

    @abstractmethod
    def adagrad(
        self, *, group: Any, care: Care, lr: float, eps: float, weight_decay: float
    ) -> float | None:
        """Take one step; return the norm of the gradients, if it is clipped."""

    @abstractmethod
    def rmsprop(
        self,
        *,
        group: Any,
        care: Care,
        lr: float,
        alpha: float,
        eps: float,
        momentum: float,
        weight_decay: float,
    ) -> float | None:
        """Take one step; return the norm of the gradients, if it is clipped."""

    @abstractmethod
    def adam(
        self,
        *,
        group: Any,
        care: Care,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
        step: int,
    ) -> float | None:
        """Take step number `step`, from 1; return the norm of the gradients, if it is clipped."""

    def check_cell(self, name: str) -> None:  # noqa: B027  (most backends run every cell)
        """Raise a `ValueError` that says why if this backend has no kernels for a cell."""

    def on_host(self, value: Any) -> NDArray[Any] | None:
        """Return `value` if the CPU can read it without waiting for a device, else None."""
        return np.asarray(value) if of(value) is CPU else None

    def to_host(self, array: Any) -> NDArray[Any]:
        """Return a NumPy copy of an array of this device."""
        return np.array(array)

    def __reduce__(self) -> tuple[Callable[[str], Backend], tuple[str]]:
        return get, (self.name,)  # each backend exists once


class _Cpu(Backend):
    """NumPy arrays and the kernels of `_core`."""

    name = "cpu"
    dtypes = (np.dtype("float32"), np.dtype("float64"))
    recomputes = True
    projects = True
    draws_noise = True
    resets = True
    contexts = True
    quantizes = True

    forward = staticmethod(_core.forward)
    backward = staticmethod(_core.backward)
    pack = staticmethod(_core.pack)
    linear_forward = staticmethod(_core.linear_forward)
    linear_backward = staticmethod(_core.linear_backward)
    embedding_forward = staticmethod(_core.embedding_forward)
    embedding_backward = staticmethod(_core.embedding_backward)
    cross_entropy = staticmethod(_core.cross_entropy)
    group = staticmethod(_core.group)
    gradients = staticmethod(_core.gradients)
    sgd = staticmethod(_core.sgd)
    adagrad = staticmethod(_core.adagrad)
    rmsprop = staticmethod(_core.rmsprop)
    adam = staticmethod(_core.adam)

    def asarray(self, value: Any) -> NDArray[Any]:
        return np.asarray(value)

    def contiguous(self, array: NDArray[Any]) -> NDArray[Any]:
        flags = array.flags
        return array if flags.c_contiguous and flags.aligned else array.copy(order="C")

    def pointer(self, array: NDArray[Any]) -> int:
        return int(array.__array_interface__["data"][0])


CPU = _Cpu()


# Functions that return the backend of a device, by its name; None stands for the default device.
_providers: dict[str | None, Callable[[], Backend]] = {None: lambda: CPU, CPU.name: lambda: CPU}


def register(name: str | None, provider: Callable[[], Backend]) -> None:
    """Add a device, whose backend `provider` returns; the name None sets the default device."""
    _providers[name] = provider


def get(name: str | None) -> Backend:
    """Return the backend of a device by its name; None for the default, which is the CPU.

    Raises:
        ValueError: No device has this name.
        DeviceError: The device cannot be used here; the message says why.
    """
    if not isinstance(name, str | None) or name not in _providers:
        known = ", ".join(filter(None, _providers))
        raise ValueError(f"device: expected one of {known}, got {name!r}")
    return _providers[name]()


def of(value: Any) -> Backend:
    """Return the backend that owns `value`; the CPU's if it is not an array."""
    if type(value) is np.ndarray:
        return CPU
    named = getattr(value, "rnnfast_device", None)  # arrays of a registered device may name it
    if named is not None:
        return get(named)
    if hasattr(value, "__cuda_array_interface__"):
        return get("cuda")
    return get("cuda") if _dlpack_device(value) == _DLPACK_CUDA else CPU


def _dlpack_device(value: Any) -> int | None:
    """Return the kind of device that DLPack names; None if it has none for the value."""
    locate = getattr(value, "__dlpack_device__", None)
    try:
        return None if locate is None else int(locate()[0])
    except (BufferError, RuntimeError, TypeError, ValueError):
        return None  # as of a tensor of PyTorch's device "meta", which `array_of` refuses


def of_weights(weights: Any) -> Backend:
    """Return the backend of a network's weights; the CPU's, which reports them, if malformed."""
    if not isinstance(weights, (list, tuple)):
        return getattr(weights, "backend", CPU)  # packed for a device
    return of(weights[0][0]) if weights and isinstance(weights[0], tuple) else CPU


def check_unmasked(name: str, value: Any) -> None:
    """Refuse a masked array: its masked values would be used like any others."""
    if isinstance(value, np.ndarray) and hasattr(value, "mask"):
        raise TypeError(
            f"{name}: expected an array without a mask, as masked values would be used like any "
            f"others, got a MaskedArray; fill it first, for example with `{name}.filled(0)`, or "
            "leave values out by `lengths` or `ignore_index`"
        )


def given(name: str, value: Any) -> Any:
    """Return `value` as an array of the device that it is on.

    Raises:
        TypeError: It is a masked array, or no array can be made of it.
        ValueError: It holds sequences of different lengths, for example.
    """
    if type(value) is np.ndarray:
        return value  # a shortcut that matters to calls of a few microseconds
    return array_of(name, value, of(value))


def array_of(name: str, value: Any, backend: Backend = CPU) -> Any:
    """Return `value` as an array of `backend`, which may be `value` itself.

    Raises:
        TypeError: It is a masked array, or no array can be made of it.
        ValueError: It holds sequences of different lengths, for example.
    """
    check_unmasked(name, value)
    try:
        return backend.asarray(value)
    except MemoryError:
        raise
    except Exception as error:  # whatever the library of the value raises, which has no name for it
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(
            f"{name}: expected an array or values that make one, got "
            f"{type(value).__name__}: {error}"
        ) from error


def to_host(value: Any) -> NDArray[Any]:
    """Return a NumPy copy of an array of any device."""
    return of(value).to_host(value)
