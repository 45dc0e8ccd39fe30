"""The end of a run that gets no better."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnnfast._engine import checks
from rnnfast.training.callbacks import Callback

if TYPE_CHECKING:
    from rnnfast.training.trainer import Trainer


class EarlyStopping(Callback):
    """Ends a run after `patience` validations in a row without a new best loss.

    Attributes:
        patience: as given.
        min_delta: as given.
        best: the best validation loss so far; infinite before the first one.
        waited: validations since.
    """

    def __init__(self, patience: int, min_delta: float = 0.0) -> None:
        """Prepares to watch a run.

        Args:
            patience: validations without a new best that end the run.
            min_delta: by how much a loss must be below the best to be the new one.

        Raises:
            ValueError: a number is out of range.
            TypeError: it is none.
        """
        self.patience = checks.positive_int("patience", patience)
        self.min_delta = checks.finite("min_delta", min_delta, 0)
        self.best, self.waited = math.inf, 0

    def on_validation(self, trainer: Trainer) -> None:
        """Counts, and stops the run if it is time."""
        loss = trainer.validation_loss
        assert loss is not None
        if loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on counting."""
        return {"best": None if self.best == math.inf else self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Sets what `state_dict` gave."""
        checks.same_names("early stopping", state, ("best", "waited"))
        best = state["best"]
        self.waited = checks.count("waited", state["waited"])
        self.best = math.inf if best is None else checks.finite("best", best, -sys.float_info.max)
