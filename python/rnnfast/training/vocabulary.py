"""Vocabularies, which map characters or bytes to ids."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast.training.text import TextError, UnknownCharacterError

# Bits needed to name one of the 1,112,064 code points of Unicode if all are equally likely.
UNKNOWN_BITS = math.log2(0x110000 - 0x800)

_UNKNOWN = -1  # stands for the id of characters that are not in the vocabulary


class Vocabulary:
    """The characters of a model; the id of a character is its place in code point order.

    Attributes:
        characters: The characters, sorted, each once.
        unit: Name of a symbol: "character", or "byte" for `ByteVocabulary`.
        short_unit: Abbreviation of `unit` for progress lines.
    """

    unit, short_unit = "character", "char"

    def __init__(self, characters: str | Iterable[str]) -> None:
        """Collect the distinct characters of `characters`, which is one text or several.

        Raises:
            TextError: `characters` is empty.
            TypeError: `characters` is neither a string nor an iterable of strings.
        """
        if not isinstance(characters, str):
            characters = _join(characters)
        if not characters:
            raise TextError("vocabulary: expected at least one character, got an empty text")
        self.characters = "".join(sorted(set(characters)))
        points = _code_points(self.characters)
        # The id of every code point up to one past the largest of ours; lookups map all larger
        # ones to that last entry, which is unknown.
        self._ids = np.full(int(points[-1]) + 2, _UNKNOWN)
        self._ids[points] = np.arange(points.size)

    def __len__(self) -> int:
        return len(self.characters)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.characters == other.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        return f"Vocabulary({self.characters!r})"

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids (len(text),) of a text's characters.

        Raises:
            UnknownCharacterError: A character is not in the vocabulary; the error names the first.
            TypeError: `text` is not a string.
        """
        checks.of_type("text", text, str)
        ids = self._lookup(text)
        unknown = ids == _UNKNOWN
        if unknown.any():
            raise self._unknown(text, int(unknown.argmax()))
        return ids

    def encode_known(self, text: str) -> tuple[NDArray[np.int64], int]:
        """Return the ids of the known characters of a text, and the number of unknown ones."""
        checks.of_type("text", text, str)
        ids = self._lookup(text)
        known = ids[ids != _UNKNOWN]
        return known, ids.size - known.size

    def start(self) -> str:
        """Return the default text to continue: the start of a line, or the first character."""
        return "\n" if "\n" in self.characters else self.characters[0]

    def decode(self, ids: NDArray[np.integer] | Iterable[int]) -> str:
        """Return the text of ids in [0, len(self))."""
        return "".join(self.spell(ids))

    def spell(self, ids: NDArray[np.integer] | Iterable[int]) -> Iterator[str]:
        """Yield the text of ids piece by piece."""
        return (self.characters[i] for i in ids)

    def as_json(self) -> str | dict[str, str]:
        """Return the value for checkpoints that `vocabulary_from_json` reads."""
        return self.characters

    def _lookup(self, text: str) -> NDArray[np.int64]:
        return self._ids[np.minimum(_code_points(text), self._ids.size - 1)]

    def _unknown(self, text: str, position: int) -> UnknownCharacterError:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        return UnknownCharacterError(
            f"text: character {text[position]!r} (U+{ord(text[position]):04X}) at position "
            f"{position} (line {line}, column {column}) is not among the {len(self)} characters "
            "of the vocabulary"
        )


class ByteVocabulary(Vocabulary):
    """The 256 bytes, with which a model reads and writes any text as UTF-8.

    Invalid UTF-8 bytes are lone surrogates in the texts to encode (see `read_text`), and become the
    replacement character in decoded texts.

    Attributes:
        characters: The characters of Latin-1, which stand for the bytes.
    """

    unit = short_unit = "byte"

    def __init__(self) -> None:
        super().__init__(bytes(range(256)).decode("latin-1"))

    def __repr__(self) -> str:
        return "ByteVocabulary()"

    def spell(self, ids: NDArray[np.integer] | Iterable[int]) -> Iterator[str]:
        """Yield the text of bytes, each character as soon as its last byte is known."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for i in ids:
            if text := decoder.decode(bytes([i])):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def as_json(self) -> dict[str, str]:
        """Return the value for checkpoints that `vocabulary_from_json` reads."""
        return {"unit": self.unit}

    def _lookup(self, text: str) -> NDArray[np.int64]:
        try:
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise TextError(
                f"text: character {text[error.start]!r} at position {error.start} is half of a "
                "surrogate pair, so it has no bytes"
            ) from error
        return np.frombuffer(data, np.uint8).astype(np.int64)


def _join(texts: Iterable[str]) -> str:
    expected = "characters: expected a string, or several"
    try:
        listed = list(texts)
    except TypeError:
        raise TypeError(f"{expected}, got {type(texts).__name__}") from None
    for text in listed:
        if not isinstance(text, str):
            raise TypeError(f"{expected}, got a {type(text).__name__} among them")
    return "".join(listed)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
