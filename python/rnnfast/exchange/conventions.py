"""The table of conventions: how each source stores its layers, a row for each kind of layer.

The gates, biases and forms are those of the sources' own code, and each row says how it was
checked. Letters are explained in `convention`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from rnnfast.exchange.convention import Array, Convention

_A, _C = Array, Convention
_BY_HAND = "by hand"
_BY_DEFINITION = "its equations"
_COLUMNS = "inputs, units"
_TORCH_MARKS = ("_l{layer}", "_l{layer}_reverse")


def _by_gate(names: Mapping[str, str], template: str, part: str) -> tuple[Array, ...]:
    """Return an array for each gate, whose names stand in the template for {}."""
    return tuple(_A(template.format(name), part, gate) for gate, name in names.items())


def _optional(*arrays: Array) -> tuple[Array, ...]:
    return tuple(array._replace(optional=True) for array in arrays)


_TORCH = (
    _A("weight_ih{mark}", "x"),
    _A("weight_hh{mark}", "h"),
    *_optional(_A("bias_ih{mark}", "b"), _A("bias_hh{mark}", "c")),
)
_PROJECTION = _A("weight_hr{mark}", "r", optional=True)
_TORCH_ROWS = (
    ("lstm", "ifgo", ()),
    ("gru", "rzn", ()),
    ("rnn_tanh", "n", ("activation",)),
)


def _of_torch(source: str, names: tuple[str, ...], checked: str) -> tuple[Convention, ...]:
    """Return the rows of a source that has PyTorch's parameters: an LSTM, a GRU, an RNN."""
    return tuple(
        _C(
            source=source,
            layers=layers,
            cell=cell,
            gates=gates,
            arrays=(*_TORCH, _PROJECTION) if (source, cell) == ("pytorch", "lstm") else _TORCH,
            asks=asks,
            marks=_TORCH_MARKS,
            checked=checked,
        )
        for (cell, gates, asks), layers in zip(_TORCH_ROWS, names, strict=False)
    )


_KERAS = (_A("{mark}kernel", "x"), _A("{mark}recurrent_kernel", "h"))
_KERAS_MARKS = ("forward.", "backward.")
_KERAS_BIAS = _A("{mark}bias", "b", optional=True)
_KERAS_BIASES = _A("{mark}bias", "bc", rows=2, optional=True)
_CUDNN_BIASES = _A("{mark}bias", "bc")

_KERAS_ROWS = (
    _C(source="keras", layers="LSTM", cell="lstm", gates="ifgo", arrays=(*_KERAS, _KERAS_BIAS),
       axes=_COLUMNS,
       marks=_KERAS_MARKS, asks=("gate_activation",)),
    _C(source="keras", layers="GRU(reset_after=True)", cell="gru", gates="zrn",
       arrays=(*_KERAS, _KERAS_BIASES), axes=_COLUMNS,
       marks=_KERAS_MARKS, asks=("gate_activation",)),
    _C(source="keras", layers="GRU(reset_after=False)", cell="gru_reset_before", gates="zrn",
       arrays=(*_KERAS, _KERAS_BIAS), axes=_COLUMNS,
       marks=_KERAS_MARKS, asks=("gate_activation",)),
    _C(source="keras", layers="SimpleRNN", cell="rnn_tanh", gates="n",
       arrays=(*_KERAS, _KERAS_BIAS), axes=_COLUMNS,
       marks=_KERAS_MARKS, asks=("activation",)),
    _C(source="keras", layers="CuDNNLSTM (Keras 2)", cell="lstm", gates="ifgo",
       arrays=(*_KERAS, _CUDNN_BIASES), axes=_COLUMNS,
       marks=_KERAS_MARKS, units="by gate, units first", checked=_BY_HAND),
    _C(source="keras", layers="CuDNNGRU (Keras 2)", cell="gru", gates="zrn",
       arrays=(*_KERAS, _CUDNN_BIASES), axes=_COLUMNS,
       marks=_KERAS_MARKS, units="by gate, units first", checked=_BY_HAND),
)  # fmt: skip

_FLAX_LSTM = dict(zip("ifgo", "ifgo", strict=True))
_FLAX_GRU = dict(zip("rzn", "rzn", strict=True))
_NNX_LSTM = _FLAX_LSTM | {"f": "f_"}
_NNX = (_A("dense_i.kernel", "x"), _A("dense_h.kernel", "h"))

_FLAX_ROWS = (
    _C(source="flax", layers="linen.LSTMCell, OptimizedLSTMCell", cell="lstm", gates="ifgo",
       arrays=(*_by_gate(_FLAX_LSTM, "i{}.kernel", "x"), *_by_gate(_FLAX_LSTM, "h{}.kernel", "h"),
               *_by_gate(_FLAX_LSTM, "h{}.bias", "b")),
       axes=_COLUMNS),
    _C(source="flax", layers="linen.GRUCell", cell="gru", gates="rzn",
       arrays=(*_by_gate(_FLAX_GRU, "i{}.kernel", "x"), *_by_gate(_FLAX_GRU, "h{}.kernel", "h"),
               *_by_gate(_FLAX_GRU, "i{}.bias", "b"), _A("hn.bias", "c", "n")),
       axes=_COLUMNS),
    _C(source="flax", layers="linen.SimpleCell", cell="rnn_tanh", gates="n",
       arrays=(_A("i.kernel", "x"), _A("h.kernel", "h"), _A("i.bias", "b")),
       axes=_COLUMNS, asks=("activation",)),
    _C(source="flax-nnx", layers="nnx.LSTMCell", cell="lstm", gates="ifgo",
       arrays=(*_by_gate(_NNX_LSTM, "i{}.kernel", "x"), *_by_gate(_FLAX_LSTM, "h{}.kernel", "h"),
               *_by_gate(_FLAX_LSTM, "h{}.bias", "b")),
       axes=_COLUMNS),
    _C(source="flax-nnx", layers="nnx.OptimizedLSTMCell", cell="lstm", gates="ifgo",
       arrays=(*_NNX, _A("dense_h.bias", "b")), axes=_COLUMNS),
    _C(source="flax-nnx", layers="nnx.GRUCell", cell="gru", gates="rzn",
       arrays=(*_NNX, _A("dense_i.bias", "b")), axes=_COLUMNS),
    _C(source="flax-nnx", layers="nnx.SimpleCell", cell="rnn_tanh", gates="n",
       arrays=(*_NNX, _A("dense_i.bias", "b")), axes=_COLUMNS, asks=("activation",)),
)  # fmt: skip

_DEEPMIND = (_A("w_i", "x"), _A("w_h", "h"), _A("b", "b"))
_VANILLA = (
    _A("linear.w", "x"), _A("linear_1.w", "h"), _A("linear.b", "b"),
    _A("linear_1.b", "c", optional=True),
)  # fmt: skip

_JAX_ROWS = (
    _C(source="haiku", layers="LSTM", cell="lstm", gates="igfo",
       arrays=(_A("linear.w", "xh"), _A("linear.b", "b")), axes=_COLUMNS, forget_offset=1.0,
       scope="lstm"),
    _C(source="haiku", layers="GRU", cell="gru_reset_before", gates="zrn", arrays=_DEEPMIND,
       axes=_COLUMNS, z="replaces"),
    _C(source="haiku", layers="VanillaRNN", cell="rnn_relu", gates="n", arrays=_VANILLA,
       axes=_COLUMNS, scope="rnn"),
    _C(source="equinox", layers="nn.LSTMCell", cell="lstm", gates="ifgo",
       arrays=(_A("weight_ih", "x"), _A("weight_hh", "h"), _A("bias", "b", optional=True))),
    _C(source="equinox", layers="nn.GRUCell", cell="gru", gates="rzn",
       arrays=(_A("weight_ih", "x"), _A("weight_hh", "h"),
               *_optional(_A("bias", "b"), _A("bias_n", "c", "n")))),
    _C(source="mlx", layers="nn.LSTM", cell="lstm", gates="ifgo",
       arrays=(_A("Wx", "x"), _A("Wh", "h"), _A("bias", "b", optional=True))),
    _C(source="mlx", layers="nn.GRU", cell="gru", gates="rzn",
       arrays=(_A("Wx", "x"), _A("Wh", "h"), *_optional(_A("b", "b"), _A("bhn", "c", "n")))),
    _C(source="mlx", layers="nn.RNN", cell="rnn_tanh", gates="n",
       arrays=(_A("Wxh", "x"), _A("Whh", "h"), _A("bias", "b", optional=True)),
       asks=("activation",)),
)  # fmt: skip

_TF_KERNEL, _TF_BIAS = _A("kernel", "xh"), _A("bias", "b")
_TF_PEEPHOLES = _by_gate({"i": "i", "f": "f", "o": "o"}, "w_{}_diag", "p")
_TF_GRU = (
    _A("gates.kernel", "xh", "rz"), _A("gates.bias", "b", "rz"),
    _A("candidate.kernel", "xh", "n"), _A("candidate.bias", "b", "n"),
)  # fmt: skip
_BLOCK_PEEPHOLES = _by_gate({"i": "i", "f": "f", "o": "o"}, "wc{}", "p")
_BLOCK_GRU = (_A("w_ru", "xh", "rz"), _A("b_ru", "b", "rz"), _A("w_c", "xh", "n"),
              _A("b_c", "b", "n"))  # fmt: skip
_TF_FACTS = ("forget_offset", "cell_clip")

_TENSORFLOW_ROWS = (
    _C(source="tensorflow1", layers="BasicLSTMCell, LSTMCell, LSTMBlockCell", cell="lstm",
       gates="igfo", arrays=(_TF_KERNEL, _TF_BIAS), axes=_COLUMNS, forget_offset=None,
       asks=_TF_FACTS, scope="lstm", checked=_BY_HAND),
    _C(source="tensorflow1", layers="LSTMCell(use_peepholes=True)", cell="peephole_lstm",
       gates="igfo", arrays=(_TF_KERNEL, _TF_BIAS, *_TF_PEEPHOLES), axes=_COLUMNS,
       forget_offset=None, asks=_TF_FACTS, scope="lstm", checked=_BY_HAND),
    _C(source="tensorflow1", layers="GRUCell, GRUBlockCell", cell="gru_reset_before", gates="rzn",
       arrays=_TF_GRU, axes=_COLUMNS, checked=_BY_HAND),
    _C(source="tensorflow1", layers="BasicRNNCell", cell="rnn_tanh", gates="n",
       arrays=(_TF_KERNEL, _TF_BIAS), axes=_COLUMNS, asks=("activation",), scope="basic_rnn_cell",
       checked=_BY_HAND),
    _C(source="tensorflow-block", layers="the operators BlockLSTM, LSTMBlockCell", cell="lstm",
       gates="igfo", arrays=(_A("w", "xh"), _A("b", "b")), axes=_COLUMNS, forget_offset=None,
       asks=_TF_FACTS, scope="lstm", checked=_BY_HAND),
    _C(source="tensorflow-block", layers="BlockLSTM(use_peephole=True)", cell="peephole_lstm",
       gates="igfo", arrays=(_A("w", "xh"), _A("b", "b"), *_BLOCK_PEEPHOLES), axes=_COLUMNS,
       forget_offset=None, asks=_TF_FACTS, checked=_BY_HAND),
    _C(source="tensorflow-block-v2", layers="the operator BlockLSTMV2", cell="lstm", gates="ifgo",
       arrays=(_A("w", "xh"), _A("b", "b")), axes=_COLUMNS, asks=("cell_clip",), scope="lstm",
       checked=_BY_HAND),
    _C(source="tensorflow-block", layers="the operator GRUBlockCell", cell="gru_reset_before",
       gates="rzn", arrays=_BLOCK_GRU, axes=_COLUMNS, checked=_BY_HAND),
    _C(source="sonnet", layers="LSTM", cell="lstm", gates="ifgo", arrays=_DEEPMIND, axes=_COLUMNS,
       checked=_BY_HAND),
    _C(source="sonnet", layers="VanillaRNN", cell="rnn_tanh", gates="n",
       arrays=(_A("input_to_hidden.w", "x"), _A("hidden_to_hidden.w", "h"), _A("b", "b")),
       axes=_COLUMNS, asks=("activation",), checked=_BY_HAND),
    _C(source="sonnet", layers="GRU", cell="gru_reset_before", gates="zrn", arrays=_DEEPMIND,
       axes=_COLUMNS, z="replaces", checked=_BY_HAND),
)  # fmt: skip

_FLUID_GRU = (
    _A("fc{mark}.w_0", "x"), _A("gru{mark}.w_0", "h"),
    _A("gru{mark}.b_0", "b", rows=1, optional=True), _A("fc{mark}.b_0", "c", optional=True),
)  # fmt: skip
_FLUID_LSTM = (
    _A("fc{mark}.w_0", "x"), _A("lstm{mark}.w_0", "h"), _A("fc{mark}.b_0", "c", optional=True),
)  # fmt: skip
_FLUID_MARKS = ("_{place}", "_{place}")
_PADDLE_ROWS = (
    *_of_torch("paddle", ("nn.LSTM, LSTMCell", "nn.GRU, GRUCell", "nn.SimpleRNN"), _BY_HAND),
    _C(source="paddle-fluid", layers="fc, dynamic_gru; gru_unit", cell="gru_reset_before",
       gates="zrn", arrays=_FLUID_GRU, axes=_COLUMNS, units="by stage", z=None,
       marks=_FLUID_MARKS, asks=("update_gate",), checked=_BY_HAND),
    _C(source="paddle-fluid", layers="fc, dynamic_lstm(use_peepholes=False)", cell="lstm",
       gates="gifo", arrays=(*_FLUID_LSTM, _A("lstm{mark}.b_0", "b", rows=1)), axes=_COLUMNS,
       marks=_FLUID_MARKS, checked=_BY_HAND),
    _C(source="paddle-fluid", layers="fc, dynamic_lstm", cell="peephole_lstm", gates="gifo",
       arrays=(*_FLUID_LSTM, _A("lstm{mark}.b_0", "bp", rows=1)), axes=_COLUMNS,
       marks=_FLUID_MARKS, checked=_BY_HAND),
)  # fmt: skip

_MXNET = (
    _A("{mark}i2h_weight", "x"), _A("{mark}h2h_weight", "h"), _A("{mark}i2h_bias", "b"),
    _A("{mark}h2h_bias", "c"),
)  # fmt: skip
_MXNET_ROWS = tuple(
    _C(source="mxnet", layers=f"gluon.rnn.{kind}, {kind}Cell", cell=cell, gates=gates,
       arrays=_MXNET, asks=asks, marks=("l{layer}_", "r{layer}_"), checked=_BY_HAND)
    for kind, cell, gates, asks in (
        ("LSTM", "lstm", "ifgo", ()), ("GRU", "gru", "rzn", ()),
        ("RNN", "rnn_tanh", "n", ("activation",)),
    )
)  # fmt: skip

_CHAINER_GRU = {"r": "_r", "z": "_z", "n": ""}
_CHAINER_GRU_ARRAYS = tuple(
    itertools.chain.from_iterable(
        _by_gate(_CHAINER_GRU, f"{matrix}{{}}.{kind}", part)
        for matrix, kind, part in (
            ("W", "W", "x"),
            ("U", "W", "h"),
            ("W", "b", "b"),
            ("U", "b", "c"),
        )
    )
)


def _numbered(gates: str) -> tuple[Array, ...]:
    """Return the arrays of Chainer's NStep links: those of the input come first."""
    G = len(gates)
    return tuple(
        _A(f"{{mark}}{kind}{k + first}", part, gate)
        for kind, first, part in (("w", 0, "x"), ("w", G, "h"), ("b", 0, "b"), ("b", G, "c"))
        for k, gate in enumerate(gates)
    )


_CHAINER_ROWS = (
    _C(source="chainer", layers="links.LSTM, StatelessLSTM", cell="lstm", gates="gifo",
       arrays=(_A("upward.W", "x"), _A("lateral.W", "h"), _A("upward.b", "b")), units="by unit",
       checked=_BY_HAND),
    _C(source="chainer", layers="links.StatelessGRU, StatefulGRU", cell="gru_reset_before",
       gates="rzn", arrays=_CHAINER_GRU_ARRAYS, z="replaces", asks=("initial_state",),
       checked=_BY_HAND),
    _C(source="chainer-nstep", layers="links.NStepLSTM, NStepBiLSTM", cell="lstm", gates="ifgo",
       arrays=_numbered("ifgo"), marks=("{place}.", "{place}."), checked=_BY_HAND),
    _C(source="chainer-nstep", layers="links.NStepGRU, NStepBiGRU", cell="gru", gates="rzn",
       arrays=_numbered("rzn"), marks=("{place}.", "{place}."), checked=_BY_HAND),
    _C(source="chainer-nstep", layers="links.NStepRNNTanh, NStepRNNReLU", cell="rnn_tanh",
       gates="n", arrays=_numbered("n"), marks=("{place}.", "{place}."), asks=("activation",),
       checked=_BY_HAND),
)  # fmt: skip

_DYNET_GRU = tuple(
    itertools.chain.from_iterable(
        (_A(f"{{mark}}x2{name}", "x", gate), _A(f"{{mark}}h2{name}", "h", gate),
         _A(f"{{mark}}b{name}", "b", gate))
        for gate, name in zip("zrn", "zrh", strict=True)
    )
)  # fmt: skip
_DYNET_COUPLED = tuple(
    _A(f"{{mark}}{name}", part, gate)
    for gate, letter in zip("iog", "ioc", strict=True)
    for name, part in ((f"x2{letter}", "x"), (f"h2{letter}", "h"), (f"c2{letter}", "m"),
                       (f"b{letter}", "b"))
    if name != "c2c"
)  # fmt: skip
_DYNET_MARKS = ("{layer}.", "{layer}.")
_DYNET_ROWS = (
    _C(source="dynet", layers="VanillaLSTMBuilder, CompactVanillaLSTMBuilder", cell="lstm",
       gates="ifog", arrays=(_A("{mark}x2i", "x"), _A("{mark}h2i", "h"), _A("{mark}bi", "b")),
       forget_offset=None, asks=("forget_offset",), marks=_DYNET_MARKS,
       checked=_BY_HAND),
    _C(source="dynet", layers="GRUBuilder", cell="gru_reset_before", gates="zrn",
       arrays=_DYNET_GRU, z="replaces", marks=_DYNET_MARKS, checked=_BY_HAND),
    _C(source="dynet", layers="CoupledLSTMBuilder, LSTMBuilder of DyNet 1", cell="dynet_lstm",
       gates="iog", arrays=_DYNET_COUPLED, marks=_DYNET_MARKS, checked=_BY_HAND),
)  # fmt: skip

_MADMOM_LSTM = {"i": "input_gate", "f": "forget_gate", "g": "cell", "o": "output_gate"}
_MADMOM_GRU = {"r": "reset_gate", "z": "update_gate", "n": "cell"}
_MADMOM_PEEPHOLES = {gate: name for gate, name in _MADMOM_LSTM.items() if gate != "g"}


def _of_madmom(names: Mapping[str, str]) -> tuple[Array, ...]:
    return (
        *_by_gate(names, "{}.weights", "x"),
        *_by_gate(names, "{}.recurrent_weights", "h"),
        *_by_gate(names, "{}.bias", "b"),
    )


_MADMOM_STATES = tuple(_A(n, "s", optional=True) for n in ("init", "cell_init", "hid_init"))
_MADMOM_ROWS = (
    _C(source="madmom", layers="RecurrentLayer", cell="rnn_tanh", gates="n",
       arrays=(_A("weights", "x"), _A("recurrent_weights", "h"), _A("bias", "b"),
               _A("init", "s", optional=True)),
       axes=_COLUMNS, asks=("activation",), checked=_BY_HAND),
    _C(source="madmom", layers="LSTMLayer", cell="lstm", gates="ifgo",
       arrays=(*_of_madmom(_MADMOM_LSTM), *_MADMOM_STATES), axes=_COLUMNS, checked=_BY_HAND),
    _C(source="madmom", layers="LSTMLayer with peepholes", cell="peephole_lstm", gates="ifgo",
       arrays=(*_of_madmom(_MADMOM_LSTM),
               *_by_gate(_MADMOM_PEEPHOLES, "{}.peephole_weights", "p"), *_MADMOM_STATES),
       axes=_COLUMNS, checked=_BY_HAND),
    _C(source="madmom", layers="GRULayer", cell="gru", gates="rzn",
       arrays=(*_of_madmom(_MADMOM_GRU), *_MADMOM_STATES), axes=_COLUMNS,
       z="replaces", checked=_BY_HAND),
)  # fmt: skip

_COREML_LSTM = {"i": "inputGate", "f": "forgetGate", "g": "blockInput", "o": "outputGate"}
_COREML_GRU = {"z": "updateGate", "r": "resetGate", "n": "outputGate"}
_COREML_PEEPHOLES = {gate: name for gate, name in _COREML_LSTM.items() if gate != "g"}


def _of_coreml(names: Mapping[str, str]) -> tuple[Array, ...]:
    return (
        *_by_gate(names, "{}WeightMatrix", "x"),
        *_by_gate(names, "{}RecursionMatrix", "h"),
        *_optional(*_by_gate(names, "{}BiasVector", "b")),
    )


_COREML_ROWS = (
    _C(source="coreml", layers="uniDirectionalLSTM, biDirectionalLSTM", cell="lstm", gates="ifgo",
       arrays=_of_coreml(_COREML_LSTM), asks=("gate_activation",), checked=_BY_DEFINITION),
    _C(source="coreml", layers="LSTM with peepholes", cell="peephole_lstm", gates="ifgo",
       arrays=(*_of_coreml(_COREML_LSTM), *_by_gate(_COREML_PEEPHOLES, "{}PeepholeVector", "p")),
       asks=("gate_activation",), checked=_BY_DEFINITION),
    _C(source="coreml", layers="gru", cell="gru_reset_before", gates="zrn",
       arrays=_of_coreml(_COREML_GRU), asks=("gate_activation",), checked=_BY_DEFINITION),
    _C(source="coreml", layers="simpleRecurrent", cell="rnn_tanh", gates="n",
       arrays=(_A("weightMatrix", "x"), _A("recursionMatrix", "h"),
               _A("biasVector", "b", optional=True)), asks=("activation",),
       checked=_BY_DEFINITION),
)  # fmt: skip

_ONNX = (_A("W", "x"), _A("R", "h"), _A("B", "bc", optional=True))
_OPENVINO = (_A("W", "x"), _A("R", "h"), _A("B", "b"))
_RUNTIME_ROWS = (
    _C(source="onnx", layers="LSTM", cell="lstm", gates="iofg", arrays=_ONNX),
    _C(source="onnx", layers="LSTM with P", cell="peephole_lstm", gates="iofg",
       arrays=(*_ONNX, _A("P", "p", "iof"))),
    _C(source="onnx", layers="GRU(linear_before_reset=1)", cell="gru", gates="zrn", arrays=_ONNX),
    _C(source="onnx", layers="GRU", cell="gru_reset_before", gates="zrn", arrays=_ONNX),
    _C(source="onnx", layers="RNN", cell="rnn_tanh", gates="n", arrays=_ONNX,
       asks=("activation",)),
    _C(source="openvino", layers="LSTMSequence, LSTMCell", cell="lstm", gates="figo",
       arrays=_OPENVINO),
    _C(source="openvino", layers="GRUSequence(linear_before_reset=True)", cell="gru", gates="zrn",
       arrays=(*_OPENVINO[:2], _A("B", "b"), _A("B_h", "c", "n"))),
    _C(source="openvino", layers="GRUSequence", cell="gru_reset_before", gates="zrn",
       arrays=_OPENVINO),
    _C(source="openvino", layers="RNNSequence", cell="rnn_tanh", gates="n", arrays=_OPENVINO,
       asks=("activation",)),
    _C(source="ncnn", layers="LSTM", cell="lstm", gates="ifog",
       arrays=(_A("weight_xc", "x"), _A("weight_hc", "h"), _A("bias_c", "b"))),
    _C(source="ncnn", layers="GRU", cell="gru", gates="rzn",
       arrays=(_A("weight_xc", "x"), _A("weight_hc", "h"), _A("bias_c", "b"),
               _A("bias_hn", "c", "n"))),
    _C(source="ncnn", layers="RNN", cell="rnn_tanh", gates="n",
       arrays=(_A("weight_xc", "x"), _A("weight_hc", "h"), _A("bias_c", "b"))),
    _C(source="tesseract", layers="LSTM", cell="lstm", gates="gifo",
       arrays=_by_gate({"g": "CI", "i": "GI", "f": "GF1", "o": "GO"}, "{}", "xhb"),
       checked=_BY_DEFINITION),
    _C(source="rnnoise", layers="compute_generic_gru", cell="gru", gates="zrn",
       arrays=(_A("input_weights", "x"), _A("recurrent_weights", "h"),
               _A("bias", "b"), _A("recurrent_bias", "c")), axes=_COLUMNS,
       checked=_BY_DEFINITION),
)  # fmt: skip

CONVENTIONS: tuple[Convention, ...] = (
    *_of_torch("pytorch", ("nn.LSTM, LSTMCell", "nn.GRU, GRUCell", "nn.RNN, RNNCell"), "tests"),
    *_KERAS_ROWS,
    *_FLAX_ROWS,
    *_JAX_ROWS,
    *_TENSORFLOW_ROWS,
    *_PADDLE_ROWS,
    *_MXNET_ROWS,
    *_CHAINER_ROWS,
    *_DYNET_ROWS,
    *_MADMOM_ROWS,
    *_COREML_ROWS,
    *_RUNTIME_ROWS,
    *_of_torch("tinygrad", ("nn.LSTMCell",), "tests"),
)
"""All rows, the most used sources first."""
