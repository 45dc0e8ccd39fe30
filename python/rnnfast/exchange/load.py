"""Loading of weights by the table of conventions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from rnnfast import functional
from rnnfast._engine import checks, known
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights
from rnnfast.exchange import resolve
from rnnfast.exchange.facts import Facts, ask, checked
from rnnfast.exchange.save import check_plain
from rnnfast.layers.recurrent import Recurrent
from rnnfast.reference import Cell

if TYPE_CHECKING:
    from typing_extensions import Unpack

_TOLERANCE = 1e-4  # of verify: sums of float32 in another order differ by less, other gates by more


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
            .pt, .npz, .mlmodel, .onnx, .pb of TensorFlow 1, a text file of DyNet or .traineddata of
            Tesseract. The library that wrote it is not needed, and no code in it is run.
        convention: One of `rnnfast.exchange.SOURCES`; "auto" to find it by names and shapes.
        prefix: The common part of the names of the network's arrays if there are several networks,
            such as "decoder.rnn"; for layers that are stored one by one, a list of these in the
            order of PyTorch: layer by layer, forward before backward.
        verify: x and the y that the source computes for it from a state of zeros, to check the
            conversion to 1e-4: x (T, B, I), and y of the shape of the layer's y, or (B, D*H) for
            the output of the last step alone. Batch first if the layer is.
        facts: What arrays cannot tell: `rnnfast.exchange.Facts` lists them.

    Raises:
        ValueError: There is no recurrent network, or there are several; a fact is missing, the
            message says which and what the choices are; the layer has another cell or other sizes;
            the layer's y is not that of `verify`. Nothing is changed then.
        TypeError: An argument has the wrong type.
        OSError: A file cannot be read.
    """
    check_plain(layer)
    converted = resolve.converted(source, convention, prefix, checked(facts), layer.bidirectional)
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
    converted = resolve.converted(source, convention, prefix, stated, stated.get("bidirectional"))
    if converted.bidirectional is None:
        raise ask(
            "source", "layers of one size may be two directions or two layers", "bidirectional"
        )
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
    inputs = [layer.input_size] * directions + [directions * above] * len(weights)
    if any(one.weight_ih.shape[1] != size for one, size in zip(weights, inputs, strict=False)):
        raise ValueError(
            f"layer: expected bidirectional = {not layer.bidirectional}, as the sizes of the "
            f"weights in source show, got {layer.bidirectional}"
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
    cell: str | Cell,
    weights: list[Weights],
    layer: Recurrent[Any],
    verify: tuple[ArrayLike, ArrayLike],
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
