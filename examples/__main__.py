"""List the examples, with the task of each.

python -m examples
"""

from __future__ import annotations

import ast
from pathlib import Path


def main() -> None:
    """Print the command of each example and the first line of its docstring."""
    programs = sorted(Path(__file__).parent.glob("*/__main__.py"))
    width = max(len(program.parent.name) for program in programs)
    for program in programs:
        text = ast.get_docstring(ast.parse(program.read_text())) or ""
        print(f"python -m examples.{program.parent.name:{width}}  {text.splitlines()[0]}")


if __name__ == "__main__":
    main()
