"""Runs of recurrent layers that write the values of every step, in bounded memory.

A run goes through time in chunks, with a form of the cell that keeps the wanted values. All layers
of a network of one direction go through a chunk together. With two directions, each layer goes
through all chunks forward and then, from the last to the first, backward, before the next layer.
Sizes: T seq_len, B batch, H hidden_size, R width of h, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast import functional
from rnnfast._engine import backends, known
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.inspection.network import Network, Selection
from rnnfast.inspection.storage import InMemory, Store, Target

Array = NDArray[Any]
Read = Callable[[int, int], Array]
"""Returns the inputs of steps [first, last), (steps, B, I) or integers (steps, B)."""

CHUNK_BYTES = 1 << 20  # of values that a chunk keeps: they should stay in the cache
CHUNK_ROWS = 192  # at least: those of an input product


class Inputs(NamedTuple):
    """The input of a network.

    Attributes:
        read: Returns that of some steps.
        seq_len: T.
        batch: B.
        state: The initial states, (L*D, B, H) each; None for zeros.
        lengths: (B,); None for T.
        context: What a context adds to the gates of each layer and direction, (B, G*H) or
            (T, B, G*H); None for none.
    """

    read: Read
    seq_len: int
    batch: int
    state: Sequence[RealArray | None] | None
    lengths: IntArray | None
    context: Sequence[RealArray] | None = None


class _Pass(NamedTuple):
    """Some layers in one direction, which go through time together: numbers in `weights`."""

    members: range
    reverse: bool

    def turned(self, values: Array, lengths: IntArray | None) -> Array:
        """Return values (T, B, ...) in the order of the pass, or, again, in that of time."""
        return _turned(values, lengths) if self.reverse else values


class Run:
    """A run of a network.

    Args:
        network: The layers.
        inputs: What they read.
        selection: The values to write.
        store: Where to write them.
        prefix: What the names of the layers begin with.
    """

    def __init__(
        self, network: Network, inputs: Inputs, selection: Selection, store: Store, prefix: str
    ) -> None:
        self._network, self._inputs, self._store = network, inputs, store
        self._directions = 2 if network.bidirectional else 1
        self._units = selection.units
        self._names = selection.names(network)
        states, values = network.named.states, network.named.values
        kept = tuple(name for name in values if name in self._names)
        self._form, slots = known.observing(network.cell, kept)
        self._places = {
            name: ("state", states.index(name)) for name in self._names if name in states
        }
        self._places |= {name: ("slot", slot) for name, slot in slots.items()}
        self._targets = [
            {name: self._target(f"{prefix}{layer}", name) for name in self._names}
            for layer in self._layer_names()
        ]
        self._final: list[Sequence[RealArray]] = []

    def _layer_names(self) -> list[str]:
        suffixes = ("", "_reverse")[: self._directions]
        return [f"l{i}{suffix}" for i in range(self._network.num_layers) for suffix in suffixes]

    def _target(self, layer: str, name: str) -> Target:
        width = self._network.width(name) if self._units is None else len(self._units)
        shape = self._inputs.seq_len, self._inputs.batch, width
        return self._store.target(layer, name, shape, self._network.dtype)

    def run(self, *, wants_y: bool) -> tuple[RealArray | None, tuple[RealArray, ...]]:
        """Write the values.

        Returns:
            y (T, B, D*R), unless it is not wanted; and the final states, (L*D, B, H) each.
        """
        read, y = self._inputs.read, None
        for passes in self._passes():
            last = passes[-1].members.stop == len(self._network.weights)
            y = self._outputs(last) if wants_y or not last else None
            for one in passes:
                self._go(one, read, y)
            if y is not None:
                read = _reader(y)
        joined = (np.concatenate(states) for states in zip(*self._final, strict=True))
        return y, tuple(joined)

    def _passes(self) -> list[list[_Pass]]:
        """Return the passes, grouped by those that read the same input."""
        if self._directions == 1:
            return [[_Pass(range(self._network.num_layers), False)]]
        return [
            [_Pass(range(i, i + 1), False), _Pass(range(i + 1, i + 2), True)]
            for i in range(0, 2 * self._network.num_layers, 2)
        ]

    def _outputs(self, last: bool) -> RealArray:
        width = self._directions * self._network.width("h")
        shape = self._inputs.seq_len, self._inputs.batch, width
        dtype = self._network.dtype
        return np.empty(shape, dtype) if last else self._store.scratch(shape, dtype)

    def _go(self, one: _Pass, read: Read, y: RealArray | None) -> None:
        """Run some layers through all chunks."""
        seq_len, _, given, lengths, context = self._inputs[1:]
        layers = len(one.members)
        options = self._network.options(self._form, layers)
        weights = functional.pack(
            self._form,
            [self._network.weights[k] for k in one.members],
            num_layers=layers,
            precision=self._network.precision,
        )
        state: Any = None
        if given is not None:
            members = slice(one.members.start, one.members.stop)
            state = [None if s is None else s[members] for s in given]
        width = self._network.width("h")
        columns = slice(width, 2 * width) if one.reverse else slice(0, width)
        steps = self._steps_of_a_chunk(layers)
        starts = range(0, max(1, seq_len), steps)
        for first in reversed(starts) if one.reverse else starts:
            last = min(first + steps, seq_len)
            spans = None if lengths is None else np.clip(lengths - first, 0, last - first)
            part, state, kept = functional.forward_on(
                backends.CPU,
                options,
                one.turned(read(first, last), spans),
                weights,
                state,
                spans,
                None,
                0,
                None
                if context is None
                else [
                    context[k]
                    if context[k].ndim == 2
                    else one.turned(context[k][first:last], spans)
                    for k in one.members
                ],
            )
            if y is not None:
                y[first:last, :, columns] = one.turned(part, spans)
            for k, number in enumerate(one.members):
                blocks = self._read(kept, k, self._targets[number], first, last, one.reverse)
                for name, block in blocks.items():
                    taken = block if self._units is None else block[..., self._units]
                    self._targets[number][name].write(first, one.turned(taken, spans))
            del part, kept  # so that the next chunk reuses memory that is in the cache
        self._final.append(state)

    def _steps_of_a_chunk(self, layers: int) -> int:
        values = len(self._names) + len(self._network.named.states)
        row = layers * self._network.hidden_size * values * self._network.dtype.itemsize
        return max(1, max(CHUNK_ROWS, CHUNK_BYTES // row) // max(1, self._inputs.batch))

    def _read(
        self,
        kept: Any,
        layer: int,
        targets: dict[str, Target],
        first: int,
        last: int,
        reverse: bool,
    ) -> dict[str, Array]:
        """Read the values of a chunk of a layer, and return those that are not in place yet."""
        in_place, blocks = {}, {}
        for name, target in targets.items():
            if isinstance(target, InMemory) and not reverse and self._units is None:
                in_place[name] = target.block(first, last)
            else:
                shape = last - first, self._inputs.batch, self._network.width(name)
                blocks[name] = np.empty(shape, self._network.dtype)
        everything = (in_place | blocks).items()
        kept.read_values(layer, [(*self._places[name], block) for name, block in everything])
        return blocks


def _reader(values: Array) -> Read:
    return lambda first, last: values[first:last]


def _turned(values: Array, lengths: IntArray | None) -> Array:
    """Return sequences (T, B, ...) in the opposite order of steps, each from its own end."""
    if lengths is None:
        return values[::-1]
    steps = np.arange(len(values))[:, None]
    steps = np.where(steps < lengths, lengths - 1 - steps, steps)
    turned: Array = values[steps, np.arange(values.shape[1])]
    return turned
