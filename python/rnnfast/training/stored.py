"""Access to the training run that a checkpoint holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast._files import AnyPath
from rnnfast.layers.states import State
from rnnfast.training.checkpoint import Checkpoint, CheckpointError
from rnnfast.training.config import CharLMConfig
from rnnfast.training.options import TrainingOptions
from rnnfast.training.text import TextError


def stored_options(path: AnyPath, checkpoint: Checkpoint) -> TrainingOptions:
    """Return the options of the run in a checkpoint read from `path`.

    Raises:
        CheckpointError: The options are missing or invalid.
    """
    with stored(path):
        return TrainingOptions(**checkpoint.training["options"])


def stored_source(path: AnyPath, checkpoint: Checkpoint) -> list[str]:
    """Return the names of the text files that the run in a checkpoint is trained on.

    Raises:
        CheckpointError: The checkpoint does not name them.
    """
    source = checkpoint.training.get("source")
    if not (isinstance(source, list) and all(isinstance(name, str) for name in source)):
        raise CheckpointError(f"{path}: does not say what it was trained on")
    return source


def check_same_text(path: AnyPath, checkpoint: Checkpoint, text: str) -> None:
    """Check that `text` is the one that the checkpoint read from `path` was trained on.

    Raises:
        TextError: The text is a different one.
    """
    if text_digest(text) != checkpoint.training.get("text_sha256"):
        raise TextError(f"{path}: was trained on a different text")


@contextmanager
def stored(path: AnyPath) -> Iterator[None]:
    """Turn errors about a stored run into a CheckpointError that names its file."""
    try:
        yield
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise CheckpointError(f"{path}: contains no run that can be resumed: {error}") from error


def part(tensors: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the tensors whose names start with `prefix`, without it and sorted by name."""
    return {k.removeprefix(prefix): tensors[k] for k in sorted(tensors) if k.startswith(prefix)}


def text_digest(text: str) -> str:
    """Return the digest by which checkpoints recognise a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def recurrent_state(
    tensors: dict[str, NDArray[Any]], config: CharLMConfig, batch: int
) -> State | None:
    """Return the recurrent state in a checkpoint's tensors; None before the first step.

    Raises:
        ValueError: The state does not fit a model of this configuration.
        TypeError: The state is of another dtype.
    """
    states = tuple(part(tensors, "training.state.").values())
    if len(states) not in (0, config.info.states):
        raise ValueError(
            f"state: expected the states of cell {config.cell!r}, got {len(states)} arrays"
        )
    for array in states:
        shape = (config.num_layers, batch, config.hidden_size)
        checks.shape("state", array, shape, "(num_layers, batch, hidden_size)")
        if array.dtype != config.dtype:
            raise TypeError(f"state: expected dtype {config.dtype}, got {array.dtype}")
    return None if not states else states if len(states) > 1 else states[0]
