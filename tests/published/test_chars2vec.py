"""chars2vec: vectors of English words by their letters, by two LSTMs of Keras."""

from __future__ import annotations

import os
from typing import Any

import keras_layers
from packages import Package

import rnnfast

PACKAGE = Package("chars2vec", "0.1.7", "Apache-2.0", needs=(), shared=keras_layers.TENSORFLOW)
WORDS = ["Natural", "Language", "Understanding", "natural", "langage"]


def theirs() -> Any:
    keras_layers.keras2(before_2_3=True)
    import chars2vec

    model = chars2vec.load_model("eng_300")
    given: list[Any] = []
    predict = model.embedding_model.predict
    model.embedding_model.predict = lambda x: given.append(x[0]) or predict(x)
    model.vectorize_words(WORDS)
    first, second = (layer.name for layer in model.embedding_model.layers[1:])
    return keras_layers.recorded(model.embedding_model, [first, second], given[0])


def ours(given: Any) -> Any:
    os.chdir("chars2vec/trained_models/eng_300")
    first = rnnfast.read_layer(
        "weights.h5", prefix="lstm_1.lstm_1", gate_activation="hard_sigmoid_keras2"
    )
    second = rnnfast.read_layer(
        "weights.h5", prefix="lstm_2.lstm_2", gate_activation="hard_sigmoid_keras2"
    )
    x, y = (one.swapaxes(0, 1) for one in given)
    return lambda: (first(x)[0].swapaxes(0, 1), second(y)[0][-1])


def test_two_layers(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="2 LSTMs", engine="Keras 2")
