"""The console script `rnnfast`.

It lives outside the package so that it can still report why the package fails to import.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command, and exit with 2 if a setting is wrong or a package is missing."""
    try:
        from rnnfast.cli import main as run
    except ImportError as error:
        print(f"rnnfast: error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    run()
