"""g2p-fa: the pronunciation of Persian words, by an encoder and a decoder of PyTorch."""

from __future__ import annotations

from typing import Any

from packages import Package
from torch_layers import recorded

import rnnfast

PACKAGE = Package("g2p-fa", "1.1.0", "MIT")
WORD = "دانشگاه"


def theirs() -> Any:
    from g2p_fa import G2P_Fa

    g2p = G2P_Fa()
    g2p.model.eval()
    return recorded(g2p.model.encoder.rnn, lambda: g2p(WORD))


def ours(x: Any) -> Any:
    layer = rnnfast.read_layer("g2p_fa/data/weights", prefix="encoder.rnn")
    return lambda: layer(x)[0]


def test_the_encoder(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="LSTM, 2 layers, 30 letters", engine="PyTorch")
