"""The Python examples of the README and the guides run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rnnfast

ROOT = Path(__file__).parent.parent
OPTIONAL = (
    "onnx",
    "onnxruntime",
    "pandas",
    "sklearn",
    "tokenizers",
    "torch",
)  # without them the examples that import them are skipped
PAGES = (".py", ".md", ".sh")
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{i}")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for i, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))
]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("block", BLOCKS)
def test_example_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in re.findall(r"^(?:import|from) (?:rnnfast\.)?(\w+)", block, re.M):
        if package in OPTIONAL:
            pytest.importorskip(package, reason=f"{package} is not installed")
    rnnfast.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    brief = re.sub(r"minutes=\d+", "steps=3", block).replace("stdlib_text()", "stdlib_text(99_999)")
    exec(brief, {"__name__": "__main__"})


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 2


def test_no_message_installs_rnnfast_from_an_index() -> None:
    """It is in none; messages name the package that is missing."""
    folders = [ROOT / name for name in ("python", "docs", "examples", "benchmarks")]
    pages = [ROOT / "README.md", *(p for f in folders for p in f.rglob("*") if p.suffix in PAGES)]
    assert len(pages) > 50
    wrong = [str(p) for p in pages if re.search(r"(pip |in)stall \W*rnnfast\b", p.read_text())]
    assert not wrong
