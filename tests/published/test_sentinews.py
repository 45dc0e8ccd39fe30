"""sentinews: the sentiment of Chinese news, by three GRUs of Keras."""

from __future__ import annotations

import os
from typing import Any

import keras_layers
import numpy as np
from packages import Package

import rnnfast

PACKAGE = Package(
    "sentinews", "0.5.0", "MIT", needs=("jieba==0.42.1",), shared=keras_layers.TENSORFLOW
)
NEWS = "公司前三季度净利润同比增长百分之三十，创历史新高，多家机构上调评级。"


def theirs() -> Any:
    keras = keras_layers.keras2(before_2_3=True)
    keras.layers.merge = None
    from sentinews import SentiNews

    news = SentiNews()
    ids = np.array(news.process(NEWS))
    names = [layer.name for layer in news.model.layers if isinstance(layer, keras.layers.GRU)]
    words = [word for word in news.words[0] if word in news.vocabulary]
    return keras_layers.recorded(news.model, names, ids, steps=len(words))


def ours(given: Any) -> Any:
    os.chdir("sentinews/docs/model")
    layers = (
        rnnfast.read_layer("default_best.h5", prefix="gru_1"),
        rnnfast.read_layer("default_best.h5", prefix="gru_2"),
        rnnfast.read_layer("default_best.h5", prefix="gru_3"),
    )
    xs = [x.swapaxes(0, 1) for x in given]

    def run() -> Any:
        first, second, last = (layer(x)[0] for layer, x in zip(layers, xs, strict=True))
        return first.swapaxes(0, 1), second.swapaxes(0, 1), last[-1]

    return run


def test_three_layers(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="3 GRUs", engine="Keras 2")
