"""The shape of a character-level language model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from rnnfast import functional
from rnnfast._engine import checks, known
from rnnfast._engine.network import info_of
from rnnfast.reference import Cell
from rnnfast.training.option import MODEL, below_one, check_options, documented, one_of, option

_DTYPES = ("float32", "float64")
_option = partial(option, panel=MODEL)


def _cell(_: str, cell: str | Cell) -> str:
    return known.name_of(cell)


@documented
@dataclass(frozen=True)
class CharLMConfig:
    """The shape of a model.

    `cell` is a name in `rnnfast.cells.ZOO`, the name of a registered cell, or a `rnnfast.Cell`,
    which is stored as its name.
    """

    cell: str | Cell = _option("gru", "Recurrent cell.", _cell)  # noqa: RUF009  (a field)
    hidden_size: int = _option(
        256, "Hidden size of each recurrent layer.", checks.positive_int, "--hidden-size", "--width"
    )
    num_layers: int = _option(
        1, "Number of recurrent layers.", checks.positive_int, "--num-layers", "--layers"
    )
    embedding_size: int = _option(
        0, "Size of the embedding vectors of characters; 0 for one-hot vectors.", checks.count
    )
    dropout: float = _option(0.0, "Dropout between recurrent layers during training.", below_one)
    dtype: str = _option(
        _DTYPES[0], f"Data type of the parameters: {', '.join(_DTYPES)}.", one_of(_DTYPES)
    )
    precision: str = _option(
        checks.TRAINED_PRECISIONS[0],
        f"Precision of the recurrent products: {', '.join(checks.TRAINED_PRECISIONS)}.",
        one_of(checks.TRAINED_PRECISIONS),
    )

    def __post_init__(self) -> None:
        check_options(self)
        checks.precision("precision", self.precision, np.dtype(self.dtype))
        if self.info.reads_input and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"embedding_size: expected hidden_size = {self.hidden_size}, as a step of the cell "
                f"{self.cell!r} reads the input itself, got {self.embedding_size}"
            )
        if self.dropout > 0 and self.num_layers == 1:
            raise ValueError(
                "dropout: expected 0 with num_layers = 1, as it acts between recurrent layers, got "
                f"{self.dropout}"
            )

    @property
    def info(self) -> functional.CellInfo:
        """The gates, states and parameters of the cell."""
        return info_of(self.cell)

    def parameters(self, symbols: int) -> int:
        """Return the number of parameter elements of a model of `symbols` characters."""
        cell, hidden = self.info, self.hidden_size

        def of_layer(inputs: int) -> int:  # Python integers do not overflow
            rows = cell.gates * (inputs + 1) + cell.recurrent_gates * (hidden + 1) + cell.params
            return hidden * rows

        recurrent = of_layer(self.embedding_size or symbols)
        recurrent += (self.num_layers - 1) * of_layer(hidden)
        return symbols * (self.embedding_size + hidden + 1) + recurrent
