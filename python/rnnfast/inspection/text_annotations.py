"""Annotations that need no knowledge of a language: lines, words, numbers, brackets.

An annotation has a value for each character, which is about the text up to and including it. It is
an array (N,) of bool (yes/no) or of int64 (a count).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_URL = re.compile(r"(?:https?://|ftp://|\bwww\.)[^\s<>\"'`(){}\[\]]+")
_URL_START = re.compile(r"\w+[:.](?://)?")
_NUMBER = re.compile(r"(?<!\w)\d+(?:[.,]\d+)*(?!\w)")
_BLANK_LINE = r"(?<=\n)[ \t]*\n"
_QUOTE = re.compile(rf"[\"“”„«»]|{_BLANK_LINE}")
_OPENING, _CLOSING = "“„«", "”»"
_SENTENCE_END = re.compile(rf"[.!?][\"'”’»)\]]*(\s\W*)|{_BLANK_LINE}()")
BRACKETS = "([{)]}"


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the code points (N,) of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def characters(text: str, holds: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Return for each character whether `holds` is true of it."""
    known, which = np.unique(code_points(text), return_inverse=True)
    return np.array([holds(chr(point)) for point in known], bool)[which]


def among(text: str, chosen: str) -> NDArray[np.bool_]:
    """Return for each character whether it is one of `chosen`."""
    return characters(text, lambda c: c in chosen)


def marked(size: int, spans: Iterable[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return an array (size,) that is true in the half-open `spans`."""
    result = np.zeros(size, bool)
    for start, end in spans:
        result[start:end] = True
    return result


def last_true(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each place the last place up to it whose flag is true; -1 before the first."""
    index = np.arange(flags.size)
    return np.maximum.accumulate(np.where(flags, index, -1))


def held(on: NDArray[np.bool_], off: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a flag that `on` sets and `off` clears, and that is held in between.

    Where both are true, `off` counts.
    """
    return last_true(on & ~off) > last_true(off)


def clipped_sum(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the running sum of steps of +1, 0 and -1, which stays at 0 where -1 would go below."""
    total = np.cumsum(steps)
    return total - np.minimum(np.minimum.accumulate(total), 0)


def position_in_line(text: str) -> NDArray[np.int64]:
    """Count the characters of the line so far; 0 at the newline before it."""
    return np.arange(len(text)) - last_true(among(text, "\n"))


def _first_of_lines(text: str) -> NDArray[np.bool_]:
    """Return whether a character is the first of its line that is not a blank or a tab."""
    visible = ~among(text, " \t\n")
    before = np.concatenate([[-1], last_true(visible)[:-1]]) if text else last_true(visible)
    return visible & (before <= last_true(among(text, "\n")))


def line_length(text: str) -> NDArray[np.int64]:
    """Count the characters of the line so far, without its indentation."""
    first, newline = last_true(_first_of_lines(text)), last_true(among(text, "\n"))
    return np.where(first > newline, np.arange(len(text)) - first + 1, 0)


def indentation(text: str) -> NDArray[np.int64]:
    """Return the columns by which the line is indented; tabs go to multiples of 8.

    Until a line has more than blanks, the value is that of the last line that has: a reader cannot
    know more, and has to remember it.
    """
    first = _first_of_lines(text)
    places = np.flatnonzero(first)
    starts = last_true(among(text, "\n"))[places] + 1
    columns = [
        len(text[start:place].expandtabs(8)) for start, place in zip(starts, places, strict=True)
    ]
    return np.array([0, *columns], np.int64)[np.cumsum(first)]


def position_in_word(text: str) -> NDArray[np.int64]:
    """Count the letters, digits and underscores of the word so far; 0 outside words."""
    return np.arange(len(text)) - last_true(~characters(text, _in_word))


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def after_a_capital(text: str) -> NDArray[np.bool_]:
    """Return whether the last character read is a capital letter."""
    return characters(text, str.isupper)


def word_of_capitals(text: str) -> NDArray[np.bool_]:
    """Return whether the word so far consists of at least two characters, all of them capitals."""
    capitals: NDArray[np.int64] = np.arange(len(text)) - last_true(~after_a_capital(text))
    whole: NDArray[np.bool_] = capitals == position_in_word(text)
    return whole & (capitals >= 2)


def numbers(text: str) -> NDArray[np.bool_]:
    """Return whether a character belongs to a number such as 1,024.5."""
    return marked(len(text), (match.span() for match in _NUMBER.finditer(text)))


def urls(text: str) -> NDArray[np.bool_]:
    """Return whether the text is in a URL, from the end of `https://` or `www.` on."""
    spans = []
    for match in _URL.finditer(text):
        start = _URL_START.match(match[0])
        assert start is not None
        spans.append((match.start() + start.end() - 1, match.end()))
    return marked(len(text), spans)


def quotes(text: str) -> NDArray[np.bool_]:
    """Return whether the text is inside double quotes, from the opening one to the closing one.

    At the closing quote the value is false. A blank line closes quotes, so that one that is missing
    does no harm to the rest of the text. Single quotes are not counted: most are apostrophes.
    """
    spans, opened = [], None
    for match in _QUOTE.finditer(text):
        mark = match[0]
        if opened is not None and (mark in _CLOSING or mark not in _OPENING):
            spans.append((opened, match.end() - 1))
            opened = None
        elif opened is None and (mark == '"' or mark in _OPENING):
            opened = match.start()
    if opened is not None:
        spans.append((opened, len(text)))
    return marked(len(text), spans)


def sentence_ends(text: str) -> NDArray[np.bool_]:
    """Return whether a sentence is over and the next has not begun.

    This is so from the white space after a full stop, or from a blank line, to the next letter.
    """
    over = np.zeros(len(text), bool)
    for match in _SENTENCE_END.finditer(text):
        over[match.start(1) if match[1] else match.end() - 1] = True
    return held(over, characters(text, _in_word))


def position_in_sentence(text: str) -> NDArray[np.int64]:
    """Count the characters since the end of the last sentence, from the first letter on."""
    return np.arange(len(text)) - last_true(sentence_ends(text))


def line_of_paragraph(text: str) -> NDArray[np.int64]:
    """Count the lines since the last blank line; 0 in the first."""
    lines = np.concatenate([[0], np.cumsum(among(text, "\n"))])
    starts = marked(len(text), ((m.end() - 1, m.end()) for m in re.finditer(_BLANK_LINE, text)))
    before: NDArray[np.int64] = lines[last_true(starts) + 1]
    return lines[1:] - before


def depth(
    text: str, counts: NDArray[np.bool_], brackets: str = BRACKETS, starts: Iterable[int] = ()
) -> NDArray[np.int64]:
    """Count the brackets that are open; an opening bracket counts, a closing one no longer does.

    Args:
        text: The text.
        counts: (N,), which characters are code, so that their brackets count.
        brackets: The opening brackets, followed by as many closing ones.
        starts: Places where everything is closed, so that a bracket that is missing does no harm to
            the rest of the text.
    """
    half = len(brackets) // 2
    steps = among(text, brackets[:half]).astype(np.int64) - among(text, brackets[half:])
    result = np.where(counts, steps, 0)
    bounds = sorted({0, *starts, len(text)})
    for start, end in pairwise(bounds):
        result[start:end] = clipped_sum(result[start:end])
    return result


def prose_depth(text: str) -> NDArray[np.int64]:
    """Count the brackets that are open in prose, where a blank line closes all."""
    everywhere = np.ones(len(text), bool)
    return depth(text, everywhere, starts=(m.end() for m in re.finditer(_BLANK_LINE, text)))
