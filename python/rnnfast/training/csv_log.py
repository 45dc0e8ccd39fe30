"""The history of a run as a table of comma-separated values."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from rnnfast._files import AnyPath
from rnnfast.training.callbacks import Callback
from rnnfast.training.checkpoint import check_output, output_errors
from rnnfast.training.history import Record

if TYPE_CHECKING:
    from rnnfast.training.trainer import Trainer


class CSVLog(Callback):
    """Writes each row of the history to a file as it is added.

    A row without a validation has an empty validation loss. An existing file is replaced. The log
    of a resumed run begins with the rows in its checkpoint, so that it covers the whole run.

    Attributes:
        path: The file that the log is written to.
    """

    def __init__(self, path: AnyPath) -> None:
        """Check that the file can be written.

        Raises:
            CheckpointError: The file cannot be written.
        """
        self.path: Path = check_output(path)

    def on_start(self, trainer: Trainer) -> None:
        """Write the column names and the rows that the history already has."""
        history = trainer.history
        self._write("w", [Record._fields, *(history[i] for i in range(len(history)))])

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Write a row."""
        del trainer
        self._write("a", [record])

    def _write(self, mode: str, rows: list[tuple[object, ...]]) -> None:
        with output_errors(self.path), self.path.open(mode, newline="", encoding="ascii") as file:
            csv.writer(file, lineterminator="\n").writerows(
                ["" if isinstance(v, float) and math.isnan(v) else v for v in row] for row in rows
            )
