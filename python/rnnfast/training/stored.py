"""What a checkpoint says of the run that wrote it."""

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
    """The options of the run that a checkpoint read from `path` holds.

    Raises:
        CheckpointError: it holds none that are valid.
    """
    with stored(path):
        return TrainingOptions(**checkpoint.training["options"])


def stored_source(path: AnyPath, checkpoint: Checkpoint) -> list[str]:
    """The files of the text that the run of a checkpoint read from `path` trains on.

    Raises:
        CheckpointError: it does not say.
    """
    source = checkpoint.training.get("source")
    if not (isinstance(source, list) and all(isinstance(name, str) for name in source)):
        raise CheckpointError(f"{path}: does not say what it was trained on")
    return source


def check_same_text(path: AnyPath, checkpoint: Checkpoint, text: str) -> None:
    """Checks that `text` is the one that the checkpoint read from `path` was trained on.

    Raises:
        TextError: it is not.
    """
    if text_digest(text) != checkpoint.training.get("text_sha256"):
        raise TextError(f"{path}: was trained on another text than this")


@contextmanager
def stored(path: AnyPath) -> Iterator[None]:
    """Turns what is wrong with a stored run into errors that name its file."""
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
        raise CheckpointError(f"{path}: holds no run that can be resumed: {error}") from error


def part(tensors: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The tensors whose names begin with `prefix`, without it, in order of their names."""
    return {k.removeprefix(prefix): tensors[k] for k in sorted(tensors) if k.startswith(prefix)}


def text_digest(text: str) -> str:
    """What checkpoints keep of a text, to know it again."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def recurrent_state(
    tensors: dict[str, NDArray[Any]], config: CharLMConfig, batch: int
) -> State | None:
    """The state that a checkpoint's tensors hold, or None if they are of before the first step.

    Raises:
        ValueError: it is not one of a model of this configuration.
        TypeError: it is of another dtype.
    """
    states = tuple(part(tensors, "training.state.").values())
    if len(states) not in (0, config.info.states):
        raise ValueError(f"state: {len(states)} arrays are not those of {config.cell}")
    for array in states:
        shape = (config.num_layers, batch, config.hidden_size)
        checks.shape("state", array, shape, "(num_layers, batch, hidden_size)")
        if array.dtype != config.dtype:
            raise TypeError(f"state: expected dtype {config.dtype}, got {array.dtype}")
    return None if not states else states if len(states) > 1 else states[0]
