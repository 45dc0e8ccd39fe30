"""Glimpses, to generate: DRAW, which draws a digit in steps, each in a part of the image.

    python -m examples.draw
    python -m examples.draw --whole

In each step, an LSTM looks at a part of a digit and of what the drawing still lacks, and sends a
few random numbers to another LSTM, which adds a stroke. Fed with random numbers alone, the second
one then draws new digits. With `--whole`, steps read and write the whole image. `--compare` times a
step of training with the layers of torch.nn, too. The figure is the bound of the log-likelihood of
digits of which the training has seen none: the higher, the better. The baseline is a variational
autoencoder, which draws an image at once.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from examples.common import Run, digits, option_parser, start
from examples.draw.data import SIZE, black_and_white
from examples.draw.model import FILTERS, AtOnce, Draw
from examples.draw.training import (
    HIDDEN,
    LATENT,
    STROKES,
    compare_layers,
    independent_pixels,
    learn,
    mean_bound,
)

PLAIN_HIDDEN, PLAIN_LATENT = 256, 20
STEPS, QUICK_STEPS = 1500, 700
QUICK_BAR = -53.0  # bound in nats that --quick reaches
SHOWN = 8  # drawings in the picture
CELL = SIZE + 2  # pixels of a drawing in the picture, with its margin


def frame_of(frame: Tensor, column: int, row: int) -> Rectangle:
    """Return the rectangle around the centres of the filters, cut at the edges of a drawing."""
    middle, distance = frame[:2], frame[2]
    reach = (FILTERS - 1) / 2 * distance
    top, left = (middle - reach).clamp(0, SIZE - 1).tolist()
    bottom, right = (middle + reach).clamp(0, SIZE - 1).tolist()
    corner = column * CELL + 1 + left, row * CELL + 1 + top
    return Rectangle(
        corner, right - left, bottom - top, fill=False, edgecolor="tab:red", linewidth=1.2
    )


def picture_drawings(run: Run, model: Draw, train: Tensor) -> None:
    """Show drawings after each step, where it wrote, and the digits of the training nearest."""
    with torch.no_grad():
        canvases, frames = model.draw(SHOWN)
    distances = (canvases[-1, :, None] - train).square().sum(dim=(2, 3))
    columns = torch.cat([canvases, train[distances.argmin(dim=1)][None]])
    tiles = torch.nn.functional.pad(columns, (1, 1, 1, 1), value=0.3)
    picture = Figure(figsize=(len(columns), SHOWN))
    axes = picture.subplots()
    axes.imshow(tiles.permute(1, 2, 0, 3).flatten(2).flatten(0, 1), cmap="gray_r", vmin=0, vmax=1)
    if model.attention:
        for column, row in np.ndindex(STROKES, SHOWN):
            axes.add_patch(frame_of(frames[column, row], column, row))
    names = [f"step {t + 1}" for t in range(STROKES)] + ["nearest in\nthe training"]
    axes.set_xticks([CELL * (column + 0.5) for column in range(len(columns))], names)
    axes.set_yticks([])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    run.save(picture)


def main() -> None:
    """Train the network and the baseline, and compare them on digits that neither has seen."""
    parser = option_parser(__package__, __doc__)
    parser.add_argument("--whole", action="store_true", help="read and write the whole image")
    parser.add_argument("--compare", action="store_true", help="time torch.nn's layers, too")
    options = parser.parse_args()
    run = start(options)
    train, test, _, _ = digits(run.seed)
    if options.compare:
        compare_layers(run, train, not options.whole)
    torch.manual_seed(run.seed)
    model = Draw(SIZE, HIDDEN, LATENT, STROKES, attention=not options.whole)
    baseline = AtOnce(SIZE, PLAIN_HIDDEN, PLAIN_LATENT)
    networks: dict[str, torch.nn.Module] = {"DRAW": model, "the baseline": baseline}
    for name, network in networks.items():
        print(f"{name} has {sum(p.numel() for p in network.parameters())} parameters")
    learn(run, train, QUICK_STEPS if run.quick else STEPS, networks)

    known, unknown = black_and_white(train), black_and_white(test)
    print(f"independent pixels: {independent_pixels(known, unknown):.2f}")
    print(f"digits of the training: {mean_bound(model, known):.2f}")
    picture_drawings(run, model, known)
    run.finish("bound in nats per image", mean_bound(model, unknown), mean_bound(baseline, unknown))


if __name__ == "__main__":
    main()
