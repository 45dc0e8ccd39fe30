"""Checkpoints: safetensors files that hold a model and, optionally, its training run."""

from __future__ import annotations

from collections.abc import Mapping
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

LANGUAGE_MODEL = "rnnfast-char-lm"  # the form of files of language models, with or without a run
RUN = "rnnfast-run"  # the form of runs of any other model, which the file does not describe
_MEANING = {
    LANGUAGE_MODEL: "an rnnfast language model",
    RUN: "a run of rnnfast.training.Trainer",
}
FORMAT_VERSION = 1


@dataclass
class Checkpoint:
    """Contents of a checkpoint file.

    Attributes:
        model: The model's configuration and vocabulary as JSON values, with the equations of the
            cell if it is not a compiled one.
        training: The state of the training run, as JSON values; empty if there is only a model.
        tensors: The parameters under their own names, and those of the run under `training.*`.
    """

    model: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)


def save_checkpoint(path: AnyPath, checkpoint: Checkpoint, form: str = LANGUAGE_MODEL) -> None:
    """Write a checkpoint; if that fails, `path` keeps its earlier contents.

    Raises:
        CheckpointError: The file cannot be written, is not a regular file, or a tensor has an
            element that is infinite or not a number.
    """
    values = {"model": checkpoint.model, "training": checkpoint.training}
    tensor_files.write(path, _format(form), values, checkpoint.tensors)


def check_output(path: AnyPath) -> Path:
    """Check that a checkpoint can be written to `path`, and return the path to write to.

    Raises:
        CheckpointError: The file cannot be written, or is not a regular file.
    """
    with output_errors(path):
        return _files.check_output(path)


def load_checkpoint(path: AnyPath, form: str = LANGUAGE_MODEL) -> Checkpoint:
    """Read a checkpoint, and check that it is complete.

    Args:
        path: The file to read.
        form: The form that the file must have, `LANGUAGE_MODEL` or `RUN`.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or is not of this format and version.
    """
    (model, training), tensors = tensor_files.read(path, _format(form), ("model", "training"))
    return Checkpoint(model, training, tensors)


def check_sizes(tensors: Mapping[str, NDArray[Any]], expected: int) -> None:
    """Check the tensors of a model before memory for the model is allocated.

    Args:
        tensors: The parameters of the model.
        expected: The number of values that they should have in total.

    Raises:
        ValueError: They have another number of values, or one is not finite.
    """
    size = sum(array.size for array in tensors.values())
    if size != expected:
        raise ValueError(
            f"its tensors contain {size:,} numbers, but its sizes require {expected:,}"
        )
    broken = not_finite(tensors)
    if broken is not None:
        raise ValueError(f"{broken} is not finite")


def _format(form: str) -> tensor_files.Format:
    return tensor_files.Format(form, FORMAT_VERSION, "checkpoint", _MEANING[form])
