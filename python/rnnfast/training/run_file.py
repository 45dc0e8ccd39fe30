"""Histories of runs, read from the files that runs write."""

from __future__ import annotations

import csv
import io
import math
from typing import Any, NamedTuple

from rnnfast import _files
from rnnfast._engine import checks, tensor_files
from rnnfast._files import AnyPath
from rnnfast.training.checkpoint import (
    LANGUAGE_MODEL,
    RUN,
    CheckpointError,
    load_checkpoint,
)
from rnnfast.training.history import History, Record
from rnnfast.training.states import unflatten
from rnnfast.training.stored import stored
from rnnfast.training.stored_vocabulary import vocabulary_from_json

_TABLE = f"{Record._fields[0]},"  # how a table begins


class StoredRun(NamedTuple):
    """What a file says of a run's measurements.

    Attributes:
        history: The measurements.
        item: What `items` counts: "character", "byte" or "token" for language models, else "item".
        loss: What losses are: "loss", or their unit for language models.
    """

    history: History
    item: str = "item"
    loss: str = "loss"


def read_run(path: AnyPath) -> StoredRun:
    """Read the history of a run from a checkpoint, or from the table that `CSVLog` writes.

    The run may still be training: a table's last line is left out if it is not complete yet.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or holds no history.
        ImportError: The run is of a model of tokens, and the package `tokenizers` is not installed.
    """
    try:
        with _files.open_to_read(path) as file:
            if file.read(len(_TABLE)) == _TABLE.encode():
                return StoredRun(_table(path, _TABLE + file.read().decode("ascii")))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: is not the table of a run: {error}") from error
    form = tensor_files.format_of(path)
    if form not in (LANGUAGE_MODEL, RUN):
        raise CheckpointError(
            f"{path}: expected a run: a checkpoint of a training run, or a table of `CSVLog` "
            f"or `rnnfast train --log`, got "
            + ("another file" if form is None else f"a file of format {form!r}")
        )
    checkpoint = load_checkpoint(path, form)
    training, of_language = checkpoint.training, form == LANGUAGE_MODEL
    if not training:
        raise CheckpointError(f"{path}: expected a training run, got only a model")
    if of_language and "report" not in training:
        raise CheckpointError(
            f"{path}: has no history, as the version of rnnfast that wrote it kept none"
        )
    with stored(path):
        history = History()
        state: Any = unflatten(training["report"] if of_language else training, checkpoint.tensors)
        history.load_state_dict(state["history"])
        if not of_language:
            return StoredRun(history)
        unit = vocabulary_from_json(checkpoint.model["vocabulary"]).unit
        return StoredRun(history, unit, f"bits per {unit}")


def _table(path: AnyPath, text: str) -> History:
    """Return the history in a table."""
    complete = text[: text.rfind("\n") + 1]
    history = History()
    try:
        names, *rows = csv.reader(io.StringIO(complete or text))
        expected = [name for name in Record._fields if name != "items" or "items" in names]
        checks.same_names("columns", dict.fromkeys(names), expected)
        for line, row in enumerate(rows, 2):
            history.append(_record(line, names, row))
    except (ValueError, csv.Error) as error:
        raise CheckpointError(f"{path}: is not the table of a run: {error}") from error
    return history


def _record(line: int, names: list[str], row: list[str]) -> Record:
    try:
        numbers = [float(value) if value else math.nan for value in row]
        values: dict[str, Any] = dict(zip(names, numbers, strict=True))
        return Record(**{"items": math.nan, **values, "step": int(values["step"])})
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"line {line}: expected {len(names)} numbers, got {','.join(row)!r}"
        ) from error
