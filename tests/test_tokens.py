"""Vocabularies of Hugging Face's tokenizers: bytes, byte pair encoding, and unknown tokens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rnnfast.training import (
    ByteVocabulary,
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    CheckpointError,
    TokenVocabulary,
    load_checkpoint,
)
from rnnfast.training.checkpoint import save_checkpoint
from rnnfast.training.stored_vocabulary import vocabulary_from_json
from training_cases import TEXT, options

tokenizers: Any = pytest.importorskip("tokenizers", reason="tokenizers is not installed")


@pytest.fixture(scope="module")
def of_bytes() -> TokenVocabulary:
    return TokenVocabulary.train(TEXT, 400)


@pytest.fixture(scope="module")
def of_characters() -> TokenVocabulary:
    return TokenVocabulary.train(TEXT, 200, byte_level=False)


@pytest.mark.parametrize("text", [TEXT, "naïve 日本 🎉", "\0\n\t  x", ""])
def test_bytes_know_every_text(of_bytes: TokenVocabulary, text: str) -> None:
    ids = of_bytes.encode(text)
    assert of_bytes.decode(ids) == text
    assert of_bytes.encode_known(text)[1] == 0
    assert ids.size <= len(text.encode())
    assert not ids.size or ids.max() < len(of_bytes) == 400


def test_pairs_make_texts_shorter(
    of_bytes: TokenVocabulary, of_characters: TokenVocabulary
) -> None:
    for vocabulary in (of_bytes, of_characters):
        assert vocabulary.encode(TEXT).size < 0.7 * len(TEXT)
        assert vocabulary.decode(vocabulary.encode(TEXT)) == TEXT


def test_what_is_unknown_is_a_token_of_its_own(of_characters: TokenVocabulary) -> None:
    ids = of_characters.encode("def 日本 x")
    assert of_characters.decode(ids) == "def <unk><unk> x"
    known, unknown = of_characters.encode_known("def 日本 x")
    assert unknown == 2
    assert of_characters.decode(known) == "def  x"


def test_a_model_of_tokens_trains_writes_and_resumes(
    of_bytes: TokenVocabulary, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    model = CharLM(of_bytes, CharLMConfig(hidden_size=8), seed=1)
    trainer = CharLMTrainer(model, TEXT, options(steps=3), output=path)
    trainer.run()
    assert (trainer.item, trainer.loss_unit) == ("token", "bits/token")
    resumed = CharLMTrainer.resume(path, TEXT, steps=4)
    assert resumed.model.vocabulary == of_bytes
    resumed.run()
    assert CharLM.load(path).sample(20, prime="def ", seed=1) == resumed.model.sample(
        20, prime="def ", seed=1
    )
    assert isinstance(model.sample(9, seed=2), str)  # without a prime as well


def test_any_tokenizer_will_do() -> None:
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "a": 1}, "[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    vocabulary = TokenVocabulary(words)
    assert vocabulary.encode("a b a").tolist() == [1, 0, 1]
    assert vocabulary == vocabulary_from_json(vocabulary.as_json())
    assert hash(vocabulary) == hash(TokenVocabulary(words))
    assert vocabulary not in (TokenVocabulary.train("a", 256), ByteVocabulary())
    assert repr(vocabulary) == "TokenVocabulary(2 tokens)"


def test_wrong_arguments_are_named(of_bytes: TokenVocabulary) -> None:
    for make, error, message in [
        (lambda: TokenVocabulary("bpe"), TypeError, "tokenizer: expected Tokenizer, got str"),
        (lambda: TokenVocabulary.train("a", 9), ValueError, "size: expected at least 256, got 9"),
        (lambda: of_bytes.encode(3), TypeError, "text: expected str, got int"),
        (lambda: of_bytes.encode("a\ud800"), ValueError, "half of a surrogate pair"),
    ]:
        with pytest.raises(error, match=message):
            make()


def test_a_checkpoint_with_a_damaged_tokenizer_is_refused(
    of_bytes: TokenVocabulary, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    CharLM(of_bytes, CharLMConfig(hidden_size=4)).save(path)
    for damaged in ({"unit": "token", "tokenizer": "{}"}, {"unit": "token", "tokenizer": 3}):
        checkpoint = load_checkpoint(path)
        checkpoint.model["vocabulary"] = damaged
        save_checkpoint(path, checkpoint)
        with pytest.raises(
            CheckpointError, match="contains no model that can be built: tokenizer: "
        ):
            CharLM.load(path)


def test_without_the_package_the_cure_is_named(of_bytes: TokenVocabulary, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    CharLM(of_bytes, CharLMConfig(hidden_size=4)).save(path)
    program = f"""
import sys
sys.modules["tokenizers"] = None
from rnnfast.training import CharLM, CheckpointError
try:
    CharLM.load({str(path)!r})
except CheckpointError as error:
    assert "needs the package tokenizers, which is not installed: pip install" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)
