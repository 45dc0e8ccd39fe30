"""asmscan-bilstm: amyloid signaling motifs in proteins, by six small models of Keras."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import keras_layers
import numpy as np
from packages import Package

import rnnfast

PACKAGE = Package("asmscan-bilstm", "1.0.0", "GPL-3.0", shared=keras_layers.TENSORFLOW)
MODELS = "asmscan/bilstm/resources/model/cvms"
PROTEIN = "MSKIFGSDNQVVAGNFSINGSVIQQSGKGDNVAIVGNQITHEEKK"


def theirs() -> Any:
    keras = keras_layers.keras2()
    model = keras.models.load_model(f"{MODELS}/bass-model1.h5", compile=False)
    tokenizer = pickle.loads(Path("asmscan/bilstm/resources/tokenizer.pickle").read_bytes())
    windows = [PROTEIN[start : start + 40] for start in range(len(PROTEIN) - 39)]
    ids = np.array(tokenizer.texts_to_sequences(windows))
    return keras_layers.recorded(model, ["bi-lstm", "lstm"], ids)


def ours(given: Any) -> Any:
    os.chdir(MODELS)
    both = rnnfast.read_layer("bass-model1.h5", prefix="bi-lstm")
    last = rnnfast.read_layer("bass-model1.h5", prefix="lstm")
    x, y = (one.swapaxes(0, 1) for one in given)
    return lambda: (both(x)[0].swapaxes(0, 1), last(y)[0][-1])


def test_two_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="LSTM in both directions and LSTM", engine="Keras 2"
    )
