"""The Python examples of the README and the documentation run, and the chart shows its table."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path

import pytest

import rnnfast

ROOT = Path(__file__).parent.parent
OPTIONAL = (
    "jax",
    "keras",
    "onnx",
    "onnxruntime",
    "pandas",
    "sklearn",
    "tokenizers",
    "torch",
)  # examples that import these are skipped without them
PAGES = (".py", ".md", ".sh")
RUN_BY_TEST_YOUR_OWN_CELL = "docs/your_own_cell.md"
WITH_EXAMPLES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{i}")
    for page in WITH_EXAMPLES
    for i, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))
]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("block", BLOCKS)
def test_example_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in re.findall(r"^(?:import|from) (?:rnnfast\.)?(\w+)", block, re.M):
        if package in OPTIONAL:
            pytest.importorskip(package, reason=f"{package} is not installed")
    if "inspect" in block:  # the probes of inspections
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    rnnfast.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    brief = re.sub(r"minutes=\d+", "steps=3", block).replace("stdlib_text()", "stdlib_text(99_999)")
    exec(brief, {"__name__": "__main__"})


def test_no_example_is_missed() -> None:
    """Every opening of Python code, however it is written, opens a block that is run."""
    opening = re.compile(r"^\s*(?:```|~~~)\s*(?:python|py)\w*\b", re.M | re.I)
    found = {
        str(page.relative_to(ROOT)): len(opening.findall(page.read_text()))
        for page in WITH_EXAMPLES
    }
    run = Counter(str(block.id).rpartition("-")[0] for block in BLOCKS)
    errors = (ROOT / RUN_BY_TEST_YOUR_OWN_CELL).read_text()
    run[RUN_BY_TEST_YOUR_OWN_CELL] += errors.count("```py\n")
    assert run == {name: count for name, count in found.items() if count}
    assert {"README.md", "docs/index.md", "docs/start/student.md"} <= set(run)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("cpu", ["sapphire_rapids", "zen5"])
def test_charts_of_the_readme_are_those_of_the_tables(cpu: str) -> None:
    path = ROOT / "benchmarks" / "training_chart.py"
    spec = importlib.util.spec_from_file_location("training_chart", path)
    assert spec is not None
    assert spec.loader is not None
    chart = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chart)
    results = ROOT / "docs" / "results" / cpu
    expected = chart.draw(chart.read(results / "table.txt"))
    assert (results / "training.svg").read_text() == expected


def test_promises_name_tests_that_there_are() -> None:
    named = re.findall(r"`(tests/\w+\.py)`", (ROOT / "docs" / "promises.md").read_text())
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_message_installs_rnnfast_from_an_index() -> None:
    """rnnfast is in no index; messages name only the package that is missing."""
    folders = [ROOT / name for name in ("python", "docs", "examples", "benchmarks")]
    pages = [ROOT / "README.md", *(p for f in folders for p in f.rglob("*") if p.suffix in PAGES)]
    assert len(pages) > 50
    wrong = [str(p) for p in pages if re.search(r"(pip |in)stall \W*rnnfast\b", p.read_text())]
    assert not wrong
