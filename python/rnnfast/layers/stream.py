"""Networks and models over input that comes step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backend, checks
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.layers.states import StateOf
from rnnfast.layers.stream_layers import StreamLayer
from rnnfast.layers.stream_plan import StreamPlan

if TYPE_CHECKING:
    from typing_extensions import Self

Rows: TypeAlias = "int | Sequence[int] | IntArray | None"


class StreamState:
    """The states of some sequences, taken out of a stream. They can be pickled.

    Any stream of the same layers and dtype takes them, of whatever weights.

    Attributes:
        values: (N, S), a row of numbers a sequence, on the host.
        layout: What a row is made of.
    """

    __slots__ = ("layout", "values")

    def __init__(self, values: RealArray, layout: tuple[Any, ...]) -> None:
        self.values, self.layout = values, layout

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: int | slice | Sequence[int] | IntArray) -> StreamState:
        """Some of the sequences."""
        return StreamState(np.atleast_2d(self.values[rows]).copy(), self.layout)

    def __repr__(self) -> str:
        return f"StreamState(sequences={len(self)}, bytes={self.values.nbytes})"


class Stream(Generic[StateOf]):
    """A model with its weights, and the states of B sequences; `stream` of layers makes it.

    `y = stream(x)` takes one step of all B sequences and moves the states on; `stream(x, rows)` of
    some of them. The bits are those of the layers' calls over the whole sequences, in evaluation,
    whichever sequences go side by side. One thread at a time may use a stream.

    Sequences are numbered from 0. `reset` starts some anew, `take` and `put` carry them to another
    stream or another number, `resize` changes how many there are; none of these touches the
    weights, which `copy` shares. Streams and what `take` gives can be pickled.

    Args:
        layers: What the layers do in a step, or a plan of them.
        batch: B.
        alone: Whether `state` is that of one recurrent layer, instead of a tuple.
    """

    def __init__(
        self, layers: Sequence[StreamLayer] | StreamPlan, batch: int = 1, *, alone: bool = False
    ) -> None:
        batch = checks.positive_int("batch", batch)
        self._plan = plan = layers if isinstance(layers, StreamPlan) else StreamPlan(layers)
        self._alone = alone
        self._stepper = plan.stepper()
        self._step = self._stepper.step
        self._converts = plan.on is not backend.CPU
        self._values = plan.initial[None].repeat(batch, axis=0)

    @property
    def batch(self) -> int:
        """B, how many sequences there are."""
        return len(self._values)

    def __call__(self, x: ArrayLike, rows: Rows = None) -> RealArray:
        """Take a step.

        Args:
            x: (B, I) real numbers, which are converted to the layers' dtype, or (B,) integers in
                [0, I), which stand for one-hot rows, or for the vectors of an embedding.
            rows: (N,), the numbers of the sequences whose step it is, all different; None for all.
                x then has N in place of B. The others' states stay as they are.

        Returns:
            (B, H), the outputs of the last layer, whose width is H; (N, H) of some sequences.

        Raises:
            ValueError: A shape is wrong, or a sequence comes twice.
            IndexError: An integer is out of range.
            TypeError: x has no real numbers.
            RuntimeError: Another thread is in a step of the stream.
        """
        y = None if self._converts else self._step(x, self._values, rows)
        if y is None:  # something must be converted, or is wrong
            numbers = None if rows is None else self._numbers(rows)
            count = self.batch if numbers is None else len(numbers)
            array = self._plan.checked_x(backend.given("x", x), count)
            y = self._step(array, self._values, numbers)
        return y  # type: ignore[no-any-return]

    @property
    def state(self) -> StateOf:
        """The states after the last step, in the layer's shapes: one array, or a tuple as of it.

        Those of a model are a tuple with an entry for each recurrent layer. They are copies; to
        set them assign the same, with None for what shall stay as it is.
        """
        states: list[Any] = [s if len(s) > 1 else s[0] for s in self._plan.states(self._values)]
        return states[0] if self._alone else tuple(states)  # type: ignore[return-value]

    @state.setter
    def state(self, state: Any) -> None:
        given = (state,) if self._alone else state
        self._plan.write(self._values, self._plan.checked_states(given, self.batch))

    def reset(self, rows: Rows = None) -> None:
        """Let sequences start anew: from zeros, or where a layer learned to start.

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
        return StreamState(backend.to_host(values), self._plan.layout)

    def put(self, state: StreamState, rows: Rows = None) -> None:
        """Let sequences go on from states that `take` gave.

        Args:
            state: The states of N sequences of the same layers, of any stream.
            rows: (N,), the numbers of the sequences that get them; None for all.

        Raises:
            TypeError: `state` is of another class.
            ValueError: It has another number of sequences, or is of other layers.
        """
        checks.of_type("state", state, StreamState)
        numbers, plan = self._numbers(rows), self._plan
        if state.layout != plan.layout:
            raise ValueError(
                f"state: expected that of a stream of (dtype, layers) = {plan.layout}, got "
                f"{state.layout}"
            )
        if len(state) != len(numbers):
            raise ValueError(f"state: expected {len(numbers)} sequences, got {len(state)}")
        self._values[numbers] = plan.on.asarray(state.values)

    def resize(self, batch: int) -> None:
        """Change how many sequences there are.

        Args:
            batch: B. New sequences get the numbers from the old B on, and start like those of
                `reset`; of fewer the first stay.
        """
        batch = checks.positive_int("batch", batch)
        values = self._plan.initial[None].repeat(batch, axis=0)
        kept = min(batch, self.batch)
        values[:kept] = self._values[:kept]
        self._values = values

    def copy(self) -> Self:
        """A stream that goes on from the same states, with the same weights, which both share."""
        twin = type(self)(self._plan, self.batch, alone=self._alone)
        twin._values[...] = self._values
        return twin

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()  # nothing changes a plan

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._plan, self._alone, backend.to_host(self._values))

    def _numbers(self, rows: Rows) -> IntArray:
        """The numbers of sequences, checked, where the stream is."""
        on = self._plan.on
        if rows is None:
            return on.asarray(np.arange(self.batch))  # type: ignore[no-any-return]
        array = np.atleast_1d(backend.to_host(backend.given("rows", rows)))
        if array.size == 0:
            array = array.astype(np.int64)  # NumPy's choice for an empty list is float64
        expected = "rows: expected numbers of sequences in [0, batch)"
        numbers = checks.integer_array("rows", array)
        if numbers.ndim != 1:
            raise ValueError(f"rows: expected shape (sequences,), got {numbers.shape}")
        outside = numbers[(numbers < 0) | (numbers >= self.batch)]
        if len(outside):
            raise IndexError(f"{expected} = [0, {self.batch}), got {outside[0]}")
        if len(np.unique(numbers)) < len(numbers):
            raise ValueError(f"rows: expected each sequence once, got {numbers.tolist()}")
        return on.asarray(numbers)  # type: ignore[no-any-return]


def _restored(kind: type[Stream], plan: StreamPlan, alone: bool, values: RealArray) -> Stream:
    stream = kind(plan, len(values), alone=alone)
    stream._values[...] = plan.on.asarray(values)
    return stream
