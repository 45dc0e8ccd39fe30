"""A recurrent operator of an ONNX model as a function of arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast import functional, reference
from rnnfast._engine import arguments, backends, checks
from rnnfast._engine.checks import RealArray
from rnnfast.functional import Weights
from rnnfast.layers.states import State, StateLike
from rnnfast.layers.stream import Stream
from rnnfast.layers.stream_layers import KeptWeights, StreamRecurrent
from rnnfast.onnx.shapes import OfShapes
from rnnfast.onnx.stacking import Origin

# Sizes of time and batch for testing the values that a model computes from the shape of X.
_SIZES = ((2, 3), (5, 4))


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction of an operator.

    Attributes:
        cell: The cell of the library that it computes, apart from the changes in `variant`.
        weights: The weights in the layout of the library.
        variant: The cell with other activations, a clip or coupled gates, for which there are no
            kernels; None if it is the cell itself.
    """

    cell: str
    weights: Weights
    variant: reference.Cell | None = None

    def run(
        self, x: RealArray, state: list[RealArray | None], lengths: NDArray[np.int64] | None
    ) -> tuple[RealArray, ...]:
        """Return Y (T, B, H) and the final states, (B, H) each; x is in this direction's order."""
        initial = [None if s is None else s[None] for s in state]
        if self.variant is None:
            y, final, _ = functional.forward(self.cell, x, [self.weights], initial, lengths=lengths)
            return y, *(s[0] for s in final)
        zeros = np.zeros((1, x.shape[1], self.weights.weight_hh.shape[1]))
        network = reference.Network(
            self.variant,
            x,
            [self.weights],
            [zeros if s is None else s for s in initial],
            lengths=lengths,
        )
        return network.y.astype(x.dtype), *(s[0].astype(x.dtype) for s in network.state)


@dataclass(frozen=True, eq=False)
class RecurrentNode:
    """An LSTM, GRU or RNN operator with its weights, as returned by `rnnfast.onnx.load`.

    `y, y_h = node(x)`, or `y, y_h, y_c = node(x)` for an LSTM, has ONNX's shapes. If the operator
    is a cell of the library, it is computed by the kernels. Operators with other activations, a
    `clip` or `input_forget` are computed by the NumPy reference in float64, step by step, which is
    slow; `uses_kernels` says which is the case.

    Attributes:
        name: The name of the node, which may be empty.
        op_type: "LSTM", "GRU" or "RNN".
        direction: "forward", "reverse" or "bidirectional".
        batch_first: Whether arrays have ONNX's `layout` 1.
        directions: Weights and cells, one entry for each of the D directions.
        constants: Those of `sequence_lens`, `initial_h` and `initial_c` that are constants of the
            model, which calls use by default. Zeros are left out.
        computed: Other inputs that the model computes, unless they are zeros: functions of the
            shape of x, which calls use by default, or the reason why they cannot be computed here,
            so that calls must pass them.
        branches: The branches of `If` nodes and the bodies of loops that contain the operator,
            from the outermost to the innermost, such as "then_branch of If node 'name'".
        origin: Its place in the model; None if it comes from none.
    """

    name: str
    op_type: str
    direction: str
    batch_first: bool
    directions: tuple[Direction, ...] = field(repr=False)
    constants: dict[str, NDArray[Any]] = field(repr=False)
    computed: dict[str, OfShapes | str] = field(repr=False)
    branches: tuple[str, ...]
    origin: Origin | None = field(repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the weights and of x."""
        return self.directions[0].weights.weight_ih.dtype

    @property
    def input_size(self) -> int:
        """I, the size of x's last axis."""
        return int(self.directions[0].weights.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """H, the size of the output of one direction."""
        return int(self.directions[0].weights.weight_hh.shape[1])

    @property
    def uses_kernels(self) -> bool:
        """Whether the kernels compute every direction, rather than the NumPy reference."""
        return all(d.variant is None for d in self.directions)

    @property
    def cell(self) -> str | None:
        """The cell of the library in all directions; None if they differ or one is a variant."""
        cells = {d.cell for d in self.directions}
        return cells.pop() if self.uses_kernels and len(cells) == 1 else None

    def __call__(
        self,
        x: ArrayLike,
        sequence_lens: ArrayLike | None = None,
        initial_h: ArrayLike | None = None,
        initial_c: ArrayLike | None = None,
    ) -> tuple[RealArray, ...]:
        """Run the operator.

        Args:
            x: Real numbers (T, B, I), or (B, T, I) if `batch_first`; converted to the dtype of the
                node.
            sequence_lens: (B,) integers in [0, T]; None for the model's own, or T if it has none.
            initial_h: (D, B, H), or (B, D, H) if `batch_first`; None for the model's own, or zeros
                if it has none.
            initial_c: The same for an LSTM's cell state.

        Returns:
            Y (T, D, B, H), Y_h (D, B, H) and, for an LSTM, Y_c (D, B, H); with `batch_first`
            (B, T, D, H) and (B, D, H). Y is zero after the end of a sequence.

        Raises:
            ValueError: A shape or length is wrong, `initial_c` is given for an RNN or GRU, or an
                argument is missing that the model computes from the values of its inputs.
            TypeError: A dtype is wrong.
        """
        given = arguments.given_x(x, self.input_size)
        given = checks.real_array("x", given, self.dtype, " (the node's)")
        xs = self._time_first(given)
        xs = arguments.checked_x(backends.CPU, xs, self.dtype, self.input_size)
        seq_len, batch = xs.shape[:2]
        lengths = self._given("sequence_lens", sequence_lens, given.shape)
        if lengths is not None:
            lengths = arguments.checked_lengths(
                backends.CPU, lengths, seq_len, batch, "sequence_lens"
            ).astype(np.int64)
        states = self._states(initial_h, initial_c, given.shape, batch)
        reverse = self.direction == "reverse"
        y, *final = self._run(in_reverse(xs, lengths) if reverse else xs, states, lengths)
        y = in_reverse(y, lengths) if reverse else y
        if self.batch_first:
            return y.swapaxes(0, 1), *(s.swapaxes(0, 1) for s in final)
        return y.swapaxes(1, 2), *final

    def stream(self, batch: int = 1, state: StateLike | None = None) -> Stream[State]:
        """Return a stream, which processes sequences step by step as their data arrive.

        The results have the same bits as calls of the operator over whole sequences. The state of
        the stream, `stream.state`, is that of a layer: h, or (h, c) for an LSTM, (1, B, H) each.

        Args:
            batch: B, the number of sequences processed side by side.
            state: Initial state; None for the model's own, or zeros if it has none.

        Returns:
            A stream, whose `reset` restarts sequences from the model's own state, or from zeros.

        Raises:
            ValueError: The operator has another direction than forward, or no kernels compute it;
                the model defines lengths, or states that differ between sequences; or a shape is
                wrong.
            TypeError: The state has the wrong structure.
        """
        if self.direction != "forward":
            raise ValueError(f"stream: expected direction forward, got {self.direction}")
        if self.cell is None:
            raise ValueError(
                f"stream: expected a cell of the library, got {self.directions[0].cell} with other "
                "activations, clip or input_forget"
            )
        self._check_no_lengths("stream")
        own = self._own_states("stream") if state is None else [None]
        initial = None
        if any(rows is not None for rows in own):
            zeros = np.zeros((1, self.hidden_size), self.dtype)
            initial = tuple(zeros if rows is None else rows for rows in own)
        kept = KeptWeights(self._packed, [d.weights for d in self.directions])
        stream: Stream[State] = Stream([StreamRecurrent(kept, None, initial)], batch, alone=True)
        if state is not None:
            stream.state = state
        return stream

    def _run(
        self, x: RealArray, states: list[RealArray | None], lengths: NDArray[np.int64] | None
    ) -> tuple[RealArray, ...]:
        """Return Y (T, B, D, H) and the final states, (D, B, H) each, for arguments of such shapes.

        x (T, B, I) is in the order of time of the first direction.
        """
        if self.cell is not None:
            directions = len(self.directions)
            y, final, _ = functional.forward(
                self.cell,
                x,
                self._packed,
                states,
                lengths=lengths,
                bidirectional=directions == 2,
            )
            return y.reshape(*y.shape[:2], directions, self.hidden_size), *final
        results = []
        for k, direction in enumerate(self.directions):
            turned = in_reverse(x, lengths) if k else x
            y, *of_k = direction.run(turned, [s if s is None else s[k] for s in states], lengths)
            results.append((in_reverse(y, lengths) if k else y, *of_k))
        ys, *finals = zip(*results, strict=True)
        return np.stack(ys, axis=2), *(np.stack(s) for s in finals)

    @cached_property
    def _packed(self) -> functional.Packed:
        assert self.cell is not None
        weights = [d.weights for d in self.directions]
        return functional.pack(self.cell, weights, bidirectional=len(weights) == 2)

    def _states(
        self,
        initial_h: ArrayLike | None,
        initial_c: ArrayLike | None,
        x_shape: tuple[int, ...],
        batch: int,
    ) -> list[RealArray | None]:
        """Return the initial states, (D, B, H) each."""
        given = {"initial_h": initial_h, "initial_c": initial_c}
        if self.op_type != "LSTM":
            if initial_c is not None:
                raise ValueError(f"initial_c: expected None, as {self.op_type} has no cell state")
            del given["initial_c"]
        result: list[RealArray | None] = []
        for name, value in given.items():
            array = self._given(name, value, x_shape)
            if array is not None:
                array = self._time_first(array)
                self._check_state(name, array, batch)
                array = checks.real_array(name, array, self.dtype, " (x's)")
            result.append(array)
        return result

    def own_state(self, name: str, seq_len: int, batch: int) -> RealArray:
        """Return the `initial_h` or `initial_c` that the model defines, (D, B, H).

        Sizes that the model fixes override the arguments.

        Raises:
            ValueError: It cannot be computed.
        """
        axes = (batch, seq_len) if self.batch_first else (seq_len, batch)
        shape: tuple[int, ...] = (*axes, self.input_size)
        computed = self.computed.get(name)
        if isinstance(computed, OfShapes):
            shape = computed.fitted(shape)
        own = self._given(name, None, shape)
        assert own is not None
        own = self._time_first(own)
        if computed is not None:  # constants were checked on reading, and have their own batch size
            self._check_state(name, own, shape[0 if self.batch_first else 1])
        return own

    def _own_states(self, place: str) -> list[RealArray | None]:
        """Return the states that the model starts every sequence from, (D, H) each; None for zeros.

        Args:
            place: What to call the operator in errors.

        Raises:
            ValueError: They differ between sequences, or cannot be computed.
        """
        states = functional.cells()[self.directions[0].cell].states
        return [self._own_rows(place, name) for name in ("initial_h", "initial_c")[:states]]

    def _own_rows(self, place: str, name: str) -> RealArray | None:
        if name not in self.constants and name not in self.computed:
            return None
        try:
            found = [self.own_state(name, *sizes) for sizes in _SIZES]
        except ValueError:
            found = []
        rows = found[0][:, :1] if found and found[0].shape[1] else None
        if rows is None or any((value != rows).any() for value in found):
            raise self._refused(place, name, "unless all sequences start from the same state")
        return rows[:, 0] if rows.any() else None

    def _check_no_lengths(self, place: str) -> None:
        """Check that the model defines no lengths, or only those of whole sequences.

        Args:
            place: What to call the operator in errors.

        Raises:
            ValueError: It does, and a layer or a stream has none.
        """
        if "sequence_lens" in self.constants or (
            "sequence_lens" in self.computed and not self._are_whole()
        ):
            raise self._refused(place, "sequence_lens", "which a layer or a stream does not have")

    def _are_whole(self) -> bool:
        """Return whether computed lengths cover all of X."""
        own = self.computed["sequence_lens"]
        if isinstance(own, str):
            return False
        for seq_len, batch in _SIZES:
            axes = (batch, seq_len) if self.batch_first else (seq_len, batch)
            try:
                value = own((*axes, self.input_size))
            except ValueError:
                return False
            if not np.array_equal(value, [seq_len] * batch):
                return False
        return True

    def _refused(self, place: str, name: str, why: str) -> ValueError:
        """Return the error for an input that the model defines but a layer cannot have."""
        got = "a constant" if name in self.constants else "computed"
        return ValueError(
            f"{place}: expected an operator for which the model does not define {name}, {why}, got "
            f"one where it is {got}; call the operator itself"
        )

    def _check_state(self, name: str, state: NDArray[Any], batch: int) -> None:
        shape = len(self.directions), batch, self.hidden_size
        checks.shape(name, state, shape, "(num_directions, batch, hidden_size)")

    def _given(
        self, name: str, value: ArrayLike | None, x_shape: tuple[int, ...]
    ) -> NDArray[Any] | None:
        """Return an argument or, if it is None, the value that the model defines."""
        if value is not None:
            return backends.array_of(name, value)  # type: ignore[no-any-return]
        computed = self.computed.get(name)
        if isinstance(computed, str):
            raise ValueError(
                f"{name}: expected a value, as the model computes it but the library cannot, "
                f"because {computed}"
            )
        if computed is None:
            return self.constants.get(name)
        try:
            own = computed(x_shape)
        except ValueError as error:
            raise ValueError(
                f"{name}: the model's own value cannot be computed: {error}"
            ) from error
        return own if name == "sequence_lens" else own.astype(self.dtype)

    def _time_first(self, x: NDArray[Any]) -> NDArray[Any]:
        return x.swapaxes(0, 1) if self.batch_first and x.ndim >= 2 else x


def in_reverse(x: RealArray, lengths: NDArray[np.int64] | None) -> RealArray:
    """Return each sequence (T, B, ...) reversed; values after its end keep their places."""
    if lengths is None:
        return x[::-1]
    time = np.arange(x.shape[0])[:, None]
    sources = np.where(time < lengths, lengths - 1 - time, time)
    sources = sources.reshape(*sources.shape, *(1,) * (x.ndim - 2))
    turned: RealArray = np.take_along_axis(x, sources, axis=0)
    return turned
