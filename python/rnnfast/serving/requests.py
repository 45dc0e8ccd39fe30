"""Steps that sessions wait for, and how each way of waiting hears of the result."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from rnnfast._engine.checks import RealArray


class Request:
    """A step of a session.

    Attributes:
        session: The `Session` whose step it is.
        x: What goes in: (I,) reals, or an integer.
        start: When it came, by `time.perf_counter`.
    """

    __slots__ = ("session", "start", "x")

    def __init__(self, session: Any, x: RealArray | int) -> None:
        self.session, self.x = session, x
        self.start = time.perf_counter()

    def _begin(self) -> bool:
        """Whether somebody still waits, now that the step is about to be taken."""
        return True

    def _finish(self, y: RealArray | None, error: BaseException | None) -> None:
        """Give whoever waits the result, or the error in its place."""
        raise NotImplementedError


class Blocking(Request):
    """A step that a thread waits for."""

    __slots__ = ("_done", "_error", "_y")

    def __init__(self, session: Any, x: RealArray | int) -> None:
        super().__init__(session, x)
        self._done = threading.Lock()
        self._done.acquire()

    def _finish(self, y: RealArray | None, error: BaseException | None) -> None:
        self._y, self._error = y, error
        self._done.release()

    def wait(self) -> RealArray:
        """Return the result when it is there, or raise the error."""
        self._done.acquire()
        if self._error is not None:
            raise self._error
        assert self._y is not None
        return self._y


class Promised(Request):
    """A step with a future for its result."""

    __slots__ = ("future",)

    def __init__(self, session: Any, x: RealArray | int) -> None:
        super().__init__(session, x)
        self.future: Future[RealArray] = Future()

    def _begin(self) -> bool:
        return self.future.set_running_or_notify_cancel()

    def _finish(self, y: RealArray | None, error: BaseException | None) -> None:
        _settle(self.future, y, error)


class Awaited(Request):
    """A step that a coroutine awaits; `tell_loops` lets it hear of the result."""

    __slots__ = ("_error", "_y", "future", "loop")

    def __init__(self, session: Any, x: RealArray | int) -> None:
        super().__init__(session, x)
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[RealArray] = self.loop.create_future()

    def _begin(self) -> bool:
        return not self.future.cancelled()

    def _finish(self, y: RealArray | None, error: BaseException | None) -> None:
        self._y, self._error = y, error

    def _resolve(self) -> None:
        """Set the future, in its loop."""
        if not self.future.done():  # cancelled meanwhile
            _settle(self.future, self._y, self._error)


def tell_loops(requests: Iterable[Request]) -> None:
    """Let event loops hear of finished steps, each of all its own at once."""
    awaited: defaultdict[asyncio.AbstractEventLoop, list[Awaited]] = defaultdict(list)
    for request in requests:
        if isinstance(request, Awaited):
            awaited[request.loop].append(request)
    for loop, of_loop in awaited.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
            loop.call_soon_threadsafe(_resolve, of_loop)


def _resolve(requests: list[Awaited]) -> None:
    for request in requests:
        request._resolve()


def _settle(
    future: Future[RealArray] | asyncio.Future[RealArray],
    y: RealArray | None,
    error: BaseException | None,
) -> None:
    if error is not None:
        future.set_exception(error)
    else:
        assert y is not None
        future.set_result(y)
