"""Loading of weights by the table of conventions, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from rnnfast import functional
from rnnfast._engine import checks, known
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights
from rnnfast.exchange import conversion
from rnnfast.exchange.convention import Convention
from rnnfast.exchange.conventions import CONVENTIONS
from rnnfast.exchange.facts import Facts, ask, cell_of, checked
from rnnfast.exchange.found import Found, Reading, find, mark_of, stacked
from rnnfast.exchange.source import opened
from rnnfast.layers.recurrent import Recurrent
from rnnfast.reference import Cell

if TYPE_CHECKING:
    from typing_extensions import Unpack

SOURCES: tuple[str, ...] = tuple(dict.fromkeys(row.source for row in CONVENTIONS))
"""What `convention=` may name, besides "auto"."""
_TOLERANCE = 1e-4  # of verify: sums of float32 in another order differ by less, other gates by more


class _Converted(NamedTuple):
    """A network in the layout of the library.

    Attributes:
        cell: The cell that computes it.
        weights: One for each layer and direction.
        bidirectional: Whether there are two directions; None if sizes do not tell.
    """

    cell: str | Cell
    weights: list[Weights]
    bidirectional: bool | None


def load_weights(
    layer: Recurrent[Any],
    source: Any,
    convention: str = "auto",
    *,
    prefix: str | Sequence[str] | None = None,
    verify: tuple[ArrayLike, ArrayLike] | None = None,
    **facts: Unpack[Facts],
) -> None:
    """Set the parameters of a recurrent layer from weights of any library in the table.

    The names and shapes of arrays tell most of what has to be known: the order of gates, how
    matrices are joined, the form of a GRU, how many biases there are. What they cannot tell must be
    passed, and an error says so: whether gates have the hard sigmoid, what is added to the forget
    gate at run time. Nothing is guessed, as a wrong guess gives plausible nonsense. `read_layer`
    also makes the layer; docs/exchange.md has the table.

    Args:
        layer: The layer, whose cell and sizes must be those of the weights.
        source: A dict of arrays or tensors by name, which may be nested, such as a state dict of
            PyTorch or the parameters of Flax, or the path of a file: .h5, .keras, .safetensors,
            .pt, .npz, .mlmodel, .onnx, a text file of DyNet or .traineddata of Tesseract. The
            library that wrote it is not needed, and no code in it is run.
        convention: One of `rnnfast.exchange.SOURCES`; "auto" to find it by names and shapes.
        prefix: The common part of the names of the network's arrays if there are several networks,
            such as "decoder.rnn"; for layers that are stored one by one, a list of these in the
            order of PyTorch: layer by layer, forward before backward.
        verify: x and the y that the source computes for it from a state of zeros, to check the
            conversion: x (T, B, I), and y of the shape of the layer's y, or (B, D*H) for the
            output of the last step alone. Batch first if the layer is.
        facts: What arrays cannot tell: `rnnfast.exchange.Facts` lists them.

    Raises:
        ValueError: There is no recurrent network, or there are several; a fact is missing, the
            message says which and what the choices are; the layer has another cell or other sizes;
            the layer's y is not that of `verify`. Nothing is changed then.
        TypeError: An argument has the wrong type.
        OSError: A file cannot be read.
    """
    _check_plain(layer)
    converted = _converted(source, convention, prefix, checked(facts), layer.bidirectional)
    expected = known.name_of(converted.cell)
    if layer.cell != expected:
        raise ValueError(
            f"layer: expected cell {expected!r}, which computes what source contains, got "
            f"{layer.cell!r}; rnnfast.exchange.read_layer makes a layer that fits"
        )
    _check_sizes(layer, converted.weights)
    weights = [_with_biases_of(layer, one) for one in converted.weights]
    if verify is not None:
        _verify(converted.cell, weights, layer, verify)
    layer.load_state_dict(_by_name(layer, weights))


def read_layer(
    source: Any,
    convention: str = "auto",
    *,
    prefix: str | Sequence[str] | None = None,
    verify: tuple[ArrayLike, ArrayLike] | None = None,
    batch_first: bool = False,
    dtype: DTypeLike = np.float32,
    **facts: Unpack[Facts],
) -> Recurrent[Any]:
    """Return a layer with weights of any library in the table.

    It has a cell with kernels where there is one. Hard sigmoids, other activations, a clip or
    coupled gates make a cell that is traced: `layer.cell` is its name.

    Args:
        source: As for `load_weights`, as are `convention`, `prefix`, `verify` and `facts`.
        convention: See there.
        prefix: See there.
        verify: See there.
        batch_first: Whether arrays of the layer are (B, T, ...).
        dtype: The dtype of the layer.
        facts: See there.

    Returns:
        The layer, in evaluation mode.

    Raises:
        ValueError: As for `load_weights`.
        TypeError: An argument has the wrong type.
        OSError: A file cannot be read.
    """
    stated = checked(facts)
    converted = _converted(source, convention, prefix, stated, stated.get("bidirectional"))
    if converted.bidirectional is None:
        raise ask("source", "layers of one size may be two directions or two layers", "bidirectional")
    first, directions = converted.weights[0], 2 if converted.bidirectional else 1
    layer: Recurrent[Any] = Recurrent(
        converted.cell,
        first.weight_ih.shape[1],
        first.hidden_size,
        len(converted.weights) // directions,
        bias=any(one.bias_ih is not None for one in converted.weights),
        batch_first=batch_first,
        bidirectional=converted.bidirectional,
        proj_size=first.proj_size,
        dtype=dtype,
    )
    weights = [_with_biases_of(layer, one) for one in converted.weights]
    if verify is not None:
        _verify(converted.cell, weights, layer, verify)
    layer.load_state_dict(_by_name(layer, weights))
    return layer.eval()


def to_weights(layer: Recurrent[Any], convention: str, **facts: Unpack[Facts]) -> dict[str, RealArray]:
    """Return the parameters of a layer as arrays of another library: the inverse of `load_weights`.

    Args:
        layer: A layer of a cell that the library has.
        convention: One of `rnnfast.exchange.SOURCES`.
        facts: What the weights depend on and the library's layer is made with, such as
            `forget_offset` of TensorFlow 1.

    Returns:
        Copies by name, whose levels are separated by dots: `weight_ih_l0` for "pytorch", `kernel`
        for "keras", `ii.kernel` for "flax". If the source does not number layers, names of a layer
        with several layers or directions begin with their number: "0.ii.kernel".

    Raises:
        ValueError: The source has no such cell, or no place for something that the layer has; or a
            fact is missing.
        TypeError: An argument has the wrong type.
    """
    checks.choice("convention", convention, SOURCES)
    _check_plain(layer)
    stated = checked(facts)
    rows = [row for row in CONVENTIONS if row.source == convention and _computes(row, layer.cell)]
    if not rows:
        cells = dict.fromkeys(row.cell for row in CONVENTIONS if row.source == convention)
        raise ValueError(
            f"layer: expected a cell that {convention} has, one of {', '.join(cells)}, got "
            f"{layer.cell!r}"
        )
    row = rows[0]
    offset, replaces = _run_time(row, stated, "convention")
    directions = 2 if layer.bidirectional else 1
    result = {}
    for k, weights in enumerate(layer._weights):
        mark, start = "", ""
        if "{layer}" in row.marks[0] or (row.marks[0] and len(layer._weights) > 1):
            mark = mark_of(row, k, directions)
        elif len(layer._weights) > 1:
            start = f"{k}."
        for name, value in conversion.write(row, weights, offset, replaces).items():
            result[start + name.replace("{mark}", mark)] = value
    return result


def found_in(source: Any, convention: str = "auto") -> list[Found]:
    """Return the recurrent networks of a source, in the order of their names there.

    Args:
        source: As for `load_weights`.
        convention: As for `load_weights`.

    Raises:
        ValueError: The file is damaged, or of no format that is read.
        TypeError: `source` is neither a path nor a dict.
        OSError: The file cannot be read.
    """
    if convention != "auto":
        checks.choice("convention", convention, ("auto", *SOURCES))
    content = opened(source)
    return content.found or find(content.arrays, convention)


def _computes(row: Convention, cell: str) -> bool:
    """Return whether a row is that of a cell; activations of plain RNNs are facts."""
    return row.cell == cell or {row.cell, cell} == {"rnn_tanh", "rnn_relu"} and "activation" in row.asks


def _converted(
    source: Any,
    convention: str,
    prefix: str | Sequence[str] | None,
    facts: Facts,
    bidirectional: bool | None,
) -> _Converted:
    """Return the network of a source in the layout of the library."""
    found = found_in(source, convention)
    if not found:
        raise ValueError(
            "source: expected the weights of a recurrent layer, "
            + ("by the names and shapes of any convention" if convention == "auto" else
               f"by the names and shapes of {convention}")
            + ", got none; rename the arrays to those of a row in docs/exchange.md, and pass its "
            "convention"
        )
    chosen = _chosen(found, prefix)
    stated = Facts(**{**chosen.facts, **facts})  # type: ignore[typeddict-item]
    if chosen.backwards and not stated.get("reversed_input"):
        raise ask(_named(chosen), "it goes backwards", "reversed_input")
    reading = _settled(chosen, stated)
    offset, replaces = _run_time(reading.convention, stated, _named(chosen))
    weights = [
        conversion.read(reading.convention, part.arrays, part.sizes, offset, replaces)
        for part in reading.parts
    ]
    cell = cell_of(reading.convention.cell, stated)
    if isinstance(cell, Cell) and cell.params and weights[0].weight_channel is None:
        weights = [
            one._replace(weight_channel=np.zeros((3, one.hidden_size), one.weight_ih.dtype))
            for one in weights
        ]
    directions = reading.directions
    return _Converted(cell, weights, bidirectional if directions is None else directions == 2)


def _named(found: Found) -> str:
    return f"the network {found.prefix!r}" if found.prefix else "the network"


def _chosen(found: list[Found], prefix: str | Sequence[str] | None) -> Found:
    """Return the network that a caller names, or the only one."""
    by_prefix = {one.prefix: one for one in found}
    there = ", ".join(map(repr, by_prefix))
    wanted = [prefix] if isinstance(prefix, str) else prefix
    if wanted is None:
        if len(found) > 1:
            raise ValueError(
                f"source: expected one recurrent network, got {there}: pass one of these as "
                "prefix, or a list of those that are layers and directions of one network"
            )
        return found[0]
    for name in wanted:
        if name not in by_prefix:
            raise ValueError(f"prefix: expected one of {there}, got {name!r}")
    chosen = [by_prefix[name] for name in wanted]
    if not chosen:
        raise ValueError(f"prefix: expected at least one of {there}, got none")
    if len(chosen) == 1:
        return chosen[0]
    facts = [one.facts for one in chosen]
    if any(one != facts[0] for one in facts):
        raise ValueError("prefix: expected layers with the same activations, got different ones")
    name = ", ".join(one.prefix for one in chosen)
    return Found(name, stacked(chosen, "prefix"), facts[0])


def _settled(found: Found, facts: Facts) -> Reading:
    """Return the only reading that the facts leave, or ask for what is missing."""
    readings = list(found.readings)
    if "reset_after" in facts:
        kind = "gru" if facts["reset_after"] else "gru_reset_before"
        readings = [r for r in readings if r.convention.cell in (kind, "lstm", "rnn_tanh")]
        if not readings:
            raise ValueError(
                f"reset_after: expected {not facts['reset_after']}, as the arrays of "
                f"{_named(found)} show, got {facts['reset_after']}"
            )
    different = [readings[0]]
    for reading in readings[1:]:
        if not any(_same(reading, other) for other in different):
            different.append(reading)
    if {r.convention.cell for r in different} == {"gru", "gru_reset_before"}:
        raise ask(_named(found), "its arrays do not tell the form of the GRU", "reset_after")
    if len(different) > 1:
        fitting = ", ".join(f"{r.convention.source} ({r.convention.layers})" for r in different)
        raise ValueError(
            f"convention: expected the one of {_named(found)}, which by its arrays can be "
            f"{fitting}, with different results; if one convention has several, name the arrays "
            "after the class, as in 'lstm.kernel'"
        )
    missing = [name for name in different[0].convention.asks if name not in facts]
    if missing:
        raise ask(_named(found), "its arrays do not tell everything", *missing)
    return different[0]


def _same(one: Reading, other: Reading) -> bool:
    """Return whether two readings give the same layer."""
    a, b = one.convention, other.convention
    if (a.cell, a.asks, a.forget_offset, a.z) != (b.cell, b.asks, b.forget_offset, b.z):
        return False
    weights = [
        [conversion.read(r.convention, p.arrays, p.sizes, 0.0, False) for p in r.parts]
        for r in (one, other)
    ]
    return all(
        (x is None and y is None) or (x is not None and y is not None and np.array_equal(x, y))
        for first, second in zip(*weights, strict=True)
        for x, y in zip(first, second, strict=True)
    )


def _run_time(row: Convention, facts: Facts, place: str) -> tuple[float, bool]:
    """Return the offset of the forget gate, and whether z = 1 replaces the state."""
    offset, z = row.forget_offset, row.z
    if offset is None:
        if "forget_offset" not in facts:
            raise ask(place, "its arrays do not tell everything", "forget_offset")
        offset = facts["forget_offset"]
    elif facts.get("forget_offset", offset) != offset:
        raise ValueError(
            f"forget_offset: expected {offset}, which {row.source} adds, got "
            f"{facts['forget_offset']}"
        )
    if z is None:
        if "update_gate" not in facts:
            raise ask(place, "its arrays do not tell everything", "update_gate")
        z = facts["update_gate"]
    elif facts.get("update_gate", z) != z:
        raise ValueError(f"update_gate: expected {z!r}, as in {row.source}, got {facts['update_gate']!r}")
    return offset, z == "replaces"


def _check_plain(layer: Any) -> None:
    """Refuse what no source has."""
    checks.of_type("layer", layer, Recurrent)
    if layer.learn_state:
        raise ValueError(
            "layer: expected a layer without learn_state, as other libraries' weights have no "
            "initial state, got learn_state=True"
        )
    checks.no_context("layer", layer.context_size, "other libraries' layers")


def _check_sizes(layer: Recurrent[Any], weights: list[Weights]) -> None:
    """Check that a layer has the sizes of weights, and biases if they have some."""
    directions = 2 if layer.bidirectional else 1
    if len(weights) != layer.num_layers * directions:
        raise ValueError(
            "layer: expected as many layers and directions as in source, "
            f"num_layers * directions = {len(weights)}, got {layer.num_layers} * {directions}"
        )
    for name, ours, theirs in (
        ("input_size", layer.input_size, weights[0].weight_ih.shape[1]),
        ("hidden_size", layer.hidden_size, weights[0].hidden_size),
        ("proj_size", layer.proj_size, weights[0].proj_size),
    ):
        if ours != theirs:
            raise ValueError(f"layer: expected {name} = {theirs}, as in source, got {ours}")
    above = layer.proj_size or layer.hidden_size
    for one in weights[directions:]:
        if one.weight_ih.shape[1] != directions * above:
            raise ValueError(
                f"layer: expected bidirectional = {not layer.bidirectional}, as layers of source "
                f"above the first read {one.weight_ih.shape[1]} numbers, got {layer.bidirectional}"
            )
    if not layer.bias and any(one.bias_ih is not None for one in weights):
        raise ValueError("layer: expected bias = True, as source has biases, got False")


def _with_biases_of(layer: Recurrent[Any], weights: Weights) -> Weights:
    """Return weights with biases of zero if the layer has some and they have none."""
    weights = Weights(*(None if v is None else v.astype(layer.dtype) for v in weights))  # type: ignore[arg-type]
    if not layer.bias or weights.bias_ih is not None:
        return weights
    zeros = np.zeros(len(weights.weight_ih), layer.dtype)
    return weights._replace(bias_ih=zeros, bias_hh=zeros[: len(weights.weight_hh)])


def _by_name(layer: Recurrent[Any], weights: list[Weights]) -> dict[str, RealArray]:
    """Return weights by the names of a layer's parameters."""
    suffixes = ("", "_reverse") if layer.bidirectional else ("",)
    return {
        f"{name}_l{k // len(suffixes)}{suffixes[k % len(suffixes)]}": value
        for k, one in enumerate(weights)
        for name, value in one._asdict().items()
        if value is not None
    }


def _verify(
    cell: str | Cell, weights: list[Weights], layer: Recurrent[Any], verify: tuple[ArrayLike, ArrayLike]
) -> None:
    """Check that weights give a known output."""
    if not isinstance(verify, (tuple, list)) or len(verify) != 2:
        raise TypeError(f"verify: expected a pair (x, y), got {type(verify).__name__}")
    x, expected = (np.asarray(array, layer.dtype) for array in verify)
    if x.ndim != 3:
        raise ValueError(f"verify: expected x of 3 axes, got shape {x.shape}")
    if layer.batch_first:
        x = x.swapaxes(0, 1)
        expected = expected.swapaxes(0, 1) if expected.ndim == 3 else expected
    y, _, _ = functional.forward(
        cell,
        x,
        weights,
        num_layers=layer.num_layers,
        bidirectional=layer.bidirectional,
    )
    if expected.ndim == 2:
        H = y.shape[2] // (2 if layer.bidirectional else 1)
        y = np.concatenate([y[-1, :, :H], y[0, :, H:]], axis=1)
    checks.shape("verify: y", expected, y.shape, "of the layer's output")
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    difference = float(np.abs(y - expected).max(initial=0))
    if not difference <= _TOLERANCE * scale:
        raise ValueError(
            f"verify: expected the layer's y, got one that differs by up to {difference:.3g} in "
            f"values of up to {scale:.3g}: another convention or fact is right, or y is of another "
            "layer"
        )
