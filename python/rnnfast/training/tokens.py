"""Vocabularies of tokens, by Hugging Face's `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast.training.text import TextError
from rnnfast.training.vocabulary import Vocabulary

UNKNOWN = "<unk>"  # the token for what a vocabulary of `train(byte_level=False)` does not know


class TokenVocabulary(Vocabulary):
    """The tokens of a tokenizer of Hugging Face's, as what a model of language reads and writes.

    All figures of such a model are per token. Needs the package `tokenizers`.

    Attributes:
        tokenizer: the `tokenizers.Tokenizer`.
        characters: the tokens in the order of their ids, as a JSON list.
    """

    unit = short_unit = "token"

    def __init__(self, tokenizer: Any) -> None:
        """Takes a tokenizer.

        Args:
            tokenizer: a `tokenizers.Tokenizer`, such as `Tokenizer.from_file(path)` gives.

        Raises:
            TypeError: it is none.
            ImportError: the package `tokenizers` is not installed.
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
        """Learns a vocabulary by byte pair encoding (Sennrich et al. 2016).

        Args:
            text: a text or several.
            size: most tokens; of bytes no fewer than 256.
            byte_level: whether all bytes are tokens, so that no text is unknown. If not, tokens are
                made of the text's characters alone, and others become the token `<unk>`.

        Raises:
            ValueError: the size is too small.
            TypeError: an argument is of the wrong type.
            ImportError: the package `tokenizers` is not installed.
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
        """The ids (N,) of a text's tokens.

        What is unknown has the id of the token for that; a tokenizer without one leaves it out.

        Raises:
            TextError: the text has half of a pair of surrogates.
            TypeError: it is not a text.
        """
        checks.of_type("text", text, str)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextError(
                f"text: character {text[error.start]!r} at position {error.start} is half of a "
                "pair of surrogates, and has no tokens"
            ) from error
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return np.array(encoded.ids, np.int64)

    def encode_known(self, text: str) -> tuple[NDArray[np.int64], int]:
        """The ids of a text's tokens without the unknown ones, and how many these are."""
        ids = self.encode(text)
        known = ids[ids != self._unknown_id] if self._unknown_id is not None else ids
        return known, ids.size - known.size

    def start(self) -> str:
        """What a text without a beginning goes on from: a line's start, or the first token."""
        if self.encode("\n").size and "\n" in self.decode(self.encode("\n")):
            return "\n"
        return self.decode([next(i for i in range(self._size) if i != self._unknown_id)])

    def spell(self, ids: NDArray[np.integer] | Iterable[int]) -> Iterator[str]:
        """The text of tokens, each character once its last byte has come."""
        stream = _tokenizers().decoders.DecodeStream(skip_special_tokens=False)
        for i in ids:
            if text := stream.step(self.tokenizer, int(i)):
                yield text

    def as_json(self) -> dict[str, str]:
        """What `vocabulary_from_json` takes, for checkpoints."""
        return {"unit": self.unit, "tokenizer": self._json}


def tokens_from_json(value: dict[str, str]) -> TokenVocabulary:
    """Makes the vocabulary whose `as_json` gave `value`.

    Raises:
        ValueError: none gave it.
        TypeError: none gave it.
        ImportError: the package `tokenizers` is not installed.
    """
    checks.of_type("tokenizer", value["tokenizer"], str)
    make = _tokenizers().Tokenizer.from_str
    try:
        tokenizer = make(value["tokenizer"])
    except Exception as error:  # the package raises no other
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
