"""The files that commands read, with their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rnnfast.cli.errors import CommandError
from rnnfast.training import ByteVocabulary, Checkpoint, load_checkpoint, read_text, stdlib_text

DEFAULT_MODEL = Path("model.safetensors")


def load(path: Path) -> Checkpoint:
    """Read a checkpoint."""
    if path == DEFAULT_MODEL and not path.exists():
        raise CommandError(
            f"{path} does not exist in this folder: make it by `rnnfast train`, or name another"
        )
    return load_checkpoint(path)


def text_of(files: Sequence[str | Path], *, any_bytes: bool = False) -> str:
    """Return the text of the files, or of the standard library if there are none."""
    return read_text(files, any_bytes=any_bytes) if files else stdlib_text()


def takes_bytes(checkpoint: Checkpoint) -> bool:
    """Return whether the model of a checkpoint predicts bytes instead of characters."""
    return bool(checkpoint.model.get("vocabulary") == ByteVocabulary().as_json())
