"""Losses that carry the recurrent state from one piece of a stream to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast.data.documents import reset_state


class CarriedState:
    """A loss for `Trainer` that carries the recurrent state from one batch to the next.

    The attribute `starts` of a batch says where the state must be zero: True or False for all
    sequences, or one boolean for each. Evaluation mode has a separate state, so that validation
    does not disturb training. Checkpoints hold the training state only.

    Attributes:
        state: The training state after the last batch; None before the first batch.
    """

    def __init__(self, learn: Callable[[Any, Any, Any], tuple[Any, Any]]) -> None:
        """Wrap the loss of one piece.

        Args:
            learn: Takes the model, a batch and the state (None for zeros), and returns the loss, in
                a form that `Trainer` accepts, and the state after the piece.
        """
        self._learn = learn
        self.state: Any = None
        self._evaluated: Any = None

    def __call__(self, model: Any, batch: Any) -> Any:
        """Return the loss of a batch, and keep the state after it."""
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
        """Return the training state, which a resumed run continues from."""
        states = self.state if isinstance(self.state, tuple) else (self.state,)
        return {"states": list(states), "several": isinstance(self.state, tuple)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.same_names("state", state, ("states", "several"))
        states = tuple(state["states"])
        self.state = states if state["several"] else states[0]


def _constant(state: Any) -> Any:
    """Replace the tensors of a state by their arrays, so that no gradient flows through it."""
    if isinstance(state, tuple):
        return tuple(map(_constant, state))
    return getattr(state, "value", state)
