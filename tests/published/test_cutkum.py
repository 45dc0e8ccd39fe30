"""cutkum: the words of Thai text, by three GRUs of TensorFlow 1 in a frozen graph."""

from __future__ import annotations

import os
import sys
from typing import Any

import keras_layers
import numpy as np
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package(
    "cutkum", "2.4", "MIT", needs=("setuptools==80.9.0",), shared=keras_layers.TENSORFLOW
)
SENTENCE = "สารานุกรมไทยสำหรับเยาวชนฯ"


def theirs() -> Any:
    keras_layers.one_thread()
    import tensorflow

    tf = tensorflow.compat.v1
    sys.modules["tensorflow"] = tf  # the package was written for TensorFlow 1
    leave_out(*(f"tensorflow.contrib{name}" for name in ("", ".layers", ".rnn")))
    tf.contrib = sys.modules["tensorflow.contrib"]
    from cutkum.tokenizer import Cutkum

    cutkum = Cutkum()
    given: list[Any] = []
    process = cutkum._process_sentence
    cutkum._process_sentence = lambda x: given.append(x) or process(x)
    assert len(cutkum.tokenize(SENTENCE)) > 1
    (x,) = given
    session, names = tf.Session(graph=cutkum.graph), cutkum.model_vars
    feed = {
        names["inputs"]: x,
        names["fw_state"]: cutkum._init_fw_states(batch_size=1),
        names["seq_lengths"]: [len(x)],
        names["keep_prob"]: 1.0,
    }
    y = "prefix/rnn/TensorArrayStack/TensorArrayGatherV3:0"
    return x.astype(np.float32), lambda: session.run(y, feed)


def ours(x: Any) -> Any:
    os.chdir("cutkum")
    first = rnnfast.read_layer("frozen_model.pb", prefix="rnn.multi_rnn_cell.cell_0.gru_cell")
    second = rnnfast.read_layer("frozen_model.pb", prefix="rnn.multi_rnn_cell.cell_1.gru_cell")
    third = rnnfast.read_layer("frozen_model.pb", prefix="rnn.multi_rnn_cell.cell_2.gru_cell")
    return lambda: third(second(first(x)[0])[0])[0]


def test_three_layers(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="3 GRUs, 27 letters", engine="TensorFlow")
