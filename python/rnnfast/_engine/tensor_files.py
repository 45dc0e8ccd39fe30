"""Safetensors files of this library: a format and its version, JSON values, tensors, a checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from rnnfast import _files
from rnnfast._engine.memory import check_memory
from rnnfast._files import AnyPath, CheckpointError

_MAX_HEADER = 100_000_000  # the safetensors format's own limit


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        name: What the file says.
        version: The version that is written, and the only one that is read.
        noun: What messages call such a file.
        of: What it is of.
    """

    name: str
    version: int
    noun: str
    of: str


def write(
    path: AnyPath,
    form: Format,
    values: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
) -> None:
    """Write a file: afterwards `path` holds all of it or, on failure, what it held before.

    Args:
        path: A new file, or a regular file to replace.
        form: Its format.
        values: What JSON can hold, by keys of the metadata.
        tensors: Arrays by name.

    Raises:
        CheckpointError: The file cannot be written, is not a regular file, or a tensor has an
            element that is infinite or not a number.
    """
    broken = not_finite(tensors)
    if broken is not None:
        raise CheckpointError(f"{path}: was not written, as {broken} is not finite")
    metadata = {"format": form.name, "format_version": str(form.version)}
    metadata |= {key: json.dumps(value) for key, value in values.items()}
    arrays = {name: np.asarray(t, order="C") for name, t in tensors.items()}
    metadata["sha256"] = _digest(metadata, arrays)
    data = safetensors.numpy.save(arrays, metadata)
    with output_errors(path):
        _files.replace(path, data)


def read(
    path: AnyPath, form: Format, keys: tuple[str, ...]
) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Read a file and check that it is whole.

    Returns:
        The values of the keys, which are objects of JSON, and the tensors.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or is not of this format and version.
    """
    try:
        metadata, data = _read(path, form)
        tensors = dict(sorted(safetensors.numpy.load(data).items()))  # they come in any order
        intact = metadata.pop("sha256", None) == _digest(metadata, tensors)
        values = [json.loads(metadata[key]) for key in keys]
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except _WrongFormatError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: is not a {form.noun}, or is damaged: {error}") from error
    if not intact:
        raise CheckpointError(f"{path}: is damaged: its contents do not match its checksum")
    if not all(isinstance(value, dict) for value in values):
        raise CheckpointError(f"{path}: is not a {form.noun}: its metadata are not JSON objects")
    return values, tensors


def format_of(path: AnyPath) -> str | None:
    """Return the name of the format that a file states; None for files that state none.

    Raises:
        CheckpointError: The file cannot be read.
    """
    try:
        with _files.open_to_read(path) as file:
            found = _stated(_header(file)).get("format")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, str) else None


@contextmanager
def output_errors(path: AnyPath) -> Iterator[None]:
    """Turn failures to write to `path` into errors that name it."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error


def not_finite(tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """Return the name of a tensor with an element that is infinite or not a number, if any."""
    reals = ((name, array) for name, array in tensors.items() if array.dtype.kind == "f")
    return next((name for name, array in reals if not np.isfinite(array).all()), None)


class _WrongFormatError(ValueError):
    """A safetensors file of another kind or version."""


def _read(path: AnyPath, form: Format) -> tuple[dict[str, str], bytes]:
    """Read a file whose header is of the format, and no other: a foreign file may be huge.

    Returns:
        The metadata, and all of the file.
    """
    with _files.open_to_read(path) as file:
        metadata = _metadata(_header(file), form)
        check_memory("its size: reading it takes", 2 * os.fstat(file.fileno()).st_size)
        file.seek(0)
        return metadata, file.read()


def _header(file: BinaryIO) -> object:
    """Return the header, a JSON value, with which a file of safetensors begins."""
    start = file.read(8)
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(size - 8, _MAX_HEADER):
        raise ValueError(f"no safetensors header in its {size} bytes")
    return json.loads(file.read(length))


def _stated(header: object) -> dict[str, Any]:
    """Return the metadata in a header; empty if it has none."""
    metadata: object = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _metadata(header: object, form: Format) -> dict[str, str]:
    metadata = _stated(header)
    found = metadata.get("format")
    if found != form.name:
        ours = isinstance(found, str) and found.startswith("rnnfast-")
        but = f", but a file of format {found!r}" if ours else ""
        raise _WrongFormatError(f"is not a {form.noun} of {form.of}{but}")
    version = metadata.get("format_version")
    if version != str(form.version):
        raise _WrongFormatError(
            f"is a {form.noun} in format version {version}, but this version of rnnfast reads "
            f"version {form.version}"
        )
    return metadata


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of everything in the file."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.data)
    return digest.hexdigest()
