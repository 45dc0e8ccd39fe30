"""`rnnfast.StreamPool`: sessions of threads, futures and coroutines, and what can go wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast

T, N, I, H = 12, 10, 6, 9


@pytest.fixture
def x() -> NDArray:
    return np.random.default_rng(0).standard_normal((T, N, I)).astype("f4")


@pytest.fixture
def layer() -> rnnfast.GRU:
    return rnnfast.GRU(I, H, 2, seed=1).eval()


@pytest.fixture
def pool(layer: rnnfast.GRU) -> Iterator[rnnfast.StreamPool]:
    with rnnfast.StreamPool(layer, N) as pool:
        yield pool


class Gate:
    """A stream whose steps wait until it is opened."""

    def __init__(self, pool: rnnfast.StreamPool) -> None:
        self.open, self.entered, self.batches = threading.Event(), threading.Event(), []
        self._stream = pool._stream
        pool._stream = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __call__(self, x: NDArray, rows: NDArray) -> NDArray:
        self.batches.append(len(rows))
        self.entered.set()
        assert self.open.wait(30)
        return self._stream(x, rows)


def test_threads_get_the_bits_of_streams_of_their_own(
    pool: rnnfast.StreamPool, layer: rnnfast.GRU, x: NDArray
) -> None:
    def client(number: int) -> NDArray:
        rng = np.random.default_rng(number)
        with pool.open() as session:
            results = []
            for step in x[:, number]:
                if rng.random() < 0.3:
                    time.sleep(rng.random() / 1000)
                results.append(session.step(step))
            return np.stack(results)

    with ThreadPoolExecutor(N) as clients:
        for _ in range(3):  # sessions take the places of closed ones
            y = np.stack(list(clients.map(client, range(N))), axis=1)
            np.testing.assert_array_equal(y, layer(x)[0])
    stats = pool.stats()
    assert (stats.sessions, stats.steps) == (0, 3 * N * T)
    assert 0 < stats.batches <= stats.steps
    assert 0 < stats.p50 <= stats.p95 <= stats.p99 < 10
    assert stats.steps_per_second > 0


def test_coroutines_get_the_bits_of_streams_of_their_own(
    pool: rnnfast.StreamPool, layer: rnnfast.GRU, x: NDArray
) -> None:
    async def client(number: int) -> NDArray:
        with pool.open() as session:
            return np.stack([await session.astep(step) for step in x[:, number]])

    async def serve() -> list[NDArray]:
        return await asyncio.gather(*map(client, range(N)))

    np.testing.assert_array_equal(np.stack(asyncio.run(serve()), axis=1), layer(x)[0])


def test_futures_of_a_session_come_in_order(
    pool: rnnfast.StreamPool, layer: rnnfast.GRU, x: NDArray
) -> None:
    sessions = [pool.open() for _ in range(N)]
    buffer = np.empty(I, "f4")
    futures = []
    for step in x:
        for session, row in zip(sessions, step, strict=True):
            buffer[:] = row  # the pool has a copy
            futures.append(pool.submit(session, buffer))
    y = np.stack([future.result(30) for future in futures]).reshape(T, N, H)
    np.testing.assert_array_equal(y, layer(x)[0])
    assert pool.stats().batches < T * N


def test_steps_that_come_meanwhile_go_together(pool: rnnfast.StreamPool, x: NDArray) -> None:
    gate = Gate(pool)
    sessions = [pool.open() for _ in range(N)]
    first = pool.submit(sessions[0], x[0, 0])
    assert gate.entered.wait(30)
    later = [pool.submit(s, x[0, 0]) for s in sessions for _ in range(2)]
    gate.open.set()
    for future in [first, *later]:
        future.result(30)
    assert gate.batches == [1, N, N]


@pytest.mark.parametrize("first", [True, False])
def test_reals_and_integers_of_one_session_stay_in_order(
    pool: rnnfast.StreamPool, layer: rnnfast.GRU, first: bool
) -> None:
    gate = Gate(pool)
    one, two = pool.open(), pool.open()
    eye = np.eye(I, dtype="f4")
    blocker = pool.submit(pool.open(), 0)
    assert gate.entered.wait(30)
    order: list[Any] = [3, eye[1], 2, eye[4]]
    futures = [pool.submit(two, 5 if first else eye[5])]
    futures += [pool.submit(one, x) for x in order]
    gate.open.set()
    y = [future.result(30) for future in [blocker, *futures]]
    np.testing.assert_array_equal(np.stack(y[2:]), layer(eye[[3, 1, 2, 4]][:, None])[0][:, 0])


def test_wrong_input_is_the_affair_of_its_caller(pool: rnnfast.StreamPool, x: NDArray) -> None:
    gate = Gate(pool)
    sessions = [pool.open() for _ in range(3)]
    good = [pool.submit(sessions[0], x[0, 0])]
    assert gate.entered.wait(30)
    good.append(pool.submit(sessions[1], x[0, 0]))
    wrong: list[tuple[Any, type[Exception], str]] = [
        (np.zeros(I + 1, "f4"), ValueError, r"x: expected shape \(batch, input_size\) = \(1, 6\)"),
        (np.zeros((1, I), "f4"), ValueError, "x: expected shape"),
        (np.zeros(I, complex), TypeError, "real numbers"),
        (I, IndexError, r"x: expected (an index|indices) in .*\[0, 6\), got 6"),
        (-1, IndexError, "got -1"),
        (0.5, TypeError, "integers"),
        (np.ma.masked_array(np.zeros(I, "f4")), TypeError, "without a mask"),
        ("text", TypeError, "x: expected"),
    ]
    for value, error, message in wrong:
        for ask in (
            lambda value: pool.submit(sessions[2], value),
            sessions[2].step,
            lambda value: asyncio.run(sessions[2].astep(value)),
        ):
            with pytest.raises(error, match=message):
                ask(value)
    good.append(pool.submit(sessions[2], x[0, 0].tolist()))
    gate.open.set()
    for future in good:
        np.testing.assert_array_equal(future.result(30), good[0].result())


def test_an_error_of_the_model_reaches_those_who_wait_for_it(
    pool: rnnfast.StreamPool, layer: rnnfast.GRU, x: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(pool)
    sessions = [pool.open() for _ in range(3)]
    first = pool.submit(sessions[0], x[0, 0])
    assert gate.entered.wait(30)

    def fail(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(type(pool._stream), "__call__", fail)
    failing = [pool.submit(session, x[0, 0]) for session in sessions[1:]]
    gate.open.set()
    first.result(30)
    for future in failing:
        with pytest.raises(MemoryError, match="no room"):
            future.result(30)
    for ask in (sessions[1].step, lambda row: asyncio.run(sessions[1].astep(row))):
        with pytest.raises(MemoryError, match="no room"):
            ask(x[0, 0])
    monkeypatch.undo()
    assert pool.stats().steps == 1
    np.testing.assert_array_equal(sessions[1].step(x[0, 0]), layer(x[:1, :1])[0][0, 0])


def test_a_session_closed_while_its_step_waits(pool: rnnfast.StreamPool, x: NDArray) -> None:
    gate = Gate(pool)
    one, two = pool.open(), pool.open()
    taken = pool.submit(one, x[0, 0])
    assert gate.entered.wait(30)
    waits, other = pool.submit(one, x[1, 0]), pool.submit(two, x[0, 0])
    thread_error: list[BaseException] = []

    def blocked() -> None:
        try:
            two.step(x[1, 0])
        except RuntimeError as error:
            thread_error.append(error)

    thread = threading.Thread(target=blocked)
    thread.start()
    while len(pool._pending) < 3:
        time.sleep(0.001)
    one.close()
    one.close()
    two.close()
    thread.join(30)
    assert "closed while the step was waiting" in str(thread_error)
    for future in (waits, other):
        with pytest.raises(RuntimeError, match="the session was closed while the step was waiting"):
            future.result(30)
    assert pool.stats().sessions == 1  # its step is still running
    gate.open.set()
    assert taken.result(30).shape == (H,)
    for call in (one.step, lambda row: pool.submit(one, row)):
        with pytest.raises(RuntimeError, match="session: expected an open session"):
            call(x[0, 0])
    with pytest.raises(RuntimeError, match="session: expected an open session"):
        one.take()
    rest = [pool.open() for _ in range(N)]  # all places are free again
    assert len({session._row for session in rest}) == N


def test_cancelled_steps_are_not_taken(
    pool: rnnfast.StreamPool, layer: rnnfast.GRU, x: NDArray
) -> None:
    gate = Gate(pool)
    one, two = pool.open(), pool.open()
    first = pool.submit(one, x[0, 0])
    assert gate.entered.wait(30)
    dropped, kept = pool.submit(two, x[1, 0]), pool.submit(two, x[0, 0])
    assert dropped.cancel()

    async def give_up() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(one.astep(x[1, 0]), 0.001)

    asyncio.run(give_up())  # the loop is closed when the pool gets to the step
    last = pool.submit(one, x[1, 0])
    gate.open.set()
    expected = layer(x[:2, :1])[0]
    np.testing.assert_array_equal(kept.result(30), expected[0, 0])
    np.testing.assert_array_equal(first.result(30), expected[0, 0])
    np.testing.assert_array_equal(last.result(30), expected[1, 0])


def test_a_pool_that_is_closed(layer: rnnfast.GRU, x: NDArray) -> None:
    pool = rnnfast.StreamPool(layer, 2)
    gate = Gate(pool)
    session = pool.open()
    taken = pool.submit(session, x[0, 0])
    assert gate.entered.wait(30)
    waits = pool.submit(session, x[1, 0])
    closing = threading.Thread(target=pool.close)
    closing.start()
    with pytest.raises(RuntimeError, match="the pool was closed while the step was waiting"):
        waits.result(30)
    gate.open.set()
    assert taken.result(30).shape == (H,)
    closing.join(30)
    assert not pool._thread.is_alive()
    pool.close()
    session.close()
    for call in (pool.open, lambda: session.step(x[0, 0])):
        with pytest.raises(RuntimeError, match="pool: expected an open pool"):
            call()


def test_sessions_move_between_pools(layer: rnnfast.GRU, x: NDArray) -> None:
    y = layer(x)[0]
    with rnnfast.StreamPool(layer, 1) as one, rnnfast.StreamPool(layer, 3) as two:
        session = one.open()
        for step in x[:5, 0]:
            session.step(step)
        with pytest.raises(RuntimeError, match="less than capacity = 1 open sessions"):
            one.open()
        moved = two.open(session.take())
        np.testing.assert_array_equal(np.stack([moved.step(step) for step in x[5:, 0]]), y[5:, 0])
        with pytest.raises(ValueError, match="session: expected a session of this pool"):
            two.submit(session, x[0, 0])
        stream = layer.stream(2)
        with pytest.raises(ValueError, match="expected 1 sequences, got 2"):
            two.open(stream.take())
        with pytest.raises(TypeError, match="expected StreamState"):
            two.open(y)  # type: ignore[arg-type]
        assert two.stats().sessions == 1


def test_a_pool_serves_a_whole_model() -> None:
    model = rnnfast.Sequential(
        rnnfast.Embedding(20, I, seed=0), rnnfast.LSTM(I, H, seed=0), rnnfast.Linear(H, 3, seed=0)
    ).eval()
    indices = np.random.default_rng(0).integers(0, 20, (T, 1))
    with rnnfast.StreamPool(model, 4) as pool, pool.open() as session:
        y = np.stack([session.step(index) for index in indices[:, 0]])
        with pytest.raises(IndexError, match="got 20"):
            session.step(20)
    np.testing.assert_array_equal(y, model(indices)[:, 0])


def test_arguments_of_a_pool(layer: rnnfast.GRU) -> None:
    with pytest.raises(ValueError, match="capacity: expected at least 1, got 0"):
        rnnfast.StreamPool(layer, 0)
    with pytest.raises(ValueError, match="one direction"):
        rnnfast.StreamPool(rnnfast.GRU(I, H, bidirectional=True), 1)
    with rnnfast.StreamPool(layer, 1) as pool:
        stats = pool.stats()
        assert (stats.sessions, stats.steps, stats.batches, stats.steps_per_second) == (0, 0, 0, 0)
        with pytest.raises(TypeError, match="session: expected Session, got int"):
            pool.submit(0, np.zeros(I))  # type: ignore[arg-type]
