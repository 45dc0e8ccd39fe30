"""uzmorph-nn: the morphology of Uzbek words, by a bidirectional LSTM in PyTorch."""

from __future__ import annotations

from typing import Any

from packages import Package
from torch_layers import recorded

import rnnfast

PACKAGE = Package("uzmorph-nn", "0.1.0", "MIT", needs=("setuptools==80.9.0",))
WORD = "kitoblarimizdagilardan"


def theirs() -> Any:
    from uzmorph_nn import uzmorph_nn

    analyzer = uzmorph_nn()
    return recorded(analyzer.model.lstm, lambda: analyzer.analyze(WORD))


def ours(x: Any) -> Any:
    layer = rnnfast.read_layer("uzmorph_nn/data/morph_bilstm.pth")
    return lambda: layer(x.swapaxes(0, 1))[0].swapaxes(0, 1)


def test_two_bidirectional_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="LSTM in both directions, 30 letters", engine="PyTorch"
    )
