"""Requests for steps, with one class for each way of waiting for the result."""

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
    """A request for a step of a session.

    Attributes:
        session: The `Session` that makes the step.
        x: The input: real numbers (I,), or an integer.
        start: Time of the request, from `time.perf_counter`.
    """

    __slots__ = ("session", "start", "x")

    def __init__(self, session: Any, x: RealArray | int) -> None:
        self.session, self.x = session, x
        self.start = time.perf_counter()

    def _begin(self) -> bool:
        """Mark the step as begun; return False if it was cancelled before."""
        return True

    def _finish(self, y: RealArray | None, error: BaseException | None) -> None:
        """Deliver the result, or the error in its place."""
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
        """Wait for the step; return its result, or raise its error."""
        self._done.acquire()
        if self._error is not None:
            raise self._error
        assert self._y is not None
        return self._y


class Promised(Request):
    """A step whose result is delivered through a future."""

    __slots__ = ("future",)

    def __init__(self, session: Any, x: RealArray | int) -> None:
        super().__init__(session, x)
        self.future: Future[RealArray] = Future()

    def _begin(self) -> bool:
        return self.future.set_running_or_notify_cancel()

    def _finish(self, y: RealArray | None, error: BaseException | None) -> None:
        _settle(self.future, y, error)


class Awaited(Request):
    """A step that a coroutine awaits; `tell_loops` delivers the result to its event loop."""

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
        """Settle the future; must run in its event loop."""
        if not self.future.done():  # it may have been cancelled meanwhile
            _settle(self.future, self._y, self._error)


def tell_loops(requests: Iterable[Request]) -> None:
    """Deliver the results of finished steps to event loops, with one call per loop."""
    awaited: defaultdict[asyncio.AbstractEventLoop, list[Awaited]] = defaultdict(list)
    for request in requests:
        if isinstance(request, Awaited):
            awaited[request.loop].append(request)
    for loop, of_loop in awaited.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
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
