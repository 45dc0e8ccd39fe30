"""The files that commands read, with their defaults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from rnnfast.cli.errors import CommandError
from rnnfast.training import (
    ByteVocabulary,
    CharLM,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    read_text,
    stdlib_text,
)
from rnnfast.training.stored import check_same_text, stored_options, stored_source

DEFAULT_MODEL = Path("model.safetensors")

Model = Annotated[Path, typer.Argument(help="A checkpoint of `rnnfast train`.")]
Texts = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE",
        help="Texts; by default, the held-out part of the text that the model was trained on.",
        show_default=False,
    ),
]


def load(path: Path) -> Checkpoint:
    """Read a checkpoint."""
    if path == DEFAULT_MODEL and not path.exists():
        raise CommandError(
            f"{path} does not exist in this folder; create it with `rnnfast train`, or name "
            "another file"
        )
    return load_checkpoint(path)


def load_first(path: Path, command: str) -> Checkpoint:
    """Read the checkpoint that the first argument names; a text in its place is a mistake."""
    try:
        return load(path)
    except CheckpointError as error:
        if path.suffix == DEFAULT_MODEL.suffix:
            raise
        hint = f"the first argument is the model: rnnfast {command} {DEFAULT_MODEL} {path}"
        raise CommandError(f"{error}; {hint}") from error


def check_unread(option: str, output: str | Path, read: Iterable[str | Path]) -> None:
    """Refuse an output that would replace a file that the command reads or also writes."""
    target = Path(output).resolve()
    for file in read:
        if Path(file).resolve() == target:
            raise CommandError(
                f"{option}: expected a file of its own, got {output}, which the command needs "
                "for something else"
            )


def text_of(files: Sequence[str | Path], *, any_bytes: bool = False) -> str:
    """Return the text of the files, or of the standard library if there are none."""
    return read_text(files, any_bytes=any_bytes) if files else stdlib_text()


def takes_bytes(checkpoint: Checkpoint) -> bool:
    """Return whether the model of a checkpoint predicts bytes instead of characters."""
    return bool(checkpoint.model.get("vocabulary") == ByteVocabulary().as_json())


def held_out(path: Path, checkpoint: Checkpoint, model: CharLM) -> tuple[NDArray[np.int64], str]:
    """Return the ids of the text that a run has held out for validation, and what they are."""
    if not checkpoint.training:
        raise CommandError(f"{path}: does not say what it was trained on; name a text")
    options = stored_options(path, checkpoint)
    source = stored_source(path, checkpoint)
    text = text_of(source, any_bytes=takes_bytes(checkpoint))
    check_same_text(path, checkpoint, text)
    ids = model.vocabulary.encode(text)
    size = options.held_out(ids.size)
    if not size:
        raise CommandError(f"{path}: was trained on all of its text; name another text")
    name = ", ".join(source) or "the Python standard library"
    description = f"the last {size:,} {model.vocabulary.unit}s of {name}, held out"
    return ids[ids.size - size :], description
