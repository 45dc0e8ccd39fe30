"""Many to many, aligned: a label for each frame of a video, at the time of the frame.

    python -m examples.frame_labels

A handwritten digit stands for some frames, moves for some, stops, turns, and now and then changes
into another digit. The label of a frame says what has happened since the frame before it. A GRU
reads the frames and a linear layer labels each of its outputs, so the label of a frame depends on
that frame and earlier ones only. The gradients are taken explicitly, by `backward` of each layer.
The baseline is a plain network that sees single frames. One that sees each frame beside the one
before it, which is all that these labels need, is trained as well.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.neural_network import MLPClassifier

import rnnfast
from examples.common import Floats, Integers, Run, digits, moving_digits, read_options

STEPS = 24
SIZE = 16  # pixels, of a frame
LABELS = ["stands", "right", "down", "left", "up", "changes"]
MOVES = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0], [0, 0]])  # rows and columns
CHANGES = LABELS.index("changes")
LOOK, HIDDEN = 256, 128
BATCH = 32
BATCHES = 1000  # all of new videos
QUICK_BATCHES = 300
QUICK_BAR = 0.85  # share of right labels in the test videos that --quick reaches


def make_videos(
    images: Floats, classes: Integers, count: int, generator: np.random.Generator
) -> tuple[Floats, Integers]:
    """Return the frames (STEPS, count, SIZE * SIZE) of videos, and their labels (STEPS, count).

    Args:
        images: Digits, (N, 8, 8).
        classes: The class of each: a digit changes into one of another class.
        count: Number of videos.
        generator: Source of all that is drawn.
    """
    labels = np.zeros((STEPS, count), np.int64)  # nothing has happened before the first frame
    shown = generator.integers(len(images), size=(STEPS, count))
    goes_on = generator.random((STEPS, count)) < 0.75
    new = generator.integers(len(LABELS), size=(STEPS, count))
    for t in range(1, STEPS):
        labels[t] = np.where(goes_on[t] & (labels[t - 1] != CHANGES), labels[t - 1], new[t])
        same_class = classes[shown[t]] == classes[shown[t - 1]]
        labels[t] = np.where((labels[t] == CHANGES) & same_class, 0, labels[t])
        shown[t] = np.where(labels[t] == CHANGES, shown[t], shown[t - 1])
    places = generator.integers(SIZE, size=(count, 2)) + MOVES[labels].cumsum(axis=0)
    frames = moving_digits(images[shown], places, SIZE)
    return frames.reshape(STEPS, count, -1), labels


class Watcher(rnnfast.Module):
    """Layers that look at each frame, a GRU over the frames, and a layer for the labels."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.layers = rnnfast.Sequential(
            rnnfast.Linear(SIZE * SIZE, LOOK, seed=seed),
            rnnfast.LayerNorm(LOOK),
            rnnfast.ReLU(),
            rnnfast.GRU(LOOK, HIDDEN, seed=seed + 1),
            rnnfast.Linear(HIDDEN, len(LABELS), seed=seed + 2),
        )

    def learn(self, frames: Floats, labels: Integers) -> float:
        """Add the gradients of the mean loss of all frames, and return the loss."""
        loss, dscores = rnnfast.softmax_cross_entropy(self.layers(frames), labels)
        self.layers.backward(dscores, need_dx=False)
        return float(loss)

    def label(self, frames: Floats) -> Integers:
        """Return the labels (T, B) that the network finds."""
        found: Integers = self.layers(frames).argmax(axis=-1)
        return found


def pairs(frames: Floats) -> Floats:
    """Return each frame beside the one before it, (T * B, 2 * pixels); the first beside itself."""
    before = np.concatenate([frames[:1], frames[:-1]])
    beside: Floats = np.concatenate([before, frames], axis=-1).reshape(-1, 2 * SIZE * SIZE)
    return beside


def draw_video(run: Run, frames: Floats, labels: Integers, found: Integers) -> None:
    """Draw the video with most mistakes, each frame under the label that is found."""
    video = np.count_nonzero(labels != found, axis=0).argmax()
    picture = Figure(figsize=(11, 3.4))
    for t, axes in enumerate(picture.subplots(2, STEPS // 2).flat):
        axes.imshow(frames[t, video].reshape(SIZE, SIZE), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        true, said = LABELS[labels[t, video]], LABELS[found[t, video]]
        right = true == said
        axes.set_title(
            said if right else f"{said}\n(is: {true})",
            fontsize=7,
            color="black" if right else "red",
        )
    run.save(picture)


def main() -> None:
    """Train the networks on the same videos, and compare them on others."""
    run = read_options(__package__, __doc__)
    train, test, train_classes, test_classes = digits(run.seed)
    network = Watcher(run.seed)
    batches = QUICK_BATCHES if run.quick else BATCHES
    optimizer = rnnfast.Adam(network, lr=4e-3)
    schedule = rnnfast.CosineDecay(optimizer, batches)
    single, double = (MLPClassifier((LOOK,), random_state=run.seed) for _ in range(2))

    generator = np.random.default_rng(run.seed)
    for batch in range(1, batches + 1):
        frames, labels = make_videos(train, train_classes, BATCH, generator)
        loss = network.learn(frames, labels)
        optimizer.step(clip_norm=1.0, zero_grad=True)
        schedule.step()
        every = range(len(LABELS))
        single.partial_fit(frames.reshape(-1, SIZE * SIZE), labels.ravel(), classes=every)
        double.partial_fit(pairs(frames), labels.ravel(), classes=every)
        if batch % 50 == 0:
            print(f"batch {batch} of {batches}: loss {loss:.4f}")

    generator = np.random.default_rng(run.seed + 1000)
    frames, labels = make_videos(test, test_classes, 500, generator)
    found = network.eval().label(frames)
    for index, name in enumerate(LABELS):
        share = np.mean(found[labels == index] == index)
        print(f"{name}: {share:.4f} of {np.count_nonzero(labels == index)} frames")
    print(f"a plain network on pairs: {double.score(pairs(frames), labels.ravel()):.4f}")
    draw_video(run, frames, labels, found)
    run.finish(
        "share of right labels",
        float(np.mean(found == labels)),
        float(single.score(frames.reshape(-1, SIZE * SIZE), labels.ravel())),
    )


if __name__ == "__main__":
    main()
