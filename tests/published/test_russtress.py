"""russtress: the stress of Russian words, by a bidirectional LSTM of Keras."""

from __future__ import annotations

from typing import Any

import keras_layers
import numpy as np
from packages import Package

import rnnfast

PACKAGE = Package("russtress", "0.1.4", "none stated", shared=keras_layers.TENSORFLOW)
SENTENCE = "Широка страна моя родная"


def theirs() -> Any:
    keras_layers.keras2(before_2_3=True)
    np.bool = bool  # as in NumPy 1, for which the package was written
    from russtress import Accent

    accent = Accent()
    given: list[Any] = []
    predict = accent.model.predict
    accent.model.predict = lambda x, **options: given.append(x) or predict(x, **options)
    assert accent.put_stress(SENTENCE).count("'") == 4
    return keras_layers.recorded(accent.model, ["bidirectional_1"], np.concatenate(given))


def ours(given: Any) -> Any:
    layer = rnnfast.read_layer("russtress/weights.96.hdf5")
    x = given[0].swapaxes(0, 1)

    def run() -> Any:
        y = layer(x)[0]
        return np.concatenate([y[-1, :, :64], y[0, :, 64:]], axis=1)

    return run


def test_the_bidirectional_layer(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="LSTM in both directions, 4 words", engine="Keras 2"
    )
