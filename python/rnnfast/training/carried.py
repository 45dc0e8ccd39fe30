"""Losses of streams, piece by piece, with the recurrent state carried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast.data.documents import reset_state


class CarriedState:
    """A loss for `Trainer` that carries the recurrent state from one batch to the next.

    The batches say by `starts` where a state must be zero: True or False for all sequences, or a
    boolean for each. In evaluation mode it carries a state of its own, so that validation leaves
    training alone. Checkpoints hold the state of training.

    Attributes:
        state: that of training, after the last batch; None before the first one.
    """

    def __init__(self, learn: Callable[[Any, Any, Any], tuple[Any, Any]]) -> None:
        """Takes the loss of one piece.

        Args:
            learn: takes the model, a batch and the state (None for zeros), and returns the loss, as
                `Trainer` takes it, and the state after the piece.
        """
        self._learn = learn
        self.state: Any = None
        self._evaluated: Any = None

    def __call__(self, model: Any, batch: Any) -> Any:
        """The loss of a batch."""
        state, starts = self.state if model.training else self._evaluated, batch.starts
        if isinstance(starts, np.ndarray):
            state = reset_state(state, starts)
        elif starts:
            state = None
        loss, state = self._learn(model, batch, state)
        state = _constant(state)
        if model.training:
            self.state = state
        else:
            self._evaluated = state
        return loss

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on."""
        states = self.state if isinstance(self.state, tuple) else (self.state,)
        return {"states": list(states), "several": isinstance(self.state, tuple)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Sets what `state_dict` gave."""
        checks.same_names("state", state, ("states", "several"))
        states = tuple(state["states"])
        self.state = states if state["several"] else states[0]


def _constant(state: Any) -> Any:
    """A state that no gradient goes through: of tensors the arrays."""
    if isinstance(state, tuple):
        return tuple(map(_constant, state))
    return getattr(state, "value", state)
