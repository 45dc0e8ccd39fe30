"""Writing layers and language models as ONNX graphs."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from onnx import checker, helper

from rnnfast import _files, functional
from rnnfast._engine import checks
from rnnfast._engine import onnx_layout as layout
from rnnfast.layers.learned import parameter_name
from rnnfast.layers.recurrent import Recurrent
from rnnfast.onnx.building import GraphBuilder
from rnnfast.onnx.portable import LOSSES, add_direction, add_masks, losses
from rnnfast.training import CharLM

_STATES = "hc"


def export(
    model: Recurrent | CharLM,
    path: str | PathLike[str],
    *,
    lengths: bool = False,
    dtype: DTypeLike | None = None,
    portable: bool = False,
) -> None:
    """Write a model to an ONNX file; see `to_model` for its content and the arguments.

    The file is written atomically: on failure an existing file stays as it was.

    Args:
        model: A layer or a language model.
        path: Where to write.
        lengths: Whether the graph takes the lengths of sequences.
        dtype: The type of weights and values in the graph.
        portable: Whether to write only what onnxruntime, OpenVINO, tract and onnx's
            ReferenceEvaluator obey.

    Raises:
        ValueError: ONNX has no operator for the cell, or for a projection or zoneout; or the cell
            cannot be written in a portable way.
        TypeError: The model is of another kind, or its dtype or precision requires `dtype`.
        OSError: The file cannot be written, or `path` is not a regular file.

    Warns:
        UserWarning: A runtime other than onnxruntime is known to compute something else than the
            model, or to refuse the file, and `portable` is False.
    """
    made = to_model(model, lengths=lengths, dtype=dtype, portable=portable)
    lost = () if portable else losses(_layer_of(model), lengths)
    if lost:
        warnings.warn(
            f"export: not every runtime obeys this file: {'; '.join(lost)}; see portable=True",
            stacklevel=2,
        )
    _files.replace(path, made.SerializeToString())


def to_model(
    model: Recurrent | CharLM,
    *,
    lengths: bool = False,
    dtype: DTypeLike | None = None,
    portable: bool = False,
) -> Any:
    """Return an ONNX model with the same results as a model in evaluation mode.

    A layer becomes a graph with the inputs `x` (T, B, I), or (B, T, I) if `batch_first`, and the
    initial state `h0` (for an LSTM also `c0`), (L*D, B, H) each, and the outputs `y` (T, B, D*H)
    and the final state `hn` (and `cn`). A language model becomes a graph from integers `x` (T, B)
    to `logits` (T, B, V), with the same states; the property `vocabulary` of the ONNX model
    contains its characters in the order of their numbers. T and B may be of any size. If a layer
    has learned its initial state (`learn_state=True`), this is the default of the state inputs.

    Args:
        model: A layer or a language model.
        lengths: Whether the graph of a layer has an input `lengths` (B,), int32, like the layer.
        dtype: The type of weights and values in the graph, float32 or float64; None for the type
            of the model, which must then be float32 in full precision, as onnxruntime computes
            recurrent operators only in this type.
        portable: Whether to write only what onnxruntime, OpenVINO, tract and onnx's
            ReferenceEvaluator obey. Lengths then become masks, and a learned initial state becomes
            a constant, so that the graph has no inputs for states.

    Returns:
        An `onnx.ModelProto` of operator set 14.

    Raises:
        ValueError: ONNX has no operator for the cell, or for a projection or zoneout; or `lengths`
            is True for a language model; or the cell cannot be written in a portable way.
        TypeError: The model is of another kind, or its dtype or precision requires `dtype`.
    """
    if not isinstance(model, (Recurrent, CharLM)):
        raise TypeError(
            f"model: expected rnnfast.Recurrent or rnnfast.training.CharLM, got "
            f"{type(model).__name__}"
        )
    layer = _layer_of(model)
    if layer.cell not in layout.OPERATORS:
        raise ValueError(
            f"model: expected a cell that ONNX has, one of {', '.join(layout.OPERATORS)}, got "
            f"{layer.cell!r}"
        )
    checks.no_context("model", layer.context_size, "ONNX's operators")
    if layer.proj_size:
        raise ValueError(
            "model: expected a layer without a projection, which ONNX's LSTM does not have, got "
            f"proj_size={layer.proj_size}"
        )
    if np.any(layer.zoneout):
        raise ValueError(
            "model: expected a layer without zoneout, which ONNX's operators do not support, got "
            f"zoneout={layer.zoneout}"
        )
    if portable and layer.cell in LOSSES:
        raise ValueError(
            f"portable: expected a cell whose operator every runtime obeys, got {layer.cell!r}: "
            f"{LOSSES[layer.cell]}"
        )
    graph = GraphBuilder(_chosen_dtype(layer, dtype))
    if isinstance(model, CharLM):
        if lengths:
            raise ValueError("lengths: expected False for a language model, got True")
        _add_language_model(graph, model, portable)
    else:
        axes = ["batch", "seq_len"] if layer.batch_first else ["seq_len", "batch"]
        x = graph.input("x", [*axes, layer.input_size])
        if lengths:
            graph.input("lengths", ["batch"], np.dtype(np.int32))
        _add_layer(graph, layer, x, "y", lengths, portable)
        graph.output("y", [*axes, layer.hidden_size * _directions(layer)])
    _add_states(graph, layer, portable)
    result = graph.model(type(model).__name__)
    if isinstance(model, CharLM):
        helper.set_model_props(result, {"vocabulary": model.vocabulary.characters})
    checker.check_model(result, full_check=True)
    return result


def _chosen_dtype(layer: Recurrent, dtype: DTypeLike | None) -> np.dtype[Any]:
    if dtype is not None:
        return checks.real_dtype("dtype", dtype)
    if layer.dtype != np.float32 or layer.precision != "full":
        raise TypeError(
            "dtype: expected 'float32', which rounds the weights, or 'float64', which onnxruntime "
            f"does not run, for a {layer.dtype} model with precision {layer.precision!r}, got None"
        )
    return layer.dtype


def _layer_of(model: Recurrent | CharLM) -> Recurrent:
    return model if isinstance(model, Recurrent) else model.recurrent


def _directions(layer: Recurrent) -> int:
    return 2 if layer.bidirectional else 1


def _states(layer: Recurrent) -> str:
    return _STATES[: functional.cells()[layer.cell].states]


def _add_states(graph: GraphBuilder, layer: Recurrent, portable: bool) -> None:
    rows, hidden = layer.num_layers * _directions(layer), layer.hidden_size
    for k, state in enumerate(_states(layer)):
        if layer.learn_state:  # one row that is used for all sequences
            if not portable:  # it is the default of an input
                graph.input(f"{state}0", [rows, "batch_or_1", hidden])
            graph.real(f"{state}0", getattr(layer, parameter_name(k)).value[:, None])
        else:
            graph.input(f"{state}0", [rows, "batch", hidden])
        graph.output(f"{state}n", [rows, "batch", hidden])


def _initial(graph: GraphBuilder, layer: Recurrent, x: str) -> list[str]:
    """Return the names of the initial states, (L*D, B, H) each; x is (T, B, I)."""
    names = [f"{state}0" for state in _states(layer)]
    if not layer.learn_state:
        return names
    sizes = graph.add("Shape", [x], "x_shape")
    batch = graph.add("Gather", [sizes, graph.integers("batch_axis", [1])], "batch_size")
    one = graph.integers("one", [1])
    shape = graph.add("Concat", [one, batch, one], "state_shape", axis=0)
    return [graph.add("Expand", [name, shape], f"{name}_of_batch") for name in names]


def _add_language_model(graph: GraphBuilder, model: CharLM, portable: bool) -> None:
    size = len(model.vocabulary)
    x = graph.input("x", ["seq_len", "batch"], np.dtype(np.int64))
    if model.embedding is None:
        depth, values = graph.integers("depth", size), graph.real("values", np.array([0, 1]))
        inputs = graph.add("OneHot", [x, depth, values], "one_hot")
    else:
        (table,) = model.embedding.parameters()
        inputs = graph.add("Gather", [graph.real("embedding", table.value), x], "embedded")
    y = _add_layer(graph, model.recurrent, inputs, "y", False, portable)
    weight, bias = (p.value for p in model.head.parameters())
    product = graph.add("MatMul", [y, graph.real("head.weight", weight.T)], "product")
    graph.add("Add", [product, graph.real("head.bias", bias)], "logits")
    graph.output("logits", ["seq_len", "batch", size])


def _add_layer(
    graph: GraphBuilder, layer: Recurrent, x: str, y: str, lengths: bool, portable: bool
) -> str:
    """Add the layers from x to the value named y, from h0, c0 to hn, cn."""
    L, D, states = layer.num_layers, _directions(layer), _states(layer)
    if layer.batch_first:
        x = graph.add("Transpose", [x], "x_time_first", perm=[1, 0, 2])
    masks = None
    if lengths and portable:
        masks, x = add_masks(graph, x)
    parts = L * D if masks else L
    given = _initial(graph, layer, x)
    initial = [_split(graph, name, parts, L * D // parts) for name in given]
    final: list[list[str]] = [[] for _ in states]
    for k in range(L):
        weights = layer._weights[k * D : (k + 1) * D]
        target = y if k == L - 1 and not layer.batch_first else f"y_l{k}"
        if masks:
            results = []
            for d in range(D):
                arrays = layout.to_onnx(layer.cell, weights[d : d + 1])
                of_direction = [names[k * D + d] for names in initial]
                name = f"_l{k}{'_reverse' * d}"
                results.append(
                    add_direction(graph, layer.cell, arrays, x, of_direction, masks, name, d == 1)
                )
            x = graph.add("Concat", [of_y for of_y, _ in results], target, axis=2)
            ends = [list(of_state) for of_state in zip(*(e for _, e in results), strict=True)]
        else:
            of_layer = [names[k] for names in initial]
            Y, *ends_of_layer = _add_operator(graph, layer, k, x, of_layer, lengths)
            x = _add_side_by_side(graph, Y, target, k, D)
            ends = [[end] for end in ends_of_layer]
        for names, more in zip(final, ends, strict=True):
            names += more
    if layer.batch_first:
        graph.add("Transpose", [x], y, perm=[1, 0, 2])
    replaces_empty = lengths and not masks
    if replaces_empty:  # onnxruntime returns zeros for sequences without steps
        empty = graph.add("Equal", ["lengths", graph.integers("zero", 0, np.int32)], "is_empty")
        empty = graph.add("Unsqueeze", [empty, graph.integers("empty_axis", [1])], "empty")
    for state, before, names in zip(states, given, final, strict=True):
        joined = f"{state}n_joined" if replaces_empty else f"{state}n"
        graph.add("Concat", names, joined, axis=0)
        if replaces_empty:
            graph.add("Where", [empty, before, joined], f"{state}n")
    return y


def _add_operator(
    graph: GraphBuilder, layer: Recurrent, k: int, x: str, initial: list[str], lengths: bool
) -> list[str]:
    """Add the operator of layer k; return the names of its outputs."""
    D, states = _directions(layer), _states(layer)
    arrays = layout.to_onnx(layer.cell, layer._weights[k * D : (k + 1) * D])
    values = {name: graph.real(f"{name}_l{k}", array) for name, array in arrays.items()}
    values |= {"X": x} | ({"sequence_lens": "lengths"} if lengths else {})
    values |= {f"initial_{state}": name for state, name in zip(states, initial, strict=True)}
    outputs = [f"Y_l{k}", *(f"{state}n_l{k}" for state in states)]
    attributes = layout.attributes(layer.cell, layer.hidden_size, D)
    graph.add(layout.OPERATORS[layer.cell].op_type, layout.inputs(values), *outputs, **attributes)
    return outputs


def _split(graph: GraphBuilder, state: str, layers: int, directions: int) -> list[str]:
    """Return a state (layers*directions, B, H) as one (directions, B, H) for each layer."""
    if layers == 1:
        return [state]
    sizes = graph.integers(f"{state}_sizes", [directions] * layers)
    names = [f"{state}_l{k}" for k in range(layers)]
    graph.add("Split", [state, sizes], *names, axis=0)
    return names


def _add_side_by_side(
    graph: GraphBuilder, source: str, target: str, layer: int, directions: int
) -> str:
    """Add nodes that convert (T, D, B, H) to (T, B, D*H), named as the target."""
    if directions == 1:
        return graph.add("Squeeze", [source, graph.integers(f"axis_l{layer}", [1])], target)
    turned = graph.add("Transpose", [source], f"{source}_turned", perm=[0, 2, 1, 3])
    shape = graph.integers(f"shape_l{layer}", [0, 0, -1])  # 0 keeps a size
    return graph.add("Reshape", [turned, shape], target)
