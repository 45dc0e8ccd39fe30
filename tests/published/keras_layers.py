"""Recurrent layers of Keras 2 on what they get when their package runs.

tf_keras is Keras 2, as it goes on beside Keras 3. TensorFlow computes on one thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

TENSORFLOW = (
    "tensorflow-cpu==2.21.0",
    "tf_keras==2.21.0",
    "absl-py==2.5.1",
    "astunparse==1.6.3",
    "flatbuffers==25.12.19",
    "gast==0.7.0",
    "google-pasta==0.2.0",
    "opt-einsum==3.4.0",
    "six==1.17.0",
    "termcolor==3.3.0",
)  # what tensorflow-cpu needs besides what the tests of Keras install


def keras2() -> Any:
    """Return tf_keras, which `import keras` finds from now on, with TensorFlow on one thread."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import tf_keras

    for name in list(sys.modules):
        if name.split(".")[0] == "tf_keras":
            sys.modules[name.replace("tf_", "", 1)] = sys.modules[name]
    return tf_keras


def gru_of_keras_2_0() -> dict[str, Any]:
    """Return what loads models with a GRU from before Keras 2.1.5, which had no reset_after."""
    from tf_keras.src.layers.rnn.gru_v1 import GRU

    return {"GRU": GRU}


def recorded(
    model: Any, names: list[str], inputs: Any
) -> tuple[list[NDArray[Any]], Callable[[], tuple[NDArray[Any], ...]]]:
    """Return what layers of a model get for its inputs, and a function that computes their outputs.

    The function runs each layer alone, as a graph, so it takes less than `model.predict`.
    """
    import tensorflow as tf
    import tf_keras

    layers = [model.get_layer(name) for name in names]
    given = tf_keras.Model(model.inputs, [layer.input for layer in layers]).predict(
        inputs, verbose=0
    )
    given = [np.asarray(x) for x in (given if len(names) > 1 else [given])]
    constants = [tf.constant(x) for x in given]
    graph = tf.function(
        lambda *xs: [layer(x, training=False) for layer, x in zip(layers, xs, strict=True)]
    )
    return given, lambda: tuple(y.numpy() for y in graph(*constants))
