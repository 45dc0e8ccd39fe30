"""min-char-rnn: Karpathy's character-level vanilla RNN and its training loop, in plain NumPy.

The model is one tanh layer on one-hot characters with a softmax on top. It trains on chunks of
`seq_length` characters and carries the hidden state from one chunk to the next. Gradients are
summed over the chunk and clipped element by element, and Adagrad takes the step. The backward pass
is written by hand, as in the original program, so it also checks the tape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast.reference.tape import Array


@dataclass
class CharRnn:
    """Parameters of the model: V characters, H hidden units.

    Attributes:
        w_xh: Input to hidden, (H, V).
        w_hh: Hidden to hidden, (H, H).
        w_hy: Hidden to output, (V, H).
        b_h: Hidden bias, (H,).
        b_y: Output bias, (V,).
    """

    w_xh: Array
    w_hh: Array
    w_hy: Array
    b_h: Array
    b_y: Array

    @classmethod
    def initial(cls, vocabulary: int, hidden: int, seed: int) -> CharRnn:
        """Return the program's initial float64 model: weights from N(0, 0.01²), zero biases."""
        rng = np.random.default_rng(seed)
        return cls(
            rng.standard_normal((hidden, vocabulary)) * 0.01,
            rng.standard_normal((hidden, hidden)) * 0.01,
            rng.standard_normal((vocabulary, hidden)) * 0.01,
            np.zeros(hidden),
            np.zeros(vocabulary),
        )


def loss_and_gradients(
    model: CharRnn,
    inputs: NDArray[np.integer[Any]],
    targets: NDArray[np.integer[Any]],
    h: Array,
) -> tuple[float, CharRnn, Array]:
    """Return the cross-entropy summed over a chunk, its gradients and the final hidden state.

    Args:
        model: The parameters.
        inputs: (T,) character indices.
        targets: (T,) the indices one position on.
        h: (H,) the hidden state before the chunk.
    """
    hs, probabilities, loss = [h], [], 0.0
    for i, target in zip(inputs, targets, strict=True):
        hs.append(np.tanh(model.w_xh[:, i] + model.w_hh @ hs[-1] + model.b_h))
        y = model.w_hy @ hs[-1] + model.b_y
        p = np.exp(y - y.max())
        probabilities.append(p / p.sum())
        loss -= float(np.log(probabilities[-1][target]))

    grad = CharRnn(*(np.zeros_like(w) for w in astuple(model)))
    dh_next = np.zeros_like(h)
    for t in reversed(range(len(inputs))):
        dy = probabilities[t].copy()
        dy[targets[t]] -= 1
        grad.w_hy += np.outer(dy, hs[t + 1])
        grad.b_y += dy
        da = (model.w_hy.T @ dy + dh_next) * (1 - hs[t + 1] ** 2)
        grad.b_h += da
        grad.w_xh[:, inputs[t]] += da
        grad.w_hh += np.outer(da, hs[t])
        dh_next = model.w_hh.T @ da
    return loss, grad, hs[-1]


def train(
    data: NDArray[np.integer[Any]],
    model: CharRnn,
    *,
    seq_length: int = 25,
    learning_rate: float = 0.1,
    clip: float = 5.0,
) -> Iterator[float]:
    """Train the model in place, endlessly; yield the summed loss of each chunk before its update.

    Args:
        data: (N,) character indices, N > seq_length.
        model: The parameters to train.
        seq_length: Number of characters in a chunk.
        learning_rate: Learning rate of Adagrad, whose denominator is sqrt(sum of squares + 1e-8).
        clip: Bound on the magnitude of every element of a gradient.
    """
    memory = CharRnn(*(np.zeros_like(w) for w in astuple(model)))
    position, h = 0, np.zeros_like(model.b_h)
    while True:
        if position + seq_length >= len(data):
            position, h = 0, np.zeros_like(model.b_h)
        chunk = data[position : position + seq_length + 1]
        loss, grad, h = loss_and_gradients(model, chunk[:-1], chunk[1:], h)
        yield loss
        for name, g in vars(grad).items():
            g = np.clip(g, -clip, clip)
            m = getattr(memory, name)
            m += g * g
            w = getattr(model, name)
            w -= learning_rate * g / np.sqrt(m + 1e-8)
        position += seq_length
