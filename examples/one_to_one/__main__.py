"""One to one: a recurrent layer of one step is a plain network that reads a digit.

    python -m examples.one_to_one

A sequence of length 1 that starts from zeros leaves h = tanh(W x + b), the hidden layer of a plain
network, and the recurrent weights have no part in it. The gradients are taken explicitly, by
`backward` of each layer. The baseline is scikit-learn's `MLPClassifier` of the same size, which
learns from the same batches with the same optimiser.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.neural_network import MLPClassifier

import rnnfast
from examples.common import Floats, Integers, Run, digits, read_options
from rnnfast import data

HIDDEN = 128
LEARNING_RATE = 2e-3
BATCH = 32
EPOCHS = 60
QUICK_EPOCHS = 15
QUICK_BAR = 0.95  # accuracy on the test digits that --quick reaches


class Network(rnnfast.Module):
    """A hidden layer of tanh units, which is a recurrent layer, and a linear layer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.hidden = rnnfast.RNN(64, HIDDEN, seed=seed)
        self.readout = rnnfast.Linear(HIDDEN, 10, seed=seed + 1)

    def __call__(self, images: Floats) -> Floats:
        """Return the scores of the 10 classes, (B, 10), for images (B, 8, 8)."""
        y, _ = self.hidden(images.reshape(1, -1, 64))  # T = 1
        scores: Floats = self.readout(y[0])
        return scores

    def learn(self, images: Floats, classes: Integers) -> float:
        """Add the gradients of the mean loss of a batch, and return the loss."""
        loss, dscores = rnnfast.softmax_cross_entropy(self(images), classes)
        dy = np.asarray(self.readout.backward(dscores))
        self.hidden.backward(dy[None], need_dx=False)
        return float(loss)


def check_one_step(network: Network, images: Floats) -> None:
    """Check that the recurrent layer does what its plain formula says."""
    layer = network.eval().hidden
    x = images.reshape(-1, 64)
    h = np.tanh(x @ layer.weight_ih_l0.T + layer.bias_ih_l0 + layer.bias_hh_l0)
    y, _ = layer(x[None])
    assert np.allclose(y[0], h, atol=1e-5)
    network.train()


def draw_mistakes(run: Run, images: Floats, classes: Integers, found: Integers) -> None:
    """Draw the digits of the test that the network takes for others."""
    wrong = np.flatnonzero(found != classes)[:12]
    picture = Figure(figsize=(8, 3))
    for place, axes in enumerate(picture.subplots(2, 6).flat):
        axes.axis("off")
        if place < len(wrong):
            index = wrong[place]
            axes.imshow(images[index], cmap="gray_r")
            axes.set_title(f"{classes[index]} read as {found[index]}", fontsize=9)
    picture.suptitle(f"{np.count_nonzero(found != classes)} of {len(classes)} digits are misread")
    run.save(picture)


def main() -> None:
    """Train both networks side by side, and compare them on the test digits."""
    run = read_options(__package__, __doc__)
    train, test, train_classes, test_classes = digits(run.seed)
    network = Network(run.seed)
    optimizer = rnnfast.Adam(network, lr=LEARNING_RATE)
    baseline = MLPClassifier(
        (HIDDEN,), activation="tanh", learning_rate_init=LEARNING_RATE, random_state=run.seed
    )
    check_one_step(network, test)

    batches = data.batches(train, train_classes, batch_size=BATCH, seed=run.seed)
    for epoch in range(QUICK_EPOCHS if run.quick else EPOCHS):
        loss = 0.0
        for images, classes in batches:
            loss += network.learn(images, classes) / len(batches)
            optimizer.step(zero_grad=True)
            baseline.partial_fit(images.reshape(-1, 64), classes, classes=range(10))
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss:.4f}")

    found = network.eval()(test).argmax(axis=-1)
    draw_mistakes(run, test, test_classes, found)
    run.finish(
        "accuracy",
        float(np.mean(found == test_classes)),
        float(baseline.score(test.reshape(-1, 64), test_classes)),
    )


if __name__ == "__main__":
    main()
