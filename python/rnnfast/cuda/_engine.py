"""The library's functions on a device: arrays are made here, and addresses handed to the kernels.

Arguments have been checked. Everything goes to the caller's stream, and nothing waits for it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from rnnfast import _core
from rnnfast._engine.backend import Backend
from rnnfast.cuda._devices import Properties
from rnnfast.cuda._kernels import Kernels, Unit, definition, kernels, traced_cell
from rnnfast.cuda._network import DevicePacked, DeviceReserve, Network

# PyTorch's names for what may multiply where arrays are float32.
MATMUL_PRECISIONS = {"highest": "full", "high": "bfloat16x3", "medium": "bfloat16"}

_ALIGNMENT = 16  # bytes: kernels read four values at once

Array = Any  # CuPy's, or the emulator's


class Engine(Backend):
    """A compiled module, `_cuda` or one for the emulator, over arrays of its device."""

    dtypes = (np.dtype("float32"),)
    recomputes = False
    projects = False
    draws_noise = False

    def __init__(self, name: str, extension: ModuleType) -> None:
        self.name = name
        self.extension: Any = extension
        self.kernel: str | None = (
            None  # the only one that networks may run, for tests and measuring
        )
        self.matmul_precision = "highest"  # see set_float32_matmul_precision

    def products(self, precision: str) -> str:
        """What recurrent products multiply at a layer's precision."""
        return precision if precision != "full" else MATMUL_PRECISIONS[self.matmul_precision]

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array with any values."""

    @abstractmethod
    def stream(self) -> int:
        """The caller's stream."""

    def properties(self) -> Properties:
        """What the device has."""
        return self.extension.device_properties()  # type: ignore[no-any-return]

    def contiguous(self, array: Array) -> Array:
        if array.flags.c_contiguous and self.pointer(array) % _ALIGNMENT == 0:
            return array
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def floats(self, *shape: int) -> Array:
        """A new array of float32 with any values."""
        return self.empty(shape, np.float32)

    def zeros(self, *shape: int) -> Array:
        """The same of zeros."""
        array = self.floats(*shape)
        array.fill(0)
        return array

    def scratch(self, size: int) -> Array:
        """Bytes that the kernels use during a call."""
        return self.empty((size,), np.uint8)

    def address(self, array: Array | None) -> int:
        """The address of an array, 0 for none."""
        return 0 if array is None else self.pointer(array)

    # ---- recurrent networks: `rnnfast.functional`

    def pack(self, options: _core.NetworkOptions, weights: Sequence[Any]) -> DevicePacked:
        """Copies of the weights."""
        copies = [type(w)(*(a if a is None else a.copy() for a in w)) for w in weights]
        return DevicePacked(
            self,
            options.cell.name,
            copies,
            options.num_layers,
            options.bidirectional,
            options.precision,
        )

    def forward(self, *call: Any) -> tuple[Array, tuple[Array, ...], DeviceReserve | None]:
        """y, the final states and, if training, what `backward` needs."""
        return Network(self, *call).forward()

    def backward(
        self, reserve: DeviceReserve, *gradients: Any
    ) -> tuple[Array | None, tuple[Array, ...], list[Any] | None]:
        """dx, the gradients of the initial states and those of the weights, if new."""
        return reserve.network.backward(reserve.memory, *gradients)

    def check_cell(self, name: str) -> None:
        self.cell(name)

    def cell(self, name: str) -> int:
        """The extension's number of a cell, which it may learn of now.

        Raises:
            CellError: The cell cannot run here.
        """
        number = int(self.extension.find_cell(name))
        if number >= 0:
            return number
        cell = traced_cell(name)
        assert cell is not None, f"the module has no cell {name!r}"
        from rnnfast.traced.header import header

        header(cell)  # raises, if it has none
        return int(self.extension.define_cell(name, **definition(cell)))

    def prepare(self, call: Any, cell: str, *, backward: bool) -> None:
        """Compiles and loads the kernels that a pass of a call needs, if they are not there."""
        missing = call.missing(backward=backward)
        if missing is None:
            return
        kernel, paired = missing
        unit = Unit(self.cell(cell), kernel, backward, paired)
        functions = self.compiled(kernels(self.extension, unit, traced_cell(cell)))
        self.extension.load(**unit._asdict(), functions=functions)

    @abstractmethod
    def compiled(self, kernels: Kernels) -> list[int]:
        """The addresses of kernels' functions, which stay valid."""

    # ---- `rnnfast.dense` and `rnnfast.losses`

    def linear_forward(self, *, x: Array, weight: Array, bias: Array | None) -> Array:
        """X W^T + b."""
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
        """Returns dx and adds to dweight and dbias, where they are given."""
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
        """C = op(a) op(b) of sizes (m, k) and (k, n)."""
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
        """Rows of weight."""
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
        """Adds to dweight."""
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
        """The mean loss, an array of shape (), and its gradient by the logits."""
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

    def group(self, *, lists: Sequence[Sequence[Array]]) -> Group:
        """Of lists of arrays: gradients, then values and buffers if an optimiser is to step."""
        return Group(self, lists)

    def gradients(self, *, group: Group, care: _core.Care) -> Array | None:
        """Takes care of the gradients alone. Returns their norm before, if the care needs it."""
        return group.step("gradients", care)

    def sgd(self, *, group: Group, care: _core.Care, **options: Any) -> Array | None:
        """One step. Returns the norm, as do the other optimisers'."""
        return group.step("sgd", care, **options)

    def adagrad(self, *, group: Group, care: _core.Care, **options: Any) -> Array | None:
        """One step."""
        return group.step("adagrad", care, **options)

    def rmsprop(self, *, group: Group, care: _core.Care, **options: Any) -> Array | None:
        """One step."""
        return group.step("rmsprop", care, **options)

    def adam(self, *, group: Group, care: _core.Care, step: int, **options: Any) -> Array | None:
        """Step number `step`, from 1."""
        return group.step("adam", care, number=step, **options)


class Group:
    """Gradients, values and buffers, with the table of their pieces on the device."""

    _MOST_BUFFERS = 3

    def __init__(self, on: Engine, lists: Sequence[Sequence[Array]]) -> None:
        self._on = on
        self._lists = lists  # keeps the memory alive
        table = on.extension.cut_pieces(
            lists=[[on.pointer(array) for array in arrays] for arrays in lists],
            sizes=[array.size for array in lists[0]],
        )
        self._pieces = on.asarray(table)
        self._sums = on.empty((len(table) + 1,), np.float64)
        buffers = [bool(arrays) for arrays in lists[2:]]
        self._buffers = buffers + [False] * (self._MOST_BUFFERS - len(buffers))

    def step(self, name: str, care: _core.Care, **options: Any) -> Array | None:
        """Calls the function of that name; returns the norm, of shape (), if the care needs it."""
        on = self._on
        if care.only_if_finite:
            norm = sum((a.astype(np.float64) ** 2).sum() for a in self._lists[0]) ** 0.5
            if not math.isfinite(norm):  # waits for the device
                return norm
        step = on.extension.Step(
            pieces=on.pointer(self._pieces),
            count=len(self._pieces),
            buffers=self._buffers,
            sums=on.pointer(self._sums),
            clip_norm=care.clip_norm,
            clip_value=care.clip_value,
            zero=care.zero,
            stream=on.stream(),
        )
        getattr(on.extension, name)(step, **options)
        if care.clip_norm is not None:
            return self._sums[0].copy()
        return norm if care.only_if_finite else None
