"""Definition of a network: its cell, weights and options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rnnfast import _core
from rnnfast._core import CellInfo, NetworkOptions
from rnnfast._engine import checks, known
from rnnfast._engine.checks import RealArray
from rnnfast._engine.noise import Noise
from rnnfast.reference import Cell

MOST = 2**31 - 1  # the largest number of layers or steps that options can hold


class Weights(NamedTuple):
    """The weights of one layer in one direction, or their gradients.

    `cells()[name].shapes(input_size, hidden_size)` returns their shapes.

    Attributes:
        weight_ih: (G*H, I), or (G*H, D*H) beyond the first layer.
        weight_hh: (R*H, H), or (R*H, proj_size) with a projection.
        bias_ih: (G*H,), added to the input product; None for no bias.
        bias_hh: (R*H,), added to the recurrent product; None for no bias.
        weight_channel: (P, H), for cells with per-channel parameters such as peepholes.
        weight_hr: (proj_size, H), the projection of an LSTM; None for no projection. The next step
            and the output of the layer use weight_hr h in place of h. h then has proj_size values,
            and so has the part of the next layer's input that each direction contributes.
            Source: Sak, Senior and Beaufays, "Long short-term memory recurrent neural network
            architectures for large scale acoustic modeling", 2014.
    """

    weight_ih: RealArray
    weight_hh: RealArray
    bias_ih: RealArray | None = None
    bias_hh: RealArray | None = None
    weight_channel: RealArray | None = None
    weight_hr: RealArray | None = None

    @property
    def proj_size(self) -> int:
        """Width of the projected h; 0 without a projection."""
        return 0 if self.weight_hr is None else int(self.weight_hr.shape[0])

    @property
    def hidden_size(self) -> int:
        """Number of hidden units, H."""
        return int((self.weight_hh if self.weight_hr is None else self.weight_hr).shape[1])


def cells() -> dict[str, CellInfo]:
    """Return the cells that the engine knows, by name: first the compiled ones, then the others.

    Cells of the zoo and user-defined cells are added when they are first used or registered.
    """
    return {
        cell.name: cell for cell in _core.cells() if not (cell.drops_candidate or cell.observes)
    }


def info_of(cell: str | Cell) -> CellInfo:
    """Return the description of a cell, which is defined in the engine if it is new.

    Raises the errors of `known.name_of`.
    """
    name = known.name_of(cell)
    return cells()[name]


def network_options(
    cell: str | Cell,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    training: bool = False,
    precision: str = "full",
    recompute: int = 0,
    threads: int = 0,
    keep_y: bool = False,
    noise: Noise | None = None,
) -> NetworkOptions:
    """Return the checked options of a network, which any number of calls can share.

    Args:
        cell: The cell, as in `functional.forward`.
        num_layers: L.
        bidirectional: Whether D is 2.
        dropout: Probability of dropout between layers.
        training: Whether to keep the values that `backward` needs.
        precision: The precision of the products, as in `functional.forward`.
        recompute: Number of steps between two states that are kept, from `recomputed_steps`; 0 to
            keep all of them.
        threads: The most threads that a call uses, forward or backward; 0 for the number set for
            the process.
        keep_y: Whether a training call keeps its own copy of y, so that callers may change theirs.
        noise: The noise inside the steps, checked by `noise.of`; None for no noise.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: A value is out of range, the cell or the precision is unknown, or the precision
            is for evaluation only.
    """
    values = (
        cell,
        num_layers,
        bidirectional,
        dropout,
        training,
        precision,
        recompute,
        threads,
        keep_y,
        noise,
    )
    return _core.network_options(*values) or checked_options(*values)


def checked_options(
    cell: str | Cell,
    num_layers: int,
    bidirectional: bool,
    dropout: float,
    training: bool,
    precision: str,
    recompute: int,
    threads: int = 0,
    keep_y: bool = False,
    noise: Noise | None = None,
) -> NetworkOptions:
    """Return `network_options` of values that must first be converted, or raise their error.

    With dropout of the candidate, the cell is replaced by its form with the mask in its equations.
    """
    name = known.name_of(cell)
    if noise is not None and noise.candidate_dropout and training and not noise.expects:
        name = known.dropping(name)
    converted: NetworkOptions | None = _core.network_options(
        name,
        checks.integer("num_layers", num_layers, 1, MOST),
        checks.boolean("bidirectional", bidirectional),
        checks.number("dropout", dropout, 0, 1),
        checks.boolean("training", training),
        checks.choice("precision", precision, checks.PRECISIONS),
        checks.integer("recompute", recompute, 0, MOST),
        threads,
        keep_y,
        noise,
    )
    if converted is None:  # each value is valid, but this precision is only for evaluation
        raise ValueError(
            f"precision: expected one of {', '.join(checks.TRAINED_PRECISIONS)} in training, as "
            f"products of 8-bit integers have no gradients, got {precision!r}; eval() switches a "
            "layer to evaluation"
        )
    return converted


class KeptOptions:
    """A cache of one entry: the options of the last call, reused if no value has changed.

    Copies and unpickled objects start empty.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: tuple[tuple[Any, ...], NetworkOptions] | None = None

    def get(self, *values: Any) -> NetworkOptions:
        """Return `network_options` of these values."""
        kept = self._kept
        if kept is None or kept[0] != values:
            # One assignment, so that threads which share this object see a consistent pair.
            kept = self._kept = values, network_options(*values)
        return kept[1]

    def __reduce__(self) -> tuple[type[KeptOptions], tuple[()]]:
        return KeptOptions, ()


def check_sizes(
    cell: CellInfo, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> None:
    """Check that the input of every layer has the size of the state if the cell reads it directly.

    Raises:
        ValueError: The input of a layer has another size.
    """
    if not cell.reads_input:
        return
    why = f"as a step of the cell {cell.name!r} reads the input itself"
    if input_size != hidden_size:
        raise ValueError(
            f"input_size: expected hidden_size = {hidden_size}, {why}, got {input_size}"
        )
    if bidirectional and num_layers > 1:
        raise ValueError(
            f"bidirectional: expected False with num_layers = {num_layers}, {why}, which has "
            "2*hidden_size numbers in layers above the first, got True"
        )


def state_shapes(
    options: NetworkOptions, batch: int, hidden_size: int, proj_size: int
) -> list[tuple[int, int, int]]:
    """Return the shape of each state: (L*D, B, H), or (L*D, B, proj_size) for a projected h."""
    rows = options.num_layers * (2 if options.bidirectional else 1)
    widths = [proj_size or hidden_size] + [hidden_size] * (options.cell.states - 1)
    return [(rows, batch, width) for width in widths]


def reordered(values: RealArray, order: Sequence[int]) -> RealArray:
    """Return a matrix or vector with its row blocks, all of one size, in another order."""
    blocks: RealArray = values.reshape(len(order), -1, *values.shape[1:])[list(order)]
    return blocks.reshape(values.shape)
