"""How the gradient of a loss flows back through the steps of a recurrent layer.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import arguments, checks, known, network
from rnnfast._engine.backends import CPU, given, to_host
from rnnfast.inspection.gradient_plots import figure_of, html_of, table_of
from rnnfast.inspection.layer_flow import LayerFlow
from rnnfast.inspection.named import Named
from rnnfast.inspection.scaled import Array, Scaled
from rnnfast.inspection.single_steps import SingleSteps
from rnnfast.inspection.tables import aligned
from rnnfast.inspection.walk import Found, Walk
from rnnfast.layers.axes import time_first
from rnnfast.layers.learned import parameter_name
from rnnfast.layers.recurrent import Recurrent
from rnnfast.layers.states import StateLike, as_tuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FLOAT64 = np.dtype(np.float64)


class GradientFlow(Named[LayerFlow]):
    """The flow of a gradient through all layers and directions, made by `gradient_flow`.

    It maps "l0", "l0_reverse", "l1" and so on to a `LayerFlow` each.
    """

    _of = "layer"

    def __init__(self, layers: Mapping[str, LayerFlow], cell: str) -> None:
        super().__init__(layers)
        self.cell = cell

    def plot(self) -> Figure:
        """Draw the norms, the gains and the saturation of every layer in one figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return figure_of(self)

    def __repr__(self) -> str:
        return f"GradientFlow of {self.cell!r}\n{aligned(table_of(self))}"

    def _repr_html_(self) -> str:
        return html_of(self, self.cell)


def gradient_flow(
    layer: Recurrent[Any],
    x: ArrayLike,
    dy: ArrayLike | None,
    state: StateLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    dstate: StateLike | None = None,
    sequence: int | None = 0,
) -> GradientFlow:
    """Measure how the gradient of a loss flows back through the steps of a recurrent layer.

    For every layer, direction and step, this is the gradient with respect to the states that one
    step hands to the next. Each state counts as an input of the next step of its own, so an LSTM's
    gradient of c contains what comes through later steps, and not what comes through the h of the
    same step. In lower layers, the gradient contains what comes down from the layers above.

    Everything is computed in float64 from the values of the parameters, whatever the dtype, the
    precision and the device of the layer, without dropout and with the expectation of zoneout.
    Gradients have exponents of their own, so that they neither overflow nor underflow. Besides
    arrays of the size of x and y, memory holds the states of about 2 sqrt(T) steps, what the engine
    keeps of sqrt(T) steps, and matrices of all states of a sequence squared. `gradient_flow` takes
    single steps, so it is slower than `backward`; most of the time goes to the singular values.

    Args:
        layer: A recurrent layer of any cell. Its parameters and gradients do not change.
        x: (T, B, I) real numbers, or (T, B) integers in [0, I); the batch axis comes first if
            `layer.batch_first`.
        dy: The gradient of the loss with respect to y, in y's shape; None for zeros.
        state: Initial state, as in calls of the layer; None for zeros, or for the learned state.
        lengths: (B,) integers in [0, T], the lengths of the sequences; None for T.
        dstate: The gradient with respect to the final state, in its structure; None for zeros.
        sequence: The sequence of the batch whose Jacobians are computed; None for no Jacobians.

    Raises:
        TypeError: `layer` is not a recurrent layer, or an array does not hold real numbers.
        ValueError: A shape or length is wrong, the batch has no such sequence, or an array or an
            output of the layer is not finite.
        IndexError: An index in x is out of range.

    Sources: Hochreiter 1991; Bengio, Simard and Frasconi, "Learning long-term dependencies with
    gradient descent is difficult", 1994; Pascanu, Mikolov and Bengio, "On the difficulty of
    training recurrent neural networks", 2013. For saturated gates: Karpathy, Johnson and Fei-Fei,
    "Visualizing and understanding recurrent networks", 2015.
    """
    if not isinstance(layer, Recurrent):
        kind = type(layer)
        raise TypeError(
            "layer: expected a recurrent layer of rnnfast, such as an LSTM, got "
            f"{kind.__module__}.{kind.__qualname__}"
        )
    call = _checked(layer, x, dy, state, lengths, dstate)
    if sequence is not None:
        if not len(call.lengths):
            raise ValueError(f"sequence: expected None for a batch without any, got {sequence}")
        checks.integer("sequence", sequence, 0, len(call.lengths) - 1)
    directions = 2 if layer.bidirectional else 1
    levels = [range(i * directions, (i + 1) * directions) for i in range(layer.num_layers)]
    names = [
        f"l{level}" + "_reverse" * k for level in range(layer.num_layers) for k in range(directions)
    ]
    walks: list[Walk] = []
    inputs = call.x
    for level in levels:
        for k in level:
            steps = SingleSteps(layer, k)
            initial = steps.join(call.state)
            walk = Walk(steps, layer.cell, inputs, initial, call.lengths, k > level.start)
            if not np.isfinite(walk.y).all():
                raise ValueError(
                    f"layer: expected finite outputs, got {_first_other(walk.y)} of {names[k]}: a "
                    "parameter is not finite, or the states grow without bound"
                )
            walks.append(walk)
        inputs = np.concatenate([walks[k].y for k in level], axis=-1)
    flows: dict[int, LayerFlow] = {}
    arriving = Scaled.of(call.dy)
    for level in reversed(levels):
        below = []
        for k, dy_of_direction in zip(level, arriving.split(directions), strict=True):
            dfinal = Scaled.of(walks[k].steps.join(call.dstate))
            found, dx = walks[k].back(dy_of_direction, dfinal, sequence, need_dx=level.start > 0)
            flows[k] = _flow(found, walks[k].steps, layer, call.lengths)
            below += [] if dx is None else [dx]
        arriving = reduce(Scaled.plus, below) if below else arriving
    return GradientFlow({name: flows[k] for k, name in enumerate(names)}, layer.cell)


class _Arguments(NamedTuple):
    """The checked arguments of `gradient_flow`, in float64, with the time axis first."""

    x: NDArray[Any]
    dy: Array
    state: tuple[Array, ...]
    lengths: NDArray[np.int64]
    dstate: tuple[Array, ...]


def _checked(
    layer: Recurrent[Any],
    x: ArrayLike,
    dy: ArrayLike | None,
    state: StateLike | None,
    lengths: ArrayLike | None,
    dstate: StateLike | None,
) -> _Arguments:
    """Check and convert the arguments of `gradient_flow`."""
    x = arguments.given_x(x, layer.input_size)
    if layer.batch_first:
        x = time_first("x", x)
    x = arguments.checked_x(CPU, _on_host("x", x), _FLOAT64, layer.input_size)
    T, B = x.shape[:2]
    options = network.network_options(layer.cell, layer.num_layers, layer.bidirectional)
    shapes = network.state_shapes(options, B, layer.hidden_size, layer.proj_size)
    ends = np.full(B, T) if lengths is None else arguments.checked_lengths(CPU, lengths, T, B)
    y_shape = (T, B, shapes[0][2] * (2 if layer.bidirectional else 1))
    given_dy = given("dy", np.zeros(y_shape) if dy is None else dy)
    if layer.batch_first and dy is not None and given_dy.ndim > 1:
        given_dy = given_dy.swapaxes(0, 1)
    checks.shape("dy", given_dy, y_shape, "(seq_len, batch, num_directions*hidden_size)")
    dy = checks.real_array("dy", _on_host("dy", given_dy), _FLOAT64)
    there = np.arange(T)[:, None] < ends
    _check_finite("x", x[there])
    _check_finite("dy", dy[there])

    def states(name: str, value: StateLike | None, otherwise: Sequence[Array]) -> tuple[Array, ...]:
        values = as_tuple(name, value, len(shapes), layer.cell) or (None,) * len(shapes)
        on_host = [None if v is None else _on_host(name, v) for v in values]
        checked = arguments.checked_states(CPU, name, on_host, _FLOAT64, shapes)
        assert checked is not None
        for array in (array for array in checked if array is not None):
            _check_finite(name, array)
        return tuple(o if v is None else v for v, o in zip(checked, otherwise, strict=True))

    zeros = [np.zeros(shape) for shape in shapes]
    learned = layer.state_dict() if layer.learn_state else {}
    start = [
        zero + learned[parameter_name(k)][:, None] if learned else zero
        for k, zero in enumerate(zeros)
    ]
    return _Arguments(x, dy, states("state", state, start), ends, states("dstate", dstate, zeros))


def _check_finite(name: str, array: NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {_first_other(array)}")


def _first_other(array: NDArray[Any]) -> float:
    """Return the first element that is not finite."""
    return float(array[~np.isfinite(array)][0])


def _on_host(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return an array of any device as one of NumPy."""
    return to_host(given(name, value))


def _flow(
    found: Found, steps: SingleSteps, layer: Recurrent[Any], lengths: NDArray[np.int64]
) -> LayerFlow:
    """Return what a walk found as a `LayerFlow`."""
    blocks = network.info_of(layer.cell).recurrent_gates
    weight_hh = steps.weights.weight_hh
    matrices = weight_hh.reshape(blocks, layer.hidden_size, weight_hh.shape[1])
    return LayerFlow(
        dict(zip(known.named_values(layer.cell).states, found.log_norms, strict=True)),
        found.log_total,
        lengths,
        found.step_gain,
        found.log_product_gain,
        np.array([np.linalg.norm(matrix, 2) for matrix in matrices]),
        found.saturation,
    )
