"""Language models: what they compute, write and refuse."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from rnnfast import decoding
from rnnfast._engine.known import COMPILED
from rnnfast.training import (
    UNKNOWN_BITS,
    ByteVocabulary,
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    TextError,
    TrainingOptions,
    UnknownCharacterError,
    Vocabulary,
    stdlib_text,
)
from training_cases import SMALL, TEXT, VOCABULARY, options

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("embedding_size", [0, 5])
def test_gradients_of_the_loss_agree_with_differences(embedding_size: int) -> None:
    config = CharLMConfig("gru", 4, embedding_size=embedding_size, dtype="float64")
    model = CharLM(Vocabulary("abc"), config, seed=3)
    x, targets = np.array([[0, 1], [2, 2], [1, 0]]), np.array([[1, 2], [0, 1], [2, 2]])
    model.learn(x, targets)
    step = 1e-5
    gradients = {p.name: p.grad.copy() for p in model.parameters()}
    for p in model.parameters():
        name, value = p.name, p.value
        index = (0,) * value.ndim
        before = value[index]
        ends = []
        for sign in (1, -1):
            value[index] = before + sign * step
            ends.append(model.learn(x, targets)[0])
        value[index] = before
        difference = (ends[0] - ends[1]) / (2 * step)
        assert gradients[name][index] == pytest.approx(difference, abs=1e-9), name


def test_evaluation_measures_bits_per_character() -> None:
    config = CharLMConfig(hidden_size=8, dtype="float64")
    model = CharLM(VOCABULARY, config, seed=0)
    text = TEXT[:2500]
    ids = VOCABULARY.encode(text)
    logits, _ = model.eval()(ids[:-1, None])
    logits = logits[:, 0] - logits[:, 0].max(axis=1, keepdims=True)
    chosen = logits[np.arange(len(ids) - 1), ids[1:]] - np.log(np.exp(logits).sum(axis=1))
    expected = -chosen.mean() / math.log(2)
    assert model.evaluate(ids, streams=1, seq_len=100) == pytest.approx(expected, rel=1e-12)
    assert model.bits_per_character(text) == pytest.approx(expected, rel=0.01)
    with pytest.raises(TextError, match="at least 2 characters"):
        model.bits_per_character("a")


def trained_model() -> CharLM:
    text = "hello world\n" * 300
    model = CharLM(Vocabulary(text), CharLMConfig("gru", 24), seed=0)
    CharLMTrainer(model, text, options(steps=150, learning_rate=0.02)).run()
    return model


def test_a_trained_model_writes_what_it_read() -> None:
    model = trained_model()
    assert model.sample(14, "hello world\n", temperature=0) == "hello world\nhe"
    assert model.sample(4, "hello wo", temperature=0) == "rld\n"
    assert model.sample(100, "hello", temperature=0, stop="\n") == " world\n"
    assert model.sample(9, "hel", temperature=1.0, top_k=1, seed=0) == "lo world\n"
    assert model.sample(9, "hel", temperature=1e-300, seed=0) == "lo world\n"
    assert model.sample(9, "hel", top_p=0.5, seed=0) == "lo world\n"
    stream, start = model.primed("hel", 2)
    assert start.tolist() == model.vocabulary.encode("ll").tolist()
    for (best,) in decoding.beam_search(stream, start, beams=1, length=9):
        assert model.vocabulary.decode(best.tokens) == "lo world\n"
    assert model.bits_per_character("hello world\n" * 20) < 0.2
    assert model.training


def test_samples_repeat_with_their_seed() -> None:
    model = CharLM(VOCABULARY, SMALL, seed=0)
    one, same, other = (model.sample(80, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    likeliest = set(model.sample(300, temperature=5.0, top_k=2, seed=1))
    assert len(likeliest) < len(set(model.sample(300, temperature=5.0, seed=1)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prime": "naïve"}, UnknownCharacterError, "'ï'"),
        ({"stop": "é"}, UnknownCharacterError, "'é'"),
        ({"temperature": -0.5}, ValueError, "temperature: expected"),
        ({"temperature": math.nan}, ValueError, "temperature: expected"),
        ({"top_k": -1}, ValueError, "top_k: expected"),
        ({"top_p": 1.5}, ValueError, "top_p: expected"),
        ({"length": -1}, ValueError, "length: expected"),
        ({"length": 2.5}, TypeError, "length: expected an integer, got float"),
        ({"length": True}, TypeError, "length: expected an integer, got bool"),
        ({"top_k": 2.0}, TypeError, "top_k: expected an integer, got float"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"seed": 0.5}, TypeError, "seed: expected an integer, got float"),
        ({"prime": 3}, TypeError, "prime: expected str, got int"),
        ({"prime": b"def"}, TypeError, "prime: expected str, got bytes"),
        ({"stop": 3}, TypeError, "stop: expected str, got int"),
        ({"stop": None}, TypeError, "stop: expected str, got NoneType"),
    ],
)
def test_sampling_refuses(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CharLM(VOCABULARY, SMALL).generate(**arguments)


def test_a_sample_has_an_end() -> None:
    with pytest.raises(TypeError, match="length: expected an integer, got NoneType"):
        CharLM(VOCABULARY, SMALL).sample(None)  # type: ignore[arg-type]


def test_arguments_of_the_wrong_type_are_named() -> None:
    model = CharLM(VOCABULARY, SMALL)
    for make, message in (
        (lambda: CharLM("abc"), "vocabulary: expected Vocabulary, got str"),
        (lambda: CharLM(VOCABULARY, "gru"), "config: expected CharLMConfig, got str"),
        (lambda: CharLM(VOCABULARY, {}), "config: expected CharLMConfig, got dict"),
        (lambda: CharLMTrainer("m", TEXT), "model: expected CharLM, got str"),
        (lambda: CharLMTrainer(model, None), "text: expected str, got NoneType"),
        (lambda: CharLMTrainer(model, TEXT, {}), "options: expected TrainingOptions, got dict"),
        (lambda: model.bits_per_character(3), "text: expected str, got int"),
        (lambda: model.bits_per_character(3, 20.0), "text: expected str, got int"),
        (lambda: model.primed("d", 1.5), "batch: expected an integer, got float"),
        (lambda: VOCABULARY.encode(b"abc"), "text: expected str, got bytes"),
    ):
        with pytest.raises(TypeError, match=message):
            make()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "lsmt"}, "cell: expected a name .*, got 'lsmt'; did you mean 'lstm'"),
        ({"hidden_size": 0}, "hidden_size: expected at least 1, got 0"),
        ({"num_layers": 0}, "num_layers: expected at least 1, got 0"),
        ({"embedding_size": -1}, "embedding_size: expected at least 0, got -1"),
        ({"dtype": "float16"}, "dtype: expected one of float32, float64, got 'float16'"),
        ({"precision": "half"}, "precision: expected one of full, bfloat16, got 'half'"),
        ({"dropout": 0.5}, "dropout: expected 0 with num_layers = 1"),
        ({"dropout": 1.0, "num_layers": 2}, "dropout: expected"),
    ],
)
def test_models_refuse(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CharLMConfig(**arguments)


@pytest.mark.parametrize("cell", COMPILED)
@pytest.mark.parametrize("embedding_size", [0, 5])
def test_a_configuration_knows_how_many_parameters_a_model_has(
    cell: str, embedding_size: int
) -> None:
    for layers in (1, 3):
        config = CharLMConfig(cell, 6, layers, embedding_size)
        made = sum(p.value.size for p in CharLM(VOCABULARY, config).parameters())
        assert config.parameters(len(VOCABULARY)) == made


def test_a_model_that_memory_cannot_hold_is_refused_before_it_is_made() -> None:
    for sizes in ({"hidden_size": 99_999_999_999}, {"num_layers": 10**15}, {"hidden_size": 10**18}):
        with pytest.raises(
            ValueError, match=r"hidden_size, .* parameters, .* GiB of memory, but this"
        ):
            CharLM(VOCABULARY, CharLMConfig(**sizes))


@pytest.mark.parametrize("seed", [-1, 1.5])
def test_seeds_of_models_are_counts(seed: object) -> None:
    with pytest.raises((ValueError, TypeError), match="seed: expected"):
        CharLM(VOCABULARY, SMALL, seed=seed)


def test_a_model_whose_weights_are_not_finite_says_so() -> None:
    model = CharLM(VOCABULARY, SMALL, seed=0)
    next(model.parameters()).value.fill(np.nan)
    for temperature in (0, 1):
        with pytest.raises(ValueError, match="logits are not finite"):
            model.sample(5, temperature=temperature)


def test_unknown_characters_count_what_they_are_said_to() -> None:
    model = CharLM(Vocabulary("ab"), CharLMConfig(hidden_size=4), seed=0)
    plain = model.bits_per_character("abbaab")
    with pytest.raises(UnknownCharacterError):
        model.bits_per_character("abβbaab")
    mixed = model.bits_per_character("abβbaab", UNKNOWN_BITS)
    assert mixed == pytest.approx((5 * plain + math.log2(1_112_064)) / 6, rel=1e-12)
    assert model.bits_per_character("αβγ", 7) == model.bits_per_character("β", 7) == 7
    assert model.bits_per_character("abbaab", UNKNOWN_BITS) == plain


def test_a_model_of_bytes_knows_every_text(tmp_path: Path) -> None:
    text = "né🎉\udcff\n" * 300
    model = CharLM(ByteVocabulary(), CharLMConfig("gru", 24), seed=0)
    path = tmp_path / "bytes.safetensors"
    CharLMTrainer(model, text, options(steps=200, learning_rate=0.02), output=path).run()
    loaded = CharLM.load(path)
    assert loaded.vocabulary == ByteVocabulary() != Vocabulary("ab")
    assert loaded.sample(9, "n", temperature=0) == "é🎉\ufffd\nn"
    assert loaded.sample(99, "n", temperature=0, stop="🎉") == "é🎉"
    assert loaded.sample(3, "n", temperature=0) == "é\ufffd"  # three bytes: é and part of the next
    assert list(loaded.generate("n", length=6, temperature=0)) == ["é", "🎉"]
    assert loaded.bits_per_character(text) < 0.5
    assert loaded.bits_per_character("日本" * 9) > 1
    assert CharLMTrainer.resume(path, text, steps=201).run()


def test_models_in_bfloat16_are_float32() -> None:
    with pytest.raises(TypeError, match=r"precision: expected float32 .* bfloat16 .* got float64"):
        CharLMConfig(dtype="float64", precision="bfloat16")


def test_bfloat16_learns_as_float32_does(tmp_path: Path) -> None:
    losses = {}
    for precision in ("full", "bfloat16"):
        config = CharLMConfig("lstm", 24, 2, precision=precision)
        model = CharLM(Vocabulary(TEXT), config, seed=1)
        CharLMTrainer(
            model, TEXT, TrainingOptions(steps=60, batch=4, seq_len=16, validation=0)
        ).run()
        model.save(tmp_path / "model.safetensors")
        assert CharLM.load(tmp_path / "model.safetensors").config == config
        losses[precision] = model.bits_per_character(TEXT)
    assert losses["full"] != losses["bfloat16"]
    assert losses["bfloat16"] < 0.8 * math.log2(len(Vocabulary(TEXT)))  # it has learned
    assert losses["bfloat16"] == pytest.approx(losses["full"], rel=0.02)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_int8_costs_at_most_half_a_percent_of_held_out_bits(cell: str) -> None:
    text = stdlib_text(60_000)
    learned, held_out = text[:50_000], text[50_000:]
    model = CharLM(Vocabulary(text), CharLMConfig(cell, 96), seed=0)
    CharLMTrainer(model, learned, options(steps=100, learning_rate=0.01)).run()
    exact = model.eval().bits_per_character(held_out)
    model.recurrent.precision = "int8"
    quantised = model.bits_per_character(held_out)
    assert exact < 0.8 * math.log2(len(model.vocabulary))  # it has learned
    assert quantised != exact
    assert quantised < 1.005 * exact
