"""uzmorph-bigru: the morphology of Uzbek words, by a bidirectional GRU in PyTorch."""

from __future__ import annotations

from typing import Any

from packages import Package
from torch_layers import recorded

import rnnfast

PACKAGE = Package("uzmorph-bigru", "0.1.1", "MIT", needs=("setuptools==80.9.0",))
WORD = "kitoblarimizdagilardan"


def theirs() -> Any:
    from uzmorph_bigru import uzmorph_bigru

    analyzer = uzmorph_bigru()
    return recorded(analyzer.model.gru, lambda: analyzer.analyze(WORD))


def ours(x: Any) -> Any:
    layer = rnnfast.read_layer("uzmorph_bigru/data/morph_bigru.pth")
    return lambda: layer(x.swapaxes(0, 1))[0].swapaxes(0, 1)


def test_two_bidirectional_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="GRU in both directions, 30 letters", engine="PyTorch"
    )
