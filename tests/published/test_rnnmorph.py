"""rnnmorph: the morphology of Russian words in a sentence, by LSTMs of Keras."""

from __future__ import annotations

import inspect
import os
from typing import Any

import keras_layers
import numpy as np
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package(
    "rnnmorph",
    "0.4.1",
    "Apache-2.0",
    needs=(
        "pymorphy2==0.9.1",
        "pymorphy2-dicts-ru==2.4.417127.4579844",
        "DAWG-Python==0.7.2",
        "russian-tagsets==0.6",
        "jsonpickle==4.1.1",
        "tqdm==4.67.1",
        "setuptools==80.9.0",
    ),
    shared=keras_layers.TENSORFLOW,
)
SENTENCE = "мама мыла раму и пела старую песню о далёкой реке"


def theirs() -> Any:
    keras_layers.keras2(before_2_3=True)
    leave_out("nltk", "nltk.corpus")
    vars(np).update(int=int, float=float)  # as in NumPy 1, for which the package was written
    inspect.getargspec = lambda function: inspect.getfullargspec(function)[:4]  # of Python 3.10
    from rnnmorph.predictor import RNNMorphPredictor

    predictor = RNNMorphPredictor(language="ru")
    model = predictor.model.eval_model
    given: list[Any] = []
    predict = model.predict
    model.predict = lambda inputs, **options: given.append(inputs) or predict(inputs, **options)
    assert predictor.predict(SENTENCE.split())[0].pos == "NOUN"
    names = ["LSTM_1_forward", "LSTM_1_backward", "bidirectional_1"]
    (x, _, y), run = keras_layers.recorded(model, names, given[0])

    def joined() -> Any:
        forward, backward, second = run()
        return np.concatenate([forward, backward], axis=2), second

    return (x, y), joined


def ours(given: Any) -> Any:
    os.chdir("rnnmorph/models/ru")
    first = rnnfast.read_layer(
        "eval_model.h5",
        prefix=["LSTM_1_forward.LSTM_1_forward", "LSTM_1_backward.LSTM_1_backward"],
        bidirectional=True,
        gate_activation="hard_sigmoid_keras2",
    )
    second = rnnfast.read_layer(
        "eval_model.h5",
        prefix="bidirectional_1.bidirectional_1",
        gate_activation="hard_sigmoid_keras2",
    )
    x, y = (one.swapaxes(0, 1) for one in given)
    return lambda: (first(x)[0].swapaxes(0, 1), second(y)[0].swapaxes(0, 1))


def test_the_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="2 LSTMs in both directions, 10 words", engine="Keras 2"
    )
