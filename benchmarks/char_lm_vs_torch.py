"""Train the same language model with rnnfast and with PyTorch, on the same text.

    python benchmarks/char_lm_vs_torch.py FILE [--epochs N] [--cell lstm] [...]

Both start from the same weights and see the same chunks in the same order, with the same optimiser,
learning rates and clipping; only the dropout masks differ. The script prints each validation loss
in nats and in bits per character, the ratio of the losses, and the times. It needs PyTorch:
`pip install torch`.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

import rnnfast
from rnnfast.training import (
    Callback,
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    TrainingOptions,
    Vocabulary,
    read_text,
)
from rnnfast.training.batches import Streams, cover

TORCH_LAYERS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn_tanh": torch.nn.RNN}


class TorchCharLM(torch.nn.Module):
    """The PyTorch equivalent of `rnnfast.training.CharLM`."""

    def __init__(self, model: CharLM) -> None:
        super().__init__()
        config, self.characters = model.config, len(model.vocabulary)
        inputs = config.embedding_size or self.characters
        if config.embedding_size:
            self.embedding = torch.nn.Embedding(self.characters, inputs)
        self.recurrent = TORCH_LAYERS[config.cell](
            inputs, config.hidden_size, config.num_layers, dropout=config.dropout
        )
        self.head = torch.nn.Linear(config.hidden_size, self.characters)
        state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
        self.load_state_dict(state)

    def forward(self, x: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
        """Return the logits (T, B, V) of the characters that follow x (T, B), and the new state."""
        if hasattr(self, "embedding"):
            vectors = self.embedding(x)
        else:
            vectors = torch.nn.functional.one_hot(x, self.characters).float()
        y, state = self.recurrent(vectors, state)
        return self.head(y), state


def detached(state: object) -> object:
    """Detach the state, so that gradients stop at the chunk boundary."""
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def loss_of(logits: torch.Tensor, targets: np.ndarray) -> torch.Tensor:
    """Return the mean loss per character, in nats."""
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(targets).flatten()
    )


def train_torch(model: TorchCharLM, ids: np.ndarray, options: TrainingOptions) -> float:
    """Train as `CharLMTrainer` does and return the validation loss in bits per character."""
    held_out = int(ids.size * options.validation)
    streams = Streams(ids[: ids.size - held_out], options.batch, options.seq_len)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    total, state = options.epochs * streams.chunks, None
    model.train()
    for step in range(total):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
        chunk = streams.next()
        optimizer.zero_grad()
        logits, state = model(torch.from_numpy(chunk.x), None if chunk.starts else detached(state))
        loss_of(logits, chunk.targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimizer.step()
        if (step + 1) % streams.chunks == 0:
            bits = validate_torch(model, ids[ids.size - held_out :], options)
            report("PyTorch", (step + 1) / streams.chunks, bits)
    return bits


def report(name: str, epoch: float, bits: float | None) -> None:
    """Print a validation loss."""
    print(f"{name} epoch {epoch:.0f}: validation {bits:.4f} bits/char", flush=True)


def validate_torch(model: TorchCharLM, ids: np.ndarray, options: TrainingOptions) -> float:
    """Return the loss in bits per character, computed as `CharLM.evaluate` does."""
    model.eval()
    total, state = 0.0, None
    with torch.no_grad():
        for chunk in cover(ids, max(1, min(options.batch, ids.size // 1000)), options.seq_len):
            logits, state = model(torch.from_numpy(chunk.x), state)
            total += loss_of(logits, chunk.targets).item() * int((chunk.targets >= 0).sum())
    model.train()
    return total / (ids.size - 1) / math.log(2)


def train_rnnfast(model: CharLM, text: str, options: TrainingOptions) -> float:
    """Train with `CharLMTrainer` and return the validation loss in bits per character."""

    class EveryEpoch(Callback):
        def on_validation(self, trainer: CharLMTrainer) -> None:
            report("rnnfast", trainer.epoch, trainer.validation_bits)

    trainer = CharLMTrainer(model, text, options, callbacks=[EveryEpoch()])
    trainer.run()
    assert trainer.validation_bits is not None
    return trainer.validation_bits


def main() -> None:
    """Train both models and print their losses and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="text to train on; its last 10 %% are held out")
    parser.add_argument("--cell", choices=TORCH_LAYERS, default="lstm")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    rnnfast.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)

    text = read_text(arguments.file)
    vocabulary = Vocabulary(text)
    ids = vocabulary.encode(text)
    chunks = (ids.size - int(0.1 * ids.size) - 1) // 50 // 50
    config = CharLMConfig(arguments.cell, 128, 2, dropout=arguments.dropout)
    options = TrainingOptions(
        seq_len=50,
        batch=50,
        learning_rate=arguments.learning_rate,
        clip_norm=5.0,
        epochs=arguments.epochs,
        validation=0.1,
        validate_every=chunks,
        sample_every=0,
        sample_length=0,
    )
    model = CharLM(vocabulary, config, seed=arguments.seed)
    twin = TorchCharLM(model)
    bits, seconds = {}, {}
    for name, train in (
        ("rnnfast", lambda: train_rnnfast(model, text, options)),
        ("PyTorch", lambda: train_torch(twin, ids, options)),
    ):
        start = time.perf_counter()
        bits[name] = train()
        seconds[name] = time.perf_counter() - start
    print(
        f"\nvalidation loss of {arguments.cell}, 2 layers of 128, B = T = 50, "
        f"dropout {arguments.dropout}, {arguments.epochs} epochs of {chunks} steps, "
        f"{arguments.threads} threads"
    )
    for name, b in bits.items():
        print(f"{name:8} {b * math.log(2):.4f} nats = {b:.4f} bits/char, {seconds[name]:.0f} s")
    print(
        f"ratio of the losses {bits['rnnfast'] / bits['PyTorch']:.4f}, "
        f"of the times {seconds['PyTorch'] / seconds['rnnfast']:.2f}"
    )


if __name__ == "__main__":
    main()
