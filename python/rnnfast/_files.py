"""Files that users name: written whole or not at all, and read only where reading comes to an end.

A file is written beside its target under a random name, locked while its process lives, and then
renamed. Whoever writes to the same target next removes what killed processes left there: the files
that nobody locks.

Every failure is an `OSError` whose `strerror` tells users what is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

AnyPath: TypeAlias = str | os.PathLike[str]


class CheckpointError(ValueError):
    """A file of a model that cannot be written, or is not a whole file of its format."""


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
_LONGEST = 60  # characters of a target's name in names made from it, which may have 255 bytes


def check_output(path: AnyPath) -> Path:
    """Check that a file can be written, and remove what killed processes left there.

    Args:
        path: A new file, a regular file to replace, or a link to either.

    Returns:
        Where the file really goes, with links resolved.

    Raises:
        OSError: It cannot be written, or it is not a regular file.
    """
    target = _target(path)
    _remove_abandoned(target)
    descriptor, probe = _create_temporary(target)
    os.close(descriptor)
    probe.unlink()
    return target


def replace(path: AnyPath, data: bytes) -> None:
    """Write a file: afterwards `path` holds all of `data` or, on failure, what it held before.

    Any number of threads and processes may write to one path; the last one's data stays. An
    existing file keeps its permissions.

    Raises:
        OSError: It cannot be written, or it is not a regular file.
    """
    target = _target(path)
    _remove_abandoned(target)
    descriptor, temporary = _create_temporary(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # a new file, or a file system without permissions
                os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            temporary.replace(target)
        _sync_directory(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def claim(path: AnyPath) -> Iterator[Path]:
    """Keep other runs from writing to `path` for a while; yields where it really goes.

    Raises:
        OSError: Another run holds it, or it cannot be written.
    """
    target = check_output(path)
    lock = _beside(target, "lock")
    try:
        descriptor, _ = _create(lambda: lock)
    except FileExistsError:
        reason = f"another run writes to it, and holds {lock}"
        raise BlockingIOError(errno.EAGAIN, reason, os.fspath(path)) from None
    try:
        yield target
    finally:
        lock.unlink(missing_ok=True)
        _unlock(descriptor)


def open_to_read(path: AnyPath, *, pipes: bool = False) -> BinaryIO:
    """Open a regular file or, with `pipes`, a pipe as well, without waiting for its writer.

    Raises:
        OSError: It cannot be read, or it is something else.
    """
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not (pipes and stat.S_ISFIFO(mode)):
        _check_regular(path, mode, " or a pipe" if pipes else "")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")


def _target(path: AnyPath) -> Path:
    target = Path(os.path.realpath(path))
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if target.parent.is_dir():
            return target
        reason = f"{target.parent} is not a directory"
        raise NotADirectoryError(errno.ENOTDIR, reason, os.fspath(path)) from None
    _check_regular(path, mode)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    return target


def _check_regular(path: AnyPath, mode: int, other: str = "") -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        reason = f"it is {kind}, not a regular file{other}"
        raise OSError(errno.EINVAL, reason, os.fspath(path))


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name[:_LONGEST]}.{suffix}")


def _create_temporary(target: Path) -> tuple[int, Path]:
    return _create(lambda: _beside(target, f"{secrets.token_hex(4)}.tmp"))


def _create(name: Callable[[], Path]) -> tuple[int, Path]:
    """Make a new file and lock it: returns its descriptor and where it is."""
    while True:
        path = name()
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with contextlib.suppress(OSError):  # not every file system can
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, path
        os.close(descriptor)  # somebody saw it before the lock, and took it for abandoned


def _unlock(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # also where a forked child has the descriptor
    os.close(descriptor)


def _remove_abandoned(target: Path) -> None:
    """Remove the files beside `target` that only killed processes can have left."""
    name = re.escape(target.name[:_LONGEST])
    ours = re.compile(rf"\.{name}\.(lock|[0-9a-f]{{8}}\.tmp)")
    with os.scandir(target.parent) as entries:
        found = [
            Path(e) for e in entries if ours.fullmatch(e.name) and e.is_file(follow_symlinks=False)
        ]
    for path in found:
        with contextlib.suppress(OSError):  # in use, or not ours to remove
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    path.unlink()
            finally:
                _unlock(descriptor)


def _sync_directory(directory: Path) -> None:
    """Make the renaming last through a power failure."""
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
