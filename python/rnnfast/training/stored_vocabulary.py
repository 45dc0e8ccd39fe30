"""Reading of vocabularies from checkpoints."""

from __future__ import annotations

from rnnfast.training.tokens import tokens_from_json
from rnnfast.training.vocabulary import ByteVocabulary, Vocabulary


def vocabulary_from_json(value: object) -> Vocabulary:
    """Rebuild the vocabulary whose `as_json` returned `value`.

    Raises:
        TypeError: No vocabulary returns such a value.
        TextError: The vocabulary has no characters.
        ImportError: The vocabulary is one of tokens, and the package `tokenizers` is not installed.
    """
    if value == ByteVocabulary().as_json():
        return ByteVocabulary()
    if isinstance(value, dict) and "tokenizer" in value:
        return tokens_from_json(value)
    if not isinstance(value, str):
        raise TypeError(f"vocabulary: expected characters, got {type(value).__name__}")
    return Vocabulary(value)
