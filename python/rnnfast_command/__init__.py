"""The console script `rnnfast`, outside the package, so that it can say why that does not load."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command. Where a setting is wrong or a package missing, the exit code is 2."""
    try:
        from rnnfast.cli import main as run
    except ImportError as error:
        print(f"rnnfast: error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    run()
