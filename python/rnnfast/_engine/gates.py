"""Find out which gates of a cell keep its memory and which write to it, by running its equations.

Cells do not declare this, and users write cells of their own, but the effect of a gate's bias gives
it away. The cell is run with zero weights and random biases and states. A row block is a forget
gate if a large bias passes the old state on unchanged and a very negative one drops it (or the
other way round), while a bias in between passes on a share that no other gate affects. A row block
is a write gate if closing it leaves a state that is kept unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

from rnnfast._engine import known
from rnnfast._engine.checks import RealArray
from rnnfast.reference.cell import Cell, Inputs, Product
from rnnfast.reference.tape import Var

Block: TypeAlias = tuple[str, int]  # of "bias_ih" or "bias_hh"

_LARGE = 60.0  # in float64 its sigmoid is 1, and the sigmoid of its negative is 1e-26
_UNITS = 5  # each has random numbers of its own
_TOLERANCE = 1e-9  # for sums of a few numbers near 1


class Gate(NamedTuple):
    """A gate, given by the row blocks of the biases that are added up in it.

    Attributes:
        blocks: Its blocks. The input's block comes first if the gate has one.
        sign: 1 if a large bias opens the gate, -1 if it closes it.
    """

    blocks: tuple[Block, ...]
    sign: int


class Memory(NamedTuple):
    """The gates of a state that is kept from step to step.

    Attributes:
        forget: What multiplies the old state: 1 keeps it.
        write: What multiplies the new content; None if that is 1 - `forget`, or 1.
    """

    forget: Gate
    write: Gate | None


@lru_cache(256)
def memory_of(cell: str) -> Memory | None:
    """Return the gates of a cell's first state that has a forget gate, or None if none has."""
    trial = _Trial(known.cell_named(cell))
    for state in range(trial.cell.states):
        forget = trial.forget_gate(state)
        if forget is not None:
            return Memory(forget, trial.write_gate(state, forget))
    return None


class _Trial:
    """One step of a cell with zero weights, random biases and random states, of a few units."""

    def __init__(self, cell: Cell) -> None:
        rng = np.random.default_rng(0)
        self.cell = cell
        self.biases: dict[Block, RealArray] = {
            (name, block): rng.standard_normal(_UNITS)
            for name, count in (("bias_ih", cell.gates), ("bias_hh", cell.recurrent_blocks))
            for block in range(count)
        }
        self.states = [rng.standard_normal((1, _UNITS)) for _ in range(cell.states)]
        self.input = rng.standard_normal((1, _UNITS))

    def forget_gate(self, state: int) -> Gate | None:
        """Return the gate that multiplies the old value of a state, if it has one."""

        def passed_on(*blocks: Block, bias: float, others: float = 1.0) -> RealArray:
            biases = dict.fromkeys(blocks, bias)
            lower, higher = (self._new(state, biases, by, others) for by in (0.0, 1.0))
            return higher - lower

        for sign in (1, -1):
            blocks = [
                block
                for block in self.biases
                if _near(passed_on(block, bias=sign * _LARGE), 1)
                and _near(passed_on(block, bias=-sign * _LARGE), 0)
            ]
            part = passed_on(*blocks, bias=0.25)
            if blocks and _near(passed_on(*blocks, bias=0.25, others=-2.0), part):
                return Gate(tuple(blocks), sign)
        return None

    def write_gate(self, state: int, forget: Gate) -> Gate | None:
        """Return the gate that multiplies what is added to a state that is kept, if it has one."""
        keep = {forget.blocks[0]: forget.sign * _LARGE}

        def written(block: Block, bias: float) -> RealArray:
            return self._new(state, {**keep, block: bias}) - self.states[state]

        for sign in (1, -1):
            blocks = [
                block
                for block in self.biases
                if block not in forget.blocks
                and _near(written(block, -sign * _LARGE), 0)
                and not _near(written(block, sign * _LARGE), 0)
            ]
            if blocks:
                return Gate(tuple(blocks), sign)
        return None

    def _new(
        self, state: int, biases: Mapping[Block, float], raised: float = 0.0, others: float = 1.0
    ) -> RealArray:
        """Return a state's new value after a step with the given biases.

        The state's old value is first increased by `raised`. All other biases are multiplied by
        `others`.
        """
        cell, units = self.cell, np.ones(_UNITS)
        values = {
            block: biases[block] * units if block in biases else others * own
            for block, own in self.biases.items()
        }
        states = [Var(s + raised * (i == state)) for i, s in enumerate(self.states)]
        x = Inputs([Var(values["bias_ih", k][None]) for k in range(cell.gates)], Var(self.input))
        rows = [values["bias_hh", k] for k in range(cell.recurrent_blocks)]
        weight = np.zeros((len(rows) * _UNITS, _UNITS))
        recurrent = Product(weight, np.concatenate([*rows, units[:0]]), len(rows))
        channel = [Var(0 * units) for _ in range(cell.params)]
        with np.errstate(all="ignore"):
            stepped: RealArray = cell.advance(x, recurrent, states, channel)[state].value
        return stepped


def _near(values: RealArray, expected: float | RealArray) -> bool:
    return bool((np.abs(values - expected) <= _TOLERANCE).all())
