"""Recurrent layers of other libraries with random weights, an input and the library's own output.

Sizes: T 6, B 3, I 4, H 5, so that a wrong axis has a wrong size.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

T, B, I, H = 6, 3, 4, 5


class Case(NamedTuple):
    """A layer of another library.

    Attributes:
        source: The convention.
        layers: The row of the convention.
        weights: The arrays by name.
        x: (T, B, I).
        y: (T, B, D*H), what the library computes.
        facts: What the arrays do not tell.
    """

    source: str
    layers: str
    weights: Mapping[str, Any]
    x: NDArray[Any]
    y: NDArray[Any]
    facts: dict[str, Any]


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Return random numbers: weights of this size bring out every gate."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def random_tree(tree: Any, seed: int = 1) -> Any:
    """Return a tree of the same shapes with random numbers, so that no bias is zero."""
    if isinstance(tree, Mapping):
        return {key: random_tree(v, seed + i) for i, (key, v) in enumerate(tree.items())}
    return numbers(*tree.shape, seed=seed)


def torch_case(kind: str, **options: Any) -> Case:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module = getattr(torch.nn, kind)(I, H, **options)
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            parameter.copy_(torch.from_numpy(numbers(*parameter.shape, seed=k)))
        x = numbers(T, B, I)
        with warnings.catch_warnings():  # oneDNN has no projections
            warnings.simplefilter("ignore")
            y = module(torch.from_numpy(x))[0].numpy()
    facts = {"activation": options.get("nonlinearity", "tanh")} if kind == "RNN" else {}
    return Case("pytorch", f"nn.{kind}, {kind}Cell", module.state_dict(), x, y, facts)


@pytest.fixture
def jax_in_32_bits() -> Iterator[None]:
    """Keras runs on JAX here, for which tests of `rnnfast.jax` switch on 64 bits in the process."""
    if importlib.util.find_spec("jax") is None:
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", before)


def keras_case(kind: str, seed: int = 1, **options: Any) -> Case:
    pytest.importorskip("keras", reason="Keras is not installed")
    import keras

    bidirectional = options.pop("bidirectional", False)
    layer = getattr(keras.layers, kind)(H, return_sequences=True, **options)
    layer = keras.layers.Bidirectional(layer) if bidirectional else layer
    layer.build((None, T, I))
    layer.set_weights([numbers(*w.shape, seed=seed + k) for k, w in enumerate(layer.get_weights())])
    x = numbers(T, B, I)
    y = np.asarray(layer(x.swapaxes(0, 1))).swapaxes(0, 1)
    facts: dict[str, Any] = {}
    given = layer.get_weights()
    names = ("kernel", "recurrent_kernel", "bias")[: len(given) // (2 if bidirectional else 1)]
    directions = ("forward.", "backward.") if bidirectional else ("",)
    weights = dict(zip([d + n for d in directions for n in names], given, strict=True))
    if kind == "SimpleRNN":
        facts["activation"] = options.get("activation", "tanh")
    else:
        gate = options.get("recurrent_activation", "sigmoid")
        facts["gate_activation"] = gate.replace("hard_sigmoid", "hard_sigmoid_keras3")
        facts["activation"] = options.get("activation", "tanh")
    form = f"(reset_after={options.get('reset_after', True)})" if kind == "GRU" else ""
    if kind == "GRU" and not options.get("use_bias", True):
        facts["reset_after"] = options.get("reset_after", True)
    return Case("keras", f"{kind}{form}", weights, x, y, facts)


def flax_case(kind: str) -> Case:
    linen = pytest.importorskip("flax.linen", reason="Flax is not installed")
    import jax

    network = linen.RNN(getattr(linen, kind)(H), time_major=True)
    x = numbers(T, B, I)
    variables = random_tree(network.init(jax.random.key(0), x))
    y = np.asarray(network.apply(variables, x))
    facts = {"activation": "tanh"} if kind == "SimpleCell" else {}
    layers = {"LSTMCell": "LSTMCell, OptimizedLSTMCell"}.get(kind, kind)
    layers = layers.replace("OptimizedLSTMCell", "LSTMCell, OptimizedLSTMCell", kind[0] == "O")
    return Case("flax", f"linen.{layers}", variables, x, y, facts)


def nnx_case(kind: str) -> Case:
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")
    cell = getattr(nnx, kind)(I, H, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(cell, nnx.Param, ...)
    given = random_tree(nnx.to_pure_dict(params))
    nnx.replace_by_pure_dict(params, given)
    x = numbers(T, B, I)
    y = np.asarray(nnx.RNN(nnx.merge(graph, params, rest), time_major=True)(x))
    facts = {"activation": "tanh"} if kind == "SimpleCell" else {}
    return Case("flax-nnx", f"nnx.{kind}", given, x, y, facts)


def haiku_case(kind: str) -> Case:
    hk = pytest.importorskip("haiku", reason="Haiku is not installed")
    import jax

    def run(x: Any) -> Any:
        core = getattr(hk, kind)(H)
        return hk.dynamic_unroll(core, x, core.initial_state(B))[0]

    network = hk.transform(run)
    x = numbers(T, B, I)
    params = random_tree(network.init(jax.random.key(0), x))
    y = np.asarray(network.apply(params, None, x))
    return Case("haiku", kind, params, x, y, {})


def equinox_case(kind: str, use_bias: bool = True) -> Case:
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    import jax

    cell = getattr(eqx.nn, kind)(I, H, use_bias, key=jax.random.key(0))
    x = numbers(T, B, I)
    ys = []
    for b in range(B):
        h = jax.numpy.zeros(H)
        state: Any = (h, h) if kind == "LSTMCell" else h
        for t in range(T):
            state = cell(x[t, b], state)
            ys.append(np.asarray(state[0] if kind == "LSTMCell" else state))
    y = np.stack(ys).reshape(B, T, H).swapaxes(0, 1)
    return Case("equinox", f"nn.{kind}", {"cell": cell}, x, y, {})  # a module is a dataclass


def openvino_case(kind: str, **options: Any) -> Case:
    ov = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    opset = ov.opset13
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    x_in = opset.parameter([B, T, I], np.float32)
    h, lengths = opset.constant(np.zeros((B, 1, H), np.float32)), opset.constant(np.full(B, T))
    after = options.get("linear_before_reset", False)
    W, R = numbers(gates * H, I, seed=1), numbers(gates * H, H, seed=2)
    biases = numbers((gates + after) * H, seed=3)
    constants = [opset.constant(a[None]) for a in (W, R, biases)]
    if kind == "lstm":
        node = opset.lstm_sequence(x_in, h, h, lengths, *constants, H, "FORWARD")
    else:
        function = {"gru": opset.gru_sequence, "rnn": opset.rnn_sequence}[kind]
        node = function(x_in, h, lengths, *constants, H, "FORWARD", **options)
    x = numbers(T, B, I)
    compiled = ov.compile_model(ov.Model([node.output(0)], [x_in]), "CPU",
                                {"INFERENCE_PRECISION_HINT": "f32"})  # fmt: skip
    y = compiled(x.swapaxes(0, 1))[0][:, 0].swapaxes(0, 1)
    weights = {"W": W, "R": R, "B": biases[: gates * H]}
    if after:
        weights["B_h"] = biases[gates * H :]
    facts = {"activation": "tanh"} if kind == "rnn" else {}
    name = {"lstm": "LSTMSequence, LSTMCell", "rnn": "RNNSequence"}.get(kind, "GRUSequence")
    layers = f"{name}(linear_before_reset=True)" if after else name
    return Case("openvino", layers, weights, x, y, facts)


def onnx_case(op_type: str, **options: Any) -> Case:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from onnx import TensorProto, helper, numpy_helper

    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type]
    peepholes = options.pop("peepholes", False)
    weights = {"W": numbers(gates * H, I, seed=1), "R": numbers(gates * H, H, seed=2),
               "B": numbers(2 * gates * H, seed=3)}  # fmt: skip
    if peepholes:
        weights["P"] = numbers(3 * H, seed=4)
    inputs = ["x", "W", "R", "B", *(["", "", "", "P"] if peepholes else [])]
    node = helper.make_node(op_type, inputs, ["y"], hidden_size=H, **options)
    x = numbers(T, B, I)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, (T, 1, B, H))
    constants = [numpy_helper.from_array(a[None], n) for n, a in weights.items()]
    graph = helper.make_graph([node], "case", [given], [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString())
    y = session.run(None, {"x": x})[0][:, 0]
    facts: dict[str, Any] = {"activation": "tanh"} if op_type == "RNN" else {}
    layers = op_type + (" with P" if peepholes else "")
    if op_type == "GRU":
        facts["reset_after"] = bool(options.get("linear_before_reset", 0))
        layers += "(linear_before_reset=1)" if facts["reset_after"] else ""
    return Case("onnx", layers, weights, x, y, facts)


def tinygrad_case() -> Case:
    pytest.importorskip("tinygrad", reason="tinygrad is not installed")
    from tinygrad import Tensor
    from tinygrad.nn import LSTMCell
    from tinygrad.nn.state import get_state_dict

    cell = LSTMCell(I, H)
    weights = {
        n: numbers(*v.shape, seed=k) for k, (n, v) in enumerate(get_state_dict(cell).items())
    }
    for name, value in weights.items():
        setattr(cell, name, Tensor(value))
    x, state, ys = numbers(T, B, I), None, []
    for step in x:
        state = cell(Tensor(step), state)
        ys.append(state[0].numpy())
    return Case("tinygrad", "nn.LSTMCell", weights, x, np.stack(ys), {})


def mlx_case(kind: str, bias: bool = True) -> Case:
    nn = pytest.importorskip("mlx.nn", reason="MLX is not installed")
    import mlx.core as mx
    from mlx.utils import tree_flatten

    module = getattr(nn, kind)(I, H, bias)
    weights = {
        n: numbers(*v.shape, seed=k) for k, (n, v) in enumerate(tree_flatten(module.parameters()))
    }
    module.load_weights([(name, mx.array(value)) for name, value in weights.items()])
    x = numbers(T, B, I)
    y = module(mx.array(x.swapaxes(0, 1)))
    y = np.array(y[0] if kind == "LSTM" else y).swapaxes(0, 1)
    facts = {"activation": "tanh"} if kind == "RNN" else {}
    return Case("mlx", f"nn.{kind}", weights, x, y, facts)


def ncnn_case(kind: str, folder: Any, direction: int = 0) -> Case:
    """Return a layer of a model in two files, which the case names; direction 2 is both."""
    ncnn = pytest.importorskip("ncnn", reason="ncnn is not installed")
    G, D = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if direction == 2 else 1
    W, R = numbers(D, G * H, I, seed=1), numbers(D, G * H, H, seed=2)
    bias = numbers(D, (4 if kind == "GRU" else G) * H, seed=3)
    (folder / "m.param").write_text(
        f"7767517\n2 2\nInput in 0 1 x\n{kind} rnn 1 1 x y 0={H} 1={W.size} 2={direction}\n"
    )
    flag = b"\0\0\0\0"
    (folder / "m.bin").write_bytes(b"".join(flag + a.tobytes() for a in (W, bias, R)))
    x = numbers(T, B, I)
    ys = []
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = False
    net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.load_param(str(folder / "m.param"))
    net.load_model(str(folder / "m.bin"))
    for b in range(B):
        extractor, one = net.create_extractor(), np.ascontiguousarray(x[:, b])
        extractor.input("x", ncnn.Mat(one).clone())
        ys.append(np.array(extractor.extract("y")[1]))
        del extractor  # before its network
    weights = {"weight_xc": W[0], "weight_hc": R[0], "bias_c": bias[0, : G * H]}
    if kind == "GRU":
        weights["bias_hn"] = bias[0, G * H :]
    return Case("ncnn", kind, weights, x, np.stack(ys, axis=1), {})


CASES: dict[str, Callable[[], Case]] = {
    "torch LSTM": lambda: torch_case("LSTM"),
    "torch LSTM projected": lambda: torch_case("LSTM", proj_size=3),
    "torch LSTM, 2 layers and directions": lambda: torch_case(
        "LSTM", num_layers=2, bidirectional=True
    ),
    "torch LSTM without bias": lambda: torch_case("LSTM", bias=False),
    "torch GRU": lambda: torch_case("GRU"),
    "torch GRU, 3 layers": lambda: torch_case("GRU", num_layers=3),
    "torch RNN": lambda: torch_case("RNN"),
    "torch RNN relu": lambda: torch_case("RNN", nonlinearity="relu"),
    "keras LSTM": lambda: keras_case("LSTM"),
    "keras LSTM hard_sigmoid": lambda: keras_case("LSTM", recurrent_activation="hard_sigmoid"),
    "keras LSTM softsign": lambda: keras_case("LSTM", activation="softsign"),
    "keras LSTM elu": lambda: keras_case("LSTM", activation="elu"),
    "keras LSTM bidirectional": lambda: keras_case("LSTM", bidirectional=True),
    "keras LSTM without bias": lambda: keras_case("LSTM", use_bias=False),
    "keras GRU": lambda: keras_case("GRU"),
    "keras GRU reset before": lambda: keras_case("GRU", reset_after=False),
    "keras GRU hard_sigmoid": lambda: keras_case("GRU", recurrent_activation="hard_sigmoid"),
    "keras GRU without bias": lambda: keras_case("GRU", use_bias=False),
    "keras GRU reset before, without bias": lambda: keras_case(
        "GRU", use_bias=False, reset_after=False
    ),
    "keras GRU bidirectional": lambda: keras_case("GRU", bidirectional=True),
    "keras SimpleRNN": lambda: keras_case("SimpleRNN"),
    "keras SimpleRNN relu": lambda: keras_case("SimpleRNN", activation="relu"),
    "keras SimpleRNN softplus": lambda: keras_case("SimpleRNN", activation="softplus"),
    "flax LSTMCell": lambda: flax_case("LSTMCell"),
    "flax OptimizedLSTMCell": lambda: flax_case("OptimizedLSTMCell"),
    "flax GRUCell": lambda: flax_case("GRUCell"),
    "flax SimpleCell": lambda: flax_case("SimpleCell"),
    "nnx LSTMCell": lambda: nnx_case("LSTMCell"),
    "nnx OptimizedLSTMCell": lambda: nnx_case("OptimizedLSTMCell"),
    "nnx GRUCell": lambda: nnx_case("GRUCell"),
    "nnx SimpleCell": lambda: nnx_case("SimpleCell"),
    "haiku LSTM": lambda: haiku_case("LSTM"),
    "haiku GRU": lambda: haiku_case("GRU"),
    "haiku VanillaRNN": lambda: haiku_case("VanillaRNN"),
    "equinox LSTMCell": lambda: equinox_case("LSTMCell"),
    "equinox GRUCell": lambda: equinox_case("GRUCell"),
    "equinox GRUCell without bias": lambda: equinox_case("GRUCell", use_bias=False),
    "openvino LSTM": lambda: openvino_case("lstm"),
    "openvino GRU": lambda: openvino_case("gru"),
    "openvino GRU reset after": lambda: openvino_case("gru", linear_before_reset=True),
    "openvino RNN": lambda: openvino_case("rnn"),
    "onnx LSTM": lambda: onnx_case("LSTM"),
    "onnx LSTM with peepholes": lambda: onnx_case("LSTM", peepholes=True),
    "onnx GRU": lambda: onnx_case("GRU"),
    "onnx GRU reset after": lambda: onnx_case("GRU", linear_before_reset=1),
    "onnx RNN": lambda: onnx_case("RNN"),
    "tinygrad LSTMCell": tinygrad_case,
    "mlx LSTM": lambda: mlx_case("LSTM"),
    "mlx GRU": lambda: mlx_case("GRU"),
    "mlx GRU without bias": lambda: mlx_case("GRU", bias=False),
    "mlx RNN": lambda: mlx_case("RNN"),
}
"""Libraries that CI installs, by the names of tests."""
