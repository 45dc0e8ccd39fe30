"""What a network is: its cell, its weights and its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rnnfast import _core
from rnnfast._core import CellInfo, NetworkOptions
from rnnfast._engine import checks, known
from rnnfast._engine.checks import RealArray
from rnnfast._engine.noise import Noise
from rnnfast.reference import Cell

MOST = 2**31 - 1  # layers and steps that options can name


class Weights(NamedTuple):
    """The weights of one layer in one direction, or their gradients.

    `cells()[name].shapes(input_size, hidden_size)` has their shapes.

    Attributes:
        weight_ih: (G*H, I), or (G*H, D*H) beyond the first layer.
        weight_hh: (R*H, H), or (R*H, proj_size) with a projection.
        bias_ih: (G*H,), added to the input product; None for none.
        bias_hh: (R*H,), added to the recurrent product; None for none.
        weight_channel: (P, H), of cells with per-channel parameters such as peepholes.
        weight_hr: (proj_size, H), which h is multiplied with before it goes into the next step and
            out of the layer, of an LSTM with a projection; None for none. h then has proj_size
            values, and so has each direction's part of a later layer's input.
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
        """Width of an h that is projected; 0 if it is not."""
        return 0 if self.weight_hr is None else int(self.weight_hr.shape[0])

    @property
    def hidden_size(self) -> int:
        """H."""
        return int((self.weight_hh if self.weight_hr is None else self.weight_hr).shape[1])


def cells() -> dict[str, CellInfo]:
    """Every cell that the engine knows by name: compiled ones, then those that were used.

    Cells of the zoo and users' own come in when they are first used or registered.
    """
    return {cell.name: cell for cell in _core.cells() if not cell.drops_candidate}


def info_of(cell: str | Cell) -> CellInfo:
    """What a cell is made of, which the engine knows from now on; errors are those of `name_of`."""
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
    """What a network is and how its calls run, for any number of calls.

    Args:
        cell: As in `functional.forward`, like all that follows up to the precision.
        num_layers: L.
        bidirectional: Whether D is 2.
        dropout: Probability between layers.
        training: Whether to keep what `backward` needs.
        precision: Of the products.
        recompute: Steps between two states that are kept, from `recomputed_steps`; 0 to keep all.
        threads: The most that a call uses, backward too; 0 for the process' number.
        keep_y: Whether a training call keeps a copy of y, so that callers may change theirs.
        noise: Inside the steps, as `noise.of` checks it; None for none.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: It is out of range, or no name of a cell or precision.
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
    """The same of values that must be converted, or are wrong.

    Where the candidate is dropped, the cell is that whose equations do so.
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
    assert converted is not None
    return converted


class KeptOptions:
    """The options of the last call, which the next one takes again if all values are the same.

    Copies, also by pickle, start empty.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: tuple[tuple[Any, ...], NetworkOptions] | None = None

    def get(self, *values: Any) -> NetworkOptions:
        """`network_options` of these values."""
        kept = self._kept
        if kept is None or kept[0] != values:
            kept = self._kept = values, network_options(*values)  # at once: threads may share this
        return kept[1]

    def __reduce__(self) -> tuple[type[KeptOptions], tuple[()]]:
        return KeptOptions, ()


def check_sizes(
    cell: CellInfo, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> None:
    """Check that a cell that reads its input can do so in every layer.

    Raises:
        ValueError: It cannot, as the input is not of the state's size.
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
            f"bidirectional: expected False with num_layers = {num_layers}, {why}, and that of "
            "layers above the first has 2*hidden_size numbers; got True"
        )


def state_shapes(
    options: NetworkOptions, batch: int, hidden_size: int, proj_size: int
) -> list[tuple[int, int, int]]:
    """The shape of each state: (L*D, B, H), or (L*D, B, proj_size) for an h that is projected."""
    rows = options.num_layers * (2 if options.bidirectional else 1)
    widths = [proj_size or hidden_size] + [hidden_size] * (options.cell.states - 1)
    return [(rows, batch, width) for width in widths]


def reordered(values: RealArray, order: Sequence[int]) -> RealArray:
    """Row blocks of a matrix or a vector, of equal size, in another order."""
    blocks: RealArray = values.reshape(len(order), -1, *values.shape[1:])[list(order)]
    return blocks.reshape(values.shape)
