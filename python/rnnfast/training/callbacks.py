"""What a training run tells those who listen."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rnnfast.training.trainer import Trainer


class Callback:
    """Base of the listeners to a training run: does nothing at every event.

    Any of them may call `trainer.stop()`, which ends the run after the step at hand.
    """

    def on_start(self, trainer: Trainer) -> None:
        """The run begins, or goes on after `Trainer.resume`."""

    def on_step(self, trainer: Trainer) -> None:
        """An optimiser step was made: see `trainer.step` and `trainer.training_bits`."""

    def on_validation(self, trainer: Trainer) -> None:
        """The validation text was measured: see `trainer.validation_bits`."""

    def on_sample(self, trainer: Trainer, text: str) -> None:
        """The model wrote `text`."""

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """A checkpoint was written to `path`."""

    def on_end(self, trainer: Trainer) -> None:
        """The run is over: see `trainer.stopped`."""


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
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.seconds
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

    def _print(self, line: str) -> None:
        print(line, file=self.file or sys.stdout, flush=True)


def progress_line(trainer: Trainer) -> str:
    """The state of a run in one line."""
    unit = trainer.model.vocabulary.short_unit
    parts = [
        f"step {trainer.step}",
        f"epoch {trainer.epoch:.2f}",
        f"{trainer.characters_per_second:,.0f} {unit}s/s",
    ]
    losses = (("training", trainer.training_bits), ("validation", trainer.validation_bits))
    parts += [f"{name} {bits:.3f} bits/{unit}" for name, bits in losses if bits is not None]
    left = trainer.seconds_left
    if left is not None:
        parts.append(f"{format_time(left)} left")
    return ", ".join(parts)


def format_time(seconds: float) -> str:
    """A duration as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
