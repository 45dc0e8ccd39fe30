"""Checkpoints: safetensors files that hold a whole model and, if wanted, a whole training run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from rnnfast import _files
from rnnfast._files import AnyPath
from rnnfast.training.memory import check_memory

LANGUAGE_MODEL = "rnnfast-char-lm"  # what a file holds: a language model, with or without its run
RUN = "rnnfast-run"  # a run of any other model, which the file does not describe
_MEANING = {
    LANGUAGE_MODEL: "an rnnfast language model",
    RUN: "a run of rnnfast.training.Trainer",
}
FORMAT_VERSION = 1
_MAX_HEADER = 100_000_000  # the safetensors format's own limit


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint of this format."""


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
    broken = not_finite(checkpoint.tensors)
    if broken is not None:
        raise CheckpointError(f"{path}: not written: {broken} is not finite")
    metadata = {
        "format": form,
        "format_version": str(FORMAT_VERSION),
        "model": json.dumps(checkpoint.model),
        "training": json.dumps(checkpoint.training),
    }
    tensors = {name: np.asarray(t, order="C") for name, t in checkpoint.tensors.items()}
    metadata["sha256"] = _digest(metadata, tensors)
    data = safetensors.numpy.save(tensors, metadata)
    with output_errors(path):
        _files.replace(path, data)


def check_output(path: AnyPath) -> Path:
    """Checks that a checkpoint can be written to `path`, and returns where it really goes.

    Raises:
        CheckpointError: it cannot be written, or is not a regular file.
    """
    with output_errors(path):
        return _files.check_output(path)


@contextmanager
def output_errors(path: AnyPath) -> Iterator[None]:
    """Turns failures to write to `path` into errors that name it."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error


def not_finite(tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """The name of a tensor with an element that is infinite or not a number, if there is one."""
    reals = ((name, array) for name, array in tensors.items() if array.dtype.kind == "f")
    return next((name for name, array in reals if not np.isfinite(array).all()), None)


def load_checkpoint(path: AnyPath, form: str = LANGUAGE_MODEL) -> Checkpoint:
    """Reads a checkpoint and checks that it is whole.

    Args:
        path: the file.
        form: what it is to hold, `LANGUAGE_MODEL` or `RUN`.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or is not of this format and version.
    """
    try:
        metadata, data = _read(path, form)
        tensors = safetensors.numpy.load(data)
        intact = metadata.pop("sha256", None) == _digest(metadata, tensors)
        model, training = json.loads(metadata["model"]), json.loads(metadata["training"])
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except _WrongFormatError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a checkpoint, or damaged: {error}") from error
    if not intact:
        raise CheckpointError(f"{path}: damaged: its contents do not match its checksum")
    if not (isinstance(model, dict) and isinstance(training, dict)):
        raise CheckpointError(f"{path}: not a checkpoint: its metadata are not objects of JSON")
    return Checkpoint(model, training, tensors)


class _WrongFormatError(ValueError):
    """A safetensors file of another kind or version."""


def _read(path: AnyPath, form: str) -> tuple[dict[str, str], bytes]:
    """Reads a file whose header is that of a checkpoint, and no other: a foreign file may be huge.

    Returns:
        The metadata, and all of the file.
    """
    with _files.open_to_read(path) as file:
        start = file.read(8)
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, _MAX_HEADER):
            raise ValueError(f"no safetensors header in its {size} bytes")
        metadata = _metadata(json.loads(file.read(length)), form)
        check_memory("its size: reading it takes", 2 * size)
        file.seek(0)
        return metadata, file.read()


def _metadata(header: object, form: str) -> dict[str, str]:
    metadata: object = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != form:
        raise _WrongFormatError(f"not a checkpoint of {_MEANING[form]}")
    version = metadata.get("format_version")
    if version != str(FORMAT_VERSION):
        raise _WrongFormatError(
            f"checkpoint of format version {version}, "
            f"but this version of rnnfast reads version {FORMAT_VERSION}"
        )
    return metadata


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 of everything in the file."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.data)
    return digest.hexdigest()
