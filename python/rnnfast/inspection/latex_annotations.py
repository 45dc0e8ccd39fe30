"""Annotations of LaTeX: comments, formulas, environments, quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast.inspection.text_annotations import clipped_sum, depth, marked, sentence_ends

_MATH = r"equation|align|gather|multline|eqnarray|displaymath|math"
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([^{}\n]*)\}")
_FORMULA = re.compile(rf"\\(begin|end)\{{(?:{_MATH})\*?\}}|\\.|\$\$?|\n[ \t]*\n", re.S)
_COMMENT = re.compile(r"\\.|(%[^\n]*)", re.S)
_QUOTE = re.compile(r"``(?:(?!\n[ \t]*\n).)*?(?='(?:'|\Z)|\n[ \t]*\n|\Z)", re.S)


def annotate_latex(text: str) -> dict[str, NDArray[Any]]:
    """Return the annotations of LaTeX, each (N,)."""
    size = len(text)
    comments = marked(size, (m.span(1) for m in _COMMENT.finditer(text) if m[1]))
    changes = np.zeros(size, np.int64)
    for match in _ENVIRONMENT.finditer(text):
        if match[2] != "document" and not comments[match.start()]:
            changes[match.end() - 1] = 1 if match[1] == "begin" else -1
    environments = clipped_sum(changes)
    return {
        "inside quotes": marked(
            size, ((m.start() + 1, m.end() + 1) for m in _QUOTE.finditer(text))
        ),
        "inside a comment": comments,
        "in a formula": marked(size, _formulas(text, comments)),
        "in an environment": environments > 0,
        "depth of environments": environments,
        "depth of brackets": depth(text, ~comments),
        "end of sentence": sentence_ends(text),
    }


def _formulas(text: str, comments: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the spans of formulas, from the end of what opens them; a blank line closes them."""
    opened = None
    for match in _FORMULA.finditer(text):
        mark = match[0]
        dollars = mark[0] == "$"
        if comments[match.start()]:
            continue
        if opened is None and (mark in (r"\[", r"\(") or dollars or match[1] == "begin"):
            opened = match.end() - 1
        elif opened is not None and (
            mark in (r"\]", r"\)") or dollars or mark[0] == "\n" or match[1] == "end"
        ):
            yield opened, match.end() - 1
            opened = None
    if opened is not None:
        yield opened, len(text)
