"""g2pM: the pronunciation of Chinese characters, by an LSTM in both directions in NumPy."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from packages import Package

import rnnfast

PACKAGE = Package("g2pM", "0.1.2.5", "Apache-2.0")
SENTENCE = "然而，他红了20年以后，他竟退出了大家的视线。"


def theirs() -> Any:
    from g2pM import G2pM

    g2p = G2pM()
    ids = np.array([[g2p.char2idx.get(c, g2p.char2idx["<UNK>"]) for c in SENTENCE]])
    hidden: list[Any] = []
    g2p.fc_layer = lambda inputs: hidden.append(inputs) or inputs  # what the classifier gets

    def run() -> Any:
        g2p.predict(ids, np.arange(ids.shape[1]))
        return hidden.pop()

    return g2p.get_embedding(ids[0]), run


def ours(x: Any) -> Any:
    weights = pickle.loads(Path("g2pM/np_ckpt.pkl").read_bytes())
    layer = rnnfast.read_layer(weights, prefix="lstm")
    return lambda: layer(x[:, None])[0][:, 0]


def test_the_lstm(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="LSTM in both directions, a sentence", engine="NumPy"
    )
