"""A call of a network, as all parts of the package take it.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.dlpack import to_dlpack

from rnnfast import _core, functional
from rnnfast._checks import RealArray

# Plain numbers, which `torch.compile` reads: a cell's states, and whether it has weight_channel.
STATES = {name: cell.states for name, cell in functional.cells().items()}
HAS_CHANNEL = {name: cell.params > 0 for name, cell in functional.cells().items()}


class Network(NamedTuple):
    """The tensors of a call.

    Attributes:
        x: (T, B, I).
        weights: weight_ih, weight_hh, bias_ih, bias_hh, weight_channel and weight_hr of each layer
            and direction, those of them that there are.
        state: The initial states, (L*D, B, H) each, or (L*D, B, P) for an h that is projected; none
            for zeros.
        lengths: (B,) integers, the sequences' lengths; None for T each.
        seed: Of dropout, an integer without axes; None without dropout.
    """

    x: Tensor
    weights: Sequence[Tensor]
    state: Sequence[Tensor]
    lengths: Tensor | None
    seed: Tensor | None

    @property
    def differentiable(self) -> list[Tensor]:
        """What has a gradient."""
        return [self.x, *self.state, *self.weights]


class Options(NamedTuple):
    """What kind of network it is.

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

    @property
    def states(self) -> int:
        """How many states the cell has."""
        return STATES[self.cell]

    @property
    def weights_per_layer(self) -> int:
        """How many weights a layer has in one direction, without a projection's."""
        return 2 + 2 * self.bias + HAS_CHANNEL[self.cell]

    def by_layer(self, weights: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The items of `Weights` for each layer and direction, None for what there is not.

        That there is a projection is seen by the number of weights.
        """
        count = len(weights) // (self.num_layers * self.num_directions)
        biases = 2 + 2 * self.bias
        layers = []
        for i in range(0, len(weights), count):
            of_layer = weights[i : i + count]
            last = of_layer[self.weights_per_layer :]
            layers.append(
                (
                    *of_layer[:2],
                    *(of_layer[2:4] if self.bias else (None, None)),
                    *(of_layer[biases : biases + 1] if HAS_CHANNEL[self.cell] else (None,)),
                    *(last or (None,)),
                )
            )
        return layers

    def widths(self, weights: Sequence[Tensor]) -> list[int]:
        """The width of each state: H, but P of an h that is projected."""
        w_hh, *_, w_hr = self.by_layer(weights)[0][1:]
        hidden = (w_hh if w_hr is None else w_hr).shape[1]
        return [w_hh.shape[1]] + [hidden] * (self.states - 1)


def memory_of(tensor: Tensor) -> RealArray:
    """The memory of a tensor on the CPU, or that of a contiguous copy.

    `Tensor.numpy` would forbid that the memory is ever resized, as FSDP does with parameters.
    """
    if tensor.is_neg():  # what lies in memory is not the value
        tensor = tensor.resolve_neg()
    return _core.array_of_dlpack(to_dlpack(tensor.contiguous()))  # type: ignore[no-any-return]
