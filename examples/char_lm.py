"""Train a small language model on the Python standard library for a minute, then sample from it.

python examples/char_lm.py [FILE...]
"""

from __future__ import annotations

import sys

from rnnfast.training import (
    Callback,
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    PrintProgress,
    Trainer,
    TrainingOptions,
    Vocabulary,
    read_text,
    stdlib_text,
)


class StopWhenGood(Callback):
    """A callback that ends the run early once the model is good enough."""

    def on_validation(self, trainer: Trainer) -> None:
        """Stop the trainer if the validation loss is below 1.5 bits per character."""
        if trainer.validation_loss is not None and trainer.validation_loss < 1.5:
            trainer.stop()


def main() -> None:
    """Train the model, then sample at three temperatures."""
    text = read_text(sys.argv[1:]) if sys.argv[1:] else stdlib_text()
    model = CharLM(Vocabulary(text), CharLMConfig(cell="gru", hidden_size=192), seed=0)
    options = TrainingOptions(minutes=1, sample_every=0)
    trainer = CharLMTrainer(model, text, options, callbacks=[PrintProgress(), StopWhenGood()])
    trainer.run()
    for temperature in (0.3, 0.7, 1.0):
        print(f"\ntemperature {temperature}:")
        print(model.sample(200, temperature=temperature, seed=0))


if __name__ == "__main__":
    main()
