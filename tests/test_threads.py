"""Calls from several Python threads and after a fork."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from rnnfast import _core, functional
from rnnfast._engine import network

pytestmark = pytest.mark.usefixtures("threads")

T, B, I, H = 12, 24, 40, 72  # enough work for more than one thread


def training_step(seed: int) -> list[np.ndarray]:
    """Run one LSTM layer forward and backward, and return all results."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0.0, 0.3, shape).astype(np.float32)

    weights = functional.Weights(normal(4 * H, I), normal(4 * H, H), normal(4 * H), normal(4 * H))
    y, state, reserve = functional.forward("lstm", normal(T, B, I), [weights], training=True)
    dx, dstate, (dweights,) = functional.backward(reserve, normal(*y.shape))
    return [y, *state, dx, *dstate, *(dw for dw in dweights if dw is not None)]


def assert_same(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_concurrent_calls_neither_deadlock_nor_disturb_each_other() -> None:
    rnnfast.set_num_threads(2)
    callers = 4
    expected = [training_step(seed) for seed in range(callers)]
    results: list[list[list[np.ndarray]]] = [[] for _ in range(callers)]
    start = threading.Barrier(callers)

    def call(seed: int) -> None:
        start.wait()
        results[seed].extend(training_step(seed) for _ in range(20))

    # Use daemon threads: a deadlock must fail this test, not hang the run.
    running = [threading.Thread(target=call, args=(seed,), daemon=True) for seed in range(callers)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
        assert not thread.is_alive(), "a concurrent call did not return"
    for seed in range(callers):
        assert len(results[seed]) == 20
        for result in results[seed]:
            assert_same(result, expected[seed])


def test_threads_share_a_layer_in_evaluation() -> None:
    """The first call packs its weights, so each turn of the threads has a layer of its own."""
    x = np.random.default_rng(0).standard_normal((30, 4, 8), np.float32)
    callers = 6
    for seed in range(10):
        layer = rnnfast.LSTM(8, 24, num_layers=2, seed=seed)
        expected = layer.call(x).y
        layer.eval()
        start = threading.Barrier(callers)

        def outputs(layer: rnnfast.LSTM = layer, start: threading.Barrier = start) -> list[Any]:
            start.wait(timeout=60)
            stream = layer.stream(4)
            return [layer(x)[0], np.stack([stream(step) for step in x]), layer(x)[0]]

        with ThreadPoolExecutor(callers) as pool:
            running = [pool.submit(outputs) for _ in range(callers)]
            for result in running:
                assert_same(result.result(timeout=60), [expected] * 3)


@pytest.mark.parametrize(("cell", "training"), [("rnn_tanh", True), ("lstm", False)])
def test_a_thread_that_wakes_late_finds_its_gates(cell: str, training: bool) -> None:
    """Without saved gates, the chunks of a pass share a buffer that must wait for the last one."""
    case = Case(cell, T=40, B=61, I=33, H=70, L=2, D=2, lengths=True)
    data = cases.make_data(case)
    weights = [functional.Weights(*w) for w in data.weights]

    def outputs() -> np.ndarray:
        options = case.options | {"lengths": data.lengths, "training": training}
        return functional.forward(cell, data.x, weights, data.state, **options)[0]

    rnnfast.set_num_threads(1)
    alone = outputs()
    for i in range(40):
        rnnfast.set_num_threads(2 + i % 3)
        time.sleep(0.03)  # the runtime's idle threads go to sleep
        np.testing.assert_array_equal(outputs(), alone)


FORK = textwrap.dedent(
    """
    import os, sys
    sys.path.insert(0, sys.argv[1])
    import rnnfast
    from test_threads import assert_same, training_step

    rnnfast.set_num_threads(2)
    before = training_step(1)  # the OpenMP runtime's workers exist from here on
    child = os.fork()
    if child == 0:
        assert rnnfast.get_num_threads() == 1, rnnfast.get_num_threads()
        assert_same(training_step(1), before)
        os._exit(17)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert_same(training_step(1), before)
    assert rnnfast.get_num_threads() == 2
    """
)


def test_a_forked_child_computes_on_one_thread(request: pytest.FixtureRequest) -> None:
    # Run in a separate process, because Python warns about forks of processes with threads.
    subprocess.run([sys.executable, "-c", FORK, str(request.path.parent)], check=True, timeout=120)


FORK_WHILE_BUSY = textwrap.dedent(
    """
    import os, sys, threading
    sys.path.insert(0, sys.argv[1])
    import rnnfast
    from test_threads import assert_same, training_step

    rnnfast.set_num_threads(2)
    expected, stop = training_step(1), threading.Event()

    def call():
        while not stop.is_set():
            training_step(2)

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for _ in range(20):  # a call, a team or an allocation is under way at most of them
        child = os.fork()
        if child == 0:
            assert_same(training_step(1), expected)
            os._exit(17)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    stop.set()
    for caller in callers:
        caller.join()
    assert_same(training_step(1), expected)
    """
)


def test_a_child_forked_while_calls_run_computes(request: pytest.FixtureRequest) -> None:
    script = [sys.executable, "-c", FORK_WHILE_BUSY, str(request.path.parent)]
    subprocess.run(script, check=True, timeout=120)


SHORT_LIVED = textwrap.dedent(
    """
    import os, sys, threading, time
    sys.path.insert(0, sys.argv[1])
    import rnnfast
    from test_threads import assert_same, training_step

    rnnfast.set_num_threads(2)
    expected = training_step(1)
    before = len(os.listdir("/proc/self/task"))
    def wait_for_helpers_to_end():  # by themselves, a little later than their caller
        end = time.monotonic() + 30
        while len(os.listdir("/proc/self/task")) > before:
            assert time.monotonic() < end, "threads were left behind"
            time.sleep(0.001)

    for _ in range(30):
        results = []
        callers = [
            threading.Thread(target=lambda: results.append(training_step(1))) for _ in range(3)
        ]
        for caller in callers:
            caller.start()
        # Each caller may have one helper, and no more than that.
        assert len(os.listdir("/proc/self/task")) <= before + 2 * len(callers)
        for caller in callers:
            caller.join()
        for result in results:
            assert_same(result, expected)
        wait_for_helpers_to_end()
    """
)


def test_callers_that_end_leave_no_threads_behind(request: pytest.FixtureRequest) -> None:
    script = [sys.executable, "-c", SHORT_LIVED, str(request.path.parent)]
    subprocess.run(script, check=True, timeout=120)


ONE_POOL = textwrap.dedent(
    """
    import sys
    first, second, tests = sys.argv[1:]
    sys.path.insert(0, tests)
    __import__(first), __import__(second)
    import rnnfast, torch
    from test_threads import assert_same, training_step

    torch.set_num_threads(2)
    rnnfast.set_num_threads(1)
    expected = training_step(1)
    rnnfast.set_num_threads(2)
    for _ in range(20):
        torch.mm(torch.ones(300, 300), torch.ones(300, 300))
        assert_same(training_step(1), expected)
    with open("/proc/self/maps") as maps:
        runtimes = {line.split()[-1] for line in maps if "omp" in line.split("/")[-1]}
    assert len(runtimes) == 1, runtimes
    """
)


@pytest.mark.parametrize("order", [("torch", "rnnfast"), ("rnnfast", "torch")])
def test_one_openmp_runtime_beside_torch(
    order: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    script = [sys.executable, "-c", ONE_POOL, *order, str(request.path.parent)]
    subprocess.run(script, check=True, timeout=120)


@pytest.mark.parametrize("n", [0, -1, 1025, 2**31 - 1, 2**31, 2**40, 2**64])
def test_set_num_threads_refuses(n: int) -> None:
    with pytest.raises(ValueError, match=f"n: expected at (least 1|most 1024), got {n}"):
        rnnfast.set_num_threads(n)


@pytest.mark.parametrize(("n", "got"), [(2.5, "float"), (None, "NoneType"), ("2", "str")])
def test_set_num_threads_takes_integers_only(n: Any, got: str) -> None:
    with pytest.raises(TypeError, match=f"n: expected an integer, got {got}"):
        rnnfast.set_num_threads(n)


@pytest.mark.usefixtures("threads")
def test_a_call_uses_no_more_threads_than_cpus_or_8() -> None:
    most = max(rnnfast.cpu_info()["cpus"], 8)
    for asked in (1, most, most + 1, 1024):
        rnnfast.set_num_threads(asked)
        assert rnnfast.get_num_threads() == min(asked, most)


def test_no_number_of_threads_that_a_call_is_given_ends_the_process() -> None:
    """PyTorch passes its number of threads with each call, which is bounded as well."""
    weights = [functional.Weights(*(np.zeros(s, np.float32) for s in ((400, 65), (400, 100))))]
    x = np.zeros((50, 64, 65), np.float32)
    for threads in (2**31 - 1, 100_000, -1):
        options = network.network_options("lstm", threads=threads)
        assert _core.forward(options, x, weights, None, None, None, 0) is not None


AT_EXIT = textwrap.dedent(
    """
    import sys, threading, time
    import numpy as np, rnnfast
    from rnnfast import _core

    zeros = lambda *shape: np.zeros(shape, np.float32)
    gru, x = rnnfast.GRU(64, 128), zeros(50, 50, 64)
    y, _ = gru.eval()(x)
    rows, matrix = zeros(3000, 300), zeros(300, 300)
    table, indices = zeros(100, 300), np.zeros(30_000, np.int64)
    group = _core.group(lists=[[zeros(1_000_000)]])
    care = _core.care(clip_norm=1.0)

    def train():
        gru.train()(x)
        gru.backward(y)

    call = {
        "forward": lambda: rnnfast.GRU(64, 128).eval()(x),
        "training": train,
        "linear": lambda: _core.linear_forward(x=rows, weight=matrix, bias=None),
        "embedding": lambda: _core.embedding_forward(weight=table, indices=indices),
        "cross_entropy": lambda: _core.cross_entropy(
            logits=rows, targets=indices[:3000], ignore_index=-1, need_gradient=True
        ),
        "ctc": lambda: rnnfast.ctc(zeros(200, 20, 30), [[1] * 40] * 20, [200] * 20, [40] * 20),
        "gradients": lambda: _core.gradients(group=group, care=care),
        "bandwidth": lambda: _core._bandwidth(1 << 20, 0.01),
    }[sys.argv[1]]

    def repeat():
        while True:
            call()

    for _ in range(1 if sys.argv[1] == "training" else 2):
        threading.Thread(target=repeat, daemon=True).start()
    time.sleep(0.2)
    """
)


@pytest.mark.parametrize(
    "call",
    [
        "forward",
        "training",
        "linear",
        "embedding",
        "cross_entropy",
        "ctc",
        "gradients",
        "bandwidth",
    ],
)
def test_a_daemon_thread_inside_a_call_lets_the_process_end(call: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, call],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
