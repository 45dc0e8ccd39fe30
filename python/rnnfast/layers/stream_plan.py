"""Plans of streams: the layers of one step, and the layout of a sequence's states in a row.

Sizes: N sequences, S numbers in the state of a sequence, L num_layers, H the width of a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnfast import _core
from rnnfast._engine import arguments, checks
from rnnfast._engine.backends import CPU, Backend
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.layers.states import as_tuple
from rnnfast.layers.stream_layers import States, StreamLayer


class StreamPlan:
    """The layers of one step in their order, which several streams can share.

    The states of a sequence are a row of S numbers. It holds the states of one stream layer after
    the other; each state is an (L, H) array, flattened. After the states of a layer with a context
    comes what the context adds to the gates, (L, G*H), which is NaN until a context is given.

    Args:
        layers: The stream layers, in order.

    Attributes:
        backend: The backend of the plan.
        dtype: The dtype of the plan's arrays.
        input_size: The width of the input rows, or the upper bound of indices.
        initial: (S,), the state at the start of a sequence.
        layout: The contents of a row: the dtype, then the name and the shapes of the states of each
            layer that has states, and of its context.
        takes_context: Whether a layer has a context.

    Raises:
        ValueError: Two layers do not fit together, or are on different devices.
        TypeError: The layers have different dtypes.
    """

    def __init__(self, layers: Sequence[StreamLayer]) -> None:
        self.layers = tuple(layers)
        self.backend, self.dtype = _place_of(self.layers)
        self._recurrent = [layer for layer in self.layers if layer.state_shapes]
        self.input_size = next(layer.input_size for layer in self.layers if layer.input_size)
        self._core = None
        if self.backend is CPU:
            self._core = _core.stream_plan([layer.core for layer in self.layers], self.dtype.name)
        self.layout = (
            self.dtype.name,
            *(
                (layer.name, layer.state_shapes + _context_shapes(layer))
                for layer in self._recurrent
            ),
        )
        shapes = [s.state_shapes + _context_shapes(s) for s in self._recurrent]
        size = sum(layers * width for of_layer in shapes for layers, width in of_layer)
        self.initial = self.backend.asarray(np.zeros(size, self.dtype))
        self.takes_context = any(layer.weight_ch for layer in self._recurrent)
        for _, view in self._context_views(self.initial[None]):
            view[...] = np.nan
        self.write(self.initial[None], [layer.initial for layer in self._recurrent])

    def stepper(self) -> Any:
        """Return a `_core.Stepper` or a `DeviceStepper`, which one thread at a time may use."""
        return DeviceStepper(self) if self._core is None else _core.stepper(self._core)

    def __reduce__(self) -> tuple[type[StreamPlan], tuple[Any, ...]]:
        return StreamPlan, (self.layers,)

    def states(self, rows: RealArray) -> list[States]:
        """Return copies (L, N, H) of the states of each layer that has any, from rows (N, S)."""
        return [tuple(view.swapaxes(0, 1).copy() for view in views) for views in self._views(rows)]

    def write(self, rows: RealArray, states: Sequence[Sequence[RealArray | None] | None]) -> None:
        """Copy states into rows (N, S).

        Args:
            rows: The rows to write to.
            states: The states of each layer that has any: (L, N, H) each, or (L, H) for all rows.
                A state that is None stays as it is.
        """
        for views, values in zip(self._views(rows), states, strict=True):
            for view, value in zip(views, values or (), strict=values is not None):
                if value is not None:
                    view[...] = value.swapaxes(0, 1) if value.ndim == 3 else value

    def write_context(self, rows: RealArray, numbers: IntArray, context: Any) -> None:
        """Give sequences a context, or check that they have one if it is None.

        Args:
            rows: The states of all sequences, (B, S).
            numbers: (N,), the numbers of the sequences.
            context: (N, C) real numbers.

        Raises:
            ValueError: It is None, and a sequence has no context; or it has another shape; or no
                layer has a context.
            TypeError: It does not hold real numbers.
        """
        if not self.takes_context:
            raise ValueError("context: expected None, as no layer has a context_size")
        for layer, view in self._context_views(rows):
            if context is None:
                if np.isnan(view[numbers, 0, 0]).any():
                    raise ValueError(
                        "context: expected one with the first step of a sequence, as the layer has "
                        f"context_size = {layer.weight_ch[0].shape[1]}, got None"
                    )
                continue
            shape = len(numbers), layer.weight_ch[0].shape[1]
            meaning, why = "(batch, context_size)", " (the weights')"
            values = checks.shaped_array("context", context, self.dtype, shape, meaning, why)
            for k, weight in enumerate(layer.weight_ch):
                view[numbers, k] = self.backend.linear_forward(x=values, weight=weight, bias=None)

    def checked_states(self, states: Any, count: int) -> list[list[RealArray | None] | None]:
        """Check and convert the states of `count` sequences, given for each layer that has any."""
        if not isinstance(states, (tuple, list)) or len(states) != len(self._recurrent):
            got = type(states).__name__
            got += f" of {len(states)}" if isinstance(states, (tuple, list)) else ""
            raise TypeError(
                f"state: expected a tuple of {len(self._recurrent)}, the state of each recurrent "
                f"layer, got a {got}"
            )
        return [
            arguments.checked_states(
                self.backend,
                "state",
                as_tuple("state", of_layer, len(layer.state_shapes), layer.name),
                self.dtype,
                [(layers, count, width) for layers, width in layer.state_shapes],
            )
            for layer, of_layer in zip(self._recurrent, states, strict=True)
        ]

    def checked_x(self, x: Any, count: int) -> RealArray | IntArray:
        """Check and convert the input of a step of `count` sequences."""
        first = self.layers[0]
        of_values, of_indices = (count, self.input_size), (count,)
        if not (x.shape == of_values and first.takes_values) and not (
            x.shape == of_indices and first.takes_indices
        ):
            expected = [f"(batch, input_size) = {of_values}"] * first.takes_values
            expected += [f"{of_indices} for indices"] * first.takes_indices
            raise ValueError(f"x: expected shape {', or '.join(expected)}, got {x.shape}")
        if x.ndim == 1:
            expected_indices = "x: expected indices in [0, input_size)"
            return checks.index_array("x", x, expected_indices, self.input_size, self.backend)
        return checks.real_array("x", x, self.dtype, " (the weights')", self.backend)

    def _views(self, rows: RealArray) -> list[list[RealArray]]:
        """Return views (N, L, H) of the states in rows (N, S)."""
        all_views = zip(self._recurrent, self._all_views(rows), strict=True)
        return [views[: len(layer.state_shapes)] for layer, views in all_views]

    def _context_views(self, rows: RealArray) -> list[tuple[StreamLayer, RealArray]]:
        """Return the layers with a context, each with a view (N, L, G*H) in rows (N, S)."""
        all_views = zip(self._recurrent, self._all_views(rows), strict=True)
        return [(layer, views[-1]) for layer, views in all_views if layer.weight_ch]

    def _all_views(self, rows: RealArray) -> list[list[RealArray]]:
        """Return views of the states of each layer, and then of its context, in rows (N, S)."""
        begin, result = 0, []
        for layer in self._recurrent:
            views = []
            for layers, width in layer.state_shapes + _context_shapes(layer):
                end = begin + layers * width
                views.append(rows[:, begin:end].reshape(len(rows), layers, width))
                begin = end
            result.append(views)
        return result


class DeviceStepper:
    """The counterpart of `_core.Stepper` for devices, which calls the backend layer by layer."""

    def __init__(self, plan: StreamPlan) -> None:
        self._plan = plan

    def step(self, x: Any, states: RealArray, rows: IntArray | None) -> RealArray:
        """Advance some sequences, or all for None, by a step, and update their rows of `states`."""
        chosen = states if rows is None else states[rows]
        after, left = [], iter(self._plan.states(chosen))
        for layer in self._plan.layers:
            x, state = layer._step(x, next(left) if layer.state_shapes else ())
            if state:
                after.append(state)
        self._plan.write(chosen, after)
        if rows is not None:
            states[rows] = chosen
        result: RealArray = x
        return result


def _context_shapes(layer: StreamLayer) -> tuple[tuple[int, int], ...]:
    """Return the shape (L, G*H) of what a layer's context adds to its gates, if it has one."""
    weights = layer.weight_ch
    return ((len(weights), len(weights[0])),) if weights else ()


def _place_of(layers: Sequence[StreamLayer]) -> tuple[Backend, np.dtype[Any]]:
    """Return the backend and the dtype that all layers share."""
    dtypes = sorted({layer.dtype.name for layer in layers if layer.dtype is not None})
    if len(dtypes) > 1:
        raise TypeError(f"stream: expected layers of one dtype, got {' and '.join(dtypes)}")
    places = {layer.backend.name: layer.backend for layer in layers if layer.dtype is not None}
    if len(places) > 1:
        raise ValueError(f"stream: expected layers on one device, got {' and '.join(places)}")
    if not places:
        raise ValueError("stream: expected a layer that has weights, got none")
    return places.popitem()[1], np.dtype(dtypes[0])
