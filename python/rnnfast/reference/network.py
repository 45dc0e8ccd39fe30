"""Whole recurrent networks in plain NumPy: layers, directions, lengths, resets, all gradients.

This is the slow, plain counterpart of `rnnfast.functional`, with the same shapes and order of
arrays. Everything is computed in `dtype`: float64 for reference values, float32 to measure the
error that plain float32 code makes on the same task.
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
"""weight_ih, weight_hh, bias_ih, bias_hh, weight_channel and weight_hr of a layer and direction.

Without a projection weight_hr is None or left out.
"""


class Gradients(NamedTuple):
    """Gradients of x, the initial states and the weights, in their shapes; no `dx` for indices."""

    dx: Array | None
    dstate: tuple[Array, ...]
    dweights: list[tuple[Array | None, ...]]


class _Spans(NamedTuple):
    """The steps of the sequences, and of the episodes into which resets cut them.

    Attributes:
        running: (T, B, 1), True for the sequences that include a step.
        starts: (T, B, 1), True where a reset makes a step the first of an episode.
    """

    running: NDArray[np.bool_]
    starts: NDArray[np.bool_]


class _Noise(NamedTuple):
    """The masks of one layer in one direction."""

    zoneout: Sequence[Array] | None
    recurrent: Array | None
    candidate: Array | None


class _Direction:
    """One layer in one direction: its weights on the tape, and the loop over time.

    With weight_ch (G*H, C) a context v adds W_ch v to the input part of the gates. Its factors are
    not rounded. Sources: Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning
    to align and translate", 2015, appendix A, the terms C c_i; in the first step only, Karpathy and
    Fei-Fei, "Deep visual-semantic alignments for generating image descriptions", 2015, equation 14.

    With weight_hr (P, H) the h of the cell's equations is projected: W_hr h replaces it in the
    output and in the next step. Source: Sak, Senior and Beaufays, "Long short-term memory recurrent
    neural network architectures for large scale acoustic modeling", 2014, equations 1 to 7.
    """

    def __init__(
        self,
        cell: Cell,
        weights: Weights,
        dtype: DTypeLike,
        rounding: Rounding | None,
        noise: _Noise,
        weight_ch: Array | None,
    ) -> None:
        w_ih, w_hh, b_ih, b_hh, channel, *others = (
            None if w is None else w.astype(dtype) for w in weights
        )
        w_hr = others[0] if others else None
        if w_ih is None or w_hh is None:
            raise ValueError("weights: expected weight_ih and weight_hh, got None")
        H = (w_hh if w_hr is None else w_hr).shape[1]
        _check_rows(cell, "weight_ih", w_ih, cell.gates, H)
        _check_rows(cell, "weight_hh", w_hh, cell.recurrent_blocks, H)
        if cell.reads_input and w_ih.shape[1] != H:
            raise ValueError(
                f"weight_ih: expected input_size = hidden_size = {H}, as the cell {cell.name!r} "
                f"reads the input itself, got {w_ih.shape[1]}"
            )
        self._cell, self._rounding = cell, rounding
        self._input = Product(w_ih, b_ih, cell.gates, rounding)
        self._context = None
        if weight_ch is not None:
            _check_rows(cell, "weight_ch", weight_ch, cell.gates, H)
            self._context = Product(weight_ch.astype(dtype), None, cell.gates)
        self._recurrent = Product(w_hh, b_hh, cell.recurrent_blocks, rounding, noise.recurrent)
        self._channel = [] if channel is None else [Var(row) for row in channel]
        self._projection = None if w_hr is None else Product(w_hr, None, 1, rounding)
        self.widths = w_hh.shape[1], *[H] * (cell.states - 1)  # of the states
        self._zoneout, self._candidate = noise.zoneout, noise.candidate

    def run(
        self,
        xs: list[Var],
        state: tuple[Var, ...],
        after_reset: tuple[Var, ...],
        spans: _Spans,
        reverse: bool,
        context: list[Var],
    ) -> tuple[list[Var], tuple[Var, ...]]:
        """Return the outputs at every time step, (B, H) or (B, P) each, and the final states.

        `state` has B rows, and `after_reset`, the state that resets set, has none. `context` has
        one (B, C) for each step, or is empty.
        """
        ys = list(xs)
        times = range(len(xs))
        for t in reversed(times) if reverse else times:
            running = spans.running[t]
            first = t + 1 if reverse else t  # the reverse direction enters an episode at its end
            if first < len(xs) and spans.starts[first].any():
                state = tuple(
                    where(spans.starts[first], r, s)
                    for r, s in zip(after_reset, state, strict=True)
                )
            inputs = self._inputs(xs[t], context[t] if context else None, t)
            new = self._cell.advance(inputs, self._recurrent, state, self._channel)
            if self._projection is not None:
                new = *self._projection(new[0]), *new[1:]
            if self._zoneout is not None:
                shares = [mask[t] for mask in self._zoneout]
                new = tuple(
                    n * share + s * (1 - share)
                    for n, s, share in zip(new, state, shares, strict=True)
                )
            state = tuple(where(running, n, s) for n, s in zip(new, state, strict=True))
            ys[t] = where(running, new[0], Var(np.zeros_like(new[0].value)))
        return ys, state

    def _inputs(self, x: Var, context: Var | None, t: int) -> Inputs:
        """Return the `Inputs` of step t for its input x (B, I) and its context (B, C)."""
        gates, entire = self._input(x), None
        if self._context is not None and context is not None:
            added = self._context(context)
            if self._rounding is not None:
                added = [round_gradient(part, self._rounding) for part in added]
            gates = [gate + part for gate, part in zip(gates, added, strict=True)]
        if self._cell.reads_input:
            entire = x if self._rounding is None else round_gradient(x, self._rounding)
        return Inputs(gates, entire, None if self._candidate is None else self._candidate[t])

    def gradients(self) -> tuple[Array | None, ...]:
        dw_ih, db_ih = self._input.gradients()
        dw_hh, db_hh = self._recurrent.gradients()
        dchannel = [gradient_of(p) for p in self._channel]
        dw_hr = None if self._projection is None else self._projection.gradients()[0]
        return dw_ih, dw_hh, db_ih, db_hh, np.stack(dchannel) if dchannel else None, dw_hr

    def context_gradient(self) -> Array:
        if self._context is None:
            raise ValueError("weight_ch: expected an array for each layer and direction, got None")
        return self._context.gradients()[0]


def _check_rows(cell: Cell, label: str, weight: Array, blocks: int, hidden: int) -> None:
    """Check that a weight matrix has `blocks` row blocks of `hidden` rows."""
    expected = blocks * hidden
    if len(weight) != expected:
        raise ValueError(
            f"{label}: expected {blocks} row blocks of {hidden} units for the cell {cell.name!r}, "
            f"{expected} rows in total, got {len(weight)}"
        )


class Network:
    """A forward pass on the tape, and the backward pass through it.

    Args:
        cell: The cell of every layer.
        x: (T, B, I) reals, or (T, B) integer indices in [0, I), read as one-hot rows.
        weights: One `Weights` per layer and direction, in the order l0, l0_reverse, l1, ...; all
            but the first two may be None.
        state: Initial states, (L*D, B, H) each, or (L*D, B, P) for a projected h; None for zeros.
            With B + 1 rows, the last is the state that resets set, which is zero otherwise.
        lengths: (B,) integers in [0, T]; None if all are T. Outputs past the end of a sequence are
            0, its final states are those at its end, and the reverse direction starts there.
        reset: (T, B) booleans; None for no resets. Where it is True, an episode starts: the states
            are reset before that step and, in the reverse direction, before the step that precedes
            it in time. Values past the end of a sequence have no effect.
        context: (B, C), a context for each sequence, or (T, B, C), one for each step; None for
            none.
        weight_ch: With a context, its weight (G*H, C) for each layer and direction.
        bidirectional: Whether every layer runs in both directions.
        dropout_masks: One array (T, B, D*H) for each layer but the last, a factor of its outputs;
            None for no dropout.
        zoneout_masks: For each layer and direction a sequence of one array (T, B, H) per state: the
            share of its new value that the state takes in a step, the rest being the old value;
            None for no zoneout.
            Source: Krueger et al., "Zoneout: Regularizing RNNs by randomly preserving hidden
            activations", 2016.
        input_masks: One array (B, I), or (B, D*H), for each layer, a factor of its inputs in every
            step; None for no such dropout.
            Source: Gal and Ghahramani, "A theoretically grounded application of dropout in
            recurrent neural networks", 2016.
        recurrent_masks: One array (B, H) for each layer and direction, a factor of all operands of
            its recurrent products; None for no such dropout. Source: the same.
        candidate_masks: One array (T, B, H) for each layer and direction, a factor of the candidate
            of each step, `x.candidate(v)`; None for no such dropout.
            Source: Semeniuta, Severyn and Barth, "Recurrent dropout without memory loss", 2016.
        dtype: The real type to compute in.
        rounding: A function that rounds all operands of products in both passes, such as
            `round_to_bfloat16`; `round_to_int8` is for forward passes; None for no rounding.

    Attributes:
        y: Outputs of the last layer, (T, B, D*H), or (T, B, D*P) with a projection.
        state: Final states, in the shapes of the initial states.
    """

    def __init__(
        self,
        cell: Cell,
        x: NDArray[Any],
        weights: Sequence[Weights],
        state: Sequence[Array] | None = None,
        *,
        lengths: NDArray[np.integer[Any]] | None = None,
        reset: NDArray[np.bool_] | None = None,
        context: Array | None = None,
        weight_ch: Sequence[Array] | None = None,
        bidirectional: bool = False,
        dropout_masks: Sequence[Array] | None = None,
        zoneout_masks: Sequence[Sequence[Array]] | None = None,
        input_masks: Sequence[Array] | None = None,
        recurrent_masks: Sequence[Array] | None = None,
        candidate_masks: Sequence[Array] | None = None,
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
                    None if candidate_masks is None else candidate_masks[k].astype(dtype),
                ),
                None if weight_ch is None else weight_ch[k],
            )
            for k, w in enumerate(weights)
        ]
        first_weight = weights[0][0]
        assert first_weight is not None
        self._indices = np.issubdtype(x.dtype, np.integer)
        rows = np.eye(first_weight.shape[1])[x] if self._indices else x
        self._shape = rows.shape
        seq_len, batch, _ = rows.shape
        widths = self._layers[0].widths
        if state is None:
            state = [np.zeros((len(weights), batch, width)) for width in widths]
        ends = np.full(batch, seq_len) if lengths is None else lengths
        running = np.arange(seq_len)[:, None] < ends
        starts = np.zeros_like(running) if reset is None else running & reset
        spans = _Spans(running[..., None], starts[..., None])

        self._xs = [Var(step.astype(dtype)) for step in rows]
        self._contexts: list[Var] = []  # one, or one for each step
        if context is not None:
            parts = context[None] if context.ndim == 2 else context
            self._contexts = [Var(part.astype(dtype)) for part in parts]
            self._context_shape = context.shape
        given = [s[:, :batch] for s in state]
        self._initial = [tuple(Var(s[k].astype(dtype)) for s in given) for k in range(len(weights))]
        resets = [
            s[:, batch] if s.shape[1] > batch else np.zeros((len(s), s.shape[2])) for s in state
        ]
        self._reset = [tuple(Var(s[k].astype(dtype)) for s in resets) for k in range(len(weights))]
        self._has_reset_state = state[0].shape[1] > batch
        self._final: list[tuple[Var, ...]] = []
        outputs = self._xs
        for first in range(0, len(weights), directions):
            if first and dropout_masks is not None:
                mask = dropout_masks[first // directions - 1].astype(dtype)
                outputs = [y * m for y, m in zip(outputs, mask, strict=True)]
            if input_masks is not None:
                same = input_masks[first // directions].astype(dtype)
                outputs = [y * same for y in outputs]
            outputs = self._run_layer(outputs, spans, range(first, first + directions))
        self._ys = outputs
        self.y: Array = np.array([y.value for y in outputs], dtype)
        self.y = self.y.reshape(seq_len, batch, directions * widths[0])  # needed if T is 0
        self.state = tuple(
            np.stack([s.value for s in one]) for one in zip(*self._final, strict=True)
        )

    def _run_layer(self, xs: list[Var], spans: _Spans, members: range) -> list[Var]:
        """Run the directions of one layer and concatenate their outputs."""
        sides = []
        context = self._contexts * (len(xs) if len(self._contexts) == 1 else 1)
        for k in members:
            ys, final = self._layers[k].run(
                xs, self._initial[k], self._reset[k], spans, k > members.start, context
            )
            self._final.append(final)
            sides.append(ys)
        return [concatenate(list(parts)) for parts in zip(*sides, strict=True)]

    def backward(
        self, dy: Array | None = None, dstate: Sequence[Array | None] | None = None
    ) -> Gradients:
        """Return the gradients for dy and dstate, in the shapes of y and state; None for zeros.

        Call this only once, as gradients accumulate on the tape.
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
            tuple(map(self._initial_gradient, range(len(self.state)))),
            [layer.gradients() for layer in self._layers],
        )

    def context_gradients(self) -> tuple[Array, list[Array]]:
        """Return the gradients of the context and of weight_ch, after `backward`."""
        dcontext = np.array([gradient_of(v) for v in self._contexts], self.y.dtype)
        return (
            dcontext.reshape(self._context_shape),
            [layer.context_gradient() for layer in self._layers],
        )

    def _initial_gradient(self, k: int) -> Array:
        """Return the gradient of initial state k, with that of the state of resets if given."""
        given = np.stack([gradient_of(s[k]) for s in self._initial])
        if not self._has_reset_state:
            return given
        resets = np.stack([gradient_of(s[k]) for s in self._reset])
        return np.concatenate([given, resets[:, None]], axis=1)
