"""tools/check_layers.py finds imports that point up or form a circle, wherever they stand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "check_layers.py"

UPWARD = {
    "at the top": "from rnnfast.layers.dense import Linear",
    "of a module": "import rnnfast.layers.dense",
    "of a folder": "from rnnfast import layers",
    "in a function": "def f():\n    from rnnfast.layers import dense",
    "for types": "if TYPE_CHECKING:\n    from rnnfast.layers.dense import Linear",
}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the tool, set to a package of two folders, `layers` above `_engine`."""
    spec = importlib.util.spec_from_file_location("check_layers", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    for path in ("_engine/__init__.py", "_engine/checks.py", "layers/__init__.py"):
        write(tmp_path / path, "")
    write(tmp_path / "layers/dense.py", "from rnnfast._engine import checks\nimport numpy")
    return module


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_imports_that_run_down_are_in_order(tool: ModuleType) -> None:
    assert list(tool.offences()) == []


@pytest.mark.parametrize("text", UPWARD.values(), ids=list(UPWARD))
def test_imports_that_run_up_are_told(tool: ModuleType, tmp_path: Path, text: str) -> None:
    write(tmp_path / "_engine/checks.py", text)
    offence, *_ = tool.offences()
    assert offence.startswith("_engine.checks imports layers.")
    assert offence.endswith(": _engine may not import layers")


def test_circles_are_told(tool: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "layers/module.py", "def f():\n    from rnnfast.layers.dense import Linear")
    write(tmp_path / "layers/dense.py", "from rnnfast.layers.module import Module")
    (offence,) = tool.offences()
    assert offence.startswith("a circle of imports: layers.")


def test_the_one_circle_of_types_is_for_types_alone(tool: ModuleType, tmp_path: Path) -> None:
    back = "from rnnfast.training.trainer import Trainer"
    write(tmp_path / "training/trainer.py", "from rnnfast.training.callbacks import Callback")
    write(tmp_path / "training/callbacks.py", f"if TYPE_CHECKING:\n    {back}")
    assert list(tool.offences()) == []
    write(tmp_path / "training/callbacks.py", back)
    assert len(list(tool.offences())) == 1


def test_a_new_folder_needs_a_place(tool: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "attic/box.py", "")
    assert list(tool.offences()) == ["attic.box: attic has no place in FLOORS"]
