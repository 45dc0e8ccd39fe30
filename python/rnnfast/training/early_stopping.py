"""Early stopping of runs that no longer improve."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnnfast._engine import checks
from rnnfast.training.callbacks import Callback
from rnnfast.training.run_log import LOGGER

if TYPE_CHECKING:
    from rnnfast.training.trainer import Trainer


class EarlyStopping(Callback):
    """Ends a run after `patience` validations in a row without a new best loss.

    Attributes:
        patience: Validations without a new best loss that end the run.
        min_delta: How far below the best a loss must be to count as the new best.
        best: The best validation loss so far; infinite before the first one.
        waited: Number of validations since the best one.
    """

    def __init__(self, patience: int, min_delta: float = 0.0) -> None:
        """Prepare to watch a run.

        Args:
            patience: Validations without a new best loss that end the run.
            min_delta: How far below the best a loss must be to count as the new best.

        Raises:
            ValueError: A number is out of range.
            TypeError: An argument is not a number.
        """
        self.patience = checks.positive_int("patience", patience)
        self.min_delta = checks.finite("min_delta", min_delta, 0)
        self.best, self.waited = math.inf, 0

    def on_validation(self, trainer: Trainer) -> None:
        """Count a validation, and stop the run once `patience` of them bring no new best."""
        loss = trainer.validation_loss
        assert loss is not None
        if loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            LOGGER.info(
                "step %d: no new best in %d validations, the best is %.6g",
                trainer.step,
                self.waited,
                self.best,
            )
            trainer.stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs to continue counting."""
        return {"best": None if self.best == math.inf else self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.same_names("early stopping", state, ("best", "waited"))
        best = state["best"]
        self.waited = checks.count("waited", state["waited"])
        self.best = math.inf if best is None else checks.finite("best", best, -sys.float_info.max)
