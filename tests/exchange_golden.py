"""Makes the golden cases in `tests/exchange_golden/`: layers of large libraries and their output.

    python tests/exchange_golden.py tensorflow sonnet

runs in an environment that has the libraries named, and writes a file for each, from the cases of a
module of `golden_makers`. Weights and inputs are multiples of 1/64, so files are short and exact.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
FOLDER = Path(__file__).with_suffix("")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:]:
        cases = importlib.import_module(f"golden_makers.{name}").cases()
        lines = [json.dumps(one, separators=(",", ":")) for one in cases]
        (FOLDER / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
