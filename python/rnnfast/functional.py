"""Recurrent networks as stateless functions, for every cell of the library.

They run on the device that holds the weights. Arrays on a CUDA device may be CuPy arrays or
anything else with `__cuda_array_interface__` or DLPack, such as PyTorch tensors and JAX arrays;
results are CuPy arrays. The work is queued on CuPy's current stream without waiting for it. If the
weights are on a device, host arrays that are passed along with them are copied there.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions, G row blocks
of the cell's weight_ih (`cells()[name].gates`), R those of its weight_hh (`recurrent_gates`), P its
per-channel parameters. With a projection, `Weights.weight_hr`, h and the outputs of layers have
proj_size in place of H: y is (T, B, D*proj_size), the state h is (L*D, B, proj_size).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._core import CellInfo, NetworkOptions, Packed
from rnnfast._engine import arguments, backends, network, noise
from rnnfast._engine.backends import CPU, Backend
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights, cells
from rnnfast.reference import Cell

__all__ = ["CellInfo", "Packed", "Reserve", "Weights", "backward", "cells", "forward", "pack"]


class Reserve(NamedTuple):
    """Values that a training forward pass keeps for `backward`, which may be called repeatedly.

    The reserve refers to the arrays of the call (x, y, weights, state), which must not change
    before `backward`. On the CPU `backward` compares some of their values with those at the call
    (all of them if RNNFAST_CHECK_INPUTS=1 is set in the environment) and raises `RuntimeError` if
    they differ.

    `nbytes` counts everything else. Let N be the number of steps of all sequences (T*B without
    lengths), S the number of states, K the number of values that the cell keeps per hidden unit and
    step (0 for a vanilla cell; for others the larger of G and the number that `backward` needs: 4
    for an LSTM or GRU, 9 for the NAS cell), and H' = H rounded up to whole tiles, which are one
    vector wide, or four for cells with a product of one or two gates. Each layer and direction then
    takes

        itemsize * H' * (N * K + (S - 1) * (B + N))

    bytes, where B is the number of episodes if there are resets. Add N*D*H values for each layer
    but the last (twice as many with dropout) and, if lengths differ or there are resets, N*I and
    N*D*H values for x and y as packed rows. Zoneout adds
    itemsize * N * (H + (S - 1) * H') bytes to the formula, dropout of the inputs always adds the
    N*I values for x, and dropout of the candidate makes K larger by 1. With `recompute` the formula
    is itemsize * C * S * B * H instead, where C is the number of boundaries between segments.
    """

    core: Any  # the reserve of `_core`, or the equivalent object of another backend

    @property
    def nbytes(self) -> int:
        """Size of the reserve in bytes."""
        return int(self.core.nbytes)

    @property
    def backend(self) -> Backend:
        """The backend that made the reserve."""
        return CPU if isinstance(self.core, _core.Reserve) else self.core.backend


def forward(
    cell: str | Cell,
    x: ArrayLike,
    weights: Sequence[Weights] | Packed,
    state: Sequence[ArrayLike | None] | None = None,
    *,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
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
    context_gates: Sequence[ArrayLike] | None = None,
) -> tuple[RealArray, tuple[RealArray, ...], Reserve | None]:
    """Run a network over whole sequences.

    The computation uses the dtype of `weights[0].weight_ih`: float32 or (on the CPU) float64.
    Weights of less than 32 bits count as float32. Other arrays of real numbers are converted to
    that dtype, so float64 arrays lose digits if the weights are float32.

    Args:
        cell: The name of a cell in `rnnfast.cells.ZOO` or of a registered cell, or a `Cell` object.
        x: (T, B, I) real numbers, or (T, B) integers in [0, I) that stand for one-hot vectors.
        weights: One entry for each layer and direction: l0, l0 reverse, l1, ... Unless training,
            this may be the result of `pack` for the same cell, layers, directions and precision.
        state: The initial states, (L*D, B, H) each; None for zeros. With `reset` they may have
            B + 1 rows, the last of which is the state that resets set.
        lengths: (B,) integers in [0, T], the lengths of the sequences; None if all have length T.
            Outputs beyond the end of a sequence are zero, its final states are those at its end,
            and the reverse direction starts there.
        reset: (T, B) booleans, or integers 0 and 1; None for no resets. Where it is True, an
            episode of the sequence starts: the step starts from zeros, or from the last row of the
            states, instead of the states after the step before. If it is True at step 0, the given
            state has no effect. The reverse direction enters an episode at its end and starts there
            likewise; the given state is that at the end of the last episode. No gradient passes a
            reset. Every episode gets the bits of a call of its own. CPU only.
            Source: Kapturowski et al., "Recurrent experience replay in distributed reinforcement
            learning", 2019.
        num_layers: L.
        bidirectional: Whether D is 2, that is, whether each layer also runs backward in time.
        dropout: Probability of zeroing an output of any layer but the last during training; the
            other outputs are scaled by 1 / (1 - dropout).
        seed: The seed of all masks, in [0, 2**64).
        training: Whether to keep the values that `backward` needs. y is then read-only, since
            `backward` reads it.
        precision: "full" or, for float32 arrays, "bfloat16": matrix products, here and in
            `backward`, round their operands (weights, x, the previous h, gradients of gates) to
            bfloat16, to nearest even, and accumulate in float32; everything else stays float32.
        recompute: Whether to keep less and compute it again in `backward`. False keeps everything
            that `backward` needs. True keeps y and the states of about every sqrt(T)-th step;
            `backward` recomputes the rest one segment at a time, with bitwise equal results. An
            integer n of at least 1 keeps the states of every n-th step. Segments are whole chunks
            of 512 rows (steps * B), so a small n is rounded up. The outputs of every layer are
            always kept. CPU only.
            Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.
        zoneout: The probability that a unit of a state keeps its previous value: one number for all
            states of the cell, or a tuple with one number for each. In training every step draws
            its own units; in evaluation every unit takes the expectation,
            zoneout * old + (1 - zoneout) * new. CPU only, like the options below.
            Source: Krueger et al., "Zoneout: Regularizing RNNs by randomly preserving hidden
            activations", 2016.
        input_dropout: Probability of zeroing a unit of the input of a layer during training; the
            other units are scaled by 1 / (1 - input_dropout). A sequence uses one mask for all of
            its steps. For integer x the one-hot rows are dropped.
            Source: Gal and Ghahramani, "A theoretically grounded application of dropout in
            recurrent neural networks", 2016.
        recurrent_dropout: The same for the operands of the products with weight_hh: h, and any
            other value that the cell multiplies with weight_hh, such as r * h in some GRUs. A
            sequence uses one mask for all steps and products of a layer and direction. The state
            that the next step starts from is not dropped.
            Source: the same as for input_dropout.
        candidate_dropout: The same for the candidate of each step, the value that the step adds to
            a state through a gate, such as g of an LSTM and n of a GRU. Each step draws its own
            mask. The step of the cell must mark its candidate by `x.candidate(v)`. Compiled cells
            then run from their Python equations, like cells written in Python.
            Source: Semeniuta, Severyn and Barth, "Recurrent dropout without memory loss", 2016.
        context_gates: What a context adds to the input part of the gates: for each layer and
            direction (B, G*H), one row for all steps of a sequence, or (T, B, G*H), one for each
            step; None for no context. For a context v and a matrix W_c this is W_c v, without a
            bias. It is added after the input product, and is not rounded in bfloat16. CPU only.
            Sources: Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to
            align and translate", 2015; for the first step only, Karpathy and Fei-Fei, "Deep
            visual-semantic alignments for generating image descriptions", 2015.

    Returns:
        y (T, B, D*H), the outputs of the last layer; the final states, (L*D, B, H) each; and the
        reserve, or None unless training.

    Raises:
        TypeError: An array does not hold real numbers, or the weights are float64 and the precision
            is "bfloat16".
        ValueError: A size, shape or length, or the precision, is wrong.
        IndexError: An index in x is out of range. Indices on a device are not checked, as the host
            would have to wait for them; an index that is out of range selects a row of NaN.
    """
    backend = backends.of_weights(weights)
    steps = 0 if recompute is False else arguments.recomputed_steps(recompute, x, backend)
    # This repeats `network.network_options`: calling it would add 2% to the time of a short call.
    drawn = None
    values = zoneout, input_dropout, recurrent_dropout, candidate_dropout
    if not noise.none(*values):
        info = network.info_of(cell)
        drawn = noise.of(*values, info.name, info.states, backend)
    options = _core.network_options(
        cell, num_layers, bidirectional, dropout, training, precision, steps, 0, False, drawn
    ) or network.checked_options(
        cell, num_layers, bidirectional, dropout, training, precision, steps, 0, False, drawn
    )
    y, final, core = forward_on(
        backend, options, x, weights, state, lengths, reset, seed, context_gates
    )
    return y, final, None if core is None else Reserve(core)


def pack(
    cell: str | Cell,
    weights: Sequence[Weights],
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    precision: str = "full",
) -> Packed:
    """Copy weights into the layout that the kernels read, to be reused by many calls of `forward`.

    Args:
        cell: The name of a cell in `rnnfast.cells.ZOO` or of a registered cell, or a `Cell` object.
        weights: One entry for each layer and direction, as for `forward`.
        num_layers: L.
        bidirectional: Whether D is 2.
        precision: The precision of the products, as for `forward`.

    Raises:
        TypeError: An array does not hold real numbers, or the weights are float64 and the precision
            is "bfloat16".
        ValueError: A size or shape, or the precision, is wrong.
    """
    backend = backends.of_weights(weights)
    options = network.network_options(cell, num_layers, bidirectional, precision=precision)
    packed: Packed | None = _core.pack(options, weights) if backend is CPU else None
    if packed is None:  # an argument must be converted, or is invalid
        packed = backend.pack(options, arguments.checked_weights(backend, weights, options))
        assert packed is not None
    return packed


def backward(
    reserve: Reserve,
    dy: ArrayLike | None = None,
    dstate: Sequence[ArrayLike | None] | None = None,
    *,
    need_dx: bool = True,
    dweights: Sequence[Weights] | None = None,
    dcontext_gates: Sequence[RealArray] | None = None,
) -> tuple[RealArray | None, tuple[RealArray, ...], list[Weights]]:
    """Backpropagate through a training forward pass.

    Args:
        reserve: The reserve that `forward` returned.
        dy: (T, B, D*H), the gradient of y; None for zeros.
        dstate: Gradients of the final states, (L*D, B, H) each; None for zeros.
        need_dx: Whether to compute the gradient of x (integer x never has one).
        dweights: Arrays to which the gradients of the weights are added: C-contiguous, with the
            structure, dtype and shapes of the weights; None to return new arrays. A None in place
            of one of these arrays saves the computation of its gradient.
        dcontext_gates: Arrays to which the gradients of `context_gates` are added, in their shapes,
            C-contiguous; None if they are not needed.

    Returns:
        dx (T, B, I) or None; the gradients of the initial states, in their shapes, where that of a
        row for resets is the sum over all resets; and the gradients of the weights, which are
        `dweights` if given, and None for each weight that is None.

    Raises:
        RuntimeError: x, the weights or the state have changed since `forward`, or `context_gates`,
            if the gates are recomputed.
        TypeError: An array does not hold real numbers, the dtype of one of `dweights` or of
            `dcontext_gates` differs from that of the weights, or `reserve` is None (`forward` was
            not training).
        ValueError: A shape is wrong.
    """
    if not isinstance(reserve, Reserve):
        raise TypeError(
            "reserve: expected what forward(..., training=True) returned, got "
            f"{type(reserve).__name__}"
        )
    dx, dinitial, gradients = backward_on(
        reserve.backend, reserve.core, dy, dstate, need_dx, dweights, dcontext_gates
    )
    return dx, dinitial, [Weights(*g) for g in gradients] if dweights is None else list(dweights)


def forward_on(
    backend: Backend,
    options: NetworkOptions,
    x: ArrayLike,
    weights: Sequence[Weights] | Packed,
    state: Sequence[ArrayLike | None] | None,
    lengths: ArrayLike | None,
    reset: ArrayLike | None,
    seed: int,
    context_gates: Sequence[ArrayLike] | None = None,
) -> tuple[RealArray, tuple[RealArray, ...], Any]:
    """Run `forward` on a backend that is already known; the third result is the raw reserve."""
    result = None
    if backend is CPU:
        result = _core.forward(options, x, weights, state, lengths, reset, seed, context_gates)
    if result is None:  # an argument must be converted, or is invalid
        call = options, x, weights, state, lengths, reset, seed, context_gates
        result = backend.forward(*arguments.checked_call(backend, *call))
    if result[2] is not None and backend is CPU:
        result[0].flags.writeable = False  # backward reads y
    return result


def backward_on(
    backend: Backend,
    core: Any,
    dy: ArrayLike | None,
    dstate: Sequence[ArrayLike | None] | None,
    need_dx: bool,
    dweights: Sequence[Weights] | None,
    dcontext_gates: Sequence[RealArray] | None = None,
) -> tuple[RealArray | None, tuple[RealArray, ...], Any]:
    """Run `backward` on a raw reserve; returns None for the weights' gradients given `dweights`."""
    result = None
    if backend is CPU:
        result = _core.backward(core, dy, dstate, need_dx, dweights, dcontext_gates)
    if result is None:  # an argument must be converted, or is invalid
        dy, dstate = arguments.checked_gradients(backend, core, dy, dstate)
        given = None if dweights is None else arguments.checked_dweights(backend, core, dweights)
        if dcontext_gates is not None:
            arguments.check_dcontext_gates(backend, core, dcontext_gates)
        result = backend.backward(core, dy, dstate, need_dx, given, dcontext_gates)
    return result
