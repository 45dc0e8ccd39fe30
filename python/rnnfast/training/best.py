"""Checkpoints of the best validations, in addition to that of the last step."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnfast._engine import checks
from rnnfast.training.callbacks import Callback
from rnnfast.training.run_log import LOGGER

if TYPE_CHECKING:
    from rnnfast.training.history import Record
    from rnnfast.training.trainer import Trainer


class BestCheckpoints(Callback):
    """Keeps the checkpoints of the `count` best validations next to the run's output.

    If the output is `model.safetensors`, the checkpoint of step 500 is `model.step500.safetensors`.
    A checkpoint that is no longer among the best is removed.

    Attributes:
        count: Number of checkpoints to keep.
        kept: (loss, step) of each checkpoint kept, best first; equal losses are ordered by step.
    """

    def __init__(self, count: int) -> None:
        """Prepare to keep `count` checkpoints, at least 1."""
        self.count = checks.positive_int("count", count)
        self.kept: list[tuple[float, int]] = []

    def paths(self, trainer: Trainer) -> list[Path]:
        """Return the paths of the checkpoints kept, best first."""
        return [self._path(trainer, step) for _, step in self.kept]

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Save the run if the row has a validation loss that is among the best."""
        loss = record.validation_loss
        if math.isnan(loss):
            return
        ranked = sorted({*self.kept, (loss, trainer.step)})
        self.kept, dropped = ranked[: self.count], ranked[self.count :]
        for _, step in dropped:
            self._path(trainer, step).unlink(missing_ok=True)
        if (loss, trainer.step) in self.kept:
            path = self._path(trainer, trainer.step)
            trainer.save(path)
            LOGGER.info("step %d: saved %s, among the %d best", trainer.step, path, self.count)

    def state_dict(self) -> dict[str, Any]:
        """Return the losses and steps of the files that a resumed run takes over."""
        return {"kept": [list(pair) for pair in self.kept]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.same_names("best checkpoints", state, ("kept",))
        self.kept = [
            (checks.finite("loss", loss, -sys.float_info.max), checks.count("step", step))
            for loss, step in state["kept"]
        ]

    @staticmethod
    def _path(trainer: Trainer, step: int) -> Path:
        assert trainer.output is not None
        output = trainer.output
        return output.with_name(f"{output.stem}.step{step}{output.suffix}")
