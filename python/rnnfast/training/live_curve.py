"""Loss curves that grow in a notebook while the run trains."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rnnfast._engine import checks
from rnnfast.training.callbacks import Callback

if TYPE_CHECKING:
    from rnnfast.training.history import Record
    from rnnfast.training.trainer import Trainer


class LiveCurve(Callback):
    """Shows the history of a run below the cell of a notebook, and redraws it as rows are added.

    Attributes:
        seconds: Least time between two drawings.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        """Prepare to draw every `seconds`, if there is a new row of the history.

        Raises:
            ValueError: `seconds` is negative.
            TypeError: `seconds` is not a number.
        """
        self.seconds = checks.number("seconds", seconds, 0)
        self._next = 0.0
        self._display: Any = None

    def on_start(self, trainer: Trainer) -> None:
        """Show the history.

        Raises:
            ImportError: IPython, which every notebook has, is not installed.
        """
        from IPython.display import display

        self._display = display(trainer.history, display_id=True)
        self._next = time.monotonic() + self.seconds

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Redraw the curves, unless that was done a short time ago."""
        del record
        if time.monotonic() >= self._next:
            self._draw(trainer)
            self._next = time.monotonic() + self.seconds

    def on_end(self, trainer: Trainer) -> None:
        """Show the whole run."""
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if self._display is not None:
            self._display.update(trainer.history)
