"""A call of a recurrent network on a device, and the reserve that it keeps for backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnfast._core import NetworkOptions
from rnnfast._engine.backends import Array
from rnnfast.cuda._device import Device


@dataclass(frozen=True)
class DevicePacked:
    """Private copies of weights on a device: the counterpart of `_core.Packed`."""

    backend: Device
    cell: str
    weights: list[Any]
    num_layers: int
    bidirectional: bool
    precision: str

    @property
    def dtype(self) -> str:
        """Name of the dtype of the weights."""
        return str(self.weights[0].weight_ih.dtype)

    @property
    def input_size(self) -> int:
        """I."""
        return int(self.weights[0].weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """H."""
        return int(self.weights[0].weight_hh.shape[1])

    @property
    def proj_size(self) -> int:
        """Width of a projected h: 0, as devices do not support projections."""
        return 0

    @property
    def nbytes(self) -> int:
        """Size of the copies in bytes."""
        return sum(array.nbytes for w in self.weights for array in w if array is not None)


@dataclass(frozen=True)
class DeviceReserve:
    """The reserve of a training forward pass, with the interface of `_core.Reserve`."""

    network: Network
    memory: Array

    @property
    def backend(self) -> Device:
        """The device that holds the reserve."""
        return self.network.backend

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return "float32"

    @property
    def nbytes(self) -> int:
        """Size of the reserve in bytes."""
        return int(self.memory.nbytes)

    @property
    def weights(self) -> Sequence[Any]:
        """The weights of each layer and direction, as in `Weights`."""
        return self.network.weights

    @property
    def states(self) -> int:
        """Number of states of the cell."""
        return self.network.states

    @property
    def y_shape(self) -> tuple[int, int, int]:
        """(T, B, D*H)."""
        return self.network.y_shape

    @property
    def state_shapes(self) -> list[tuple[int, int, int]]:
        """(L*D, B, H) of each state."""
        return [self.network.state_shape] * self.states


class Network:
    """The arguments of a call, which are checked and on the device."""

    def __init__(
        self,
        backend: Device,
        options: NetworkOptions,
        x: Array,
        weights: Sequence[Any] | DevicePacked,
        state: Sequence[Array | None] | None,
        lengths: Array | None,
        seed: int,
    ) -> None:
        if isinstance(weights, DevicePacked):
            weights = weights.weights
        self.backend, self.x, self.weights, self._cell = backend, x, weights, options.cell.name
        self.states, self.training = options.cell.states, options.training
        self.initial = state or (None,) * self.states
        # The kernels count steps in 32 bits. A length that overflows masks no less: it exceeds T.
        self.lengths = None if lengths is None else backend.contiguous(lengths.astype(np.int32))
        steps, batch = x.shape[:2]
        input_size, hidden = weights[0].weight_ih.shape[1], weights[0].weight_hh.shape[1]
        layers, directions = options.num_layers, 2 if options.bidirectional else 1
        self.y_shape = steps, batch, directions * hidden
        self.state_shape = layers * directions, batch, hidden
        self.empty = steps == 0 or batch == 0
        self.indexed = x.ndim == 2
        self._call = backend.extension.network_call(
            cell=backend.cell(options.cell.name),
            steps=steps,
            batch=batch,
            input_size=input_size,
            hidden_size=hidden,
            layers=layers,
            directions=directions,
            training=self.training,
            products=backend.products(options.precision),
            kernel=backend.kernel,
            dropout=options.dropout if self.training and layers > 1 else 0.0,
            seed=seed,
            x=0 if self.indexed else backend.pointer(x),
            indices=backend.pointer(x) if self.indexed else 0,
            lengths=backend.address(self.lengths),
            weights=self._weight_addresses(weights),
            initial=self._addresses(self.initial),
        )

    def forward(self) -> tuple[Array, tuple[Array, ...], DeviceReserve | None]:
        """y, the final states and, if training, what backward needs."""
        backend = self.backend
        y = backend.floats(*self.y_shape)
        if self.empty:
            return y, self._copied(self.initial), self._reserve(backend.scratch(0))
        final = tuple(backend.floats(*self.state_shape) for _ in range(self.states))
        reserve = backend.scratch(self._call.reserve_bytes)
        workspace = backend.scratch(self._call.forward_workspace_bytes)
        backend.prepare(self._call, self._cell, backward=False)
        self._call.forward(
            y=backend.pointer(y),
            final=self._addresses(final),
            reserve=backend.pointer(reserve),
            workspace=backend.pointer(workspace),
            stream=backend.stream(),
        )
        return y, final, self._reserve(reserve)

    def backward(
        self,
        reserve: Array,
        dy: Array | None,
        dstate: Sequence[Array | None] | None,
        need_dx: bool,
        dweights: Sequence[Any] | None,
    ) -> tuple[Array | None, tuple[Array, ...], list[Any] | None]:
        """dx, the gradients of the initial states and those of the weights, if new."""
        backend = self.backend
        sums = [  # the kernels add to all, also where `dweights` has None for what nobody wants
            type(w)(
                *(
                    backend.zeros(*a.shape) if a is not None and given is None else given
                    for a, given in zip(w, to, strict=True)
                )
            )
            for w, to in zip(
                self.weights, dweights or [(None,) * len(w) for w in self.weights], strict=True
            )
        ]
        new = sums if dweights is None else None
        dfinal = dstate or (None,) * self.states
        dx = backend.floats(*self.x.shape) if need_dx and not self.indexed else None
        if self.empty:
            return dx, self._copied(dfinal), new
        dinitial = tuple(backend.floats(*self.state_shape) for _ in range(self.states))
        workspace = backend.scratch(self._call.backward_workspace_bytes)
        backend.prepare(self._call, self._cell, backward=True)
        self._call.backward(
            dy=backend.address(dy),
            dfinal=self._addresses(dfinal),
            dx=backend.address(dx),
            dinitial=self._addresses(dinitial),
            dweights=self._weight_addresses(sums),
            reserve=backend.pointer(reserve),
            workspace=backend.pointer(workspace),
            stream=backend.stream(),
        )
        return dx, dinitial, new

    def _reserve(self, memory: Array) -> DeviceReserve | None:
        return DeviceReserve(self, memory) if self.training else None

    def _copied(self, states: Sequence[Array | None]) -> tuple[Array, ...]:
        """Return what no step changes: copies, zeros for None."""
        return tuple(
            self.backend.zeros(*self.state_shape) if s is None else s.copy() for s in states
        )

    def _weight_addresses(self, weights: Sequence[Any]) -> list[list[int]]:
        """Those of all weights but weight_hr, which nobody has here."""
        return [self._addresses(w[:5]) for w in weights]

    def _addresses(self, arrays: Sequence[Array | None]) -> list[int]:
        return [self.backend.address(array) for array in arrays]
