"""One comparison, in a process that can import the package.

    PYTHONPATH=. python comparison.py MODULE THEIRS OURS RESULT ARGUMENT

in the folder where the package is installed, calls two functions of a test module. THEIRS() returns
what goes into the network, and a function that computes it by the package's own engine; it is
called with ARGUMENT unless that is empty. OURS(given) loads the weights with rnnfast, and returns a
function that computes the same. The process compares their outputs, lets them take turns to measure
their times, and writes what it found to a file in JSON.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import statistics
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from numpy.typing import NDArray

Outputs = NDArray[Any] | tuple[NDArray[Any], ...]
Run = Callable[[], Outputs]
ROUND = 0.02  # seconds of calls between two looks at the clock, so that its resolution is no matter
ROUNDS = 21


def compare(theirs: Run, ours: Run) -> float:
    """Return the largest difference of outputs, relative to the largest value of each array."""
    expected, got = (_tuple(run()) for run in (theirs, ours))
    worst = 0.0
    for a, b in zip(got, expected, strict=True):
        a, b = (np.asarray(array, np.float64) for array in (a, b))
        assert a.shape == b.shape, f"the shape of ours is {a.shape}, that of theirs {b.shape}"
        assert np.isfinite(b).all()
        assert np.ptp(b) > 0, "all values of an output of the package are the same"
        worst = max(worst, float(np.abs(a - b).max() / np.abs(b).max()))
        if not np.isfinite(a).all():
            worst = np.inf
    return worst


def _tuple(outputs: Outputs) -> tuple[NDArray[Any], ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def measure(runs: tuple[Run, Run]) -> list[float]:
    """Return the median seconds of a call of each function; they take turns."""
    calls = [max(1, int(ROUND / _seconds(run, 1))) for run in runs]
    times: tuple[list[float], ...] = ([], [])
    for _ in range(ROUNDS):
        for run, number, found in zip(runs, calls, times, strict=True):
            found.append(_seconds(run, number))
    return [statistics.median(found) for found in times]


def _seconds(run: Run, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def loading_line(function: Callable[..., Run]) -> str:
    """Return the first call of rnnfast in a function, as it is written there.

    Raises:
        ValueError: The function has none.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        text = ast.unparse(call)
        if text.startswith("rnnfast."):
            return text
    raise ValueError(f"{function.__name__}: expected a call of rnnfast that loads the weights")


def leave_out(*modules: str) -> None:
    """Let a package import modules that its inference does not use, without having them."""
    sys.modules.update({name: MagicMock() for name in modules})


def main() -> None:
    """Run the comparison that the command line names."""
    module_name, theirs_name, ours_name, result, argument = sys.argv[1:]
    module = importlib.import_module(module_name)
    theirs_of, ours_of = getattr(module, theirs_name), getattr(module, ours_name)
    given, theirs = theirs_of(*filter(None, [argument]))
    ours = ours_of(given)
    error = compare(theirs, ours)
    times = measure((theirs, ours))
    found = {
        "error": error,
        "line": loading_line(ours_of),
        "theirs": times[0],
        "ours": times[1],
    }
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
