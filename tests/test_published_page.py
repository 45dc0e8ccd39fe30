"""docs/published.md has a row for each package that tests/published compares."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "tests" / "published").glob("test_*.py"))


def packages_of(module: Path) -> list[str]:
    """Return name and version of the packages of a module, from its calls of `Package`."""
    return [
        " ".join(argument.value for argument in call.args[:2] if isinstance(argument, ast.Constant))
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "Package"
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_each_package_has_a_row(module: Path) -> None:
    page = (ROOT / "docs" / "published.md").read_text()
    packages = packages_of(module)
    assert packages
    for package in packages:
        assert f"| {package} |" in page
