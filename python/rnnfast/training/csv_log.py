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
    """Writes each row of the history to a file as it comes; a validation that was none is empty.

    A file that is there is replaced. The log of a resumed run begins with the rows that its
    checkpoint holds, so that it is that of a run in one piece.

    Attributes:
        path: where the file is.
    """

    def __init__(self, path: AnyPath) -> None:
        """Checks that the file can be written.

        Raises:
            CheckpointError: it cannot be.
        """
        self.path: Path = check_output(path)

    def on_start(self, trainer: Trainer) -> None:
        """Writes the heads of the columns, and the rows that there are."""
        history = trainer.history
        self._write("w", [Record._fields, *(history[i] for i in range(len(history)))])

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Writes a row."""
        del trainer
        self._write("a", [record])

    def _write(self, mode: str, rows: list[tuple[object, ...]]) -> None:
        with output_errors(self.path), self.path.open(mode, newline="", encoding="ascii") as file:
            csv.writer(file, lineterminator="\n").writerows(
                ["" if isinstance(v, float) and math.isnan(v) else v for v in row] for row in rows
            )
