"""arabic-name-romanizer: Arabic names in Latin letters, by GRUs with attention in onnxruntime."""

from __future__ import annotations

import os
from typing import Any

from packages import Package

import rnnfast
import rnnfast.onnx

PACKAGE = Package("arabic-name-romanizer", "0.2.0", "MIT")
NAME = "عبدالرحيموف"


def theirs() -> Any:
    import onnxruntime

    inference = onnxruntime.InferenceSession
    given: list[Any] = []

    class Recorder(inference):
        def run(self, names: Any, inputs: Any) -> Any:
            given.append((self, names, inputs))
            return super().run(names, inputs)

    def session(path: str, _options: Any, **others: Any) -> Any:
        one = onnxruntime.SessionOptions()  # the package leaves the threads to onnxruntime
        one.intra_op_num_threads = 1
        return Recorder(path, one, **others)

    onnxruntime.InferenceSession = session
    from arabic_name_romanizer import transliterate

    assert transliterate(NAME)
    encoder, _, inputs = given[0]
    return inputs, lambda: tuple(inference.run(encoder, ["memory_out", "hidden_out"], inputs))


def ours(inputs: Any) -> Any:
    os.chdir("arabic_name_romanizer/resources")
    session = rnnfast.onnx.Session("encoder.onnx")
    return lambda: tuple(session.run(["memory_out", "hidden_out"], inputs))


def test_the_encoder(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="2 GRUs in both directions, a name", engine="onnxruntime"
    )
