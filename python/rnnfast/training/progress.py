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
    """The progress that suits where the output goes.

    On a terminal that is a bar which follows the run (`LiveProgress`), in a notebook a line which
    does (`NotebookProgress`), and elsewhere, as in files and pipes, plain lines (`PrintProgress`).

    Args:
        console: of rich, where to show it; None for standard output.
    """
    console = Console() if console is None else console
    if console.is_jupyter:
        return NotebookProgress()
    return LiveProgress(console) if console.is_terminal else PrintProgress()


class LiveProgress(Callback):
    """A bar that follows the run, with samples and checkpoints scrolling by above it.

    A run enters it as a context, so that the terminal is left in order however the run ends.
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
        """Redraws the bar, a few times a second at most."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REFRESH_SECONDS
            self._redraw(trainer)

    def on_validation(self, trainer: Trainer) -> None:
        """Shows the new loss."""
        self._redraw(trainer)

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Redraws the bar, which so is at its end when the run is."""
        del record
        if trainer.done >= 1:
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


class NotebookProgress(PrintProgress):
    """A line below the cell that follows the run; samples and checkpoints are printed."""

    def __init__(self) -> None:
        super().__init__(_REFRESH_SECONDS)
        self._line: Any = None

    def on_start(self, trainer: Trainer) -> None:
        """Shows the line.

        Raises:
            ImportError: IPython, which every notebook has, is not here.
        """
        from IPython.display import display

        super().on_start(trainer)
        self._line = display(_Plain(progress_line(trainer)), display_id=True)

    def on_step(self, trainer: Trainer) -> None:
        """Renews the line, a few times a second at most."""
        if self.is_time():
            self._renew(trainer)

    def on_validation(self, trainer: Trainer) -> None:
        """Shows the new loss."""
        self._renew(trainer)

    def on_end(self, trainer: Trainer) -> None:
        """Leaves the line as it is at the end."""
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
    """The state of a run in few enough characters for a terminal of 80."""
    losses = (("train", trainer.training_loss), ("val", trainer.validation_loss))
    shown = " ".join(
        f"{loss:{trainer.loss_format}} {name}" for name, loss in losses if loss is not None
    )
    left = "" if trainer.seconds_left is None else f", {format_time(trainer.seconds_left)} left"
    speed = f"{_thousands(trainer.items_per_second)} {trainer.item}s/s"
    return f"step {trainer.step}, {speed}, {trainer.loss_unit} {shown}{left}"


def _thousands(number: float) -> str:
    return f"{number / 1000:.0f}k" if number >= 10_000 else f"{number:.0f}"
