"""The parts of a source text as pygments sees them, also in a text that is cut or has errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast.inspection.text_annotations import marked

_DELIMITER = re.compile(r"\w*('''|\"\"\"|['\"`])")
_COMMENT_START = re.compile(r"/[*/]|<!--|--|\(\*|\W?")
_COMMENT_END = re.compile(r"(\*/|-->|\*\)|\n)\Z")
_BLOCK_COMMENT = re.compile(r"/\*|\*/")
_TRIPLE = ("", '"""', "'''")  # what a text of Python may have been preceded by
_DECIDED_BY = 20_000  # characters that show whether a text begins inside quotes
_SURELY_CODE = re.compile(r"^[ \t]*(?:def \w+\(|class \w+[(:]|return\b|import \w|self\.\w)", re.M)

Span = tuple[int, int]
Token = tuple[int, Any, str]  # start, type of pygments, text


class Quoted(NamedTuple):
    """A string from its opening quote to its closing one, which `end` leaves out."""

    start: int
    end: int
    delimiter: str


class Syntax:
    """What pygments knows of a source text of N characters.

    All spans are half-open and end before what closes them, as the text is outside once that is
    read. They start where the opening is complete: at the opening quote, at the second character of
    `/*`.

    Attributes:
        text: The text.
        language: The first of the names that pygments has for the language.
        quoted: The strings.
        comments: Spans of comments.
        numbers: Spans of numbers.
        keywords: Spans of keywords.
        code: (N,), which characters are in neither a string nor a comment.
    """

    def __init__(self, text: str, language: str) -> None:
        """Analyse a text.

        Args:
            text: The text. It may begin inside a string of three quotes, or a comment.
            language: A name that pygments knows.

        Raises:
            ValueError: The language is unknown.
            ImportError: pygments is not installed.
        """
        lexer = _lexer(language)
        from pygments.token import Comment, Keyword, Number

        self.text = text
        self.language = str(lexer.aliases[0])
        tokens = _tokens(_begun(text, lexer), text, lexer)
        self.quoted = list(_strings(tokens, len(text)))
        self.comments = [
            _comment(start, value)
            for start, kind, value in tokens
            if kind in Comment and "Preproc" not in kind[-1]
        ]
        self.numbers = [(s, s + len(value)) for s, kind, value in tokens if kind in Number]
        self.keywords = [(s, s + len(value)) for s, kind, value in tokens if kind in Keyword]
        self.code: NDArray[np.bool_] = ~(self.in_quotes() | marked(len(text), self.comments))

    def in_quotes(self, delimiters: tuple[str, ...] | None = None) -> NDArray[np.bool_]:
        """Return for each character whether it is in a string.

        Args:
            delimiters: The delimiters that count; None for all.
        """
        spans = ((s, e) for s, e, d in self.quoted if delimiters is None or d in delimiters)
        return marked(len(self.text), spans)


def alias_of(name: str) -> str | None:
    """Return the language of a file by its name, as pygments knows it; None if it knows none."""
    try:
        from pygments.lexers import find_lexer_class_for_filename
    except ImportError:
        return None
    found: Any = find_lexer_class_for_filename(name)
    return None if found is None else str(found.aliases[0])


def _lexer(language: str) -> Any:
    try:
        from pygments.lexers import get_lexer_by_name
        from pygments.util import ClassNotFound
    except ImportError as error:
        raise ImportError(
            f"language: {language!r} needs the package pygments, which is not installed: "
            "pip install pygments"
        ) from error
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        raise ValueError(
            "language: expected python, c, latex, prose or another that pygments knows, got "
            f"{language!r}"
        ) from None


def _tokens(begun: str, text: str, lexer: Any) -> list[Token]:
    """Return the tokens of a text that was preceded by `begun`, which starts before place 0."""
    tokens = lexer.get_tokens_unprocessed(begun + text)
    return [(start - len(begun), kind, value) for start, kind, value in tokens]


def _begun(text: str, lexer: Any) -> str:
    """Return what a text was preceded by before it was cut: quotes, `/*`, or "" for nothing."""
    from pygments.token import Comment

    mark = _BLOCK_COMMENT.search(text)
    if mark is not None and mark[0] == "*/" and _tokens("", "/**/", lexer)[0][1] in Comment:
        return "/*"
    if lexer.aliases[0] != "python" or not any(quotes in text for quotes in _TRIPLE[1:]):
        return ""
    head = text[:_DECIDED_BY]

    def code_lines(begun: str) -> int:
        tokens = _tokens(begun, head, lexer)
        strings = marked(len(head), ((s, e) for s, e, _ in _strings(tokens, len(head))))
        return sum(not strings[match.end() - 1] for match in _SURELY_CODE.finditer(head))

    return max(_TRIPLE, key=code_lines)


def _comment(start: int, value: str) -> Span:
    opening, closing = _COMMENT_START.match(value), _COMMENT_END.search(value)
    assert opening is not None
    return max(0, start + opening.end() - 1), start + len(value) - (closing is not None)


def _strings(tokens: list[Token], size: int) -> Iterator[Quoted]:
    """Yield the strings of `size` characters, also those that the text's or line's end cuts."""
    from pygments.token import String

    start, delimiter = 0, ""
    for at, kind, value in tokens:
        if kind in String.Escape or kind in String.Interpol or kind in String.Affix:
            continue
        if kind not in String:
            if len(delimiter) == 1 and delimiter != "`" and "\n" in value:
                yield Quoted(max(0, start), at + value.index("\n"), delimiter)
                delimiter = ""
            continue
        inside = 0
        if not delimiter:
            opening = _DELIMITER.match(value.lstrip())
            if opening is None:
                continue
            inside = len(value) - len(value.lstrip()) + opening.end()
            delimiter = opening[1]
            start = at + inside - len(delimiter)
        if value.endswith(delimiter) and len(value) - inside >= len(delimiter):
            yield Quoted(max(0, start), at + len(value) - 1, delimiter)
            delimiter = ""
    if delimiter:
        yield Quoted(max(0, start), size, delimiter)
