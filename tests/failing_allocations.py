"""The preloaded library of failing_allocations.cpp, and how calls are checked with it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterator
from typing import Any

import rnnfast
from guarded_arrays import flat

Action = Callable[[], Any]


class Allocations:
    """The library of failing_allocations.cpp.

    Args:
        path: Its path.
        counted: What the path of a library contains whose allocations alone count and fail; empty
            for all libraries.
        error: The error that is raised when memory ends.
        message: What its message contains.
    """

    def __init__(
        self,
        path: str,
        counted: str = "",
        error: type[Exception] = MemoryError,
        message: str = "",
    ) -> None:
        self._counted, self._error, self._message = counted.encode(), error, message
        self._library = ctypes.CDLL(path)
        self._library.arm.argtypes = [ctypes.c_long, ctypes.c_char_p]
        self._library.disarm.restype = self._library.blocks_in_use.restype = ctypes.c_long

    def count(self, action: Action) -> int:
        """Return how many allocations an action makes."""
        self._library.arm(0, self._counted)
        action()
        return int(self._library.disarm())

    def fail(self, action: Action, first: int) -> None:
        """Check that an action raises the error if allocation `first` and later ones fail."""
        self._library.arm(first, self._counted)
        try:
            action()
        except self._error as error:
            told = str(error)
        else:
            raise AssertionError(f"no {self._error.__name__}")
        finally:
            self._library.disarm()
        assert self._message in told

    def in_use(self) -> int:
        """Return how much is in use: blocks or, of one library alone, the engine's bytes."""
        gc.collect()
        if self._counted:
            return int(rnnfast.cache_info()["used_bytes"])
        return int(self._library.blocks_in_use())


def check_action(allocations: Allocations, make: Callable[[], Action]) -> int:
    """Check an action on objects; repeated after a failure it does the rest, and the same.

    Args:
        make: Returns the action on new objects, so that every failure meets a first call.
    """
    make()()  # the first use of a cell allocates memory that stays
    gc.freeze()  # so that the many collections take no time for what was imported
    action = make()
    count = allocations.count(action)
    expected = digest(make()())
    del action
    before = allocations.in_use()
    for n in range(1, count + 1):
        action = make()
        allocations.fail(action, n)
        assert digest(action()) == expected, f"other results after allocation {n}"
        del action
        assert allocations.in_use() == before, f"allocation {n} of {count} is not freed"
    return count


def digest(results: Any) -> list[bytes]:
    return [array.tobytes() for array in flat(results)]


def in_turn(*actions: Action) -> Action:
    """Return an action that goes on, when it is repeated, with the one that failed."""
    left, results = list(actions), []

    def run() -> list[Any]:
        while left:
            results.append(left[0]())
            left.pop(0)
        return results

    return run


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Let failed assertions say which call they are about."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error
