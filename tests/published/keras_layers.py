"""Recurrent layers of Keras 2 on what they get when their package runs.

tf_keras is Keras 2, as it goes on beside Keras 3.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
)  # with what TensorFlow needs besides what the tests of Keras install


def one_thread() -> None:
    """Let TensorFlow compute on one thread of the CPU."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def keras2(before_2_3: bool = False) -> Any:
    """Return tf_keras, which `import keras` finds from now on, with TensorFlow on one thread.

    Args:
        before_2_3: Give GRU and LSTM the defaults that Keras changed in 2.3, and names of modules
            that it had until then.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    one_thread()
    import tf_keras

    if before_2_3:
        from tf_keras.src.layers.rnn import gru_v1, lstm_v1

        old = {"GRU": gru_v1.GRU, "LSTM": lstm_v1.LSTM}
        vars(tf_keras.layers).update(old)
        tf_keras.utils.get_custom_objects().update(old)
        sys.modules["keras.layers.normalization"] = tf_keras.layers
    for name in list(sys.modules):
        if name.split(".")[0] == "tf_keras":
            sys.modules[name.replace("tf_", "", 1)] = sys.modules[name]
    return tf_keras


def recorded(
    model: Any, names: list[str], inputs: Any, steps: int | None = None
) -> tuple[list[NDArray[Any]], Callable[[], tuple[NDArray[Any], ...]]]:
    """Return what layers of a model get for its inputs, and a function that computes their outputs.

    The function runs each layer alone, as a graph, so it takes less than `model.predict`.

    Args:
        model: The model.
        names: Its recurrent layers.
        inputs: What `model.predict` takes.
        steps: Where a mask lets only the first steps count, their number.
    """
    import tensorflow as tf
    import tf_keras

    layers = [model.get_layer(name) for name in names]
    tensors = [layer.input for layer in layers]
    masked = any(getattr(tensor, "_keras_mask", None) is not None for tensor in tensors)
    assert masked == (steps is not None), "steps are for models with a mask"
    given = tf_keras.Model(model.inputs, tensors).predict(inputs, verbose=0)
    given = [np.asarray(x)[:, :steps] for x in (given if len(names) > 1 else [given])]
    constants = [tf.constant(x) for x in given]
    graph = tf.function(
        lambda *xs: [layer(x, training=False) for layer, x in zip(layers, xs, strict=True)]
    )
    return given, lambda: tuple(y.numpy() for y in graph(*constants))
