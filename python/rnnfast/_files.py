"""Files that users name: written completely or not at all, and read only if reading will end.

A file is written next to its target under a random name, locked while its process lives, and then
renamed. The next process that writes to the same target removes files that killed processes left
there, which it recognises by their missing lock.

Every failure is an `OSError` whose `strerror` explains the problem to users.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

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
_FLUSHES_NO_DIRECTORY = (errno.EINVAL, errno.ENOTSUP)  # the answers of file systems that cannot
_LONGEST = 60  # characters of a target's name to reuse, as a file name may have only 255 bytes


def check_output(path: AnyPath) -> Path:
    """Check that a file can be written, and remove files that killed processes left there.

    Args:
        path: A new file, a regular file to replace, or a link to either.

    Returns:
        The real path of the file, with links resolved.

    Raises:
        OSError: The file cannot be written, or it is not a regular file.
        TypeError: `path` is no path.
    """
    target = _target(path)
    _remove_abandoned(target)
    descriptor, probe = _create_temporary(target)
    try:
        os.close(descriptor)
    finally:
        probe.unlink()
    return target


def replace(path: AnyPath, data: bytes) -> None:
    """Write a file atomically: if this fails, `path` keeps its previous content.

    Only if the directory cannot be flushed at the end, `path` has the new content already, whole
    and flushed, but a power failure may bring the previous one back.

    Any number of threads and processes may write to one path; the last write wins. An existing file
    keeps its permissions.

    Raises:
        OSError: The file cannot be written, or it is not a regular file.
        TypeError: `path` is no path.
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
    """Keep other runs from writing to `path` inside the context; yield its real path.

    Raises:
        OSError: Another run has claimed the path, or it cannot be written.
    """
    target = check_output(path)
    lock = _beside(target, "lock")
    try:
        descriptor, _ = _create(lambda: lock)
    except FileExistsError:
        reason = f"another run is writing to it and holds {lock}"
        raise BlockingIOError(errno.EAGAIN, reason, os.fspath(path)) from None
    try:
        yield target
    finally:
        with contextlib.suppress(OSError):  # a lock that stays is removed as abandoned
            lock.unlink()
        _unlock(descriptor)


def open_to_read(path: AnyPath, *, pipes: bool = False) -> BinaryIO:
    """Open a regular file or, if `pipes`, a pipe for reading, without waiting for its writer.

    Raises:
        OSError: The file cannot be read, or it is something else.
        TypeError: `path` is no path.
    """
    from pathlib import Path  # imported late, as it takes 0.7 MiB

    _check_path(path)
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not (pipes and stat.S_ISFIFO(mode)):
        _check_regular(path, mode, " or a pipe" if pipes else "")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")


def _check_path(path: AnyPath) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected a string or a path, got {type(path).__name__}")
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a name cannot contain NUL", os.fspath(path))


def _target(path: AnyPath) -> Path:
    from pathlib import Path  # imported late, as it takes 0.7 MiB

    _check_path(path)
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
    import secrets  # its cryptography takes 3 MiB, which a process that writes no files can save

    return _create(lambda: _beside(target, f"{secrets.token_hex(4)}.tmp"))


def _create(name: Callable[[], Path]) -> tuple[int, Path]:
    """Create a new file and lock it; return its descriptor and its path."""
    while True:
        path = name()
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with contextlib.suppress(OSError):  # not every file system supports locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, path
        except FileNotFoundError:
            pass
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            _unlock(descriptor)
            raise
        os.close(descriptor)  # another process removed the file as abandoned before the lock


def _unlock(descriptor: int) -> None:
    """Unlock and close a file that holds no data, so that failures lose none."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing does not unlock if a forked child lives
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _remove_abandoned(target: Path) -> None:
    """Remove the files next to `target` that only killed processes can have left."""
    name = re.escape(target.name[:_LONGEST])
    ours = re.compile(rf"\.{name}\.(lock|[0-9a-f]{{8}}\.tmp)")
    with os.scandir(target.parent) as entries:
        found = [
            target.with_name(e.name)
            for e in entries
            if ours.fullmatch(e.name) and e.is_file(follow_symlinks=False)
        ]
    for path in found:
        with contextlib.suppress(OSError):  # the file is in use, or we may not remove it
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    path.unlink()
            finally:
                _unlock(descriptor)


def _sync_directory(directory: Path) -> None:
    """Flush a directory to disk, so that a rename in it survives a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _FLUSHES_NO_DIRECTORY:
            raise
    finally:
        with contextlib.suppress(OSError):  # nothing was written through this descriptor
            os.close(descriptor)
