"""Checkpoints of the best validations, beside that of the last step."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnfast._engine import checks
from rnnfast.training.callbacks import Callback

if TYPE_CHECKING:
    from rnnfast.training.history import Record
    from rnnfast.training.trainer import Trainer


class BestCheckpoints(Callback):
    """Keeps the checkpoints of the `count` best validations beside the run's output.

    That of step 500 beside `model.safetensors` is `model.step500.safetensors`. One that is no
    longer among the best is removed.

    Attributes:
        count: as given.
        kept: (loss, step) of the kept ones, the best first; of equal losses the earlier.
    """

    def __init__(self, count: int) -> None:
        """Prepares to keep `count` checkpoints, at least 1."""
        self.count = checks.positive_int("count", count)
        self.kept: list[tuple[float, int]] = []

    def paths(self, trainer: Trainer) -> list[Path]:
        """Where the kept checkpoints are, the best first."""
        return [self._path(trainer, step) for _, step in self.kept]

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Saves the run if the row has a validation loss that is among the best."""
        loss = record.validation_loss
        if math.isnan(loss):
            return
        ranked = sorted({*self.kept, (loss, trainer.step)})
        self.kept, dropped = ranked[: self.count], ranked[self.count :]
        for _, step in dropped:
            self._path(trainer, step).unlink(missing_ok=True)
        if (loss, trainer.step) in self.kept:
            trainer.save(self._path(trainer, trainer.step))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know of the files."""
        return {"kept": [list(pair) for pair in self.kept]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Sets what `state_dict` gave."""
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
