"""Callbacks, which a training run calls at its events."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rnnfast.training.history import Record
    from rnnfast.training.trainer import Trainer


class Callback:
    """Base class of callbacks: every method does nothing until a subclass overrides it.

    Any method may call `trainer.stop()`, which ends the run after the current step. A run enters
    callbacks that are context managers, and exits them however it ends.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Handle the start of a run, whether it is new or resumed."""

    def on_step(self, trainer: Trainer) -> None:
        """Handle an optimiser step; see `trainer.step` and `trainer.training_loss`."""

    def on_validation(self, trainer: Trainer) -> None:
        """Handle a validation; see `trainer.validation_loss`."""

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Handle a new row of `trainer.history`."""

    def on_sample(self, trainer: Trainer, text: str) -> None:
        """Handle a sample, the `text` that the model generated."""

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Handle a checkpoint that was written to `path`."""

    def on_end(self, trainer: Trainer) -> None:
        """Handle the end of the run; see `trainer.stopped` for the reason."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save in checkpoints: dicts, lists, arrays, numbers and strings."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, when a run is resumed."""


class PrintProgress(Callback):
    """Prints progress every few seconds, validations, samples and checkpoints as plain lines.

    Attributes:
        seconds: Time between two lines of progress, in seconds.
        file: Where to print; None for standard output.
    """

    def __init__(self, seconds: float = 5.0, file: TextIO | None = None) -> None:
        self.seconds = seconds
        self.file = file
        self._next = 0.0

    def on_start(self, trainer: Trainer) -> None:
        """Put off the first line until the run has had time to make some steps."""
        del trainer
        self._next = time.monotonic() + self.seconds

    def on_step(self, trainer: Trainer) -> None:
        """Print a line if one is due."""
        if self.is_time():
            self._print(progress_line(trainer))

    def on_validation(self, trainer: Trainer) -> None:
        """Print the progress with the new loss."""
        self._print(progress_line(trainer))

    def on_sample(self, trainer: Trainer, text: str) -> None:
        """Print the sample between two rules."""
        self._print(f"--- sample at step {trainer.step}\n{text}\n---")

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Print the path of the checkpoint."""
        self._print(f"step {trainer.step}: saved {path}")

    def is_time(self) -> bool:
        """Return whether a line of progress is due; if so, the next is due `seconds` from now."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.seconds
        return True

    def _print(self, line: str) -> None:
        print(line, file=self.file or sys.stdout, flush=True)


def progress_line(trainer: Trainer) -> str:
    """Return the state of a run in one line."""
    parts = [
        f"step {trainer.step}",
        f"epoch {trainer.epoch:.2f}",
        f"{trainer.items_per_second:,.0f} {trainer.item}s/s",
    ]
    losses = (("training", trainer.training_loss), ("validation", trainer.validation_loss))
    parts += [f"{name} {trainer.loss_text(loss)}" for name, loss in losses if loss is not None]
    left = trainer.seconds_left
    if left is not None:
        parts.append(f"{format_time(left)} left")
    return ", ".join(parts)


def format_time(seconds: float) -> str:
    """Format a duration as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
