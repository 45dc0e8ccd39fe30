"""Texts and their characters as numbers."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STDLIB_CHARACTERS = 4_000_000
# Tests, and tables that are data rather than code.
_STDLIB_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "encodings", "pydoc_data"}

_UNKNOWN = -1  # what stands for the id of a character that has none

Path_ = str | PathLike[str]


class TextError(ValueError):
    """A text that cannot be used: unreadable, not UTF-8, empty or too short."""


class UnknownCharacterError(TextError):
    """A text holds a character that the vocabulary does not."""


def read_text(paths: Path_ | Iterable[Path_]) -> str:
    """Reads one or many UTF-8 files as one text, in the order given.

    Line ends are kept as they are; a byte order mark at the start of a file is dropped.

    Args:
        paths: one path, or several.

    Raises:
        TextError: a file cannot be read, is not UTF-8 (the message names the byte), or all are
            empty.
    """
    files = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    text = "".join(_read_file(Path(file)) for file in files)
    if not text:
        names = ", ".join(str(file) for file in files)
        raise TextError(f"{names or 'no file'}: the text is empty")
    return text


def _read_file(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise TextError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise TextError(
            f"{path}: not UTF-8: byte 0x{byte:02x} at offset {error.start} ({error.reason})"
        ) from error
    return text.removeprefix("\ufeff")


def stdlib_text(limit: int = STDLIB_CHARACTERS) -> str:
    """The sources of Python's own standard library, a text that every machine has.

    Modules come first, then packages, each in alphabetical order. Files that are not plain ASCII
    are left out, which keeps the vocabulary at about a hundred characters.

    Args:
        limit: most characters to return.

    Raises:
        TextError: this Python has no standard library sources.
    """
    root = Path(sysconfig.get_path("stdlib"))
    parts: list[str] = []
    size = 0
    for file in _stdlib_files(root):
        data = file.read_bytes()
        if data.isascii():
            parts.append(data.decode("ascii"))
            size += len(data)
        if size >= limit:
            break
    if not parts:
        raise TextError(f"{root}: no sources of the standard library here; name a text file")
    return "".join(parts)[:limit]


def _stdlib_files(root: Path) -> list[Path]:
    files: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _STDLIB_SKIPPED]
        files += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(files, key=lambda file: (file.parent != root, file.as_posix()))


class Vocabulary:
    """The characters a model knows; a character's id is its place in code point order.

    Attributes:
        characters: the characters, sorted, each once.
    """

    def __init__(self, characters: str) -> None:
        """Makes the vocabulary of all characters in `characters`.

        Raises:
            TextError: there are none.
        """
        if not characters:
            raise TextError("vocabulary: expected at least one character, got an empty text")
        self.characters = "".join(sorted(set(characters)))
        points = _code_points(self.characters)
        # The id of every code point up to the first that is larger than all of ours.
        self._ids = np.full(int(points[-1]) + 2, _UNKNOWN)
        self._ids[points] = np.arange(points.size)

    def __len__(self) -> int:
        return len(self.characters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.characters == other.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        return f"Vocabulary({self.characters!r})"

    def encode(self, text: str) -> NDArray[np.int64]:
        """The ids (len(text),) of a text's characters.

        Raises:
            UnknownCharacterError: the first character that is not in the vocabulary.
        """
        ids = self._ids[np.minimum(_code_points(text), self._ids.size - 1)]
        unknown = ids == _UNKNOWN
        if unknown.any():
            raise self._unknown(text, int(unknown.argmax()))
        return ids

    def decode(self, ids: NDArray[np.integer] | Iterable[int]) -> str:
        """The text of character ids in [0, len(self))."""
        return "".join(self.characters[i] for i in ids)

    def _unknown(self, text: str, position: int) -> UnknownCharacterError:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        return UnknownCharacterError(
            f"text: character {text[position]!r} (U+{ord(text[position]):04X}) at position "
            f"{position} (line {line}, column {column}) is not among the {len(self)} characters "
            "of the vocabulary"
        )


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
