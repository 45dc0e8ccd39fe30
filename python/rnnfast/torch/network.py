"""A call of a network, as all parts of the package take it.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack

from rnnfast import _core
from rnnfast._engine import known
from rnnfast._engine.checks import RealArray

_kept: dict[str, tuple[int, bool]] = {}  # of cells: the number of states, whether there are params


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def states_of(cell: str) -> int:
    """How many states a cell has; a constant of the graphs of `torch.compile`."""
    return (_kept.get(cell) or _keep(cell))[0]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def has_channel(cell: str) -> bool:
    """Whether a cell has weight_channel; a constant, too."""
    return (_kept.get(cell) or _keep(cell))[1]


def _keep(name: str) -> tuple[int, bool]:
    cell = known.cell_named(name)
    kept = _kept[name] = cell.states, cell.params > 0
    return kept


class Network(NamedTuple):
    """The tensors of a call.

    Attributes:
        x: (T, B, I).
        weights: weight_ih, weight_hh, bias_ih, bias_hh, weight_channel and weight_hr of each layer
            and direction, those of them that there are.
        state: The initial states, (L*D, B, H) each, or (L*D, B, P) for an h that is projected; none
            for zeros.
        lengths: (B,) integers, the sequences' lengths; None for T each.
        seed: Of all masks, an integer without axes; None where nothing is drawn.
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
        cell: Its name, one of `rnnfast.functional.cells()`.
        num_layers: L.
        bidirectional: Whether D is 2.
        bias: Whether the weights have biases.
        dropout: Probability, on the outputs of all layers but the last.
        precision: Of products, "full" or "bfloat16".
        zoneout: The probability of each state to keep its value in a step; none for zeros.
        input_dropout: Probability, on the inputs of layers.
        recurrent_dropout: Probability, on what the recurrent products multiply.
        candidate_dropout: Probability, on the candidates of steps.
        expects: Whether zoneout is its expectation, as in evaluation.
    """

    cell: str
    num_layers: int
    bidirectional: bool
    bias: bool
    dropout: float
    precision: str
    zoneout: Sequence[float] = ()
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    candidate_dropout: float = 0.0
    expects: bool = False

    @property
    def has_noise(self) -> bool:
        """Whether there is noise inside the steps."""
        return bool(len(self.zoneout)) or self._drops

    @property
    def draws(self) -> bool:
        """Whether anything is drawn at random."""
        zones = len(self.zoneout) > 0 and not self.expects
        return bool(self.dropout) or zones or self._drops

    @property
    def _drops(self) -> bool:
        """Whether anything but the outputs of layers is dropped."""
        return bool(self.input_dropout or self.recurrent_dropout or self.candidate_dropout)

    @property
    def num_directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    @property
    def states(self) -> int:
        """How many states the cell has."""
        states: int = states_of(self.cell)
        return states

    @property
    def weights_per_layer(self) -> int:
        """How many weights a layer has in one direction, without a projection's."""
        channel: bool = has_channel(self.cell)
        return 2 + 2 * self.bias + channel

    def by_layer(self, weights: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The items of `Weights` for each layer and direction, None for what there is not.

        That there is a projection is seen by the number of weights.
        """
        count = len(weights) // (self.num_layers * self.num_directions)
        biases, channel = 2 + 2 * self.bias, has_channel(self.cell)
        layers = []
        for i in range(0, len(weights), count):
            of_layer = weights[i : i + count]
            last = of_layer[self.weights_per_layer :]
            layers.append(
                (
                    *of_layer[:2],
                    *(of_layer[2:4] if self.bias else (None, None)),
                    *(of_layer[biases : biases + 1] if channel else (None,)),
                    *(last or (None,)),
                )
            )
        return layers

    def widths(self, weights: Sequence[Tensor]) -> list[int]:
        """The width of each state: H, but P of an h that is projected."""
        w_hh, *_, w_hr = self.by_layer(weights)[0][1:]
        hidden = (w_hh if w_hr is None else w_hr).shape[1]
        return [w_hh.shape[1]] + [hidden] * (self.states - 1)


class NoiseMasks(NamedTuple):
    """What noise does inside the steps; None for nothing.

    Attributes:
        zoneout: For each layer and direction, the share of its new value that each state takes in
            each step, (T, B, H).
        inputs: What the inputs of each layer are multiplied with, (B, I).
        recurrent: What the recurrent products of each layer and direction multiply their operands
            with, (B, H).
        candidate: What the candidates of each layer and direction are multiplied with in each step,
            (T, B, H).
    """

    zoneout: Sequence[Sequence[Tensor]] | None = None
    inputs: Sequence[Tensor] | None = None
    recurrent: Sequence[Tensor] | None = None
    candidate: Sequence[Tensor] | None = None


def memory_of(tensor: Tensor) -> RealArray:
    """The memory of a tensor on the CPU, or that of a contiguous copy.

    `Tensor.numpy` would forbid that the memory is ever resized, as FSDP does with parameters.
    """
    if tensor.is_neg():  # what lies in memory is not the value
        tensor = tensor.resolve_neg()
    return _core.array_of_dlpack(to_dlpack(tensor.contiguous()))  # type: ignore[no-any-return]
