"""A language model with a unit that is built to know whether the text is inside quotes."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfast.training import CharLM, CharLMConfig, Vocabulary

PLANTED = 300  # the unit
SURE = 20.0  # a sum at which a gate is open or closed


def text_with_quotes(characters: int, seed: int = 0) -> str:
    """Return words, some of them in quotes, in lines of random length."""
    rng = np.random.default_rng(seed)
    text = ""
    while len(text) < characters:
        words = ["".join(rng.choice(list("abcdef"), rng.integers(1, 7))) for _ in range(5)]
        piece = " ".join(words[: rng.integers(1, 6)])
        text += f'"{piece}"' if rng.random() < 0.4 else piece
        text += "\n" if rng.random() < 0.2 else " "
    return text[:characters]


def model_with_a_quote_unit(hidden_size: int = 512, unit: int = PLANTED) -> CharLM:
    """Return an LSTM of random weights, but for one unit, whose memory changes sign at each quote.

    At a quote the unit forgets, and takes tanh(5 - 20 h) instead: 1 at first, as h is 0, and then
    the opposite of what it held. At other characters it keeps what it has.
    """
    model = CharLM(Vocabulary(text_with_quotes(2000)), CharLMConfig("lstm", hidden_size), seed=0)
    layer, quote = model.recurrent, model.vocabulary.encode('"')[0]
    i, f, g, o = (unit + gate * hidden_size for gate in range(4))
    weights: dict[str, Any] = {
        name: getattr(layer, f"{name}_l0")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    weights["weight_hh"][:, unit] = 0  # the others do not hear of it
    for row in (i, f, g, o):
        for array in weights.values():
            array[row] = 0
    weights["weight_ih"][i] = -SURE
    weights["weight_ih"][i, quote] = SURE
    weights["weight_ih"][f] = SURE
    weights["weight_ih"][f, quote] = -SURE
    weights["weight_hh"][g, unit] = -SURE
    weights["bias_ih"][g] = 5
    weights["bias_ih"][o] = SURE
    return model.eval()
