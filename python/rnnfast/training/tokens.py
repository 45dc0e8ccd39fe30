"""Vocabularies of tokens, based on Hugging Face's `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast.training.text import TextError
from rnnfast.training.vocabulary import Vocabulary

UNKNOWN = "<unk>"  # the token for unknown text in vocabularies of `train(byte_level=False)`


class TokenVocabulary(Vocabulary):
    """Vocabulary of the tokens of a Hugging Face tokenizer.

    A language model with this vocabulary reads and writes tokens, and all of its figures are per
    token. The class needs the package `tokenizers`.

    Attributes:
        tokenizer: The `tokenizers.Tokenizer`.
        characters: The tokens in the order of their ids, as a JSON list.
    """

    unit = short_unit = "token"

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a tokenizer.

        Args:
            tokenizer: A `tokenizers.Tokenizer`, such as `Tokenizer.from_file(path)` returns.

        Raises:
            TypeError: `tokenizer` is not a `tokenizers.Tokenizer`.
            ImportError: The package `tokenizers` is not installed.
        """
        checks.of_type("tokenizer", tokenizer, _tokenizers().Tokenizer)
        self.tokenizer = tokenizer
        self._json: str = tokenizer.to_str()
        self._size: int = tokenizer.get_vocab_size()
        self._unknown_id = _unknown_id(tokenizer)
        self.characters = json.dumps([tokenizer.id_to_token(i) for i in range(self._size)])

    @classmethod
    def train(
        cls, text: str | Iterable[str], size: int, *, byte_level: bool = True
    ) -> TokenVocabulary:
        """Learn a vocabulary by byte pair encoding (Sennrich et al. 2016).

        Args:
            text: One text, or several.
            size: The largest number of tokens; at least 256 with `byte_level`.
            byte_level: Whether all bytes are tokens, so that no text is unknown. Otherwise tokens
                consist of characters of the text, and any others become the token `<unk>`.

        Raises:
            ValueError: The size is too small.
            TypeError: An argument is of the wrong type.
            ImportError: The package `tokenizers` is not installed.
        """
        tokenizers = _tokenizers()
        size = checks.integer("size", size, 256 if byte_level else 2)
        texts = [text] if isinstance(text, str) else list(text)
        level = tokenizers.pre_tokenizers.ByteLevel
        tokenizer = tokenizers.Tokenizer(
            tokenizers.models.BPE(unk_token=None if byte_level else UNKNOWN)
        )
        if byte_level:
            tokenizer.pre_tokenizer = level(add_prefix_space=False)
            tokenizer.decoder = tokenizers.decoders.ByteLevel()
        else:
            tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(" ", "merged_with_next")
            tokenizer.decoder = tokenizers.decoders.Fuse()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=level.alphabet() if byte_level else [],
            special_tokens=[] if byte_level else [UNKNOWN],
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenVocabulary) and self._json == other._json

    def __hash__(self) -> int:
        return hash(self._json)

    def __repr__(self) -> str:
        return f"TokenVocabulary({self._size} tokens)"

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids (N,) of a text's tokens.

        Unknown text becomes the tokenizer's token for it, or is left out if there is no such token.

        Raises:
            TextError: The text contains half of a surrogate pair.
            TypeError: `text` is not a string.
        """
        checks.of_type("text", text, str)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextError(
                f"text: character {text[error.start]!r} at position {error.start} is half of a "
                "surrogate pair, so it has no tokens"
            ) from error
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return np.array(encoded.ids, np.int64)

    def encode_known(self, text: str) -> tuple[NDArray[np.int64], int]:
        """Return the ids of the known tokens of a text, and the number of unknown ones."""
        ids = self.encode(text)
        known = ids[ids != self._unknown_id] if self._unknown_id is not None else ids
        return known, ids.size - known.size

    def start(self) -> str:
        """Return the default text to continue: the start of a line, or the first known token."""
        if self.encode("\n").size and "\n" in self.decode(self.encode("\n")):
            return "\n"
        return self.decode([next(i for i in range(self._size) if i != self._unknown_id)])

    def spell(self, ids: NDArray[np.integer] | Iterable[int]) -> Iterator[str]:
        """Yield the text of tokens, each character as soon as its last byte is known."""
        stream = _tokenizers().decoders.DecodeStream(skip_special_tokens=False)
        for i in ids:
            if text := stream.step(self.tokenizer, int(i)):
                yield text

    def as_json(self) -> dict[str, str]:
        """Return the value for checkpoints that `vocabulary_from_json` reads."""
        return {"unit": self.unit, "tokenizer": self._json}


def tokens_from_json(value: dict[str, str]) -> TokenVocabulary:
    """Rebuild the vocabulary whose `as_json` returned `value`.

    Raises:
        ValueError: The value does not describe a tokenizer.
        TypeError: The value does not hold a string.
        ImportError: The package `tokenizers` is not installed.
    """
    checks.of_type("tokenizer", value["tokenizer"], str)
    make = _tokenizers().Tokenizer.from_str
    try:
        tokenizer = make(value["tokenizer"])
    except Exception as error:  # the package raises plain Exceptions
        raise ValueError(f"tokenizer: {error}") from error
    return TokenVocabulary(tokenizer)


def _unknown_id(tokenizer: Any) -> int | None:
    token = getattr(tokenizer.model, "unk_token", None)
    found: int | None = None if token is None else tokenizer.token_to_id(token)
    return found


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise ImportError(
            "TokenVocabulary needs the package tokenizers, which is not installed: "
            "pip install tokenizers"
        ) from error
    return tokenizers
