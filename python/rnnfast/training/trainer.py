"""The training loop of a character-level language model."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from numpy.typing import NDArray

from rnnfast._backend import to_host
from rnnfast.layers import State
from rnnfast.training.batches import Streams
from rnnfast.training.callbacks import Callback
from rnnfast.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    check_writable,
    load_checkpoint,
    save_checkpoint,
)
from rnnfast.training.model import CharLM
from rnnfast.training.options import OPTIMIZERS, SCHEDULES, TrainingOptions
from rnnfast.training.text import Path_, TextError

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
_SMOOTHING = 0.05  # weight of a new step in the running means of loss and time


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is no longer a finite number."""


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
    """

    def __init__(
        self,
        model: CharLM,
        text: str,
        options: TrainingOptions | None = None,
        *,
        output: Path_ | None = None,
        source: Sequence[str] = (),
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Prepares a run.

        Args:
            model: the model to train, in place.
            text: what to train on; its end is kept for validation.
            options: what to do; None for the defaults.
            output: the file for checkpoints; None for none.
            source: names of the text's files, to keep in checkpoints.
            callbacks: listeners.

        Raises:
            TextError: the text is too short, or has characters that the model does not know.
            CheckpointError: `output` cannot be written.
        """
        self.model = model
        self.options = options = options or TrainingOptions()
        self.output = check_writable(output) if output is not None else None
        self.source = list(source)
        self.callbacks = list(callbacks)
        self.optimizer = OPTIMIZERS[options.optimizer](
            model.parameters(), options.learning_rate, **options.optimizer_options
        )
        ids = model.vocabulary.encode(text)
        held_out = int(ids.size * options.validation)
        self._text_digest = _digest(text)
        self._streams = Streams(ids[: ids.size - held_out], options.batch, options.seq_len)
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
        self.stopped: str | None = None

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
        the signal TERM) ends it after the step at hand; pressed again, at once and without.

        Returns:
            The model.

        Raises:
            TrainingError: the loss became infinite or not a number; the last checkpoint stays.
            CheckpointError: a checkpoint cannot be written.
        """
        self.stopped = None
        self._started = time.monotonic()
        self.model.train()
        self.optimizer.zero_grad()  # each step leaves zeros for the next
        try:
            with self._signals():
                for callback in self.callbacks:
                    callback.on_start(self)
                while self.stopped is None and self.done < 1:
                    self._train_step()
                    self._after_step()
                self.stopped = self.stopped or "finished"
                self._finish()
        finally:
            self._seconds, self._started = self.seconds, None
        for callback in self.callbacks:
            callback.on_end(self)
        return self.model

    def stop(self) -> None:
        """Ends the run after the step at hand; for callbacks."""
        self.stopped = self.stopped or "stopped"

    def validate(self) -> float:
        """Measures the loss on the validation text, in bits per character."""
        self.validation_bits = self.model.evaluate(
            self._validation, streams=self.options.batch, seq_len=self.options.seq_len
        )
        for callback in self.callbacks:
            callback.on_validation(self)
        return self.validation_bits

    def save(self, path: Path_) -> None:
        """Writes the model and all that the run needs to go on bit by bit.

        Raises:
            CheckpointError: the file cannot be written.
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
        path: Path_,
        text: str,
        *,
        output: Path_ | None = None,
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
        if _digest(text) != training["text_sha256"]:
            raise TextError(f"{path}: was trained on another text, so it cannot go on with this")
        trainer = cls(
            CharLM.from_checkpoint(checkpoint, path, device),
            text,
            TrainingOptions(**{**training["options"], **changes}),
            output=path if output is None else output,
            source=training["source"],
            callbacks=callbacks,
        )
        trainer._restore(training, checkpoint.tensors)
        return trainer

    def _restore(self, training: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
        self.model.set_generator_state(training["generators"])
        buffers = _part(tensors, "training.optimizer.")
        self.optimizer.load_state_dict({**training["optimizer"], "buffers": buffers})
        states = tuple(_part(tensors, "training.state.").values())
        self._state = None if not states else states if len(states) > 1 else states[0]
        self._streams.position = training["step"]
        self._seconds = training["seconds"]
        self.training_bits = training["training_bits"]
        self.validation_bits = training["validation_bits"]

    def _train_step(self) -> None:
        begin = time.perf_counter()
        self.optimizer.lr = self.learning_rate
        chunk = self._streams.next()
        state = None if chunk.starts else self._state
        mean, self._state = self.model.learn(chunk.x, chunk.targets, state)
        loss = float(mean)  # of a device: waits for it
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {self.step}: training diverged; "
                "lower the learning rate or clip the gradients"
            )
        self.optimizer.step(
            clip_norm=self.options.clip_norm or None,
            clip_value=self.options.clip_value or None,
            zero_grad=True,
        )
        self.training_bits = _smooth(self.training_bits, loss / math.log(2))
        self._step_seconds = _smooth(self._step_seconds, time.perf_counter() - begin)

    def _after_step(self) -> None:
        for callback in self.callbacks:
            callback.on_step(self)
        if self.stopped is not None or self.done >= 1:
            return  # the run ends here, and `_finish` does the rest
        if self._validation.size and self._due(self.options.validate_every):
            self.validate()
        if self._due(self.options.sample_every):
            self._sample()
        if self.output is not None and self._due(self.options.checkpoint_every):
            self._checkpoint(self.output)

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _finish(self) -> None:
        if self.stopped == "finished":
            if self._validation.size:
                self.validate()
            self._sample()
        if self.output is not None:
            self._checkpoint(self.output)

    def _sample(self) -> None:
        if self.options.sample_length == 0 or not self.callbacks:
            return
        text = self.model.sample(self.options.sample_length, temperature=0.7, seed=self.step)
        for callback in self.callbacks:
            callback.on_sample(self, text)

    def _checkpoint(self, path: Path) -> None:
        self.save(path)
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Lets INT and TERM end the run cleanly; a second one does what it always does."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        usual = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

        def handle(number: int, frame: FrameType | None) -> None:
            del number, frame
            self.stopped = "interrupted"
            restore()

        def restore() -> None:
            for number, handler in usual.items():
                signal.signal(number, handler)

        for number in usual:
            signal.signal(number, handle)
        try:
            yield
        finally:
            restore()


def _part(tensors: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The tensors whose names begin with `prefix`, without it, in order of their names."""
    return {k.removeprefix(prefix): tensors[k] for k in sorted(tensors) if k.startswith(prefix)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _smooth(mean: float | None, value: float) -> float:
    return value if mean is None else mean + _SMOOTHING * (value - mean)
