"""Checkpoints: safetensors files that hold a whole model and, if wanted, a whole training run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from rnnfast.training.text import Path_

FORMAT = "rnnfast-char-lm"
FORMAT_VERSION = 1
_MAX_HEADER = 100_000_000  # the safetensors format's own limit


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint of this format."""


@dataclass
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        model: the model's configuration and vocabulary, as JSON values.
        training: the state of the training run, as JSON values; empty for a model alone.
        tensors: the parameters under their own names, and what training keeps under `training.*`.
    """

    model: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)


def check_writable(path: Path_) -> Path:
    """Checks that a checkpoint can be written to `path`, and returns where it really goes.

    Raises:
        CheckpointError: the folder is missing or not writable, or `path` is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise CheckpointError(f"{path}: cannot be written: it is a directory")
    if not target.parent.is_dir():
        raise CheckpointError(f"{path}: cannot be written: {target.parent} is not a directory")
    probe = _temporary(target)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error
    return target


def save_checkpoint(path: Path_, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint: afterwards `path` holds all of it or, on failure, what it held before.

    Raises:
        CheckpointError: the file cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": json.dumps(checkpoint.model),
        "training": json.dumps(checkpoint.training),
    }
    tensors = {name: np.asarray(t, order="C") for name, t in checkpoint.tensors.items()}
    metadata["sha256"] = _digest(metadata, tensors)
    data = safetensors.numpy.save(tensors, metadata)
    target = Path(os.path.realpath(path))
    temporary = _temporary(target)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_directory(target.parent)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def load_checkpoint(path: Path_) -> Checkpoint:
    """Reads a checkpoint and checks that it is whole.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or is not of this format and version.
    """
    try:
        data = _read(Path(path))
        metadata = _metadata(data)
        tensors = safetensors.numpy.load(data)
        intact = metadata.pop("sha256", None) == _digest(metadata, tensors)
        parts = json.loads(metadata["model"]), json.loads(metadata["training"])
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except _WrongFormatError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a checkpoint, or damaged: {error}") from error
    if not intact:
        raise CheckpointError(f"{path}: damaged: its contents do not match its checksum")
    return Checkpoint(*parts, tensors)


class _WrongFormatError(ValueError):
    """A safetensors file of another kind or version."""


def _read(path: Path) -> bytes:
    """Reads a file that looks like safetensors, and no other: a foreign file may be huge."""
    with path.open("rb") as file:
        start = file.read(8)
        size = os.fstat(file.fileno()).st_size
        header = int.from_bytes(start, "little")
        if len(start) < 8 or header > min(size - 8, _MAX_HEADER):
            raise ValueError(f"no safetensors header in its {size} bytes")
        return start + file.read()


def _metadata(data: bytes) -> dict[str, str]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata: object = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise _WrongFormatError("not a checkpoint of an rnnfast language model")
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


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def _sync_directory(directory: Path) -> None:
    """Makes the renaming last through a power failure."""
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
