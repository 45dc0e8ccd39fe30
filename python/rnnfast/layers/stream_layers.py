"""Stream layers, which compute one step of a layer in a stream.

Sizes: B batch, L num_layers, H the width of a state, V and E the sizes of an embedding, C
context_size, G row blocks of a cell's weight_ih.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from rnnfast import functional
from rnnfast._engine import backends, known, network
from rnnfast._engine.backends import Backend
from rnnfast._engine.checks import RealArray
from rnnfast._engine.noise import Noise

States: TypeAlias = tuple[RealArray, ...]


class StreamLayer:
    """One layer of a stream, which holds its own copy of the weights and can be pickled.

    Args:
        on: Backend that computes the step.
        dtype: Dtype of the computation; None for the dtype of the other layers.
        core: Description of the layer for `_core.StreamPlan`: its kind, then arrays and numbers.

    Attributes:
        name: The name of the cell for recurrent layers, the kind for others.
        input_size: The width of the input rows, or the upper bound of indices; 0 for any width.
        takes_values: Whether the layer takes rows of real numbers.
        takes_indices: Whether the layer takes integers instead of rows.
        state_shapes: The shape (L, H) of each state of a sequence.
        initial: The initial states, (L, H) each; None for zeros.
        weight_ch: The weights (G*H, C) of a context in each of its layers; empty for no context.
    """

    input_size = 0
    takes_values, takes_indices = True, False
    state_shapes: tuple[tuple[int, int], ...] = ()
    initial: States | None = None
    weight_ch: tuple[RealArray, ...] = ()

    def __init__(self, backend: Backend, dtype: np.dtype[Any] | None, *core: Any) -> None:
        self.backend, self.dtype, self.core = backend, dtype, core
        self.name: str = core[0]

    def _step(self, x: Any, state: States) -> tuple[Any, States]:  # noqa: ARG002
        """Take a step by the functions of a backend, as is done on devices.

        Args:
            x: Output of the layer before, or the input of the stream, (B, ...).
            state: The states before the step, (L, B, H) each.

        Returns:
            The input of the next layer, and the states after the step.

        Raises:
            ValueError: Only the CPU can compute a step of this layer.
        """
        raise ValueError(
            "stream: expected layers that have a step on any device, got one of kind "
            f"{self.core[0]!r}, which has a step only on the CPU"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        _, *values = self.core
        return _restored, (type(self), self.backend, *map(_to_host, values))


class StreamEmbedding(StreamLayer):
    """The lookup of vectors in a copy of a table (V, E)."""

    takes_values, takes_indices = False, True

    def __init__(self, backend: Backend, weight: RealArray) -> None:
        super().__init__(backend, weight.dtype, "embedding", weight.copy())
        self.input_size = len(weight)

    def _step(self, x: Any, state: States) -> tuple[Any, States]:
        _, weight = self.core
        return self.backend.embedding_forward(weight=weight, indices=x), state


class StreamLinear(StreamLayer):
    """A linear map with copies of a weight (out_features, in_features) and of a bias."""

    def __init__(self, backend: Backend, weight: RealArray, bias: RealArray | None) -> None:
        super().__init__(backend, weight.dtype, "linear", weight.copy(), _copied(bias))
        self.input_size = weight.shape[1]

    def _step(self, x: Any, state: States) -> tuple[Any, States]:
        _, weight, bias = self.core
        return self.backend.linear_forward(x=x, weight=weight, bias=bias), state


class StreamLayerNorm(StreamLayer):
    """A layer normalisation with copies of a weight and of a bias."""

    def __init__(
        self, backend: Backend, weight: RealArray, bias: RealArray | None, eps: float
    ) -> None:
        super().__init__(backend, weight.dtype, "layer_norm", weight.copy(), _copied(bias), eps)
        self.input_size = len(weight)


class StreamConvolution(StreamLayer):
    """A causal convolution of stride 1, with copies of a weight (outputs, inputs, taps) and a bias.

    Its state holds the last inputs, for as many steps as later steps still read.
    """

    def __init__(
        self, backend: Backend, weight: RealArray, bias: RealArray | None, dilation: int
    ) -> None:
        core = "convolution", weight.copy(), _copied(bias), dilation
        super().__init__(backend, weight.dtype, *core)
        _, self.input_size, taps = weight.shape
        self.state_shapes = (((taps - 1) * dilation, self.input_size),)


class StreamElementwise(StreamLayer):
    """A function of each value: an activation, or the addition in a residual layer."""

    def __init__(self, backend: Backend, kind: str, which: str | int) -> None:
        super().__init__(backend, None, kind, which)


class KeptWeights:
    """Packed weights, with the arrays they were packed from, which are what a pickle holds.

    Attributes:
        packed: The weights in the form that the kernels read.
        weights: The arrays, one entry for each layer; shared with a layer in evaluation mode.
    """

    def __init__(self, packed: functional.Packed, weights: Sequence[functional.Weights]) -> None:
        self.packed, self.weights = packed, weights

    def detach(self) -> None:
        """Replace the arrays by copies, because the layer is about to change them."""
        self.weights = [functional.Weights(*map(_copied, w)) for w in self.weights]


class StreamRecurrent(StreamLayer):
    """A stack of recurrent layers of one direction.

    Args:
        kept: The weights of the layers.
        noise: The noise inside their steps; None if there is none.
        initial: The initial states, (L, H) each; None for zeros.
        weight_ch: The weights of a context in each layer; empty for no context.
    """

    takes_indices = True

    def __init__(
        self,
        kept: KeptWeights,
        noise: Noise | None,
        initial: States | None,
        weight_ch: Sequence[RealArray] = (),
    ) -> None:
        packed = kept.packed
        options = network.network_options(
            packed.cell, packed.num_layers, precision=packed.precision, noise=noise
        )
        backend = backends.of_weights(packed)
        core = "recurrent", options, packed, len(weight_ch) > 0
        super().__init__(backend, np.dtype(packed.dtype), *core)
        self.weight_ch = tuple(weight.copy() for weight in weight_ch)
        self.name, self.input_size = packed.cell, packed.input_size
        shapes = network.state_shapes(options, 1, packed.hidden_size, packed.proj_size)
        self.state_shapes = tuple((layers, width) for layers, _, width in shapes)
        self.initial = None if initial is None else tuple(value.copy() for value in initial)
        self._kept, self._noise = kept, noise

    def _step(self, x: Any, state: States) -> tuple[Any, States]:
        _, options, packed, _ = self.core
        y, after, _ = functional.forward_on(
            self.backend, options, x[None], packed, state, None, None, 0
        )
        return y[0], after

    def __reduce__(self) -> tuple[Any, ...]:
        cell, precision = self._kept.packed.cell, self._kept.packed.precision
        weights = [tuple(map(_to_host, w)) for w in self._kept.weights]
        initial = None if self.initial is None else tuple(map(_to_host, self.initial))
        graph = known.graph_of(cell) or cell
        values = graph, weights, precision, self._noise, initial, self.weight_ch
        return _restored_recurrent, (self.backend, *values)


def _copied(value: RealArray | None) -> Any:
    return None if value is None else value.copy()


def _to_host(value: Any) -> Any:
    return backends.to_host(value) if hasattr(value, "dtype") else value


def _placed(backend: Backend, value: Any) -> Any:
    return backend.asarray(value) if isinstance(value, np.ndarray) else value


def _restored(kind: type[StreamLayer], backend: Backend, *values: Any) -> StreamLayer:
    return kind(backend, *(_placed(backend, value) for value in values))


def _restored_recurrent(
    backend: Backend,
    cell: str | dict[str, Any],
    weights: list[tuple[RealArray | None, ...]],
    precision: str,
    noise: Noise | None,
    initial: States | None,
    weight_ch: Sequence[RealArray],
) -> StreamRecurrent:
    """Rebuild a layer from a pickle, with the weights packed anew for this machine."""
    name = cell if isinstance(cell, str) else known.name_of_graph(cell)
    arrays = [functional.Weights(*(_placed(backend, value) for value in w)) for w in weights]
    packed = functional.pack(name, arrays, num_layers=len(arrays), precision=precision)
    if initial is not None:
        initial = tuple(_placed(backend, value) for value in initial)
    return StreamRecurrent(KeptWeights(packed, arrays), noise, initial, weight_ch)
