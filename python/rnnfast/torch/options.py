"""What kind of network a call runs, as both paths of the package take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rnnfast import functional


class Options(NamedTuple):
    """What kind of network it is; the last arguments of each operator.

    Attributes:
        cell: One of `rnnfast.functional.cells()`.
        num_layers: L.
        bidirectional: Whether D is 2.
        bias: Whether the weights have biases.
        dropout: Probability, on the outputs of all layers but the last.
        precision: Of products, "full" or "bfloat16".
    """

    cell: str
    num_layers: int
    bidirectional: bool
    bias: bool
    dropout: float
    precision: str

    @property
    def num_directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1


def by_layer(weights: Sequence[Any], options: Options) -> list[tuple[Any, ...]]:
    """Five for each layer and direction, None for what there is not."""
    channel = functional.cells()[options.cell].params > 0
    if options.bias and channel:
        return [tuple(weights[i : i + 5]) for i in range(0, len(weights), 5)]
    count, biases = 2 + 2 * options.bias + channel, () if options.bias else (None, None)
    last = () if channel else (None,)
    return [
        (*weights[i : i + 2], *biases, *weights[i + 2 : i + count], *last)
        for i in range(0, len(weights), count)
    ]
