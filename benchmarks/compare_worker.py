"""Run one side of compare.py: make as many calls as standard input asks for, and print the seconds.

The imported rnnfast is the revision under test, but the benchmark code that calls it comes from
this checkout. Both sides therefore do the same work, even if a revision has no benchmark package.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import rnnfast

PACKAGE = Path(__file__).resolve().parents[1] / "python" / "rnnfast" / "benchmark"


def load() -> None:
    """Make this checkout's benchmark package part of the rnnfast that is imported."""
    if importlib.util.find_spec("rnnfast._engine") is None:  # a revision from before that folder
        sys.modules["rnnfast._engine.checks"] = importlib.import_module("rnnfast._checks")
    name = "rnnfast.benchmark"
    spec = importlib.util.spec_from_file_location(name, PACKAGE / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def main() -> None:
    """Make the calls that standard input asks for."""
    load()
    from rnnfast.benchmark import Case, Shape, contestant, make_data, timer

    cell, shape, mode, dtype, threads = sys.argv[1:]
    rnnfast.set_num_threads(int(threads))
    case = Case(cell, Shape.parse(shape), mode, dtype, int(threads))
    run = timer(contestant("rnnfast", case, make_data(case))[0])
    for line in sys.stdin:
        print(run(int(line)), flush=True)


if __name__ == "__main__":
    main()
