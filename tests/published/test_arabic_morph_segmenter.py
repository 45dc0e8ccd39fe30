"""arabic-morph-segmenter: prefix, stem and suffix of Arabic words, by an LSTM and a CRF."""

from __future__ import annotations

from typing import Any

from packages import Package
from torch_layers import recorded

import rnnfast

PACKAGE = Package("arabic-morph-segmenter", "0.1.0", "MIT", needs=("pytorch-crf==0.7.2",))
WORD = "وبكتابهم"


def theirs() -> Any:
    from arabic_morph_segmenter.segmenter import ArabicMorphSegmenter

    segmenter = ArabicMorphSegmenter()
    return recorded(segmenter.model.lstm, lambda: segmenter.segment_word(WORD))


def ours(x: Any) -> Any:
    layer = rnnfast.read_layer("arabic_morph_segmenter/assets/arabic_morph_segmenter_bilstm_crf.pt")
    return lambda: layer(x.swapaxes(0, 1))[0].swapaxes(0, 1)


def test_two_bidirectional_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="LSTM in both directions, 8 letters", engine="PyTorch"
    )
