"""Training of a character-level language model on a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast._engine.backends import to_host
from rnnfast._files import AnyPath
from rnnfast.data.text_file import StreamBatch
from rnnfast.layers.states import State
from rnnfast.training.batches import Streams
from rnnfast.training.callbacks import Callback
from rnnfast.training.carried import CarriedState
from rnnfast.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from rnnfast.training.divergence import (
    TrainingError,
    diverged,
    divergence,
    much_worse_than_guessing,
)
from rnnfast.training.model import CharLM
from rnnfast.training.options import SCHEDULES, TrainingOptions
from rnnfast.training.run_state import (
    RESUME_OPTIONS,
    callback_states,
    items_of,
    load_callback_states,
    optional_number,
    seconds_of,
    stored_items,
)
from rnnfast.training.states import flatten, unflatten
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
from rnnfast.training.trainer import Trainer


class CharLMTrainer(Trainer):
    """Trains a model on a text by truncated backpropagation through time.

    All losses are in bits per character: `training_loss`, `validation_loss` and those in `history`.

    Attributes:
        source: Names of the text's files, kept in checkpoints; empty if the text has none.
    """

    model: CharLM
    options: TrainingOptions
    loss_format = ".3f"

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
        """Prepare a run.

        Args:
            model: The model to train, in place.
            text: The text to train on; its end is held out for validation.
            options: Options of the run; None for the defaults.
            output: The file for checkpoints; None writes none. The first checkpoint replaces an
                existing file; use `CharLMTrainer.resume` to continue from it instead.
            source: Names of the text's files, to keep in checkpoints.
            callbacks: Callbacks to call at the events of the run.

        Raises:
            TextError: The text is too short, or has characters that are not in the vocabulary.
            CheckpointError: `output` cannot be written, or is not a regular file.
            TypeError: An argument is of the wrong type.
        """
        options = TrainingOptions() if options is None else options
        checks.of_type("model", model, CharLM)
        checks.of_type("text", text, str)
        checks.of_type("options", options, TrainingOptions)
        ids = model.vocabulary.encode(text)
        held_out = options.held_out(ids.size)
        streams = Streams(ids[: ids.size - held_out], options.batch, options.seq_len)
        if options.validation and held_out < 2:
            raise TextError(
                "validation: expected a fraction of the text with at least 2 characters, got "
                f"{options.validation} of {ids.size} characters, which is {held_out}; use a longer "
                "text or validation = 0"
            )
        self._held_out = ids[ids.size - held_out :]
        self._text_digest = text_digest(text)
        self._first_chunk = streams.chunk(0)
        self._carried = CarriedState(_learn)
        self.source = [source] if isinstance(source, str) else [str(name) for name in source]
        super().__init__(
            model,
            streams,
            self._carried,
            optimizer=options.make_optimizer(model.parameters()),
            options=options,
            items=lambda chunk: int(chunk.x.size),
            output=output,
            callbacks=callbacks,
        )

    @property
    def item(self) -> str:  # type: ignore[override]
        """The unit that the model reads: "char", "byte" or "token"."""
        return self.model.vocabulary.short_unit

    @property
    def loss_unit(self) -> str:  # type: ignore[override]
        """The unit of losses: bits per character, byte or token."""
        return f"bits/{self.item}"

    @property
    def validates(self) -> bool:
        """Whether part of the text is held out for validation."""
        return bool(self._held_out.size)

    @property
    def training_bits(self) -> float | None:
        """Running mean of the training loss in bits per character; None before the first step."""
        return self.training_loss

    @property
    def validation_bits(self) -> float | None:
        """The last validation loss in bits per character; None before the first validation."""
        return self.validation_loss

    @property
    def characters_per_second(self) -> float:
        """Characters that training reads per second, not counting validation and the like."""
        return self.items_per_second

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        o = self.options
        return o.learning_rate * SCHEDULES[o.schedule](self.done) * o.decay ** int(self.epoch)

    def loss_text(self, loss: float) -> str:
        """Format a loss for progress output."""
        return f"{loss:{self.loss_format}} {self.loss_unit}"

    def run(self) -> CharLM:
        """Train as `Trainer.run` does, and return the model.

        Raises:
            TrainingError: Training diverged: the loss or the model is not finite, or the loss is
                more than three times that of guessing. The last checkpoint is kept.
            CheckpointError: A checkpoint cannot be written, or another run writes to `output`.
        """
        super().run()
        return self.model

    def save(self, path: AnyPath) -> None:
        """Save the model and all state needed to continue the run with the same bits.

        Raises:
            CheckpointError: The file cannot be written, or a value to write is not finite.
        """
        optimizer = self.optimizer.state_dict()
        state = self._carried.state
        states = state if isinstance(state, tuple) else (state,)
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
            "items": stored_items(self.items_read),
            "chunks": self._streams.position,
            "seconds": self.seconds,
            "optimizer": optimizer,
            "generators": self.model.generator_state(),
            "training_bits": self.training_bits,
            "validation_bits": self.validation_bits,
        }
        report = {
            "history": self.history.state_dict(),
            "callbacks": callback_states(self.callbacks),
        }
        training["report"] = flatten(report, "training.report", tensors)
        save_checkpoint(path, Checkpoint(self.model.describe(), training, tensors))

    def restore(self, path: AnyPath) -> None:
        """Continue the run of a checkpoint, which must have this run's model, text and options.

        Raises:
            CheckpointError: The file is damaged, or its run does not fit this one.
        """
        checkpoint = load_checkpoint(path)
        with stored(path):
            weights = {n: t for n, t in checkpoint.tensors.items() if not n.startswith("training.")}
            self.model.load_state_dict(weights)
            self._restore(checkpoint.training, checkpoint.tensors)

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
    ) -> CharLMTrainer:
        """Continue a run from a checkpoint, with the same bits if it stays on the same device.

        Args:
            path: A checkpoint written by `CharLMTrainer`.
            text: The text that the run trains on.
            output: The file for checkpoints; None for `path`.
            callbacks: Callbacks to call at the events of the run.
            device: Device of the model, "cpu" or "cuda"; None for "cpu".
            changes: New values of options; only those in `RESUME_OPTIONS` may change.

        Raises:
            CheckpointError: The file is damaged, or holds a model without a run.
            TextError: The text is not the one that the run was trained on.
            ValueError: An option cannot change when a run is resumed.
        """
        checkpoint = load_checkpoint(path)
        training = checkpoint.training
        if not training:
            raise CheckpointError(
                f"{path}: contains only a model, not a training run that can be resumed"
            )
        fixed = [name for name in changes if name not in RESUME_OPTIONS]
        if fixed:
            raise ValueError(
                f"{fixed[0]}: cannot be changed when a run is resumed, unlike "
                f"{', '.join(RESUME_OPTIONS)}"
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
        self._carried.state = recurrent_state(tensors, self.model.config, self.options.batch)
        self.step = checks.count("step", training["step"])
        chunks = checks.count("chunks", training.get("chunks", self.step))
        passes, taken = divmod(chunks, self._streams.chunks)
        position = {"position": chunks}
        self.batches.load_state_dict({"passes": passes, "taken": taken, "batches": position})
        self._clock.before = seconds_of(training)
        self.items_read = items_of(training)
        self.training_loss = optional_number("training_bits", training["training_bits"])
        self.validation_loss = optional_number("validation_bits", training["validation_bits"])
        if "report" in training:  # files of earlier versions have no report
            report = unflatten(training["report"], tensors)
            self.history.load_state_dict(report["history"])
            load_callback_states(self.callbacks, report["callbacks"])

    @property
    def _streams(self) -> Streams:
        streams = self.batches.batches
        assert isinstance(streams, Streams)
        return streams

    def _set_rate(self) -> float:
        rate = self.optimizer.lr = self.learning_rate
        return rate

    def _measure(self) -> float:
        return self.model.evaluate(
            self._held_out, streams=self.options.batch, seq_len=self.options.seq_len
        )

    def _events(self) -> dict[str, tuple[int, Callable[[], None]]]:
        events = super()._events()
        sample = {"sample": (self.options.sample_every, self._sample)}
        return {"validation": events.pop("validation"), **sample, **events}

    def _sample(self) -> None:
        listeners = [c for c in self.callbacks if type(c).on_sample is not Callback.on_sample]
        if self.options.sample_length == 0 or not listeners:
            return
        try:
            text = self.model.sample(self.options.sample_length, temperature=0.7, seed=self.step)
        except ValueError as error:
            raise TrainingError(diverged(str(error), self.step)) from error
        for callback in listeners:
            callback.on_sample(self, text)

    def _looks_diverged(self) -> bool:
        bits = self.training_loss
        return bits is not None and much_worse_than_guessing(self.model, bits)

    def _divergence(self) -> str | None:
        return divergence(self.model, self.optimizer, self._first_chunk, self.step)


def _learn(model: CharLM, chunk: StreamBatch, state: State | None) -> tuple[float, State]:
    """Add the gradients of a chunk, and return its loss in bits and the state after it."""
    mean, state = model.learn(chunk.x, chunk.targets, state)
    return float(mean) / math.log(2), state  # on a device, float() waits for the result
