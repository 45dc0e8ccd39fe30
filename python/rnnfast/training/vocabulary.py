"""What a model knows: characters, or bytes, as numbers."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast.training.text import TextError, UnknownCharacterError

# What naming a character costs whoever knows nothing but that Unicode has 1,112,064 of them.
UNKNOWN_BITS = math.log2(0x110000 - 0x800)

_UNKNOWN = -1  # what stands for the id of a character that has none


class Vocabulary:
    """The characters a model knows; a character's id is its place in code point order.

    Attributes:
        characters: the characters, sorted, each once.
        unit: what a symbol is, "character" or, of `ByteVocabulary`, "byte".
        short_unit: the same for narrow places.
    """

    unit, short_unit = "character", "char"

    def __init__(self, characters: str | Iterable[str]) -> None:
        """Makes the vocabulary of all characters in `characters`, a text or several.

        Raises:
            TextError: there are none.
            TypeError: it is neither a text nor several.
        """
        if not isinstance(characters, str):
            characters = _join(characters)
        if not characters:
            raise TextError("vocabulary: expected at least one character, got an empty text")
        self.characters = "".join(sorted(set(characters)))
        points = _code_points(self.characters)
        # The id of every code point up to the first that is larger than all of ours.
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
        """The ids (len(text),) of a text's characters.

        Raises:
            UnknownCharacterError: the first character that is not in the vocabulary.
            TypeError: it is not a text.
        """
        checks.of_type("text", text, str)
        ids = self._lookup(text)
        unknown = ids == _UNKNOWN
        if unknown.any():
            raise self._unknown(text, int(unknown.argmax()))
        return ids

    def encode_known(self, text: str) -> tuple[NDArray[np.int64], int]:
        """The ids of a text's characters without the unknown ones, and how many these are."""
        checks.of_type("text", text, str)
        ids = self._lookup(text)
        known = ids[ids != _UNKNOWN]
        return known, ids.size - known.size

    def start(self) -> str:
        """What a text without a beginning goes on from: a line's start, or the first character."""
        return "\n" if "\n" in self.characters else self.characters[0]

    def decode(self, ids: NDArray[np.integer] | Iterable[int]) -> str:
        """The text of ids in [0, len(self))."""
        return "".join(self.spell(ids))

    def spell(self, ids: NDArray[np.integer] | Iterable[int]) -> Iterator[str]:
        """The text of ids, piece by piece as they come."""
        return (self.characters[i] for i in ids)

    def as_json(self) -> str | dict[str, str]:
        """What `vocabulary_from_json` takes, for checkpoints."""
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
    """The 256 bytes: texts are read and written in UTF-8, and no text is unknown.

    Bytes that are not UTF-8 are lone surrogates in texts that come in (see `read_text`), and the
    replacement character in texts that go out.

    Attributes:
        characters: the characters of Latin-1, which stand for the bytes.
    """

    unit = short_unit = "byte"

    def __init__(self) -> None:
        super().__init__(bytes(range(256)).decode("latin-1"))

    def __repr__(self) -> str:
        return "ByteVocabulary()"

    def spell(self, ids: NDArray[np.integer] | Iterable[int]) -> Iterator[str]:
        """The text of bytes, each character once its last byte has come."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for i in ids:
            if text := decoder.decode(bytes([i])):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def as_json(self) -> dict[str, str]:
        """What `vocabulary_from_json` takes, for checkpoints."""
        return {"unit": self.unit}

    def _lookup(self, text: str) -> NDArray[np.int64]:
        try:
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise TextError(
                f"text: character {text[error.start]!r} at position {error.start} is half of a "
                "pair of surrogates, and has no bytes"
            ) from error
        return np.frombuffer(data, np.uint8).astype(np.int64)


def _join(texts: Iterable[str]) -> str:
    expected = "characters: expected a text, or several"
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
