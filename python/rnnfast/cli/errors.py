"""Errors that the user can fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnfast.cuda import DeviceError

INTERRUPTED = 130  # the exit code that shells report for a process that Ctrl-C ended


class CommandError(Exception):
    """The command cannot be carried out; the text is the whole message."""


@contextmanager
def option_errors() -> Iterator[None]:
    """Turn errors about arguments and missing packages into errors of the command line."""
    try:
        yield
    except (ValueError, TypeError, ImportError, DeviceError) as error:
        raise CommandError(str(error)) from error


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn failures to write to `path` into errors of the command line."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror}") from error
