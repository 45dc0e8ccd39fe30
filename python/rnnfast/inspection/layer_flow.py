"""What `gradient_flow` finds in one layer and direction.

Sizes: T seq_len, B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnfast.inspection.saturation import Saturation
from rnnfast.inspection.scaled import Array


@dataclass(frozen=True, eq=False)
class LayerFlow:
    """The flow of the gradient through one layer in one direction.

    Row n of an array is about the states after n steps, and row 0 about the initial states. In the
    reverse direction, the first step is that of a sequence's last input.

    Attributes:
        log_norms: (T + 1, B) float64 for each state of the cell, by its name: the natural logarithm
            of the norm of the loss's gradient with respect to the state. -inf stands for a gradient
            of 0, and for rows after the end of a sequence.
        log_total: (T + 1, B): the same for all states together.
        lengths: (B,) the lengths of the sequences.
        step_gain: (T,): the largest singular value of the Jacobian of each step of one sequence,
            the derivatives of all new states with respect to all old ones. No numbers if
            `gradient_flow` was told to leave them out, and no more than the sequence has steps.
        log_product_gain: (T + 1,): element k is the natural logarithm of the largest singular value
            of the product of the last k Jacobians, which bounds the growth of any gradient over
            these steps.
        weight_gain: The largest singular value of each row block of weight_hh.
        saturation: The share of saturated values of each gate.
    """

    log_norms: Mapping[str, Array]
    log_total: Array
    lengths: NDArray[np.int64]
    step_gain: Array
    log_product_gain: Array
    weight_gain: Array
    saturation: Mapping[str, Saturation]

    def __repr__(self) -> str:
        states, gates = (", ".join(names) or "none" for names in (self.log_norms, self.saturation))
        return (
            f"LayerFlow of {len(self.log_total) - 1} steps of {len(self.lengths)} sequences; "
            f"states: {states}; gates: {gates}"
        )

    @property
    def norms(self) -> dict[str, Array]:
        """The norms themselves, (T + 1, B) for each state; they may be 0 or inf in float64."""
        with np.errstate(over="ignore"):
            return {name: np.exp(values) for name, values in self.log_norms.items()}

    @property
    def memory(self) -> Array:
        """The effective memory of each sequence, (B,), in steps.

        This is the number of steps from the end back to the first row whose total norm is at most
        1/e of that at the end; inf if there is none, NaN if the gradient at the end is 0. It is
        meaningful if the loss depends on the end of a sequence alone.
        """
        rows, columns = np.arange(len(self.log_total))[:, None], np.arange(len(self.lengths))
        end = self.log_total[self.lengths, columns]
        steps = (self.lengths - rows).astype(np.float64)
        steps[(self.log_total > end - 1) | (steps < 0)] = np.inf
        return np.where(np.isneginf(end), np.nan, steps.min(axis=0))
