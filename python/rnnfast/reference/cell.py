"""What a reference cell consists of: the Python side of `src/cpp/cells/cell.h`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rnnfast.reference.rounding import Rounding, round_gradient, round_value
from rnnfast.reference.tape import Array, Var, gradient_of


class Product:
    """Row blocks of a weight matrix times an operand, plus their bias.

    Args:
        weight: (gates*H, K), one block of H rows a gate.
        bias: (gates*H,) or None for no bias.
        gates: number of row blocks.
        rounding: what operands, weights and the gradients of products pass through; None for
            nothing.
    """

    def __init__(
        self, weight: Array, bias: Array | None, gates: int, rounding: Rounding | None = None
    ) -> None:
        self._rounding = rounding
        self._weight = [Var(np.ascontiguousarray(w.T)) for w in np.split(weight, gates)]
        self._bias = None if bias is None else [Var(b) for b in np.split(bias, gates)]

    def __call__(self, operand: Var, *gates: int) -> list[Var]:
        """One (B, H) product a gate for an operand (B, K): the gates named, or all of them."""
        chosen = gates or range(len(self._weight))
        weights = [self._weight[g] for g in chosen]
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
        dweight = np.concatenate([gradient_of(w).T for w in self._weight])
        dbias = None if self._bias is None else np.concatenate([gradient_of(b) for b in self._bias])
        return dweight, dbias


Step: TypeAlias = Callable[[Sequence[Var], Product, Sequence[Var], Sequence[Var]], tuple[Var, ...]]


@dataclass(frozen=True)
class ReferenceCell:
    """A cell as its plain forward equations.

    Attributes:
        name: its name in the registry.
        states: number of states; state 0 is h, the output.
        gates: row blocks of weight_ih and weight_hh.
        params: rows of weight_channel.
        step: `step(x, recurrent, state, channel)` takes the input's part of each gate (bias_ih
            included), the recurrent product, the old states and the rows of weight_channel, and
            returns the new states.
    """

    name: str
    states: int
    gates: int
    step: Step
    params: int = 0
