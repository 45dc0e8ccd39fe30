"""A pool of sessions whose steps are computed in batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import RealArray
from rnnfast.layers.stream import Stream, StreamState
from rnnfast.serving.requests import Awaited, Blocking, Promised, Request, tell_loops

if TYPE_CHECKING:
    from typing_extensions import Self

_KEPT_TIMES = 10_000  # number of the latest steps that `stats` measures

AnyRequest = TypeVar("AnyRequest", bound=Request)


class Streams(Protocol):
    """A layer or model that can process sequences step by step."""

    def stream(self, batch: int) -> Stream[Any]:
        """Return a stream of `batch` sequences."""


class PoolStats(NamedTuple):
    """Statistics of a pool; times cover its last 10,000 steps, and are NaN before the first.

    Attributes:
        sessions: Number of open sessions.
        steps: Number of steps so far.
        batches: Number of batches that computed them, of `steps / batches` steps on average.
        p50: Median time of a step in seconds, from the request to the answer.
        p95: 95th percentile of that time.
        p99: 99th percentile of that time.
        steps_per_second: Throughput from the first request to the last answer; 0 before the first.
    """

    sessions: int
    steps: int
    batches: int
    p50: float
    p95: float
    p99: float
    steps_per_second: float


class StreamPool:
    """Runs one model over the sequences of many clients, which arrive step by step.

    Steps that are waiting when the model becomes free are computed as one batch; no step waits for
    others to arrive. The results of a session are bitwise those of a separate stream, whatever else
    is in the batch. All methods may be called from any thread, and `Session.astep` from coroutines.

    If the pool is idle, `Session.step` computes the step at once in the calling thread; a thread of
    the pool computes all others. `close`, or leaving a `with` block, ends the pool.

    Args:
        model: A layer or model with a method `stream`, whose current weights are used.
        capacity: The largest number of sessions open at a time. The pool allocates the state of all
            of them from the start.

    Raises:
        ValueError: The capacity is less than 1, or the model cannot run step by step.
    """

    def __init__(self, model: Streams, capacity: int) -> None:
        self._stream = model.stream(checks.size("capacity", capacity))
        self._lock = threading.Lock()  # guards all attributes below
        self._work = threading.Condition(self._lock)
        self._free = list(range(capacity))[::-1]
        self._pending: deque[Request] = deque()
        self._running = False  # whether a thread is computing steps, which only one may
        self._stepping: list[Session] = []  # sessions whose steps are being computed
        self._closed = False
        self._steps = self._batches = 0
        self._times: deque[tuple[float, float]] = deque(maxlen=_KEPT_TIMES)  # of request and answer
        self._thread = threading.Thread(target=self._serve, name="StreamPool", daemon=True)
        self._thread.start()

    def open(self, state: StreamState | None = None, context: ArrayLike | None = None) -> Session:
        """Open a session.

        Args:
            state: The initial state, returned by `Session.take` or `Stream.take` for one sequence;
                None for the model's own initial state.
            context: (C,), the context of all steps of the session, for a model with `context_size`
                C, which needs one here or in the state.

        Raises:
            RuntimeError: The pool is closed, or its capacity is exhausted.
            ValueError: The state belongs to several sequences or to another model, or the context
                is missing, has another shape or is one that no layer takes.
            TypeError: The state is not a StreamState, or the context does not hold real numbers.
        """
        with self._lock:
            self._check_open()
            if not self._free:
                raise RuntimeError(
                    f"open: expected less than capacity = {self._stream.batch} open sessions; "
                    "close one first"
                )
            row = self._free[-1]
            if state is None:
                self._stream.reset(row)
            else:
                self._stream.put(state, row)
            if context is not None or self._stream._plan.takes_context:
                of_batch = None if context is None else backends.given("context", context)[None]
                self._stream._give_context(of_batch, row)
            self._free.pop()
            return Session(self, row)

    def submit(self, session: Session, x: ArrayLike) -> Future[RealArray]:
        """Request a step of a session.

        The steps of a session are computed in the order in which they were requested.

        Args:
            session: An open session of this pool.
            x: Input of one sequence, as a stream takes it: real numbers (I,), or an integer. It may
                be changed afterwards.

        Returns:
            A future of the output (H,). Cancelling it before the step begins skips the step.

        Raises:
            ValueError: The shape is wrong, or the session belongs to another pool.
            IndexError: An integer is out of range.
            TypeError: x does not hold real numbers.
            RuntimeError: The session or the pool is closed.
        """
        checks.of_type("session", session, Session)
        if session._pool is not self:
            raise ValueError("session: expected a session of this pool, got one of another")
        return self._enqueue(Promised(session, self._checked(x))).future

    def stats(self) -> PoolStats:
        """Return the statistics of the pool."""
        with self._lock:
            times = np.array(self._times).reshape(-1, 2)
            steps, batches = self._steps, self._batches
            sessions = self._stream.batch - len(self._free)
        if not len(times):
            return PoolStats(sessions, 0, 0, np.nan, np.nan, np.nan, 0.0)
        p50, p95, p99 = np.percentile(times[:, 1] - times[:, 0], (50, 95, 99)).tolist()
        rate = len(times) / (times[:, 1].max() - times[:, 0].min())
        return PoolStats(sessions, steps, batches, p50, p95, p99, float(rate))

    def close(self) -> None:
        """Close the pool and its sessions; steps that still wait get a RuntimeError.

        Steps that are being computed are finished. Closing a closed pool does nothing.
        """
        with self._lock:
            self._closed = True
            left, self._pending = self._pending, deque()
            self._work.notify()
        self._refuse(left, "the pool was closed while the step was waiting")
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, x: ArrayLike) -> RealArray | int:
        """Return a checked copy of a step's input, in the form in which `_take` batches it."""
        plan = self._stream._plan
        if (
            type(x) is np.ndarray
            and x.dtype == plan.dtype
            and x.shape == (plan.input_size,)
            and plan.layers[0].takes_values
        ):
            return np.array(x)
        row: RealArray = plan.checked_x(backends.given("x", x)[None], 1)[0]
        if row.ndim:
            return np.array(row)
        if not 0 <= row < plan.input_size:
            raise IndexError(f"x: expected an index in [0, {plan.input_size}), got {row}")
        return int(row)

    def _enqueue(self, request: AnyRequest) -> AnyRequest:
        with self._lock:
            self._check_session(request.session)
            self._pending.append(request)
            if not self._running and len(self._pending) == 1:  # otherwise it is awake already
                self._work.notify()
        return request

    def _step(self, session: Session, x: ArrayLike) -> RealArray:
        request = Blocking(session, self._checked(x))
        with self._lock:
            self._check_session(session)
            idle = not self._running and not self._pending
            if idle:
                self._running, self._stepping = True, [session]
            else:
                self._pending.append(request)
        if idle:
            self._take([request])
        return request.wait()

    def _serve(self) -> None:
        """Compute steps in the pool's thread until the pool is closed."""
        while True:
            with self._lock:
                while self._running or not self._pending:
                    if self._closed and not self._running:
                        return
                    self._work.wait()
                requests = self._next()
                self._running, self._stepping = True, [r.session for r in requests]
            self._take(requests)

    def _next(self) -> list[Request]:
        """Return the next batch: the first step of each session, all reals or all integers."""
        chosen: list[Request] = []
        left: deque[Request] = deque()
        seen: set[Session] = set()
        kind = type(self._pending[0].x)
        for request in self._pending:
            if request.session in seen or type(request.x) is not kind:
                left.append(request)
            elif request._begin():
                chosen.append(request)
            else:
                continue
            seen.add(request.session)
        self._pending = left
        return chosen

    def _take(self, requests: list[Request]) -> None:
        """Compute one step each of several sessions, and deliver the results."""
        error: BaseException | None = None
        y: Iterable[RealArray | None] = repeat(None)
        try:
            if requests:
                rows = np.array([request.session._row for request in requests])
                y = self._stream(np.array([request.x for request in requests]), rows)
        except BaseException as raised:
            error = raised
        end = time.perf_counter()
        for request, of_one in zip(requests, y, strict=False):
            request._finish(of_one, error)
        tell_loops(requests)
        with self._lock:
            if error is None:
                self._steps += len(requests)
                self._batches += bool(requests)
                self._times.extend((request.start, end) for request in requests)
            self._free += [session._row for session in self._stepping if session._closed]
            self._running, self._stepping = False, []
            if self._pending or self._closed:
                self._work.notify()

    def _close_session(self, session: Session) -> None:
        with self._lock:
            if session._closed:
                return
            session._closed = True
            left = [request for request in self._pending if request.session is session]
            self._pending = deque(r for r in self._pending if r.session is not session)
            if session not in self._stepping:  # otherwise `_take` frees it after the step
                self._free.append(session._row)
        self._refuse(left, "the session was closed while the step was waiting")

    def _refuse(self, requests: Any, why: str) -> None:
        waiting = [request for request in requests if request._begin()]
        for request in waiting:
            request._finish(None, RuntimeError(f"step: {why}"))
        tell_loops(waiting)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("pool: expected an open pool, but it has been closed")

    def _check_session(self, session: Session) -> None:
        self._check_open()
        if session._closed:
            raise RuntimeError("session: expected an open session, but it has been closed")


class Session:
    """A sequence in a `StreamPool`, as returned by `StreamPool.open`.

    Leaving a `with` block closes the session.
    """

    __slots__ = ("_closed", "_pool", "_row")

    def __init__(self, pool: StreamPool, row: int) -> None:
        self._pool, self._row, self._closed = pool, row, False

    def step(self, x: ArrayLike) -> RealArray:
        """Compute a step, and wait for it. The argument and errors are those of `submit`.

        Returns:
            The output (H,).
        """
        return self._pool._step(self, x)

    async def astep(self, x: ArrayLike) -> RealArray:
        """Compute a step, and await its output (H,). Argument and errors are those of `submit`."""
        pool = self._pool
        return await pool._enqueue(Awaited(self, pool._checked(x))).future

    def take(self) -> StreamState:
        """Copy the state after the last step, for `StreamPool.open` or `Stream.put`.

        Raises:
            RuntimeError: The session is closed.
        """
        pool = self._pool
        with pool._lock:
            pool._check_session(self)
            return pool._stream.take(self._row)

    def close(self) -> None:
        """Close the session, which frees its place in the pool.

        A step that is being computed is finished; steps that still wait get a RuntimeError.
        """
        self._pool._close_session(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
