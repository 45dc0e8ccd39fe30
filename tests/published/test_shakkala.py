"""shakkala: the diacritics of Arabic text, by three models of Keras."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import keras_layers
from packages import Package

import rnnfast

PACKAGE = Package("shakkala", "1.7", "MIT", shared=keras_layers.TENSORFLOW)
SENTENCE = "السلام عليكم ورحمة الله وبركاته"


def theirs_of(file: str, length: int, names: list[str]) -> Any:
    keras = keras_layers.keras2(before_2_3=True)
    model = keras.models.load_model(f"shakkala/model/{file}", compile=False)
    letters = pickle.loads(Path("shakkala/dictionary/input_vocab_to_int.pickle").read_bytes())
    ids = [[letters.get(letter, letters["<UNK>"]) for letter in SENTENCE]]
    padded = keras.preprocessing.sequence.pad_sequences(ids, maxlen=length, padding="post")
    return keras_layers.recorded(model, names, padded)


def theirs_simple() -> Any:
    return theirs_of("simple_model.h5", 495, ["gru_1"])


def ours_simple(given: Any) -> Any:
    os.chdir("shakkala/model")
    layer = rnnfast.read_layer("simple_model.h5")
    x = given[0].swapaxes(0, 1)
    return lambda: layer(x)[0].swapaxes(0, 1)


def theirs_middle() -> Any:
    return theirs_of("middle_model.h5", 315, ["bidirectional_5"])


def ours_middle(given: Any) -> Any:
    os.chdir("shakkala/model")
    layer = rnnfast.read_layer("middle_model.h5")
    x = given[0].swapaxes(0, 1)
    return lambda: layer(x)[0].swapaxes(0, 1)


def theirs_second() -> Any:
    return theirs_of("second_model6.h5", 315, [f"bidirectional_{k}" for k in (19, 20, 21)])


def ours_second(given: Any) -> Any:
    os.chdir("shakkala/model")
    layers = (
        rnnfast.read_layer("second_model6.h5", prefix="bidirectional_19"),
        rnnfast.read_layer("second_model6.h5", prefix="bidirectional_20"),
        rnnfast.read_layer("second_model6.h5", prefix="bidirectional_21"),
    )
    xs = [x.swapaxes(0, 1) for x in given]
    return lambda: tuple(layer(x)[0].swapaxes(0, 1) for layer, x in zip(layers, xs, strict=True))


def test_the_simple_model(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs_simple, ours_simple, network="GRU, 495 letters", engine="Keras 2")


def test_the_middle_model(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        theirs_middle,
        ours_middle,
        network="GRU in both directions, 315 letters",
        engine="Keras 2",
    )


def test_the_second_model(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        theirs_second,
        ours_second,
        network="3 LSTMs in both directions, 315 letters",
        engine="Keras 2",
    )
