"""Checkpoints: safetensors files that hold a whole model and, if wanted, a whole training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rnnfast import _files
from rnnfast._engine import tensor_files
from rnnfast._engine.tensor_files import not_finite as not_finite
from rnnfast._engine.tensor_files import output_errors as output_errors
from rnnfast._files import AnyPath
from rnnfast._files import CheckpointError as CheckpointError

LANGUAGE_MODEL = "rnnfast-char-lm"  # what a file holds: a language model, with or without its run
RUN = "rnnfast-run"  # a run of any other model, which the file does not describe
_MEANING = {
    LANGUAGE_MODEL: "an rnnfast language model",
    RUN: "a run of rnnfast.training.Trainer",
}
FORMAT_VERSION = 1


@dataclass
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        model: the model's configuration and vocabulary, as JSON values; and the equations of a cell
            that is not compiled.
        training: the state of the training run, as JSON values; empty for a model alone.
        tensors: the parameters under their own names, and what training keeps under `training.*`.
    """

    model: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)


def save_checkpoint(path: AnyPath, checkpoint: Checkpoint, form: str = LANGUAGE_MODEL) -> None:
    """Writes a checkpoint: afterwards `path` holds all of it or, on failure, what it held before.

    Raises:
        CheckpointError: the file cannot be written, is not a regular file, or a tensor has an
            element that is infinite or not a number.
    """
    values = {"model": checkpoint.model, "training": checkpoint.training}
    tensor_files.write(path, _format(form), values, checkpoint.tensors)


def check_output(path: AnyPath) -> Path:
    """Checks that a checkpoint can be written to `path`, and returns where it really goes.

    Raises:
        CheckpointError: it cannot be written, or is not a regular file.
    """
    with output_errors(path):
        return _files.check_output(path)


def load_checkpoint(path: AnyPath, form: str = LANGUAGE_MODEL) -> Checkpoint:
    """Reads a checkpoint and checks that it is whole.

    Args:
        path: the file.
        form: what it is to hold, `LANGUAGE_MODEL` or `RUN`.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or is not of this format and version.
    """
    (model, training), tensors = tensor_files.read(path, _format(form), ("model", "training"))
    return Checkpoint(model, training, tensors)


def _format(form: str) -> tensor_files.Format:
    return tensor_files.Format(form, FORMAT_VERSION, "checkpoint", _MEANING[form])
