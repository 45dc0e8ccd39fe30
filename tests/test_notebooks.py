"""The notebooks of examples/notebooks run from top to bottom and are stored without results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 120  # per cell; on two idle cores a whole notebook takes less than 60
NEEDS = {"02_forecast": ["matplotlib"], "03_accelerate_pytorch": ["torch"]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_results(path: Path) -> None:
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # Jupyter's warnings are not ours
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ipykernel", "nbclient", "nbformat", *NEEDS.get(path.stem, [])):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import nbclient
    import nbformat

    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests run at the same time
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))  # the kernel is this Python, not a user's
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    printed = [c for c in notebook.cells if c.cell_type == "code" and c.outputs]
    assert printed, f"{path.name} shows nothing, by {sys.executable}"


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 4
