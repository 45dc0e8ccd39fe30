"""Compare what each cell of the zoo learns, in bits per character on the same text.

    python benchmarks/zoo.py [--cell NAME ...] [--parameters N] [--steps N] [--seed N]

Each model is an embedding as wide as the state, one layer of the cell and a linear layer, with the
state's size chosen so that all have about the same number of parameters. All read the same text
(the source files of Python's standard library) in the same order for the same number of steps, with
one optimiser and learning rate for all. Nothing is tuned to a cell, so the table does not show the
best that each can do.
"""

from __future__ import annotations

import argparse

from rnnfast.cells import ZOO
from rnnfast.training import (
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    TrainingOptions,
    Vocabulary,
    stdlib_text,
)

TEXT = 1_000_000  # characters


def model_of(cell: str, vocabulary: Vocabulary, parameters: int, seed: int) -> CharLM:
    """Return the model of a cell whose number of parameters comes nearest to `parameters`."""

    def config(size: int) -> CharLMConfig:
        return CharLMConfig(cell=cell, hidden_size=size, embedding_size=size)

    sizes = range(8, 512, 4)
    best = min(sizes, key=lambda n: abs(config(n).parameters(len(vocabulary)) - parameters))
    return CharLM(vocabulary, config(best), seed=seed)


def main() -> None:
    """Train each model and print a Markdown table with the best cell first."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cell", nargs="+", default=list(ZOO), choices=list(ZOO), metavar="NAME")
    parser.add_argument("--parameters", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    text = stdlib_text(TEXT)
    vocabulary = Vocabulary(text)
    rows = []
    for cell in args.cell:
        model = model_of(cell, vocabulary, args.parameters, args.seed)
        options = TrainingOptions(steps=args.steps, batch=32, seq_len=64, learning_rate=3e-3)
        trainer = CharLMTrainer(model, text, options)
        trainer.run()
        assert trainer.validation_bits is not None
        size = model.config.hidden_size
        rows.append((trainer.validation_bits, cell, size, trainer.seconds))
        print(f"{cell}: {trainer.validation_bits:.3f} bits, {trainer.seconds:.0f} s", flush=True)
    print("\n| cell | hidden size | bits a character | seconds |\n|---|---|---|---|")
    for bits, cell, size, seconds in sorted(rows):
        print(f"| `{cell}` | {size} | {bits:.3f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
