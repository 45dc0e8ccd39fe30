"""The benchmark runs, compares before it times, and writes what it promises; no speed is tested."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnnfast
from rnnfast._engine.known import COMPILED
from rnnfast.benchmark import (
    MODES,
    PEERS,
    Case,
    Shape,
    contestants,
    make_data,
    measure,
    report,
    run_case,
)
from rnnfast.benchmark.machine import Peaks, probe
from rnnfast.cli import run

pytestmark = pytest.mark.usefixtures("threads")

SHAPE = Shape(3, 2, 5, 9)
PEAKS = Peaks(1e9, ((1 << 12, 2e9), (1 << 20, 1e9)))
BENCH = ["bench", "--shape", str(SHAPE), "--seconds", "0.001", "--threads", "1"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("cell", COMPILED)
def test_peers_agree(cell: str, dtype: str, mode: str) -> None:
    case = Case(cell, SHAPE, mode, dtype)
    result = run_case(case, list(PEERS), PEAKS, 1e-3)
    assert {"rnnfast", "numpy"} <= set(result.measurement.timings)
    assert set(result.measurement.timings) | set(result.absent) == {"rnnfast", *PEERS}
    assert not any("differs" in why for why in result.absent.values()), result.absent


def test_torch_is_timed_where_it_is_installed() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    case = Case(contestants.rnnfast.LSTM(1, 1).cell, SHAPE, "training")
    assert run_case(case, ["torch"], PEAKS, 1e-3).ratio("torch") is not None


def test_loops_of_jax_are_timed_where_jax_is_installed() -> None:
    pytest.importorskip("jax", reason="jax is not installed")
    cell, cpus = contestants.rnnfast.GRU(1, 1).cell, len(os.sched_getaffinity(0))
    loops = [name for name in PEERS if name.startswith("jax")]
    for mode in MODES:
        result = run_case(Case(cell, SHAPE, mode, threads=cpus), loops, PEAKS, 1e-3)
        assert set(result.measurement.timings) == {"rnnfast", *loops}, result.absent


def test_no_ratio_where_results_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    call = (lambda: None, lambda _: {"y": np.zeros((3, 2, 9), np.float32)})
    monkeypatch.setitem(PEERS, "numpy", lambda case, data: call)  # noqa: ARG005
    result = run_case(Case(COMPILED[0], SHAPE), ["numpy"], PEAKS, 1e-3)
    assert result.ratio("numpy") is None
    assert result.absent["numpy"].startswith("differs from rnnfast by ")


@pytest.mark.parametrize(
    ("got", "expected"),
    [({"y": np.array([1.0, np.nan])}, np.inf), ({"y": np.array([1.0, 3.0])}, 0.5)],
)
def test_difference(got: dict[str, np.ndarray], expected: float) -> None:
    assert contestants.difference(got, {"y": np.array([1.0, 2.0])}) == expected


def test_difference_refuses_what_is_missing() -> None:
    with pytest.raises(ValueError, match="dx: expected an array of shape"):
        contestants.difference({"y": np.ones(1)}, {"dx": np.ones(1)})


def test_operations_and_bytes_of_a_case() -> None:
    cell = contestants.rnnfast.LSTM(1, 1).cell
    case, step = Case(cell, Shape(10, 3, 4, 5)), Case(cell, Shape(10, 3, 4, 5), "training")
    assert case.flops == 2 * 10 * 3 * (4 + 5) * 4 * 5
    assert step.flops == 3 * case.flops
    assert case.least_bytes == 4 * (4 * 5 * (4 + 5) + 10 * 3 * (4 + 5))
    assert make_data(case).weights.weight_ih.shape == (20, 4)


def test_floor_is_the_slower_of_operations_and_traffic() -> None:
    cell = contestants.rnnfast.RNN(1, 1).cell
    stream, heavy = Case(cell, Shape(1, 1, 8, 8)), Case(cell, Shape(64, 64, 64, 64))
    assert PEAKS.floor(stream) == stream.least_bytes / 2e9
    assert PEAKS.floor(heavy) == heavy.flops / 1e9
    assert PEAKS.bandwidth_for(1 << 30) == 1e9


def test_contestants_take_turns() -> None:
    order: list[str] = []

    def contestant(name: str) -> object:
        def timed(calls: int) -> float:
            order.append(name)
            return float(calls)

        return timed

    found = measure({"a": contestant("a"), "b": contestant("b")}, 1e-3)
    rounds = [order[i : i + 4] for i in range(2, len(order), 4)]
    assert ["a", "a", "b", "b"] in rounds
    assert ["b", "b", "a", "a"] in rounds
    assert found.timings["a"].median == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_probe(dtype: str) -> None:
    peaks = probe(dtype, 1, [1 << 14, 1 << 20])
    assert peaks.flops > 1e8
    assert all(rate > 1e8 for _, rate in peaks.bandwidth)


def test_command_writes_facts_and_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    assert run([*BENCH, "--peers", "none", "--json", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    written = json.loads(file.read_text())
    assert len(written["results"]) == 2 * len(COMPILED)
    firsts = [line.split(" ")[0] for line in lines]
    cells = [first for first in firsts if first in COMPILED]
    assert cells == [r["cell"] for r in written["results"]]
    assert lines[0] == f"T,B,I,H = {SHAPE}: inference, float32, 1 thread"
    assert max(map(len, lines)) < 80
    for fact in ("date", "cpu", "isa", "rnnfast", "numpy", "torch", "huge_pages", "allocator"):
        assert fact in written["machine"]
    assert written["peaks"][0]["threads"] == 1


def test_results_beside_the_usual_peers_fit_a_terminal_of_80_columns() -> None:
    timing = {"median": 123.4, "low": 1.0, "high": 9999.0}
    record = {
        "cell": max(COMPILED, key=len),
        **Shape(1000, 1024, 10240, 10240)._asdict(),
        "mode": "new-weights",
        "dtype": "bfloat16",
        "threads": 128,
        "seconds": {"rnnfast": timing},
        "flops": 1e15,
        "share_of_peak": 1.0,
        "times_floor": 123.45,
        "ratios": {"torch": 123.456, "onnxruntime": 123.456},
        "busy": True,
    }
    shown = list(report.lines([record, {**record, "threads": 1}], ["torch", "onnxruntime"]))
    assert max(map(len, shown)) < 80
    starts = ["T,B,I,H", "cell   ", record["cell"][:7]]
    assert [line[:7] for line in shown] == [*starts, "", *starts]
    assert max(map(len, report.LEGEND.splitlines())) < 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "1,2,3"], "shape: expected T,B,I,H"),
        (["--shape", "1,0,3,4"], "shape: expected at least 1"),
        (["--cell", "nothing"], "cell: expected a name in rnnfast.cells.ZOO"),
        (["--peers", "nobody"], "peers: expected one of"),
        (["--mode", "sleep"], "mode: expected one of"),
        (["--dtype", "int8"], "dtype: expected one of float32, float64, bfloat16"),
        (["--threads", "99999999999"], "threads: expected at most 1024, got 99999999999"),
        (["--json", "gone/results.json"], "gone/results.json: cannot be written: "),
        (["--json", "/"], "/: cannot be written: it is a directory, not a regular file"),
    ],
)
def test_command_refuses(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_full_runner(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "benchmarks" / "run.py"
    cell = contestants.rnnfast.GRU(1, 1).cell
    options = ["--shape", str(SHAPE), "--cell", cell, "--mode", "training", "--threads", "1"]
    options += ["--seconds", "0.001", "--output", str(tmp_path), "--peers", "torch", "numpy"]
    subprocess.run([sys.executable, str(script), *options], check=True, capture_output=True)
    runs = json.loads((tmp_path / "results.json").read_text())
    torch, numpy, tuned = runs
    assert [r["allocator"] for r in runs] == ["default", "default", "tuned"]
    assert [r["peer"] for r in runs] == ["torch", "numpy", "torch"]
    assert "MALLOC_TOP_PAD_" not in torch["machine"]["allocator"]
    assert "MALLOC_TOP_PAD_" in tuned["machine"]["allocator"]
    table = (tmp_path / "table.txt").read_text()
    assert cell in table
    assert f"{numpy['results'][0]['ratios']['numpy']:.2f}" in table
    if importlib.util.find_spec("matplotlib") is not None:
        assert (tmp_path / "roofline.svg").exists()


def test_training_steps_agree_with_torch() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    script = Path(__file__).parent.parent / "benchmarks" / "training_step.py"
    options = ["--shape", "3,4,9,2", "--seconds", "0.001", "--threads", "1"]
    for embedding in ("0", "5"):
        command = [sys.executable, str(script), *options, "--embedding", embedding]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stdout.count("loss differs by") == 4  # two cells, two allocators


@pytest.mark.slow
def test_quantised_layers_agree_with_those_of_others() -> None:
    for peer in ("torch", "onnxruntime"):
        pytest.importorskip(peer, reason=f"{peer} is not installed")
    script = Path(__file__).parent.parent / "benchmarks" / "int8.py"
    options = ["--hidden", "40", "--threads", "1", "--shape", "1,1", "3,2", "--seconds", "0.001"]
    command = [sys.executable, str(script), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.count("onnxruntime int8") == 2 * 3  # errors, and times of two shapes


@pytest.mark.slow
def test_neighbours() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    script = Path(__file__).parent.parent / "benchmarks" / "neighbours.py"
    command = [sys.executable, str(script), "--shape", str(SHAPE), "--seconds", "0.01"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.count(str(SHAPE)) == 2 + 5


@pytest.mark.slow
def test_two_threads() -> None:
    script = Path(__file__).parent.parent / "benchmarks" / "two_threads.py"
    command = [sys.executable, str(script), "--shape", str(SHAPE), "--seconds", "0.01"]
    done = subprocess.run(command, capture_output=True, text=True)
    if rnnfast.cpu_info()["cpus"] == 1:
        assert "two threads need two CPUs" in done.stderr
    else:
        assert done.stdout.count(str(SHAPE)) == 6, done.stderr


def test_accuracy() -> None:
    for package in ("torch", "onnxruntime", "scipy"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    script = Path(__file__).parent.parent / "benchmarks" / "accuracy.py"
    for options in (["functions", "--stride", "10000019"], ["cells", "--shape", str(SHAPE)]):
        command = [sys.executable, str(script), *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stdout.count("rnnfast") == 6
        assert "inf" not in done.stdout.replace("inference", "")
