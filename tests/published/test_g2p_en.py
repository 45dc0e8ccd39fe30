"""g2p-en: the pronunciation of English words, by a GRU in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package("g2p-en", "2.1.0", "Apache-2.0")
WORD = "counterrevolutionaries"


def theirs() -> Any:
    leave_out("inflect", "nltk", "nltk.corpus", "nltk.tokenize")
    from g2p_en import G2p

    g2p = G2p()
    x = g2p.encode(WORD)
    weights = (g2p.enc_w_ih, g2p.enc_w_hh, g2p.enc_b_ih, g2p.enc_b_hh)
    return x, lambda: g2p.gru(x, x.shape[1], *weights)


def ours(x: Any) -> Any:
    file = np.load("g2p_en/checkpoint20.npz")
    layer = rnnfast.read_layer(
        {name.replace("enc_w", "weight").replace("enc_b", "bias"): file[name] for name in file}
    )
    return lambda: layer(x.swapaxes(0, 1))[0].swapaxes(0, 1)


def test_the_encoder(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="GRU, a word of 22 letters", engine="NumPy")
