"""What calls keep in memory: the reserve, a million steps, and nothing after a million calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnnfast
from rnnfast import functional

ROOT = Path(__file__).parents[1]

# Values per hidden unit and step without which backward would have to repeat a product.
LEAST = {
    "rnn_tanh": 0,
    "rnn_relu": 0,
    "lstm": 5,
    "peephole_lstm": 5,
    "gru": 4,
    "gru_reset_before": 3,
    "mut3": 3,
    "nas": 10,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", LEAST)
def test_reserve_is_close_to_the_least(cell: str, dtype: type[np.floating]) -> None:
    T, B, H = 20, 4, 192
    layer = rnnfast.Recurrent(cell, 3, H, dtype=dtype, seed=1)
    weights = [functional.Weights(**{n[:-3]: w for n, w in layer.state_dict().items()})]
    _, _, reserve = functional.forward(cell, np.ones((T, B, 3), dtype), weights, training=True)
    assert reserve is not None
    least = LEAST[cell] * T * B * H * np.dtype(dtype).itemsize
    assert least <= reserve.nbytes <= 1.1 * least


def run_script(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_million_steps_in_a_gibibyte(cell: str) -> None:
    """The limit is for the process with x, y and the gradient of y; the latter two take 977 MiB."""
    done = run_script("benchmarks/long_sequence.py", "--cell", cell, "--hidden-size", "128")
    assert done.returncode == 0, done.stderr
    figures = {
        name: float(value)
        for name, value in (line.split(": ") for line in done.stdout.splitlines())
    }
    assert 980 < figures["peak MiB"] < 1024


@pytest.mark.slow
def test_a_million_calls_leave_memory_as_it_was() -> None:
    done = run_script("tools/check_leaks.py", "--calls", "1000000")
    assert done.returncode == 0, done.stdout + done.stderr
