"""Annotations of programs: strings, comments, conditions, brackets, statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast.inspection.syntax import Span, Syntax
from rnnfast.inspection.text_annotations import among, depth, held, marked

# Where all brackets are closed, so that one that is missing does not count for ever.
_PYTHON_RESTART = re.compile(r"^(?=(?:def|class|from|import|@)\b)", re.M)
_RESTART = re.compile(r"^\}", re.M)  # a function ends


def annotate_code(text: str, language: str) -> dict[str, NDArray[Any]]:
    """Return the annotations of a program, each (N,).

    Args:
        text: The program.
        language: A name that pygments knows.

    Raises:
        ValueError: The language is unknown.
        ImportError: pygments is not installed.
    """
    syntax, size = Syntax(text, language), len(text)
    python = syntax.language == "python"
    restarts = (_PYTHON_RESTART if python else _RESTART).finditer(text)
    places = [match.end() for match in restarts if syntax.code[match.start()]]
    brackets = depth(text, syntax.code, starts=places)
    if python:
        heads = _python_heads(syntax, brackets)
        between = _python_statement_ends(syntax, brackets == 0)
        blocks = _python_blocks(syntax, between)
    else:
        heads = _heads(syntax, brackets)
        blocks = depth(text, syntax.code, "{}", places)
        between = _statement_ends(syntax, brackets == blocks)  # not in the head of a `for`
    comments = marked(size, syntax.comments)
    result = {
        "inside quotes": syntax.in_quotes(),
        "inside a comment": comments,
        "inside an if head": marked(size, heads),
        "inside brackets": brackets > 0,
        "depth of brackets": brackets,
        "inside a block": blocks > 0,
        "depth of blocks": blocks,
        "in a number": marked(size, syntax.numbers),
        "end of statement": between,
    }
    if python:
        docstrings = syntax.in_quotes(('"""', "'''"))
        result["inside single quotes"] = syntax.in_quotes(('"', "'"))
        result["inside triple quotes"] = docstrings
        result["in a comment or triple quotes"] = comments | docstrings
    return result


def _python_heads(syntax: Syntax, brackets: NDArray[np.int64]) -> Iterator[Span]:
    """Yield the conditions of `if` and `elif`, from the end of the keyword to the colon."""
    text = syntax.text
    for start, end in syntax.keywords:
        line = text[text.rfind("\n", 0, start) + 1 : start]
        if text[start:end] in ("if", "elif") and not line.strip():  # not in an expression
            yield end, _first(syntax, end, ":\n", brackets, int(brackets[start]))


def _heads(syntax: Syntax, brackets: NDArray[np.int64]) -> Iterator[Span]:
    """Yield the conditions of `if`, from the end of the keyword to the closing bracket."""
    opening = re.compile(r"\s*\(")
    for start, end in syntax.keywords:
        if syntax.text[start:end] == "if" and opening.match(syntax.text, end):
            yield end, _first(syntax, end, ")", brackets, int(brackets[start]))


def _first(syntax: Syntax, start: int, marks: str, brackets: NDArray[np.int64], level: int) -> int:
    """Return the first place from `start` on that is one of `marks` in code at a level."""
    for place in range(start, len(syntax.text)):
        if syntax.text[place] in marks and syntax.code[place] and brackets[place] <= level:
            return place
    return len(syntax.text)


def _visible(syntax: Syntax) -> NDArray[np.bool_]:
    """Return which characters are neither blank nor in a comment."""
    return ~among(syntax.text, " \t\n\r\f") & ~marked(len(syntax.text), syntax.comments)


def _python_statement_ends(syntax: Syntax, outside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether a statement is over, by the end of its line, and the next has not begun."""
    continued = np.roll(among(syntax.text, "\\"), 1)
    over = syntax.code & among(syntax.text, "\n") & outside & ~continued
    return held(over, _visible(syntax))


def _python_blocks(syntax: Syntax, between: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the blocks around the last statement that has begun."""
    text = syntax.text
    starts = np.flatnonzero(~between & np.concatenate([[True], between])[: len(text)])
    columns, depths = [0], [0]
    for start in starts:
        indentation = text[text.rfind("\n", 0, start) + 1 : start]
        column = len(indentation.expandtabs(8))
        while columns[-1] > column:
            columns.pop()
        if columns[-1] < column:
            columns.append(column)
        depths.append(len(columns) - 1)
    begun = np.zeros(len(text), np.int64)
    begun[starts] = 1
    return np.array(depths)[np.cumsum(begun)]


def _statement_ends(syntax: Syntax, outside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether a statement is over, by `;`, `{` or `}`, and the next has not begun."""
    over = syntax.code & among(syntax.text, ";{}") & outside
    return held(over, _visible(syntax) & ~over)
