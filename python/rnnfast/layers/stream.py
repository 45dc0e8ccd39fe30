"""Streams, which run layers and models on input that arrives step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.layers.states import StateOf
from rnnfast.layers.stream_layers import StreamLayer
from rnnfast.layers.stream_plan import StreamPlan

if TYPE_CHECKING:
    from typing_extensions import Self

Rows: TypeAlias = "int | Sequence[int] | IntArray | None"


class StreamState:
    """The states of some sequences of a stream, which can be pickled.

    They fit any stream with the same layers and dtype, whatever its weights.

    Attributes:
        values: (N, S), a row of S numbers for each sequence, on the host.
        layout: The dtype, and the shapes of the states in a row.
    """

    __slots__ = ("layout", "values")

    def __init__(self, values: RealArray, layout: tuple[Any, ...]) -> None:
        self.values, self.layout = values, layout

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: int | slice | Sequence[int] | IntArray) -> StreamState:
        """Return the states of some of the sequences."""
        return StreamState(np.atleast_2d(self.values[rows]).copy(), self.layout)

    def __repr__(self) -> str:
        return f"StreamState(sequences={len(self)}, bytes={self.values.nbytes})"


class Stream(Generic[StateOf]):
    """The weights of a model and the states of B sequences, as returned by `stream` of a layer.

    `y = stream(x)` advances all B sequences by one step, and `stream(x, rows)` some of them. The
    results have the same bits as calls of the layers in evaluation mode over the whole sequences,
    whichever sequences are processed side by side. Only one thread at a time may use a stream.

    Sequences are numbered from 0. `reset` restarts sequences, `take` and `put` move them to another
    number or another stream, and `resize` changes the number of sequences. None of these touches
    the weights, which a `copy` of all or of some sequences shares. Streams and the results of
    `take` can be pickled.

    Args:
        layers: The stream layers of the model, or a plan made from them.
        batch: B.
        alone: Whether `state` is the state of a single recurrent layer instead of a tuple with one
            for each layer.
    """

    def __init__(
        self, layers: Sequence[StreamLayer] | StreamPlan, batch: int = 1, *, alone: bool = False
    ) -> None:
        batch = checks.size("batch", batch)
        self._plan = plan = layers if isinstance(layers, StreamPlan) else StreamPlan(layers)
        self._alone = alone
        self._stepper = plan.stepper()
        self._step = self._stepper.step
        self._converts = plan.backend is not backends.CPU
        self._values = plan.initial[None].repeat(batch, axis=0)

    @property
    def batch(self) -> int:
        """The number of sequences, B."""
        return len(self._values)

    def __call__(
        self, x: ArrayLike, rows: Rows = None, context: ArrayLike | None = None
    ) -> RealArray:
        """Take one step.

        Args:
            x: (B, I) real numbers, which are converted to the layers' dtype, or (B,) integers in
                [0, I), which stand for one-hot rows, or for the vectors of an embedding.
            rows: (N,), the numbers of the sequences that take the step, all different; None for all
                sequences. If given, x has N rows instead of B, and the other sequences' states stay
                as they are.
            context: (B, C) or (N, C) real numbers, the context of these sequences, for a layer with
                `context_size` C. A sequence keeps it for all later steps, so only its first step
                needs one; None keeps what it has.

        Returns:
            The outputs of the last layer, whose width is H: (B, H), or (N, H) if `rows` is given.

        Raises:
            ValueError: A shape is wrong, or a sequence is named twice; or there is a context that
                no layer takes, or none for a sequence that has none yet.
            IndexError: An integer is out of range.
            TypeError: x does not hold real numbers.
            RuntimeError: Another thread is taking a step of the stream.
        """
        if context is not None or self._plan.takes_context:
            self._give_context(context, rows)
        y = None if self._converts else self._step(x, self._values, rows)
        if y is None:  # an argument must be converted, or is wrong
            numbers = None if rows is None else self._numbers(rows)
            count = self.batch if numbers is None else len(numbers)
            array = self._plan.checked_x(backends.given("x", x), count)
            y = self._step(array, self._values, numbers)
        return y  # type: ignore[no-any-return]

    def _give_context(self, context: ArrayLike | None, rows: Rows) -> None:
        """Give sequences a context, or check that they have one if it is None."""
        self._plan.write_context(self._values, self._numbers(rows), context)

    @property
    def state(self) -> StateOf:
        """A copy of the states after the last step, in the structure that the layer returns.

        The state of a model is a tuple with an entry for each layer that has a state. To set the
        states, assign the same structure, with None for those that are to stay as they are.
        """
        states: list[Any] = [s if len(s) > 1 else s[0] for s in self._plan.states(self._values)]
        return states[0] if self._alone else tuple(states)  # type: ignore[return-value]

    @state.setter
    def state(self, state: Any) -> None:
        given = (state,) if self._alone else state
        self._plan.write(self._values, self._plan.checked_states(given, self.batch))

    def reset(self, rows: Rows = None) -> None:
        """Restart sequences, from zeros or from the learned initial states, without a context.

        Args:
            rows: The numbers of the sequences; None for all.
        """
        self._values[self._numbers(rows)] = self._plan.initial

    def take(self, rows: Rows = None) -> StreamState:
        """Copy the states of sequences.

        Args:
            rows: (N,), the numbers of the sequences; None for all.

        Returns:
            The states of the N sequences, for `put`.
        """
        values = self._values[self._numbers(rows)]
        return StreamState(backends.to_host(values), self._plan.layout)

    def put(self, state: StreamState, rows: Rows = None) -> None:
        """Continue sequences from states that `take` returned.

        Args:
            state: The states of N sequences, from any stream of the same layers.
            rows: (N,), the numbers of the sequences to set; None for all.

        Raises:
            TypeError: `state` is of another class.
            ValueError: `state` has another number of sequences, or belongs to other layers.
        """
        checks.of_type("state", state, StreamState)
        numbers, plan = self._numbers(rows), self._plan
        if state.layout != plan.layout:
            raise ValueError(
                f"state: expected the state of a stream with (dtype, layers) = {plan.layout}, got "
                f"{state.layout}"
            )
        if len(state) != len(numbers):
            raise ValueError(f"state: expected {len(numbers)} sequences, got {len(state)}")
        self._values[numbers] = plan.backend.asarray(state.values)

    def resize(self, batch: int) -> None:
        """Change the number of sequences.

        Args:
            batch: The new B. If it is larger, new sequences are added at the end, and start as
                after `reset`; if it is smaller, only the first sequences are kept.
        """
        batch = checks.size("batch", batch)
        values = self._plan.initial[None].repeat(batch, axis=0)
        kept = min(batch, self.batch)
        values[:kept] = self._values[:kept]
        self._values = values

    def copy(self, rows: Rows = None) -> Self:
        """Return a stream that continues from the same states and shares the weights.

        Args:
            rows: (N,), the numbers of the sequences to copy, in the order of the new stream. A
                number may occur several times. None for all.

        Raises:
            ValueError: `rows` is empty.
            IndexError: A number is out of range.
        """
        numbers = self._numbers(rows, repeats=True)
        if not len(numbers):
            raise ValueError("rows: expected at least one sequence, got none")
        twin = type(self)(self._plan, len(numbers), alone=self._alone)
        twin._values = self._values[numbers]
        return twin

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()  # plans never change, so they can be shared

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._plan, self._alone, backends.to_host(self._values))

    def _numbers(self, rows: Rows, *, repeats: bool = False) -> IntArray:
        """Return the numbers of sequences on the stream's device, after checking them."""
        backend = self._plan.backend
        if rows is None:
            return backend.asarray(np.arange(self.batch))  # type: ignore[no-any-return]
        given = backends.given("rows", rows)
        if given.ndim > 1:
            raise ValueError(f"rows: expected shape (sequences,), got {given.shape}")
        array = np.atleast_1d(backends.to_host(given))
        if array.size == 0:
            array = array.astype(np.int64)  # NumPy's choice for an empty list is float64
        expected = "rows: expected numbers of sequences in [0, batch)"
        numbers = checks.integer_array("rows", array)
        outside = numbers[(numbers < 0) | (numbers >= self.batch)]
        if len(outside):
            raise IndexError(f"{expected} = [0, {self.batch}), got {outside[0]}")
        if not repeats and len(np.unique(numbers)) < len(numbers):
            raise ValueError(f"rows: expected each sequence once, got {numbers.tolist()}")
        return backend.asarray(numbers)  # type: ignore[no-any-return]


def _restored(kind: type[Stream], plan: StreamPlan, alone: bool, values: RealArray) -> Stream:
    stream = kind(plan, len(values), alone=alone)
    stream._values[...] = plan.backend.asarray(values)
    return stream
