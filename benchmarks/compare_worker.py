"""One side of compare.py: makes as many calls as standard input says, and prints the seconds.

The rnnfast that is imported is a revision's; the way to call it is that of this checkout, so that
both sides do the same, also where a revision has no benchmark of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import rnnfast

PACKAGE = Path(__file__).resolve().parents[1] / "python" / "rnnfast" / "benchmark"


def load() -> None:
    """Makes this checkout's benchmark package part of the rnnfast that is imported."""
    if importlib.util.find_spec("rnnfast._engine") is None:  # a revision from before that folder
        sys.modules["rnnfast._engine.checks"] = importlib.import_module("rnnfast._checks")
    if importlib.util.find_spec("rnnfast._engine") is None:  # a revision from before that folder
        sys.modules["rnnfast._engine.checks"] = importlib.import_module("rnnfast._checks")
    name = "rnnfast.benchmark"
    spec = importlib.util.spec_from_file_location(name, PACKAGE / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def main() -> None:
    """Makes the calls."""
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
