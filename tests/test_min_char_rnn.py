"""min-char-rnn: the layers follow a plain NumPy program of the algorithm, and learn to spell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnfast import RNN
from rnnfast.layers.dense import Linear
from rnnfast.losses.cross_entropy import softmax_cross_entropy
from rnnfast.optim.clipping import clip_grad_value_
from rnnfast.optim.optimizers import Adagrad
from rnnfast.reference import min_char_rnn
from rnnfast.training import Vocabulary, stdlib_text
from tolerances import MIN_CHAR_RNN_RELATIVE

SEQ_LEN = 25


class CharRnn:
    """The program's model in rnnfast's layers; bias_hh stays zero, as the program has one bias."""

    def __init__(self, start: min_char_rnn.CharRnn) -> None:
        hidden, vocabulary = start.w_xh.shape
        self.rnn = RNN(vocabulary, hidden, dtype=np.float64)
        self.head = Linear(hidden, vocabulary, dtype=np.float64)
        self.rnn.load_state_dict(
            {
                "weight_ih_l0": start.w_xh,
                "weight_hh_l0": start.w_hh,
                "bias_ih_l0": start.b_h,
                "bias_hh_l0": np.zeros(hidden),
            }
        )
        self.head.load_state_dict({"weight": start.w_hy, "bias": start.b_y})
        self.parameters = [p for p in self.rnn.parameters() if p.name != "bias_hh_l0"]
        self.parameters += self.head.parameters()

    def train(self, data: NDArray[np.int64]) -> Iterator[float]:
        """Yield the summed loss of each chunk before its update, endlessly."""
        # The program's sqrt(s + eps) is Adagrad's sqrt(s) + 0 with s starting at eps.
        optimizer = Adagrad(self.parameters, lr=0.1, initial_accumulator_value=1e-8, eps=0)
        while True:
            state = None
            for begin in range(0, len(data) - SEQ_LEN, SEQ_LEN):
                chunk = data[begin : begin + SEQ_LEN + 1, None]
                optimizer.zero_grad()
                y, state = self.rnn(chunk[:-1], state)
                loss, dlogits = softmax_cross_entropy(self.head(y), chunk[1:])
                self.rnn.backward(self.head.backward(dlogits * SEQ_LEN))
                clip_grad_value_(self.parameters, 5.0)
                optimizer.step()
                yield loss * SEQ_LEN


# At the program's own width of 100, the first steps are chaotic: a rounding error grows about
# tenfold per step, so two orders of summation soon diverge. At width 16 they stay together.
@pytest.mark.parametrize(("hidden", "steps"), [(16, 1000), (100, 5)])
def test_follows_the_numpy_program_on_real_text(hidden: int, steps: int) -> None:
    text = stdlib_text(20_000)  # fewer than 1,000 chunks, so that the text wraps around
    vocabulary = Vocabulary(text)
    data = vocabulary.encode(text)
    start = min_char_rnn.CharRnn.initial(len(vocabulary), hidden, seed=0)
    ours = CharRnn(start).train(data)
    theirs = min_char_rnn.train(data, start, seq_length=SEQ_LEN)
    losses = np.array(list(itertools.islice(zip(ours, theirs, strict=False), steps)))
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=MIN_CHAR_RNN_RELATIVE, atol=0)


def test_learns_to_spell_hello() -> None:
    vocabulary = Vocabulary("hello")
    data = vocabulary.encode("hello")
    model = CharRnn(min_char_rnn.CharRnn.initial(len(vocabulary), 3, seed=1))
    optimizer = Adagrad(model.parameters, lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        y, _ = model.rnn(data[:-1, None])
        _, dlogits = softmax_cross_entropy(model.head(y), data[1:, None])
        model.rnn.backward(model.head.backward(dlogits))
        optimizer.step()
    model.rnn.eval()
    spelled, state, x = "h", None, data[:1, None]
    for _ in range(4):
        y, state = model.rnn(x, state)
        x = model.head(y).argmax(axis=-1)
        spelled += vocabulary.decode(x[:, 0])
    assert spelled == "hello"
