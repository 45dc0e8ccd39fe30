"""What a cell consists of: the equations of a step and the shapes of its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload

import numpy as np

from rnnfast.reference.rounding import Rounding, round_gradient, round_value
from rnnfast.reference.tape import Array, Var, gradient_of

Values: TypeAlias = Sequence[Var]
States: TypeAlias = tuple[Var, ...]


class Inputs(Sequence[Var]):
    """What a step sees of the input: the input's part of each gate.

    Args:
        gates: (B, H) each: a row block of weight_ih times the input, bias_ih included.
        of_step: (B, H), the input itself; None where the cell does not read it.
        mask: (B, H), what the candidate of the step is multiplied with; None for nothing.
    """

    def __init__(
        self, gates: Sequence[Var], of_step: Var | None = None, mask: Array | None = None
    ) -> None:
        self._gates = gates
        self._of_step = of_step
        self._mask = mask

    @property
    def input(self) -> Var:
        """The input itself, (B, H)."""
        if self._of_step is None:
            raise AttributeError("x.input: a step that reads it needs Cell(..., reads_input=True)")
        return self._of_step

    def candidate(self, v: Var) -> Var:
        """The candidate v, what a step adds to a state through a gate: dropped, or as it is.

        It marks what `candidate_dropout` acts on. Where a step marks several values they share the
        mask of the step.
        Source: Semeniuta, Severyn and Barth, "Recurrent dropout without memory loss", 2016.
        """
        return v if self._mask is None else v * self._mask

    @overload
    def __getitem__(self, gate: int) -> Var: ...
    @overload
    def __getitem__(self, gate: slice) -> Sequence[Var]: ...
    def __getitem__(self, gate: int | slice) -> Var | Sequence[Var]:
        return self._gates[gate]

    def __len__(self) -> int:
        return len(self._gates)


def named_blocks(blocks: Sequence[int], count: int) -> Sequence[int]:
    """The row blocks that a call `recurrent(operand, *blocks)` means, of a matrix that has `count`.

    Raises:
        ValueError: There is no such block.
    """
    for block in blocks:
        if not 0 <= block < count:
            raise ValueError(
                f"recurrent: expected row blocks of weight_hh, 0 <= block < {count}, got {block}"
            )
    return blocks or range(count)


class Product:
    """Row blocks of a weight matrix times an operand, plus their bias.

    Args:
        weight: (gates*H, K), one block of H rows a gate; no rows for a product that is not there.
        bias: (gates*H,) or None for no bias.
        gates: number of row blocks.
        rounding: what operands, weights and the gradients of products pass through; None for
            nothing.
        mask: (B, K), what operands are multiplied with first; None for nothing.
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None,
        gates: int,
        rounding: Rounding | None = None,
        mask: Array | None = None,
    ) -> None:
        self._rounding, self._mask = rounding, mask
        self._none = weight[:0]
        self._weight = [Var(np.ascontiguousarray(w.T)) for w in _blocks(weight, gates)]
        self._bias = None if bias is None else [Var(b) for b in _blocks(bias, gates)]

    def __call__(self, operand: Var, *gates: int) -> list[Var]:
        """One (B, H) product a gate for an operand (B, K): the gates named, or all of them.

        Raises:
            ValueError: There is no such gate.
        """
        chosen = named_blocks(gates, len(self._weight))
        weights = [self._weight[g] for g in chosen]
        if self._mask is not None:
            operand = operand * self._mask
        if self._rounding is not None:
            operand = round_value(operand, self._rounding)
            weights = [round_value(w, self._rounding) for w in weights]
        products = [operand @ w for w in weights]
        if self._bias is not None:
            products = [p + self._bias[g] for p, g in zip(products, chosen, strict=True)]
        if self._rounding is not None:
            products = [round_gradient(p, self._rounding) for p in products]
        return products

    def gradients(self) -> tuple[Array, Array | None]:
        """Gradients of weight and bias (None without one), in their shapes, after `backward`."""
        dweight = np.concatenate([self._none, *(gradient_of(w).T for w in self._weight)])
        if self._bias is None:
            return dweight, None
        return dweight, np.concatenate([self._none[:, 0], *map(gradient_of, self._bias)])


def _blocks(array: Array, count: int) -> list[Array]:
    """An array of rows in `count` equal parts, which may be none."""
    return np.split(array, count) if count else []


Step: TypeAlias = Callable[[Inputs, Product, Values, Values], States]


@dataclass(frozen=True)
class Cell:
    """A recurrent cell as its forward equations.

    Attributes:
        name: its name, as messages and checkpoints have it.
        step: `step(x, recurrent, state, channel)` returns the new states, of which the first is h,
            the output. It takes
            `x`, a sequence of `gates` values: row blocks of weight_ih times the input, bias_ih
            included; `x.input` is the input itself, and `x.candidate(v)` is v, marked as what
            `candidate_dropout` drops;
            `recurrent`, the product with weight_hh: `recurrent(operand, *blocks)` is a list with a
            value for each row block named, or for all of them, bias_hh included;
            `state`, the states before the step, and
            `channel`, the rows of weight_channel, each a vector over the units.
            It is written with the operators of `rnnfast.reference.tape.Var` and the functions
            beside it. It may have keyword arguments with defaults.
        states: number of states; state 0 is h.
        gates: row blocks of weight_ih.
        params: rows of weight_channel.
        recurrent_gates: row blocks of weight_hh; None for as many as `gates`, 0 for a cell without
            recurrent products.
        reads_input: whether the step reads `x.input`, for which input_size must be hidden_size.

    Raises:
        TypeError: An argument is not of the type that it should be.
        ValueError: A name is empty, or a number too small.
    """

    name: str
    step: Step
    states: int = 1
    gates: int = 1
    params: int = 0
    recurrent_gates: int | None = None
    reads_input: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name: expected a string that is not empty, got {self.name!r}")
        if not callable(self.step):
            raise TypeError(f"step: expected a function of a step's equations, got {self.step!r}")
        for argument, least in (("states", 1), ("gates", 1), ("params", 0), ("recurrent_gates", 0)):
            number = getattr(self, argument)
            if argument == "recurrent_gates" and number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"{argument}: expected an integer, got {number!r}")
            if number < least:
                raise ValueError(f"{argument}: expected at least {least}, got {number}")
        if not isinstance(self.reads_input, bool):
            raise TypeError(f"reads_input: expected True or False, got {self.reads_input!r}")

    @property
    def recurrent_blocks(self) -> int:
        """Row blocks of weight_hh: `recurrent_gates`, or `gates` where that is None."""
        return self.gates if self.recurrent_gates is None else self.recurrent_gates

    def advance(self, x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
        """The new states: those that `step` returns, if they are as many as the cell has.

        Raises:
            ValueError: They are not.
        """
        new = self.step(x, recurrent, state, channel)
        if not isinstance(new, tuple) or len(new) != self.states:
            what = f"{len(new)} values" if isinstance(new, tuple) else f"a {type(new).__name__}"
            raise ValueError(
                f"step of cell {self.name!r}: expected a tuple of the {self.states} new states, "
                f"got {what}"
            )
        return new
