"""Small models and short runs for the tests of training."""

from __future__ import annotations

import numpy as np

from rnnfast.training import CharLM, CharLMConfig, TrainingOptions, Vocabulary, stdlib_text

TEXT = stdlib_text(20_000)
VOCABULARY = Vocabulary(TEXT)
SMALL = CharLMConfig(hidden_size=12, num_layers=2, dropout=0.2)
BRIEF = TrainingOptions(batch=4, seq_len=16, validate_every=0, sample_every=0, checkpoint_every=0)


def options(**changes: object) -> TrainingOptions:
    return TrainingOptions(**{**vars(BRIEF), **changes})


def weight(model: CharLM, name: str) -> np.ndarray:
    return next(p.value for p in model.parameters() if p.name == name)


def assert_same_bits(one: CharLM, other: CharLM) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert a.tobytes() == b.tobytes(), name
