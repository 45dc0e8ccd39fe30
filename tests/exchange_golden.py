"""Makes the golden cases in `tests/exchange_golden/`: layers of large libraries and their output.

    python tests/exchange_golden.py tensorflow sonnet

runs in an environment that has the libraries named, and writes a file for each. Weights and inputs
are multiples of 1/64, so that files are short and exact.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import sys
import tempfile
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
FOLDER = Path(__file__).with_suffix("")
T, B, I, H = 4, 2, 2, 3


def numbers(*shape: int, seed: int) -> Any:
    values = np.random.default_rng([seed, *shape]).normal(size=shape)
    return (np.round(values * 64) / 64).astype(np.float32)


def case(
    library: str, source: str, layers: str, weights: Any, y: Any, **facts: Any
) -> dict[str, Any]:
    return {
        "library": library,
        "source": source,
        "layers": layers,
        "facts": facts,
        "weights": {name: np.asarray(a).tolist() for name, a in weights.items()},
        "y": np.round(np.asarray(y, np.float64), 6).tolist(),
    }


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def tensorflow() -> list[dict[str, Any]]:
    import tensorflow as tf

    version, x = f"tensorflow {tf.__version__}", numbers(T, B, I, seed=0)
    v1 = tf.compat.v1
    cells = v1.nn.rnn_cell
    made = [
        (
            "BasicLSTMCell, LSTMCell, LSTMBlockCell",
            lambda: cells.BasicLSTMCell(H),
            {"forget_offset": 1.0, "cell_clip": 0.0},
        ),
        (
            "BasicLSTMCell, LSTMCell, LSTMBlockCell",
            lambda: cells.LSTMCell(H, forget_bias=0.0, cell_clip=0.5),
            {"forget_offset": 0.0, "cell_clip": 0.5},
        ),
        (
            "LSTMCell(use_peepholes=True)",
            lambda: cells.LSTMCell(H, use_peepholes=True),
            {"forget_offset": 1.0, "cell_clip": 0.0},
        ),
        ("GRUCell, GRUBlockCell", lambda: cells.GRUCell(H), {}),
        ("BasicRNNCell", lambda: cells.BasicRNNCell(H), {"activation": "tanh"}),
    ]
    result = []
    for layers, make, facts in made:
        with tf.Graph().as_default(), v1.Session() as session:
            y, _ = v1.nn.dynamic_rnn(make(), tf.constant(x), dtype=tf.float32, time_major=True)
            weights = {}
            for k, variable in enumerate(v1.global_variables()):
                value = numbers(*variable.shape, seed=k + 1)
                session.run(variable.assign(value))
                weights[variable.name] = value
            result.append(case(version, "tensorflow1", layers, weights, session.run(y), **facts))
    w, b, zeros = (
        numbers(I + H, 4 * H, seed=1),
        numbers(4 * H, seed=2),
        np.zeros((B, H), np.float32),
    )
    peepholes = {name: numbers(H, seed=k) for k, name in enumerate(("wci", "wcf", "wco"))}
    for use_peephole in (False, True):
        given = peepholes if use_peephole else dict.fromkeys(peepholes, np.zeros(H, np.float32))
        of = tf.raw_ops.BlockLSTM(seq_len_max=T, x=x, cs_prev=zeros, h_prev=zeros, w=3 * w, b=b,
                                  use_peephole=use_peephole, **given)  # fmt: skip
        layers = (
            "BlockLSTM(use_peephole=True)"
            if use_peephole
            else "the operators BlockLSTM, LSTMBlockCell"
        )
        weights = {"lstm.w": 3 * w, "lstm.b": b}
        weights |= {f"lstm.{n}": p for n, p in peepholes.items()} if use_peephole else {}
        result.append(case(version, "tensorflow-block", layers, weights, of.h, forget_offset=1.0,
                           cell_clip=3.0))  # fmt: skip
    given = dict.fromkeys(peepholes, np.zeros(H, np.float32))
    of = tf.raw_ops.BlockLSTMV2(seq_len_max=T, x=x, cs_prev=zeros, h_prev=zeros, w=w, b=b, **given)
    result.append(case(version, "tensorflow-block-v2", "the operator BlockLSTMV2",
                       {"lstm.w": w, "lstm.b": b}, of.h, cell_clip=0.0))  # fmt: skip
    gru = {"w_ru": numbers(I + H, 2 * H, seed=1), "w_c": numbers(I + H, H, seed=2),
           "b_ru": numbers(2 * H, seed=3), "b_c": numbers(H, seed=4)}  # fmt: skip
    h, ys = zeros, []
    for step in x:
        h = tf.raw_ops.GRUBlockCell(x=step, h_prev=h, **gru).h
        ys.append(h)
    result.append(case(version, "tensorflow-block", "the operator GRUBlockCell", gru, np.stack(ys)))
    return result


def keras2() -> list[dict[str, Any]]:
    """A file with the hard sigmoid, and weights of CuDNN as the loader of Keras 2 converts them."""
    import tf_keras
    from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

    version, x, result = f"tf_keras {tf_keras.__version__}", numbers(T, B, I, seed=0), []
    batch_first = x.swapaxes(0, 1)

    def output(layer: Any, weights: list[Any]) -> Any:
        model = tf_keras.Sequential([layer])
        model.build((None, T, I))
        layer.set_weights(weights)
        return model, np.swapaxes(model(batch_first).numpy(), 0, 1)

    layer = tf_keras.layers.LSTM(H, recurrent_activation="hard_sigmoid", return_sequences=True)
    given = [numbers(I, 4 * H, seed=1), numbers(H, 4 * H, seed=2), numbers(4 * H, seed=3)]
    model, y = output(layer, given)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.h5")
        content = packed(Path(f"{folder}/model.h5").read_bytes())
    result.append(case(version, "keras", "LSTM", {}, y, gate_activation="hard_sigmoid_keras2")
                  | {"packed": content})  # fmt: skip
    for kind, G in (("LSTM", 4), ("GRU", 3)):
        layer = getattr(tf_keras.layers, kind)(H, return_sequences=True)
        given = [numbers(I, G * H, seed=1), numbers(H, G * H, seed=2), numbers(2 * G * H, seed=3)]
        layer.build((None, T, I))
        converted = preprocess_weights_for_loading(layer, [w.copy() for w in given])
        _, y = output(layer, converted)
        weights = dict(zip(("kernel", "recurrent_kernel", "bias"), given, strict=True))
        result.append(case(version, "keras", f"CuDNN{kind} (Keras 2)", weights, y))
    return result


def sonnet() -> list[dict[str, Any]]:
    import sonnet as snt
    import tensorflow as tf

    x, result = numbers(T, B, I, seed=0), []
    for kind in ("LSTM", "GRU", "VanillaRNN"):
        core = getattr(snt, kind)(H)
        core(tf.constant(x[0]), core.initial_state(B))
        weights = {}
        for k, variable in enumerate(core.trainable_variables):
            value = numbers(*variable.shape, seed=k + 1)
            variable.assign(value)
            weights[variable.name] = value
        state, ys = core.initial_state(B), []
        for step in x:
            y, state = core(tf.constant(step), state)
            ys.append(y)
        facts = {"activation": "tanh"} if kind == "VanillaRNN" else {}
        result.append(
            case(f"dm-sonnet {snt.__version__}", "sonnet", kind, weights, np.stack(ys), **facts)
        )
    return result


def paddle() -> list[dict[str, Any]]:
    import paddle as pp

    version, x, result = f"paddlepaddle {pp.__version__}", numbers(T, B, I, seed=0), []
    for kind, layers, options in (
        ("LSTM", "nn.LSTM, LSTMCell", {}),
        ("LSTM", "nn.LSTM, LSTMCell", {"num_layers": 2, "direction": "bidirect"}),
        ("GRU", "nn.GRU, GRUCell", {}),
        ("SimpleRNN", "nn.SimpleRNN", {}),
    ):
        network = getattr(pp.nn, kind)(I, H, time_major=True, **options)
        weights = {}
        for k, (name, parameter) in enumerate(network.named_parameters()):
            value = numbers(*parameter.shape, seed=k + 1)
            parameter.set_value(value)
            weights[name] = value
        facts = {"activation": "tanh"} if kind == "SimpleRNN" else {}
        y = network(pp.to_tensor(x))[0].numpy()
        result.append(case(version, "paddle", layers, weights, y, **facts))
    given = {"fc.w_0": numbers(I, 3 * H, seed=1), "gru.w_0": numbers(H, 3 * H, seed=2),
             "gru.b_0": numbers(1, 3 * H, seed=3)}  # fmt: skip
    w, r, b = (pp.to_tensor(a) for a in given.values())
    sigmoid, tanh = 1, 2  # the numbers of the functions
    for origin_mode in (False, True):
        h, ys = pp.zeros([B, H]), []
        for step in x:
            h = pp._C_ops.gru_unit(pp.to_tensor(step) @ w, h, r, b, tanh, sigmoid, origin_mode)
            ys.append(h.numpy())
        z = "keeps" if origin_mode else "replaces"
        layers = "fc, dynamic_gru; gru_unit"
        result.append(case(version, "paddle-fluid", layers, given, np.stack(ys), update_gate=z))
    return [*result, *(dynamic_lstm(version, use_peepholes=flag) for flag in (False, True))]


def dynamic_lstm(version: str, *, use_peepholes: bool) -> dict[str, Any]:
    """The operator of a function of PaddlePaddle 1, which only a program of that time can have."""
    import paddle as pp

    length = (7 if use_peepholes else 4) * H
    weights = {"fc.w_0": numbers(I, 4 * H, seed=1), "fc.b_0": numbers(4 * H, seed=2)}
    weights |= {"lstm.w_0": numbers(H, 4 * H, seed=3), "lstm.b_0": numbers(1, length, seed=4)}
    x = numbers(T, B, I, seed=0)
    projected = (x @ weights["fc.w_0"] + weights["fc.b_0"]).swapaxes(0, 1).reshape(B * T, 4 * H)
    pp.enable_static()
    with pp.pir_utils.OldIrGuard():
        program = pp.static.Program()
        with pp.static.program_guard(program):
            given = {"Input": projected, "Weight": weights["lstm.w_0"], "Bias": weights["lstm.b_0"]}
            inputs = {n: pp.static.data(n, a.shape, "float32") for n, a in given.items()}
            names = ("Hidden", "Cell", "BatchGate", "BatchCellPreAct")
            block = program.global_block()
            outputs = {n: block.create_var(name=n, dtype="float32") for n in names}
            attrs = {"use_peepholes": use_peepholes}
            block.append_op(type="lstm", inputs=inputs, outputs=outputs, attrs=attrs)
        feed = {}
        for name, value in given.items():
            feed[name] = pp.base.core.DenseTensor()
            feed[name].set(value, pp.CPUPlace())
        feed["Input"].set_recursive_sequence_lengths([B * [T]])  # sequences one after the other
        (y,) = pp.static.Executor().run(program, feed, [names[0]], return_numpy=False)
    pp.disable_static()
    y = np.array(y).reshape(B, T, H).swapaxes(0, 1)
    layers = "fc, dynamic_lstm" + ("" if use_peepholes else "(use_peepholes=False)")
    return case(version, "paddle-fluid", layers, weights, y)


def mxnet() -> list[dict[str, Any]]:
    np.bool = bool  # which old versions expect
    import mxnet as mx

    version, x, result = f"mxnet {mx.__version__}", numbers(T, B, I, seed=0), []
    for kind, options in (
        ("LSTM", {}),
        ("LSTM", {"num_layers": 2, "bidirectional": True}),
        ("GRU", {}),
        ("RNN", {"activation": "tanh"}),
    ):
        network = getattr(mx.gluon.rnn, kind)(H, input_size=I, **options)
        network.initialize()
        network(mx.nd.array(x))
        weights = {}
        for k, (name, parameter) in enumerate(network.collect_params().items()):
            value = numbers(*parameter.shape, seed=k + 1)
            parameter.set_data(mx.nd.array(value))
            weights[name.removeprefix(network.prefix)] = value
        y = network(mx.nd.array(x)).asnumpy()
        facts = {"activation": "tanh"} if kind == "RNN" else {}
        result.append(case(version, "mxnet", f"gluon.rnn.{kind}, {kind}Cell", weights, y, **facts))
    return result


def chainer() -> list[dict[str, Any]]:
    import chainer as ch

    version, x, result = f"chainer {ch.__version__}", numbers(T, B, I, seed=0), []

    def filled(link: Any) -> dict[str, Any]:
        weights = {}
        for k, (name, parameter) in enumerate(sorted(link.namedparams())):
            value = numbers(*parameter.shape, seed=k + 1)
            parameter.array[...] = value
            weights[name] = value
        return weights

    lstm = ch.links.LSTM(I, H)
    weights = filled(lstm)
    y = np.stack([lstm(step).array for step in x])
    result.append(case(version, "chainer", "links.LSTM, StatelessLSTM", weights, y))
    gru = ch.links.StatelessGRU(I, H)
    weights = filled(gru)
    h, ys = np.zeros((B, H), np.float32), []
    for step in x:
        h = gru(h, step)
        ys.append(h.array)
    result.append(
        case(
            version,
            "chainer",
            "links.StatelessGRU, StatefulGRU",
            weights,
            np.stack(ys),
            initial_state="zeros",
        )
    )
    for kind, layers, number, facts in (
        ("NStepLSTM", "links.NStepLSTM, NStepBiLSTM", 1, {}),
        ("NStepBiLSTM", "links.NStepLSTM, NStepBiLSTM", 2, {}),
        ("NStepGRU", "links.NStepGRU, NStepBiGRU", 2, {}),
        ("NStepRNNTanh", "links.NStepRNNTanh, NStepRNNReLU", 1, {"activation": "tanh"}),
    ):
        link = getattr(ch.links, kind)(number, I, H, 0.0)
        weights = filled(link)
        states = (None,) * (2 if "LSTM" in kind else 1)
        ys = link(*states, [x[:, b] for b in range(B)])[-1]
        y = np.stack([one.array for one in ys], axis=1)
        result.append(case(version, "chainer-nstep", layers, weights, y, **facts))
    return result


def dynet() -> list[dict[str, Any]]:
    import dynet as dy

    x, result = numbers(T, B, I, seed=0), []
    for kind, layers, number, facts in (
        (
            "VanillaLSTMBuilder",
            "VanillaLSTMBuilder, CompactVanillaLSTMBuilder",
            2,
            {"forget_offset": 1.0},
        ),
        (
            "CompactVanillaLSTMBuilder",
            "VanillaLSTMBuilder, CompactVanillaLSTMBuilder",
            1,
            {"forget_offset": 1.0},
        ),
        ("GRUBuilder", "GRUBuilder", 2, {}),
        ("CoupledLSTMBuilder", "CoupledLSTMBuilder, LSTMBuilder of DyNet 1", 2, {}),
    ):
        model = dy.ParameterCollection()
        builder = getattr(dy, kind)(number, I, H, model)
        for k, parameter in enumerate(model.parameters_list()):
            parameter.set_value(numbers(*parameter.shape(), seed=k + 1))
        ys = []
        for b in range(B):
            dy.renew_cg()
            state = builder.initial_state()
            inputs = [dy.inputVector(step) for step in x[:, b]]
            ys.append([out.npvalue() for out in state.transduce(inputs)])
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model")
            text = Path(f"{folder}/model").read_text()
        y = np.stack(ys, axis=1)
        result.append(case(f"dyNET38 {kind}", "dynet", layers, {}, y, **facts) | {"file": text})
    return result


def madmom() -> list[dict[str, Any]]:
    """The module of layers alone, which needs no compiler: MADMOM names the unpacked source."""
    package = types.ModuleType("nn")
    package.__path__ = [os.environ["MADMOM"] + "/madmom/ml/nn"]
    sys.modules["nn"] = package
    from nn import layers as mm

    x, result = numbers(T, B, I, seed=0), []
    for activation in ("tanh", "sigmoid"):
        layer = mm.RecurrentLayer(
            numbers(I, H, seed=1), numbers(H, seed=2), numbers(H, H, seed=3),
            getattr(mm, activation),
        )  # fmt: skip
        y = np.stack([layer.activate(x[:, b]) for b in range(B)], axis=1)
        weights = arrays_of({"": layer})
        result.append(
            case("madmom 0.16.1", "madmom", "RecurrentLayer", weights, y, activation=activation)
        )

    def gate(kind: Any, seed: int, **more: Any) -> Any:
        return kind(
            numbers(I, H, seed=seed), numbers(H, seed=seed), numbers(H, H, seed=seed + 100), **more
        )

    for peepholes in (False, True):
        more = [
            {"peephole_weights": numbers(H, seed=50 + k)} if peepholes else {} for k in range(3)
        ]
        gates = {
            "input_gate": gate(mm.Gate, 1, **more[0]),
            "forget_gate": gate(mm.Gate, 2, **more[1]),
            "cell": gate(mm.Cell, 3),
            "output_gate": gate(mm.Gate, 4, **more[2]),
        }
        y = np.stack([mm.LSTMLayer(**gates).activate(x[:, b]) for b in range(B)], axis=1)
        layers = "LSTMLayer with peepholes" if peepholes else "LSTMLayer"
        result.append(case("madmom 0.16.1", "madmom", layers, arrays_of(gates), y))
    gates = {
        "reset_gate": gate(mm.Gate, 1),
        "update_gate": gate(mm.Gate, 2),
        "cell": gate(mm.GRUCell, 3),
    }
    y = np.stack([mm.GRULayer(**gates).activate(x[:, b]) for b in range(B)], axis=1)
    result.append(case("madmom 0.16.1", "madmom", "GRULayer", arrays_of(gates), y))
    return result


def coreml() -> list[dict[str, Any]]:
    """Files that coremltools writes; Core ML runs on Macs alone, so y is by its documentation."""
    import coremltools
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    x, result = numbers(T, B, I, seed=0), []

    def sigmoid(v: Any) -> Any:
        return 1 / (1 + np.exp(-v))

    def hard(v: Any) -> Any:
        return np.clip(0.2 * v + 0.5, 0, 1)

    def saved(add: Any, *, states: int) -> str:
        names = [("x", datatypes.Array(I)), *((f"s{k}", datatypes.Array(H)) for k in range(states))]
        outputs = [
            ("y", datatypes.Array(H)),
            *((f"t{k}", datatypes.Array(H)) for k in range(states)),
        ]
        builder = NeuralNetworkBuilder(names, outputs)
        add(builder, [n for n, _ in names], [n for n, _ in outputs])
        return packed(builder.spec.SerializeToString())

    def weights_of(gates: int) -> tuple[list[Any], list[Any], list[Any]]:
        return tuple(  # type: ignore[return-value]
            [numbers(*shape, seed=10 * part + k) for k in range(gates)]
            for part, shape in enumerate(((H, I), (H, H), (H,)))
        )

    def lstm(
        W: Any, R: Any, b: Any, gate: Any, p: Any = None, clip: float = 500.0, x: Any = x
    ) -> Any:
        h = c = np.zeros((B, H))
        ys = []
        for step in x.astype(np.float64):
            i, f, o, g = (step @ W[k].T + h @ R[k].T + b[k] for k in range(4))
            if p is not None:
                i, f = i + p[0] * c, f + p[1] * c
            c = np.clip(gate(f) * c + gate(i) * np.tanh(g), -clip, clip)
            h = gate(o + (0 if p is None else p[2] * c)) * np.tanh(c)
            ys.append(h)
        return np.stack(ys)

    for gate, name, peep, clip in (
        (sigmoid, "SIGMOID", None, 500.0),
        (hard, "SIGMOID_HARD", None, 500.0),
        (sigmoid, "SIGMOID", [numbers(H, seed=60 + k) for k in range(3)], 0.5),
    ):
        W, R, b = weights_of(4)  # in the order i, f, o, g of add_unilstm
        options = {"inner_activation": name, "peep": peep, "cell_clip_threshold": clip}
        lstm_of = ("lstm", R, W, b, H, I)
        file = saved(
            lambda builder, ins, outs, of=lstm_of, options=options: builder.add_unilstm(
                *of, ins, outs, output_all=True, **options
            ),
            states=2,
        )
        layers = "LSTM with peepholes" if peep else "uniDirectionalLSTM, biDirectionalLSTM"
        facts = {"gate_activation": "hard_sigmoid_keras2" if gate is hard else "sigmoid"}
        y = lstm(W, R, b, gate, peep, clip)
        version = f"coremltools {coremltools.__version__}"
        result.append(case(version, "coreml", layers, {}, y, **facts) | {"packed": file})
    W, R, b = weights_of(8)
    file = saved(
        lambda builder, ins, outs: builder.add_bidirlstm(
            "lstm", R[:4], W[:4], b[:4], R[4:], W[4:], b[4:], H, I, ins, outs, output_all=True
        ),
        states=4,
    )
    back = lstm(W[4:], R[4:], b[4:], sigmoid, x=x[::-1])[::-1]
    y = np.concatenate([lstm(W[:4], R[:4], b[:4], sigmoid), back], axis=2)
    facts = {"gate_activation": "sigmoid"}
    layers = "uniDirectionalLSTM, biDirectionalLSTM"
    result.append(case(version, "coreml", layers, {}, y, **facts) | {"packed": file})
    W, R, b = weights_of(3)  # z, r, o
    file = saved(
        lambda builder, ins, outs: builder.add_gru(
            "gru", R, W, b, H, I, ins, outs, output_all=True, inner_activation="SIGMOID"
        ),
        states=1,
    )
    h, ys = np.zeros((B, H)), []
    for step in x.astype(np.float64):
        z, r = (sigmoid(step @ W[k].T + h @ R[k].T + b[k]) for k in range(2))
        o = np.tanh(step @ W[2].T + (h * r) @ R[2].T + b[2])
        h = (1 - z) * o + z * h
        ys.append(h)
    result.append(
        case(version, "coreml", "gru", {}, np.stack(ys), gate_activation="sigmoid")
        | {"packed": file}
    )
    file = saved(
        lambda builder, ins, outs: builder.add_simple_rnn(
            "rnn", R[0], W[0], b[0], H, I, "TANH", ins, outs, output_all=True
        ),
        states=1,
    )
    h, ys = np.zeros((B, H)), []
    for step in x.astype(np.float64):
        h = np.tanh(step @ W[0].T + h @ R[0].T + b[0])
        ys.append(h)
    facts = {"activation": "tanh"}
    result.append(
        case(version, "coreml", "simpleRecurrent", {}, np.stack(ys), **facts) | {"packed": file}
    )
    return result


def rnnoise() -> list[dict[str, Any]]:
    """Products with the matrices of a layer, in all forms: RNNOISE names the library in C.

    Its sigmoid and tanh are approximations, so outputs of the layer would not be exact.
    """
    library = ctypes.CDLL(os.environ["RNNOISE"])
    names = ("bias", "subias", "weights_int8", "weights_float", "weights_idx", "weights_diag",
             "scale")  # fmt: skip

    class Linear(ctypes.Structure):
        _fields_ = (
            *((name, ctypes.c_void_p) for name in names),
            *(("inputs", ctypes.c_int), ("outputs", ctypes.c_int)),
        )

    size, outputs = 8, 24

    def product(x: Any, arrays: dict[str, Any]) -> Any:
        y = np.zeros(outputs, np.float32)
        places = {name: array.ctypes.data for name, array in arrays.items()}
        linear = Linear(**places, inputs=size, outputs=outputs)
        given, result = (ctypes.c_void_p(array.ctypes.data) for array in (x, y))
        library.rnn_compute_linear_c(ctypes.byref(linear), result, given)
        return y

    x = (np.random.default_rng(0).integers(-127, 128, size=size) / 127).astype(np.float32)
    blocks = ((0, 4), (4,), ())  # the first inputs of those of each 8 outputs
    index = np.array([n for rows in blocks for n in (len(rows), *rows)], np.int32)
    bias = numbers(outputs, seed=1)
    result = []
    for sparse in (False, True):
        shared = {"weights_idx": index} if sparse else {}
        count = 3 * 32 if sparse else size * outputs
        # sums of two products have 16 bits, for which RNNoise scales integers to about this size
        integers = np.random.default_rng(2).integers(-64, 65, size=count).astype(np.int8)
        whole = shared | {"weights_int8": integers, "scale": abs(numbers(outputs, seed=5)) / 4096}
        # on this CPU RNNoise adds 1 to inputs, which the other bias takes back
        whole["subias"] = bias - product(np.zeros_like(x), whole)
        for weights in (shared | {"weights_float": numbers(count, seed=4)}, whole):
            arrays = weights | {"bias": bias, "weights_diag": numbers(outputs, seed=3)}
            lists = {name: array.tolist() for name, array in arrays.items()}
            y = product(x, arrays)
            result.append(
                {"library": "pyrnnoise 0.4.5", "arrays": lists, "x": x.tolist(), "y": y.tolist()}
            )
    return result


def arrays_of(gates: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name}.{key}".strip("."): value
        for name, gate in gates.items()
        for key, value in vars(gate).items()
        if isinstance(value, np.ndarray)
    }


LIBRARIES = {
    f.__name__: f
    for f in (tensorflow, keras2, sonnet, paddle, mxnet, chainer, dynet, madmom, coreml, rnnoise)
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:]:
        lines = [json.dumps(one, separators=(",", ":")) for one in LIBRARIES[name]()]
        (FOLDER / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
