"""Recurrent networks as stateless functions, for every cell of the library.

They compute where the weights are. Arrays on a CUDA device come as CuPy's, or as anything that
offers `__cuda_array_interface__` or DLPack, such as PyTorch's and JAX's; results are CuPy's. The
work goes to CuPy's current stream, and nothing waits for it. Arrays of the host that come with
weights on a device are copied there.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions, G row blocks
of the cell's weight_ih (`cells()[name].gates`), R those of its weight_hh (`recurrent_gates`), P its
per-channel parameters. Where weights have a projection, `Weights.weight_hr`, h and what layers put
out have its proj_size in place of H: y is (T, B, D*proj_size), the state h (L*D, B, proj_size).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._core import CellInfo, NetworkOptions, Packed
from rnnfast._engine import arguments, backend, network, noise
from rnnfast._engine.backend import CPU, Backend
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights, cells
from rnnfast.reference import Cell

__all__ = ["CellInfo", "Packed", "Reserve", "Weights", "backward", "cells", "forward", "pack"]


class Reserve(NamedTuple):
    """What a training forward pass keeps for `backward`, which may be called more than once.

    It refers to the arrays of the call (x, y, weights, state): they must not change before
    `backward`, which on the CPU looks at some of their values (at all with RNNFAST_CHECK_INPUTS=1
    in the environment) and raises `RuntimeError` if they have.

    `nbytes` counts the rest, for each layer and direction, with N the number of steps of all
    sequences (T*B without lengths), S the number of states, K the values a hidden unit and step
    that the cell keeps (0 for a vanilla cell; for others the larger of G and what `backward` needs:
    4 for an LSTM or GRU, 9 for the NAS cell) and H' = H rounded up to whole tiles: of one vector,
    or of four for cells with a product of one or two gates:

        itemsize * H' * (N * K + (S - 1) * (B + N))

    plus N*D*H values for each layer but the last (twice with dropout) and, if lengths differ, N*I
    and N*D*H values for x and y as packed rows. With zoneout the first part has another
    itemsize * N * (H + (S - 1) * H'), with dropout of the inputs there are N*I values for x in any
    case, and with dropout of the candidate K is larger by 1. With `recompute` the first part is,
    for the C places between segments, itemsize * C * S * B * H instead.
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


def forward(
    cell: str | Cell,
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
    zoneout: float | tuple[float, ...] = 0.0,
    input_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    candidate_dropout: float = 0.0,
) -> tuple[RealArray, tuple[RealArray, ...], Reserve | None]:
    """Run a network over whole sequences.

    It computes in the dtype of `weights[0].weight_ih`, float32 or (on the CPU) float64; weights of
    less than 32 bits count as float32. Other arrays of real numbers are converted to it: float64
    ones lose digits on their way to float32.

    Args:
        cell: The cell: a name out of `rnnfast.cells.ZOO`, one that was registered, or the cell
            itself.
        x: (T, B, I) real numbers, or (T, B) integers in [0, I) that stand for one-hot vectors.
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
        seed: Of all masks, in [0, 2**64).
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
        zoneout: The probability with which a unit of a state keeps its value of the step before in
            place of the new one; a number for all states of the cell, or a tuple of one for each.
            Units are drawn anew in each step of training; in evaluation each gets the expectation,
            zoneout * old + (1 - zoneout) * new. On the CPU alone, like the following.
            Source: Krueger et al., "Zoneout: Regularizing RNNs by randomly preserving hidden
            activations", 2016.
        input_dropout: The probability with which a unit of a layer's input is zeroed, the others
            being scaled by 1 / (1 - input_dropout); only if training. A sequence has one mask for
            all of its steps. For integer x it is the one-hot rows that are dropped.
            Source: Gal and Ghahramani, "A theoretically grounded application of dropout in
            recurrent neural networks", 2016.
        recurrent_dropout: The same of what the products with weight_hh multiply: h, and what else
            the cell makes for them, as a GRU's r * h. A sequence has one mask for all steps and
            products of a layer and direction. The state itself goes on as it is.
            Source: as of input_dropout.
        candidate_dropout: The same of the candidate of each step, what it adds to a state through a
            gate, as an LSTM's g and a GRU's n; each step draws a mask of its own. For cells whose
            step marks its candidate, `x.candidate(v)`; compiled ones then run by their equations,
            as cells of Python do.
            Source: Semeniuta, Severyn and Barth, "Recurrent dropout without memory loss", 2016.

    Returns:
        y (T, B, D*H), the outputs of the last layer; the final states, (L*D, B, H) each; and the
        reserve, None unless training.

    Raises:
        TypeError: An array has no real numbers; weights are float64 with "bfloat16".
        ValueError: A size, shape, length or the precision is wrong.
        IndexError: An index in x is out of range. Indices on a device are not checked, as the host
            would have to wait for them; one that is out of range stands for a row of NaN.
    """
    on = backend.of_weights(weights)
    steps = 0 if recompute is False else arguments.recomputed_steps(recompute, x, on)
    # As `network.network_options` does it, whose call would cost a short one 2%.
    drawn = None
    values = zoneout, input_dropout, recurrent_dropout, candidate_dropout
    if not noise.none(*values):
        info = network.info_of(cell)
        drawn = noise.of(*values, info.name, info.states, on)
    options = _core.network_options(
        cell, num_layers, bidirectional, dropout, training, precision, steps, 0, False, drawn
    ) or network.checked_options(
        cell, num_layers, bidirectional, dropout, training, precision, steps, 0, False, drawn
    )
    y, final, core = forward_on(on, options, x, weights, state, lengths, seed)
    return y, final, None if core is None else Reserve(core)


def pack(
    cell: str | Cell,
    weights: Sequence[Weights],
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    precision: str = "full",
) -> Packed:
    """Copy weights into the form that the kernels read, for many calls of `forward`.

    Args:
        cell: The cell: a name out of `rnnfast.cells.ZOO`, one that was registered, or the cell
            itself.
        weights: One entry for each layer and direction, as for `forward`.
        num_layers: L.
        bidirectional: Whether D is 2.
        precision: Of the products, as for `forward`.

    Raises:
        TypeError: An array has no real numbers; weights are float64 with "bfloat16".
        ValueError: A size, shape or the precision is wrong.
    """
    on = backend.of_weights(weights)
    options = network.network_options(cell, num_layers, bidirectional, precision=precision)
    packed: Packed | None = _core.pack(options, weights) if on is CPU else None
    if packed is None:  # something must be converted, or is wrong
        packed = on.pack(options, arguments.checked_weights(on, weights, options))
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
        RuntimeError: x, the weights or the state were changed since forward.
        TypeError: An array has no real numbers; one of `dweights` has not the dtype of its weight;
            `reserve` is None (forward was not training).
        ValueError: A shape is wrong.
    """
    if not isinstance(reserve, Reserve):
        raise TypeError(
            "reserve: expected what forward(..., training=True) returned, got "
            f"{type(reserve).__name__}"
        )
    dx, dinitial, gradients = backward_on(reserve.on, reserve.core, dy, dstate, need_dx, dweights)
    return dx, dinitial, [Weights(*g) for g in gradients] if dweights is None else list(dweights)


def forward_on(
    on: Backend,
    options: NetworkOptions,
    x: ArrayLike,
    weights: Sequence[Weights] | Packed,
    state: Sequence[ArrayLike | None] | None,
    lengths: ArrayLike | None,
    seed: int,
) -> tuple[RealArray, tuple[RealArray, ...], Any]:
    """`forward` for layers, which know where they are; the reserve is the engine's own."""
    result = _core.forward(options, x, weights, state, lengths, seed) if on is CPU else None
    if result is None:  # something must be converted, or is wrong
        result = on.forward(*arguments.checked_call(on, options, x, weights, state, lengths, seed))
    if result[2] is not None and on is CPU:
        result[0].flags.writeable = False  # backward reads y
    return result


def backward_on(
    on: Backend,
    core: Any,
    dy: ArrayLike | None,
    dstate: Sequence[ArrayLike | None] | None,
    need_dx: bool,
    dweights: Sequence[Weights] | None,
) -> tuple[RealArray | None, tuple[RealArray, ...], Any]:
    """`backward` for layers; the gradients of the weights are None where `dweights` has them."""
    result = _core.backward(core, dy, dstate, need_dx, dweights) if on is CPU else None
    if result is None:  # something must be converted, or is wrong
        dy, dstate = arguments.checked_gradients(on, core, dy, dstate)
        given = None if dweights is None else arguments.checked_dweights(on, core, dweights)
        result = on.backward(core, dy, dstate, need_dx, given)
    return result
