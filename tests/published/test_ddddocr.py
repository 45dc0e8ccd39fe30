"""ddddocr: text in small pictures, by convolutions and a bidirectional LSTM in onnxruntime."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from comparison import leave_out
from packages import Package

import rnnfast
import rnnfast.onnx

PACKAGE = Package("ddddocr", "1.6.1", "MIT")
TEXT = "Rk7fW"
MODELS = {
    "common": ("the newer model, a picture of 5 letters", 1e-5),
    # onnxruntime rounds x and h of the LSTM to 8 bits, steps of 1/255; we do not
    "common_old": ("the older model, quantised, a picture of 5 letters", 0.02),
}


def picture() -> Any:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (160, 60), "white")
    draw = ImageDraw.Draw(image)
    draw.text((15, 8), TEXT, fill="navy", font=ImageFont.load_default(40))
    draw.line((0, 45, 160, 20), fill="gray", width=2)
    return image


def theirs(name: str) -> Any:
    leave_out("cv2")
    import onnxruntime
    from ddddocr import DdddOcr

    one = onnxruntime.SessionOptions()  # the package leaves the number of threads to onnxruntime
    one.intra_op_num_threads = 1
    onnxruntime.InferenceSession = functools.partial(onnxruntime.InferenceSession, sess_options=one)
    package = DdddOcr(show_ad=False, old=name == "common_old", beta=name == "common")
    engine = package.ocr_engine
    x = engine._preprocess_image(picture(), png_fix=False)
    session = engine.session  # the engine drops it when the package is deleted
    return (name, x), lambda: session.run(None, {"input1": x})[0]


def ours(given: Any) -> Any:
    name, x = given
    session = rnnfast.onnx.Session(f"ddddocr/{name}.onnx")
    return lambda: session.run(None, {"input1": x})[0]


@pytest.mark.parametrize("name", MODELS)
def test_text(gallery: Any, name: str) -> None:
    network, tolerance = MODELS[name]
    gallery.check(
        PACKAGE,
        theirs,
        ours,
        argument=name,
        network=network,
        engine="onnxruntime",
        tolerance=tolerance,
    )
