"""The examples: their types, the forecast of 12 lines, and the experiments on gradients."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnnfast

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))


def test_the_forecast_is_12_lines_and_right() -> None:
    source = ROOT / "examples" / "forecast.py"
    lines = {node.lineno for node in ast.parse(source.read_text()).body}
    assert len(lines) - 1 <= 12  # without the docstring
    done = subprocess.run(
        [sys.executable, str(source)], capture_output=True, text=True, timeout=120, check=True
    )
    error = re.search(r"largest error ([\d.e-]+)", done.stdout)
    assert error
    assert float(error[1]) < 0.05  # for a wave from -1 to 1


@pytest.mark.slow
def test_gradients_vanish_hold_and_explode_as_predicted(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    command = [sys.executable, "-m", "examples.gradients", "--quick", "--output", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300, check=True)
    found = json.loads((tmp_path / "results.json").read_text())
    for row in found["singular values"]:
        s = row["singular value"]
        assert math.isclose(row["factor per step"], s, rel_tol=1e-12)
        assert math.isclose(row["gradient after 100 steps"], s**100, rel_tol=1e-9)
        assert row["factor per step, with inputs"] < s
    unclipped, clipped, steeper, its_clipped = found["clipping"]
    assert unclipped["largest loss"] > 1e5 > 1 > clipped["largest loss"]
    assert steeper["updates"] < 5 < its_clipped["updates"]
    for row in found["forget gates"]:
        assert math.isclose(row["gradient of c after 500 steps"], row["f"] ** 500, rel_tol=1e-9)
    initial = {row["network"]: row["gradient after 200 steps"] for row in found["initial weights"]}
    assert initial["tanh, uniform"] < 1e-30
    assert initial["ReLU, identity (IRNN)"] > 0.5
    assert initial["LSTM, bias 0"] < initial["LSTM, bias 1"] < 1e-10 < initial["LSTM, chrono 200"]
    plain, residual, highway, closed = (r["gradient after 50 layers"] for r in found["depth"])
    assert plain < 1e-9 < highway < closed < 1 < residual
    assert math.isclose(highway ** (1 / 50), 1 - 1 / (1 + math.exp(2)), rel_tol=0.02)
    learned = {(o["run"]["task"], o["run"]["network"]): o["solved_after"] for o in found["tasks"]}
    for network in ("LSTM", "GRU, reset after", "GRU, reset before"):
        assert learned["adding", network] is not None
    assert learned["adding", "tanh RNN"] is None
    drawn = {path.stem for path in tmp_path.glob("*.svg")}
    assert drawn == {"singular_values", "clipping", "forget_gates", "initial_weights", "depth",
                     "adding", "copying"}  # fmt: skip


@pytest.mark.slow
def test_examples_pass_mypy_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other packages count as untyped, because the tests may run without them."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    source = Path(rnnfast.__file__).parent.parent
    bases = [str(ROOT)]  # of the package `examples`
    if source.name != "site-packages":  # mypy ignores what .pth files add
        bases.append(str(source))
    monkeypatch.setenv("MYPYPATH", os.pathsep.join(bases))
    output, _, status = api.run(
        ["--strict", "--allow-subclassing-any", "--ignore-missing-imports",
         "--explicit-package-bases", "--untyped-calls-exclude", "distributed", "--config-file",
         str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path), *map(str, EXAMPLES)]
    )  # fmt: skip
    assert status == 0, output
