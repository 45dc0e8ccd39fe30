"""Writing layers and language models as ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from onnx import checker, helper, numpy_helper

from rnnfast import _files, functional
from rnnfast._engine import checks
from rnnfast._version import __version__
from rnnfast.layers.learned import parameter_name
from rnnfast.layers.recurrent import Recurrent
from rnnfast.onnx import layout
from rnnfast.training import CharLM

_OPSET, _IR_VERSION = 14, 8  # the oldest that have everything used here, for old runtimes
_STATES = "hc"


def export(
    model: Recurrent | CharLM,
    path: str | PathLike[str],
    *,
    lengths: bool = False,
    dtype: DTypeLike | None = None,
) -> None:
    """Write a model to an ONNX file; see `to_model` for its content and the arguments.

    The file is written atomically: on failure an existing file stays as it was.

    Args:
        model: A layer or a language model.
        path: Where to write.
        lengths: Whether the graph takes the lengths of sequences.
        dtype: The type of weights and values in the graph.

    Raises:
        ValueError: ONNX has no operator for the cell, or for a projection or zoneout.
        TypeError: The model is of another kind, or its dtype or precision requires `dtype`.
        OSError: The file cannot be written, or `path` is not a regular file.
    """
    made = to_model(model, lengths=lengths, dtype=dtype)
    _files.replace(path, made.SerializeToString())


def to_model(
    model: Recurrent | CharLM, *, lengths: bool = False, dtype: DTypeLike | None = None
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

    Returns:
        An `onnx.ModelProto` of operator set 14.

    Raises:
        ValueError: ONNX has no operator for the cell, or for a projection or zoneout; or `lengths`
            is True for a language model.
        TypeError: The model is of another kind, or its dtype or precision requires `dtype`.
    """
    if not isinstance(model, (Recurrent, CharLM)):
        raise TypeError(
            f"model: expected rnnfast.Recurrent or rnnfast.training.CharLM, got "
            f"{type(model).__name__}"
        )
    layer = model if isinstance(model, Recurrent) else model.recurrent
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
    graph = _Graph(_chosen_dtype(layer, dtype))
    if isinstance(model, CharLM):
        if lengths:
            raise ValueError("lengths: expected False for a language model, got True")
        _add_language_model(graph, model)
    else:
        axes = ["batch", "seq_len"] if layer.batch_first else ["seq_len", "batch"]
        x = graph.input("x", [*axes, layer.input_size])
        if lengths:
            graph.input("lengths", ["batch"], np.dtype(np.int32))
        _add_layer(graph, layer, x, "y", lengths)
        graph.output("y", [*axes, layer.hidden_size * _directions(layer)])
    _add_states(graph, layer)
    result = graph.model(type(model).__name__)
    if isinstance(model, CharLM):
        helper.set_model_props(result, {"vocabulary": model.vocabulary.characters})
    checker.check_model(result, full_check=True)
    return result


class _Graph:
    """A builder of an ONNX graph; callers name the values."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(
        self, name: str, shape: Sequence[str | int], dtype: np.dtype[Any] | None = None
    ) -> str:
        self._inputs.append(self._value(name, shape, dtype or self.dtype))
        return name

    def output(self, name: str, shape: Sequence[str | int]) -> None:
        self._outputs.append(self._value(name, shape, self.dtype))

    def real(self, name: str, values: NDArray[Any]) -> str:
        """Return a constant of the graph's type."""
        self._constants.append(numpy_helper.from_array(values.astype(self.dtype), name))
        return name

    def integers(self, name: str, values: Sequence[int] | int, dtype: DTypeLike = np.int64) -> str:
        """Return a constant of integers."""
        self._constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def add(self, op_type: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node, named as its first output, which is returned."""
        self._nodes.append(
            helper.make_node(op_type, inputs, outputs, name=outputs[0], **attributes)
        )
        return outputs[0]

    def model(self, name: str) -> Any:
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="rnnfast",
            producer_version=__version__,
        )

    @staticmethod
    def _value(name: str, shape: Sequence[str | int], dtype: np.dtype[Any]) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        return helper.make_tensor_value_info(name, kind, shape)


def _chosen_dtype(layer: Recurrent, dtype: DTypeLike | None) -> np.dtype[Any]:
    if dtype is not None:
        return checks.real_dtype("dtype", dtype)
    if layer.dtype != np.float32 or layer.precision != "full":
        raise TypeError(
            "dtype: expected 'float32', which rounds the weights, or 'float64', which onnxruntime "
            f"does not run, for a {layer.dtype} model with precision {layer.precision!r}, got None"
        )
    return layer.dtype


def _directions(layer: Recurrent) -> int:
    return 2 if layer.bidirectional else 1


def _states(layer: Recurrent) -> str:
    return _STATES[: functional.cells()[layer.cell].states]


def _add_states(graph: _Graph, layer: Recurrent) -> None:
    rows, hidden = layer.num_layers * _directions(layer), layer.hidden_size
    for k, state in enumerate(_states(layer)):
        if layer.learn_state:  # an input with a default, one row that is used for all sequences
            graph.input(f"{state}0", [rows, "batch_or_1", hidden])
            graph.real(f"{state}0", getattr(layer, parameter_name(k)).value[:, None])
        else:
            graph.input(f"{state}0", [rows, "batch", hidden])
        graph.output(f"{state}n", [rows, "batch", hidden])


def _initial(graph: _Graph, layer: Recurrent, x: str) -> list[str]:
    """Return the names of the initial states, (L*D, B, H) each; x is (T, B, I)."""
    names = [f"{state}0" for state in _states(layer)]
    if not layer.learn_state:
        return names
    sizes = graph.add("Shape", [x], "x_shape")
    batch = graph.add("Gather", [sizes, graph.integers("batch_axis", [1])], "batch_size")
    one = graph.integers("one", [1])
    shape = graph.add("Concat", [one, batch, one], "state_shape", axis=0)
    return [graph.add("Expand", [name, shape], f"{name}_of_batch") for name in names]


def _add_language_model(graph: _Graph, model: CharLM) -> None:
    size = len(model.vocabulary)
    x = graph.input("x", ["seq_len", "batch"], np.dtype(np.int64))
    if model.embedding is None:
        depth, values = graph.integers("depth", size), graph.real("values", np.array([0, 1]))
        inputs = graph.add("OneHot", [x, depth, values], "one_hot")
    else:
        (table,) = model.embedding.parameters()
        inputs = graph.add("Gather", [graph.real("embedding", table.value), x], "embedded")
    y = _add_layer(graph, model.recurrent, inputs, "y", lengths=False)
    weight, bias = (p.value for p in model.head.parameters())
    product = graph.add("MatMul", [y, graph.real("head.weight", weight.T)], "product")
    graph.add("Add", [product, graph.real("head.bias", bias)], "logits")
    graph.output("logits", ["seq_len", "batch", size])


def _add_layer(graph: _Graph, layer: Recurrent, x: str, y: str, lengths: bool) -> str:
    """Add the layers from x to the value named y, from h0, c0 to hn, cn."""
    L, D, states = layer.num_layers, _directions(layer), _states(layer)
    operator = layout.OPERATORS[layer.cell].op_type
    attributes = layout.attributes(layer.cell, layer.hidden_size, D)
    if layer.batch_first:
        x = graph.add("Transpose", [x], "x_time_first", perm=[1, 0, 2])
    given = _initial(graph, layer, x)
    initial = [_split(graph, name, L, D) for name in given]
    final: list[list[str]] = [[] for _ in states]
    for k in range(L):
        arrays = layout.to_onnx(layer.cell, layer._weights[k * D : (k + 1) * D])
        values = {name: graph.real(f"{name}_l{k}", array) for name, array in arrays.items()}
        values |= {"X": x} | ({"sequence_lens": "lengths"} if lengths else {})
        values |= {f"initial_{s}": of_layer[k] for s, of_layer in zip(states, initial, strict=True)}
        outputs = [f"Y_l{k}", *(f"{state}n_l{k}" for state in states)]
        graph.add(operator, layout.inputs(values), *outputs, **attributes)
        for names, name in zip(final, outputs[1:], strict=True):
            names.append(name)
        x = y if k == L - 1 and not layer.batch_first else f"y_l{k}"
        _add_side_by_side(graph, outputs[0], x, k, D)
    if layer.batch_first:
        graph.add("Transpose", [x], y, perm=[1, 0, 2])
    if (
        lengths
    ):  # for a sequence without steps, onnxruntime returns zeros, and a layer the initial state
        empty = graph.add("Equal", ["lengths", graph.integers("zero", 0, np.int32)], "is_empty")
        empty = graph.add("Unsqueeze", [empty, graph.integers("empty_axis", [1])], "empty")
    for state, before, names in zip(states, given, final, strict=True):
        joined = f"{state}n_joined" if lengths else f"{state}n"
        graph.add("Concat", names, joined, axis=0)
        if lengths:
            graph.add("Where", [empty, before, joined], f"{state}n")
    return y


def _split(graph: _Graph, state: str, layers: int, directions: int) -> list[str]:
    """Return an initial state (L*D, B, H) as one (D, B, H) for each layer."""
    if layers == 1:
        return [state]
    sizes = graph.integers(f"{state}_sizes", [directions] * layers)
    names = [f"{state}_l{k}" for k in range(layers)]
    graph.add("Split", [state, sizes], *names, axis=0)
    return names


def _add_side_by_side(graph: _Graph, source: str, target: str, layer: int, directions: int) -> None:
    """Add nodes that convert (T, D, B, H) to (T, B, D*H)."""
    if directions == 1:
        graph.add("Squeeze", [source, graph.integers(f"axis_l{layer}", [1])], target)
        return
    turned = graph.add("Transpose", [source], f"{source}_turned", perm=[0, 2, 1, 3])
    shape = graph.integers(f"shape_l{layer}", [0, 0, -1])  # 0 keeps a size
    graph.add("Reshape", [turned, shape], target)
