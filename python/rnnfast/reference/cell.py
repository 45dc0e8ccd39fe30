"""The definition of a cell: the equations of a step and the shapes of its weights."""

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
    """The input of a step, as the sequence of its contributions to the gates.

    Args:
        gates: (B, H) each: a row block of weight_ih times the input, bias_ih included.
        of_step: (B, H), the input itself; None if the cell does not read it.
        mask: (B, H), the factor of the candidate of the step; None for no dropout.
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
            raise AttributeError(
                "x.input: expected Cell(..., reads_input=True) for a step that reads it, got False"
            )
        return self._of_step

    def candidate(self, v: Var) -> Var:
        """Mark v as the candidate, the value that a step adds to a state through a gate.

        The candidate is the value that `candidate_dropout` drops. Return v times the mask of the
        step in training with that option, v itself otherwise. If a step marks several values, they
        share its mask.
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
    """Return the row blocks that `recurrent(operand, *blocks)` selects: all `count` without names.

    Raises:
        ValueError: A block does not exist.
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
        weight: (gates*H, K), one block of H rows for each gate; no rows for an absent product.
        bias: (gates*H,) or None for no bias.
        gates: Number of row blocks.
        rounding: A function that rounds operands, weights and the gradients of products; None for
            no rounding.
        mask: (B, K), a factor of every operand; None for no dropout.
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
        """Return a (B, H) product for each of `gates`, or for all gates without arguments.

        The operand is (B, K).

        Raises:
            ValueError: A gate does not exist.
        """
        chosen = named_blocks(gates, len(self._weight))
        weights = [self._weight[g] for g in chosen]
        if self._mask is not None:
            operand = operand * self._mask
        if (rounding := self._rounding) is not None:
            operand = round_value(operand, rounding)
            weights = [round_value(w, lambda columns: rounding(columns.T).T) for w in weights]
        products = [operand @ w for w in weights]
        if self._bias is not None:
            products = [p + self._bias[g] for p, g in zip(products, chosen, strict=True)]
        if self._rounding is not None:
            products = [round_gradient(p, self._rounding) for p in products]
        return products

    def gradients(self) -> tuple[Array, Array | None]:
        """Return the gradients of weight and bias (None without bias), after `backward`."""
        dweight = np.concatenate([self._none, *(gradient_of(w).T for w in self._weight)])
        if self._bias is None:
            return dweight, None
        return dweight, np.concatenate([self._none[:, 0], *map(gradient_of, self._bias)])


def check_text(name: str, value: str) -> None:
    """Refuse a string that files and C++ cannot hold: with a NUL or half of a surrogate pair."""
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name}: expected a string without NUL and surrogates, got {value!r}")


def _blocks(array: Array, count: int) -> list[Array]:
    """Split the rows of an array into `count` equal parts; `count` may be 0."""
    return np.split(array, count) if count else []


Step: TypeAlias = Callable[[Inputs, Product, Values, Values], States]


@dataclass(frozen=True)
class Cell:
    """A recurrent cell, defined by its forward equations.

    Attributes:
        name: The name used in messages and checkpoints.
        step: `step(x, recurrent, state, channel)` returns the new states; the first is h, the
            output. The arguments are
            `x`, a sequence of `gates` values: row blocks of weight_ih times the input, bias_ih
            included; `x.input` is the input itself, and `x.candidate(v)` is v, marked as the value
            that `candidate_dropout` drops;
            `recurrent`, the product with weight_hh: `recurrent(operand, *blocks)` is a list with
            one value for each row block given, or for every row block, bias_hh included;
            `state`, the states before the step; and
            `channel`, the rows of weight_channel, each a vector over the units.
            The step uses the operators of `rnnfast.reference.tape.Var` and the functions of that
            module. It may have keyword arguments with defaults.
        states: Number of states; state 0 is h.
        gates: Number of row blocks of weight_ih.
        params: Number of rows of weight_channel.
        recurrent_gates: Number of row blocks of weight_hh; None for the same number as `gates`, 0
            for a cell without recurrent products.
        reads_input: Whether the step reads `x.input`, which requires input_size = hidden_size.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The name is empty, or a number is too small.
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
            raise ValueError(f"name: expected a non-empty string, got {self.name!r}")
        check_text("name", self.name)
        if not callable(self.step):
            raise TypeError(
                f"step: expected a function with the equations of a step, got {self.step!r}"
            )
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
        """Number of row blocks of weight_hh: `recurrent_gates`, or `gates` if that is None."""
        return self.gates if self.recurrent_gates is None else self.recurrent_gates

    def advance(self, x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
        """Return the new states that `step` returns, after checking their number.

        Raises:
            ValueError: `step` did not return a tuple of `states` values.
        """
        new = self.step(x, recurrent, state, channel)
        if not isinstance(new, tuple) or len(new) != self.states:
            what = f"{len(new)} values" if isinstance(new, tuple) else f"a {type(new).__name__}"
            raise ValueError(
                f"step of cell {self.name!r}: expected a tuple of the {self.states} new states, "
                f"got {what}"
            )
        return new
