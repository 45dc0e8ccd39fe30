"""The files that commands read without being told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rnnfast.cli.errors import CommandError
from rnnfast.training import ByteVocabulary, Checkpoint, load_checkpoint, read_text, stdlib_text

DEFAULT_MODEL = Path("model.safetensors")


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint."""
    if path == DEFAULT_MODEL and not path.exists():
        raise CommandError(
            f"{path} does not exist in this folder: make it by `rnnfast train`, or name another"
        )
    return load_checkpoint(path)


def text_of(files: Sequence[str | Path], *, any_bytes: bool = False) -> str:
    """The text of files, or that of the standard library if none are given."""
    return read_text(files, any_bytes=any_bytes) if files else stdlib_text()


def takes_bytes(checkpoint: Checkpoint) -> bool:
    """Whether the model of a checkpoint is one of bytes."""
    return bool(checkpoint.model.get("vocabulary") == ByteVocabulary().as_json())
