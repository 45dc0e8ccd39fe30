"""The shape of a character-level language model."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from rnnfast import _checks, functional


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
        checked = {
            "cell": _checks.choice("cell", self.cell, functional.cells()),
            "hidden_size": _checks.positive_int("hidden_size", self.hidden_size),
            "num_layers": _checks.positive_int("num_layers", self.num_layers),
            "embedding_size": _checks.count("embedding_size", self.embedding_size),
            "dropout": _checks.number("dropout", self.dropout, 0, 1, open_high=True),
            "dtype": str(_checks.choice("dtype", self.dtype, ("float32", "float64"))),
            "precision": _checks.precision("precision", self.precision, np.dtype(self.dtype)),
        }
        vars(self).update(checked)  # Python's own numbers, which JSON can hold
        if self.dropout > 0 and self.num_layers == 1:
            raise ValueError(
                "dropout: acts between recurrent layers, expected num_layers of at least 2, got 1"
            )

    def parameters(self, symbols: int) -> int:
        """How many numbers the parameters of a model of `symbols` characters are."""
        shapes, hidden = functional.cells()[self.cell].shapes, self.hidden_size
        widths = [self.embedding_size or symbols] + [hidden] * (self.num_layers - 1)
        weights = sum(prod(shape) for width in widths for shape in shapes(width, hidden).values())
        return symbols * (self.embedding_size + hidden + 1) + weights
