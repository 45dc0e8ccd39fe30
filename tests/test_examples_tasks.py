"""The examples that are tasks: each reaches the bar that it states for its short form."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = sorted(program.parent.name for program in (ROOT / "examples").glob("*/__main__.py"))
TASKS = [name for name in PROGRAMS if name != "gradients"]  # experiments; see test_examples.py
# What examples need beside scikit-learn and Matplotlib, by the names of modules.
PACKAGES = {
    "captioning": "torch",
    "draw": "torch",
    "glimpses": "torch",
    "language_of_a_word": "spellchecker",
    "navigation": "torch",
    "seq2seq": "torch",
    "tagger": "HanTa",
    "time_series": "statsmodels",
    "video_captioning": "torch",
    "visual_dialog": "torch",
    "vqa": "torch",
}


def run(module: str, *options: str) -> str:
    """Return what `python -m MODULE` prints in the root of the repository, run on one thread.

    Other tests run beside it, and threads that wait for each other would slow both down.
    """
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT, env=one_thread
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def quick_bar(task: str) -> float:
    """Return the constant QUICK_BAR of an example, which `--quick` is to reach."""
    tree = ast.parse((ROOT / "examples" / task / "__main__.py").read_text())
    values = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return float(ast.literal_eval(values["QUICK_BAR"]))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_short_form_reaches_its_bar(task: str, tmp_path: Path) -> None:
    for package in ("sklearn", "matplotlib", PACKAGES.get(task, "sklearn")):
        pytest.importorskip(package, reason=f"{package} is not installed")
    printed = run(f"examples.{task}", "--quick", "--seed", "1", "--output", str(tmp_path))
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result) == {"name", "figure", "value", "baseline", "seconds", "seed"}
    assert (result["name"], result["seed"]) == (task, 1)
    assert result["value"] >= quick_bar(task)
    figures = f"{result['figure']} {result['value']:.4f}, baseline {result['baseline']:.4f}"
    assert printed.splitlines()[-1].startswith(f"{task}: {figures}")
    pictures = [tmp_path / f"{task}.png", tmp_path / f"{task}.svg"]
    assert any(picture.exists() and picture.stat().st_size < 100_000 for picture in pictures)


def test_the_list_has_a_line_for_each_program() -> None:
    lines = run("examples").splitlines()
    assert [line.split()[2] for line in lines] == [f"examples.{name}" for name in PROGRAMS]
    assert all(len(line.split()) > 5 for line in lines)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_short_and_has_its_place_in_the_gallery(task: str) -> None:
    program = (ROOT / "examples" / task / "__main__.py").read_text()
    assert len(program.splitlines()) <= 200
    gallery = (ROOT / "docs" / "gallery.md").read_text()
    assert f"python -m examples.{task}\n" in gallery
    assert f"](results/examples/{task}." in gallery
