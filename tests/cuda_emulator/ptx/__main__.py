"""Translate a PTX file: `python -m ptx IN.ptx OUT.cpp`."""

import argparse
import sys
from pathlib import Path

from . import PtxError, translate


def main() -> int:
    """Translate the file on the command line; errors name the file, line and instruction."""
    parser = argparse.ArgumentParser(prog="ptx", description=__doc__)
    parser.add_argument("source", type=Path, help="what nvcc -ptx -lineinfo wrote")
    parser.add_argument("output", type=Path, help="the C++ file to write")
    arguments = parser.parse_args()
    try:
        text = translate(arguments.source.read_text(encoding="utf-8"), str(arguments.source))
    except PtxError as error:
        print(error, file=sys.stderr)
        return 1
    arguments.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
