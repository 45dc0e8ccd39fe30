"""Recurrent networks as stateless functions, for every cell of the library.

They compute where the weights are. Arrays on a CUDA device come as CuPy's, or as anything that
offers `__cuda_array_interface__` or DLPack, such as PyTorch's and JAX's; results are CuPy's. The
work goes to CuPy's current stream, and nothing waits for it. Arrays of the host that come with
weights on a device are copied there.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions, G row blocks
of the cell's weights (`cells()[name].gates`), P its per-channel parameters.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cache
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast import _backend, _checks, _core
from rnnfast._backend import CPU, Backend
from rnnfast._checks import RealArray
from rnnfast._core import CellInfo, Packed

__all__ = ["CellInfo", "Packed", "Reserve", "Weights", "backward", "cells", "forward", "pack"]


class Weights(NamedTuple):
    """The weights of one layer in one direction, or their gradients.

    Attributes:
        weight_ih: (G*H, I), or (G*H, D*H) beyond the first layer.
        weight_hh: (G*H, H).
        bias_ih: (G*H,), added to the input product; None for none.
        bias_hh: (G*H,), added to the recurrent product; None for none.
        weight_channel: (P, H), of cells with per-channel parameters such as peepholes.
    """

    weight_ih: RealArray
    weight_hh: RealArray
    bias_ih: RealArray | None = None
    bias_hh: RealArray | None = None
    weight_channel: RealArray | None = None


class Reserve(NamedTuple):
    """What a training forward pass keeps for `backward`, which may be called more than once.

    It refers to the arrays of the call (x, y, weights, state): they must not change before
    `backward`. `nbytes` counts the rest, for each layer and direction, with N the number of steps
    of all sequences (T*B without lengths), S the number of states, K the values a hidden unit and
    step that the cell keeps (0 for a vanilla cell; for others the larger of G and what `backward`
    needs: 4 for an LSTM or GRU, 9 for the NAS cell) and H' = H rounded up to whole tiles: of one
    vector, or of four for cells with a product of one or two gates:

        itemsize * H' * (N * K + (S - 1) * (B + N))

    plus N*D*H values for each layer but the last (twice with dropout) and, if lengths differ, N*I
    and N*D*H values for x and y as packed rows. With `recompute` the first part is, for the C
    places between segments, itemsize * C * S * B * H instead.
    """

    core: Any  # of `_core`, or what a device has of the same form

    @property
    def nbytes(self) -> int:
        """Bytes of the reserve space."""
        return int(self.core.nbytes)

    @property
    def on(self) -> Backend:
        """Where it is."""
        return CPU if isinstance(self.core, _core.Reserve) else self.core.on


@cache
def cells() -> dict[str, CellInfo]:
    """Every cell of the library by name."""
    return {cell.name: cell for cell in _core.cells()}


def forward(
    cell: str,
    x: ArrayLike,
    weights: Sequence[Weights] | Packed,
    state: Sequence[ArrayLike | None] | None = None,
    *,
    lengths: ArrayLike | None = None,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
    training: bool = False,
    precision: str = "full",
    recompute: bool | int = False,
) -> tuple[RealArray, tuple[RealArray, ...], Reserve | None]:
    """Run a network over whole sequences.

    All real arrays have one dtype, float32 or (on the CPU) float64, that of `weights[0].weight_ih`.

    Args:
        cell: Name of the cell, one of `cells()`.
        x: (T, B, I) reals, or (T, B) integers in [0, I) that stand for one-hot vectors.
        weights: One entry for each layer and direction: l0, l0 reverse, l1, ... Or what `pack`
            made of them for the same cell, layers, directions and precision, unless training.
        state: The initial states, (L*D, B, H) each; None for zeros.
        lengths: (B,) integers in [0, T], the sequences' lengths; None for T each. Outputs after a
            sequence's end are zero, final states are those at its end, and the reverse direction
            starts there.
        num_layers: L.
        bidirectional: Whether D is 2: each layer also runs against the time.
        dropout: Probability with which each output of a layer but the last is zeroed, the others
            being scaled by 1 / (1 - dropout); only if training.
        seed: Of the dropout masks, in [0, 2**64).
        training: Whether to keep what `backward` needs. y is then read-only, since `backward`
            reads it.
        precision: "full", or "bfloat16" for float32 arrays: products, here and in `backward`,
            round what they multiply (weights, x, the h of the step before, gradients of gates) to
            bfloat16, to nearest even, and sum in float32; all else stays float32.
        recompute: What `backward` finds. False: everything that it needs. True: y and, at every
            sqrt(T) steps or so, the states; `backward` makes the rest again, a segment at a time,
            and gives the same bits. An integer of at least 1: the same with the states kept at
            every so many steps. Segments are made of whole chunks of 512 rows (steps * B), so a
            small number is rounded up. What the layers hand on is kept in any case.
            Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.
            On the CPU alone.

    Returns:
        y (T, B, D*H), the outputs of the last layer; the final states, (L*D, B, H) each; and the
        reserve, None unless training.

    Raises:
        TypeError: An array has the wrong dtype, float64 with "bfloat16" included.
        ValueError: A size, shape, length or the precision is wrong.
        IndexError: An index in x is out of range. Indices on a device are not checked, as the host
            would have to wait for them; one that is out of range stands for a row of NaN.
    """
    on = _backend.of_weights(weights)
    steps = 0 if recompute is False else _recomputed_steps(recompute, x, on)
    options = num_layers, bidirectional, dropout, seed, training, precision, steps
    result = _core.forward(cell, x, weights, state, lengths, *options) if on is CPU else None
    if result is None:  # something must be converted, or is wrong
        result = on.forward(*_checked_call(on, cell, x, weights, state, lengths, *options))
    y, final, reserve = result
    if reserve is None:
        return y, final, None
    if on is CPU:
        y.flags.writeable = False  # backward reads it
    return y, final, Reserve(reserve)


def pack(
    cell: str,
    weights: Sequence[Weights],
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    precision: str = "full",
) -> Packed:
    """Copy weights into the form that the kernels read, for many calls of `forward`.

    Args:
        cell: Name of the cell, one of `cells()`.
        weights: One entry for each layer and direction, as for `forward`.
        num_layers: L.
        bidirectional: Whether D is 2.
        precision: Of the products, as for `forward`.

    Raises:
        TypeError: An array has the wrong dtype, float64 with "bfloat16" included.
        ValueError: A size, shape or the precision is wrong.
    """
    on = _backend.of_weights(weights)
    options = num_layers, bidirectional, precision
    packed: Packed | None = _core.pack(cell, weights, *options) if on is CPU else None
    if packed is None:  # something must be converted, or is wrong
        num_layers = _checks.positive_int("num_layers", num_layers)
        info = cells()[_checks.choice("cell", cell, cells())]
        checked = _check_all_weights(on, weights, info, num_layers, bidirectional)
        _checks.precision("precision", precision, checked[0].weight_ih.dtype)
        packed = on.pack(cell, checked, *options)
        assert packed is not None
    return packed


def backward(
    reserve: Reserve,
    dy: ArrayLike | None = None,
    dstate: Sequence[ArrayLike | None] | None = None,
    *,
    need_dx: bool = True,
    dweights: Sequence[Weights] | None = None,
) -> tuple[RealArray | None, tuple[RealArray, ...], list[Weights]]:
    """Backpropagate through a training forward pass.

    Args:
        reserve: What `forward` returned.
        dy: (T, B, D*H), the gradient of y; None for zeros.
        dstate: Gradients of the final states, (L*D, B, H) each; None for zeros.
        need_dx: Whether to compute the gradient of x (never for integer x, which has none).
        dweights: Arrays to which the gradients of the weights are added, C-contiguous and in the
            weights' structure, dtype and shapes; None for new ones.

    Returns:
        dx (T, B, I) or None; the gradients of the initial states; the gradients of the weights,
        each None where the weight is, or `dweights`.

    Raises:
        TypeError: An array has the wrong dtype, or `reserve` is None (forward was not training).
        ValueError: A shape is wrong.
    """
    if not isinstance(reserve, Reserve):
        raise TypeError(
            "reserve: expected what forward(..., training=True) returned, got "
            f"{type(reserve).__name__}"
        )
    core, on = reserve.core, reserve.on
    result = _core.backward(core, dy, dstate, need_dx, dweights) if on is CPU else None
    if result is None:  # something must be converted, or is wrong
        dy, dstate = _checked_gradients(on, core, dy, dstate)
        given = None if dweights is None else _check_dweights(on, core, dweights)
        result = on.backward(core, dy, dstate, need_dx, given)
    dx, dinitial, gradients = result
    return dx, dinitial, [Weights(*g) for g in gradients] if dweights is None else list(dweights)


def _checked_call(
    on: Backend,
    cell: str,
    x: ArrayLike,
    weights: Sequence[Weights] | Packed,
    state: Sequence[ArrayLike | None] | None,
    lengths: ArrayLike | None,
    num_layers: int,
    bidirectional: bool,
    dropout: float,
    seed: int,
    training: bool,
    precision: str,
    recomputed_steps: int,
) -> tuple[Any, ...]:
    """Check and convert the arguments of `forward` for `on.forward`."""
    info = cells()[_checks.choice("cell", cell, cells())]
    num_layers = _checks.positive_int("num_layers", num_layers)
    dropout = _checks.number("dropout", dropout, 0, 1)
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: expected an integer in [0, 2**64), got {seed}")
    if not isinstance(weights, Sequence):
        dtype: np.dtype[np.floating] = np.dtype(weights.dtype)
        _checks.precision("precision", precision, dtype)
        _check_packed(weights, cell, num_layers, bidirectional, training, precision)
        input_size, hidden_size = weights.input_size, weights.hidden_size
    else:
        weights = _check_all_weights(on, weights, info, num_layers, bidirectional)
        dtype = weights[0].weight_ih.dtype
        _checks.precision("precision", precision, dtype)
        input_size, hidden_size = weights[0].weight_ih.shape[1], weights[0].weight_hh.shape[1]
    inputs = _check_x(on, x, dtype, input_size)
    seq_len, batch = inputs.shape[:2]
    states = _check_states(
        on,
        "state",
        state,
        info.states,
        dtype,
        (num_layers * (2 if bidirectional else 1), batch, hidden_size),
    )
    spans = None if lengths is None else _check_lengths(on, lengths, seq_len, batch)
    options = num_layers, bidirectional, dropout, seed, training, precision, recomputed_steps
    return cell, inputs, weights, states, spans, *options


def _checked_gradients(
    on: Backend, core: Any, dy: ArrayLike | None, dstate: Sequence[ArrayLike | None] | None
) -> tuple[RealArray | None, list[RealArray | None] | None]:
    """Check and convert the arguments of `backward` for `on.backward`."""
    dtype: np.dtype[np.floating] = np.dtype(core.dtype)
    if dy is not None:
        dy = _checks.real_array("dy", dy, dtype, on=on)
        _checks.shape("dy", dy, core.y_shape, "(seq_len, batch, num_directions*hidden_size)")
    return dy, _check_states(on, "dstate", dstate, core.states, dtype, core.state_shape)


def _check_dweights(on: Backend, core: Any, dweights: Sequence[Weights]) -> list[Weights]:
    dtype: np.dtype[np.floating] = np.dtype(core.dtype)
    if len(dweights) != len(core.weights):
        raise ValueError(
            f"dweights: expected one entry for each of {len(core.weights)} layers and directions, "
            f"got {len(dweights)}"
        )
    for i, (weights, gradients) in enumerate(zip(core.weights, dweights, strict=True)):
        for field, weight, gradient in zip(Weights._fields, weights, gradients, strict=True):
            name = f"dweights[{i}].{field}"
            if (weight is None) != (gradient is None):
                expected, got = ("none", "an array") if weight is None else ("an array", "none")
                raise ValueError(f"{name}: expected {expected}, as the weights have, got {got}")
            if weight is not None and gradient is not None:
                _checks.output_array(name, gradient, dtype, on)
                _checks.shape(name, gradient, weight.shape, "of the weight")
    return [Weights(*gradients) for gradients in dweights]


def _check_packed(
    packed: Packed,
    cell: str,
    num_layers: int,
    bidirectional: bool,
    training: bool,
    precision: str,
) -> None:
    if training:
        raise ValueError("weights: expected arrays when training, got packed weights")
    expected = cell, num_layers, bool(bidirectional), precision
    got = packed.cell, packed.num_layers, packed.bidirectional, packed.precision
    if got != expected:
        raise ValueError(
            "weights: expected packed ones of (cell, num_layers, bidirectional, precision) = "
            f"{expected}, got {got}"
        )


def _check_all_weights(
    on: Backend,
    weights: Sequence[Weights],
    info: CellInfo,
    num_layers: int,
    bidirectional: bool,
) -> list[Weights]:
    directions = 2 if bidirectional else 1
    if len(weights) != num_layers * directions:
        raise ValueError(
            f"weights: expected num_layers * num_directions = {num_layers * directions} entries, "
            f"got {len(weights)}"
        )
    weight_ih, weight_hh = on.asarray(weights[0].weight_ih), on.asarray(weights[0].weight_hh)
    dtype = _checks.real_dtype("weight_ih.dtype", weight_ih.dtype, on)
    if weight_ih.ndim != 2 or weight_hh.ndim != 2 or 0 in weight_ih.shape + weight_hh.shape:
        raise ValueError(
            f"weight_ih, weight_hh: expected matrices of at least one row and column, got shapes "
            f"{weight_ih.shape} and {weight_hh.shape}"
        )
    input_size, hidden_size = weight_ih.shape[1], weight_hh.shape[1]
    return [
        _check_weights(
            on, w, info, dtype, hidden_size, directions * hidden_size if layer else input_size
        )
        for layer, w in ((i // directions, w) for i, w in enumerate(weights))
    ]


def _check_weights(
    on: Backend,
    weights: Weights,
    info: CellInfo,
    dtype: np.dtype[np.floating],
    hidden_size: int,
    inputs: int,
) -> Weights:
    rows, gates = info.gates * hidden_size, f"{info.gates}*hidden_size"
    shapes = {
        "weight_ih": ((rows, inputs), f"({gates}, input_size)"),
        "weight_hh": ((rows, hidden_size), f"({gates}, hidden_size)"),
        "bias_ih": ((rows,), f"({gates},)"),
        "bias_hh": ((rows,), f"({gates},)"),
        "weight_channel": ((info.params, hidden_size), f"({info.params}, hidden_size)"),
    }
    if (weights.weight_channel is None) != (info.params == 0):
        raise ValueError(
            f"weight_channel: expected {info.params or 'no'} per-channel parameters for cell "
            f"{info.name!r}, got {'none' if weights.weight_channel is None else 'an array'}"
        )
    checked: list[RealArray | None] = []
    for (name, (shape, meaning)), value in zip(shapes.items(), weights, strict=True):
        if value is not None:
            value = _checks.real_array(name, value, dtype, on=on)
            _checks.shape(name, value, shape, meaning)
        checked.append(value)
    return Weights(*checked)  # type: ignore[arg-type]  # the first two are there


def _check_x(
    on: Backend, x: ArrayLike, dtype: np.dtype[np.floating], input_size: int
) -> RealArray | NDArray[np.int64]:
    array = _backend.given(x)
    if array.dtype.kind in "iu":
        if array.ndim != 2:
            raise ValueError(f"x: expected indices of shape (seq_len, batch), got {array.shape}")
        expected = "x: expected indices in [0, input_size)"
        return _checks.index_array("x", array, expected, input_size, on)
    array = _checks.real_array("x", array, dtype, ", that of the weights", on)
    if array.ndim != 3:
        raise ValueError(
            f"x: expected shape (seq_len, batch, input_size = {input_size}), got {array.shape}"
        )
    _checks.last_axis("x", array, input_size, "input_size")
    return array


def _check_states(
    on: Backend,
    name: str,
    state: Sequence[ArrayLike | None] | None,
    states: int,
    dtype: np.dtype[np.floating],
    shape: tuple[int, int, int],
) -> list[RealArray | None] | None:
    if state is None:
        return None
    if not isinstance(state, (tuple, list)) or len(state) != states:
        got = f"{len(state)}" if isinstance(state, (tuple, list)) else type(state).__name__
        raise ValueError(f"{name}: expected a tuple of {states} arrays, got {got}")
    checked: list[RealArray | None] = []
    for value in state:
        if value is not None:
            value = _checks.real_array(name, value, dtype, ", that of the weights", on)
            _checks.shape(name, value, shape, "(num_layers*num_directions, batch, hidden_size)")
        checked.append(value)
    return checked


def _recomputed_steps(recompute: bool | int, x: ArrayLike, on: Backend) -> int:
    """Steps between two states that are kept, T at most."""
    steps = _checks.recompute("recompute", recompute, on)
    shape = np.shape(x)
    seq_len = shape[0] if shape else 0  # the check of x tells of one without axes
    return isqrt(seq_len) if steps is True else min(int(steps), seq_len)


def _check_lengths(
    on: Backend, lengths: ArrayLike, seq_len: int, batch: int, name: str = "lengths"
) -> NDArray[np.int64]:
    array = _checks.integer_array(name, lengths, on)
    _checks.shape(name, array, (batch,), "(batch,)")
    host = on.on_host(lengths)  # on a device, what is too long counts as seq_len
    if host is not None and batch and not (host.min() >= 0 and host.max() <= seq_len):
        raise ValueError(
            f"{name}: expected values in [0, seq_len] = [0, {seq_len}], got "
            f"{host.min()} to {host.max()}"
        )
    return array
