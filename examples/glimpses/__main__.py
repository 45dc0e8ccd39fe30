"""Glimpses, to classify: two digits of an image, read from left to right by looking around.

    python -m examples.glimpses

An image is no sequence, but a network may look at it as one: three glimpses for the first digit and
three for the second. A glimpse sees 8x8 pixels sharply and 16x16 coarsely. One LSTM reads the
glimpses, and another one chooses the next place. It learns to choose by rewards (REINFORCE), as the
gradient does not know what lies elsewhere. The test has digits of which the training has seen none.
The baseline is the same network with glimpses at random places.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from examples.common import Run, digits, read_options
from examples.glimpses.data import SIZE, scenes
from examples.glimpses.model import PATCH, Reader, Reading, sense
from examples.glimpses.training import anywhere, as_chosen, learn, right_digits

HIDDEN = 96
GLIMPSES, QUICK_GLIMPSES = 3, 2  # at each digit
STEPS, QUICK_STEPS = 5000, 1300
TESTED = 2000  # images
QUICK_BAR = 0.3  # share of images with both digits right that --quick reaches
COLOURS = ["tab:blue", "tab:red"]  # of the glimpses at the first digit and at the second


def show(axes: Axes, pixels: Tensor) -> None:
    """Show an image or a part of it."""
    axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])


def draw_paths(run: Run, images: Tensor, reading: Reading, classes: Tensor) -> None:
    """Draw the paths of the glimpses through images, and what each glimpse has seen sharply.

    Five images that are read right come first, and then up to three that are not.
    """
    glimpses = len(reading.places) // len(classes)
    right = right_digits(reading, classes).all(dim=0)
    shown = [*right.nonzero()[:5, 0], *(~right).nonzero()[:3, 0]]
    picture = Figure(figsize=(12, 8))
    parts = np.array(picture.subfigures(2, 4), dtype=object).flat
    for part, b in zip(parts, shown, strict=False):
        grid = part.add_gridspec(
            2, 2 * glimpses, height_ratios=[5, 1], hspace=0, bottom=0.08, left=0.04, right=0.96
        )
        axes = part.add_subplot(grid[0, :])
        show(axes, images[b])
        places = reading.places[:, b]
        middles = (places + 1) * SIZE / 2 - 0.5  # in pixels
        axes.plot(*middles.T, color="tab:gray", linewidth=1)
        for t, (column, row) in enumerate(middles.tolist()):
            colour = COLOURS[t // glimpses]
            corner = column - PATCH / 2, row - PATCH / 2
            axes.add_patch(Rectangle(corner, PATCH, PATCH, fill=False, edgecolor=colour))
            circle = {"boxstyle": "circle,pad=0.2", "facecolor": colour, "linewidth": 0}
            axes.text(
                column, row, t + 1, color="white", ha="center", va="center", fontsize=8, bbox=circle
            )
            patch = part.add_subplot(grid[1, t])
            show(patch, sense([images[None, None, b]], places[None, t]).view(PATCH, PATCH))
            patch.spines[:].set_color(colour)
            patch.set_xlabel(t + 1, fontsize=8)
        axes.set(xlim=(-0.5, SIZE - 0.5), ylim=(SIZE - 0.5, -0.5))
        found = " ".join(map(str, reading.scores[:, b].argmax(dim=1).tolist()))
        true = " ".join(map(str, classes[:, b].tolist()))
        if found == true:
            axes.set_title(f"read as {found}")
        else:
            axes.set_title(f"read as {found}, but is {true}", color="tab:red")
    run.save(picture)


def main() -> None:
    """Train the network and the baseline, and compare them on digits that neither has seen."""
    run = read_options(__package__, __doc__)
    torch.manual_seed(run.seed)
    train, test, train_classes, test_classes = digits(run.seed)
    made = scenes(test, test_classes, TESTED, np.random.default_rng(run.seed + 1000))
    images, classes = map(torch.from_numpy, made)

    glimpses = QUICK_GLIMPSES if run.quick else GLIMPSES
    steps = QUICK_STEPS if run.quick else STEPS
    shares = []
    for name, fixed in (("chosen", None), ("random", anywhere)):
        print(f"glimpses at {name} places")
        reader = Reader(SIZE, HIDDEN, glimpses)
        learn(run, reader, train, train_classes, steps, fixed)
        with torch.no_grad():
            reading = reader(images, fixed or as_chosen)
        right = right_digits(reading, classes).float()
        first, second = right.mean(dim=1).tolist()
        shares.append(right.prod(dim=0).mean().item())
        print(f"test: first digit {first:.4f}, second {second:.4f}, both {shares[-1]:.4f}")
        if fixed is None:
            draw_paths(run, images, reading, classes)
    run.finish("share of images with both digits right", *shares)


if __name__ == "__main__":
    main()
