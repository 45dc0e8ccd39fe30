"""Whether training has diverged."""

from __future__ import annotations

import math

from rnnfast import losses
from rnnfast.data.text_file import StreamBatch
from rnnfast.layers.module import Module
from rnnfast.optim.optimizers import Optimizer
from rnnfast.training.checkpoint import not_finite
from rnnfast.training.model import CharLM

# At this many times the loss of guessing, training has diverged: learning from a text does not make
# that very text so much more surprising.
_TIMES_GUESSING = 3.0


class TrainingError(RuntimeError):
    """Training has diverged, or cannot begin: the message says what was found."""


def broken_state(model: Module, optimizer: Optimizer, step: int) -> str | None:
    """Which parameter, or value of the optimiser, is not finite, as a message; None if all are."""
    broken = not_finite(model.state_dict() | optimizer.state_dict()["buffers"])
    return None if broken is None else diverged(f"{broken} is not finite", step)


def divergence(model: CharLM, optimizer: Optimizer, chunk: StreamBatch, step: int) -> str | None:
    """What shows that training has diverged, as a message; None if nothing does.

    Args:
        model: the model.
        optimizer: its optimiser, whose buffers must be finite, too.
        chunk: a part of the text that the model is trained on.
        step: steps made, for the message.
    """
    broken = broken_state(model, optimizer, step)
    if broken is not None:
        return broken
    with model.evaluating():
        logits, _ = model(chunk.x)
    bits = float(losses.cross_entropy(logits, chunk.targets)) / math.log(2)
    if not much_worse_than_guessing(model, bits):
        return None
    guessing = math.log2(len(model.vocabulary))
    unit = model.vocabulary.unit
    return diverged(f"the loss is {bits:,.1f} bits per {unit}, guessing takes {guessing:.1f}", step)


def much_worse_than_guessing(model: CharLM, bits: float) -> bool:
    """Whether `bits` per character are more than learning from that text leads to, or NaN."""
    return not bits <= _TIMES_GUESSING * math.log2(len(model.vocabulary))


def diverged(how: str, step: int) -> str:
    """The message that training has diverged, as `how` shows."""
    return f"training diverged at step {step}: {how}; lower the learning rate or clip the gradients"
