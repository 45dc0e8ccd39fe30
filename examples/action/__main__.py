"""Many to one: from the frames of a video to the action, which way a digit moves and how fast.

    python -m examples.action

Each video shows a handwritten digit that moves in one of eight directions, slowly or fast, from any
place. What leaves the frame comes back at the other edge, so no single frame tells the class: the
network has to remember where the digit was. A GRU reads the 4 to 12 frames, and its last state
gives the class. The gradients are those of tensors, by `loss.backward()`. The test has digits of
which the training has seen none. The baseline is a plain network that sees all frames side by side,
blank after the end, and learns from the same videos. It cannot read videos that are longer.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.neural_network import MLPClassifier

import rnnfast
from examples.common import Floats, Integers, Run, digits, moving_digits, read_options

SHORTEST, LONGEST = 4, 12  # frames of a video
UNSEEN = (2, 24)  # lengths that no training has
SIZE = 16  # pixels, of a frame
NAMES = ["right", "down right", "down", "down left", "left", "up left", "up", "up right"]
DIRECTIONS = np.array([[0, 1], [1, 1], [1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1]])
CLASSES = [f"{name}, {speed}" for name in NAMES for speed in ("slow", "fast")]
HIDDEN = 128
BATCH = 64
BATCHES = 600  # all of new videos
QUICK_BATCHES = 400
QUICK_BAR = 0.9  # accuracy on the test videos that --quick reaches


def make_videos(
    images: Floats, count: int, steps: int, generator: np.random.Generator
) -> tuple[Floats, Integers]:
    """Return the frames (steps, count, SIZE * SIZE) of videos, and their classes (count,)."""
    classes = generator.integers(len(CLASSES), size=count)
    velocity = DIRECTIONS[classes // 2] * (1 + classes % 2)[:, None]  # pixels per frame
    start = generator.integers(SIZE, size=(count, 2))
    places = start + np.arange(steps)[:, None, None] * velocity
    chosen = images[generator.integers(len(images), size=count)]
    return moving_digits(chosen, places, SIZE).reshape(steps, count, -1), classes


class Watcher(rnnfast.Module):
    """A layer that looks at each frame, a GRU over the frames, and a layer for the class."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.look = rnnfast.Sequential(
            rnnfast.Linear(SIZE * SIZE, HIDDEN, seed=seed),
            rnnfast.LayerNorm(HIDDEN),  # without it, learning stands still for long
            rnnfast.ReLU(),
        )
        self.remember = rnnfast.GRU(HIDDEN, HIDDEN, seed=seed + 1)
        self.readout = rnnfast.Linear(HIDDEN, len(CLASSES), seed=seed + 2)

    def __call__(self, frames: Floats) -> rnnfast.Tensor:
        """Return the scores of the classes, (B, classes), for frames (T, B, pixels)."""
        _, h = self.remember(self.look(rnnfast.tensor(frames)))
        return self.readout(h[-1])


def side_by_side(frames: Floats) -> Floats:
    """Return all frames of each video in one row, (B, LONGEST * pixels)."""
    blank = np.zeros((LONGEST - len(frames), *frames.shape[1:]), np.float32)
    rows: Floats = np.hstack([*frames, *blank])
    return rows


def accuracy(network: Watcher, frames: Floats, classes: Integers) -> float:
    """Return the share of videos whose class the network finds."""
    return float(np.mean(network(frames).value.argmax(axis=-1) == classes))


def draw_videos(run: Run, network: Watcher, frames: Floats, classes: Integers) -> None:
    """Draw two videos whose class is found, and up to two whose class is not."""
    found = network(frames).value.argmax(axis=-1)
    shown = [*np.flatnonzero(found == classes)[:2], *np.flatnonzero(found != classes)[:2]]
    picture = Figure(figsize=(6, 1.8 * len(shown)))
    grid = picture.subplots(len(shown), len(frames), gridspec_kw={"hspace": 0.4})
    for row, video in zip(grid, shown, strict=True):
        for axes, frame in zip(row, frames[:, video], strict=True):
            axes.imshow(frame.reshape(SIZE, SIZE), cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        true, said = CLASSES[classes[video]], CLASSES[found[video]]
        row[0].set_title(f"{true}; found: {said}", loc="left", fontsize=9)
    run.save(picture)


def main() -> None:
    """Train both networks on the same videos, and compare them on others."""
    run = read_options(__package__, __doc__)
    train, test, _, _ = digits(run.seed)
    network = Watcher(run.seed)
    batches = QUICK_BATCHES if run.quick else BATCHES
    optimizer = rnnfast.Adam(network, lr=2e-3)
    schedule = rnnfast.CosineDecay(optimizer, batches)
    baseline = MLPClassifier((HIDDEN,), random_state=run.seed)

    generator = np.random.default_rng(run.seed)
    for batch in range(1, batches + 1):
        steps = int(generator.integers(SHORTEST, LONGEST + 1))
        frames, classes = make_videos(train, BATCH, steps, generator)
        loss = rnnfast.cross_entropy(network(frames), classes)
        loss.backward()
        optimizer.step(clip_norm=1.0, zero_grad=True)
        schedule.step()
        baseline.partial_fit(side_by_side(frames), classes, classes=range(len(CLASSES)))
        if batch % 50 == 0:
            print(f"batch {batch} of {batches}: loss {loss.item():.4f}")

    network.eval()
    generator = np.random.default_rng(run.seed + 1000)
    values, baselines = [], []
    for steps in range(SHORTEST, LONGEST + 1):
        frames, classes = make_videos(test, 500, steps, generator)
        values.append(accuracy(network, frames, classes))
        baselines.append(baseline.score(side_by_side(frames), classes))
        print(f"{steps} frames: accuracy {values[-1]:.4f}, baseline {baselines[-1]:.4f}")
    for steps in UNSEEN:
        unseen = accuracy(network, *make_videos(test, 500, steps, generator))
        print(f"{steps} frames, a length that is new: accuracy {unseen:.4f}")
    draw_videos(run, network, *make_videos(test, 500, SHORTEST, generator))
    run.finish("accuracy", float(np.mean(values)), float(np.mean(baselines)))


if __name__ == "__main__":
    main()
