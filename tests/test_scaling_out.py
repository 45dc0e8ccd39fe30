"""Several processes: data-parallel training over MPI, and a search on Dask workers."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

# The parts have unequal sizes; an error in one step would show in the next.
PARALLEL = """
import sys
import numpy as np
from mpi4py import MPI
sys.path.insert(0, sys.argv[1])
import rnnfast
from data_parallel_mpi import add_gradients, make_model

rnnfast.set_num_threads(1)

def steps(comm):
    model, data = make_model("float64"), np.random.default_rng(1)
    optimizer = rnnfast.SGD(model, lr=0.01)
    for _ in range(3):
        x = data.random((20, 31, 1))
        loss = add_gradients(comm, model, x, x.sum(0))
        gradients = [parameter.grad.copy() for parameter in model.parameters()]
        yield loss, np.concatenate([gradient.ravel() for gradient in gradients])
        optimizer.step(zero_grad=True)

world = MPI.COMM_WORLD
assert world.size == 2
for step, (parallel, alone) in enumerate(zip(steps(world), steps(MPI.COMM_SELF), strict=True)):
    if world.rank == 0:
        print(step, abs(parallel[0] - alone[0]) / alone[0],
              abs(parallel[1] - alone[1]).max() / abs(alone[1]).max())
    bits = world.allgather(parallel[1].tobytes())
    assert bits[0] == bits[1]
"""


def mpiexec() -> list[str]:
    """Return the command that starts two processes, or skip the test."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    beside = Path(sys.executable).parent / "mpiexec"
    command = str(beside) if beside.exists() else shutil.which("mpiexec")
    if command is None:
        pytest.skip("no MPI is installed")
    return [command, "-n", "2", sys.executable]


def run(command: list[str]) -> str:
    environment = {n: v for n, v in os.environ.items() if n != "PYTEST_XDIST_WORKER"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_processes_of_mpi_give_the_gradients_of_one(tmp_path: Path) -> None:
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL)
    rows = np.array(
        [line.split() for line in run([*mpiexec(), str(script), str(EXAMPLES)]).splitlines()]
    )
    assert len(rows) == 3
    # A gradient sums 20 steps of 31 sequences. Sums in another order differ by less than one
    # rounding per term.
    assert (rows[:, 1:].astype(float) < 20 * 31 * np.finfo(np.float64).eps).all(), rows


def test_the_example_of_mpi_learns() -> None:
    output = run([*mpiexec(), str(EXAMPLES / "data_parallel_mpi.py"), "--steps", "101"])
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", output)]
    assert len(losses) == 3
    assert losses[-1] < losses[0] / 20


@pytest.mark.slow  # starts processes
def test_a_search_on_two_workers_of_dask() -> None:
    pytest.importorskip("distributed", reason="dask's distributed is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    output = run([sys.executable, str(EXAMPLES / "search_dask.py"), "--members", "2"])
    errors = {row[1]: float(row[0]) for row in re.findall(r"error ([\d.]+) of ({.*})", output)}
    assert len(errors) == 4
    assert set(re.findall(r"on worker (\d)", output)) == {"0", "1"}
    best = re.search(r"best ({.*})", output)
    assert best
    assert errors[best[1]] == min(errors.values())
    # The series is known, so the forecast must be close to its continuation without noise.
    forecast = ast.literal_eval(output.partition("forecast")[2].strip())
    months = np.arange(300, 312)
    truth = np.sin(months * np.pi / 6) + months / 60
    assert np.abs(np.array(forecast) - truth).mean() < 0.3
