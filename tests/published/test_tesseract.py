"""Tesseract: a line of text, by LSTMs over the columns and rows of a picture, in C++.

Tesseract shows, for each step, the characters with a probability of 1% or more. Its English model
has weights of 8 bits, and rounds what goes from layer to layer, and h inside the LSTMs, to 8 bits,
too. `ours` does the former around the LSTMs, which compute in float32. What Tesseract sees beyond
the edge of a picture is noise, from a generator whose seed is in the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from packages import Package

import rnnfast
from rnnfast.exchange.files import tesseract

PACKAGE = Package(
    "tesseract-ocr-eng",
    "4.1.0",
    "Apache-2.0",
    needs=("tesserocr==2.13.0",),
    debian=("tesseract-ocr-eng=1:4.1.0*",),
)
FOLDER = "usr/share/tesseract-ocr/5/tessdata"
FILE = f"{FOLDER}/eng.traineddata"
TEXT = "The quick brown fox jumps"
HEIGHT, MARGIN, SHOWN = (
    36,
    4,
    6,
)  # of the model, around a line, characters of a step that we compare


def picture() -> Any:
    """Return a line in black and white of the height that the model takes, so nothing is scaled."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("1", (600, 80), 1)
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    draw.text((20, 20), TEXT, fill=0, font=ImageFont.load_default(29))
    left, top, right, bottom = image.convert("L").point(lambda v: 255 - v).getbbox()
    assert bottom - top == HEIGHT - 2 * MARGIN, "the font is another one"
    width = (right - left + 2 * MARGIN) // 3 * 3
    return image.convert("L").crop((left - MARGIN, top - MARGIN, left - MARGIN + width, top + 32))


def theirs() -> Any:
    import tesserocr

    image = picture()
    engine = tesserocr.PyTessBaseAPI(path=FOLDER, lang="eng", psm=tesserocr.PSM.RAW_LINE)
    engine.SetVariable("lstm_choice_mode", "1")  # show what each step found
    engine.SetVariable("lstm_choice_iterations", "0")

    def run() -> Any:
        engine.SetImage(image)
        _, *steps = engine.GetHOCRText(0).split("id='timestep")
        result = np.zeros((len(steps), SHOWN))
        for row, step in zip(result, steps, strict=True):
            found = sorted(map(int, re.findall(r"x_confs (\d+)", step)), reverse=True)[:SHOWN]
            row[: len(found)] = found
        return (result + 0.5 * (result > 0)) / 100  # it cuts off fractions of a percent

    return np.asarray(image), run


def ours(image: Any) -> Any:
    columns = rnnfast.read_layer(FILE, prefix="3.0.Lfys48", cell_clip=0)
    forward = rnnfast.read_layer(FILE, prefix="4.Lfx96", cell_clip=0)
    backward = rnnfast.read_layer(FILE, prefix="5.0.Lrx96", cell_clip=0, reversed_input=True)
    last = rnnfast.read_layer(FILE, prefix="6.Lfx192", cell_clip=0)
    (filters, outputs), seed = rest_of(Path(FILE).read_bytes())
    x = neighbourhoods(np.where(image > 127, 127, -127), seed)
    height, width = HEIGHT // 3, image.shape[1] // 3

    def run() -> Any:
        pixels = rounded(np.tanh(x @ filters[:, :-1].T + filters[:, -1]))
        pooled = pixels.reshape(height, 3, width, 3, -1).max(axis=(1, 3))
        y = rounded(columns(pooled)[0][-1:]).swapaxes(0, 1)
        y = rounded(forward(y)[0])
        y = rounded(backward(y[::-1])[0][::-1])
        y = rounded(last(y)[0])[:, 0]
        powers = np.exp(y @ outputs[:, :-1].T + outputs[:, -1])
        shares = np.sort(powers / powers.sum(axis=1, keepdims=True))[:, : -SHOWN - 1 : -1]
        return np.where(shares < 0.01, 0, shares)

    return run


def rounded(values: Any) -> Any:
    """Return values rounded to 8 bits."""
    return (np.rint(127 * values) / 127).astype(np.float32)


def rest_of(data: bytes) -> tuple[list[Any], int]:
    """Return the matrices of a file that are not of LSTMs, and the seed of the noise."""
    count = int.from_bytes(data[:4], "little")
    offsets = np.frombuffer(data, "<i8", count, 4)
    reader = tesseract._Reader(data[offsets[tesseract._COMPONENT] :])
    matrices: list[Any] = []

    def walk() -> None:
        head = tesseract._head(reader)
        if head.kind in tesseract._STACKS:
            for _ in range(reader.numbers("I")[0]):
                walk()
            if head.flags & tesseract._RATES:
                reader.take(4 * reader.numbers("I")[0])
        elif head.kind in tesseract._LSTMS:
            reader.numbers("i")
            for _ in tesseract._GATES:
                reader.weights(head.training)
        elif head.kind in tesseract._FULL:
            matrices.append(reader.weights(head.training))
        else:
            reader.numbers("iiiii" if head.kind == "Input" else "ii")

    walk()
    reader.text()  # the network as a string
    _, _, samples = reader.numbers("iii")
    return matrices, samples * 0x10000001


def neighbourhoods(pixels: Any, seed: int) -> Any:
    """Return the 3x3 pixels around each pixel, column by column; noise stands for those outside."""
    height, width = pixels.shape
    padded = np.pad(pixels, 1)
    result = np.empty((height, width, 9), np.float32)
    state = following(seed)
    for y, x in np.ndindex(height, width):
        around = padded[y : y + 3, x : x + 3].T.ravel()
        for k, (dx, dy) in enumerate(np.ndindex(3, 3)):
            if not (0 < x + dx <= width and 0 < y + dy <= height):
                state = following(state)
                around[k] = round(127 * (2 * (state >> 33) / (2**31 - 1) - 1))
        result[y, x] = around
    return result / 127


def following(state: int) -> int:
    """Return the next state of a linear congruential generator, with Knuth's numbers."""
    return (state * 6364136223846793005 + 1442695040888963407) % 2**64


def test_a_line(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        theirs,
        ours,
        network="4 LSTM layers with weights of 8 bits, a line of text",
        engine="C++, with layout and beam search",
        # Rounding of h moves the probabilities of uncertain steps by up to 0.11; another order of
        # the gates of any layer moves some by 0.6 or more.
        tolerance=0.2,
    )
