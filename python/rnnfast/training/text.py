"""Reading of texts."""

from __future__ import annotations

import os
import stat
import sysconfig
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from rnnfast import _files
from rnnfast._engine import checks
from rnnfast._files import AnyPath

STDLIB_CHARACTERS = 4_000_000
# Skip tests, and packages of tables that are data rather than code.
_STDLIB_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "encodings", "pydoc_data"}


class TextError(ValueError):
    """A text cannot be used: it is unreadable, not UTF-8, empty or too short."""


class UnknownCharacterError(TextError):
    """A text contains a character that is not in the vocabulary."""


def read_text(paths: AnyPath | Iterable[AnyPath], *, any_bytes: bool = False) -> str:
    """Read one or more UTF-8 files, in the order given, as one text.

    Line ends are kept, and a byte order mark at the start of a file is dropped. Pipes are read to
    their end; a pipe that no process writes to is an error, because waiting could take forever.

    Args:
        paths: One path, or several.
        any_bytes: Whether to accept files that are not UTF-8, for models of bytes: every byte is
            kept, and invalid ones become lone surrogates, as in Python's file names.

    Raises:
        TextError: A file cannot be read or is not UTF-8 (the message names the byte), a pipe is
            empty, or all files are empty.
    """
    files = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    text = "".join(_read_file(file, any_bytes) for file in files)
    if not text:
        names = ", ".join(str(file) for file in files)
        raise TextError(f"{names or 'no file'}: the text is empty")
    return text


def _read_file(path: AnyPath, any_bytes: bool) -> str:
    try:
        with _files.open_to_read(path, pipes=True) as file:
            data = file.read()
            if not data and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                raise TextError(
                    f"{path}: the pipe is empty, and no process writes to it; start the writer "
                    f"first, or use <(cat {path}), which waits for it, or a file"
                )
        return data.decode("utf-8", "surrogateescape") if any_bytes else _decode(data)
    except OSError as error:
        raise TextError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise TextError(
            f"{path}: is not UTF-8: byte 0x{byte:02x} at offset {error.start} ({error.reason})"
        ) from error


def _decode(data: bytes) -> str:
    return data.decode("utf-8").removeprefix("\ufeff")


def stdlib_text(limit: int = STDLIB_CHARACTERS) -> str:
    """Return the sources of Python's standard library, a text that almost every machine has.

    Modules come first, then packages, each in alphabetical order. Files that are not plain ASCII
    are left out, which keeps the vocabulary at about a hundred characters.

    Args:
        limit: The largest number of characters to return.

    Raises:
        TextError: This Python installation lacks the sources of its standard library.
    """
    checks.positive_int("limit", limit)
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
        raise TextError(
            f"{root}: contains no source code of the standard library; name a text file"
        )
    return "".join(parts)[:limit]


def _stdlib_files(root: Path) -> list[Path]:
    files: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _STDLIB_SKIPPED]
        files += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(files, key=lambda file: (file.parent != root, file.as_posix()))
