"""The training loop of a character-level language model."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from signal import Signals
from typing import Any

from numpy.typing import NDArray

from rnnfast import _files
from rnnfast._engine import checks
from rnnfast._engine.backend import to_host
from rnnfast._files import AnyPath
from rnnfast.layers.states import State
from rnnfast.training.batches import Streams
from rnnfast.training.callbacks import Callback
from rnnfast.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    check_output,
    load_checkpoint,
    output_errors,
    save_checkpoint,
)
from rnnfast.training.divergence import diverged, divergence, much_worse_than_guessing
from rnnfast.training.model import CharLM
from rnnfast.training.options import SCHEDULES, TrainingOptions
from rnnfast.training.signals import ending
from rnnfast.training.stored import (
    check_same_text,
    part,
    recurrent_state,
    stored,
    stored_options,
    stored_source,
    text_digest,
)
from rnnfast.training.text import TextError

# What may differ when a run goes on; the rest is part of what makes its bits.
RESUME_OPTIONS = (
    "steps",
    "epochs",
    "minutes",
    "validate_every",
    "sample_every",
    "sample_length",
    "checkpoint_every",
)
_LOOK_EVERY = 100  # steps between two looks at the training loss, whether the run has diverged
_SMOOTHING = 0.05  # weight of a new step in the running means of loss and time


class TrainingError(RuntimeError):
    """Training has diverged: the loss, or the model, is not finite or much worse than guessing."""


class Trainer:
    """Trains a model on a text by truncated backpropagation through time.

    Attributes:
        model: the model.
        options: what the run does.
        optimizer: the optimiser.
        output: where checkpoints go, or None.
        source: names of the text's files, kept in checkpoints; empty if it has none.
        training_bits: the training loss in bits per character, a running mean; None at first.
        validation_bits: the last validation loss in bits per character; None if there is none.
        stopped: why the last run ended: "finished", "interrupted" (by a signal) or "stopped" (by
            a callback).
        interrupted_by: the signal, if one ended the last run.
    """

    def __init__(
        self,
        model: CharLM,
        text: str,
        options: TrainingOptions | None = None,
        *,
        output: AnyPath | None = None,
        source: Sequence[str] = (),
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Prepares a run.

        Args:
            model: the model to train, in place.
            text: what to train on; its end is kept for validation.
            options: what to do; None for the defaults.
            output: the file for checkpoints; None for none. A file that is there is replaced by the
                first checkpoint; `Trainer.resume` goes on with one instead.
            source: names of the text's files, to keep in checkpoints.
            callbacks: listeners.

        Raises:
            TextError: the text is too short, or has characters that the model does not know.
            CheckpointError: `output` cannot be written, or is not a regular file.
            TypeError: an argument is of the wrong type.
        """
        options = TrainingOptions() if options is None else options
        checks.of_type("model", model, CharLM)
        checks.of_type("text", text, str)
        checks.of_type("options", options, TrainingOptions)
        self.model = model
        self.options = options
        self.output = check_output(output) if output is not None else None
        self.source = [source] if isinstance(source, str) else [str(name) for name in source]
        self.callbacks = list(callbacks)
        self.optimizer = options.make_optimizer(model.parameters())
        ids = model.vocabulary.encode(text)
        held_out = options.held_out(ids.size)
        self._text_digest = text_digest(text)
        self._streams = Streams(ids[: ids.size - held_out], options.batch, options.seq_len)
        self._first_chunk = self._streams.chunk(0)
        if options.validation and held_out < 2:
            raise TextError(
                f"validation: {options.validation} of {ids.size} characters leaves {held_out} to "
                "validate on, at least 2 are needed; give a longer text or validation = 0"
            )
        self._validation = ids[ids.size - held_out :]
        self._state: State | None = None
        self._seconds = 0.0
        self._started: float | None = None
        self._step_seconds: float | None = None
        self.training_bits: float | None = None
        self.validation_bits: float | None = None
        self._told: set[str] = set()  # which events the last step had
        self.stopped: str | None = None
        self.interrupted_by: Signals | None = None

    @property
    def step(self) -> int:
        """Optimiser steps made."""
        return self._streams.position

    @property
    def epoch(self) -> float:
        """Passes over the text made."""
        return self.step / self._streams.chunks

    @property
    def seconds(self) -> float:
        """Time that the run has taken, all parts of it together if it was resumed."""
        now = time.monotonic()
        return self._seconds + (now - self._started if self._started is not None else 0.0)

    @property
    def done(self) -> float:
        """The part of the run that is done, from 0 to 1; 0 if it has no limit."""
        parts = [self.step / self._last_step] if self._last_step else [0.0]
        if self.options.minutes:
            parts.append(self.seconds / (60 * self.options.minutes))
        return min(1.0, max(parts))

    @property
    def seconds_left(self) -> float | None:
        """An estimate of the time until the run ends; None if there is no telling."""
        limits = []
        if self.options.minutes:
            limits.append(60 * self.options.minutes - self.seconds)
        if self._last_step and self.step:
            limits.append((self._last_step - self.step) * self.seconds / self.step)
        return max(0.0, min(limits)) if limits else None

    @property
    def _last_step(self) -> int:
        """The step at which the limits end the run; 0 if they do not."""
        limits = [self.options.steps, self.options.epochs * self._streams.chunks]
        return min(filter(None, limits), default=0)

    @property
    def characters_per_second(self) -> float:
        """How many characters a second training reads; validation and the like not counted."""
        characters = self.options.batch * self.options.seq_len
        return characters / self._step_seconds if self._step_seconds else 0.0

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        o = self.options
        epochs = self.step // self._streams.chunks
        return o.learning_rate * SCHEDULES[o.schedule](self.done) * o.decay**epochs

    def run(self) -> CharLM:
        """Trains until a limit is reached, a callback calls `stop`, or Ctrl-C is pressed.

        In each case the run ends cleanly, with a checkpoint if there is an `output`: Ctrl-C (and
        the signals TERM and HUP, unless they are ignored) ends it after the step at hand; pressed
        again, at once and without. While it lasts, no other run can write to `output`. Where a
        callback fails, the run is saved before the error goes on.

        A run that has diverged ends at the first validation, checkpoint or hundredth step that
        finds it, without a checkpoint.

        Returns:
            The model.

        Raises:
            TrainingError: training diverged: the loss or the model is not finite, or the loss is
                more than three times that of guessing. The last checkpoint stays.
            CheckpointError: a checkpoint cannot be written, or another run writes to `output`.
        """
        self.stopped = self.interrupted_by = None
        self._told = set()
        self._started = time.monotonic()
        self.model.train()
        self.optimizer.zero_grad()  # each step leaves zeros for the next
        try:
            with ExitStack() as stack:
                if self.output is not None:
                    with output_errors(self.output):
                        stack.enter_context(_files.claim(self.output))
                stack.enter_context(ending(self._interrupt))
                self._run()
        finally:
            self._seconds, self._started = self.seconds, None
        for callback in self.callbacks:
            callback.on_end(self)
        return self.model

    def stop(self) -> None:
        """Ends the run after the step at hand; for callbacks."""
        self.stopped = self.stopped or "stopped"

    def _interrupt(self, number: Signals) -> None:
        self.stopped, self.interrupted_by = "interrupted", number

    def validate(self) -> float:
        """Measures the loss on the validation text, in bits per character.

        Raises:
            TrainingError: the loss is not finite.
        """
        self.validation_bits = self.model.evaluate(
            self._validation, streams=self.options.batch, seq_len=self.options.seq_len
        )
        if not math.isfinite(self.validation_bits):
            raise TrainingError(diverged(f"validation gave {self.validation_bits}", self.step))
        for callback in self.callbacks:
            callback.on_validation(self)
        return self.validation_bits

    def save(self, path: AnyPath) -> None:
        """Writes the model and all that the run needs to go on bit by bit.

        Raises:
            CheckpointError: the file cannot be written, or what goes into it is not finite.
        """
        optimizer = self.optimizer.state_dict()
        states = self._state if isinstance(self._state, tuple) else (self._state,)
        tensors = self.model.state_dict()
        tensors |= {f"training.optimizer.{k}": v for k, v in optimizer.pop("buffers").items()}
        tensors |= {
            f"training.state.{i}": to_host(s) for i, s in enumerate(states) if s is not None
        }
        training = {
            "options": asdict(self.options),
            "source": self.source,
            "text_sha256": self._text_digest,
            "step": self.step,
            "seconds": self.seconds,
            "optimizer": optimizer,
            "generators": self.model.generator_state(),
            "training_bits": self.training_bits,
            "validation_bits": self.validation_bits,
        }
        save_checkpoint(path, Checkpoint(self.model.describe(), training, tensors))

    @classmethod
    def resume(
        cls,
        path: AnyPath,
        text: str,
        *,
        output: AnyPath | None = None,
        callbacks: Sequence[Callback] = (),
        device: str | None = None,
        **changes: Any,
    ) -> Trainer:
        """Takes up a run where a checkpoint left it, bit by bit if on the same device.

        Args:
            path: a checkpoint of `Trainer`.
            text: the text that the run trains on.
            output: the file for checkpoints; None for `path`.
            callbacks: listeners.
            device: where the model is to be, "cpu" or "cuda"; None for "cpu".
            changes: new values of options; limits and intervals alone may change.

        Raises:
            CheckpointError: the file is damaged, or holds a model alone.
            TextError: the text is another than before.
            ValueError: an option cannot change.
        """
        checkpoint = load_checkpoint(path)
        training = checkpoint.training
        if not training:
            raise CheckpointError(f"{path}: holds a model alone, no training run to resume")
        fixed = [name for name in changes if name not in RESUME_OPTIONS]
        if fixed:
            raise ValueError(
                f"{fixed[0]}: cannot change when a run is resumed; "
                f"what can: {', '.join(RESUME_OPTIONS)}"
            )
        options = stored_options(path, checkpoint)
        check_same_text(path, checkpoint, text)
        trainer = cls(
            CharLM.from_checkpoint(checkpoint, path, device),
            text,
            replace(options, **changes),
            output=path if output is None else output,
            source=stored_source(path, checkpoint),
            callbacks=callbacks,
        )
        with stored(path):
            trainer._restore(training, checkpoint.tensors)
        return trainer

    def _restore(self, training: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
        self.model.set_generator_state(training["generators"])
        buffers = part(tensors, "training.optimizer.")
        self.optimizer.load_state_dict({**training["optimizer"], "buffers": buffers})
        self._state = recurrent_state(tensors, self.model.config, self.options.batch)
        self._streams.position = checks.count("step", training["step"])
        self._seconds = checks.number(
            "seconds", training["seconds"], 0, sys.float_info.max, open_high=True
        )
        for name in ("training_bits", "validation_bits"):
            bits = training[name]
            setattr(self, name, None if bits is None else checks.number(name, bits, 0))

    def _run(self) -> None:
        for callback in self.callbacks:
            callback.on_start(self)
        while self.stopped is None and self.done < 1:
            self._train_step()
            with self._saved_on_failure():
                self._after_step()
        self.stopped = self.stopped or "finished"
        self._check_divergence()
        with self._saved_on_failure():
            self._finish()

    @contextmanager
    def _saved_on_failure(self) -> Iterator[None]:
        """Saves the run if a callback fails: between two steps it can go on from there."""
        try:
            yield
        except (CheckpointError, TrainingError):
            raise
        except Exception:
            if self.output is not None and self._divergence() is None:
                with suppress(CheckpointError):
                    self.save(self.output)
            raise

    def _train_step(self) -> None:
        begin = time.perf_counter()
        self.optimizer.lr = self.learning_rate
        chunk = self._streams.next()
        state = None if chunk.starts else self._state
        mean, self._state = self.model.learn(chunk.x, chunk.targets, state)
        loss = float(mean)  # of a device: waits for it
        if not math.isfinite(loss):
            raise TrainingError(diverged(f"the loss is {loss}", self.step))
        self.optimizer.step(
            clip_norm=self.options.clip_norm or None,
            clip_value=self.options.clip_value or None,
            zero_grad=True,
        )
        self.training_bits = _smooth(self.training_bits, loss / math.log(2))
        self._step_seconds = _smooth(self._step_seconds, time.perf_counter() - begin)

    def _after_step(self) -> None:
        self._told = set()
        for callback in self.callbacks:
            callback.on_step(self)
        if self.stopped is not None or self.done >= 1:
            return  # the run ends here, and `_finish` does the rest
        o = self.options
        every = {"validation": o.validate_every, "sample": o.sample_every}
        if self.output is not None:
            every["checkpoint"] = o.checkpoint_every
        due = {event for event, steps in every.items() if self._due(steps)}
        if due & {"validation", "checkpoint"} or (
            self._due(_LOOK_EVERY) and self._looks_diverged()
        ):
            self._check_divergence()
        self._tell(due)

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _finish(self) -> None:
        events = {"checkpoint"} if self.output is not None else set()
        if self.stopped == "finished":
            events |= {"validation", "sample"}
        again = "checkpoint" in self._told
        self._tell(events - self._told)  # a limit of time may be met after the step's own events
        if again and self.output is not None:
            self.save(self.output)  # with the time that the run took

    def _tell(self, events: set[str]) -> None:
        self._told |= events
        if "validation" in events and self._validation.size:
            self.validate()
        if "sample" in events:
            self._sample()
        if "checkpoint" in events and self.output is not None:
            self._checkpoint(self.output)

    def _sample(self) -> None:
        if self.options.sample_length == 0 or not self.callbacks:
            return
        try:
            text = self.model.sample(self.options.sample_length, temperature=0.7, seed=self.step)
        except ValueError as error:
            raise TrainingError(diverged(str(error), self.step)) from error
        for callback in self.callbacks:
            callback.on_sample(self, text)

    def _checkpoint(self, path: Path) -> None:
        self.save(path)
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)

    def _looks_diverged(self) -> bool:
        """Whether the training loss, which costs nothing, calls for a check of the model."""
        bits = self.training_bits
        return bits is not None and much_worse_than_guessing(self.model, bits)

    def _check_divergence(self) -> None:
        trouble = self._divergence()
        if trouble is not None:
            raise TrainingError(trouble)

    def _divergence(self) -> str | None:
        return divergence(self.model, self.optimizer, self._first_chunk, self.step)


def _smooth(mean: float | None, value: float) -> float:
    return value if mean is None else mean + _SMOOTHING * (value - mean)
