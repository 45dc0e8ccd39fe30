"""The library's functions on a device: they allocate results and pass addresses to the kernels.

The callers have checked all arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnfast import _core
from rnnfast._engine.backends import Array
from rnnfast.cuda._device import Device
from rnnfast.cuda._network import DevicePacked, DeviceReserve, Network


class Engine(Device):
    """The backend of a device: the functions of its module on its arrays."""

    # ---- recurrent networks: `rnnfast.functional`

    def pack(self, options: _core.NetworkOptions, weights: Sequence[Any]) -> DevicePacked:
        copies = [type(w)(*(a if a is None else a.copy() for a in w)) for w in weights]
        return DevicePacked(
            self,
            options.cell.name,
            copies,
            options.num_layers,
            options.bidirectional,
            options.precision,
        )

    def forward(
        self,
        options: _core.NetworkOptions,
        x: Array,
        weights: Sequence[Any] | DevicePacked,
        state: Sequence[Array | None] | None,
        lengths: Array | None,
        reset: None,  # noqa: ARG002  (the checks refuse others)
        seed: int,
        context_gates: Sequence[Array] | None = None,  # noqa: ARG002  (likewise)
    ) -> tuple[Array, tuple[Array, ...], DeviceReserve | None]:
        return Network(self, options, x, weights, state, lengths, seed).forward()

    def backward(
        self,
        reserve: DeviceReserve,
        dy: Array | None,
        dstate: Sequence[Array | None] | None,
        need_dx: bool,
        dweights: Sequence[Any] | None,
        dcontext_gates: Sequence[Array] | None = None,  # noqa: ARG002  (the checks refuse others)
    ) -> tuple[Array | None, tuple[Array, ...], list[Any] | None]:
        return reserve.network.backward(reserve.memory, dy, dstate, need_dx, dweights)

    # ---- dense layers and `rnnfast.losses`

    def linear_forward(self, *, x: Array, weight: Array, bias: Array | None) -> Array:
        outputs, inputs = weight.shape
        y = self.floats(*x.shape[:-1], outputs)
        self._gemm(
            x,
            weight,
            y,
            (y.size // outputs, outputs, inputs),
            transpose_b=True,
            bias=self.address(bias),
        )
        return y

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
        outputs, inputs = weight.shape
        rows = x.size // inputs
        if dweight is not None:
            self._gemm(dy, x, dweight, (outputs, inputs, rows), transpose_a=True, beta=1.0)
        if dbias is not None and rows:
            self.extension.column_sum(
                a=self.pointer(dy),
                rows=rows,
                columns=outputs,
                lda=outputs,
                out=self.pointer(dbias),
                beta=1.0,
                stream=self.stream(),
            )
        if not need_dx:
            return None
        dx = self.floats(*x.shape)
        self._gemm(dy, weight, dx, (rows, inputs, outputs))
        return dx

    def _gemm(
        self,
        a: Array,
        b: Array,
        c: Array,
        sizes: tuple[int, int, int],
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        **options: Any,
    ) -> None:
        """Compute c = op(a) op(b), where op(a) is (m, k) and op(b) is (k, n)."""
        m, n, k = sizes
        if 0 in sizes:
            return
        self.extension.gemm(
            a=self.pointer(a),
            b=self.pointer(b),
            c=self.pointer(c),
            m=m,
            n=n,
            k=k,
            lda=m if transpose_a else k,
            ldb=k if transpose_b else n,
            ldc=n,
            transpose_a=transpose_a,
            transpose_b=transpose_b,
            stream=self.stream(),
            **options,
        )

    def embedding_forward(self, *, weight: Array, indices: Array) -> Array:
        rows, columns = weight.shape
        y = self.floats(*indices.shape, columns)
        if indices.size:
            self.extension.gather_rows(
                table=self.pointer(weight),
                table_rows=rows,
                columns=columns,
                indices=self.pointer(indices),
                count=indices.size,
                y=self.pointer(y),
                ldy=columns,
                stream=self.stream(),
            )
        return y

    def embedding_backward(self, *, dy: Array, indices: Array, dweight: Array) -> None:
        rows, columns = dweight.shape
        if not indices.size:
            return
        workspace = self.scratch(self.extension.scatter_workspace(indices.size))
        self.extension.scatter_rows(
            dy=self.pointer(dy),
            lddy=columns,
            indices=self.pointer(indices),
            count=indices.size,
            table=self.pointer(dweight),
            table_rows=rows,
            columns=columns,
            workspace=self.pointer(workspace),
            stream=self.stream(),
        )

    def cross_entropy(
        self, *, logits: Array, targets: Array, ignore_index: int, need_gradient: bool
    ) -> tuple[Array, Array | None]:
        """Return the mean loss, an array of shape (), and its gradient with respect to logits."""
        classes = logits.shape[-1]
        losses = self.floats(targets.size)
        result = self.empty((2,), np.float64)
        dlogits = self.floats(*logits.shape) if need_gradient else None
        self.extension.cross_entropy(
            logits=self.pointer(logits),
            targets=self.pointer(targets),
            rows=targets.size,
            classes=classes,
            ignore_index=ignore_index,
            losses=self.pointer(losses),
            dlogits=self.address(dlogits),
            result=self.pointer(result),
            stream=self.stream(),
        )
        return result[0], dlogits

    # ---- `rnnfast.optim`

    def group(self, *, lists: list[list[Array]]) -> Group:
        return Group(self, lists)

    def gradients(self, *, group: Group, care: _core.Care) -> Array | None:
        return group.step("gradients", care)

    def sgd(self, *, group: Group, care: _core.Care, **options: Any) -> Array | None:
        return group.step("sgd", care, **options)

    def adagrad(self, *, group: Group, care: _core.Care, **options: Any) -> Array | None:
        return group.step("adagrad", care, **options)

    def rmsprop(self, *, group: Group, care: _core.Care, **options: Any) -> Array | None:
        return group.step("rmsprop", care, **options)

    def adam(self, *, group: Group, care: _core.Care, step: int, **options: Any) -> Array | None:
        return group.step("adam", care, number=step, **options)


class Group:
    """Gradients, parameters and buffers, with the table of their pieces on the device."""

    _MOST_BUFFERS = 3

    def __init__(self, backend: Device, lists: Sequence[Sequence[Array]]) -> None:
        self._backend = backend
        self._lists = lists  # keeps the memory alive
        table = backend.extension.cut_pieces(
            lists=[[backend.pointer(array) for array in arrays] for arrays in lists],
            sizes=[array.size for array in lists[0]],
        )
        self._pieces = backend.asarray(table)
        self._sums = backend.empty((len(table) + 1,), np.float64)
        buffers = [bool(arrays) for arrays in lists[2:]]
        self._buffers = buffers + [False] * (self._MOST_BUFFERS - len(buffers))

    def step(self, name: str, care: _core.Care, **options: Any) -> Array | None:
        """Call a function by its name; return the norm, of shape (), if there is a bound on it."""
        backend = self._backend
        if care.only_if_finite:
            norm = sum((a.astype(np.float64) ** 2).sum() for a in self._lists[0]) ** 0.5
            if not math.isfinite(norm):  # waits for the device
                return norm
        step = backend.extension.step_call(
            pieces=backend.pointer(self._pieces),
            count=len(self._pieces),
            buffers=self._buffers,
            sums=backend.pointer(self._sums),
            clip_norm=care.clip_norm,
            clip_value=care.clip_value,
            zero=care.zero,
            stream=backend.stream(),
        )
        getattr(backend.extension, name)(step, **options)
        if care.clip_norm is not None:
            return self._sums[0].copy()
        return norm if care.only_if_finite else None
