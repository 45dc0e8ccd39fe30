"""A gallery of published packages with trained recurrent networks.

    pytest tests/published -m published --published-table docs/published.md

installs each package into a folder of its own, lets the package's engine and rnnfast compute the
same, compares them, and writes the table of the page, or of a new file. The packages are in a
temporary folder, or in the folder RNNFAST_PUBLISHED, where they stay for the next run. Without
`-m published` these tests are not collected: they need a registry of packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packages import Package, install
from rows import Row, write

HERE = Path(__file__).parent
LIMIT = 600  # seconds for one comparison
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RNNFAST_NUM_THREADS"), "1"
)
ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--published-table", type=Path, help="write the table of packages into a page")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave these modules alone unless `-m` asks for them, as they import PyTorch and onnx."""
    return None if "published" in config.option.markexpr else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.published)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if path := session.config.getoption("--published-table", None):
        write(path, session.config.stash[ROWS])


class Gallery:
    """Installs packages, compares, and records rows."""

    def __init__(self, cache: Path, scratch: Path, rows: list[Row], module: str) -> None:
        self._cache, self._scratch, self._rows, self._module = cache, scratch, rows, module

    def check(
        self,
        package: Package,
        theirs: Callable[..., Any],
        ours: Callable[..., Any],
        *,
        network: str,
        engine: str,
        argument: str = "",
        tolerance: float = 1e-5,
    ) -> None:
        """Compare a network of a package; comparison.py says what the functions return.

        Args:
            package: The package.
            theirs: A function of the test's module for the package's own engine.
            ours: A function of the test's module for rnnfast. Its first call of rnnfast is the line
                of the table that loads the weights.
            network: What runs, in a few words.
            engine: What the package computes with.
            argument: What `theirs` is called with, such as the name of a file, unless it is empty.
            tolerance: The largest difference that is allowed, relative to the largest output. The
                default is for float32: both sides round each of some hundred terms of a sum by
                6e-8, and a recurrence passes errors of a step on to the next ones.
        """
        folders = install(package, self._cache)
        result = self._scratch / "result.json"
        names = [self._module, theirs.__name__, ours.__name__, str(result), argument]
        done = subprocess.run(
            [sys.executable, str(HERE / "comparison.py"), *names],
            env=os.environ | ONE_THREAD | {"PYTHONPATH": _path(folders)},
            cwd=folders[0],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(result.read_text())
        row = Row(
            package=f"{package.name} {package.version}",
            license=package.license,
            network=network,
            engine=engine,
            **found,
        )
        print(f"\n{row}")
        assert row.error <= tolerance
        self._rows.append(row)


def _path(folders: list[Path]) -> str:
    """Return where the process finds modules: the package first, then what this process has."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture
def gallery(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> Gallery:
    """Return what a test needs to compare a package with rnnfast."""
    given = os.environ.get("RNNFAST_PUBLISHED")
    cache = Path(given) if given else tmp_path_factory.getbasetemp() / "published"
    rows = request.config.stash[ROWS]
    return Gallery(cache, tmp_path, rows, Path(request.path).stem)
