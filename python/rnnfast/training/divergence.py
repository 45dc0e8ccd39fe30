"""Detection of diverged training."""

from __future__ import annotations

import math

from rnnfast import losses
from rnnfast.data.text_file import StreamBatch
from rnnfast.layers.module import Module
from rnnfast.optim.optimizers import Optimizer
from rnnfast.training.checkpoint import not_finite
from rnnfast.training.model import CharLM

# Training has diverged if its loss exceeds that of guessing by this factor: learning from a text
# cannot make the same text that much harder to predict.
_TIMES_GUESSING = 3.0


class TrainingError(RuntimeError):
    """Training has diverged or cannot start, for the reason given in the message."""


def broken_state(model: Module, optimizer: Optimizer, step: int) -> str | None:
    """Return a message that names a parameter or buffer that is not finite; None if all are."""
    broken = not_finite(model.state_dict() | optimizer.state_dict()["buffers"])
    return None if broken is None else diverged(f"{broken} is not finite", step)


def divergence(model: CharLM, optimizer: Optimizer, chunk: StreamBatch, step: int) -> str | None:
    """Return a message that says how training has diverged; None if it has not.

    Args:
        model: The model to check.
        optimizer: Its optimiser, whose buffers must be finite as well.
        chunk: Part of the training text.
        step: The number of steps, for the message.
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
    return diverged(
        f"the loss is {bits:,.1f} bits per {unit}, but guessing costs only {guessing:.1f}", step
    )


def much_worse_than_guessing(model: CharLM, bits: float) -> bool:
    """Return whether `bits` per character are NaN or far above those of guessing."""
    return not bits <= _TIMES_GUESSING * math.log2(len(model.vocabulary))


def diverged(how: str, step: int) -> str:
    """Return the error message for training that diverged, with the evidence `how`."""
    return f"training diverged at step {step}: {how}; lower the learning rate or clip the gradients"
