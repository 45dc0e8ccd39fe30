"""A character model learns with each cell of the zoo."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from rnnfast.cells import ZOO
from rnnfast.training import CharLM, CharLMConfig, CharLMTrainer, TrainingOptions, Vocabulary

TEXT = "the quick brown fox jumps over the lazy dog. " * 60
SIZE = 24  # also of the embedding, as some cells read their input
# With the small steps of their papers, oscillators remember input for much longer than a word.
FASTER = {"cornn": {"dt": 0.3}, "unicornn": {"dt": 0.7}}
UNIFORM = len(set(TEXT)).bit_length() - 1  # a lower bound on the bits per character before training


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("cell", ZOO)
def test_a_model_learns(cell: str) -> None:
    step = partial(ZOO[cell].step, **FASTER.get(cell, {}))
    made = replace(ZOO[cell], step=step) if cell in FASTER else cell
    config = CharLMConfig(cell=made, hidden_size=SIZE, embedding_size=SIZE)
    model = CharLM(Vocabulary(TEXT), config, seed=1)
    options = TrainingOptions(
        steps=120, batch=16, seq_len=16, learning_rate=1e-2, schedule="constant", validation=0.1
    )
    trainer = CharLMTrainer(model, TEXT, options)
    assert trainer.validate() > UNIFORM
    trainer.run()
    assert trainer.validation_bits is not None
    assert trainer.validation_bits < 0.9 * UNIFORM, f"{trainer.validation_bits:.2f} bits"
