"""A character-level language model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast import decoding, losses
from rnnfast._engine import backends, checks, seeds
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast._engine.known import graph_of, name_of_graph
from rnnfast._engine.memory import check_memory
from rnnfast._files import AnyPath
from rnnfast.layers.arrays import ArrayCall
from rnnfast.layers.dense import Embedding, Linear
from rnnfast.layers.module import Module
from rnnfast.layers.recurrent import Recurrent, RecurrentCall
from rnnfast.layers.states import State
from rnnfast.layers.stream import Stream
from rnnfast.layers.stream_layers import StreamLayer
from rnnfast.training.batches import IGNORED, cover
from rnnfast.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    check_sizes,
    load_checkpoint,
    save_checkpoint,
)
from rnnfast.training.config import CharLMConfig
from rnnfast.training.stored_vocabulary import vocabulary_from_json
from rnnfast.training.text import TextError
from rnnfast.training.vocabulary import Vocabulary


class CharLM(Module):
    """Language model of recurrent layers and a linear layer with a softmax over characters.

    `model(x, state)` returns the logits of the characters that follow x, and the state to continue
    from. The attributes `embedding` (None if one-hot), `recurrent` and `head` are the layers.

    Attributes:
        vocabulary: The V characters that the model reads and writes.
        config: The shape of the model.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: CharLMConfig | None = None,
        *,
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        """Create a model with random weights.

        Args:
            vocabulary: The characters that the model reads and writes.
            config: The shape of the model; None for the default one.
            seed: Seed of the weights and of dropout; None draws a random seed.
            device: Device of the layers, "cpu" or "cuda"; None for "cpu".

        Raises:
            ValueError: The seed is negative, the device is unknown, or memory is too small.
            TypeError: An argument is of the wrong type.
            DeviceError: The device is not available.
        """
        config = CharLMConfig() if config is None else config
        checks.of_type("vocabulary", vocabulary, Vocabulary)
        checks.of_type("config", config, CharLMConfig)
        super().__init__(device)
        self.vocabulary = vocabulary
        self.config = config
        chosen = seeds.chosen(seed)
        size = config.parameters(len(vocabulary))
        check_memory(
            f"hidden_size, num_layers, embedding_size: these sizes need {size:,} parameters, "
            "which take, with their gradients,",
            2 * size * np.dtype(config.dtype).itemsize,
        )
        numbers = [int(s) for s in np.random.SeedSequence(chosen).generate_state(3)]
        inputs = config.embedding_size or len(vocabulary)
        self.embedding = (
            Embedding(len(vocabulary), inputs, dtype=config.dtype, seed=numbers[0], device=device)
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
            seed=numbers[1],
            device=device,
        )
        self.head = Linear(
            config.hidden_size, len(vocabulary), dtype=config.dtype, seed=numbers[2], device=device
        )

    def __call__(
        self, x: NDArray[np.integer[Any]], state: State | None = None
    ) -> tuple[RealArray, State]:
        """Run over a piece of text.

        Args:
            x: Character ids (T, B).
            state: The state after what came before; None at the start of a text.

        Returns:
            Logits (T, B, V) of the next characters, and the state after the last one.
        """
        y, state = self.recurrent(x if self.embedding is None else self.embedding(x), state)
        return self.head(y), state

    def stream(self, batch: int = 1) -> Stream[tuple[State]]:
        """Go through texts character by character.

        Args:
            batch: The number B of texts that the stream processes together.

        Returns:
            A stream from ids (B,) to logits (B, V), with the weights as they are at this call.
        """
        return Stream(self._stream_layers(), batch)

    def _stream_layers(self) -> list[StreamLayer]:
        parts = [self.embedding, self.recurrent, self.head]
        return [layer for part in parts if part is not None for layer in part._stream_layers()]

    def backward(self, dlogits: RealArray) -> None:
        """Add the gradients of the parameters.

        Args:
            dlogits: The gradient of the last call's logits (T, B, V).

        Raises:
            RuntimeError: There was no preceding call in training mode, or more than one.
        """
        _backward(self.head, self.recurrent, self.embedding, dlogits)

    def learn(
        self, x: NDArray[np.int64], targets: NDArray[np.int64], state: State | None = None
    ) -> tuple[float, State]:
        """Compute the loss of a piece of text, and add its gradients to those of the parameters.

        Args:
            x: Character ids (T, B).
            targets: Ids of the characters that follow (T, B).
            state: The state after what came before; None at the start of a text.

        Returns:
            The mean loss per character in nats, an array of shape () if the model is on a device,
            and the state after the last character.
        """
        embedding = None if self.embedding is None else self.embedding.call(x)
        recurrent = self.recurrent.call(x if embedding is None else embedding.y, state)
        head = self.head.call(recurrent.y)
        loss, dlogits = losses.softmax_cross_entropy(head.y, targets)
        _backward(head, recurrent, embedding, dlogits)
        return loss, recurrent.state

    def bits_per_character(self, text: str, unknown_bits: float | None = None) -> float:
        """Measure how well the model predicts every character of a text but the first.

        A model of bytes is measured in bits per byte.

        Args:
            text: The text.
            unknown_bits: Bits to count for each character that is not in the vocabulary, such as
                `UNKNOWN_BITS`; the model skips these characters. None raises an error for them.

        Raises:
            UnknownCharacterError: The text has a character that is not in the vocabulary.
            TextError: The text is shorter than two characters.
        """
        if unknown_bits is None:
            return self.evaluate(self.vocabulary.encode(text))
        checks.number("unknown_bits", unknown_bits, 0)
        known, unknown = self.vocabulary.encode_known(text)
        if not unknown:
            return self.evaluate(known)
        predicted = max(0, known.size - 1)
        bits = self.evaluate(known) * predicted if predicted else 0.0
        return (bits + unknown * unknown_bits) / (predicted + unknown)

    def evaluate(self, ids: NDArray[np.int64], *, streams: int = 32, seq_len: int = 128) -> float:
        """Measure how well the model predicts a text, in bits per character.

        The text is read as several pieces of equal length side by side, each from a zero state.

        Args:
            ids: The text as character ids (N,).
            streams: The largest number of pieces; fewer are used if they would be shorter than
                1,000 characters, because the start of a piece is harder to predict.
            seq_len: Characters processed per call, which does not affect the result.

        Raises:
            TextError: The text is shorter than two characters.
        """
        checks.positive_int("streams", streams)
        checks.positive_int("seq_len", seq_len)
        if ids.size < 2:
            raise TextError(
                f"text: expected at least 2 {self.vocabulary.unit}s to predict, got {ids.size}"
            )
        streams = max(1, min(streams, ids.size // 1000))
        total, state = 0.0, None
        with self.evaluating():
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
        top_p: float = 1.0,
        stop: str = "",
        seed: int | None = None,
    ) -> Iterator[str]:
        """Generate text one character at a time; the model must not change in the meantime.

        Args:
            prime: The text to continue, which is not repeated; by default the start of a line.
            length: The number of characters to generate, or of bytes for a model of bytes; None
                for no limit.
            temperature: Divisor of the logits; 0 always takes the most likely character.
            top_k: The number of most likely characters to draw from; 0 for all.
            top_p: Draw from the smallest set of most likely characters whose probabilities sum up
                to at least `top_p`; 1 for all.
            stop: A string that ends the text once generated; empty for none.
            seed: Seed of the draws; None draws a random seed.

        Raises:
            UnknownCharacterError: A character of `prime` or `stop` is not in the vocabulary.
            ValueError: `length`, `temperature`, `top_k` or `seed` is negative, or `top_p` is not
                in [0, 1]; or, during generation, the model's logits are not finite.
            TypeError: An argument is of the wrong type.
        """
        checks.of_type("stop", stop, str)
        steps = decoding.generate(
            *self.primed(prime),
            length=length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            stop=self.vocabulary.encode(stop),
            seed=seed,
        )
        return self.vocabulary.spell(tokens.item() for _, tokens in steps)

    def primed(self, prime: str = "", batch: int = 1) -> tuple[Stream[tuple[State]], IntArray]:
        """Return what the functions of `rnnfast.decoding` need to continue a text.

        Args:
            prime: The text to continue; by default the start of a line.
            batch: The number B of continuations.

        Returns:
            A stream of B sequences that have read the text but for its last character, and the id
            of that character, (B,).

        Raises:
            UnknownCharacterError: A character of `prime` is not in the vocabulary.
            ValueError: `batch` is not positive.
            TypeError: An argument is of the wrong type.
        """
        checks.of_type("prime", prime, str)
        batch = checks.positive_int("batch", batch)
        ids = self.vocabulary.encode(prime or self.vocabulary.start())
        with self.evaluating():
            stream = self.stream()
            if ids.size > 1:
                stream.state = (self(ids[:-1, None])[1],)
        return stream.copy([0] * batch), ids[-1:].repeat(batch)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the model into evaluation mode inside a `with` block."""
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
        top_p: float = 1.0,
        stop: str = "",
        seed: int | None = None,
    ) -> str:
        """Generate a text of `length` characters as one string.

        Arguments and errors are those of `generate`, except that `length` cannot be None.
        """
        checks.count("length", length)
        return "".join(
            self.generate(
                prime,
                length=length,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                stop=stop,
                seed=seed,
            )
        )

    def describe(self) -> dict[str, Any]:
        """Return the configuration, vocabulary and equations as JSON values for checkpoints.

        Equations are included only if the cell is not a compiled one.
        """
        graph = graph_of(self.recurrent.cell)
        cell = {} if graph is None else {"cell": graph}
        return {"config": asdict(self.config), "vocabulary": self.vocabulary.as_json(), **cell}

    def save(self, path: AnyPath) -> None:
        """Write the model to a safetensors file.

        Raises:
            CheckpointError: The file cannot be written, or a parameter is not finite.
        """
        save_checkpoint(path, Checkpoint(self.describe(), tensors=self.state_dict()))

    @classmethod
    def load(cls, path: AnyPath, device: str | None = None) -> CharLM:
        """Load a model, in evaluation mode, from a checkpoint of `save` or of a training run.

        The checkpoint may have been written on any device. The equations of a cell are read as
        data: no code from the file is run, and the program that wrote it is not needed.

        Raises:
            CheckpointError: The file is not a complete checkpoint.
        """
        return cls.from_checkpoint(load_checkpoint(path), path, device).eval()

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, path: AnyPath, device: str | None = None
    ) -> CharLM:
        """Build the model that a checkpoint read from `path` describes, in training mode.

        Raises:
            CheckpointError: The checkpoint does not describe a valid model.
            DeviceError: The device is not available.
        """
        backends.get(device)
        try:
            described = checkpoint.model["config"]
            if "cell" in checkpoint.model:
                described = described | {"cell": name_of_graph(checkpoint.model["cell"])}
            config = CharLMConfig(**described)
            vocabulary = vocabulary_from_json(checkpoint.model["vocabulary"])
            tensors = {n: t for n, t in checkpoint.tensors.items() if not n.startswith("training.")}
            check_sizes(tensors, config.parameters(len(vocabulary)))
            model = cls(vocabulary, config, seed=0, device=device)
            model.load_state_dict(tensors)
        except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
            raise CheckpointError(
                f"{path}: contains no model that can be built: {error}"
            ) from error
        return model


def _backward(
    head: Linear | ArrayCall,
    recurrent: Recurrent | RecurrentCall,
    embedding: Embedding | ArrayCall | None,
    dlogits: RealArray,
) -> None:
    """Backpropagate through the layers of a model, or through calls of them."""
    dx, _ = recurrent.backward(head.backward(dlogits), need_dx=embedding is not None)
    if embedding is not None:
        assert dx is not None
        embedding.backward(dx)
