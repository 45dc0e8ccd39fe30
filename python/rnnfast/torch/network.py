"""The tensors and options of a call, in the form that all parts of the package use.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from torch import Tensor
from torch.utils.dlpack import to_dlpack

from rnnfast import _core
from rnnfast._engine import known
from rnnfast._engine.checks import RealArray

_Function = TypeVar("_Function", bound=Callable[..., Any])

_kept: dict[str, tuple[int, bool]] = {}  # by cell: number of states, whether it has weight_channel


def constant_in_graphs(function: _Function) -> _Function:
    """Do what `torch.compiler.assume_constant_result` does, which would import `torch._dynamo`.

    That import takes longer than all others of the package, and only `torch.compile` needs it.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant_in_graphs
def may_compile() -> bool:
    """Return whether a call may be part of a compiled model, as `torch._dynamo` is imported."""
    return "torch._dynamo" in sys.modules


@constant_in_graphs
def states_of(cell: str) -> int:
    """Return the number of states of a cell, a constant in the graphs of `torch.compile`."""
    return (_kept.get(cell) or _keep(cell))[0]


@constant_in_graphs
def has_channel(cell: str) -> bool:
    """Return whether a cell has weight_channel, a constant in the graphs of `torch.compile`."""
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
            and direction, without those that the network lacks.
        state: The initial states, (L*D, B, H) each, or (L*D, B, P) for a projected h; empty for
            zeros.
        lengths: (B,) integers, the lengths of the sequences; None if all have length T.
        reset: (T, B) booleans, or integers 0 and 1, True where an episode starts; None for no
            resets. The states may then have B + 1 rows, the last of which is what resets set.
        seed: The seed of all masks, an integer tensor without axes; None if there are no masks.
        context: What a context adds to the gates of each layer and direction, (B, G*H) or
            (T, B, G*H), G being the row blocks of weight_ih; empty for none.
    """

    x: Tensor
    weights: Sequence[Tensor]
    state: Sequence[Tensor]
    lengths: Tensor | None
    reset: Tensor | None
    seed: Tensor | None
    context: Sequence[Tensor] = ()

    @property
    def differentiable(self) -> list[Tensor]:
        """The tensors that can have a gradient."""
        return [self.x, *self.state, *self.context, *self.weights]


class Options(NamedTuple):
    """The options of a network.

    Attributes:
        cell: The name of the cell, one of `rnnfast.functional.cells()`.
        num_layers: L.
        bidirectional: Whether D is 2.
        bias: Whether the products have biases.
        dropout: Probability of dropping outputs of any layer but the last.
        precision: The precision of products, "full", "bfloat16" or "int8".
        zoneout: For each state, the probability that a unit keeps its value; empty for zeros.
        input_dropout: Probability of dropping inputs of layers.
        recurrent_dropout: Probability of dropping operands of the recurrent products.
        candidate_dropout: Probability of dropping the candidates of steps.
        expects: Whether to use the expectation of zoneout, as in evaluation.
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
        """Whether a call draws random masks."""
        zones = len(self.zoneout) > 0 and not self.expects
        return bool(self.dropout) or zones or self._drops

    @property
    def _drops(self) -> bool:
        """Whether there is dropout of anything but the outputs of layers."""
        return bool(self.input_dropout or self.recurrent_dropout or self.candidate_dropout)

    @property
    def num_directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    @property
    def states(self) -> int:
        """Number of states of the cell."""
        states: int = states_of(self.cell)
        return states

    @property
    def weights_per_layer(self) -> int:
        """Number of weights of a layer in one direction, not counting that of a projection."""
        channel: bool = has_channel(self.cell)
        return 2 + 2 * self.bias + channel

    def by_layer(self, weights: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the fields of `Weights` for each layer and direction, None for absent weights.

        The number of weights shows whether the network has a projection.
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
        """Return the width of each state: H, or P for a projected h."""
        w_hh, *_, w_hr = self.by_layer(weights)[0][1:]
        hidden = (w_hh if w_hr is None else w_hr).shape[1]
        return [w_hh.shape[1]] + [hidden] * (self.states - 1)


def split(values: Sequence[Any]) -> tuple[Network, Options, Sequence[Any]]:
    """Return the network, the options and the rest of the arguments of an operator."""
    tensors = len(Network._fields)
    end = tensors + len(Options._fields)
    return Network(*values[:tensors]), Options(*values[tensors:end]), values[end:]


class NoiseMasks(NamedTuple):
    """The masks of the noise inside the steps; None for no such noise.

    Attributes:
        zoneout: For each layer and direction, and each state, the share of its new value that the
            state takes in each step, (T, B, H).
        inputs: For each layer, a factor of its inputs, (B, I).
        recurrent: For each layer and direction, a factor of the operands of its recurrent products,
            (B, H).
        candidate: For each layer and direction, a factor of the candidate of each step, (T, B, H).
    """

    zoneout: Sequence[Sequence[Tensor]] | None = None
    inputs: Sequence[Tensor] | None = None
    recurrent: Sequence[Tensor] | None = None
    candidate: Sequence[Tensor] | None = None


def memory_of(tensor: Tensor) -> RealArray:
    """Return an array that shares memory with a CPU tensor, or with a contiguous copy of it.

    `Tensor.numpy` would make it impossible to resize the tensor, as FSDP does with parameters.
    """
    if tensor.is_neg():  # the memory holds the negated values
        tensor = tensor.resolve_neg()
    return _core.array_of_dlpack(to_dlpack(tensor.contiguous()))  # type: ignore[no-any-return]
