"""Live progress of training, on a terminal or in a notebook."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from rnnfast.training.callbacks import Callback, PrintProgress, format_time, progress_line

if TYPE_CHECKING:
    from rnnfast.training.history import Record
    from rnnfast.training.trainer import Trainer

_REFRESH_SECONDS = 0.2


def progress(console: Console | None = None) -> Callback:
    """Return the progress display that suits the output.

    A terminal gets a live bar (`LiveProgress`), a notebook a line that is updated in place
    (`NotebookProgress`), and any other output, such as a file or a pipe, plain lines
    (`PrintProgress`).

    Args:
        console: The rich console to write to; None for standard output.
    """
    console = Console() if console is None else console
    if console.is_jupyter:
        return NotebookProgress()
    return LiveProgress(console) if console.is_terminal else PrintProgress()


class LiveProgress(Callback):
    """A bar that follows the run, with samples and checkpoints scrolling by above it.

    It is a context manager that the run enters, so the terminal is restored however the run ends.
    """

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
        """Redraw the bar, at most a few times per second."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REFRESH_SECONDS
            self._redraw(trainer)

    def on_validation(self, trainer: Trainer) -> None:
        """Show the new loss."""
        self._redraw(trainer)

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Redraw the bar when the run is done, so that it ends full."""
        del record
        if trainer.done >= 1:
            self._redraw(trainer)

    def on_sample(self, trainer: Trainer, text: str) -> None:
        """Show the sample in a frame."""
        panel = Panel(Text(text), title=f"sample at step {trainer.step}", title_align="left")
        self._progress.console.print(panel)

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Show the path of the checkpoint."""
        self._progress.console.print(Text(f"step {trainer.step}: saved {path}"))

    def _redraw(self, trainer: Trainer) -> None:
        self._progress.update(
            self._task, completed=trainer.done, description=_short_line(trainer), refresh=True
        )


class NotebookProgress(PrintProgress):
    """A line below the cell that follows the run; samples and checkpoints are printed."""

    def __init__(self) -> None:
        super().__init__(_REFRESH_SECONDS)
        self._line: Any = None

    def on_start(self, trainer: Trainer) -> None:
        """Show the line.

        Raises:
            ImportError: IPython, which every notebook has, is not installed.
        """
        from IPython.display import display

        super().on_start(trainer)
        self._line = display(_Plain(progress_line(trainer)), display_id=True)

    def on_step(self, trainer: Trainer) -> None:
        """Update the line, at most a few times per second."""
        if self.is_time():
            self._renew(trainer)

    def on_validation(self, trainer: Trainer) -> None:
        """Show the new loss."""
        self._renew(trainer)

    def on_end(self, trainer: Trainer) -> None:
        """Show the final state of the run."""
        self._renew(trainer)

    def _renew(self, trainer: Trainer) -> None:
        if self._line is not None:
            self._line.update(_Plain(progress_line(trainer)))


class _Plain:
    """A text that a notebook shows without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _short_line(trainer: Trainer) -> str:
    """Return the state of a run, short enough for a terminal 80 characters wide."""
    losses = (("train", trainer.training_loss), ("val", trainer.validation_loss))
    shown = " ".join(
        f"{loss:{trainer.loss_format}} {name}" for name, loss in losses if loss is not None
    )
    left = "" if trainer.seconds_left is None else f", {format_time(trainer.seconds_left)} left"
    speed = f"{_thousands(trainer.items_per_second)} {trainer.item}s/s"
    return f"step {trainer.step}, {speed}, {trainer.loss_unit} {shown}{left}"


def _thousands(number: float) -> str:
    return f"{number / 1000:.0f}k" if number >= 10_000 else f"{number:.0f}"
