"""A character-level language model."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast import _backend, _checks, functional, losses
from rnnfast._checks import RealArray
from rnnfast.dense import Embedding, Linear
from rnnfast.layers import Recurrent, State
from rnnfast.module import Module
from rnnfast.stream import Stream
from rnnfast.training.batches import IGNORED, cover
from rnnfast.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from rnnfast.training.text import Path_, TextError, Vocabulary


@dataclass(frozen=True)
class CharLMConfig:
    """The shape of a model.

    Attributes:
        cell: name of the recurrent cell, one of `rnnfast.functional.cells()`.
        hidden_size: width H of the recurrent layers.
        num_layers: how many there are.
        embedding_size: size of the characters' vectors; 0 feeds the characters one-hot.
        dropout: probability that an output between two recurrent layers is dropped in training.
        dtype: "float32" or "float64".
        precision: of the recurrent layers' products, "full" or, with float32, "bfloat16".
    """

    cell: str = "gru"
    hidden_size: int = 256
    num_layers: int = 1
    embedding_size: int = 0
    dropout: float = 0.0
    dtype: str = "float32"
    precision: str = "full"

    def __post_init__(self) -> None:
        _checks.choice("cell", self.cell, functional.cells())
        _checks.positive_int("hidden_size", self.hidden_size)
        _checks.positive_int("num_layers", self.num_layers)
        if self.embedding_size != 0:
            _checks.positive_int("embedding_size", self.embedding_size)
        _checks.number("dropout", self.dropout, 0, 1, open_high=True)
        _checks.choice("dtype", self.dtype, ("float32", "float64"))
        _checks.precision("precision", self.precision, np.dtype(self.dtype))
        if self.dropout > 0 and self.num_layers == 1:
            raise ValueError(
                "dropout: acts between recurrent layers, expected num_layers of at least 2, got 1"
            )


class CharLM(Module[None]):
    """A language model: characters, recurrent layers, a linear layer, a softmax.

    `model(x, state)` gives the logits of the characters that follow x, and the state to go on
    with. Attributes `embedding` (None if one-hot), `recurrent` and `head` are the layers.

    Attributes:
        vocabulary: the characters that the model knows, V of them.
        config: the model's shape.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: CharLMConfig | None = None,
        *,
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        """Makes a model with random weights.

        Args:
            vocabulary: the characters to know.
            config: the shape of the model; None for the default one.
            seed: seeds the weights and dropout; None draws fresh ones.
            device: where the layers are, "cpu" or "cuda"; None for "cpu".

        Raises:
            ValueError: a size, the dropout or the name of the cell or device is wrong.
            DeviceError: the device cannot be used here.
        """
        super().__init__(device)
        self.vocabulary = vocabulary
        self.config = config = config or CharLMConfig()
        seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(3)]
        inputs = config.embedding_size or len(vocabulary)
        self.embedding = (
            Embedding(len(vocabulary), inputs, dtype=config.dtype, seed=seeds[0], device=device)
            if config.embedding_size
            else None
        )
        self.recurrent = Recurrent(
            config.cell,
            inputs,
            config.hidden_size,
            config.num_layers,
            dropout=config.dropout,
            dtype=config.dtype,
            precision=config.precision,
            seed=seeds[1],
            device=device,
        )
        self.head = Linear(
            config.hidden_size, len(vocabulary), dtype=config.dtype, seed=seeds[2], device=device
        )

    def __call__(
        self, x: NDArray[np.integer[Any]], state: State | None = None
    ) -> tuple[RealArray, State]:
        """Runs over a piece of text.

        Args:
            x: character ids (T, B).
            state: the state after what came before; None at the start of a text.

        Returns:
            Logits (T, B, V) of the next characters, and the state after the last one.
        """
        y, state = self.recurrent(x if self.embedding is None else self.embedding(x), state)
        return self.head(y), state

    def backward(self, dlogits: RealArray) -> None:
        """Adds the gradients of the parameters.

        Args:
            dlogits: the gradient of the last call's logits (T, B, V).

        Raises:
            RuntimeError: no call in training mode came before.
        """
        dy = self.head.backward(dlogits)
        dx, _ = self.recurrent.backward(dy, need_dx=self.embedding is not None)
        if self.embedding is not None:
            assert dx is not None
            self.embedding.backward(dx)

    def learn(
        self, x: NDArray[np.int64], targets: NDArray[np.int64], state: State | None = None
    ) -> tuple[float, State]:
        """Takes the loss of a piece of text, and adds its gradients to the parameters'.

        Args:
            x: character ids (T, B).
            targets: ids of the characters that follow (T, B).
            state: the state after what came before; None at the start of a text.

        Returns:
            The mean loss a character in nats, of a model on a device as an array of shape (); and
            the state after the last one.
        """
        logits, state = self(x, state)
        loss, dlogits = losses.softmax_cross_entropy(logits, targets)
        self.backward(dlogits)
        return loss, state

    def bits_per_character(self, text: str) -> float:
        """Measures how well the model predicts a text, each character but the first.

        Raises:
            UnknownCharacterError: the text has a character that the model does not know.
            TextError: the text is shorter than two characters.
        """
        return self.evaluate(self.vocabulary.encode(text))

    def evaluate(self, ids: NDArray[np.int64], *, streams: int = 32, seq_len: int = 128) -> float:
        """Measures how well the model predicts a text in bits per character.

        The text is read as several pieces of equal length side by side, each from a zero state.

        Args:
            ids: the text as character ids (N,).
            streams: the most pieces; fewer are used where they would be shorter than 1,000
                characters, since the start of a piece is harder to predict.
            seq_len: characters a call, of no influence on the result.

        Raises:
            TextError: the text is shorter than two characters.
        """
        if ids.size < 2:
            raise TextError(f"text: expected at least 2 characters to predict, got {ids.size}")
        streams = max(1, min(streams, ids.size // 1000))
        total, state = 0.0, None
        with self._evaluating():
            for chunk in cover(ids, streams, seq_len):
                logits, state = self(chunk.x, state)
                counted = int(np.count_nonzero(chunk.targets != IGNORED))
                total += float(losses.cross_entropy(logits, chunk.targets, IGNORED)) * counted
        return total / (ids.size - 1) / math.log(2)

    def generate(
        self,
        prime: str = "",
        *,
        length: int | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        stop: str = "",
        seed: int | None = None,
    ) -> Iterator[str]:
        """Writes text, one character at a time. The model must not change until it is all written.

        Args:
            prime: the text to go on from, which is not repeated; by default a line's start.
            length: how many characters to write; None for no end.
            temperature: divides the logits; 0 always takes the likeliest character.
            top_k: draw from the k likeliest characters alone; 0 for all.
            stop: ends the text once it is written; empty for none.
            seed: seeds the draws; None draws fresh ones.

        Raises:
            UnknownCharacterError: the model does not know a character of `prime` or `stop`.
            ValueError: length, temperature or top_k is negative.
        """
        _checks.number("temperature", temperature, 0, sys.float_info.max, open_high=False)
        _checks.number("top_k", top_k, 0, open_high=True)
        _checks.number("length", length or 0, 0, open_high=True)
        known = self.vocabulary
        ids = known.encode(prime or ("\n" if "\n" in known.characters else known.characters[0]))
        known.encode(stop)
        return self._write(ids, length, temperature, top_k, stop, np.random.default_rng(seed))

    def _write(
        self,
        ids: NDArray[np.int64],
        length: int | None,
        temperature: float,
        top_k: int,
        stop: str,
        generator: np.random.Generator,
    ) -> Iterator[str]:
        with self._evaluating():
            logits, state = self(ids[:, None])
            stream = self.recurrent.stream(state=state)
        tail, written, x = "", 0, np.empty(1, np.int64)
        while written != length:
            last = _backend.to_host(logits.reshape(-1, logits.shape[-1])[-1])
            x[0] = _choose(last, temperature, top_k, generator)
            character = self.vocabulary.characters[x[0]]
            yield character
            written += 1
            if stop:
                tail = (tail + character)[-len(stop) :]
                if tail == stop:
                    return
            if written != length:
                logits = self._step(stream, x)

    def _step(self, stream: Stream, x: NDArray[np.int64]) -> RealArray:
        """The logits (1, V) after one more character (1,)."""
        if self.training:
            with self._evaluating():
                return self._step(stream, x)
        return self.head(stream(x if self.embedding is None else self.embedding(x)))

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Be in evaluation mode for a while."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    def sample(
        self,
        length: int = 500,
        prime: str = "",
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        stop: str = "",
        seed: int | None = None,
    ) -> str:
        """Writes a text of `length` characters; the arguments are those of `generate`."""
        return "".join(
            self.generate(
                prime, length=length, temperature=temperature, top_k=top_k, stop=stop, seed=seed
            )
        )

    def describe(self) -> dict[str, Any]:
        """The configuration and vocabulary as JSON values, for checkpoints."""
        return {"config": asdict(self.config), "vocabulary": self.vocabulary.characters}

    def save(self, path: Path_) -> None:
        """Writes the model to a safetensors file.

        Raises:
            CheckpointError: the file cannot be written.
        """
        save_checkpoint(path, Checkpoint(self.describe(), tensors=self.state_dict()))

    @classmethod
    def load(cls, path: Path_, device: str | None = None) -> CharLM:
        """Reads a model from a checkpoint, whether of `save` or of training; dropout is off.

        Any device reads the checkpoints of any other.

        Raises:
            CheckpointError: the file is no whole checkpoint.
        """
        return cls.from_checkpoint(load_checkpoint(path), path, device).eval()

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, path: Path_, device: str | None = None
    ) -> CharLM:
        """The model that the checkpoint read from `path` describes, in training mode.

        Raises:
            CheckpointError: there is none.
            DeviceError: the device cannot be used here.
        """
        _backend.get(device)
        try:
            config = CharLMConfig(**checkpoint.model["config"])
            vocabulary = Vocabulary(checkpoint.model["vocabulary"])
            model = cls(vocabulary, config, seed=0, device=device)
            names = [p.name for p in model.parameters()]
            model.load_state_dict({name: checkpoint.tensors[name] for name in names})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path}: holds no model that can be built: {error}") from error
        return model


def _choose(
    logits: RealArray, temperature: float, top_k: int, generator: np.random.Generator
) -> int:
    if temperature == 0:
        return int(logits.argmax())
    weights = logits.astype(np.float64)
    if top_k:
        weights[np.argsort(-weights, kind="stable")[top_k:]] = -np.inf
    weights -= weights.max()
    weights /= max(temperature, 1e-300)  # finite quotients; less makes no difference
    np.exp(weights, out=weights)
    np.cumsum(weights, out=weights)
    return int(weights.searchsorted(generator.random() * weights[-1], side="right"))
