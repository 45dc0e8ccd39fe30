"""Reading texts."""

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
# Tests, and tables that are data rather than code.
_STDLIB_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "encodings", "pydoc_data"}


class TextError(ValueError):
    """A text that cannot be used: unreadable, not UTF-8, empty or too short."""


class UnknownCharacterError(TextError):
    """A text holds a character that the vocabulary does not."""


def read_text(paths: AnyPath | Iterable[AnyPath], *, any_bytes: bool = False) -> str:
    """Reads one or many UTF-8 files as one text, in the order given.

    Line ends are kept as they are; a byte order mark at the start of a file is dropped. Pipes are
    read to their end; one that no process writes to is refused, not waited for.

    Args:
        paths: one path, or several.
        any_bytes: whether files need not be UTF-8, for models of bytes: every byte is kept, and
            those that are not UTF-8 become lone surrogates, as Python has them in names of files.

    Raises:
        TextError: a file cannot be read, is not UTF-8 (the message names the byte), a pipe
            is empty, or all files are.
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
                    f"{path}: the pipe is empty, and no process writes to it: start the writer "
                    f"first, or give <(cat {path}), which waits for it, or a file"
                )
        return data.decode("utf-8", "surrogateescape") if any_bytes else _decode(data)
    except OSError as error:
        raise TextError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise TextError(
            f"{path}: not UTF-8: byte 0x{byte:02x} at offset {error.start} ({error.reason})"
        ) from error


def _decode(data: bytes) -> str:
    return data.decode("utf-8").removeprefix("\ufeff")


def stdlib_text(limit: int = STDLIB_CHARACTERS) -> str:
    """The sources of Python's own standard library, a text that every machine has.

    Modules come first, then packages, each in alphabetical order. Files that are not plain ASCII
    are left out, which keeps the vocabulary at about a hundred characters.

    Args:
        limit: most characters to return.

    Raises:
        TextError: this Python has no standard library sources.
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
        raise TextError(f"{root}: no sources of the standard library here; name a text file")
    return "".join(parts)[:limit]


def _stdlib_files(root: Path) -> list[Path]:
    files: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _STDLIB_SKIPPED]
        files += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(files, key=lambda file: (file.parent != root, file.as_posix()))
