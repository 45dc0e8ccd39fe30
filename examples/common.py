"""What the examples share: options, digits that stand still or move, and how a run ends."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """The options of a run, and when it started.

    Attributes:
        name: Name of the example, which is that of its folder.
        quick: Whether to train for seconds instead of minutes.
        seed: Seed of the data and of the initial weights.
        output: Folder for the picture and the result.
        started: Time at the start, in seconds.
    """

    name: str
    quick: bool
    seed: int
    output: Path
    started: float = field(default_factory=time.perf_counter)

    def save(self, picture: Figure) -> None:
        """Write the picture to NAME.png in the output folder."""
        picture.savefig(self.output / f"{self.name}.png", dpi=72, bbox_inches="tight")

    def finish(self, figure: str, value: float, baseline: float) -> None:
        """Write result.json and print the last line.

        Args:
            figure: What was measured, on data that the training has not seen.
            value: Its value for the network.
            baseline: Its value for the baseline.
        """
        result = {
            "name": self.name,
            "figure": figure,
            "value": round(value, 4),
            "baseline": round(baseline, 4),
            "seconds": round(time.perf_counter() - self.started, 1),
            "seed": self.seed,
        }
        (self.output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        print(
            f"{self.name}: {figure} {value:.4f}, baseline {baseline:.4f},",
            f"seed {self.seed}, {result['seconds']} s",
        )


def option_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of the options that all examples have, to which an example may add.

    Args:
        program: The package of the example, such as "examples.action".
        description: Its docstring, of which the first line is shown.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}", description=description.splitlines()[0]
    )
    parser.set_defaults(name=program.rpartition(".")[2])
    parser.add_argument("--quick", action="store_true", help="train for seconds, not minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the data and the weights")
    parser.add_argument("--output", type=Path, help="folder of the results (runs/NAME)")
    return parser


def start(options: argparse.Namespace) -> Run:
    """Start a run with the options that a parser of `option_parser` has read."""
    output = options.output or Path("runs") / options.name
    output.mkdir(parents=True, exist_ok=True)
    return Run(options.name, options.quick, options.seed, output)


def read_options(program: str, description: str) -> Run:
    """Start a run of an example that has no options of its own; see `option_parser`."""
    return start(option_parser(program, description).parse_args())


def compare(run: Run, loss_of: Callable[[Any], Any], theirs: Any, ours: Any) -> None:
    """Print the shortest times of a training step with torch.nn's layers and with ours, in turns.

    Args:
        run: The options: `--quick` takes fewer turns.
        loss_of: Returns the loss of a network, the same in each turn.
        theirs: The network with layers of `torch.nn`.
        ours: The same with layers of `rnnfast.torch`, and with the same weights.

    Raises:
        ValueError: If the losses differ.
    """
    seconds: list[list[float]] = [[], []]
    for _ in range(5 if run.quick else 30):
        losses = []
        for times, network in zip(seconds, (theirs, ours), strict=True):
            begun = time.perf_counter()
            loss = loss_of(network)
            loss.backward()
            times.append(time.perf_counter() - begun)
            losses.append(loss.item())
        if not math.isclose(*losses, rel_tol=1e-4):
            raise ValueError(f"the losses differ: {losses}")
    before, now = (1000 * min(times) for times in seconds)
    print(
        f"a training step: torch.nn {before:.1f} ms, rnnfast.torch {now:.1f} ms,",
        f"{before / now:.2f} times as fast",
    )


def digits(seed: int) -> tuple[Floats, Floats, Integers, Integers]:
    """Return handwritten digits for training and for the test, and their classes.

    The images are those of scikit-learn, of (8, 8) pixels from 0 to 1: three quarters of the 1797
    digits are for training, and no image is in both parts.
    """
    images, classes = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) / 16).astype(np.float32)
    train, test, train_classes, test_classes = train_test_split(
        images, classes, random_state=seed, stratify=classes
    )
    return train, test, train_classes, test_classes


def resized_digits(
    images: Floats, size: int, generator: np.random.Generator | None = None
) -> Floats:
    """Return digits in another size, with linear interpolation between the pixels.

    Args:
        images: Digits, (B, 8, 8).
        size: Height and width of what is returned.
        generator: Source of turns by up to 10 degrees and of changes of height and width by up to
            a tenth. None leaves the digits as they are.

    Returns:
        The images, (B, size, size).
    """
    count, height, _ = images.shape
    angles, scales = np.zeros((count, 1, 1)), np.ones((2, count, 1, 1))
    if generator is not None:
        angles = np.deg2rad(generator.uniform(-10, 10, size=angles.shape))
        scales = generator.uniform(0.9, 1.1, size=scales.shape)
    rows, columns = ((axis - (size - 1) / 2) * height / size for axis in np.ogrid[:size, :size])
    sine, cosine = np.sin(angles), np.cos(angles)
    down = (cosine * rows - sine * columns) * scales[0] + (height - 1) / 2
    right = (sine * rows + cosine * columns) * scales[1] + (height - 1) / 2
    which = np.broadcast_to(np.arange(count)[:, None, None], down.shape)
    found: Floats = map_coordinates(images, [which, down, right], order=1, mode="grid-constant")
    return found


def moving_digits(images: Floats, places: Integers, size: int) -> Floats:
    """Draw the frames of digits that move.

    What leaves a frame at one edge comes back at the opposite edge, so no single frame tells where
    a digit goes.

    Args:
        images: The digit of each video, (B, 8, 8), or of each frame, (T, B, 8, 8).
        places: Row and column of its upper left corner in each frame, (T, B, 2).
        size: Height and width of a frame.

    Returns:
        The frames, (T, B, size, size).
    """
    steps, videos, _ = places.shape
    frames = np.zeros((steps, videos, size, size), np.float32)
    offsets = np.arange(8)
    rows = (places[..., 0, None] + offsets) % size
    columns = (places[..., 1, None] + offsets) % size
    t, b = np.ogrid[:steps, :videos]
    index = (t[..., None, None], b[..., None, None], rows[..., :, None], columns[..., None, :])
    frames[index] = images
    return frames
