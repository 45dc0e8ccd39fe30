"""The history of a run as events for TensorBoard."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnfast._files import AnyPath
from rnnfast.training.callbacks import Callback
from rnnfast.training.checkpoint import output_errors
from rnnfast.training.history import Record

if TYPE_CHECKING:
    from rnnfast.training.trainer import Trainer

_EVENTS = "events.out.tfevents.*"
_TAGS = {"loss": "loss/training", "validation_loss": "loss/validation"}


class TensorBoardLog(Callback):
    """Writes each row of the history to a folder that TensorBoard reads.

    The tags are `loss/training`, `loss/validation` and the names of the other columns. TensorBoard
    hides what the folder held before, and the log of a resumed run begins with the rows in its
    checkpoint, so that it covers the whole run. The times are those that the run has taken, without
    the pauses between its parts.

    Attributes:
        folder: The folder that the events are written to.
    """

    def __init__(self, folder: AnyPath) -> None:
        """Make the folder if it does not exist.

        Raises:
            CheckpointError: The folder cannot be made.
            ImportError: The package `tensorboardX` is not installed.
        """
        try:
            import tensorboardX.event_file_writer  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "TensorBoardLog needs the package tensorboardX, which is not installed: "
                "pip install tensorboardX"
            ) from error
        self.folder = Path(folder)
        with output_errors(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._writer: Any = None
        self._began = 0.0

    @property
    def has_events(self) -> bool:
        """Whether the folder holds events already."""
        return any(self.folder.glob(_EVENTS))

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with output_errors(self.folder):
                self._writer.close()
            self._writer = None

    def on_start(self, trainer: Trainer) -> None:
        """Hide earlier events, and write the rows that the history already has."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        history = trainer.history
        self._began = time.time() - trainer.seconds
        with output_errors(self.folder):
            # Not SummaryWriter, whose thread dies when a disk is full: the run would then hang.
            self._writer = EventsWriter(str(self.folder / "events"))
            self._write(0, 0.0, session_log=SessionLog(status=SessionLog.START))
            for i in range(len(history)):
                self._write_row(history[i])
            self._writer.flush()

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """Write a row."""
        del trainer
        with output_errors(self.folder):
            self._write_row(record)
            self._writer.flush()

    def _write_row(self, record: Record) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        row = record._asdict()
        step, seconds = row.pop("step"), row.pop("seconds")
        values = [
            Summary.Value(tag=_TAGS.get(name, name), simple_value=value)
            for name, value in row.items()
            if not math.isnan(value)
        ]
        self._write(step, seconds, summary=Summary(value=values))

    def _write(self, step: int, seconds: float, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=self._began + seconds, step=step, **what))
