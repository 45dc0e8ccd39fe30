"""Live progress of training on a terminal."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from rnnfast.training import Callback, Trainer
from rnnfast.training.callbacks import format_time

_REFRESH_SECONDS = 0.2


class LiveProgress(Callback):
    """A bar that follows the run, with samples and checkpoints scrolling by above it."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f}%"),
            console=console,
            expand=True,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("", total=1.0)
        self._next = 0.0

    def __enter__(self) -> LiveProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_step(self, trainer: Trainer) -> None:
        """Redraws the bar, a few times a second at most."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REFRESH_SECONDS
            self._redraw(trainer)

    def on_validation(self, trainer: Trainer) -> None:
        """Shows the new loss."""
        self._redraw(trainer)

    def on_sample(self, trainer: Trainer, text: str) -> None:
        """Shows the sample in a frame."""
        panel = Panel(Text(text), title=f"sample at step {trainer.step}", title_align="left")
        self._progress.console.print(panel)

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Says where the checkpoint is."""
        self._progress.console.print(Text(f"step {trainer.step}: saved {path}"))

    def _redraw(self, trainer: Trainer) -> None:
        self._progress.update(
            self._task, completed=trainer.done, description=_short_line(trainer), refresh=True
        )


def _short_line(trainer: Trainer) -> str:
    """The state of a run in few enough characters for a terminal of 80."""
    losses = (("train", trainer.training_bits), ("val", trainer.validation_bits))
    bits = " ".join(f"{bits:.3f} {name}" for name, bits in losses if bits is not None)
    left = "" if trainer.seconds_left is None else f", {format_time(trainer.seconds_left)} left"
    unit = trainer.model.vocabulary.short_unit
    speed = f"{trainer.characters_per_second / 1000:.0f}k {unit}s/s"
    return f"step {trainer.step}, {speed}, bits/{unit} {bits}{left}"
