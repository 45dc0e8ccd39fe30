"""The events of a run as messages of the standard library's `logging`."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rnnfast.training.callbacks import Callback, format_time

if TYPE_CHECKING:
    from rnnfast.training.trainer import Trainer

LOGGER = logging.getLogger("rnnfast.training")
LOGGER.addHandler(logging.NullHandler())  # errors, too, are silent until a program asks for them


class RunLog(Callback):
    """Logs the start and end of a run, its validations and checkpoints, and what made it fail."""

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            LOGGER.error("the run failed: %s: %s", type(error).__name__, error)

    def on_start(self, trainer: Trainer) -> None:
        """Log the start, and the limits of the run."""
        options = trainer.options
        limits = {name: getattr(options, name) for name in ("steps", "epochs", "minutes")}
        LOGGER.info(
            "%s at step %d: %s, %s, limits: %s",
            "resumed" if trainer.step else "started",
            trainer.step,
            type(trainer.model).__name__,
            trainer.optimizer,
            ", ".join(f"{value:g} {name}" for name, value in limits.items() if value) or "none",
        )

    def on_validation(self, trainer: Trainer) -> None:
        """Log the losses."""
        losses = [("validation", trainer.validation_loss), ("training", trainer.training_loss)]
        LOGGER.info(
            "step %d: %s",
            trainer.step,
            ", ".join(
                f"{name} {trainer.loss_text(loss)}" for name, loss in losses if loss is not None
            ),
        )

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Log the path."""
        LOGGER.info("step %d: saved %s", trainer.step, path)

    def on_end(self, trainer: Trainer) -> None:
        """Log the reason."""
        signal = f" by {trainer.interrupted_by.name}" if trainer.interrupted_by else ""
        seconds = format_time(trainer.seconds)
        LOGGER.info("%s%s at step %d after %s", trainer.stopped, signal, trainer.step, seconds)
