"""DKSplit: words in the names of domains, by quantised bidirectional LSTMs in onnxruntime."""

from __future__ import annotations

from typing import Any

from packages import Package

import rnnfast
import rnnfast.onnx

PACKAGE = Package("dksplit", "1.0.2", "CC BY 4.0")
TEXT = "thequickbrownfoxjumpsoverthelazydog"


def theirs() -> Any:
    from dksplit.split import Splitter, _text_to_ids_fast

    splitter = Splitter(num_threads=1)
    x = {"chars": _text_to_ids_fast(TEXT)[None]}
    return x, lambda: splitter.session.run(None, x)[0]


def ours(x: Any) -> Any:
    session = rnnfast.onnx.Session("dksplit/models/dksplit-int8.onnx")
    return lambda: session.run(None, x)[0]


def test_words(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        theirs,
        ours,
        network="3 LSTM layers of 384 units in both directions, quantised, 35 letters",
        engine="onnxruntime",
        tolerance=0.01,  # onnxruntime rounds x and h to 8 bits, steps of 1/255; we do not
    )
