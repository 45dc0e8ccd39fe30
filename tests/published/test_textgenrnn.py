"""textgenrnn: the next letter of a text, by two LSTMs that were trained by cuDNN."""

from __future__ import annotations

from typing import Any

import keras_layers
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package("textgenrnn", "2.0.0", "MIT", shared=keras_layers.TENSORFLOW)
TEXT = "The best way to predict the future is to"


def theirs() -> Any:
    import json

    keras = keras_layers.keras2(before_2_3=False)
    leave_out("sklearn", "sklearn.decomposition", "sklearn.manifold", "sklearn.metrics.pairwise", "sklearn.preprocessing", "tqdm", "keras.backend.tensorflow_backend")
    keras.utils.multi_gpu_model = None
    from textgenrnn import textgenrnn
    from textgenrnn.utils import textgenrnn_encode_sequence
    generator = textgenrnn()
    print(json.dumps(generator.config))
    ids = textgenrnn_encode_sequence(TEXT, generator.vocab, 40)
    return keras_layers.recorded(generator.model, ["rnn_1", "rnn_2"], ids)


def ours(given: Any) -> Any:
    file = "textgenrnn/textgenrnn_weights.hdf5"
    first = rnnfast.read_layer("textgenrnn/textgenrnn_weights.hdf5", prefix="rnn_1.rnn_1")
    second = rnnfast.read_layer("textgenrnn/textgenrnn_weights.hdf5", prefix="rnn_2.rnn_2")
    x, y = (one.swapaxes(0, 1) for one in given)
    return lambda: (first(x)[0].swapaxes(0, 1), second(y)[0].swapaxes(0, 1))


def test_two_layers(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="2 LSTMs, 40 letters", engine="Keras 2")
