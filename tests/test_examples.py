"""The examples: their types, and the forecast of 12 lines."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnnfast

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


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
def test_examples_pass_mypy_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch, mpi4py and Dask count as untyped, because the tests may run without them."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    source = Path(rnnfast.__file__).parent.parent
    if source.name != "site-packages":  # mypy ignores what .pth files add
        monkeypatch.setenv("MYPYPATH", str(source))
    output, _, status = api.run(
        ["--strict", "--allow-subclassing-any", "--ignore-missing-imports",
         "--untyped-calls-exclude", "distributed", "--config-file",
         str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path), *map(str, EXAMPLES)]
    )  # fmt: skip
    assert status == 0, output
