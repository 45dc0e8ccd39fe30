"""nakdimon: the diacritics of Hebrew text, by two bidirectional LSTMs of Keras."""

from __future__ import annotations

from typing import Any

import keras_layers
from packages import Package

import rnnfast

PACKAGE = Package("nakdimon", "0.1.2", "MIT", shared=keras_layers.TENSORFLOW)
SENTENCE = "שלום עולם וברוכים הבאים לירושלים"


def theirs() -> Any:
    keras_layers.keras2()
    from nakdimon import dataset, hebrew, predict
    from nakdimon.config import MAIN_MODEL

    model = predict.load_cached_model(MAIN_MODEL)
    assert len(predict.predict(SENTENCE)) > len(SENTENCE)
    data = dataset.Data.from_text(hebrew.iterate_dotted_text(SENTENCE), 10000)
    names = ["bidirectional", "bidirectional_1"]
    return keras_layers.recorded(model, names, data.normalized, steps=len(SENTENCE))


def ours(given: Any) -> Any:
    first = rnnfast.read_layer("nakdimon/Nakdimon.h5", prefix="bidirectional")
    second = rnnfast.read_layer("nakdimon/Nakdimon.h5", prefix="bidirectional_1")
    layers = [(layer, x.swapaxes(0, 1)) for layer, x in zip((first, second), given, strict=True)]

    def run() -> Any:
        outputs = [layer(x)[0].swapaxes(0, 1) for layer, x in layers]
        return tuple(y[..., :400] + y[..., 400:] for y in outputs)  # the model adds the directions

    return run


def test_two_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="2 LSTMs in both directions, 32 letters", engine="Keras 2"
    )
