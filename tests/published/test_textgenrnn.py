"""textgenrnn: the next letter of a text, by two LSTMs that were trained by cuDNN."""

from __future__ import annotations

from typing import Any

import keras_layers
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package(
    "textgenrnn", "2.0.0", "MIT", needs=("setuptools==80.9.0",), shared=keras_layers.TENSORFLOW
)
TEXT = "The best way to predict the future is to"


def theirs() -> Any:
    keras_layers.keras2()
    sklearn = ("decomposition", "manifold", "metrics.pairwise", "preprocessing")
    leave_out("sklearn", *(f"sklearn.{name}" for name in sklearn), "tqdm")
    leave_out("keras.backend.tensorflow_backend", "tensorflow.keras.utils")
    from textgenrnn import textgenrnn
    from textgenrnn.utils import textgenrnn_encode_sequence

    generator = textgenrnn()
    ids = textgenrnn_encode_sequence(TEXT, generator.vocab, len(TEXT))
    return keras_layers.recorded(generator.model, ["rnn_1", "rnn_2"], ids)


def ours(given: Any) -> Any:
    first = rnnfast.read_layer("textgenrnn/textgenrnn_weights.hdf5", prefix="rnn_1.rnn_1")
    second = rnnfast.read_layer("textgenrnn/textgenrnn_weights.hdf5", prefix="rnn_2.rnn_2")
    x, y = (one.swapaxes(0, 1) for one in given)
    return lambda: (first(x)[0].swapaxes(0, 1), second(y)[0].swapaxes(0, 1))


def test_two_layers(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="2 LSTMs, 40 letters", engine="Keras 2")
