"""nagisa: the words of Japanese text, by a bidirectional LSTM that DyNet trained."""

from __future__ import annotations

from typing import Any

from packages import Package

import rnnfast

PACKAGE = Package("nagisa", "0.3.0", "MIT", needs=("six==1.17.0",))
SENTENCE = "Pythonで簡単に使えるツールで、日本語の文章を単語に分けて品詞を推定します。"


def theirs() -> Any:
    import nagisa

    network = nagisa.tagger._model.ws_model
    transduce, given = network.transduce, []
    network.transduce = lambda x: given.append(x) or transduce(x)
    assert len(nagisa.wakati(SENTENCE)) > 10
    return given[0], lambda: transduce(given[0])


def ours(x: Any) -> Any:
    layer = rnnfast.read_layer(
        "nagisa/data/nagisa_v001.model",
        prefix=["birnn.vanilla-lstm-builder", "birnn.vanilla-lstm-builder_1"],
        bidirectional=True,
        forget_offset=1,
    )
    return lambda: layer(x[:, None])[0][:, 0]


def test_the_segmenter(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="LSTM in both directions, a sentence", engine="Cython"
    )
