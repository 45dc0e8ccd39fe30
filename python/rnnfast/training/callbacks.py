"""What a training run tells those who listen."""

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
    """Base of the listeners to a training run: does nothing at every event.

    Any of them may call `trainer.stop()`, which ends the run after the step at hand. A run enters
    listeners that are context managers, and leaves them however it ends.
    """

    def on_start(self, trainer: Trainer) -> None:
        """The run begins, or goes on after `Trainer.resume`."""

    def on_step(self, trainer: Trainer) -> None:
        """An optimiser step was made: see `trainer.step` and `trainer.training_loss`."""

    def on_validation(self, trainer: Trainer) -> None:
        """The validation data were measured: see `trainer.validation_loss`."""

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """A row was added to `trainer.history`."""

    def on_sample(self, trainer: Trainer, text: str) -> None:
        """The model wrote `text`."""

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """A checkpoint was written to `path`."""

    def on_end(self, trainer: Trainer) -> None:
        """The run is over: see `trainer.stopped`."""

    def state_dict(self) -> dict[str, Any]:
        """What checkpoints are to keep of the listener: dicts, lists, arrays, numbers, texts."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Sets what `state_dict` gave, when a run is resumed."""


class PrintProgress(Callback):
    """Prints plain lines: progress every few seconds, validations, samples and checkpoints.

    Attributes:
        seconds: time between two lines of progress.
        file: where to print; None for standard output.
    """

    def __init__(self, seconds: float = 5.0, file: TextIO | None = None) -> None:
        self.seconds = seconds
        self.file = file
        self._next = 0.0

    def on_start(self, trainer: Trainer) -> None:
        """Waits with the first line until there is something to tell."""
        del trainer
        self._next = time.monotonic() + self.seconds

    def on_step(self, trainer: Trainer) -> None:
        """Prints a line if it is time."""
        if self.is_time():
            self._print(progress_line(trainer))

    def on_validation(self, trainer: Trainer) -> None:
        """Prints the progress with the new loss."""
        self._print(progress_line(trainer))

    def on_sample(self, trainer: Trainer, text: str) -> None:
        """Prints the sample between two rules."""
        self._print(f"--- sample at step {trainer.step}\n{text}\n---")

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Prints where the checkpoint is."""
        self._print(f"step {trainer.step}: saved {path}")

    def is_time(self) -> bool:
        """Whether it is time for a line of progress; the next one is then due `seconds` later."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.seconds
        return True

    def _print(self, line: str) -> None:
        print(line, file=self.file or sys.stdout, flush=True)


def progress_line(trainer: Trainer) -> str:
    """The state of a run in one line."""
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
    """A duration as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
