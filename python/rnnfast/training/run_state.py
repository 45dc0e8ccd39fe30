"""Conversion of a whole run to a checkpoint and back."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rnnfast._engine import checks
from rnnfast.training.callbacks import Callback
from rnnfast.training.checkpoint import Checkpoint
from rnnfast.training.states import flatten, unflatten

if TYPE_CHECKING:
    from rnnfast.training.trainer import Trainer

# Options that may change when a run is resumed. All others affect the computed results, so changing
# them would make the resumed run differ from an uninterrupted one.
RESUME_OPTIONS = (
    "steps",
    "epochs",
    "minutes",
    "patience",
    "validate_every",
    "sample_every",
    "sample_length",
    "checkpoint_every",
    "keep_best",
    "log_every",
)


def run_checkpoint(trainer: Trainer) -> Checkpoint:
    """Return a checkpoint with all state needed to continue the run with the same bits."""
    state = {
        "options": asdict(trainer.options),
        "step": trainer.step,
        "items": stored_items(trainer.items_read),
        "seconds": trainer.seconds,
        "generators": trainer.model.generator_state(),
        "training_loss": trainer.training_loss,
        "validation_loss": trainer.validation_loss,
        "batches": trainer.batches.state_dict(),
        "history": trainer.history.state_dict(),
        "parts": {name: part.state_dict() for name, part in _parts(trainer)},
        "callbacks": callback_states(trainer.callbacks),
    }
    tensors = trainer.model.state_dict()
    training = flatten(state, "training", tensors)
    return Checkpoint({"class": type(trainer.model).__name__}, training, tensors)


def restore_run(trainer: Trainer, checkpoint: Checkpoint) -> float:
    """Restore the state that `run_checkpoint` saved; return the seconds that the run has taken.

    Raises:
        KeyError: A value is missing.
        ValueError: A value does not fit the run.
        TypeError: A value is of the wrong type.
    """
    tensors = checkpoint.tensors
    state = unflatten(checkpoint.training, tensors)
    _check_options(state["options"], asdict(trainer.options))
    parts = dict(_parts(trainer))
    checks.same_names("parts", state["parts"], parts)
    weights = {name: t for name, t in tensors.items() if not name.startswith("training.")}
    trainer.model.load_state_dict(weights)
    trainer.model.set_generator_state(state["generators"])
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    trainer.batches.load_state_dict(state["batches"])
    trainer.history.load_state_dict(state["history"])
    load_callback_states(trainer.callbacks, state["callbacks"])
    trainer.step = checks.count("step", state["step"])
    trainer.items_read = items_of(state)
    trainer.training_loss = optional_number("training_loss", state["training_loss"])
    trainer.validation_loss = optional_number("validation_loss", state["validation_loss"])
    return seconds_of(state)


def seconds_of(state: Mapping[str, Any]) -> float:
    """Return the seconds that a stored run has taken."""
    longest = sys.float_info.max
    return checks.number("seconds", state["seconds"], 0, longest, open_high=True)


def stored_items(items: float) -> float | None:
    """Return a count of items as a file holds it: None if the run did not count them."""
    return None if math.isnan(items) else items


def items_of(state: Mapping[str, Any]) -> float:
    """Return the items that a stored run has read; NaN if it did not count them."""
    items = state.get("items")  # files of earlier versions have no count
    return math.nan if items is None else checks.finite("items", items, 0)


def optional_number(name: str, value: Any) -> float | None:
    """Check and return a stored loss, which may be None."""
    return None if value is None else checks.finite(name, value, -sys.float_info.max)


def callback_states(callbacks: Sequence[Callback]) -> dict[str, Any]:
    """Return the states of the callbacks that have one."""
    states = {name: callback.state_dict() for name, callback in _named(callbacks)}
    return {name: state for name, state in states.items() if state}


def load_callback_states(callbacks: Sequence[Callback], states: Mapping[str, Any]) -> None:
    """Restore what `callback_states` returned; callbacks without a stored state start afresh."""
    for name, callback in _named(callbacks):
        if name in states:
            callback.load_state_dict(states[name])


def _named(callbacks: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    """Yield callbacks with names that stay the same on resuming: the class and a number."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        yield f"{kind}.{seen[kind]}", callback
        seen[kind] += 1


def _parts(trainer: Trainer) -> Iterator[tuple[str, Any]]:
    yield "optimizer", trainer.optimizer
    if trainer.schedule is not None:
        yield "schedule", trainer.schedule
    if hasattr(trainer.loss, "state_dict"):
        yield "loss", trainer.loss


def _check_options(stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in RESUME_OPTIONS and stored[name] != value:
            raise ValueError(
                f"{name}: expected {stored[name]!r}, as when the run began, got {value!r}"
            )
