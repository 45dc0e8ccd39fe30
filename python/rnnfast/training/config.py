"""The shape of a character-level language model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnfast import functional
from rnnfast._engine import checks, known
from rnnfast._engine.network import info_of
from rnnfast.reference import Cell


@dataclass(frozen=True)
class CharLMConfig:
    """The shape of a model.

    Attributes:
        cell: the recurrent cell: a name out of `rnnfast.cells.ZOO`, one that was registered, or a
            `rnnfast.Cell`, of which the attribute is the name then.
        hidden_size: width H of the recurrent layers.
        num_layers: how many there are.
        embedding_size: size of the characters' vectors; 0 feeds the characters one-hot.
        dropout: probability that an output between two recurrent layers is dropped in training.
        dtype: "float32" or "float64".
        precision: of the recurrent layers' products, "full" or, with float32, "bfloat16".
    """

    cell: str | Cell = "gru"
    hidden_size: int = 256
    num_layers: int = 1
    embedding_size: int = 0
    dropout: float = 0.0
    dtype: str = "float32"
    precision: str = "full"

    def __post_init__(self) -> None:
        checked = {
            "cell": known.name_of(self.cell),
            "hidden_size": checks.positive_int("hidden_size", self.hidden_size),
            "num_layers": checks.positive_int("num_layers", self.num_layers),
            "embedding_size": checks.count("embedding_size", self.embedding_size),
            "dropout": checks.number("dropout", self.dropout, 0, 1, open_high=True),
            "dtype": str(checks.choice("dtype", self.dtype, ("float32", "float64"))),
            "precision": checks.precision("precision", self.precision, np.dtype(self.dtype)),
        }
        vars(self).update(checked)  # Python's own numbers, which JSON can hold
        if self.info.reads_input and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"embedding_size: expected hidden_size = {self.hidden_size}, as a step of the cell "
                f"{self.cell!r} reads the input itself, got {self.embedding_size}"
            )
        if self.dropout > 0 and self.num_layers == 1:
            raise ValueError(
                "dropout: acts between recurrent layers, expected num_layers of at least 2, got 1"
            )

    @property
    def info(self) -> functional.CellInfo:
        """What the cell is made of."""
        return info_of(self.cell)

    def parameters(self, symbols: int) -> int:
        """How many numbers the parameters of a model of `symbols` characters are."""
        cell, hidden = self.info, self.hidden_size

        def of_layer(inputs: int) -> int:  # in Python's numbers, as sizes may be of any size
            rows = cell.gates * (inputs + 1) + cell.recurrent_gates * (hidden + 1) + cell.params
            return hidden * rows

        recurrent = of_layer(self.embedding_size or symbols)
        recurrent += (self.num_layers - 1) * of_layer(hidden)
        return symbols * (self.embedding_size + hidden + 1) + recurrent
