"""Whole recurrent networks in plain NumPy: layers, directions, lengths, dropout, all gradients.

The slow and plain counterpart of `rnnfast.functional`, same shapes and order of arrays. Everything
is computed in `dtype`: float64 for reference values, float32 for the error that plain float32 code
makes on the same task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnnfast.reference.cell import Cell, Inputs, Product
from rnnfast.reference.rounding import Rounding, round_gradient
from rnnfast.reference.tape import Array, Var, backward, concatenate, gradient_of, where

Weights: TypeAlias = Sequence["Array | None"]
"""weight_ih, weight_hh, bias_ih, bias_hh, weight_channel of one layer and direction."""


class Gradients(NamedTuple):
    """Gradients in the shapes of what they belong to; `dx` is None for indices."""

    dx: Array | None
    dstate: tuple[Array, ...]
    dweights: list[tuple[Array | None, ...]]


class _Noise(NamedTuple):
    """The masks of one layer in one direction."""

    zoneout: Sequence[Array] | None
    recurrent: Array | None


class _Direction:
    """One layer in one direction: its weights on the tape, and the loop over time."""

    def __init__(
        self,
        cell: Cell,
        weights: Weights,
        dtype: DTypeLike,
        rounding: Rounding | None,
        noise: _Noise,
    ) -> None:
        w_ih, w_hh, b_ih, b_hh, channel = (None if w is None else w.astype(dtype) for w in weights)
        if w_ih is None or w_hh is None:
            raise ValueError("weights: weight_ih and weight_hh are needed, got None")
        H = w_hh.shape[1]
        _check_rows(cell, "weight_ih", w_ih, cell.gates, H)
        _check_rows(cell, "weight_hh", w_hh, cell.recurrent_blocks, H)
        if cell.reads_input and w_ih.shape[1] != H:
            raise ValueError(
                f"weight_ih: expected input_size = hidden_size = {H}, as the cell {cell.name!r} "
                f"reads the input itself, got {w_ih.shape[1]}"
            )
        self._cell, self._rounding = cell, rounding
        self._input = Product(w_ih, b_ih, cell.gates, rounding)
        self._recurrent = Product(w_hh, b_hh, cell.recurrent_blocks, rounding, noise.recurrent)
        self._channel = [] if channel is None else [Var(row) for row in channel]
        self._zoneout = noise.zoneout

    def run(
        self, xs: list[Var], state: tuple[Var, ...], masks: NDArray[np.bool_], reverse: bool
    ) -> tuple[list[Var], tuple[Var, ...]]:
        """Outputs (B, H) at every time step and the final states; masks (T, B, 1) are running."""
        ys = list(xs)
        times = range(len(xs))
        for t in reversed(times) if reverse else times:
            running = masks[t]
            new = self._cell.advance(self._inputs(xs[t]), self._recurrent, state, self._channel)
            if self._zoneout is not None:
                shares = [mask[t] for mask in self._zoneout]
                new = tuple(
                    n * share + s * (1 - share)
                    for n, s, share in zip(new, state, shares, strict=True)
                )
            state = tuple(where(running, n, s) for n, s in zip(new, state, strict=True))
            ys[t] = where(running, new[0], Var(np.zeros_like(new[0].value)))
        return ys, state

    def _inputs(self, x: Var) -> Inputs:
        """What a step sees of its input x (B, I)."""
        gates = self._input(x)
        if not self._cell.reads_input:
            return Inputs(gates)
        return Inputs(gates, x if self._rounding is None else round_gradient(x, self._rounding))

    def gradients(self) -> tuple[Array | None, ...]:
        dw_ih, db_ih = self._input.gradients()
        dw_hh, db_hh = self._recurrent.gradients()
        dchannel = [gradient_of(p) for p in self._channel]
        return dw_ih, dw_hh, db_ih, db_hh, np.stack(dchannel) if dchannel else None


def _check_rows(cell: Cell, label: str, weight: Array, blocks: int, hidden: int) -> None:
    """A weight matrix has the rows of its row blocks."""
    expected = blocks * hidden
    if len(weight) != expected:
        raise ValueError(
            f"{label}: expected {blocks} row blocks of {hidden} units for the cell {cell.name!r}, "
            f"which are {expected} rows, got {len(weight)}"
        )


class Network:
    """A forward pass on the tape, and the backward pass through it.

    Args:
        cell: the cell of every layer.
        x: (T, B, I) reals, or (T, B) integer indices in [0, I), read as one-hot rows.
        weights: one (weight_ih, weight_hh, bias_ih, bias_hh, weight_channel) per layer and
            direction, in the order l0, l0_reverse, l1, ...; the last three may be None.
        state: initial states, (L*D, B, H) each; None for zeros.
        lengths: (B,) integers in [0, T]; None for T everywhere. Outputs past a sequence's end are
            0, its final states are those at its end, the reverse direction starts there.
        bidirectional: whether every layer runs in both directions.
        dropout_masks: one array (T, B, D*H) for each layer but the last, by which its outputs are
            multiplied; None for no dropout.
        zoneout_masks: one sequence of arrays (T, B, H), one a state, for each layer and direction:
            the share of its new value that a state takes in a step, the rest being the old value;
            None for all of it.
            Source: Krueger et al., "Zoneout: Regularizing RNNs by randomly preserving hidden
            activations", 2016.
        input_masks: one array (B, I), or (B, D*H), for each layer, by which its inputs are
            multiplied in every step; None for no such dropout.
            Source: Gal and Ghahramani, "A theoretically grounded application of dropout in
            recurrent neural networks", 2016.
        recurrent_masks: one array (B, H) for each layer and direction, by which whatever its
            recurrent products multiply is multiplied; None for no such dropout. Source: the same.
        dtype: the real type to compute in.
        rounding: what all that products multiply passes through, in both passes, as
            `round_to_bfloat16`; None for nothing.

    Attributes:
        y: outputs of the last layer, (T, B, D*H).
        state: final states, (L*D, B, H) each.
    """

    def __init__(
        self,
        cell: Cell,
        x: NDArray[Any],
        weights: Sequence[Weights],
        state: Sequence[Array] | None = None,
        *,
        lengths: NDArray[np.integer[Any]] | None = None,
        bidirectional: bool = False,
        dropout_masks: Sequence[Array] | None = None,
        zoneout_masks: Sequence[Sequence[Array]] | None = None,
        input_masks: Sequence[Array] | None = None,
        recurrent_masks: Sequence[Array] | None = None,
        dtype: DTypeLike = np.float64,
        rounding: Rounding | None = None,
    ) -> None:
        directions = 2 if bidirectional else 1
        self._layers = [
            _Direction(
                cell,
                w,
                dtype,
                rounding,
                _Noise(
                    None if zoneout_masks is None else [m.astype(dtype) for m in zoneout_masks[k]],
                    None if recurrent_masks is None else recurrent_masks[k].astype(dtype),
                ),
            )
            for k, w in enumerate(weights)
        ]
        first_weight, recurrent_weight = weights[0][0], weights[0][1]
        assert first_weight is not None
        assert recurrent_weight is not None
        self._indices = np.issubdtype(x.dtype, np.integer)
        rows = np.eye(first_weight.shape[1])[x] if self._indices else x
        self._shape = rows.shape
        seq_len, batch, _ = rows.shape
        hidden = recurrent_weight.shape[1]
        if state is None:
            state = [np.zeros((len(weights), batch, hidden))] * cell.states
        ends = np.full(batch, seq_len) if lengths is None else lengths
        running = (np.arange(seq_len)[:, None] < ends)[..., None]

        self._xs = [Var(step.astype(dtype)) for step in rows]
        self._initial = [tuple(Var(s[k].astype(dtype)) for s in state) for k in range(len(weights))]
        self._final: list[tuple[Var, ...]] = []
        outputs = self._xs
        for first in range(0, len(weights), directions):
            if first and dropout_masks is not None:
                mask = dropout_masks[first // directions - 1].astype(dtype)
                outputs = [y * m for y, m in zip(outputs, mask, strict=True)]
            if input_masks is not None:
                same = input_masks[first // directions].astype(dtype)
                outputs = [y * same for y in outputs]
            outputs = self._run_layer(outputs, running, range(first, first + directions))
        self._ys = outputs
        self.y: Array = np.array([y.value for y in outputs], dtype)
        self.y = self.y.reshape(seq_len, batch, directions * hidden)  # also where T is 0
        self.state = tuple(
            np.stack([s.value for s in one]) for one in zip(*self._final, strict=True)
        )

    def _run_layer(self, xs: list[Var], running: NDArray[np.bool_], members: range) -> list[Var]:
        """Runs the directions of one layer; their outputs stand side by side."""
        sides = []
        for k in members:
            ys, final = self._layers[k].run(xs, self._initial[k], running, k > members.start)
            self._final.append(final)
            sides.append(ys)
        return [concatenate(list(parts)) for parts in zip(*sides, strict=True)]

    def backward(
        self, dy: Array | None = None, dstate: Sequence[Array | None] | None = None
    ) -> Gradients:
        """Gradients for dy (T, B, D*H) and, one a state, dstate (L*D, B, H); None means zeros.

        May be called once: gradients stay on the tape.
        """
        results: list[tuple[Var, Array]] = []
        if dy is not None:
            results += [(y, g.astype(y.value.dtype)) for y, g in zip(self._ys, dy, strict=True)]
        if dstate is not None:
            for one, gradient in zip(zip(*self._final, strict=True), dstate, strict=True):
                if gradient is not None:
                    results += [
                        (s, g.astype(s.value.dtype)) for s, g in zip(one, gradient, strict=True)
                    ]
        backward(results)
        dx = np.array([gradient_of(x) for x in self._xs], self.y.dtype).reshape(self._shape)
        return Gradients(
            None if self._indices else dx,
            tuple(
                np.stack([gradient_of(s) for s in one]) for one in zip(*self._initial, strict=True)
            ),
            [layer.gradients() for layer in self._layers],
        )
