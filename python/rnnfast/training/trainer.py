"""The training loop, for any model and any batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from signal import Signals
from typing import Any, ClassVar

from rnnfast import _files
from rnnfast._files import AnyPath
from rnnfast.layers.module import Module
from rnnfast.optim.optimizers import Optimizer
from rnnfast.optim.schedules import ReduceOnPlateau, Schedule
from rnnfast.training.arguments import check_parts, loss_of, own_callbacks
from rnnfast.training.best import BestCheckpoints
from rnnfast.training.callbacks import Callback
from rnnfast.training.checkpoint import (
    RUN,
    CheckpointError,
    check_output,
    load_checkpoint,
    output_errors,
    save_checkpoint,
)
from rnnfast.training.clock import Clock
from rnnfast.training.divergence import TrainingError, broken_state, diverged
from rnnfast.training.history import History, Meter, Record, smooth
from rnnfast.training.learner import Learner, Loss
from rnnfast.training.measure import rows, validation_loss
from rnnfast.training.options import RunOptions
from rnnfast.training.run_state import restore_run, run_checkpoint
from rnnfast.training.signals import ending
from rnnfast.training.source import BatchSource
from rnnfast.training.stored import stored

_LOOK_EVERY = 100  # steps between checks of the training loss for divergence


class Trainer:
    """Trains a model on batches, with validations and checkpoints that it can resume exactly.

    Attributes:
        model: The model, which is trained in place.
        optimizer: The optimiser.
        schedule: The learning-rate schedule, or None.
        options: Options of the run.
        output: The file for checkpoints, or None.
        callbacks: The callbacks, starting with the run's log and those that the options ask for.
        history: The measurements, in rows of `options.log_every` steps.
        step: Number of optimiser steps so far.
        items_read: Items of training batches so far; NaN if a resumed run did not count them.
        training_loss: Running mean of the training loss; None before the first step.
        validation_loss: The last validation loss; None before the first validation.
        stopped: Why the last run ended: "finished", "interrupted" (by a signal) or "stopped" (by
            a callback).
        interrupted_by: The signal, if one ended the last run.
    """

    # How progress output names the items that `items` counts, and formats losses.
    item: ClassVar[str] = "item"
    loss_unit: ClassVar[str] = "loss"
    loss_format: ClassVar[str] = ".4g"

    def __init__(
        self,
        model: Module,
        batches: Iterable[Any],
        loss: Loss | None = None,
        *,
        optimizer: Optimizer,
        schedule: Schedule | ReduceOnPlateau | None = None,
        options: RunOptions | None = None,
        validation: Iterable[Any] | None = None,
        items: Callable[[Any], int] = rows,
        output: AnyPath | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Prepare a run.

        Args:
            model: The model to train, in place.
            batches: Any iterable of batches; each pass over it is an epoch. `BatchSource` documents
                the methods that resumed runs need.
            loss: Takes the model and a batch, and returns the batch's mean loss: either a number,
                after it has added the gradients to those of the parameters, or an object with a
                method `backward` that adds them. In evaluation mode (`model.training` is False) it
                must add no gradients. A loss that keeps a state from batch to batch, such as
                a recurrent state, needs `state_dict` and `load_state_dict`. None for `model.loss`.
            optimizer: The optimiser of the model's parameters.
            schedule: A learning-rate schedule of this optimiser. It advances after each optimiser
                step, or after each validation if it is a `ReduceOnPlateau`.
            options: Options of the run; None for the defaults, which set no limit.
            validation: Batches to validate on, which must be iterable many times; None for none.
            items: Counts the items of a batch, for the mean over `validation` and the items per
                second; by default the rows of the batch's first array.
            output: The file for checkpoints; None writes none. The first checkpoint replaces an
                existing file; call `restore` first to continue from it.
            callbacks: Callbacks to call at the events of the run.

        Raises:
            CheckpointError: `output` cannot be written, or is not a regular file.
            ValueError: An option needs an `output` or `validation` that was not given, or the
                schedule belongs to another optimiser.
            TypeError: An argument is of the wrong type.
        """
        options = RunOptions() if options is None else options
        check_parts(model, optimizer, schedule, validation, options)
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.options = options
        self.validation = validation
        self.output = check_output(output) if output is not None else None
        own = own_callbacks(options, self.validates, self.output is not None)
        self.callbacks = [*own, *callbacks]
        self.batches = BatchSource(batches)
        self.loss, self.items = loss_of(model, loss), items
        stepped = schedule if isinstance(schedule, Schedule) else None
        self._learner = Learner(model, self.batches, self.loss, optimizer, stepped, items, options)
        self.history = History()
        self.step, self.items_read = 0, 0.0
        self.training_loss: float | None = None
        self.validation_loss: float | None = None
        self._meter = Meter()
        self._measured = math.nan  # the validation loss that is not in a row yet
        self._rate = optimizer.lr
        steps = -(-options.epochs * (self.batches.length or 0) // options.accumulate)
        last_step = min(filter(None, (options.steps, steps)), default=0)
        self._clock = Clock(last_step, options.minutes)
        self._between = self._events()
        self._data_end = False
        self._told: set[str] = set()  # the events of the last step
        self.stopped: str | None = None
        self.interrupted_by: Signals | None = None

    @property
    def validates(self) -> bool:
        """Whether the run has validation data."""
        return self.validation is not None

    @property
    def epoch(self) -> float:
        """Number of passes over the data so far."""
        return self.batches.epoch

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, including its earlier parts if it was resumed."""
        return self._clock.seconds

    @property
    def done(self) -> float:
        """The fraction of the run that is complete; 0 if it has no limit."""
        return 1.0 if self._data_end else self._clock.done(self.step)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the run ends; None if that cannot be estimated yet."""
        return self._clock.seconds_left(self.step)

    @property
    def items_per_second(self) -> float:
        """Items that training reads per second, not counting validation and the like."""
        return self._meter.items_per_second

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.optimizer.lr

    @property
    def best_checkpoints(self) -> list[Path]:
        """Paths of the checkpoints that `options.keep_best` keeps, best first."""
        keepers = (c for c in self.callbacks if isinstance(c, BestCheckpoints))
        return [path for keeper in keepers for path in keeper.paths(self)]

    def loss_text(self, loss: float) -> str:
        """Format a loss for progress output."""
        return f"{self.loss_unit} {loss:{self.loss_format}}"

    def run(self) -> Module:
        """Train until a limit is reached, a callback calls `stop`, or Ctrl-C is pressed.

        In each case the run ends cleanly and writes a checkpoint if it has an `output`. Ctrl-C, and
        the signals TERM and HUP unless they are ignored, end it after the current step; a second
        Ctrl-C ends it at once without a checkpoint. No other run can write to `output` in the
        meantime. If a callback fails, the run is saved before the error is raised.

        A run that has diverged ends without a checkpoint at the first validation, checkpoint or
        hundredth step that detects it.

        Returns:
            The model.

        Raises:
            TrainingError: Training diverged: the loss, the model or the optimiser's state is not
                finite; or the first step computed no gradients. The last checkpoint is kept.
            CheckpointError: A checkpoint cannot be written, or another run writes to `output`.
        """
        self.stopped = self.interrupted_by = None
        self._told = set()
        self._clock.start()
        self.model.train()
        self.optimizer.zero_grad()  # each step leaves zeros for the next
        try:
            with ExitStack() as stack:
                if self.output is not None:
                    with output_errors(self.output):
                        stack.enter_context(_files.claim(self.output))
                stack.enter_context(ending(self._interrupt))
                for callback in self.callbacks:
                    if isinstance(callback, AbstractContextManager):
                        stack.enter_context(callback)
                self._run()
        finally:
            self._clock.stop()
        for callback in self.callbacks:
            callback.on_end(self)
        return self.model

    def stop(self) -> None:
        """End the run after the current step; for use by callbacks."""
        self.stopped = self.stopped or "stopped"

    def _interrupt(self, number: Signals) -> None:
        self.stopped, self.interrupted_by = "interrupted", number

    def validate(self) -> float:
        """Measure the loss on the validation data.

        Raises:
            TrainingError: The loss is not finite.
            ValueError: The run has no validation data.
        """
        loss = self.validation_loss = self._measure()
        if not math.isfinite(loss):
            raise TrainingError(diverged(f"validation gave {loss}", self.step))
        if isinstance(self.schedule, ReduceOnPlateau) and self._clock.running:
            self.schedule.step(loss)
        for callback in self.callbacks:
            callback.on_validation(self)
        return loss

    def save(self, path: AnyPath) -> None:
        """Save the model's parameters and all state needed to continue with the same bits.

        Raises:
            CheckpointError: The file cannot be written, or a value to write is not finite.
            TypeError: The state of a part of the run holds values other than dicts, lists, arrays,
                numbers, strings and None.
        """
        save_checkpoint(path, run_checkpoint(self), RUN)

    def restore(self, path: AnyPath) -> None:
        """Restore the run that `save` wrote, so that `run` continues it with the same bits.

        The model, batches, optimiser and other parts must be constructed as for the saved run.

        Raises:
            CheckpointError: The file is damaged, or its run does not fit this one.
        """
        checkpoint = load_checkpoint(path, RUN)
        with stored(path):
            self._clock.before = restore_run(self, checkpoint)

    # ---- the loop

    def _run(self) -> None:
        for callback in self.callbacks:
            callback.on_start(self)
        while self.stopped is None and self.done < 1 and self._train_step():
            with self._saved_on_failure():
                self._after_step()
        self.stopped = self.stopped or "finished"
        self._check_divergence()
        with self._saved_on_failure():
            self._finish()

    @contextmanager
    def _saved_on_failure(self) -> Iterator[None]:
        """Save the run if a callback fails, since a run can be resumed between two steps."""
        try:
            yield
        except (CheckpointError, TrainingError):
            raise
        except Exception:
            if self.output is not None and self._divergence() is None:
                with suppress(CheckpointError):
                    self.save(self.output)
            raise

    def _train_step(self) -> bool:
        """Perform a step; return False if the data have ended."""
        self._rate = self._set_rate()
        step = self._learner.make_step(self.step + 1)
        if step is None:
            self._data_end = True
            return False
        self.step += 1
        self.items_read += step.items
        self._meter.add(*step)
        self.training_loss = smooth(self.training_loss, step.loss)
        return True

    def _set_rate(self) -> float:
        """Return the learning rate of the next step; a subclass may set it here."""
        return self.optimizer.lr

    # ---- between two steps

    def _events(self) -> dict[str, tuple[int, Callable[[], None]]]:
        """Return the events between steps, in order: the interval in steps, and the action."""
        o = self.options
        return {
            "validation": (o.validate_every if self.validates else 0, self._validate),
            "record": (o.log_every, self._record),
            "checkpoint": (o.checkpoint_every if self.output else 0, self._checkpoint),
        }

    def _after_step(self) -> None:
        self._told = set()
        for callback in self.callbacks:
            callback.on_step(self)
        if self.stopped is not None or self.done >= 1:
            return  # the run ends here, and `_finish` does the rest
        due = {event for event, (every, _) in self._between.items() if self._due(every)}
        if due & {"validation", "checkpoint"}:
            due.add("record")
            self._check_divergence()
        elif self._due(_LOOK_EVERY) and self._looks_diverged():
            self._check_divergence()
        if due:
            self._tell(due)

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _finish(self) -> None:
        events = set(self._between)
        if self.stopped != "finished":
            events &= {"record", "checkpoint"}
        again = "checkpoint" in self._told
        # A time limit may be reached after the events of the last step.
        self._tell((events - self._told) | {"record"})
        if again and self.output is not None:
            self.save(self.output)  # now with the total time of the run

    def _tell(self, events: set[str]) -> None:
        self._told |= events
        for event, (_, act) in self._between.items():
            if event in events:
                act()

    def _validate(self) -> None:
        if self.validates:
            self._measured = self.validate()

    def _measure(self) -> float:
        if self.validation is None:
            raise ValueError("validation: expected data to validate on, got none")
        return validation_loss(self.model, self.loss, self.validation, self.items)

    def _record(self) -> None:
        measured, self._measured = self._measured, math.nan
        if self._meter.steps:
            record = Record(
                step=self.step,
                epoch=self.epoch,
                seconds=self.seconds,
                validation_loss=measured,
                learning_rate=self._rate,
                items=self.items_read,
                **self._meter.end_row(self.options.clip_norm),
            )
        elif len(self.history) and not math.isnan(measured):
            record = self.history[-1]._replace(seconds=self.seconds, validation_loss=measured)
        else:
            return
        self.history.append(record)
        for callback in self.callbacks:
            callback.on_record(self, record)

    def _checkpoint(self) -> None:
        if self.output is not None:
            self.save(self.output)
            for callback in self.callbacks:
                callback.on_checkpoint(self, self.output)

    def _looks_diverged(self) -> bool:
        """Return whether the training loss, which is free to check, suggests divergence."""
        return False

    def _check_divergence(self) -> None:
        trouble = self._divergence()
        if trouble is not None:
            raise TrainingError(trouble)

    def _divergence(self) -> str | None:
        """Return a message that says how training has diverged; None if it has not."""
        return broken_state(self.model, self.optimizer, self.step)
