"""ONNX files that are damaged, mislabelled or ask for too much cause only documented errors."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import tracemalloc
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import onnx_models
import rnnfast.onnx
from onnx_models import Operator

EXAMPLES = int(os.environ.get("RNNFAST_FUZZ_EXAMPLES", "1000"))
MEMORY = 64 * 2**20


@contextlib.contextmanager
def little_memory() -> Any:
    """Fail if Python and NumPy allocate more than `MEMORY` inside the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def node(op_type: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(op_type, inputs, [output], **attributes)


def doubled(name: str) -> list[Any]:
    """Return nodes that join a value of a hundred elements with itself again and again."""
    steps = ["hundred", *(f"step{k}" for k in range(30)), name]
    return [node("Concat", [a, a], b, axis=1) for a, b in itertools.pairwise(steps)]


ONE = numpy_helper.from_array(np.ones(1, np.float32))
TOO_LARGE: dict[str, Callable[[str], list[Any]]] = {
    "ConstantOfShape": lambda name: [node("ConstantOfShape", ["huge"], name, value=ONE)],
    "Expand": lambda name: [node("Expand", ["one", "huge"], name)],
    "Tile": lambda name: [node("Tile", ["one", "huge"], name)],
    "Range": lambda name: [node("Range", ["start", "end", "delta"], name)],
    "Gather": lambda name: [
        node("Expand", ["zero", "large"], "places"),
        node("Gather", ["hundred", "places"], name),
    ],
    "MatMul": lambda name: [
        node("Expand", ["one", "tall"], "column"),
        node("Expand", ["one", "wide"], "row"),
        node("MatMul", ["column", "row"], name),
    ],
    "Add": lambda name: [
        node("Expand", ["one", "tall"], "column"),
        node("Expand", ["one", "wide"], "row"),
        node("Add", ["column", "row"], name),
    ],
    "Concat": doubled,
}
CONSTANTS = {
    "huge": np.array([1, 4 * 2**17, 2**17]),
    "large": np.array([2**18, 1]),
    "tall": np.array([1, 2**18, 1]),
    "wide": np.array([1, 1, 2**18]),
    "one": np.ones((1, 1, 1), np.float32),
    "hundred": np.ones((1, 100, 1), np.float32),
    "zero": np.array([0]),
    "start": np.array(0.0, np.float32),
    "end": np.array(1e12, np.float32),
    "delta": np.array(1.0, np.float32),
}


@pytest.mark.parametrize("name", ["W", "R", "B", "initial_h"])
@pytest.mark.parametrize("op_type", TOO_LARGE)
def test_a_small_file_cannot_ask_for_much_memory(op_type: str, name: str) -> None:
    """A file of a few kilobytes could otherwise ask for up to 384 GiB."""
    built = onnx_models.build(Operator("LSTM"), [c for c in onnx_models.CONSTANTS if c != name])
    del built.model.graph.input[1:]
    makers = TOO_LARGE[op_type](name)
    for k, maker in enumerate(makers):
        built.model.graph.node.insert(k, maker)
    for constant, values in CONSTANTS.items():
        built.model.graph.initializer.append(numpy_helper.from_array(values, constant))
    with (
        little_memory(),
        pytest.raises(ValueError, match=rf"input {name}: \w+ node .* is too large in relation"),
    ):
        rnnfast.onnx.load(built.model)


def test_a_state_of_a_computed_shape_is_bounded_by_the_call() -> None:
    built = onnx_models.build(Operator("RNN", states=False))
    nodes = [
        node("Shape", ["X"], "shape"),
        node("Mul", ["shape", "million"], "large_shape"),
        node("ConstantOfShape", ["large_shape"], "zeros"),
        node("Cos", ["zeros"], "unread"),
        node("Add", ["zeros", "one"], "initial_h"),
    ]
    for k, maker in enumerate(nodes):
        built.model.graph.node.insert(k, maker)
    built.model.graph.node[-1].input.extend(["", "initial_h"])
    built.model.graph.initializer.append(numpy_helper.from_array(np.array([10**6]), "million"))
    built.model.graph.initializer.append(numpy_helper.from_array(CONSTANTS["one"], "one"))
    (read,) = rnnfast.onnx.load(built.model)
    with (
        little_memory(),
        pytest.raises(ValueError, match="initial_h: the model's own value cannot be"),
    ):
        read(built.feeds["X"])


def test_functions_that_call_one_another_a_billion_times() -> None:
    built = onnx_models.build(Operator("RNN", states=False))
    opsets = [helper.make_opsetid("", 14), helper.make_opsetid("own", 1)]
    for k in range(30):
        inner = node("Identity", ["a"], "b") if k == 0 else None
        call = f"f{k - 1}"
        body = (
            [inner]
            if inner
            else [node(call, ["a"], "c", domain="own"), node(call, ["c"], "b", domain="own")]
        )
        function = helper.make_function("own", f"f{k}", ["a"], ["b"], body, opsets)
        built.model.functions.append(function)
    built.model.opset_import.append(helper.make_opsetid("own", 1))
    built.model.graph.node.insert(0, node("f29", ["X"], "unused", domain="own"))
    with pytest.raises(ValueError, match="source: expected at most 1000000 nodes"):
        rnnfast.onnx.load(built.model)
    built.model.functions[0].node[0].op_type = "f29"
    built.model.functions[0].node[0].domain = "own"
    with pytest.raises(ValueError, match="source: expected functions without recursion, got 'f"):
        rnnfast.onnx.load(built.model)


def test_values_that_depend_on_one_another_in_a_circle() -> None:
    built = onnx_models.build(Operator("RNN", states=False), ("R", "B"))
    del built.model.graph.input[1:]
    built.model.graph.node.insert(0, node("Identity", ["other"], "W"))
    built.model.graph.node.insert(0, node("Identity", ["W"], "other"))
    with pytest.raises(ValueError, match="input W: expected a constant, got a value that is not"):
        rnnfast.onnx.load(built.model)


class TestFiles:
    """Paths and bytes that are not ONNX models."""

    def test_junk(self, tmp_path: Path) -> None:
        path = tmp_path / "junk.onnx"
        for content in (b"no model at all", b"", os.urandom(100)):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf"source: cannot read {path} as an ONNX model: "):
                rnnfast.onnx.load(path)
            with pytest.raises(ValueError, match="source: cannot read these bytes as an ONNX mo"):
                rnnfast.onnx.load(content)

    def test_no_regular_file(self, tmp_path: Path) -> None:
        """A pipe would make the caller wait forever."""
        with pytest.raises(FileNotFoundError, match=r"missing\.onnx"):
            rnnfast.onnx.load(tmp_path / "missing.onnx")
        with pytest.raises(IsADirectoryError, match=str(tmp_path)):
            rnnfast.onnx.load(tmp_path)
        os.mkfifo(tmp_path / "pipe.onnx")
        for path in (tmp_path / "pipe.onnx", "/dev/zero"):
            with pytest.raises(OSError, match=r"it is a \w+( device)?, not a regular file"):
                rnnfast.onnx.load(path)

    def test_no_source(self) -> None:
        with pytest.raises(TypeError, match=r"source: expected a path, .* got int"):
            rnnfast.onnx.load(3)

    def test_weights_in_a_file_beside_the_model(self, tmp_path: Path) -> None:
        """A path finds the weights; bytes, or a model read without them, give a helpful error."""
        built = onnx_models.build(Operator("LSTM", H=40))
        (expected,) = rnnfast.onnx.load(built.model)
        path = tmp_path / "model.onnx"
        onnx.save(built.model, path, save_as_external_data=True, location="weights.bin")
        (read,) = rnnfast.onnx.load(path)
        weights = zip(expected.directions[0].weights, read.directions[0].weights, strict=True)
        assert all(np.array_equal(a, b) for a, b in weights)
        message = r"input W: tensor 'W': .* in the file 'weights\.bin' beside it; pass the path"
        for source in (path.read_bytes(), onnx.load(path, load_external_data=False)):
            with pytest.raises(ValueError, match=message):
                rnnfast.onnx.load(source)
        (tmp_path / "weights.bin").unlink()
        with pytest.raises(ValueError, match=rf"source: cannot read {path} .*weights\.bin"):
            rnnfast.onnx.load(path)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Loop", ["n", "yes"], "Y")], r"got nodes of Loop; Loop are loops: .*load_keras_we"),
        ([node("Scan", ["X"], "Y")], r"got nodes of Scan; .*load_keras_weights"),
        (
            [node("Gemm", ["X", "X"], "a"), node("Tanh", ["a"], "Y")],
            r"got nodes of Gemm, Tanh; .*dynamo=False",
        ),
        ([node("Conv", ["X", "X"], "Y")], r"got nodes of Conv$"),
        ([], r"got nodes of nothing$"),
    ],
)
def test_a_model_without_recurrent_operators_says_what_to_do(nodes: list[Any], words: str) -> None:
    model = onnx_models.model(nodes, {"X": np.zeros((2, 2), np.float32)}, [], {})
    with pytest.raises(ValueError, match=rf"source: expected a model with a node of .*, {words}"):
        rnnfast.onnx.load(model)


@lru_cache
def seeds() -> list[bytes]:
    """Return whole files, with every kind of input, computed and constant."""
    models = [
        onnx_models.build(Operator("LSTM", "bidirectional", H=3, I=2, peepholes=True)).model,
        onnx_models.build(Operator("GRU", H=3, I=2, attributes={"clip": 1.0})).model,
        onnx_models.build(
            Operator("RNN", H=3, I=2, lengths=True, attributes={"activations": ["Affine"],
                     "activation_alpha": [1.0]}), onnx_models.INPUTS[1:]
        ).model,
        rnnfast.onnx.to_model(rnnfast.GRU(2, 3, 2, bidirectional=True, seed=1), lengths=True),
    ]  # fmt: skip
    computed = onnx_models.build(Operator("RNN", H=3, I=2, states=False)).model
    computed.graph.input[0].name = "x"  # batch first, because its shape is asked for
    makers = [
        node("Transpose", ["x"], "X", perm=[1, 0, 2]),
        node("Shape", ["x"], "shape"),
        node("Gather", ["shape", "zero_place"], "batch"),
        node("Concat", ["one_place", "batch", "three"], "state_shape", axis=0),
        node("Expand", ["h", "state_shape"], "initial_h"),
    ]
    for k, maker in enumerate(makers):
        computed.graph.node.insert(k, maker)
    computed.graph.node[-1].input.extend(["", "initial_h"])
    for name, values in (
        ("one_place", np.array([1])),
        ("zero_place", np.array([0])),
        ("three", np.array([3])),
        ("h", np.ones((1, 1, 3), np.float32)),
    ):
        computed.graph.initializer.append(numpy_helper.from_array(values, name))
    for dim in computed.graph.input[0].type.tensor_type.shape.dim[:2]:
        dim.ClearField("dim_value")
    (read,) = rnnfast.onnx.load(computed)
    assert read(np.ones((4, 2, 2), np.float32))[0].any()
    return [model.SerializeToString() for model in (*models, computed, surrounded())]


def surrounded() -> Any:
    """Return a model of a recurrent operator among others, for sessions."""
    model = onnx_models.build(Operator("LSTM", H=3, I=2, T=4, B=1, states=False)).model
    constants = {
        "kernel": np.ones((2, 2, 3), np.float32),
        "pads": np.array([0, 0, 1, 0, 0, 2]),
        "places": np.array([0]),
        "many": np.array([7]),
        "axis": np.array([2]),
        "weight": np.ones((3, 5), np.float32),
    }
    before = [
        node("Pad", ["x", "pads"], "padded", mode="reflect"),
        node("Conv", ["padded", "kernel"], "seen", pads=[1, 1], strides=[1], kernel_shape=[3]),
        node("MaxPool", ["seen"], "pooled", kernel_shape=[2], pads=[1, 0]),
        node("Slice", ["pooled", "places", "many", "axis"], "some"),
        node("Transpose", ["some"], "X", perm=[2, 0, 1]),
    ]
    after = [
        node("Squeeze", ["Y"], "h"),
        node("MatMul", ["h", "weight"], "product"),
        node("DynamicQuantizeLinear", ["product"], "bytes"),
        node("ReduceMean", ["product"], "mean", axes=[0], keepdims=0),
        node("Softmax", ["mean"], "y"),
    ]
    after[2].output.extend(["scale", "start"])
    nodes = [*before, *model.graph.node, *after]
    values = {
        n: numpy_helper.to_array(t) for n, t in ((t.name, t) for t in model.graph.initializer)
    }
    made = onnx_models.model(
        nodes, {"x": np.ones((1, 2, 5), np.float32)}, ["y"], values | constants
    )
    made.graph.output[0].type.Clear()
    assert run(rnnfast.onnx.Session(made))[0].shape == (5,)
    return made


def run(session: rnnfast.onnx.Session) -> list[np.ndarray]:
    """Run a session on small inputs of ones; return nothing if it asks for large ones."""
    shapes = [[n if isinstance(n, int) else 2 for n in i.shape or (2,)] for i in session.inputs]
    if any(np.prod(shape, dtype=float) > 1000 for shape in shapes):
        return []
    inputs = zip(session.inputs, shapes, strict=True)
    return session.run(None, {i.name: np.ones(shape, i.dtype) for i, shape in inputs})


def damaged(data: bytes, kind: str, rng: random.Random) -> bytes:
    """Return a file with a part changed, cut off, removed, repeated or taken from another file."""
    content = bytearray(data)
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((1, 2, 8, 100)))
    if kind == "bits":
        for _ in range(rng.choice((1, 1, 4, 30))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        content[start:end] = rng.randbytes(end - start)
    elif kind == "cut":
        del content[start:]
    elif kind == "left out":
        del content[start:end]
    elif kind == "twice":
        content[start:start] = content[start:end]
    else:
        other = rng.choice(seeds())
        content[start:] = other[rng.randrange(len(other)) :]
    return bytes(content)


def rewritten(data: bytes, rng: random.Random) -> bytes:
    """Return a file that is still a model, in which a number, a name or a place was changed."""
    model = onnx.load_model_from_string(data)
    sizes = (0, 1, -1, 2, 3, 7, 2**20, 2**31, 2**40, 2**62, -(2**63))
    chosen = rng.choice(model.graph.node)
    tensor = rng.choice(model.graph.initializer)
    names = [name for n in model.graph.node for name in (*n.input, *n.output)]
    kind = rng.randrange(8)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(sizes)
    elif kind == 1:
        tensor.data_type = rng.randrange(24)
    elif kind == 2 and chosen.input:
        chosen.input[rng.randrange(len(chosen.input))] = rng.choice(names)
    elif kind == 3 and chosen.attribute:
        attribute = rng.choice(chosen.attribute)
        attribute.i = rng.choice(sizes)
        attribute.f = rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
        attribute.type = rng.choice((attribute.type, rng.randrange(12)))
    elif kind == 4:
        chosen.op_type = rng.choice([n.op_type for n in model.graph.node])
    elif kind == 5:
        shape = numpy_helper.from_array(np.array([rng.choice(sizes) for _ in range(3)]), "made.s")
        model.graph.initializer.append(shape)
        model.graph.node.insert(0, node("ConstantOfShape", ["made.s"], "made"))
        chosen.input.append("made")
        chosen.input[rng.randrange(len(chosen.input))] = "made"
    elif kind == 6:
        model.graph.node.insert(0, rng.choice(model.graph.node))
    else:
        model.opset_import[0].version = rng.choice((0, 1, 7, 10, 99, 2**31, -1))
    return bytes(model.SerializeToString())


KINDS = ("bits", "bytes", "cut", "left out", "twice", "joined", "rewritten", "rewritten")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # damaged weights may be NaN
@settings(
    max_examples=EXAMPLES, deadline=30_000, derandomize="RNNFAST_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck), database=None,
)  # fmt: skip
@given(
    data=st.integers(0, 5),
    kind=st.sampled_from(KINDS),
    changes=st.integers(1, 3),
    rng=st.integers(0, 2**63).map(random.Random),
)
def test_damaged_files_end_in_documented_errors(
    data: int, kind: str, changes: int, rng: random.Random
) -> None:
    """They cause no other exception, crash, hang, or memory use out of proportion to the file.

    RNNFAST_FUZZ_EXAMPLES=100000 makes the test run longer, with new files each time.
    """
    content = seeds()[data]
    with little_memory():
        for _ in range(changes):
            if kind == "rewritten":
                content = rewritten(content, rng)
            elif content:
                content = damaged(content, kind, rng)
        with contextlib.suppress(ValueError, TypeError):
            run(rnnfast.onnx.Session(content))
        try:
            nodes = rnnfast.onnx.load(content)
        except (ValueError, TypeError):
            return
        for read in nodes:
            axes = (2, 3, read.input_size)
            with contextlib.suppress(ValueError, TypeError):
                read(np.ones(axes, read.dtype))
        with contextlib.suppress(ValueError, TypeError):
            rnnfast.onnx.to_layer(*nodes)
