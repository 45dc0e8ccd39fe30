"""kraken: lines of text in pictures of pages, by convolutions and LSTMs in PyTorch.

The LSTMs run over the rows of a picture, and over its columns. The file of the model is one of
Core ML.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package(
    "kraken",
    "7.1.1",
    "Apache-2.0",
    needs=(  # coremltools reads the model
        *("coremltools==9.0", "protobuf==7.36.2", "attrs==26.1.0", "cattrs==26.2.1"),
        *("sympy==1.14.0", "mpmath==1.4.1", "pyaml==26.7.0", "tqdm==4.70.1", "packaging==26.4"),
        "typing_extensions==4.16.0",
    ),
)


def model_and_page() -> Any:
    """Return the model, and a page of ten lines; smaller than kraken makes them, to save time."""
    leave_out(
        *("lightning", "lightning.fabric", "kraken.lib.dataset", "kraken.lib.segmentation"),
        *("kraken.lib.util", "kraken.lib.bidi", "shapely", "shapely.geometry", "skimage"),
        *("skimage.filters", "torchvision", "torchvision.transforms"),
    )
    import torch
    from kraken.lib.vgsl.model import TorchVGSLModel
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", (320, 400), "white")
    draw = ImageDraw.Draw(page)
    for line in range(10):
        text = "In a village of La Mancha, the name of which"
        draw.text((25, 30 + 35 * line), text, fill="black", font=ImageFont.load_default(13))
    x = torch.from_numpy(np.asarray(page, np.float32).transpose(2, 0, 1)[None] / 255)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # load_model is deprecated
        return TorchVGSLModel.load_model("kraken/blla.mlmodel").eval(), x


def running(model: Any, x: Any) -> Any:
    import torch

    def run() -> Any:
        with torch.inference_mode():
            return model.nn(x)[0].numpy()

    return run


def theirs() -> Any:
    return None, running(*model_and_page())


def ours(_: Any) -> Any:
    import rnnfast.torch

    model, x = model_and_page()
    rnnfast.torch.accelerate(model)
    return running(model, x)


def lstm_of_theirs() -> Any:
    import torch

    model, page = model_and_page()
    lstm, given = model.nn.L_10.layer, []
    handle = lstm.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    running(model, page)()
    handle.remove()
    (x,) = given

    def run() -> Any:
        with torch.inference_mode():
            return lstm(x)[0].numpy()

    return x.numpy(), run


def lstm_of_ours(x: Any) -> Any:
    layer = rnnfast.read_layer("kraken/blla.mlmodel", prefix="L_10", batch_first=True, cell_clip=0)
    return lambda: layer(x)[0]


def test_the_whole_model(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="the whole model, a page of ten lines", engine="PyTorch"
    )


def test_an_lstm(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        lstm_of_theirs,
        lstm_of_ours,
        network="the first LSTM, 32 units in both directions, a page of ten lines",
        engine="PyTorch",
    )
