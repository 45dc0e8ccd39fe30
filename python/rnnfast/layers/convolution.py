"""Convolution over the time axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from rnnfast import _core
from rnnfast._engine import checks, seeds
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.layers.arrays import check_unchanged, trained_gradient
from rnnfast.layers.axes import time_first
from rnnfast.layers.module import uniform
from rnnfast.layers.sequences import SequenceLayer, clear_after, spans
from rnnfast.layers.stream_layers import StreamConvolution, StreamLayer

_MOST = 2**30  # the same limit as in the kernels
# x (T, B, C), the lengths of the sequences in x and in y (None for whole sequences), and the
# fingerprint of x and the weight
_Kept = tuple[RealArray, IntArray | None, IntArray | None, int]


class Conv1d(SequenceLayer):
    """Convolve: y[t] = bias + sum over k of weight[:, :, k] x[t * stride + k * dilation - padding].

    x is (T, B, in_channels), and y is (T', B, out_channels). Steps before the first and after the
    last count as zeros. With `lengths`, so do the steps after a sequence's end, and y is zero after
    the last step that the sequence would yield on its own, so that the results of a sequence do not
    depend on the rest of the batch.

    In training mode, `backward` takes the gradient of the last call, and only one call may be
    pending at a time; use `call` to make several calls before taking their gradients. Until
    `backward`, x and the weight must not change, because it reads them again. Only one thread at a
    time may train a layer.

    The parameters are those of PyTorch: `weight` (out_channels, in_channels, kernel_size) and
    `bias`, both initially uniform in +-1/sqrt(in_channels * kernel_size).

    Args:
        in_channels: Size of x's last axis.
        out_channels: Size of y's last axis.
        kernel_size: Number of steps of x that a step of y reads.
        stride: Distance in x between the steps that two neighbouring steps of y start from.
        padding: Number of steps of zeros before and after x; or "same", only with stride 1, for as
            many as give T' = T; or "causal" for as many, all before x, as keep every step of y from
            reading later steps of x.
        dilation: Distance in x between the steps that one step of y reads.
        bias: Whether to add a bias.
        batch_first: Whether x, y, dx and dy are (B, T, ...).
        dtype: float32 or float64, to which arrays of other real types are converted.
        seed: Seed of the initial values; None for a fresh seed.
        device: "cpu" or None, because the layer runs only on the CPU.

    Raises:
        ValueError: A size is less than 1; padding is negative, an unknown word, or "same" with a
            stride above 1; or the device is not the CPU.
        TypeError: An argument is of the wrong type.
    """

    dtype: np.dtype[Any]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        bias: bool = True,
        *,
        batch_first: bool = False,
        dtype: DTypeLike = np.float32,
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(device)
        self.in_channels = checks.size("in_channels", in_channels)
        self.out_channels = checks.size("out_channels", out_channels)
        self.kernel_size = checks.size("kernel_size", kernel_size)
        self.stride = checks.integer("stride", stride, 1, _MOST)
        self.dilation = checks.integer("dilation", dilation, 1, _MOST)
        self.padding = _padding(padding, self.stride)
        self.batch_first = checks.boolean("batch_first", batch_first)
        self.dtype = checks.real_dtype("dtype", dtype)
        generator = seeds.generator(seed)
        fan = in_channels * kernel_size
        shape = (out_channels, in_channels, kernel_size)
        self.weight = self._add("weight", uniform(generator, shape, fan, self.dtype))
        self.bias = (
            self._add("bias", uniform(generator, (out_channels,), fan, self.dtype))
            if checks.boolean("bias", bias)
            else None
        )

    def _run(
        self, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> tuple[RealArray, _Kept | None]:
        given = self._given(x)
        checks.last_axis("x", given, self.in_channels, "in_channels")
        array = self._sequences(given, self.batch_first)
        out_steps = int(self._steps_after(np.int64(len(array))))
        if out_steps == 0:
            raise ValueError(
                f"x: expected at least {self._reach - self._padded + 1} steps for a kernel of "
                f"{self._reach + 1} steps and {self._padded} of padding, got {len(array)}"
            )
        counts = after = None
        if lengths is not None:
            counts = spans(lengths, array).copy()  # because the caller may reuse its array
            after = self._lengths_after(counts)
            array = _cut(array, counts)
        y: RealArray = _core.convolution_forward(
            x=array,
            weight=self.weight.value,
            bias=None if self.bias is None else self.bias.value,
            out_steps=out_steps,
            stride=self.stride,
            dilation=self.dilation,
            padding=self._before,
        )
        if after is not None:
            clear_after(y, after)
        kept = None
        if self.training:
            kept = array, counts, after, _core.fingerprint(array, self.weight.value)
        return y.swapaxes(0, 1) if self.batch_first else y, kept

    def _differentiate(self, kept: _Kept, dy: ArrayLike, need_dx: bool) -> RealArray | None:
        x, counts, after, fingerprint = kept
        seq_len, batch, _ = x.shape
        axes = int(self._steps_after(np.int64(seq_len))), batch
        array = self._gradient(
            dy, (*(axes[::-1] if self.batch_first else axes), self.out_channels), x.dtype
        )
        check_unchanged(fingerprint, x, self.weight.value)
        if self.batch_first:
            array = time_first("dy", array)
        dx: RealArray | None = _core.convolution_backward(
            dy=array if after is None else _cut(array, after),
            x=x,
            weight=self.weight.value,
            dweight=trained_gradient(self.weight),
            dbias=trained_gradient(self.bias),
            stride=self.stride,
            dilation=self.dilation,
            padding=self._before,
            need_dx=need_dx,
        )
        if dx is None:
            return None
        if counts is not None:
            clear_after(dx, counts)
        return dx.swapaxes(0, 1) if self.batch_first else dx

    @property
    def _reach(self) -> int:
        """The distance in x between the first and the last step that one step of y reads."""
        return self.dilation * (self.kernel_size - 1)

    @property
    def _before(self) -> int:
        """The number of steps of zeros before x."""
        if isinstance(self.padding, int):
            return self.padding
        return self._reach // 2 if self.padding == "same" else self._reach

    @property
    def _padded(self) -> int:
        """The number of steps of zeros before and after x together."""
        return 2 * self.padding if isinstance(self.padding, int) else self._reach

    def _steps_after(self, steps: Any) -> Any:
        """Return the number of steps of y for a number of steps of x, or for an array of them."""
        return np.maximum((steps + self._padded - self._reach - 1) // self.stride + 1, 0)

    def _lengths_after(self, lengths: IntArray) -> IntArray:
        after: IntArray = self._steps_after(lengths)
        return after

    def _stream_layers(self) -> list[StreamLayer]:
        if self.padding != "causal" or self.stride > 1:
            raise ValueError(
                "stream: expected convolutions with padding='causal' and stride 1, which compute "
                f"one step of y per step of x, got padding={self.padding!r} and stride "
                f"{self.stride}"
            )
        bias = None if self.bias is None else self.bias.value
        return [StreamConvolution(self._backend, self.weight.value, bias, self.dilation)]

    def extra_repr(self) -> str:
        """Return the sizes, and the options that differ from their defaults."""
        default = {"stride": 1, "padding": 0, "dilation": 1, "bias": True, "batch_first": False}
        options = {name: getattr(self, name) for name in default}
        options["bias"] = self.bias is not None
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return sizes + "".join(f", {n}={v!r}" for n, v in options.items() if v != default[n])


def _padding(value: int | str, stride: int) -> int | str:
    """Return the argument `padding` after checking it."""
    if not isinstance(value, str):
        return checks.integer("padding", value, 0, _MOST)
    checks.choice("padding", value, ("same", "causal"))
    if value == "same" and stride > 1:
        raise ValueError(f"padding: expected a number or 'causal' with stride {stride}, got 'same'")
    return value


def _cut(array: RealArray, lengths: IntArray) -> RealArray:
    """Return sequences (T, B, C) with zeros after the end of each, copied only if necessary."""
    return array if (lengths >= len(array)).all() else clear_after(array.copy(), lengths)
