"""Annotations of a text: what it says at each character, such as whether it is inside quotes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast.inspection import text_annotations as plain
from rnnfast.inspection.code_annotations import annotate_code
from rnnfast.inspection.latex_annotations import annotate_latex
from rnnfast.inspection.syntax import alias_of

Annotations = dict[str, NDArray[Any]]

PROSE, LATEX = "prose", "latex"
_ENDINGS = {".txt": PROSE, ".md": PROSE, ".rst": PROSE, ".tex": LATEX}
# Lines by which a text is recognised, if enough of them look like that.
_LOOKS = {
    "python": re.compile(
        r"^[ \t]*(?:(?:async |def |class |if |for |while |with |elif |else|try|except|finally).*:"
        r"|from [\w.]+ import .*|import [\w.]+|(?:return|raise|assert|yield|pass|break)\b[^;\n]*"
        r"|@\w[^;\n]*|[\w.\[\]\"', ]+ [-+*/|]?= [^;\n]*|[\w.]+\([^;\n]*\))(?:  #.*)?$",
        re.M,
    ),
    "c": re.compile(r"^(?:#\s*(?:include|define|if|endif)\b.*|.*[;{}][ \t]*)$", re.M),
    LATEX: re.compile(r"^[^%\n]*\\[a-zA-Z]+(?:\[[^\]]*\])?\{.*$", re.M),
}
_LEAST_SHARE = 0.25


def annotate(text: str, language: str | None = None) -> Annotations:
    """Annotate a text: say for each of its N characters what is so once it has been read.

    A value is about the text up to and including its character: "inside quotes" is true from the
    opening quote up to the character before the closing one. Only where a language leaves the
    meaning of a character open, later ones decide: the first of three quotes counts as inside,
    although the second might have closed an empty string.

    Args:
        text: The text. It may be cut anywhere and have errors.
        language: "python", "c", "latex", "prose", or any other language that pygments knows; None
            to guess it from the text.

    Returns:
        For each annotation its values (N,): bool for yes/no, int64 for counts.

    Raises:
        ValueError: The language is unknown.
        TypeError: An argument is of the wrong type.
        ImportError: The language needs pygments, which is not installed.
    """
    checks.of_type("text", text, str)
    language = guess_language(text) if language is None else language
    checks.of_type("language", language, str)
    common: Annotations = {
        "position in line": plain.position_in_line(text),
        "line length so far": plain.line_length(text),
        "indentation": plain.indentation(text),
        "position in word": plain.position_in_word(text),
        "after a capital": plain.after_a_capital(text),
        "in a word of capitals": plain.word_of_capitals(text),
        "in a number": plain.numbers(text),
        "in a URL": plain.urls(text),
    }
    if language == PROSE:
        return {
            "inside quotes": plain.quotes(text),
            "depth of brackets": plain.prose_depth(text),
            "end of sentence": plain.sentence_ends(text),
            "position in sentence": plain.position_in_sentence(text),
            "line of paragraph": plain.line_of_paragraph(text),
        } | common
    if language in (LATEX, "tex"):
        return annotate_latex(text) | common
    return common | annotate_code(text, language)


def guess_language(text: str, name: str = "") -> str:
    """Return the language of a text, by the name of its file or else by its lines.

    Args:
        text: The text.
        name: The name of its file, or "".
    """
    suffix = Path(name).suffix.lower()
    named = _ENDINGS.get(suffix) or (alias_of(name) if suffix else None)
    if named is not None:
        return named
    lines = text.count("\n") + 1
    shares = {language: len(look.findall(text)) / lines for language, look in _LOOKS.items()}
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] >= _LEAST_SHARE else PROSE
